"""Whether the forces of a network are smooth: its Hessians against differences of its forces.

    python -m benchmarks.smoothness --checkpoint horm-mini

takes the transition states of ../shared/data/xtb_dev.h5 and compares every element of the
analytic Hessian with the central difference of forces at ±1e-3 Å. Kinks and spikes, which derail
optimisers that trust second derivatives, are far off there; so are rounding errors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from rich.progress import track

from benchmarks.networks import environment
from benchmarks.precision import DATA, transition_states
from horm_calc import HormCalculator
from horm_calc.checkpoints.catalogue import SHIPPED

#: Displacement, Å.
STEP = 1e-3
#: An element that is off by more, eV/Å², counts as rough.
LIMIT = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print the share of smooth saddles and the spread."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.smoothness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", default=SHIPPED, help="a published name or a file")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--first", type=int, default=1000, help="how many transition states")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    calculator = HormCalculator(options.checkpoint)
    saddles = transition_states(options.data, options.first, largest=1000)
    worst = {name: roughness(calculator, atoms) for name, atoms in track(saddles, "comparing")}
    values = np.array(list(worst.values()))
    print(
        f"{np.mean(values < LIMIT):.1%} of {len(values)} transition states have all elements "
        f"within {LIMIT} eV/Å²; the worst element: median {np.median(values):.4f}, "
        f"95th percentile {np.quantile(values, 0.95):.4f}, largest {values.max():.4f} eV/Å²"
    )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment("cpu", options.threads)
        options.json.write_text(json.dumps({"environment": about, "worst": worst}, indent=1))


def roughness(calculator: HormCalculator, atoms: Atoms) -> float:
    """The largest difference of an element of the Hessian and the central difference, eV/Å²."""
    [found] = calculator.evaluate([atoms], "hessian")
    images = []
    for place in np.ndindex(*atoms.positions.shape):
        for sign in (1, -1):
            image = atoms.copy()
            image.positions[place] += sign * STEP
            images.append(image)
    forces = [row["forces"].ravel() for row in calculator.evaluate(images, "forces")]
    rows = (np.array(forces[1::2]) - np.array(forces[::2])) / (2 * STEP)
    return float(np.abs(found["hessian"] - rows).max())


if __name__ == "__main__":
    main()
