"""Two runs, reaction by reaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reactbench_runner.metrics.outcomes import Measured, Outcome
from reactbench_runner.metrics.statistics import Estimate, estimate, mcnemar
from workflows.errors import InputError


@dataclass(frozen=True)
class Comparison:
    """What a second run ends *intended* that a first one does not, and the other way round.

    Attributes
    ----------
    first, second
        Names of the runs.
    common
        How many reactions both have finished.
    both, neither
        How many of these are *intended* in both, or in none.
    gained, lost
        The ids of those that are so in the second only, and in the first only.
    p_value
        McNemar's exact test.
    difference, absolute_difference
        Of the barriers of `both`, second less first, kcal/mol.
    unlike
        Reactions of the same name that start from other structures; they count nowhere.
    missing
        How many are finished in one of the runs only.
    """

    first: str
    second: str
    common: int
    both: int
    neither: int
    gained: list[str]
    lost: list[str]
    p_value: float
    difference: Estimate | None
    absolute_difference: Estimate | None
    unlike: list[str]
    missing: int


def compare(first: Measured, second: Measured, seed: int) -> Comparison:
    """Raises `InputError` where the runs have no reaction in common."""
    names = [name for name in first.outcomes if name in second.outcomes]
    pairs = {name: (first.outcomes[name], second.outcomes[name]) for name in names}
    unlike = sorted(name for name, pair in pairs.items() if _unlike(*pair))
    for name in unlike:
        del pairs[name]
    if not pairs:
        folders = f"{first.run.folder} and {second.run.folder}"
        why = "start from other structures" if unlike else "have other ids"
        raise InputError(f"{folders} have no reaction in common: theirs {why}")

    def ids(wanted: Callable[[bool, bool], bool]) -> list[str]:
        return sorted(n for n, (a, b) in pairs.items() if wanted(a.intended, b.intended))

    both = ids(lambda a, b: a and b)
    gained, lost = ids(lambda a, b: b and not a), ids(lambda a, b: a and not b)
    differences = [
        b.barrier - a.barrier
        for a, b in (pairs[name] for name in both)
        if a.barrier is not None and b.barrier is not None
    ]
    return Comparison(
        first.run.name,
        second.run.name,
        len(pairs),
        len(both),
        len(ids(lambda a, b: not a and not b)),
        gained,
        lost,
        mcnemar(len(gained), len(lost)),
        estimate(differences, seed),
        estimate(map(abs, differences), seed),
        unlike,
        len(first.outcomes.keys() ^ second.outcomes.keys()),
    )


def _unlike(one: Outcome, other: Outcome) -> bool:
    """Records of versions without digests count as of the same reaction."""
    digests = {one.fingerprint, other.fingerprint} - {""}
    return len(digests) > 1
