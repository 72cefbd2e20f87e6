"""What searches that are under way tell of themselves, from workers to the process that runs them.

Each worker keeps one small file in the folder for temporary files that a run shares with its own
workers: where each of its searches is, and how their stages have ended. It is written beside and
renamed, at most every half a second. Workers of a cluster have no such folder and tell nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from reactbench_runner.execution.scratch import shared_folder
from workflows.stage_names import Stage
from workflows.status import Status

#: Seconds between two times that a worker writes its file.
EVERY = 0.5

#: Times as long as a worker takes to write its file it waits before it does so again: where very
#: many searches are in flight, that takes less than half a percent of its time.
_REST = 200

#: Seconds for which the last words of a search that has ended stay there.
_KEPT = 30.0


@dataclass(frozen=True)
class Running:
    """A reaction that is under way, or has ended just now.

    Attributes
    ----------
    id
        Of the reaction.
    since
        When it began, in seconds since 1970, or when it was given to a worker of a cluster. None
        where its worker has not begun with it yet.
    status
        Where the search is; None where that is not known.
    ended
        Of each stage its last status and the seconds it took, and of each attempt what it came to.
    over
        Whether the search has ended.
    """

    id: str
    since: float | None
    status: Status | None = None
    ended: tuple[tuple[Status, float] | str, ...] = ()
    over: bool = False

    def told(self) -> dict[str, Any]:
        """For progress.json: id, since, and the status where there is one."""
        return {"id": self.id, "since": self.since, "status": self.status and vars(self.status)}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Running:
        """Of what `told` or a worker has written. Raises KeyError, TypeError, ValueError."""
        ended = (
            one if isinstance(one, str) else (_status(one[0]), float(one[1]))
            for one in told.get("ended", ())
        )
        since, status = told["since"], told["status"]
        return cls(
            str(told["id"]),
            since and float(since),
            status and _status(status),
            tuple(ended),
            bool(told.get("over", False)),
        )


def _status(told: Mapping[str, Any]) -> Status:
    return Status(**{**told, "stage": Stage(told["stage"])})


@dataclass(eq=False)
class _Search:
    """A search of this process."""

    identifier: str
    since: float = field(default_factory=time.time)
    status: Status | None = None
    stage_since: float = field(default_factory=time.monotonic)
    ended: list[str] = field(default_factory=list)  # JSON already: nothing of it changes
    over: float | None = None

    def tell(self, status: Status) -> None:
        """The status is now this one."""
        last, self.status = self.status, status
        if last is None:
            return
        if (last.stage, last.attempt) != (status.stage, status.attempt):
            self.close(last)
        if status.outcome and status.outcome != last.outcome:
            self.ended.append(json.dumps(status.outcome))

    def close(self, last: Status) -> None:
        """A stage has ended with this status."""
        now = time.monotonic()
        self.ended.append(json.dumps((vars(last), now - self.stage_since)))
        self.stage_since = now

    def told(self) -> str:
        """For the file of the worker, JSON."""
        told = Running(self.identifier, self.since, self.status).told()
        told["over"] = self.over is not None
        return f'{json.dumps(told)[:-1]}, "ended": [{", ".join(self.ended)}]}}'


class _Worker:
    """The searches of this process, and the thread that writes where they are."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / f"live-{os.getpid()}.json"
        self._searches: list[_Search] = []
        self._news = threading.Event()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        threading.Thread(target=self._keep_writing, daemon=True).start()

    def begin(self, identifier: str) -> tuple[_Search, Callable[[Status], None]]:
        """A search begins: what it is here, and what it has to call."""
        search = _Search(identifier)
        with self._lock:
            self._searches.append(search)
        self._news.set()

        def tell(status: Status) -> None:
            with self._lock:
                search.tell(status)
            self._news.set()

        return search, tell

    def end(self, search: _Search) -> None:
        """It has ended; what is left to say is said before its result is."""
        with self._lock:
            search.over = time.monotonic()
            if search.status is not None:
                search.close(search.status)
        self._write()

    def _keep_writing(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            before = time.thread_time()
            self._write()
            time.sleep(max(EVERY, _REST * (time.thread_time() - before)))

    def _write(self) -> None:
        with self._writing:
            with self._lock:
                now = time.monotonic()
                self._searches = [
                    one for one in self._searches if one.over is None or now - one.over < _KEPT
                ]
                told = [search.told() for search in self._searches]
            beside = self._place.with_suffix(".new")
            with contextlib.suppress(OSError):  # on a full disk nothing is told
                beside.write_text(f"[{', '.join(told)}]", "utf-8")
                beside.replace(self._place)


@cache
def _worker(folder: Path) -> _Worker:
    return _Worker(folder)


@contextlib.contextmanager
def telling(identifier: str) -> Iterator[Callable[[Status], None] | None]:
    """What a search of this reaction within calls with its status; None where nobody reads that."""
    folder = shared_folder()
    if folder is None:
        yield None
        return
    worker = _worker(folder)
    search, tell = worker.begin(identifier)
    try:
        yield tell
    finally:
        worker.end(search)


def running() -> list[Running]:
    """What the workers of this run have told last; nothing of those that have died."""
    folder, found = shared_folder(), list[Running]()
    for place in folder.glob("live-*.json") if folder else ():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if _lives(int(place.stem.removeprefix("live-"))):
                found += map(Running.read, json.loads(place.read_text("utf-8")))
            else:
                place.unlink()
    return found


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
