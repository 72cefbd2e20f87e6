"""Worker processes that have several tasks under way at a time.

A process is sent a few tasks more than it works on, so that it never waits for one, and sends back
each result as it is found. One that dies costs what it had been sent and had not answered.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from horm_calc.processes import begin_worker, surroundings
from workflows.in_flight import run_together

#: What a process does with numbered tasks, which it takes as it has room: numbered results.
Stream = Callable[[Iterable[tuple[int, Any]]], Iterator[tuple[int, Any]]]

#: Tasks that wait in a process for those under way.
AHEAD = 2


def several(
    work: Callable[[Any], Any], in_flight: int, tasks: Iterable[tuple[int, Any]]
) -> Iterator[tuple[int, Any]]:
    """The results of `work` for numbered tasks, of which so many are under way at a time.

    One by one they have the process to themselves, and wall-times interrupt them.
    """
    if in_flight == 1:
        yield from ((number, work(task)) for number, task in tasks)
    else:
        yield from run_together(
            ((number, partial(work, task)) for number, task in tasks), in_flight
        )


@dataclass(eq=False)
class _Worker:
    """A process, this end of its connection, and the tasks it has not answered.

    `open`: whether it may get more.
    """

    process: BaseProcess
    connection: Connection
    tasks: dict[int, Any] = field(default_factory=dict)
    open: bool = True


def in_streams(
    stream: Stream, tasks: Iterator[Any], workers: int, in_flight: int
) -> Iterator[tuple[Any, Any | None]]:
    """Each task with its result, in the order in which they are ready.

    The result is None where the process died before it had answered the task, whichever it died
    of. When this is closed, or this process ends in whatever way, the workers end too.
    """
    running = [_started(stream) for _ in range(workers)]
    number = 0
    try:
        while True:
            for worker in running:
                while worker.open and len(worker.tasks) < in_flight + AHEAD:
                    task = next(tasks, None)
                    if task is None:  # or the worker would wait for one with others under way
                        worker.open = False
                        _send(worker, None)
                        break
                    number += 1
                    worker.tasks[number] = task
                    _send(worker, (number, task))
            running_now = [worker for worker in running if worker.tasks]
            if not running_now:
                return
            ready = wait([worker.connection for worker in running_now])
            for worker in [worker for worker in running_now if worker.connection in ready]:
                try:
                    answered, result = worker.connection.recv()
                except (EOFError, OSError):  # it has died
                    running[running.index(worker)] = _started(stream)
                    _end(worker)
                    for task in worker.tasks.values():
                        yield task, None
                    continue
                yield worker.tasks.pop(answered), result
    finally:
        for worker in running:
            _end(worker)


def _started(stream: Stream) -> _Worker:
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(there, stream), daemon=True)
    with surroundings():
        process.start()
    there.close()  # so that the end of the process is the end of the connection
    return _Worker(process, here)


def _send(worker: _Worker, what: Any) -> None:
    with contextlib.suppress(OSError):  # where it has died, which `recv` says
        worker.connection.send(what)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _serve(connection: Connection, stream: Stream) -> None:
    """What a worker does until there is no more to do, or it is ended."""
    begin_worker()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        """At once, whatever is under way: else both ends might wait for each other to read."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                waiting.put(connection.recv())
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    for numbered in stream(iter(waiting.get, None)):
        connection.send(numbered)
