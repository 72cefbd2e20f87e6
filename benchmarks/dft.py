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
    methods = {"GFN2-xTB": by_xtb(frames)}
    methods |= {name: by_network(name, frames) for name in options.networks}
    for name, found in methods.items():
        shown.add_row(name, *(f"{error:.3f}" for error in errors(found, frames)))
    Console().print(shown)


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


def errors(found: Sequence[Frame], frames: Frames) -> list[float]:
    """Means over frames of the mean absolute errors of energy, forces, Hessian, eigenvalues."""
    pairs = list(zip(found, iterate(frames), strict=True))
    isomers = [str(np.sort(frame.numbers).tolist()) for _, frame in pairs]
    offsets = np.array([one.energy - frame.energy for one, frame in pairs])
    energy = metrics.summary(metrics.without_offsets(offsets, isomers)).mean
    return [energy, *np.mean([of_derivatives(one, frame) for one, frame in pairs], axis=0)]


def of_derivatives(found: Frame, expected: Frame) -> list[float]:
    """Mean absolute errors of the forces, the Hessian and its eigenvalues."""
    assert found.hessian is not None and expected.hessian is not None
    return [
        metrics.mean_error(found.forces, expected.forces),
        metrics.mean_error(found.hessian, expected.hessian),
        metrics.mean_error(
            metrics.eigenvalues(found.hessian), metrics.eigenvalues(expected.hessian)
        ),
    ]


if __name__ == "__main__":
    main()
