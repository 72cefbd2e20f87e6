"""How near networks, and GFN2-xTB, come to DFT: on the frames that HORM published.

    python -m benchmarks.dft horm-mini runs/dft/tuned/best.ckpt

Mean absolute errors of energies (each less the mean of its isomers among the frames, as methods
count from different zeros; frames without isomers do not count), forces, Hessians and their
eigenvalues against ωB97X/6-31G(d), of the networks named and of GFN2-xTB itself; then forces and
rows of Hessians by the element of the atom, and by the size of the molecule. A minute or two.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from rich.console import Console
from rich.table import Table

from horm_calc import HormCalculator
from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frame, Frames, iterate
from horm_calc.data.labelling.labels import label
from horm_calc.evaluation import metrics

UNITS = {
    "energy": "E, eV",
    "forces": "F, eV/Å",
    "hessian": "H, eV/Å²",
    "eigenvalues": "λ, eV/Å²",
}
DATA = Path(__file__).parents[2] / "shared" / "data" / "horm_sample_100.lmdb"


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all methods and print a table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.dft",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="+", help="names or files of checkpoints")
    parser.add_argument("--data", type=Path, default=DATA, help="frames, all with Hessians")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args(arguments)
    frames = open_frames(options.data)
    methods = {"GFN2-xTB": by_xtb(frames)}
    methods |= {name: by_network(name, frames) for name in options.networks}
    figures = {name: errors(found, frames) for name, found in methods.items()}
    shown = Table("method", *UNITS.values(), title=f"{len(frames)} frames")
    for method, means in figures.items():
        shown.add_row(method, *(f"{means[quantity].mean:.3f}" for quantity in UNITS))
    shown.add_row("frames", *(str(means[quantity].frames) for quantity in UNITS))
    Console().print(shown)
    Console().print(by_kind(methods, frames))
    if options.json:
        plain = {
            method: {name: one.mean for name, one in means.items()}
            for method, means in figures.items()
        }
        options.json.write_text(json.dumps(plain, indent=1), "utf-8")


def by_network(name: str, frames: Frames) -> list[Frame]:
    """The frames as a network has them."""
    molecules = [Atoms(frame.numbers, frame.positions) for frame in iterate(frames)]
    found = HormCalculator(name).evaluate(molecules, ("energy", "forces", "hessian"))
    return [
        Frame(atoms.numbers, atoms.positions, one["energy"], one["forces"], one["hessian"])
        for atoms, one in zip(molecules, found, strict=True)
    ]


def by_xtb(frames: Frames) -> list[Frame]:
    """The frames as GFN2-xTB has them."""
    found = label(iterate(frames), "gfn2-xtb", hessians=1.0, max_force=np.inf)
    labelled = [one for one in found if isinstance(one, Frame)]
    assert len(labelled) == len(frames)
    return labelled


def errors(found: Sequence[Frame], frames: Frames) -> dict[str, metrics.Summary]:
    """For each of `UNITS` the mean over frames of their mean absolute errors, and how many."""
    pairs = list(zip(found, iterate(frames), strict=True))
    isomers = [str(np.sort(frame.numbers).tolist()) for _, frame in pairs]
    offsets = np.array([one.energy - frame.energy for one, frame in pairs])
    forces, hessians, values = np.transpose([of_derivatives(*pair) for pair in pairs])
    columns = (metrics.without_offsets(offsets, isomers), forces, hessians, values)
    return {name: metrics.summary(column) for name, column in zip(UNITS, columns, strict=True)}


def by_kind(methods: dict[str, list[Frame]], frames: Frames) -> Table:
    """Mean absolute errors of forces and Hessians of the atoms of each `KINDS`."""
    shown = Table("", "atoms", title="errors of forces, eV/Å, and of Hessians, eV/Å²")
    for method in methods:
        shown.add_column(method)
    for kind, takes in KINDS.items():
        atoms = sum(int(takes(frame).sum()) for frame in iterate(frames))
        if atoms:
            lines = [_both_errors(found, frames, takes) for found in methods.values()]
            shown.add_row(kind, str(atoms), *lines)
    return shown


def _both_errors(
    found: Sequence[Frame], frames: Frames, takes: Callable[[Frame], np.ndarray]
) -> str:
    pairs = [(a, b, takes(b)) for a, b in zip(found, iterate(frames), strict=True)]
    forces = np.concatenate([(a.forces - b.forces)[which] for a, b, which in pairs])
    rows = np.concatenate([(_rows(a) - _rows(b))[which].ravel() for a, b, which in pairs])
    return f"{np.abs(forces).mean():.3f}  {np.abs(rows).mean():.3f}"


def _rows(frame: Frame) -> np.ndarray:
    """The Hessian by atoms, (n, 9n)."""
    assert frame.hessian is not None
    return frame.hessian.reshape(len(frame.numbers), -1)


def _of_element(symbol: str, frame: Frame) -> np.ndarray:
    return np.asarray(frame.numbers) == atomic_numbers[symbol]


def _of_size(fewest: int, most: float, frame: Frame) -> np.ndarray:
    return np.full(len(frame.numbers), fewest <= len(frame.numbers) <= most)


#: The atoms of a frame that belong to a row of the second table.
KINDS: dict[str, Callable[[Frame], np.ndarray]] = {
    **{symbol: partial(_of_element, symbol) for symbol in "HCNO"},
    "up to 11 atoms": partial(_of_size, 0, 11),
    "12 to 14 atoms": partial(_of_size, 12, 14),
    "15 atoms and more": partial(_of_size, 15, np.inf),
}


def of_derivatives(found: Frame, expected: Frame) -> tuple[float, float, float]:
    """Mean absolute errors of the forces, the Hessian and its eigenvalues."""
    assert found.hessian is not None and expected.hessian is not None
    values, labels = metrics.eigenvalues(found.hessian), metrics.eigenvalues(expected.hessian)
    return (
        metrics.mean_error(found.forces, expected.forces),
        metrics.mean_error(found.hessian, expected.hessian),
        metrics.mean_error(values, labels),
    )


if __name__ == "__main__":
    main()
