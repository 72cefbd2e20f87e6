"""Towards transition states of other molecules: atoms exchanged in those of training reactions.

    python research/horm-mini/scripts/mutate.py \
        ../shared/data/xtb_train.h5 runs/mutated.xyz --workers 2
    python research/horm-mini/scripts/avoid.py \
        runs/mutated.xyz ../shared/data/xtb_dev.h5 runs/kept.xyz
    horm-label runs/kept.xyz runs/horm-mini/mutated.h5 --level gfn2-xtb --hessians 0.25 \
        --projections 2

Reactions that a network has not seen differ in their molecules first. So in the transition state
of each reaction that one trains on, never of others, one to three atoms are exchanged such that
the number of electrons remains what it was (CH for N, NH for O, either way) or a methyl group
comes or goes. What is new relaxes, then the network of `--calculator` walks towards the
transition state of the new reaction and down from there on both sides. Structures that differ from
the one before are written, with the reaction they come from in their comments: it is for the
labels, not for the network, to say what their energies are.
"""

import argparse
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorError
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from collect import apart, in_parallel, named
from drive import follow
from scipy.spatial.distance import pdist

from horm_calc.chemistry.connectivity import bonds
from horm_calc.input_checks import OutsideTrainingDomain
from reactbench_runner.calculators import build
from workflows.errors import WorkflowError
from workflows.settings import SaddleSettings
from workflows.stages.saddle import refine
from workflows.surface import Surface

#: The element that has one electron more, and so goes without one of its hydrogens.
NEXT = {6: 7, 7: 8}
PREVIOUS = {after: before for before, after in NEXT.items()}
#: Å, to a hydrogen and to a carbon.
BONDS = {1: 1.08, 6: 1.50}
#: Å. No two atoms come closer.
CLOSEST = 0.7
#: As many as the molecules of the data have.
MOST_ATOMS = 21
#: The walk to the transition state, from a Hessian at its start that is updated afterwards.
WALK = SaddleSettings(max_steps=20, hessian_every=20, max_force=0.1)
#: Steps of what is new alone, and of each way down.
SETTLING, DESCENT = 20, 12
#: Å, of the transition state towards both sides, and of each coordinate at random.
ASIDE, DISPLACED = 0.3, 0.06


