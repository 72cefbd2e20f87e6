"""Run many reactions at once, and keep every one that finishes.

Reactions go to Dask workers: processes on this machine, one thread each, that stay alive
from one reaction to the next, or the workers of a cluster that already runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from horm_calc.input_checks import OutsideTrainingDomain
from reactbench_runner import calculators
from reactbench_runner.calculators import Entry
from reactbench_runner.provenance import describe_run, fingerprint, start_or_resume
from reactbench_runner.reactions import Unreadable
from reactbench_runner.rows import Row
from reactbench_runner.store import Store, finished, only_one
from workflows.errors import InputError, WorkflowError
from workflows.input_checks import check_reaction
from workflows.records import Label, Reaction, SearchResult, Verdict, Verification
from workflows.settings import SearchSettings
from workflows.tssearch import search
from workflows.verify import verify as verify_saddle

#: Stages whose failure says nothing about the reaction: they are tried again on a re-run.
NOT_SEARCHED = ("input", "worker")

#: How a worker searches: the calculator, the settings, and what it verifies with, if at all.
How = tuple[str, SearchSettings, str | None]


class StorageError(WorkflowError):
    """A finished reaction could not be written."""


def run_batch(
    reactions: Sequence[Reaction | Unreadable],
    out: Path,
    calculator: str = calculators.DEFAULT,
    settings: SearchSettings | None = None,
    *,
    verify: str | None = None,
    workers: int = 1,
    dask_address: str | None = None,
    database: str | None = None,
    on_finished: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Search all `reactions` into `out` and return their rows, in the order of the input.

    Reactions that `out` holds from earlier inputs stay in its table, below those of this one.

    `verify` names the calculator with which every transition state is refined once more. A
    folder with an unfinished run of the same calculators and settings is resumed;
    `on_finished` is called for every reaction, those of before included. Raises
    `InputError` when `out` holds another run, the reactions changed under their ids, or
    `verify` cannot verify this run, `SettingsError` for a calculator that cannot be had,
    `StorageError` when the disk takes no more.
    """
    settings = settings or SearchSettings()
    entry = calculators.entry(calculator)
    trusted = calculators.entry(verify) if verify is not None else None
    if trusted is not None:
        _check_verification(trusted, entry, reactions)
    name = start_or_resume(out, describe_run(entry, settings, trusted))
    with only_one(out):
        try:
            store = Store(out, name, database)
        except OSError as error:
            raise StorageError(f"results cannot be stored: {error}") from error
        levels = entry.level_of_theory, trusted.level_of_theory if trusted else ""
        how = entry.name, settings, trusted.name if trusted else None
        pool = workers, dask_address
        return _search_missing(reactions, store, levels, how, pool, on_finished)


def _search_missing(
    reactions: Sequence[Reaction | Unreadable],
    store: Store,
    levels: tuple[str, str],
    how: How,
    pool: tuple[int, str | None],
    on_finished: Callable[[Row], None],
) -> list[Row]:
    """Search what the store does not hold yet; levels: of the search and its verification."""
    before = finished(store.out)
    for row in before.values():
        row.setdefault("level_of_theory", levels[0])  # rows of older versions
    rows = _still_valid(before, reactions, store.out)
    asked = {item.id for item in reactions}
    others = [row for name, row in before.items() if name not in asked]
    for row in rows.values():
        on_finished(row)

    def in_order() -> list[Row]:
        return [rows[item.id] for item in reactions if item.id in rows]

    def keep(item: Reaction | Unreadable, result: SearchResult) -> None:
        try:
            rows[item.id] = store.add(result, fingerprint(item), *levels)
            store.refresh_table([*in_order(), *others])
        except OSError as error:
            raise StorageError(
                f"reaction '{item.id}' could not be written to {store.out}: {error}. Everything "
                "finished before is safe; make room and run the same command to go on."
            ) from error
        on_finished(rows[item.id])

    try:
        waiting: list[Reaction] = []
        for item in reactions:
            if item.id in rows:
                continue
            if isinstance(item, Unreadable):
                keep(item, _failed(Reaction(item.id, Atoms(), Atoms()), "input", item.reason))
            else:
                waiting.append(item)
        if waiting:
            workers, dask_address = pool
            with _client(min(workers, len(waiting)), dask_address) as client:
                for reaction, result in _search_all(client, waiting, how):
                    keep(reaction, result)
    finally:
        with contextlib.suppress(OSError):  # the rows are safe in their folders
            store.write_table([*in_order(), *others])
    return in_order()


