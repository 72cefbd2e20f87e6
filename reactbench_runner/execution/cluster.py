"""Workers of a Dask cluster that runs already, on any number of machines.

Dask slows down with the number of tasks that it knows, so it knows few: tasks go to the workers in
chunks that keep each busy for some seconds, and a few chunks are given out at a time. Results come
back one by one, as messages, so that a worker that dies takes none with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import pickle
import queue
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from reactbench_runner import calculators
from reactbench_runner.calculators import Source
from reactbench_runner.errors import OtherVersions, WorkersLost
from reactbench_runner.execution.streams import Stream, several
from reactbench_runner.storage.provenance import versions
from workflows.errors import InputError

Given = TypeVar("Given")
Found = TypeVar("Found")

#: Seconds in which a scheduler must answer.
_PATIENCE = 20

#: Seconds between two looks at the workers, and between two words about missing ones.
_LOOK_EVERY, _SAY_EVERY = 5.0, 600.0

#: Messages that Dask keeps in this process, each with a chunk.
_LOG_LENGTH = 10

#: Chunks that are given out for each worker: the one at which it is, and the next. Where a chunk
#: is one long search, the next is given out when that has ended.
_WINDOW = 2

#: Chunks that are done and of which the scheduler still knows that they were begun.
_REMEMBERED = 1000

#: Seconds that a chunk keeps a worker at work, and how many tasks it has at most.
_CHUNK_SECONDS, _MOST = 3.0, 200


@dataclasses.dataclass(frozen=True)
class Same:
    """What must be the same in all processes: versions of packages, weights and code."""

    versions: dict[str, str]
    identities: dict[str, dict[str, str]]

    @classmethod
    def as_here(cls, sources: Sequence[Source]) -> Same:
        """As in this process, with these calculators; factories travel to the workers whole."""
        entries = {name: calculators.entry(name) for name in sources if isinstance(name, str)}
        packages = [package for entry in entries.values() for package in entry.packages]
        return cls(versions(packages), {name: entry.identity for name, entry in entries.items()})

    def check(self) -> None:
        """Raise `OtherVersions` in a process where something differs."""
        here = versions(self.versions)
        different = [
            f"{name} {here.get(name)} instead of {version}"
            for name, version in self.versions.items()
            if here.get(name) != version
        ]
        for name, identity in self.identities.items():
            if calculators.entry(name).identity != identity:
                what = "weights" if name.startswith(calculators.HORM) else "code"
                different.append(f"other {what} in {name.removeprefix(calculators.HORM)}")
        if different:
            raise OtherVersions(", ".join(different))


@contextlib.contextmanager
def cluster_at(
    address: str, same: Same, say: Callable[[str], None], in_flight: int = 1
) -> Iterator[Any]:
    """A pool, as `workers.Pool` says, of the workers of the scheduler at `address`.

    Each has `in_flight` tasks of its chunk under way at a time.

    Raises `InputError` where none answers, or the workers have several threads. The pool raises
    `WorkersLost` when the scheduler does not answer any more, and `OtherVersions`; without a
    worker it waits, and says so.
    """
    import dask
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # workers come and go
    try:
        _ask(address)
        with dask.config.set({"distributed.admin.low-level-log-length": _LOG_LENGTH}):
            client = Client(address, timeout=f"{_PATIENCE}s")
    except Exception as error:  # OSError, or what Dask makes of an address that is none
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); --dask needs its address, as in "
            "tcp://host:8786"
        ) from error
    with client:
        _check_threads(_workers(client, address), address)

        def pool(work: Callable[[Given], Found], tasks: Iterable[Given]) -> Iterator[Any]:
            stream = partial(several, work, in_flight)
            return _as_finished(client, address, same, say, stream, iter(tasks))

        yield pool


def _ask(address: str) -> None:
    """Raise where no scheduler answers in time.

    So that no client is made for nothing: it would wait for ever for what listens but is none, and
    where it never was connected it can lock up Dask when it is collected as garbage.
    """
    from distributed.core import rpc
    from distributed.security import Security

    async def identity() -> None:
        security = Security().get_connection_args("client")
        async with rpc(address, connection_args=security, timeout=_PATIENCE) as scheduler:
            await asyncio.wait_for(scheduler.identity(n_workers=0), _PATIENCE)

    with ThreadPoolExecutor(1) as thread:  # this one may have a loop of its own, as in notebooks
        thread.submit(asyncio.run, identity()).result()


@dataclasses.dataclass
class _Chunk:
    """Tasks that go to one worker together.

    Attributes
    ----------
    tasks
        Those that have not been answered, by their place.
    again
        Whether a worker has died of it before.
    future
        Done when all are answered, or a worker has died of it.
    """

    tasks: dict[int, Any]
    again: bool = False
    future: Any = None


def _as_finished(
    client: Any,
    address: str,
    same: Same,
    say: Callable[[str], None],
    stream: Stream,
    tasks: Iterator[Given],
) -> Iterator[tuple[Given, Found | None]]:
    """Each task with what was found, or with None where two workers have died of it.

    Of a chunk whose worker died, what is not answered is given out once more, each by itself.
    """
    topic = f"horm-tssearch-{uuid.uuid4().hex}"
    arrived: queue.SimpleQueue[tuple[int, int | None, Any]] = queue.SimpleQueue()
    client.subscribe_topic(topic, lambda event: arrived.put(event[1]))
    workers = _Workers(client, address, say)
    pace = _Pace()
    again: list[_Chunk] = []
    running: dict[int, _Chunk] = {}
    numbers = itertools.count()
    done: deque[int] = deque()
    try:
        while True:
            size = pace.chunk_size(workers.count)
            window = max(1, workers.count) * (_WINDOW if size > 1 else 1)
            while len(running) < window:
                chunk = again.pop() if again else _Chunk(dict(enumerate(islice(tasks, size))))
                if not chunk.tasks:
                    break
                number = next(numbers)
                running[number] = chunk
                chunk.future = client.submit(
                    _on_worker, same, stream, pickle.dumps(chunk.tasks), topic, number, pure=False
                )
                chunk.future.add_done_callback(
                    lambda future, number=number: arrived.put((number, None, future))
                )
            if not running:
                return
            try:
                number, place, found = arrived.get(timeout=_LOOK_EVERY)
            except queue.Empty:
                workers.look()
                continue
            if place is not None:
                if number in running and place in running[number].tasks:
                    pace.count()
                    yield running[number].tasks.pop(place), pickle.loads(found)  # noqa: S301 - ours
                continue
            chunk = running.pop(number)
            _result(found, address)
            found.release()  # or Dask would do it again, were the worker to die now
            done.append(number)
            if len(done) > _REMEMBERED:
                name = _name(topic, done.popleft())
                client.sync(client.scheduler.event_clear, name=name)
            for task in chunk.tasks.values():  # a worker has died before it came to these
                if chunk.again:
                    yield task, None
                else:
                    again.append(_Chunk({0: task}, again=True))
            workers.look()
    finally:
        client.unsubscribe_topic(topic)


class _Pace:
    """How fast tasks are answered, and so how many make a chunk."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._count = 0

    def count(self) -> None:
        """One more is answered."""
        if self._begun is None:  # what workers take to start is over
            self._begun = time.monotonic()
        else:
            self._count += 1

    def chunk_size(self, workers: int) -> int:
        """So many as keep a worker at work for `_CHUNK_SECONDS`."""
        if self._begun is None or not self._count:
            return 1
        each = max(1e-6, (time.monotonic() - self._begun) * workers / self._count)
        return min(_MOST, max(1, int(_CHUNK_SECONDS / each)))


