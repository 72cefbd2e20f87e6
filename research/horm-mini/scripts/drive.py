"""Structures of reactions that nobody has named: pairs of atoms pushed together and torn apart.

    python research/horm-mini/scripts/drive.py \
        ../shared/data/xtb_train.h5 runs/driven.xyz --workers 2
    horm-label runs/driven.xyz runs/horm-mini/driven.h5 --level gfn2-xtb --hessians 0.5 \
        --projections 2

A network that knows few reactions is better for having seen more. From the ends of each reaction
that one trains on, never of others, constant forces press two atoms that are not bonded together
and pull on a bond of one of them (the artificial-force-induced reaction of Maeda and Morokuma,
10.1063/1.3457903), while everything else relaxes at GFN2-xTB; then they are let go. With
`--pairs 2` that is done to two pairs at once, as in pericyclic reactions. Structures that differ
from the one before are written, with the reaction in their comments.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.constraints import ExternalForce
from ase.optimize import BFGS
from collect import apart, in_parallel, named
from tblite.ase import TBLite

from horm_calc.chemistry.connectivity import bonds

#: eV/Å. A C-C bond breaks at about 4.
FORCES = (2.0, 7.0)
#: Å. Pairs farther apart than the first do not react; a molecule that has grown by the second has
#: fallen apart.
REACH, GROWN = 4.0, 4.0
#: Steps with the forces, and without them.
STEPS, RELEASED = 40, 25
#: eV above the start, where nothing reacts.
HIGHEST = 8.0


def main() -> None:
    """Write the structures of all driven molecules to one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="reactions with `reactant` and `product` (.h5)")
    parser.add_argument("out", type=Path, help="a new extended xyz file")
    parser.add_argument("--each", type=int, default=2, help="drives of each end (default 2)")
    parser.add_argument("--pairs", type=int, default=1, choices=(1, 2), help="pressed at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with h5py.File(options.frames) as file:
        starts = [
            (
                named(Atoms(group["numbers"][:], group[end][:]), name),
                [options.seed, number, place],
                options.pairs,
            )
            for number, (name, group) in enumerate(file.items())
            for end in ("reactant", "product")
            for place in range(options.each)
        ]
    count = in_parallel(drive, starts, options.workers, options.out)
    print(f"{count} structures of {len(starts)} drives in {options.out}")


def drive(start: Atoms, seed: list[int], pairs: int = 1) -> list[Atoms]:
    """The structures that a molecule goes through when it is driven."""
    generator = np.random.default_rng(seed)
    atoms = start.copy()
    atoms.set_constraint(
        [force for _ in range(pairs) for force in external_forces(atoms, generator)]
    )
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    seen: list[Atoms] = []
    try:
        follow(atoms, STEPS, seen)
        atoms.set_constraint()
        follow(atoms, RELEASED, seen)
    except CalculatorError:
        pass  # of a structure without a converged SCF: those before it are good
    return [named(one, start.info["reaction"]) for one in apart(seen)[1:]]


def external_forces(atoms: Atoms, generator: np.random.Generator) -> Iterator[ExternalForce]:
    """Presses a pair together and, three times of four, pulls on a bond of one of the two."""
    bonded = {tuple(sorted(pair)) for pair in bonds(atoms, 1.2)}
    distances = atoms.get_all_distances()
    count = len(atoms)
    near = [
        (i, j)
        for i in range(count)
        for j in range(i + 1, count)
        if (i, j) not in bonded and distances[i, j] < REACH
    ]
    pair = near[generator.integers(len(near))]
    yield ExternalForce(*pair, -generator.uniform(*FORCES))
    nearby = sorted(bond for bond in bonded if set(bond) & set(pair))
    if nearby and generator.random() < 0.75:
        yield ExternalForce(*nearby[generator.integers(len(nearby))], generator.uniform(*FORCES))


def follow(atoms: Atoms, steps: int, seen: list[Atoms]) -> None:
    """Relaxes and keeps each step, until the molecule falls apart or leaves what is of interest."""
    wide = atoms.get_all_distances().max() + GROWN
    relaxation = BFGS(atoms, logfile=None, maxstep=0.15)
    for _ in relaxation.irun(fmax=0.1, steps=steps):
        energy = atoms.get_potential_energy(apply_constraint=False)
        seen.append(atoms.copy())
        seen[-1].info["energy"] = energy
        if energy > seen[0].info["energy"] + HIGHEST or atoms.get_all_distances().max() > wide:
            return


if __name__ == "__main__":
    main()
