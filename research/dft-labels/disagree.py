"""Structures on which networks disagree most: those to be labelled by DFT next.

    python research/dft-labels/disagree.py runs/searched.xyz runs/dft-labels FIRST SECOND

reads structures of searches (written by collect.py), adds to each a copy with its atoms moved at
random, so that curvature across the path counts too, and writes `active-NNN.xyz`: of each reaction
the few structures in which the forces of the networks differ most. The networks are trained on the
same labels with other seeds or from other weights: where they differ, the labels have not decided
(query by committee: Smith et al., J. Chem. Phys. 2018, 148, 241733).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from horm_calc import HormCalculator

#: Structures of a reaction, and by how much they differ at least, root mean square in Å.
EACH, APART = 5, 0.1
#: Å, standard deviation of the displacements.
DISPLACEMENT = 0.05
#: eV/Å. Structures with larger forces are far from all paths.
MAX_FORCE = 8.0
PER_FILE = 48


def main() -> None:
    """Compare the networks, choose, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("structures", type=Path, help="extended xyz that names its reactions")
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("networks", nargs="+", help="names or files of two networks or more")
    options = parser.parse_args()
    if len(options.networks) < 2:
        parser.error("one network does not disagree with itself: name two or more")
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    structures = ase.io.read(options.structures, ":")
    candidates = structures + [atoms.copy() for atoms in structures]
    for atoms in candidates[len(structures) :]:
        atoms.rattle(DISPLACEMENT, rng=rng)
    forces = [forces_of(name, candidates) for name in options.networks]
    kept = most_disputed(candidates, *disputes(forces))
    rng.shuffle(kept)
    flat = [atoms for few in kept for atoms in few]
    for number, start in enumerate(range(0, len(flat), PER_FILE)):
        path = options.out / f"active-{number:03d}.xyz"
        ase.io.write(path, flat[start : start + PER_FILE], format="extxyz")
    print(f"{len(flat)} structures of {len(kept)} reactions in {options.out}")


def forces_of(network: str, molecules: list[Atoms]) -> list[np.ndarray]:
    """Of each molecule (n, 3), eV/Å."""
    found = HormCalculator(network).evaluate(molecules, ("energy", "forces"))
    return [one["forces"] for one in found]


def disputes(forces: list[list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Of each molecule how much its forces differ (standard deviation), and the largest of them."""
    spread = [np.std(several, axis=0).mean() for several in zip(*forces, strict=True)]
    largest = [np.abs(several).max() for several in zip(*forces, strict=True)]
    return np.array(spread), np.array(largest)


def most_disputed(
    molecules: list[Atoms], spread: np.ndarray, largest: np.ndarray
) -> list[list[Atoms]]:
    """Of each reaction `EACH` molecules, the most disputed first."""
    kept: dict[str, list[Atoms]] = defaultdict(list)
    for index in np.argsort(-spread):
        atoms, few = molecules[index], kept[molecules[index].info["reaction"]]
        new = all(distance(atoms, other) > APART for other in few)
        if len(few) < EACH and largest[index] < MAX_FORCE and new:
            few.append(atoms)
    return [few for few in kept.values() if few]


def distance(first: Atoms, second: Atoms) -> float:
    """Root mean square, Å; structures of one search hardly turn."""
    return float(np.sqrt(((first.positions - second.positions) ** 2).sum(1).mean()))


if __name__ == "__main__":
    main()
