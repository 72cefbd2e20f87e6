"""The molecules of an end that is in pieces, each relaxed alone.

Where two molecules react, six motions of one against the other are vibrations of the end as it
stands, however far they are apart, but translations and rotations of separated molecules. Only
barriers from these belong to the rate of a bimolecular reaction.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from ase import Atoms
from ase.calculators.calculator import Calculator
from scipy.spatial.distance import cdist

from horm_calc.chemistry.connectivity import Match, describe_changes, match_bonds, pieces
from horm_calc.chemistry.stereochemistry import isomer
from horm_calc.chemistry.thermochemistry import ThermochemistryError
from workflows.answers import asked
from workflows.electrons import State, named, shared
from workflows.errors import NotConverged, StageError, within
from workflows.input_checks import other_solvent
from workflows.limits import run_with_limit
from workflows.logs import log_with_cause
from workflows.records import Cost, Minimum, SeparatedMolecule, SeparatedMolecules, Start
from workflows.settings import SearchSettings, VerdictSettings
from workflows.stages.endpoints import settle
from workflows.stages.free_energy import ideal_gas
from workflows.status import Watch
from workflows.surface import Evaluations, Surface
from workflows.trust import concerns_about

#: Builds a calculator for a charge and a multiplicity, in the solvent of the reaction.
Build = Callable[[int, int], Calculator]

#: Makes the surface of a molecule in some state; may raise `StageError`.
SurfaceOf = Callable[[State], Surface]


def in_pieces(atoms: Atoms, settings: VerdictSettings) -> list[Atoms]:
    """The molecules of a structure; bonds in doubt hold them together."""
    return [atoms[piece] for piece in _pieces(atoms, settings)]


def _pieces(atoms: Atoms, settings: VerdictSettings) -> list[list[int]]:
    return pieces(atoms, settings.bond_factor * (1 + settings.margin))


def shortest_distance(molecules: Sequence[Atoms]) -> float:
    """Between atoms of two of these molecules, Å."""
    pairs = itertools.combinations([molecule.positions for molecule in molecules], 2)
    return min(float(cdist(*pair).min()) for pair in pairs)


def surfaces(
    reaction: Start, calculator: Calculator, build: Build | None, watch: Watch | None = None
) -> SurfaceOf:
    """Makes the surface of a molecule in some state, which tells `watch` of what is asked there.

    Without `build` only where that is the state of the whole reaction: of a calculator that is
    there it is not known whether it heeds another charge and multiplicity.
    """

    def surface_of(state: State) -> Surface:
        surface = bare(state)
        surface.watch = watch or surface.watch
        return surface

    def bare(state: State) -> Surface:
        if build is not None:
            surface = Surface(asked(lambda: build(*state), []), *state)
            if problem := other_solvent(reaction, surface.capabilities):
                raise StageError(problem)
            return surface
        if state == (reaction.charge, reaction.multiplicity):
            return Surface(calculator, *state)
        raise StageError(
            "a calculator is needed for other charges and multiplicities than those of the "
            "reaction; give search() a function `build` that makes one from both"
        )

    return surface_of


def separate(
    end: Minimum, reaction: Start, surface_of: SurfaceOf, settings: SearchSettings
) -> SeparatedMolecules:
    """The molecules of an end that is in pieces, each relaxed with its own charge and spin.

    The same stereoisomer is relaxed once, from where its first copy stands. Raises `StageError`
    where charges and spins are not certain, the calculator fails, or a molecule alone is none.
    """
    made: list[Surface] = []
    start = time.perf_counter()

    def counted(state: State) -> Surface:
        made.append(surface_of(state))
        return made[-1]

    def cost() -> Cost:
        gradients = sum(surface.evaluations.gradients for surface in made)
        hessians = sum(surface.evaluations.hessians for surface in made)
        return Cost(Evaluations(gradients, hessians), time.perf_counter() - start)

    try:
        molecules = _molecules(end.atoms, reaction, counted, settings)
    except StageError as error:
        error.cost = cost()
        raise
    log = "\n".join(f"{one.name}\n{one.minimum.log}" for one in molecules)
    return SeparatedMolecules(tuple(molecules), cost=cost(), log=log)


def _molecules(
    atoms: Atoms, reaction: Start, surface_of: SurfaceOf, settings: SearchSettings
) -> list[SeparatedMolecule]:
    members = _pieces(atoms, settings.verdict)
    found = [atoms[piece] for piece in members]
    kinds = [isomer(molecule, settings.verdict.bond_factor) for molecule in found]

    @cache
    def of(kind: str, state: State) -> float:
        molecule = found[kinds.index(kind)]
        try:
            limit = settings.endpoints.wall_time
            return run_with_limit(lambda: surface_of(state).at(molecule)[0], limit)
        except StageError as error:
            error.log = log_with_cause(error)
            raise within(error, named(molecule, state)) from error.__cause__

    total = reaction.charge, reaction.multiplicity
    states = shared(found, kinds, total, lambda place, state: of(kinds[place], state))
    alike = Counter(zip(kinds, states, strict=True))
    made = []
    for (kind, state), count in alike.items():
        first = members[kinds.index(kind)]
        one = _alone(atoms[first], state, surface_of(state), settings)
        made.append(dataclasses.replace(one, count=count, indices=tuple(first)))
    return made


def _alone(
    molecule: Atoms, state: State, surface: Surface, settings: SearchSettings
) -> SeparatedMolecule:
    """One of it, wherever it comes from."""
    charge, multiplicity = state
    name = named(molecule, state)
    threshold = settings.saddle.imaginary_threshold
    try:
        minimum = settle(molecule, threshold, surface, settings.endpoints)
    except StageError as error:
        raise within(error, f"{name} alone") from error.__cause__
    if not minimum.converged:
        raise NotConverged(f"{name} alone did not relax: {minimum.reason}")
    limit, margin = settings.verdict.bond_factor, settings.verdict.margin
    if match_bonds(molecule, minimum.atoms, limit, margin)[0] is Match.NO:
        changes = describe_changes(molecule, minimum.atoms, limit)
        raise StageError(f"{name} alone relaxes to another structure: {changes}")
    broken: list[StageError] = []
    said = concerns_about([minimum.atoms], surface, settings.endpoints.wall_time, broken.append)
    concerns = tuple(f"{name} alone: {text}" for text in said)
    gas, reason = None, ""
    try:
        gas = ideal_gas(minimum, 0, surface, settings)
    except ThermochemistryError as error:
        reason = f"{name}: {error}"
    except StageError as error:
        reason = f"{name}: {error}"
        broken.append(error)
    log = "\n".join([minimum.log, *map(log_with_cause, broken)])
    minimum = dataclasses.replace(minimum, log=log)
    return SeparatedMolecule(
        minimum,
        charge=charge,
        multiplicity=multiplicity,
        name=name,
        thermochemistry=gas,
        reason=reason,
        concerns=concerns,
    )
