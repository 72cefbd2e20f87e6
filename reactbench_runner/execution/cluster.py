"""Workers of a Dask cluster that runs already, on any number of machines."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from reactbench_runner import calculators
from reactbench_runner.calculators import Source
from reactbench_runner.errors import OtherVersions, WorkersLost
from reactbench_runner.storage.provenance import versions
from workflows.errors import InputError

Given = TypeVar("Given")
Found = TypeVar("Found")

#: Seconds in which a scheduler must answer.
_PATIENCE = 20

#: Seconds between two looks at the workers, and between two words about missing ones.
_LOOK_EVERY, _SAY_EVERY = 5.0, 600.0


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
def cluster_at(address: str, same: Same, say: Callable[[str], None]) -> Iterator[Any]:
    """A pool, as `workers.Pool` says, of the workers of the scheduler at `address`.

    Raises `InputError` where none answers, or the workers have several threads. The pool raises
    `WorkersLost` when the scheduler does not answer any more, and `OtherVersions`; without a
    worker it waits, and says so.
    """
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # workers come and go
    try:
        _ask(address)
        client = Client(address, timeout=f"{_PATIENCE}s")
    except Exception as error:  # OSError, or what Dask makes of an address that is none
        raise InputError(
            f"no Dask scheduler answers at {address} ({error}); --dask needs its address, as in "
            "tcp://host:8786"
        ) from error
    with client:
        _check_threads(_workers(client, address), address)

        def pool(work: Callable[[Given], Found], tasks: Sequence[Given]) -> Iterator[Any]:
            return _as_finished(client, address, same, say, work, tasks)

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


def _as_finished(
    client: Any,
    address: str,
    same: Same,
    say: Callable[[str], None],
    work: Callable[[Given], Found],
    tasks: Sequence[Given],
) -> Iterator[tuple[Given, Found | None]]:
    from distributed import as_completed

    futures = {client.submit(_on_worker, same, work, task, pure=False): task for task in tasks}
    completed = as_completed(list(futures))
    looked = said = -_SAY_EVERY
    while not completed.is_empty():
        while not completed.has_ready():
            now = time.monotonic()
            if now - looked > _LOOK_EVERY:
                looked = now
                workers = _workers(client, address)
                _check_threads(workers, address)
                if workers:
                    said = -_SAY_EVERY
                elif now - said > _SAY_EVERY:
                    said = now
                    say(
                        f"no worker at {address}: {len(futures)} reactions wait for one; start it "
                        f"with: dask worker {address} --nthreads 1 --nworkers N --memory-limit 0"
                    )
            time.sleep(0.1)
        future = next(completed)
        result = _result(future, address)
        yield futures.pop(future), result
        future.release()


def _result(future: Any, address: str) -> Any:
    """What a worker found; None where it died of it."""
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        return None
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


def _on_worker(same: Same, work: Callable[[Given], Found], task: Given) -> Found:
    """What a worker does: as on the user's machine, with its temporary files among Dask's.

    Dask removes these with its own, also those of workers that were killed.
    """
    from distributed import get_worker

    same.check()
    before = tempfile.tempdir
    tempfile.tempdir = get_worker().local_directory
    try:
        return work(task)
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
