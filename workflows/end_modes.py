"""Hessians of the structures at which IRCs end, so that they can be analysed as minima."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping

from horm_calc.chemistry.superposition import SAME, superposition
from workflows.account import Account
from workflows.attempts import Attempt
from workflows.errors import StageError
from workflows.records import ElementaryStep, Minimum
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import end_with_modes
from workflows.surface import Surface


def ends_with_modes(
    best: Attempt,
    steps: tuple[ElementaryStep, ...],
    minima: Mapping[str, Minimum],
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> tuple[Attempt, tuple[ElementaryStep, ...]]:
    """The relaxed ends of the IRCs with their Hessians, where the calculator has its own.

    Those that are the reactant or the product again have none: two more Hessians take 4 to 5 % of
    a search with a small network. By differences of forces they would take far more.
    """
    if not surface.capabilities.hessians or best.ends is None:
        return best, steps
    known: dict[int, Minimum] = {}

    def again(end: Minimum) -> bool:
        return any(superposition(end.atoms, one.atoms)[1] < SAME for one in minima.values())

    def of(end: Minimum) -> Minimum:
        if id(end) not in known:
            known[id(end)] = end
            if end.converged and end.hessian is None and not again(end):
                account.begin(Stage.IRC_ENDS)
                with contextlib.suppress(StageError):  # a search can do without
                    known[id(end)] = account.run(end_with_modes, end, surface, settings.endpoints)
        return known[id(end)]

    first, last = best.ends
    changed = dataclasses.replace(best, ends=(of(first), of(last)))
    return changed, tuple(
        dataclasses.replace(step, first=of(step.first), last=of(step.last)) for step in steps
    )
