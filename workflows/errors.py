"""What can go wrong, as a small tree.

A `StageError` ends one stage of one reaction with a cause that a person can act on; the
search stores it as the reaction's `failed` verdict and goes on with the next reaction.
"""

from __future__ import annotations

from typing import Any


class WorkflowError(Exception):
    """Base of every error that a search raises on purpose."""


class InputError(WorkflowError, ValueError):
    """Structures, charges or tables from which no search can start."""


class StageError(WorkflowError):
    """A stage that could not deliver what the next one needs; the message is the cause.

    `cost` (a `records.Cost`) is what the stage had used when it ended, `log` what the
    library behind it had printed.
    """

    cost: Any = None
    log: str = ""


class NotConverged(StageError):
    """An optimiser or integrator stopped before it met its criterion."""


class CalculatorFailed(StageError):
    """The calculator raised, or returned numbers that are not finite."""


class StageTimeout(StageError):
    """A stage used up its wall-time."""


class IRCFailed(StageError):
    """No trustworthy reaction path: not a saddle, no steps, or a stuck integrator."""


def as_stage_error(error: Exception, library: str, log: str) -> StageError:
    """What broke inside a library, as a `StageError` that keeps the library's log."""
    if not isinstance(error, StageError):
        text = " ".join(str(error).split())
        error = StageError(f"{library}: {type(error).__name__}" + (f": {text}" if text else ""))
    error.log = log
    return error