def main() -> None:
    """Write the structures of all exchanged molecules to one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="reactions with a `transition_state` (.h5)")
    parser.add_argument("out", type=Path, help="a new extended xyz file")
    parser.add_argument("--calculator", default="horm:horm-mini-xtb", help="as of horm-tssearch")
    parser.add_argument("--each", type=int, default=3, help="molecules of each (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with h5py.File(options.frames) as file:
        saddles = [
            (named(Atoms(group["numbers"][:], group["transition_state"][:]), name), number)
            for number, (name, group) in enumerate(file.items())
            if "transition_state" in group
        ]
    starts = [
        (atoms, [options.seed, number, one], options.calculator)
        for atoms, number in saddles
        for one in range(options.each)
    ]
    count = in_parallel(structures, starts, options.workers, options.out)
    print(f"{count} structures of {len(starts)} molecules in {options.out}")


def structures(saddle: Atoms, seed: list[int], calculator: str) -> list[Atoms]:
    """What a molecule with other atoms goes through on its way to its transition state and down."""
    generator = np.random.default_rng(seed)
    other, kept = saddle.copy(), np.ones(len(saddle), bool)
    for _ in range(generator.integers(1, 4)):
        other, kept = exchanged(other, kept, generator)
    other.calc = loaded(calculator)
    try:
        seen = walked(other, kept, generator)
    except (WorkflowError, CalculatorError):
        return []
    sensible = [one for one in seen if closest(one) > CLOSEST]
    return [named(one, saddle.info["reaction"]) for one in apart(sensible)]


def walked(other: Atoms, kept: np.ndarray, generator: np.random.Generator) -> list[Atoms]:
    """`other` when what is new in it has settled, near its transition state, and on both sides."""
    other.set_constraint(FixAtoms(mask=kept))
    BFGS(other, logfile=None, maxstep=0.15).run(fmax=0.2, steps=SETTLING)
    other.set_constraint()
    found = refine(other, Surface(other.calc), WALK)
    displaced = found.atoms.copy()
    displaced.positions += generator.normal(0, DISPLACED, (len(other), 3))
    seen = [other, displaced, found.atoms]
    for side in (ASIDE, -ASIDE):
        atoms = found.atoms.copy()
        atoms.positions += side * found.modes.displacements[0]
        atoms.calc = other.calc
        way: list[Atoms] = []
        follow(atoms, DESCENT, way)
        seen += way
    return seen


def exchanged(
    atoms: Atoms, kept: np.ndarray, generator: np.random.Generator
) -> tuple[Atoms, np.ndarray]:
    """One exchange at random; `kept` (N,) tells the atoms that are where they were."""
    choices = list(exchanges(atoms, generator))
    for choice in generator.permutation(len(choices)):
        gone, arrived, changed = choices[choice]
        other = atoms + arrived
        for index, number in changed.items():
            other.numbers[index] = number
        del other[gone]
        if closest(other) > CLOSEST:
            moved = np.append(kept, np.zeros(len(arrived), bool))
            moved[list(changed)] = False
            return other, np.delete(moved, gone)
    return atoms, kept


def closest(atoms: Atoms) -> float:
    """The shortest distance of two atoms, Å."""
    return float(pdist(atoms.positions).min())


def exchanges(
    atoms: Atoms, generator: np.random.Generator
) -> Iterator[tuple[list[int], Atoms, dict[int, int]]]:
    """What can be done: the atoms that go, those that come, and the new elements of others."""
    near: list[list[int]] = [[] for _ in atoms]
    for i, j in bonds(atoms, 1.2):
        near[i].append(j)
        near[j].append(i)
    for i, number in enumerate(atoms.numbers):
        hydrogens = [j for j in near[i] if atoms.numbers[j] == 1 and len(near[j]) == 1]
        if number in NEXT and hydrogens:
            yield hydrogens[:1], Atoms(), {i: NEXT[number]}
        if number in PREVIOUS and near[i] and len(atoms) < MOST_ATOMS:
            away = -sum(unit(atoms.get_distance(i, j, vector=True)) for j in near[i])
            away = unit(away + generator.normal(0, 0.1, 3))
            yield [], Atoms("H", [atoms.positions[i] + BONDS[1] * away]), {i: PREVIOUS[number]}
        if number == 6 and len(hydrogens) == 3 and len(near[i]) == 4:
            yield hydrogens, Atoms(), {i: 1}
        if number != 1 and hydrogens and len(atoms) + 3 <= MOST_ATOMS:
            yield hydrogens[:1], methyl(atoms, i, hydrogens[0], generator), {}


def methyl(atoms: Atoms, base: int, hydrogen: int, generator: np.random.Generator) -> Atoms:
    """A methyl group on atom `base` in the direction of one of its hydrogens, turned at random."""
    axis = unit(atoms.get_distance(base, hydrogen, vector=True))
    centre = atoms.positions[base] + BONDS[6] * axis
    first = unit(np.cross(axis, generator.normal(size=3)))
    second = np.cross(axis, first)
    angles = 2 * np.pi * np.arange(3) / 3
    # A third of the bond along the axis: the angles are those of a tetrahedron.
    ring = np.sqrt(8 / 9) * (np.outer(np.cos(angles), first) + np.outer(np.sin(angles), second))
    return Atoms("CH3", [centre, *(centre + BONDS[1] * (ring + axis / 3))])


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@cache
def loaded(calculator: str) -> Calculator:
    """One calculator a process, without its warnings: here it is led astray on purpose."""
    warnings.simplefilter("ignore", OutsideTrainingDomain)
    return build(calculator, 0, 1)


if __name__ == "__main__":
    main()
