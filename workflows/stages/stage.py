"""The account of what a stage cost, written into its record or into its error."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from workflows.errors import TimeUp, as_stage_error
from workflows.limits import now
from workflows.logs import log_with_cause
from workflows.records import Cost
from workflows.surface import Surface

P = ParamSpec("P")
R = TypeVar("R", bound=Any)


def stage(function: Callable[P, R]) -> Callable[P, R]:
    """Put the cost of a stage into the `cost` of the record that it returns.

    The stage has a parameter `surface`, the `Surface` whose evaluations count. Whatever breaks in
    it ends it as a `StageError`, which carries the cost too, the last structures, and in its log
    the traceback of what a calculator or a library raised. Raises `TypeError` for a function
    without that parameter.
    """
    signature = inspect.signature(function)
    if "surface" not in signature.parameters:
        raise TypeError(f"{function.__name__} has no parameter 'surface', so it is no stage")

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> R:
        surface: Surface = signature.bind(*arguments, **named).arguments["surface"]
        before, start = surface.evaluations, now()
        surface.last.clear()

        def cost() -> Cost:
            return Cost(surface.evaluations - before, now() - start)

        try:
            record = function(*arguments, **named)
        except (KeyboardInterrupt, TimeUp):  # of the user, and of a limit around the stage
            raise
        except BaseException as error:
            ending = as_stage_error(error, "unexpected")
            if ending is not error:
                ending.__cause__ = error
            ending.cost = cost()
            ending.log = log_with_cause(ending)
            ending.last = tuple(surface.last)
            raise ending from ending.__cause__
        found: R = dataclasses.replace(record, cost=cost())
        return found

    return run
