"""What libraries and calculators print during a stage, and what breaks in them."""

from __future__ import annotations

import contextlib
import io
import traceback
from collections import deque
from collections.abc import Iterator

from workflows.errors import StageError, TimeUp, as_stage_error

#: Characters kept of the beginning of a log, and of its end. The longest of ordinary searches has
#: a tenth of it; a calculator that prints a megabyte a call would fill the memory.
KEPT = 200_000


class Log(io.TextIOBase):
    """A text file in memory that keeps its beginning and its end."""

    def __init__(self, text: str = "") -> None:
        self._room, self._in_end, self._left_out = KEPT, 0, 0
        self._beginning: list[str] = []
        self._end: deque[str] = deque()
        self.write(text)

    def write(self, text: str) -> int:
        """As files do; the number of characters."""
        first, rest = text[: self._room], text[self._room :]
        self._beginning.append(first)
        self._room -= len(first)
        if rest:
            self._end.append(rest[-KEPT:])
            self._in_end += len(self._end[-1])
            self._left_out += len(rest) - len(self._end[-1])
        while self._end and self._in_end - len(self._end[0]) >= KEPT:
            gone = len(self._end.popleft())
            self._in_end -= gone
            self._left_out += gone
        return len(text)

    def getvalue(self) -> str:
        """All of it, or a line in its middle that says how much was left out."""
        end = "".join(self._end)
        left_out = self._left_out + max(len(end) - KEPT, 0)
        gap = f"\n[... {left_out:,} characters left out ...]\n" if left_out else ""
        # What no file takes: halves of characters, from names of files that are no UTF-8.
        return "".join([*self._beginning, gap, end[-KEPT:]]).encode("utf-8", "replace").decode()


@contextlib.contextmanager
def log_of(library: str) -> Iterator[Log]:
    """A log for a library; what breaks in it becomes a `StageError` that keeps the log."""
    log = Log()
    try:
        yield log
    except (StageError, TimeUp) as error:
        error.log = log.getvalue()
        raise
    except Exception as error:
        ending = as_stage_error(error, library)
        ending.log = log.getvalue()
        raise ending from error


def log_with_cause(error: StageError) -> str:
    """What a library had printed when it broke, and the traceback of what broke it."""
    cause = cause_of(error).strip()
    return error.log if cause in error.log else f"{error.log}\n{cause}".strip()


def cause_of(error: StageError) -> str:
    """The traceback of what a calculator or a library raised; "" where nothing broke in them."""
    cause = error.__cause__
    if cause is None or isinstance(cause, StageError):
        return ""
    lines = traceback.format_exception(cause)
    return Log("".join(lines)).getvalue()
