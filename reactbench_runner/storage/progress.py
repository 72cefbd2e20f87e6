"""How far a run is, in a small file that other processes read while it goes on.

The file is written anew every few seconds, whatever the number of reactions, and says nothing that
is not also in the results: a run never reads it.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from reactbench_runner.execution import live
from reactbench_runner.execution.live import Running
from reactbench_runner.execution.scratch import shared_folder
from reactbench_runner.storage.rows import NOT_SEARCHED
from reactbench_runner.storage.run_folder import UNFINISHED
from workflows.records import Label

NAME = "progress.json"

#: Seconds between two times that the file is written.
_EVERY = 2.0

#: Seconds between two looks at what is under way, where somebody watches.
_LOOK_EVERY = 0.5

#: Of how many reactions that have finished last the rate is.
_RECENT = 1000

#: How many reactions under way and how many causes are told.
_MOST = 20

#: Called a few times a second with what is under way, the longest first, or has ended just now.
OnRunning = Callable[[Sequence[Running]], None]


class Progress:
    """What has finished, what is under way and what has failed, of `total` reactions.

    total: None where that is not known. on_running: called with what is under way, from that thread
    or as a reaction ends, one at a time.

    `with progress:` keeps the file up to date, by a thread of its own.
    """

    def __init__(self, out: Path, total: int | None, on_running: OnRunning | None = None) -> None:
        self.path, self.total, self._on_running = out / NAME, total, on_running
        self.verdicts: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.not_searched = self._before = 0
        self._begun: dict[str, float] = {}
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._started = time.time()
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._looking, self._broken = threading.Lock(), list[BaseException]()
        self._thread = threading.Thread(target=self._keep_writing, daemon=True)

    def begin(self, name: str) -> None:
        """A reaction is given to a worker."""
        with self._lock:
            self._begun[name] = time.time()

    def put_aside(self, name: str) -> None:
        """Its worker has died; it may be given to another later."""
        with self._lock:
            self._begun.pop(name, None)

    def finish(self, name: str, verdict: str, stage: str, reason: str, *, now: bool = True) -> None:
        """A reaction is stored: now, or by an earlier run. Raises what `on_running` has raised."""
        if now:
            self._look()
        if self._broken:
            raise self._broken[0]
        with self._lock:
            self._begun.pop(name, None)
            self.verdicts[str(verdict)] += 1
            self.not_searched += stage in NOT_SEARCHED
            if verdict == Label.FAILED:
                self._count(f"{stage}: {cause(reason)}")
            if now:
                self._recent.append(time.time())
            else:
                self._before += 1

    def _count(self, cause: str) -> None:
        other = cause not in self.causes and len(self.causes) >= 10 * _MOST
        self.causes["other causes" if other else cause] += 1

    def __enter__(self) -> Progress:
        self._write("running")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _: TracebackType) -> None:
        self._ended.set()
        self._thread.join()
        self._write(f"ended by {kind.__name__}" if kind else "ended")

    def _keep_writing(self) -> None:
        written = time.monotonic()
        while not self._ended.wait(min(_EVERY, _LOOK_EVERY) if self._on_running else _EVERY):
            self._look()
            if not self._on_running or time.monotonic() - written >= _EVERY:
                self._write("running")
                written = time.monotonic()

    def _look(self) -> None:
        """Has whoever watches see what is under way, and how that which ends has ended."""
        if self._on_running is None or self._broken:
            return
        with self._looking:
            try:
                self._on_running(self.running())
            # This may be the thread, where nobody would hear of it. Rich exits on a broken pipe.
            except (Exception, SystemExit) as error:
                self._broken.append(error)

    def running(self) -> list[Running]:
        """What is under way, the longest first, and after it what has ended just now.

        Reactions whose workers tell nothing come after those whose workers do: they are on a
        cluster, or their worker starts, or has others to do first.
        """
        told = live.running()
        with self._lock:
            begun = dict(self._begun)
        at_work = {one.id: one for one in told if not one.over and one.id in begun}
        found = sorted(at_work.values(), key=lambda one: one.since or 0.0)
        own = shared_folder() is not None  # workers here tell when they begin
        given = {name: None if own else since for name, since in begun.items()}
        found += [Running(name, since) for name, since in given.items() if name not in at_work]
        return [*found, *(one for one in told if one.over)]

    def _write(self, state: str) -> None:
        """Without waiting for the disk: after a power cut the run says it anew."""
        text = json.dumps(self._told(state), indent=1)
        temporary = self.path.with_name(f"{UNFINISHED}{NAME}")
        with contextlib.suppress(OSError):  # a full disk is told where results are stored
            temporary.write_text(text, "utf-8")
            temporary.replace(self.path)

    def _told(self, state: str) -> dict[str, Any]:
        running = [] if state != "running" else [one for one in self.running() if not one.over]
        with self._lock:
            oldest = sorted(self._begun.items(), key=lambda one: one[1])[:_MOST]
            return {
                "state": state,
                "total": self.total,
                "finished": self.verdicts.total(),
                "finished_before": self._before,
                "verdicts": dict(self.verdicts),
                "failures": dict(self.causes.most_common(_MOST)),
                "under_way": len(self._begun),
                "oldest": dict(oldest),
                "running": [one.told() for one in running[:_MOST]],
                "recent": [len(self._recent), self._recent[0] if self._recent else None],
                "started": self._started,
                "written": time.time(),
            }


def cause(reason: str) -> str:
    """A reason without what makes it that of one reaction: numbers, and what is quoted."""
    text = re.sub(r"'[^']*'", "'...'", reason.partition("\n")[0])
    text = re.sub(r"(?<!\S)\.{0,2}/\S+", "...", text)
    text = re.sub(r"[\w./+-]*\d[\w./+-]*", "#", text)
    return text if len(text) <= 100 else f"{text[:97]}..."
