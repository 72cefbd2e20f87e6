"""Whether `horm-label --level wb97x` gives the labels that HORM published.

    python -m benchmarks.labels --frames 3

Labels the smallest frames of the published sample again and prints the differences of energies
(less their mean, as methods differ by a constant), of forces and of Hessians. Some minutes a frame
on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frame, chosen, iterate
from horm_calc.data.labelling.labels import label

DATA = Path(__file__).parents[2] / "shared" / "data" / "horm_sample_100.lmdb"


def main(arguments: Sequence[str] | None = None) -> None:
    """Label, compare, print."""
    options = _parser().parse_args(arguments)
    frames = open_frames(options.data)
    smallest = np.argsort(frames.sizes, kind="stable")[: options.frames]
    published = chosen(frames, smallest)
    shown = Table("frame", "atoms", "ΔE, meV", "max ΔF, eV/Å", "max ΔH, eV/Å²", "RMS ΔH")
    results = label(iterate(published), "wb97x", hessians=1.0, workers=options.workers)
    found = [one for one in results if isinstance(one, Frame)]
    shifts = [one.energy - published[i].energy for i, one in enumerate(found)]
    for i, one in enumerate(found):
        old = published[i]
        difference = np.asarray(one.hessian) - np.asarray(old.hessian)
        shown.add_row(
            str(smallest[i]),
            str(len(one.numbers)),
            f"{1e3 * (shifts[i] - np.mean(shifts)):.2f}",
            f"{np.abs(one.forces - old.forces).max():.1e}",
            f"{np.abs(difference).max():.4f}",
            f"{np.sqrt(np.mean(difference**2)):.4f}",
        )
    Console().print(shown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
