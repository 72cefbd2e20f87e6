"""`horm-eval`: the errors of a network on labelled frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horm_calc.commands.common import entry_point, parser_of

if TYPE_CHECKING:
    from rich.console import Console

    from horm_calc.data.frames import Frames
    from horm_calc.evaluation.table import Evaluation
    from horm_calc.potential import Potential

_DESCRIPTION = """\
Evaluate a network: compare its energies, forces and Hessians with labelled frames, and also what
follows from Hessians: eigenvalues, frequencies, imaginary modes, Gibbs energies.
"""

_EPILOG = """\
What is printed
  MAE and median      over frames, of each frame's mean absolute error, as in HORM
                      (arXiv:2505.12447), so that large molecules count as much as small ones
  energy, total       the network's energy plus the energies of the atoms. Meaningless for labels of
                      another level of theory
  energy, relative    relative to the mean over the frames of the same reaction, so that different
                      zeros of energy cancel; frames alone in their reaction do not count
  Hessian elements    of the whole matrix (3N, 3N), eV/Å²
  Hessian eigenvalues of the symmetric part, in ascending order, not mass-weighted, eV/Å². HORM's
                      script gives them in Hartree/Bohr² under a heading of eV/Å²: compare its
                      numbers with the line below; 1 Hartree/Bohr² = 97.17 eV/Å²
  asymmetry           mean |H − Hᵀ| of the network's Hessian: zero unless its forces are direct
  unit vectors        for data that have only products of Hessians with vectors: the error of an
                      element, as if the vectors had unit length
  frequencies         mass-weighted, without translations and rotations, imaginary ones as
                      negative numbers, in ascending order, cm⁻¹
  imaginary modes     those below −20 cm⁻¹
  overlap             |<v|v'>| of the lowest modes of reference and network, mass-weighted,
                      without translations and rotations: 1 is the same direction
  Gibbs energy        298.15 K, 1 atm, quasi-RRHO, kcal/mol; for frames near a stationary point
                      (--stationary) with 0 or 1 imaginary modes, the same number in both

What --out writes
  table.csv           group (all, atoms, largest_force_ev_per_a), bin, quantity, frames, mean,
                      median; the names of quantities end with their units
  frames.csv          one row per frame; a field is empty if a quantity does not apply
  metrics.json        the means and medians, the checkpoint and the data
  parity_*.png        network against reference; and error_by_size.png

examples:
  horm-eval my.safetensors dev.h5                    all quantities
  horm-eval my.safetensors dev.h5 --limit 200        faster: Hessians take most of the time
  horm-eval left test.lmdb --device cuda --out left  a published network; files in 'left'
  horm-eval my.safetensors extra.xyz --no-hessians   energies and forces

Exit code: 0, or 2 for wrong input, with one line on stderr that says what helps.
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    from horm_calc.checkpoints.torch_archive import CheckpointError
    from horm_calc.data.frames import DataError

    try:
        _run(options)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        remedy = "install what training needs: pip install '.[train]' in the repository"
        print(f"horm-eval: no module {error.name}; {remedy}", file=sys.stderr)
        return 2
    except (CheckpointError, DataError, OSError) as error:
        print(f"horm-eval: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-eval", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="a file, or a name that horm-models lists")
    add("data", metavar="DATA", nargs="+", type=Path, help=".h5, .lmdb, .xyz, or folders of them")
    add("--out", metavar="FOLDER", type=Path, help="a new folder for tables and plots")
    add(
        "--limit",
        metavar="N",
        type=_number(int, 1),
        help="second derivatives of only N frames, drawn at random; energies and forces of all",
    )
    add(
        "--seed",
        metavar="S",
        type=_number(int, 0),
        default=0,
        help="seed of that draw: the same frames for the same seed (default %(default)s)",
    )
    add("--no-hessians", action="store_true", help="energies and forces only")
    add(
        "--stationary",
        metavar="F",
        type=_number(float, 0),
        default=0.05,
        help="Gibbs energies for frames whose largest reference force is below F eV/Å "
        "(default %(default)s)",
    )
    add("--device", help="'cpu', 'cuda', 'cuda:1' (default: cuda if available)")
    add(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of the network (default %(default)s, as in training)",
    )
    return parser


