"""Stages whose ends are kept as they come, so that a search that was killed goes on from there.

A search is deterministic. Started anew, it asks for the same stages with the same structures and
settings; what a journal has kept of them takes their place, until it comes to one that is new.
Where and how that is kept is for others to say (`Journal`): nothing here touches files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from workflows.errors import StageError
from workflows.stage_names import Stage
from workflows.surface import Memory, Surface

#: What tells nothing about what a stage will find.
_BESIDE = ("cost", "log")


class Journal(Protocol):
    """What has been kept of a search, and what keeps more of it.

    `remark`: what a person should know of it, such as that it is damaged; "" otherwise.
    """

    remark: str

    def recall(self, number: int, key: str) -> Any | None:
        """The record or `StageError` with which this call has ended; None where it is not known."""

    def memory(self, number: int) -> Memory | None:
        """What the surface knew after so many calls, if these are all; else None."""

    def keep(
        self,
        key: str,
        stage: Stage,
        ended: Any,
        *,
        log: Callable[[], str],
        memory: Callable[[], Memory],
    ) -> str:
        """Keep how a call has ended that was not known, behind those that were recalled.

        `log` gives the log of the search, `memory` what the surface knows; they are asked only when
        something is written. Raises nothing: returns why the journal is given up, or "".
        """


class Recorder:
    """Stands between a search and its journal: counts calls, and goes over from old to new."""

    def __init__(self, journal: Journal, surface: Surface) -> None:
        self.journal, self.surface = journal, surface
        self._number = 0
        self._recalling = True

    def recall(self, function: Callable[..., Any], arguments: Iterable[Any]) -> tuple[str, Any]:
        """The key of a call, and the record or error it has ended with before, if that is known.

        With the last one that is known, the surface learns what it knew then.
        """
        key = digest((self._number, function, *arguments))
        known = self.journal.recall(self._number, key) if self._recalling else None
        if known is not None:
            self._number += 1
            memory = self.journal.memory(self._number)
            if memory is not None:
                # A calculator that cannot go on begins anew: its numbers are right either way.
                with contextlib.suppress(StageError):
                    self.surface.go_on_from(memory)
        return key, known

    def begin(self) -> str:
        """A call must be computed. Returns a line for the log, or ""."""
        first, self._recalling = self._recalling, False
        words = [self.journal.remark] if self.journal.remark else []
        if self._number:
            words.append(f"resumed: {self._number} stages are those of an earlier start")
        return "; ".join(words) if first else ""

    def keep(self, key: str, stage: Stage, ended: Any, log: Callable[[], str]) -> str:
        """Keep how a call has ended. Returns a line for the log, or ""."""
        self._number += 1
        return self.journal.keep(key, stage, ended, log=log, memory=self.surface.memory)


def digest(call: Any) -> str:
    """The same for a function called with the same structures, numbers and settings."""
    found = hashlib.sha256()
    _feed(found.update, call)
    return found.hexdigest()[:32]


def _feed(take: Callable[[bytes], Any], value: Any) -> None:
    """Give every part of `value` to `take`, each behind the name of its kind."""

    def parts(kind: str, *values: Any) -> None:
        take(f"{kind} {len(values)};".encode())
        for one in values:
            _feed(take, one)

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Calculator):
        parts("calculator")
    elif isinstance(value, Atoms):
        parts("atoms", value.numbers, value.positions, value.get_masses())
    elif isinstance(value, np.ndarray):
        take(f"array {value.dtype.str} {value.shape};".encode())
        take(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.name not in _BESIDE]
        parts(type(value).__qualname__, *(getattr(value, name) for name in names))
    elif isinstance(value, functools.partial):
        parts("partial", value.func, value.args, value.keywords)
    elif isinstance(value, Mapping):
        parts("mapping", *(part for item in value.items() for part in item))
    elif isinstance(value, list | tuple):
        parts("sequence", *value)
    elif isinstance(value, str | int | float | bool | None | Enum):
        take(f"{type(value).__name__} {value!r};".encode("utf-8", "surrogatepass"))
    else:
        parts(*_function(value))


def _function(value: Any) -> tuple[Any, ...]:
    """A name, and what a function that was made within another one has from there."""
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))}"
    if hasattr(value, "__wrapped__"):
        return (name,)
    cells = getattr(value, "__closure__", None) or ()
    defaults = getattr(value, "__defaults__", None) or ()
    return (
        name,
        *defaults,
        *(cell.cell_contents for cell in cells if cell.cell_contents is not value),
    )
