"""Paths on which the bonds that change are driven and all else relaxes.

A geodesic path knows distances, not bonds: it can bend where a bond breaks on one side of an atom
and forms on its other side, and bands that start from it stay bent. Here the graphs of the ends say
which bonds change. From either end these are driven step by step to their lengths in the other,
while everything else relaxes. Both halves are joined where they are alike.

What is driven is Pauling's bond order, exp((r0 - r) / 0.6 Å), in equal parts for all bonds: where
half of a bond is gone, half of the other is there, however far away its atoms were. Springs hold
only what lags behind: a bond may run ahead, and past its saddle a structure falls by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from horm_calc.chemistry.connectivity import RADII, Pair, bonds, pieces, same_bonds
from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.stereochemistry import compare
from horm_calc.chemistry.superposition import laid_upon
from workflows.errors import NotConverged, StageError
from workflows.limits import run_with_limit
from workflows.logs import log_of
from workflows.records import StringPath
from workflows.settings import LowerPathSettings
from workflows.stages.lower_path import Section, straight_sections, string_path
from workflows.stages.stage import stage
from workflows.surface import Surface

#: From one end to the other; each is followed by at most so many steps of an optimiser, until no
#: atom feels more than `FLAT`, eV/Å.
STEPS, RELAXATION, FLAT = 16, 5, 0.1

#: Where the bonds are free again: largest force on an atom, eV/Å, that is no slope any more (those
#: of ions that move against each other are gentle), and steps until there.
AT_REST, DESCENT = 0.025, 100

#: What the bond order falls by a factor of e in, Å: Pauling's own 0.26 is for whole bonds.
SCALE = 0.6

#: No bond is driven further apart than this times the sum of its covalent radii: fragments find
#: their places by themselves.
APART = 2.5

#: Of the springs, eV/Å²: about that of a bond.
STIFFNESS = 40.0

#: A straight line between two structures rises by about this times the sum of the squares of what
#: their atoms move, eV/Å²: to choose where the halves are joined, no more.
STRAIN = 0.4

#: Both halves meet where they are less apart than this, root mean square distance of the atoms, Å.
NEAR = 0.3


class _Springs(Calculator):
    """The surface with springs on those bonds that are behind their target lengths."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE

    def __init__(self, surface: Surface, pairs: np.ndarray, senses: np.ndarray) -> None:
        """senses: 1 for a bond that is to lengthen, -1 for one that is to shorten."""
        super().__init__()
        self.surface, self.pairs, self.senses = surface, pairs, senses
        self.targets = np.zeros(len(pairs))

    def aim(self, targets: np.ndarray) -> None:
        """Go for these lengths (Å) from here on."""
        self.targets = targets
        self.reset()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        energy, forces = self.surface.at(self.atoms)
        first, second = self.pairs.T
        vectors = self.atoms.positions[second] - self.atoms.positions[first]
        lengths = np.linalg.norm(vectors, axis=1)
        behind = np.maximum(self.senses * (self.targets - lengths), 0.0)
        pulls = (STIFFNESS * self.senses * behind / lengths)[:, None] * vectors
        np.add.at(forces, second, pulls)
        np.add.at(forces, first, -pulls)
        self.results = {"energy": energy + STIFFNESS / 2 * behind @ behind, "forces": forces}


