"""The account of what a stage cost, written into its record or into its error."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from workflows.errors import StageError
from workflows.records import Cost
from workflows.surface import Surface

F = TypeVar("F", bound=Callable[..., Any])


def stage(function: F) -> F:
    """Put the cost of a stage into the `cost` of the record that it returns.

    The stage's last two positional arguments are a `Surface` and its settings. A
    `StageError` that ends the stage carries the cost too.
    """

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        surface: Surface = arguments[-2]
        before, start = surface.evaluations, time.perf_counter()

        def cost() -> Cost:
            return Cost(surface.evaluations - before, time.perf_counter() - start)

        try:
            record = function(*arguments)
        except StageError as error:
            error.cost = cost()
            raise
        return dataclasses.replace(record, cost=cost())

    return cast(F, run)
