"""Many searches at once with one calculator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from ase.calculators.calculator import Calculator

from horm_calc.capabilities import capabilities_of
from workflows.in_flight import run_together
from workflows.records import SearchResult, Start
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.separated import Build
from workflows.status import Status
from workflows.tssearch import search


def search_many(
    reactions: Iterable[Start],
    calculator: Calculator,
    settings: SearchSettings | None = None,
    *,
    in_flight: int = 16,
    progress: Callable[[Start, Stage], None] = lambda reaction, stage: None,
    on_status: Callable[[Start, Status], None] | None = None,
    build: Build | None = None,
) -> Iterator[SearchResult]:
    """Search many reactions, several at a time, and evaluate their structures together.

    Each search is that of `search`, with the same verdict and, to the rounding of batches, the same
    energies. It pays with calculators that have `evaluate`, such as `HormCalculator`. With others
    one search follows the other: many of them lose time when molecules alternate. Wall-times of the
    settings count what a search itself has used and are checked when it asks the calculator.

    Parameters
    ----------
    reactions : iterable of Reaction, SaddleGuess or BondChanges
        Taken as there is room for them, so that a million need not be in memory.
    calculator : Calculator
        Any ASE calculator.
    settings : SearchSettings, optional
        Of all stages.
    in_flight : int
        How many searches are under way at a time.
    progress : callable, optional
        Called with a reaction and the name of each stage as it begins.
    on_status : callable, optional
        Called with a reaction and its `Status`, as for `search`.
    build : callable, optional
        As for `search`.

    Yields
    ------
    SearchResult
        As searches finish.

    Raises
    ------
    InputError
        When `calculator` is no calculator, but a name of one.
    """
    calls = (
        (
            reaction.id,
            partial(
                search,
                reaction,
                calculator,
                settings,
                progress=partial(progress, reaction),
                on_status=partial(on_status, reaction) if on_status else None,
                build=build,
            ),
        )
        for reaction in reactions
    )
    batches = isinstance(calculator, Calculator) and capabilities_of(calculator).batches
    for _, result in run_together(calls, in_flight if batches else 1):
        yield result