@stage
def driven_string(
    reactant: Atoms,
    product: Atoms,
    bond_factor: float,
    saddle: float,
    surface: Surface,
    settings: LowerPathSettings,
) -> StringPath:
    """A path driven from one end or both, whose `ceiling` holds between its images too.

    Its ends may be other conformers than those given. Raises `NotConverged` where no path arrives,
    or none stays below the energy `saddle` (eV) by `settings.margin`, `CalculatorFailed`,
    `StageTimeout`, `StageError`.
    """
    ends = reactant, product
    apart = all(len(pieces(end, bond_factor)) > 1 for end in ends)

    def lowest() -> list[Section]:
        bar, best = saddle - settings.margin, []
        for formed_only in (True, False) if apart else (False,):
            halves = [
                _towards(*pair, bond_factor, bar, surface, formed_only=formed_only)
                for pair in (ends, ends[::-1])
            ]
            for sections in (
                _both_halves(halves, bar, surface),
                _one_half(halves, ends, bond_factor, bar, surface),
            ):
                if sections and (ceiling := max(one.ceiling for one in sections)) < bar:
                    bar, best = ceiling, sections
        return best

    sections = run_with_limit(lowest, settings.wall_time)
    if not sections:
        raise NotConverged("driving bonds gives no path between the endpoints, or none that is low")
    return string_path(sections, "driven")


def _towards(
    start: Atoms, end: Atoms, bond_factor: float, bar: float, surface: Surface, *, formed_only: bool
) -> list[Atoms]:
    """`start`, and what becomes of it when its bonds get the lengths that they have in `end`."""
    before, after = bonds(start, bond_factor), bonds(end, bond_factor)
    pairs = sorted((formed_only and after - before) or before ^ after)
    return drive(start, pairs, _distances(end, pairs), bar, surface)


def drive(
    start: Atoms, pairs: Sequence[Pair], aims: np.ndarray, bar: float, surface: Surface
) -> list[Atoms]:
    """`start`, and what becomes of it as long as it lies below `bar` (eV) and can be computed.

    aims: (pairs,), the lengths that the pairs have in the end, Å.
    """
    lengths = _lengths(start, aims, pairs)
    driven = _Springs(surface, np.array(pairs), np.sign(lengths[-1] - lengths[0]))
    atoms = with_positions(start, start.positions)
    atoms.calc = driven
    images, hessian = [start], None
    for targets in lengths[1:]:
        driven.aim(targets)
        try:
            hessian = _relax(atoms, hessian)
        except StageError:
            break
        if surface.at(atoms)[0] > bar:
            break
        images.append(with_positions(atoms, atoms.positions))
    return images


def _both_halves(halves: list[list[Atoms]], bar: float, surface: Surface) -> list[Section]:
    """Sections from end to end over both halves, none where they do not meet below `bar`."""
    forth, back = halves
    if not (meeting := _meeting(forth, back, surface)):
        return []
    i, j = meeting
    between = [forth[i], laid_upon(forth[i], back[j])]
    return _sections_below(bar, surface, forth[: i + 1], between, back[j::-1])


def _one_half(
    halves: list[list[Atoms]],
    ends: tuple[Atoms, Atoms],
    bond_factor: float,
    bar: float,
    surface: Surface,
) -> list[Section]:
    """Sections from one end to a conformer of the other over one half, the lower one first."""
    directions = [(halves[0], ends[1], 1), (halves[1], ends[0], -1)]
    for half, goal, sense in sorted(directions, key=lambda way: _tops(way[0], surface)[-1]):
        images = _released(half, goal, bond_factor, bar, surface)
        if images and (sections := _sections_below(bar, surface, images[::sense])):
            return sections
    return []


def _released(
    half: list[Atoms], goal: Atoms, bond_factor: float, bar: float, surface: Surface
) -> list[Atoms]:
    """`half` as far as it must be driven to fall to a conformer of `goal`, and its fall."""
    there = [place for place, atoms in enumerate(half) if same_bonds(atoms, goal, bond_factor)]
    if not there or not _sections_below(bar, surface, half[: there[0] + 1]):
        return []

    def fall(place: int) -> list[Atoms]:
        images = descent(half[place], surface)
        if not images or not same_bonds(goal, images[-1], bond_factor):
            return []
        return images if compare(goal, images[-1], bond_factor).same else []

    if not (images := fall(len(half) - 1)):
        return []
    before, after = there[0] - 1, len(half) - 1
    while after - before > 1:
        middle = (before + after) // 2
        if earlier := fall(middle):
            after, images = middle, earlier
        else:
            before = middle
    return half[:after] + images


