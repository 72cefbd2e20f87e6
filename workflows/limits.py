"""A wall-time for code that has none of its own.

Stages call libraries that can loop for ever (an IRC corrector that never reaches its step
length, a string that never grows). `run_with_limit` ends such a call from outside: a
watchdog thread asks the interpreter to raise an exception in the working thread, which
works in worker threads too, where signals do not reach. The exception derives from
BaseException so that a library's `except Exception` cannot swallow it, and the watchdog
repeats it once a second until the call has ended.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from workflows.errors import StageTimeout

T = TypeVar("T")


class _TimeUp(BaseException):
    """Raised inside the limited call by the watchdog."""


def _raise_in_thread(thread_id: int, exception: type[BaseException] | None) -> None:
    argument = ctypes.py_object(exception) if exception is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), argument)


def run_with_limit(call: Callable[[], T], seconds: float | None) -> T:
    """Run `call()`; raise `StageTimeout` when it takes longer than `seconds`.

    `None` means no limit. Code that never returns to the interpreter (one long call into a
    compiled library) is interrupted only when it comes back.
    """
    if seconds is None:
        return call()
    thread_id = threading.get_ident()
    lock = threading.Lock()
    finished = threading.Event()

    def watch() -> None:
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    _raise_in_thread(thread_id, _TimeUp)
            wait = 1.0

    try:
        try:
            threading.Thread(target=watch, daemon=True).start()
            return call()
        finally:
            finished.set()
            with lock:  # after this no new exception is sent; take back one that is pending
                _raise_in_thread(thread_id, None)
    except _TimeUp:
        raise StageTimeout(f"exceeded its wall-time of {seconds:g} s") from None