class _Workers:
    """How many there are, as of the last look; says where there are none."""

    def __init__(self, client: Any, address: str, say: Callable[[str], None]) -> None:
        self._client, self._address, self._say = client, address, say
        self._said = -_SAY_EVERY
        self._looked = -_LOOK_EVERY
        self.count = 0
        self.look()

    def look(self) -> None:
        """Unless that was done just now. Raises `WorkersLost` without a scheduler."""
        now = time.monotonic()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        found = _workers(self._client, self._address)
        _check_threads(found, self._address)
        self.count = len(found)
        if found:
            self._said = -_SAY_EVERY
        elif now - self._said > _SAY_EVERY:
            self._said = now
            self._say(
                f"no worker at {self._address}: the reactions wait for one; start it with: dask "
                f"worker {self._address} --nthreads 1 --nworkers N --memory-limit 0"
            )


def _result(future: Any, address: str) -> None:
    """Raise what has become of a chunk, unless its worker died of it or all is well."""
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        future.result()
    except KilledWorker:
        return
    except (CancelledError, OSError) as error:
        raise WorkersLost(_no_answer(address)) from error
    except OtherVersions as error:
        raise OtherVersions(
            f"a worker of {address} has {error}; results of both do not belong in one table. "
            "Start all workers in the same environment"
        ) from error
    except Exception as error:
        raise OtherVersions(
            f"a worker of {address} cannot do what is asked of it ({type(error).__name__}: "
            f"{error}); has it the same horm-tssearch and the same files?"
        ) from error


def _name(topic: str, number: int) -> str:
    """Of the mark at the scheduler that a worker has begun with a chunk."""
    return f"{topic}-{number}"


def _on_worker(
    same: Same,
    stream: Stream,
    tasks: bytes,
    topic: str,
    number: int,
) -> None:
    """What a worker does: as on the user's machine, with its temporary files among Dask's.

    Dask removes these with its own, also those of workers that were killed. Each result goes
    its way at once. Dask would give all of them to another worker when this one dies; that one
    leaves them alone, so that nothing is done twice. The tasks are pickled, as the scheduler
    keeps what it has sent for a while.
    """
    from distributed import get_worker
    from distributed.utils import sync

    same.check()
    worker, name = get_worker(), _name(topic, number)
    if sync(worker.loop, worker.scheduler.event_is_set, name=name):
        return
    sync(worker.loop, worker.scheduler.event_set, name=name)
    before = tempfile.tempdir
    tempfile.tempdir = worker.local_directory
    try:
        given: dict[int, Any] = pickle.loads(tasks)  # noqa: S301 - of this run's own making
        for place, found in stream(given.items()):
            worker.log_event(topic, (number, place, pickle.dumps(found)))
    finally:
        tempfile.tempdir = before  # what the process does next may outlive the worker


def _workers(client: Any, address: str) -> list[dict[str, Any]]:
    """What the scheduler knows of its workers."""
    try:
        identity = client.sync(client.scheduler.identity, n_workers=-1, callback_timeout=_PATIENCE)
    except Exception as error:
        raise WorkersLost(_no_answer(address)) from error
    return list(identity["workers"].values())


def _no_answer(address: str) -> str:
    return (
        f"the Dask scheduler at {address} does not answer any more. Everything finished before is "
        "safe; start it and its workers, and run the same command to go on."
    )


def _check_threads(workers: Sequence[dict[str, Any]], address: str) -> None:
    """Refuse workers with several threads: the libraries of a search use the whole process."""
    most = max((worker["nthreads"] for worker in workers), default=1)
    if most > 1:
        raise InputError(
            f"the workers of {address} have up to {most} threads, but a search needs a process "
            f"of its own; start them with: dask worker {address} --nthreads 1 --nworkers N"
        )
