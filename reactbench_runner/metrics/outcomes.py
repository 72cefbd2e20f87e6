"""How far each reaction of a stored run has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import numpy as np

from horm_calc.chemistry.connectivity import bonds
from reactbench_runner.storage.reading import PRODUCT, REACTANT, Points, StoredRun
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.store import Say
from workflows.records import Cost, Label
from workflows.stage_names import COSTED

#: What an array of costs counts, in order, for each stage of `COSTED` and for the whole search.
QUANTITIES = ("gradients", "Hessians", "seconds")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished reaction; None for what its row does not say.

    Attributes
    ----------
    id, fingerprint
        Of the reaction.
    atoms, bonds_changed
        How many there are, and how many break or form between the relaxed ends.
    path, path_converged, saddle, irc
        Whether the reported attempt has a path, one that met its criterion, a first-order saddle,
        and an IRC in both directions.
    by_bonds, first_by_bonds
        Whether the ends of the IRC have the bonds of reactant and product, those near the limit
        counted by the limit alone; and whether those of the first attempt have.
    first, intended, in_steps, found
        Whether the verdict is *intended*, that of the first attempt or of all, *intended in
        steps*, or, from a guess alone, *found*.
    barrier
        kcal/mol, of an *intended* reaction.
    costs
        (stages + 1, 3), see `QUANTITIES`; NaN for a stage that older versions did not have.
    """

    id: str
    fingerprint: str
    atoms: int | None
    path: bool
    path_converged: bool | None
    saddle: bool
    irc: bool
    by_bonds: bool
    first_by_bonds: bool | None
    first: bool | None
    intended: bool
    in_steps: bool
    barrier: float | None
    costs: np.ndarray | None
    bonds_changed: int | None = None
    found: bool = False


@dataclass(frozen=True)
class Measured:
    """A run with the outcomes of its finished reactions, and structures of some of these."""

    run: StoredRun
    outcomes: dict[str, Outcome]
    structures: dict[str, Points] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        """The input reactions, those included that have not finished."""
        return max(self.run.total or 0, len(self.outcomes))

    def structures_of(self, reaction: str) -> Points:
        """Its relaxed ends and its saddle, as far as they are known."""
        return self.structures.get(reaction, {})


def measure(
    run: StoredRun, say: Say = lambda text: None, *, keep: Collection[str] | None = None
) -> Measured:
    """Read a run once; the structures of *intended* reactions in `keep`, or of all, are kept."""
    outcomes = {row.id: outcome_of(row) for row in run.rows(say)}
    structures = {}
    for name, points in run.points():
        if (outcome := outcomes.get(name)) is None:
            continue
        outcomes[name] = dataclasses.replace(outcome, bonds_changed=changes(points, run))
        if outcome.intended and (keep is None or name in keep):
            structures[name] = points
    return Measured(run, outcomes, structures)


def outcome_of(row: ResultRow) -> Outcome:
    """What a row says."""
    intended = row.verdict is Label.INTENDED
    by_bonds = intended or _by_bonds(row)
    first = _at_first_attempt(row)
    return Outcome(
        row.id,
        row.fingerprint,
        row.atoms,
        path=bool(row.path_method),
        path_converged=row.path_converged if row.path_method else False,
        saddle=row.ts_energy_ev is not None,
        irc=bool(row.irc_method),
        by_bonds=by_bonds,
        first_by_bonds=first or _first_by_bonds(row, by_bonds=by_bonds),
        first=first,
        intended=intended,
        in_steps=row.verdict is Label.IN_STEPS,
        found=row.verdict is Label.FOUND,
        barrier=row.barrier_kcal_per_mol if intended else None,
        costs=_costs(row),
    )


def changes(points: Points, run: StoredRun) -> int | None:
    """Bonds broken and formed between the relaxed ends."""
    if REACTANT not in points or PRODUCT not in points:
        return None
    first, last = (bonds(points[role], run.bond_factor) for role in (REACTANT, PRODUCT))
    return len(first ^ last)


def _by_bonds(row: ResultRow) -> bool:
    """Of an ambiguous verdict: the one at the limit, unless relaxation has changed an end.

    A row has no reaction energy where it has.
    """
    if row.verdict is not Label.AMBIGUOUS or row.reaction_energy_kcal_per_mol is None:
        return False
    return row.verdict_at_limit is Label.INTENDED


def _at_first_attempt(row: ResultRow) -> bool | None:
    """Older rows say it where there was one attempt, or none has succeeded."""
    if row.verdict_at_first_attempt is not None:
        return row.verdict_at_first_attempt is Label.INTENDED
    if row.verdict is not Label.INTENDED:
        return False
    return True if row.attempts == 1 else None


def _first_by_bonds(row: ResultRow, *, by_bonds: bool) -> bool | None:
    """Of a first attempt that was not *intended*: unknown where it was ambiguous, one of several.

    No attempt is better than the one that is reported.
    """
    if not by_bonds or row.attempts == 1:
        return by_bonds
    known = row.verdict_at_first_attempt
    return None if known in (None, Label.AMBIGUOUS) else False


def _costs(row: ResultRow) -> np.ndarray | None:
    if not row.costs:
        return None
    missing = (np.nan, np.nan, np.nan)
    stages = [_three(row.costs[stage]) if stage in row.costs else missing for stage in COSTED]
    return np.array([*stages, (row.gradients, row.hessians, row.seconds)])


def _three(cost: Cost) -> tuple[float, float, float]:
    return cost.evaluations.gradients, cost.evaluations.hessians, cost.seconds


#: Asked of every outcome: a key, what tables say, and the answer. In the order of a search.
FUNNEL: tuple[tuple[str, str, Callable[[Outcome], bool | None]], ...] = (
    ("path", "path found", lambda one: one.path),
    ("path_converged", "  of these, converged", lambda one: one.path_converged),
    ("saddle", "first-order saddle", lambda one: one.saddle),
    ("irc", "IRC completed", lambda one: one.irc),
    ("by_bonds", "intended by bonds alone", lambda one: one.by_bonds),
    ("first_by_bonds", "  at the first attempt", lambda one: one.first_by_bonds),
    ("intended", "intended", lambda one: one.intended),
    ("first", "  at the first attempt", lambda one: one.first),
    ("in_steps", "intended in steps", lambda one: one.in_steps),
    ("found", "found, from a guess alone", lambda one: one.found),
)
