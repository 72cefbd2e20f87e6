"""How near networks, and GFN2-xTB, come to DFT: on the frames that HORM published.

    python -m benchmarks.dft horm-mini runs/dft/tuned/best.ckpt

Mean absolute errors of energies (each less the mean of its isomers among the frames, as methods
count from different zeros; frames without isomers do not count), forces, Hessians and their
eigenvalues against ωB97X/6-31G(d), of the networks named and of GFN2-xTB itself. A minute or
two.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
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
