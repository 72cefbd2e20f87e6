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

import contextlib
import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from workflows.connectivity import RADII, Pair, bonds, same_bonds
from workflows.errors import NotConverged, StageError, as_stage_error
from workflows.geometry import laid_upon
from workflows.limits import run_with_limit
from workflows.lower_way import FLAT, Section, straight_sections, string_path
from workflows.masses import with_positions
from workflows.records import StringPath
from workflows.settings import LowerWaySettings
from workflows.stage import stage
from workflows.stereochemistry import compare
from workflows.surface import Surface

#: From one end to the other; each is followed by at most so many steps of an optimiser, and the
#: last one, when the bonds are free again, by more.
STEPS, RELAXATION, DESCENT = 16, 5, 50

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


class _Driven(Calculator):
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
    settings: LowerWaySettings,
) -> StringPath:
    """A path driven from one end or both, whose `ceiling` holds between its images too.

    Its ends may be other conformers than those given. Raises `NotConverged` where no path arrives,
    or none stays below the energy `saddle` (eV) by `settings.margin`, `CalculatorFailed`,
    `StageTimeout`, `StageError`.
    """

    bar = saddle - settings.margin

    def drive() -> list[Section]:
        ends = reactant, product
        halves = [_drive(*pair, bond_factor, bar, surface) for pair in (ends, ends[::-1])]
        return _both_halves(halves, bar, surface) or _one_half(
            halves, ends, bond_factor, bar, surface
        )

    sections = run_with_limit(drive, settings.wall_time)
    if not sections:
        raise NotConverged("driven bonds lead to no path from end to end, or to none that is low")
    return string_path(sections, "driven")


def _drive(
    start: Atoms, end: Atoms, bond_factor: float, bar: float, surface: Surface
) -> list[Atoms]:
    """`start`, and what becomes of it as long as it lies below `bar` and can be computed."""
    pairs = sorted(bonds(start, bond_factor) ^ bonds(end, bond_factor))
    lengths = _lengths(start, end, pairs)
    driven = _Driven(surface, np.array(pairs), np.sign(lengths[-1] - lengths[0]))
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
        if len(half) <= STEPS or not (sections := _sections_below(bar, surface, half[::sense])):
            continue
        descent = _descent(half[-1], surface)
        last = descent[-1]
        if same_bonds(goal, last, bond_factor) and compare(goal, last, bond_factor).same:
            rest = _sections_below(bar, surface, descent[::sense])
            return [*sections, *rest] if sense > 0 else [*rest, *sections]
    return []


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


def _lengths(start: Atoms, end: Atoms, pairs: Sequence[Pair]) -> np.ndarray:
    """Of the `pairs` on the way, (STEPS + 1, pairs), Å, in equal steps of all of them together."""
    radii = np.array([RADII[start.numbers[list(pair)]].sum() for pair in pairs])
    first, last = (
        np.array([atoms.get_distance(*pair) for pair in pairs]) for atoms in (start, end)
    )
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
    _run(optimizer, RELAXATION)
    return hessian if optimizer.state is None else optimizer.H


def _descent(start: Atoms, surface: Surface) -> list[Atoms]:
    """The steps of a relaxation without springs, as far as they can be computed."""
    atoms = with_positions(start, start.positions)
    atoms.calc = surface
    images = [start]
    optimizer = BFGS(atoms, logfile=None)
    optimizer.attach(lambda: images.append(with_positions(atoms, atoms.positions)))
    with contextlib.suppress(StageError):
        _run(optimizer, DESCENT)
    return images


def _run(optimizer: BFGS, steps: int) -> None:
    try:
        optimizer.run(fmax=FLAT, steps=steps)
    except Exception as error:
        raise as_stage_error(error, "ASE", "") from error


def _meeting(forth: list[Atoms], back: list[Atoms], surface: Surface) -> tuple[int, int] | None:
    """Which images of both halves are alike and low, where the halves are best joined."""
    tops = _tops(forth, surface), _tops(back, surface)
    heights = {}
    for i, j in itertools.product(range(len(forth)), range(len(back))):
        apart = laid_upon(forth[i], back[j]).positions - forth[i].positions
        if (apart**2).sum(1).mean() < NEAR**2:
            heights[i, j] = max(tops[0][i], tops[1][j]) + STRAIN * (apart**2).sum()
    return min(heights, key=lambda place: heights[place]) if heights else None
