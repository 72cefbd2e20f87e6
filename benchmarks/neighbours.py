"""What the search for neighbours costs beside the network that it serves.

    python -m benchmarks.neighbours

Random packings of H, C, N and O (no two atoms closer than 1 Å), one thread; medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from ase import Atoms

from horm_calc.derivatives.hessian import energies_and_forces
from horm_calc.graphs import Molecules, pairs_within
from horm_calc.models.registry import network_class

#: Volume of an atom in organic matter, Å³, hydrogens included.
VOLUME = 10.0


def packing(count: int) -> Atoms:
    """A cluster of `count` atoms."""
    rng = np.random.default_rng(count)
    width = (VOLUME * count) ** (1 / 3)
    positions = np.empty((0, 3))
    while len(positions) < count:
        point = rng.uniform(0, width, 3)
        if not len(positions) or np.linalg.norm(positions - point, axis=1).min() > 1.0:
            positions = np.vstack([positions, point])
    return Atoms(rng.choice([1, 6, 7, 8], count), positions)


def median(run: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[14, 100, 500])
    parser.add_argument("--networks", nargs="+", default=["MomentNet", "AlphaNet", "EquiformerV2"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'atoms':>5}  {'network':<12}  {'edges':>7}  {'search, ms':>10}  {'network, ms':>11}")
    for size in options.sizes:
        molecules = Molecules.from_atoms([packing(size)], torch.float32)
        for name in options.networks:
            network = network_class(name).fresh({}).requires_grad_(False).eval()
            target, _ = pairs_within(molecules, network.cutoff)
            search = median(partial(pairs_within, molecules, network.cutoff), 5)
            run = partial(energies_and_forces, network, molecules)
            whole = median(run, 5 if size < 500 else 1)
            times = f"{1e3 * search:10.2f}  {1e3 * whole:11.1f}"
            print(f"{size:5}  {name:<12}  {len(target):7}  {times}")


if __name__ == "__main__":
    main()
