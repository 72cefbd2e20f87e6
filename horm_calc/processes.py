"""Work for processes of one thread each, of which any may die without harm to the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Task], Result], tasks: Iterator[Task], workers: int
) -> Iterator[tuple[Task, Result | None]]:
    """Each task with `work(task)`, in the order in which they are ready.

    The result is None where the process died of the task: each worker is a pool of its own, so
    that it is known which one that is. When the iterator is closed, or this process ends in
    whatever way, the workers end too. `work` must not raise.
    """
    free: list[Executor] = [_pool() for _ in range(workers)]
    running: dict[Future[Result], tuple[Executor, Task]] = {}
    try:
        while True:
            while free and (task := next(tasks, None)) is not None:
                pool, future = _submit(free.pop(), work, task)
                running[future] = pool, task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                pool, task = running.pop(future)
                result = None
                try:
                    result = future.result()
                except BrokenProcessPool:
                    pool.shutdown()
                    pool = _pool()
                free.append(pool)
                yield task, result
    finally:
        for pool in [*free, *(pool for pool, _ in running.values())]:
            for process in (getattr(pool, "_processes", None) or {}).values():
                process.kill()
            pool.shutdown(cancel_futures=True)


def _submit(
    pool: Executor, work: Callable[[Task], Result], task: Task
) -> tuple[Executor, Future[Result]]:
    """Gives a task to a worker; to a new one, if that was killed while it had nothing to do."""
    with surroundings():
        try:
            return pool, pool.submit(work, task)
        except BrokenProcessPool:
            pool.shutdown()
            pool = _pool()
            return pool, pool.submit(work, task)


def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    with surroundings():  # its semaphores start the tracker
        return ProcessPoolExecutor(1, mp_context=context, initializer=begin_worker)


def begin_worker() -> None:
    """What a worker does first: fall silent, and end when its parent does, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what Fortran prints goes past sys.stdout
        os.dup2(nowhere, stream)


#: One thread each, and one order of sets of texts in all of them, on which libraries' results may
#: depend: the number is that of Dask's workers, so that a cluster finds the same.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "6640",
}


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """Gives processes started within this environment.

    They leave to their parent what Ctrl-C and the end of a terminal mean.
    """
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    # What is blocked here stays so in the child, and reaches this process afterwards. The
    # tracker that multiprocessing starts with its first child unblocks Ctrl-C, so it goes before.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
