"""Rates of a run over all of its input reactions, by size and by bonds changed, and its costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from reactbench_runner.metrics.agreement import Deviation
from reactbench_runner.metrics.outcomes import FUNNEL, QUANTITIES, Measured, Outcome
from reactbench_runner.metrics.statistics import Estimate, Rate, estimate, known, rate
from workflows.stage_names import COSTED

#: Atoms of a bin of sizes, and from how many on there is one bin.
WIDTH, LARGE = 3, 22

#: From how many changed bonds on there is one bin.
MANY_CHANGES = 6

#: What costs are told of, stages and all of them together.
STAGES = (*map(str, COSTED), "search")


@dataclass(frozen=True)
class Bin:
    """Reactions of one kind: how many are *intended*, and how far these are from references.

    `place` puts bins in order.
    """

    place: int
    name: str
    intended: Rate
    barrier_error: Estimate | None
    rmsd: Estimate | None


@dataclass(frozen=True)
class Accuracy:
    """Of *intended* reactions with a reference: |ΔE‡ error|, kcal/mol, signed error, and RMSD, Å.

    not_compared: reactions of which there is no RMSD though both saddles are known, and why.
    other_reactions: those whose reference starts from other structures; they count nowhere.
    """

    barrier_error: Estimate | None
    signed_error: Estimate | None
    rmsd: Estimate | None
    not_compared: dict[str, str]
    other_reactions: list[str]


@dataclass(frozen=True)
class RunReport:
    """What is told of a run.

    Attributes
    ----------
    inputs, finished
        Numbers of reactions.
    funnel
        By the keys of `outcomes.FUNNEL`, over all inputs.
    by_atoms, by_bonds
        Bins of finished reactions.
    costs
        By stage, then by quantity: mean and median per finished reaction.
    without_costs
        How many rows of older versions have none.
    accuracy
        None without references.
    """

    name: str
    folder: str
    level_of_theory: str
    inputs: int
    finished: int
    funnel: dict[str, Rate]
    by_atoms: list[Bin]
    by_bonds: list[Bin]
    costs: dict[str, dict[str, Estimate | None]]
    without_costs: int
    accuracy: Accuracy | None = None
    notes: list[str] = field(default_factory=list)


def report_of(
    measured: Measured,
    seed: int,
    found: Mapping[str, Deviation] | None = None,
    other_reactions: Iterable[str] = (),
) -> RunReport:
    """Of a run; found: the deviations from references, where there are references."""
    outcomes = list(measured.outcomes.values())
    near, left = found or {}, measured.inputs - len(outcomes)
    report = RunReport(
        name=measured.run.name,
        folder=str(measured.run.folder),
        level_of_theory=measured.run.level_of_theory,
        inputs=measured.inputs,
        finished=len(outcomes),
        funnel={key: rate(map(ask, outcomes), left) for key, _, ask in FUNNEL},
        by_atoms=bins(outcomes, size, near, seed),
        by_bonds=bins(outcomes, bond_changes, near, seed),
        costs=costs(outcomes, seed),
        without_costs=sum(one.costs is None for one in outcomes),
        accuracy=None if found is None else _accuracy(found, list(other_reactions), seed),
    )
    report.notes.extend(_notes(report))
    return report


def bins(
    outcomes: Iterable[Outcome],
    place: Callable[[Outcome], tuple[int, str]],
    found: Mapping[str, Deviation],
    seed: int,
) -> list[Bin]:
    """Of finished reactions, in order; place: the number and the name of the bin of each."""
    groups: dict[tuple[int, str], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault(place(one), []).append(one)
    return [
        Bin(*key, rate(one.intended for one in group), *_errors(group, found, seed))
        for key, group in sorted(groups.items())
    ]


def size(outcome: Outcome) -> tuple[int, str]:
    """'7-9' atoms; those of reactions that could not be read are unknown."""
    if outcome.atoms is None:
        return LARGE + 1, "unknown"
    if outcome.atoms >= LARGE:
        return LARGE, f"{LARGE} and more"
    first = (outcome.atoms - 1) // WIDTH * WIDTH + 1
    return first, f"{first}-{first + WIDTH - 1}"


def bond_changes(outcome: Outcome) -> tuple[int, str]:
    """How many bonds break and form; unknown where the ends did not relax."""
    if outcome.bonds_changed is None:
        return MANY_CHANGES + 1, "unknown"
    if outcome.bonds_changed >= MANY_CHANGES:
        return MANY_CHANGES, f"{MANY_CHANGES} and more"
    return outcome.bonds_changed, str(outcome.bonds_changed)


def costs(outcomes: Iterable[Outcome], seed: int) -> dict[str, dict[str, Estimate | None]]:
    """By stage and quantity, per reaction whose costs are known."""
    arrays = [one.costs for one in outcomes if one.costs is not None]
    if not arrays:
        return {}
    table = np.stack(arrays)
    return {
        stage: {
            quantity: estimate(column[np.isfinite(column)], seed)
            for quantity, column in zip(QUANTITIES, table[:, number].T, strict=True)
        }
        for number, stage in enumerate(STAGES)
    }


def _errors(
    group: Iterable[Outcome], found: Mapping[str, Deviation], seed: int
) -> tuple[Estimate | None, Estimate | None]:
    """Of barriers and saddles."""
    mine = [found[one.id] for one in group if one.id in found]
    errors = known(one.barrier_error for one in mine)
    return estimate(map(abs, errors), seed), estimate(known(one.rmsd for one in mine), seed)


def _accuracy(found: Mapping[str, Deviation], others: list[str], seed: int) -> Accuracy:
    errors = known(one.barrier_error for one in found.values())
    return Accuracy(
        estimate(map(abs, errors), seed),
        estimate(errors, seed),
        estimate(known(one.rmsd for one in found.values()), seed),
        {one.id: one.reason for one in found.values() if one.reason},
        sorted(others),
    )


def _notes(report: RunReport) -> Iterable[str]:
    """What a reader should know before quoting a figure."""
    if left := report.inputs - report.finished:
        yield (
            f"{left} of {report.inputs} reactions have not finished: every rate is a lower bound, "
            "and its interval allows for them; tables by size, bonds and stage are of finished ones"
        )
    if not report.finished:
        return
    for key, words in (
        ("path_converged", "whether the path converged"),
        ("first_by_bonds", "which bonds the first attempt led to"),
        ("first", "what the first attempt concluded"),
    ):
        if unknown := report.funnel[key].unknown - left:
            yield (
                f"{unknown} rows do not say {words}: that rate is a lower "
                "bound, and its interval allows for this"
            )
    if report.without_costs:
        yield f"{report.without_costs} rows of an older version have no costs by stage"
    if report.accuracy is None:
        return
    for name, why in report.accuracy.not_compared.items():
        yield f"{name}: no RMSD, {why}"
    if others := report.accuracy.other_reactions:
        yield (
            f"{len(others)} reactions have a reference that starts from other structures and are "
            f"left out, such as {others[0]}"
        )