def _number(kind: type[int] | type[float], least: int) -> Any:
    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            raise ValueError
        return value

    # What argparse calls it in its message.
    number.__name__ = f"{'whole number' if kind is int else 'number'} of {least} or more"
    return number


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from horm_calc.data.files import open_frames
    from horm_calc.evaluation import report
    from horm_calc.evaluation.evaluate import require_labels

    potential = _loaded(options)
    frames = open_frames(*options.data)
    about = _about(options, potential, frames)
    require_labels(frames, hessians=not options.no_hessians)
    if options.out is not None:
        import horm_calc.evaluation.plots as plots  # now, as it may not be installed

        _claim(options.out)
    _warn_of_levels(about)
    evaluation = _with_progress(options, potential, frames)
    console = Console(highlight=False)
    _say(console, _header(about, evaluation))
    for table in report.tables(evaluation):
        console.print()
        console.print(table)
    console.print()
    _say(console, report.notes(evaluation, options.stationary))
    if options.out is not None:
        report.write(options.out, evaluation, about)
        plots.write_plots(options.out, evaluation)
        _say(console, [f"written: {options.out}"])


def _loaded(options: argparse.Namespace) -> Potential:
    from horm_calc.data.frames import DataError
    from horm_calc.potential import NoSuchDevice, load_potential

    try:
        return load_potential(options.checkpoint, options.device, options.dtype)
    except NoSuchDevice as error:
        raise DataError(f"--device {options.device}", str(error), "Leave it out.") from None


def _claim(folder: Path) -> None:
    """Makes the folder for the results, before hours are spent on them."""
    from horm_calc.data.frames import DataError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(folder, "exists already", "Move it away or choose another name.")
    folder.mkdir(parents=True, exist_ok=True)


def _with_progress(options: argparse.Namespace, potential: Potential, frames: Frames) -> Evaluation:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from horm_calc.evaluation.evaluate import evaluate

    console = Console(stderr=True)
    with Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        return evaluate(
            potential,
            frames,
            hessians=not options.no_hessians,
            limit=options.limit,
            seed=options.seed,
            stationary=options.stationary,
            progress=progress,
        )


def _about(options: argparse.Namespace, potential: Potential, frames: Frames) -> dict[str, Any]:
    """Of what the evaluation is, for people and programs."""
    return {
        "checkpoint": potential.label,
        "sha256": potential.sha256,
        "network": potential.name,
        "hessian_kind": potential.hessian_kind,
        "dtype": options.dtype,
        "device": str(potential.device),
        "level_of_theory_of_network": potential.level_of_theory,
        "data": [str(path) for path in options.data],
        "level_of_theory_of_labels": frames.level_of_theory,
        "limit": options.limit,
        "seed": options.seed,
        "stationary_ev_per_a": options.stationary,
    }


def _header(about: dict[str, Any], evaluation: Evaluation) -> list[str]:
    reactions = len(set(evaluation.reactions) - {""})
    second = evaluation.count("hessian_error_ev_per_a2", "products_error_ev_per_a2")
    drawn = (
        f", drawn with seed {about['seed']}"
        if second < evaluation.with_second_derivatives and second
        else ""
    )
    return [
        "{checkpoint}: {network}, sha256 {sha256:.12}, {dtype} on {device}".format(**about),
        f"data: {', '.join(about['data'])}",
        f"labels: {about['level_of_theory_of_labels'] or 'level of theory not stated'}; "
        f"the network's: {about['level_of_theory_of_network']}",
        f"{len(evaluation.reactions)} frames of {reactions} reactions, second derivatives of "
        f"{second} of the {evaluation.with_second_derivatives} frames that have them{drawn}",
    ]


def _warn_of_levels(about: dict[str, Any]) -> None:
    network, labels = about["level_of_theory_of_network"], about["level_of_theory_of_labels"]
    if labels == network:
        return
    text = (
        f"the network was trained on {network} and the labels are {labels}: errors are mostly the "
        "difference of the methods, and total energies and G do not compare at all"
        if labels
        else f"the data do not say by what method they were labelled; errors mean something "
        f"only if it is the network's, {network}"
    )
    print(f"horm-eval: warning: {text}", file=sys.stderr)


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, markup=False)


if __name__ == "__main__":
    sys.exit(main())
