"""The processes that search: one thread each, on this machine or on a cluster.

Dask workers stay alive from one reaction to the next. One that dies costs the reaction that killed
it, and no other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from horm_calc.input_checks import OutsideTrainingDomain
from reactbench_runner import calculators
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Label, Reaction, SearchResult, Verdict, Verification
from workflows.settings import SearchSettings
from workflows.tssearch import search
from workflows.verify import verify as verify_saddle

#: How a worker searches: the calculator, the settings, and what it verifies with, if at all.
How = tuple[str, SearchSettings, str | None]

#: A reaction to search, or a finished search to verify.
Task = Reaction | SearchResult


def search_all(client: Any, tasks: Sequence[Task], how: How) -> Iterator[SearchResult]:
    """The results in the order in which they finish.

    When a worker dies, every reaction that was waiting on it is suspect. The suspects run
    again one by one at the end, so that only the one that kills its worker is blamed.
    """
    suspects: list[Task] = []
    for task, result in _as_finished(client, tasks, how):
        if result is None:
            suspects.append(task)
        else:
            yield result
    for suspect in suspects:
        yield _search_alone(client, suspect, how)


def _search_alone(client: Any, task: Task, how: How) -> SearchResult:
    """Once more; and if that kills the worker too, without the verification, if there is one."""
    calculator, settings, trusted = how
    reaction = task.reaction if isinstance(task, SearchResult) else task
    [(_, result)] = _as_finished(client, [task], how)
    if result is None and trusted is not None:
        [(_, result)] = _as_finished(client, [task], (calculator, settings, None))
        if result is not None:
            died = "the worker process died twice while it verified (killed, or out of memory)"
            return dataclasses.replace(result, verification=Verification(reason=died))
    return result or failed(
        reaction,
        "worker",
        "the worker process died twice while it ran this reaction (killed, or out of "
        "memory); run again with fewer --workers",
    )


def _as_finished(
    client: Any, tasks: Sequence[Task], how: How
) -> Iterator[tuple[Task, SearchResult | None]]:
    """Each task with its result, or with None when its worker died."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {client.submit(search_one, task, *how, pure=False): task for task in tasks}
    for future in as_completed(list(futures)):
        try:
            result = future.result()
        except KilledWorker:
            result = None
        yield futures.pop(future), result
        future.release()


def search_one(
    task: Task, calculator: str, settings: SearchSettings, trusted: str | None = None
) -> SearchResult:
    """What a worker does: build the calculator, search, and verify with the `trusted` one."""
    result = task if isinstance(task, SearchResult) else _searched(task, calculator, settings)
    if trusted is None or result.saddle is None or not result.saddle.converged:
        return result
    reaction = result.reaction
    try:
        built = calculators.build(trusted, reaction.charge, reaction.multiplicity)
        verification = verify_saddle(result, built, settings)
    except Exception as error:  # it must not cost what the search has found
        logging.getLogger(__name__).exception("verification of reaction %s", reaction.id)
        verification = Verification(reason=f"unexpected {type(error).__name__}: {error}")
    log = f"{result.log}\n===== verification =====\n{verification.log.strip()}\n"
    return dataclasses.replace(result, verification=verification, log=log)


def _searched(reaction: Reaction, calculator: str, settings: SearchSettings) -> SearchResult:
    try:
        check_reaction(reaction)
        if problem := calculators.refusal(calculator, reaction):
            raise InputError(problem)
        built = calculators.build(calculator, reaction.charge, reaction.multiplicity)
        # Those of the structures that count are among the warnings of the result.
        with warnings.catch_warnings(action="ignore", category=OutsideTrainingDomain):
            build = partial(calculators.build, calculator)
            return search(reaction, built, settings, build=build)
    except InputError as error:
        return failed(reaction, "input", str(error))
    except Exception as error:  # a bug must cost one reaction, not the run
        logging.getLogger(__name__).exception("reaction %s", reaction.id)
        return failed(reaction, "worker", f"unexpected {type(error).__name__}: {error}")


def failed(reaction: Reaction, stage: str, reason: str) -> SearchResult:
    """The result of a reaction that was not searched, or not to an end."""
    return SearchResult(reaction, Verdict(Label.FAILED, reason, stage=stage))


@contextlib.contextmanager
def workers_of(workers: int, address: str | None) -> Iterator[Any]:
    """A Dask client: of the cluster at `address`, or of processes on this machine."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # workers come and go
    if address is not None:
        try:
            client = Client(address, timeout="20s")
        except (OSError, TimeoutError) as error:
            raise InputError(f"no Dask scheduler answers at {address}: {error}") from error
        with client:
            _check_threads(client, address)
            yield client
        return
    options = {"distributed.scheduler.allowed-failures": 0}  # _search_all decides
    with (
        dask.config.set(options),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            # Dask would give a worker its share of the cores in memory, however many workers
            # there are, and pause or kill a search that needs more.
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _check_threads(client: Any, address: str) -> None:
    """Refuse workers with several threads: the libraries of a search use the whole process."""
    workers = client.scheduler_info()["workers"].values()
    most = max((worker["nthreads"] for worker in workers), default=1)
    if most > 1:
        raise InputError(
            f"the workers of {address} have up to {most} threads, but a search needs a process "
            f"of its own; start them with: dask worker {address} --nthreads 1 --nworkers N"
        )
