"""What can go wrong, as a small tree.

A `StageError` ends one stage of one reaction with a cause that a person can act on; the
search stores it as the reaction's `failed` verdict and goes on with the next reaction.
"""

from __future__ import annotations

from typing import Any

from horm_calc.errors import HormError

#: Characters of a foreign message that a person is shown: its beginning and its end.
LONGEST_MESSAGE = 1000


class WorkflowError(HormError):
    """Base of every error that a search raises on purpose."""


class InputError(WorkflowError, ValueError):
    """Structures, charges or tables from which no search can start."""


class StageError(WorkflowError):
    """A stage that could not deliver what the next one needs; the message is the cause.

    `cost` (a `records.Cost`) is what the stage had used when it ended, `log` what the
    library behind it had printed. `last` are the structures that it asked the calculator for last,
    each with its energy in eV, or None where there was no answer; `partial` is as much of its
    record as there is.
    """

    cost: Any = None
    log: str = ""
    last: tuple[tuple[Any, float | None], ...] = ()
    partial: Any = None


class NotConverged(StageError):
    """An optimiser or integrator stopped before it met its criterion."""


class CalculatorFailed(StageError):
    """The calculator raised, or returned numbers that are not finite."""


class StageTimeout(StageError):
    """A stage used up its wall-time."""


class IRCFailed(StageError):
    """No trustworthy reaction path: not a saddle, no steps, or a stuck integrator."""


class TimeUp(BaseException):
    """Raised inside a call whose time is up; no library's `except Exception` swallows it.

    It becomes a `StageTimeout` where the limit was set. `log` is what was printed until then.
    """

    log: str = ""


def as_stage_error(error: BaseException, library: str = "") -> StageError:
    """What broke, as a `StageError` that says in which library."""
    if isinstance(error, StageError):
        return error
    return StageError(f"{library}: {described(error, named=True)}".removeprefix(": "))


def within(error: StageError, structure: str) -> StageError:
    """The same error, with the structure at which it happened in front of its message."""
    error.args = (f"{structure}: {error}",)
    return error


def described(error: BaseException, *, named: bool = False) -> str:
    """The message of any error in one line, with its type where asked for or where it says little.

    Whatever calculators and libraries raise: errors whose own message cannot be had are among it.
    """
    try:
        text = str(error)
    except (KeyboardInterrupt, TimeUp):
        raise
    except BaseException:
        text = "(its message cannot be shown)"
    if len(text) > LONGEST_MESSAGE:
        text = f"{text[: LONGEST_MESSAGE // 2]} … {text[-LONGEST_MESSAGE // 2 :]}"
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    kind = type(error).__name__
    if not text:
        return kind
    return f"{kind}: {text}" if named or len(text) < 30 else text
