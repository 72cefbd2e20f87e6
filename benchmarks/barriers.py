"""How far the barriers of a run are from those of DFT, at the structures of the run.

    python -m benchmarks.barriers runs/gfn2 --first 16 --labels runs/barriers-gfn2.h5

computes the energies of reactant, transition state and product of the smallest *intended* reactions
at ωB97X/6-31G(d), each at the structure that the run has found, and compares barriers in both
directions and reaction energies. Nothing is relaxed: that a saddle of DFT lies elsewhere is not
seen here, but by --verify. Interrupted, the same command goes on. Twenty seconds of CPU for a
structure of 10 atoms.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from horm_calc.commands import label
from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frame, iterate
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import load_run
from workflows.records import Label, Minimum, Saddle

POINTS = ("reactant", "transition_state", "product")
#: What is compared: from one point to another.
DIFFERENCES = {
    "forward barrier": ("reactant", "transition_state"),
    "reverse barrier": ("product", "transition_state"),
    "reaction energy": ("reactant", "product"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute what is not there, compare, print a table."""
    options = _parser().parse_args(arguments)
    points = points_of(options.run, options.first)
    if not options.labels.exists():
        options.labels.parent.mkdir(parents=True, exist_ok=True)
        geometries = options.labels.with_suffix(".xyz")
        ase.io.write(geometries, [*_structures(points)], format="extxyz")
        code = label.main([str(geometries), str(options.labels), "--level", options.level])
        if code:
            return code
    trusted = {frame.reaction: frame for frame in iterate(open_frames(options.labels))}
    if not all(_is_of(trusted.get(one.info["reaction"]), one) for one in _structures(points)):
        _parser().error(f"{options.labels} is of other structures; remove it, or name another file")
    errors = {
        what: np.array([_error(of, trusted, name, *ends) for name, of in points.items()])
        for what, ends in DIFFERENCES.items()
    }
    Console().print(table(errors, len(points)))
    if options.json:
        figures = {what: figures_of(values) for what, values in errors.items()}
        options.json.write_text(json.dumps({"reactions": [*points], **figures}, indent=1))
    return 0


def points_of(folder: Path, first: int) -> dict[str, dict[str, Minimum | Saddle]]:
    """The `POINTS` of the smallest intended reactions of a run, by their ids."""
    run = load_run(folder)
    rows = sorted(run.rows.values(), key=lambda row: (row.atoms or 0, row.id))
    names = [row.id for row in rows if row.verdict is Label.INTENDED][:first]
    found = {name: [getattr(run[name], point) for point in POINTS] for name in names}
    return {name: dict(zip(POINTS, points, strict=True)) for name, points in found.items()}


def _structures(points: Mapping[str, Mapping[str, Minimum | Saddle]]) -> Iterator[Atoms]:
    for name, of in points.items():
        for point, record in of.items():
            atoms = Atoms(record.atoms.numbers, record.atoms.positions)
            atoms.info["reaction"] = f"{name}.{point}"
            yield atoms


def _is_of(frame: Frame | None, atoms: Atoms) -> bool:
    """Whether labels belong to a structure: other weights have other saddles."""
    if frame is None or not np.array_equal(frame.numbers, atoms.numbers):
        return False
    return bool(np.abs(frame.positions - atoms.positions).max() < 1e-4)  # digits of the file, Å


def _error(
    points: Mapping[str, Minimum | Saddle],
    trusted: Mapping[str, Frame],
    name: str,
    first: str,
    last: str,
) -> float:
    """Of the energy of one point above another, kcal/mol."""
    own = points[last].energy - points[first].energy
    theirs = trusted[f"{name}.{last}"].energy - trusted[f"{name}.{first}"].energy
    return float(to_kcal_per_mol(own - theirs))


def figures_of(errors: np.ndarray) -> dict[str, float]:
    """Mean, mean absolute and median absolute error, kcal/mol."""
    return {
        "mean": float(errors.mean()),
        "mean_absolute": float(np.abs(errors).mean()),
        "median_absolute": float(np.median(np.abs(errors))),
        "largest": float(np.abs(errors).max()),
    }


def table(errors: dict[str, np.ndarray], count: int) -> Table:
    """A line for each of `DIFFERENCES`."""
    columns = ("kcal/mol", "mean", "mean absolute", "median absolute", "largest")
    shown = Table(*columns, title=f"errors of {count} reactions")
    for what, values in errors.items():
        shown.add_row(what, *(f"{one:.1f}" for one in figures_of(values).values()))
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.barriers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--first", type=int, default=16, help="how many reactions")
    parser.add_argument("--level", default="wb97x-coarse", help="as in horm-label")
    parser.add_argument("--labels", type=Path, required=True, help="where energies are kept (.h5)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
