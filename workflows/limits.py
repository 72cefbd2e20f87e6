"""A wall-time for code that has none of its own.

Stages call libraries that can loop for ever (an IRC corrector that never reaches its step
length, a string that never grows) and calculators that can hang. `run_with_limit` ends such a
call from outside: a watchdog thread has an exception raised in the thread that works, once a
second until the call has ended. In the main thread that is done by a signal, which ends a
`sleep` too; signals do not reach other threads, where the interpreter raises it as soon as it is
back from compiled code. Processes that the call has started and waits for are killed.

What cannot be ended from within is one long call into a compiled library, and `sleep` outside the
main thread. `when_stuck` is then called: a process that has nothing else to do can end itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from workflows.errors import StageTimeout, TimeUp

T = TypeVar("T")

#: Nobody else's: the highest of the real-time signals.
_SIGNAL = signal.SIGRTMAX

#: Times that a call is interrupted in vain before the processes that it has started are killed.
_PATIENCE = 2

#: Called in the watchdog's thread, with words, when a call has not come back in twice its
#: wall-time.
when_stuck: Callable[[str], None] = lambda words: None  # noqa: E731


#: What tells the time that the code of this context has used, where several calls take turns.
_clock: ContextVar[Callable[[], float] | None] = ContextVar("clock", default=None)


def count_with(clock: Callable[[], float]) -> None:
    """From here on wall-times of this context are measured in seconds of `clock`.

    Nothing interrupts a limited call then: it ends where it asks a calculator (`check_time`).
    """
    _clock.set(clock)


def now() -> float:
    """Seconds, to measure how long something takes that others may interrupt."""
    clock = _clock.get()
    return clock() if clock else time.perf_counter()


@dataclass(eq=False)
class _Limit:
    """A call that runs in `thread`. The lock keeps its end and an interruption apart."""

    thread: threading.Thread
    seconds: float
    deadline: float | None = None
    over: bool = False
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


_of_this_context: ContextVar[list[_Limit] | None] = ContextVar("limits", default=None)


def check_time() -> None:
    """Ends a limited call whose time is up, though what ended it before was swallowed."""
    for limit in _limits():
        if limit.deadline is not None and now() > limit.deadline:
            limit.over = True
        if limit.over and not limit.ended.is_set():
            raise TimeUp


def run_with_limit(call: Callable[[], T], seconds: float | None) -> T:
    """Run `call()`; raise `StageTimeout` when it takes longer than `seconds`.

    `None` means no limit. See above for what is interrupted only when it comes back.
    """
    if seconds is None:
        return call()
    limit = _Limit(threading.current_thread(), seconds)
    _limits().append(limit)
    try:
        try:
            _begin(limit)
            return call()
        finally:
            try:
                _finish(limit)
            except TimeUp:  # raised as the call came to its end; it is the last one
                _finish(limit)
    except TimeUp as error:
        _finish(limit)
        if not limit.over:  # of a limit around this one
            raise
        ending = StageTimeout(_exceeded(limit))
        ending.log = error.log
        raise ending from None


def _begin(limit: _Limit) -> None:
    """Set a deadline where calls take turns, and otherwise a watch on the thread."""
    if _clock.get() is not None:
        limit.deadline = now() + limit.seconds
        return
    if limit.thread is threading.main_thread():
        signal.signal(_SIGNAL, lambda *_: check_time())
    threading.Thread(target=_watch, args=(limit, _children(limit)), daemon=True).start()


def _finish(limit: _Limit) -> None:
    """After this nothing is raised in the thread for this limit."""
    limit.ended.set()
    if limit in _limits():
        _limits().remove(limit)
    if limit.deadline is not None:
        return
    with limit.lock:  # what is pending is taken back
        _raise_in_thread(limit.thread, None)


def _limits() -> list[_Limit]:
    """Those of the calls that this thread, or this call among several, is in."""
    found = _of_this_context.get()
    if found is None:
        found = []
        _of_this_context.set(found)
    return found


def _watch(limit: _Limit, others: set[int]) -> None:
    """Interrupts the call when its time is up; others: processes that it did not start."""
    wait, tries = limit.seconds, 0
    while not limit.ended.wait(wait):
        wait, tries = 1.0, tries + 1
        with limit.lock:
            if limit.ended.is_set():
                return
            limit.over = True
            if limit.thread is threading.main_thread():
                signal.pthread_kill(limit.thread.ident or 0, _SIGNAL)
            else:
                _raise_in_thread(limit.thread, TimeUp)
        if tries > _PATIENCE:
            _kill(_children(limit) - others)
        if tries == max(int(limit.seconds), 5):
            when_stuck(f"{_exceeded(limit)}, and the call that it was in did not return")


def _exceeded(limit: _Limit) -> str:
    return f"exceeded its wall-time of {limit.seconds:g} s (the setting wall_time of this stage)"


def _raise_in_thread(thread: threading.Thread, exception: type[BaseException] | None) -> None:
    argument = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), argument)


def _children(limit: _Limit) -> set[int]:
    """The processes that the thread has started, and not those of other threads."""
    return _below([Path(f"/proc/self/task/{limit.thread.native_id}/children")])


def _below(lists: Iterable[Path]) -> set[int]:
    """The processes in `lists`, files of Linux, and those that these have started."""
    found: set[int] = set()
    for file in lists:
        with contextlib.suppress(OSError):  # gone, or a kernel without such lists
            for child in file.read_text().split():
                found |= {int(child)} | _below(Path(f"/proc/{child}/task").glob("*/children"))
    return found


def _kill(processes: Iterable[int]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
