"""From what a search starts from to the two ends that it needs.

Conformers of a reaction given as SMILES are relaxed, and one pair of them is chosen; of a reactant
with bond changes the product is made. A reaction of two structures stays as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ase import Atoms

from horm_calc.chemistry.connectivity import Bonds, bonds
from horm_calc.chemistry.facing import faces, moves
from horm_calc.units import KCAL_PER_MOL, to_kcal_per_mol
from workflows.account import Account
from workflows.barrierless import changed_beyond_doubt
from workflows.errors import NotConverged, StageError
from workflows.records import Minimum, Reaction, Start
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import relax
from workflows.stages.product import driven_product
from workflows.starts import BondChanges
from workflows.surface import Surface

#: Pairs of conformers whose energies differ by less are almost equal, eV: chemical accuracy.
ALMOST = 1.0 * KCAL_PER_MOL

#: A pair may move by so much more than the nearest one, Å: another face of a double bond moves by
#: more, and would lead to another stereoisomer.
FURTHER = 0.5


@dataclass(frozen=True)
class Prepared:
    """Both ends, and what else the search should know.

    Attributes
    ----------
    reaction
        The ends that are relaxed next.
    inner
        Structures between the ends, over which the path of the first attempt runs; perhaps none.
    method
        Where these come from.
    warnings
        What a person should know.
    """

    reaction: Reaction
    inner: tuple[Atoms, ...] = ()
    method: str = ""
    warnings: tuple[str, ...] = ()


def prepare(start: Start, surface: Surface, settings: SearchSettings, account: Account) -> Prepared:
    """Both ends of `start`. Raises `StageError` where there are none."""
    if isinstance(start, BondChanges):
        account.begin(Stage.PREPARATION)
        return _driven(start, surface, settings, account)
    if not isinstance(start, Reaction):
        raise TypeError(f"no search starts from {start!r:.80}")
    inner = () if start.guess is None else (start.guess,)
    prepared = Prepared(start, inner, "guess" if inner else "")
    if settings.conformers > 1 and any(start.conformers):
        account.begin(Stage.PREPARATION)
        return _with_best_pair(prepared, surface, settings, account)
    return prepared


def _driven(
    start: BondChanges, surface: Surface, settings: SearchSettings, account: Account
) -> Prepared:
    """The relaxed reactant, and the product that its driven bonds lead to."""
    reactant: Minimum = account.run(
        relax, start.reactant, surface, settings.endpoints, of="the reactant"
    )
    if not reactant.converged:
        raise NotConverged(f"the reactant did not relax: {reactant.reason}")
    if changed_beyond_doubt(start.reactant, reactant.atoms, settings.verdict):
        raise StageError(
            "relaxation changes the bonds of the reactant, so that these are no longer those that "
            "should change; give a structure that this calculator has a minimum for"
        )
    limit = settings.endpoints.wall_time
    found = account.run(driven_product, start, reactant.atoms, settings.verdict, surface, limit)
    account.note(f"driven: {start}")
    reaction = Reaction(
        start.id,
        reactant.atoms,
        found.images[-1],
        charge=start.charge,
        multiplicity=start.multiplicity,
        solvent=start.solvent,
    )
    warnings = [f"more bonds have changed than '{start}': {found.more}"] if found.more else []
    return Prepared(reaction, found.images[1:-1], "driven", tuple(warnings))


def _with_best_pair(
    prepared: Prepared, surface: Surface, settings: SearchSettings, account: Account
) -> Prepared:
    """With the pair of conformers that is lowest in energy, of those that can react.

    Of almost equal ones the nearest pair. Where no conformer of a side stays what it is when it is
    relaxed, both ends stay as they are; the next stage says what becomes of them.
    """
    reaction = prepared.reaction
    sides = _relaxed_sides(reaction, surface, settings, account)
    if not all(sides):
        return prepared
    factor = settings.verdict.bond_factor
    before, after = bonds(reaction.reactant, factor), bonds(reaction.product, factor)
    facing = [
        [one for one in side if faces(one.atoms, near)] or side
        for side, near in zip(sides, (after - before, before - after), strict=True)
    ]
    pairs = [*itertools.product(facing[0], facing[1])]
    reactant, product = _lowest(pairs, before ^ after)
    warnings = []
    for name, side, chosen in zip(("reactant", "product"), sides, (reactant, product), strict=True):
        heights = [to_kcal_per_mol(one.energy - chosen.energy) for one in side]
        told = ", ".join(f"{round(height, 1) + 0.0:.1f}" for height in heights)  # never -0.0
        account.note(f"conformers of the {name}, kcal/mol from the one that is taken: {told}")
        if min(heights) < -to_kcal_per_mol(ALMOST):
            warnings.append(
                f"another conformer of the {name}, which is less ready to react, lies "
                f"{-min(heights):.1f} kcal/mol below the one from which the barrier is counted"
            )
    reaction = dataclasses.replace(reaction, reactant=reactant.atoms, product=product.atoms)
    return dataclasses.replace(prepared, reaction=reaction, warnings=tuple(warnings))


def _relaxed_sides(
    reaction: Reaction, surface: Surface, settings: SearchSettings, account: Account
) -> list[list[Minimum]]:
    """The conformers of both sides that are still what they were; of the product only if any are.

    `settings.conformers` of each side at most.
    """
    sides: list[list[Minimum]] = []
    for name, first, others in zip(
        ("reactant", "product"),
        (reaction.reactant, reaction.product),
        reaction.conformers,
        strict=True,
    ):
        candidates = [first, *others][: settings.conformers]
        found = [
            minimum
            for number, atoms in enumerate(candidates, 1)
            if (minimum := _kept(atoms, f"{name}, conformer {number}", surface, settings, account))
        ]
        sides.append(found)
        if not found:
            break
    return sides


def _lowest(pairs: Sequence[tuple[Minimum, Minimum]], changed: Bonds) -> tuple[Minimum, Minimum]:
    """The nearest of the lowest pairs, of those that move hardly more than the nearest of all.

    The first pair, which the force field has found to be the nearest, is given up only for one that
    is clearly lower.
    """
    far = [moves(one.atoms, other.atoms, changed) for one, other in pairs]
    able = [place for place, way in enumerate(far) if way < min(far) + FURTHER]
    energies = [one.energy + other.energy for one, other in pairs]
    lowest = min(energies[place] for place in able)
    low = [place for place in able if energies[place] < lowest + ALMOST]
    return pairs[0 if 0 in low else min(low, key=lambda place: far[place])]


def _kept(
    atoms: Atoms, name: str, surface: Surface, settings: SearchSettings, account: Account
) -> Minimum | None:
    """The relaxed conformer, if it has come to rest with the bonds that it had."""
    with contextlib.suppress(StageError):
        minimum: Minimum = account.run(relax, atoms, surface, settings.endpoints, of=name)
        if minimum.converged and not changed_beyond_doubt(atoms, minimum.atoms, settings.verdict):
            return minimum
    return None