def _sections_below(bar: float, surface: Surface, *parts: list[Atoms]) -> list[Section]:
    """Those between neighbours in each part, the highest first; none if one reaches `bar`."""
    pairs = [list(pair) for part in parts for pair in itertools.pairwise(part)]
    found: dict[int, Section] = {}
    for place in np.argsort([-max(surface.at(one)[0] for one in pair) for pair in pairs]):
        found[place] = straight_sections(pairs[place], surface)[0]
        if found[place].ceiling >= bar:
            return []
    return [found[place] for place in range(len(pairs))]


def _tops(half: list[Atoms], surface: Surface) -> np.ndarray:
    """The highest energy up to each image, eV."""
    return np.maximum.accumulate([surface.at(image)[0] for image in half])


def _distances(atoms: Atoms, pairs: Sequence[Pair]) -> np.ndarray:
    return np.array([atoms.get_distance(*pair) for pair in pairs])


def sums_of_radii(atoms: Atoms, pairs: Sequence[Pair]) -> np.ndarray:
    """Of the covalent radii of the atoms of each pair, (pairs,), Å."""
    return np.array([RADII[atoms.numbers[list(pair)]].sum() for pair in pairs])


def _lengths(start: Atoms, last: np.ndarray, pairs: Sequence[Pair]) -> np.ndarray:
    """Of the `pairs` on the way, (STEPS + 1, pairs), Å, in equal steps of all of them together."""
    radii, first = sums_of_radii(start, pairs), _distances(start, pairs)
    last = np.where(last > first, np.clip(last, first, np.maximum(APART * radii, first)), last)
    before, after = (np.exp((radii - lengths) / SCALE) for lengths in (first, last))
    fine = np.linspace(0, 1, 1001)[:, None]
    lengths = radii - SCALE * np.log(before + fine * (after - before))
    gone = np.concatenate([[0], np.linalg.norm(np.diff(lengths, axis=0), axis=1).cumsum()])
    marks = np.linspace(0, gone[-1], STEPS + 1)
    return np.stack([np.interp(marks, gone, column) for column in lengths.T], axis=1)


def _relax(atoms: Atoms, hessian: np.ndarray | None) -> np.ndarray | None:
    """Some steps from the `hessian` of the last ones (eV/Å²), and what has become of that."""
    optimizer = BFGS(atoms, logfile=None)
    if hessian is not None:
        optimizer.H0 = hessian
    _run(optimizer, FLAT, RELAXATION)
    return hessian if optimizer.state is None else optimizer.H


def descent(start: Atoms, surface: Surface) -> list[Atoms]:
    """The steps of a relaxation without springs, none where it comes to no rest."""
    atoms = with_positions(start, start.positions)
    atoms.calc = surface
    images = [start]
    optimizer = BFGS(atoms, logfile=None)
    optimizer.attach(lambda: images.append(with_positions(atoms, atoms.positions)))
    try:
        return images if _run(optimizer, AT_REST, DESCENT) else []
    except StageError:
        return []


def _run(optimizer: BFGS, max_force: float, steps: int) -> bool:
    with log_of("ASE"):
        return bool(optimizer.run(fmax=max_force, steps=steps))


def _meeting(forth: list[Atoms], back: list[Atoms], surface: Surface) -> tuple[int, int] | None:
    """Which images of both halves are alike and low, where the halves are best joined."""
    tops = _tops(forth, surface), _tops(back, surface)
    heights = {}
    for i, j in itertools.product(range(len(forth)), range(len(back))):
        apart = laid_upon(forth[i], back[j]).positions - forth[i].positions
        if (apart**2).sum(1).mean() < NEAR**2:
            heights[i, j] = max(tops[0][i], tops[1][j]) + STRAIN * (apart**2).sum()
    return min(heights, key=lambda place: heights[place]) if heights else None
