"""How near networks, and GFN2-xTB, come to DFT: on the frames that HORM published.

    python -m benchmarks.dft horm-mini runs/dft/tuned/best.ckpt

Mean absolute errors of energies (each less the mean of its isomers, as methods count from
different zeros), forces, Hessians and their eigenvalues against ωB97X/6-31G(d), of the networks
named and of GFN2-xTB itself. A minute or two.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from horm_calc import HormCalculator
from horm_calc.training import metrics
from horm_calc.training.frames import Frame, Frames, iterate, open_frames
from horm_calc.training.labels import label

DATA = Path(__file__).parents[2] / "shared" / "data" / "horm_sample_100.lmdb"
Answers = list[tuple[float, np.ndarray, np.ndarray]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all methods and print a table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.dft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="+", help="names or files of checkpoints")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    frames = open_frames(options.data)
    shown = Table("method", "E, eV", "F, eV/Å", "H, eV/Å²", "λ, eV/Å²")
    for name, answers in [
        ("GFN2-xTB", by_xtb(frames)),
        *((name, by_network(name, frames)) for name in options.networks),
    ]:
        shown.add_row(name, *(f"{error:.3f}" for error in errors(frames, answers)))
    Console().print(shown)


def by_network(name: str, frames: Frames) -> Answers:
    """Energies (eV), forces (eV/Å) and Hessians (eV/Å²) of all frames by a network."""
    molecules = [Atoms(frame.numbers, frame.positions) for frame in iterate(frames)]
    found = HormCalculator(name).evaluate(molecules, ("energy", "forces", "hessian"))
    return [(one["energy"], one["forces"], one["hessian"]) for one in found]


def by_xtb(frames: Frames) -> Answers:
    """The same by GFN2-xTB."""
    found = list(label(iterate(frames), "gfn2-xtb", hessians=1.0, max_force=np.inf))
    assert all(isinstance(one, Frame) for one in found)
    return [(one.energy, one.forces, one.hessian) for one in found]  # type: ignore[union-attr,misc]


def errors(frames: Frames, answers: Answers) -> tuple[float, float, float, float]:
    """Means over frames of the mean absolute errors of energy, forces, Hessian, eigenvalues."""
    groups = [str(np.sort(frame.numbers).tolist()) for frame in iterate(frames)]
    differences = np.array(
        [
            energy - frame.energy
            for (energy, _, _), frame in zip(answers, iterate(frames), strict=True)
        ]
    )
    rows = []
    for (_, forces, hessian), frame in zip(answers, iterate(frames), strict=True):
        assert frame.hessian is not None
        found, expected = (metrics.eigenvalues(each) for each in (hessian, frame.hessian))
        rows.append(
            (
                metrics.mean_error(forces, frame.forces),
                metrics.mean_error(hessian, frame.hessian),
                metrics.mean_error(found, expected),
            )
        )
    energy = metrics.summary(metrics.without_offsets(differences, groups)).mean
    return energy, *np.mean(rows, axis=0).tolist()


if __name__ == "__main__":
    main()
