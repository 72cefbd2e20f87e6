"""The account of what a stage cost, written into its record or into its error."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from workflows.errors import TimeUp, as_stage_error
from workflows.logs import cause_of
from workflows.records import Cost
from workflows.surface import Surface

F = TypeVar("F", bound=Callable[..., Any])


def stage(function: F) -> F:
    """Put the cost of a stage into the `cost` of the record that it returns.

    The stage's last two positional arguments are a `Surface` and its settings. Whatever breaks in
    it ends it as a `StageError`, which carries the cost too, and in its log the traceback of what
    a calculator or a library raised.
    """

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        surface: Surface = arguments[-2]
        before, start = surface.evaluations, time.perf_counter()

        def cost() -> Cost:
            return Cost(surface.evaluations - before, time.perf_counter() - start)

        try:
            record = function(*arguments)
        except (KeyboardInterrupt, TimeUp):  # of the user, and of a limit around the stage
            raise
        except BaseException as error:
            ending = as_stage_error(error, "unexpected")
            if ending is not error:
                ending.__cause__ = error
            ending.cost = cost()
            ending.log = f"{ending.log}\n{cause_of(ending)}".strip()
            raise ending from ending.__cause__
        return dataclasses.replace(record, cost=cost())

    return cast(F, run)