def search_one(
    reaction: Reaction, calculator: str, settings: SearchSettings, trusted: str | None = None
) -> SearchResult:
    """What a worker does: build the calculator, search, and verify with the `trusted` one."""
    try:
        check_reaction(reaction)
        if problem := calculators.refusal(calculator, reaction):
            raise InputError(problem)
        built = calculators.build(calculator, reaction.charge, reaction.multiplicity)
        # Those of the structures that count are among the warnings of the result.
        with warnings.catch_warnings(action="ignore", category=OutsideTrainingDomain):
            result = search(reaction, built, settings)
    except InputError as error:
        return _failed(reaction, "input", str(error))
    except Exception as error:  # a bug must cost one reaction, not the run
        logging.getLogger(__name__).exception("reaction %s", reaction.id)
        return _failed(reaction, "worker", f"unexpected {type(error).__name__}: {error}")
    if trusted is None or result.saddle is None or not result.saddle.converged:
        return result
    try:
        built = calculators.build(trusted, reaction.charge, reaction.multiplicity)
        verification = verify_saddle(result, built, settings)
    except Exception as error:  # nor may it cost what the search has found
        logging.getLogger(__name__).exception("verification of reaction %s", reaction.id)
        verification = Verification(reason=f"unexpected {type(error).__name__}: {error}")
    log = f"{result.log}\n===== verification =====\n{verification.log.strip()}\n"
    return dataclasses.replace(result, verification=verification, log=log)


def _check_verification(
    trusted: Entry, entry: Entry, reactions: Sequence[Reaction | Unreadable]
) -> None:
    """Refuse a level that verifies nothing, or has no answer for what the search can do."""
    if trusted.same_as(entry):
        raise InputError(
            f"verification with the calculator of the search itself ({trusted.name}) shows "
            "nothing; name another level of theory, or leave the verification out"
        )
    beyond = [
        f"{reaction.id} (charge {reaction.charge:+d}, multiplicity {reaction.multiplicity})"
        for reaction in reactions
        if isinstance(reaction, Reaction)
        and not calculators.refusal(entry.name, reaction)
        and calculators.refusal(trusted.name, reaction)
    ]
    if beyond:
        more = f" and {len(beyond) - 3} more" if len(beyond) > 3 else ""
        raise InputError(
            f"{trusted.name} knows neutral closed shells of H, C, N and O only and cannot verify "
            f"{', '.join(beyond[:3])}{more}; put these into a run of their own, with another "
            "level for the verification or none"
        )


def _failed(reaction: Reaction, stage: str, reason: str) -> SearchResult:
    return SearchResult(reaction, Verdict(Label.FAILED, reason, stage=stage))


def _still_valid(
    finished: dict[str, Row], reactions: Sequence[Reaction | Unreadable], out: Path
) -> dict[str, Row]:
    """The finished rows that belong to this input; refuses reactions that have changed."""
    valid = {}
    for item in reactions:
        row = finished.get(item.id)
        if row is None or row["stage"] in NOT_SEARCHED:
            continue
        if row["fingerprint"] != fingerprint(item):
            raise InputError(
                f"reaction '{item.id}' is finished in {out} but its structures, charge or "
                "multiplicity have changed since; use another --out, or delete its folder "
                f"{out / item.id} to compute it anew"
            )
        valid[item.id] = row
    return valid


def _search_all(
    client: Any, reactions: Sequence[Reaction], how: How
) -> Iterator[tuple[Reaction, SearchResult]]:
    """The results in the order in which they finish.

    When a worker dies, every reaction that was waiting on it is suspect. The suspects run
    again one by one at the end, so that only the one that kills its worker is blamed.
    """
    suspects: list[Reaction] = []
    for reaction, result in _as_finished(client, reactions, how):
        if result is None:
            suspects.append(reaction)
        else:
            yield reaction, result
    for suspect in suspects:
        yield suspect, _search_alone(client, suspect, how)


def _search_alone(client: Any, reaction: Reaction, how: How) -> SearchResult:
    """Once more; and if that kills the worker too, without the verification, if there is one."""
    calculator, settings, trusted = how
    [(_, result)] = _as_finished(client, [reaction], how)
    if result is None and trusted is not None:
        [(_, result)] = _as_finished(client, [reaction], (calculator, settings, None))
        if result is not None:
            died = "the worker process died twice while it verified (killed, or out of memory)"
            return dataclasses.replace(result, verification=Verification(reason=died))
    return result or _failed(
        reaction,
        "worker",
        "the worker process died twice while it ran this reaction (killed, or out of "
        "memory); run again with fewer --workers",
    )


def _as_finished(
    client: Any, reactions: Sequence[Reaction], how: How
) -> Iterator[tuple[Reaction, SearchResult | None]]:
    """Each reaction with its result, or with None when its worker died."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {
        client.submit(search_one, reaction, *how, pure=False): reaction for reaction in reactions
    }
    for future in as_completed(list(futures)):
        try:
            result = future.result()
        except KilledWorker:
            result = None
        yield futures.pop(future), result
        future.release()


@contextlib.contextmanager
def _client(workers: int, address: str | None) -> Iterator[Any]:
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
