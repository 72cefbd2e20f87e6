"""Run many reactions at once, and keep every one that finishes.

Reactions go to Dask workers: processes on this machine, one thread each, that stay alive
from one reaction to the next, or the workers of a cluster that already runs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms

from reactbench_runner import calculators
from reactbench_runner.provenance import describe_run, fingerprint, start_or_resume
from reactbench_runner.reactions import Unreadable
from reactbench_runner.rows import Row
from reactbench_runner.store import Store
from workflows.errors import InputError, WorkflowError
from workflows.records import Label, Reaction, SearchResult, Verdict
from workflows.settings import SearchSettings
from workflows.tssearch import search

#: Stages whose failure says nothing about the reaction: they are tried again on a re-run.
_TRY_AGAIN = ("input", "worker")


class StorageError(WorkflowError):
    """A finished reaction could not be written."""


def run_batch(
    reactions: Sequence[Reaction | Unreadable],
    out: Path,
    calculator: str = "gfn2-xtb",
    settings: SearchSettings | None = None,
    *,
    workers: int = 1,
    dask_address: str | None = None,
    database: str | None = None,
    on_finished: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Search all `reactions` into `out` and return their rows, in the order of the input.

    A folder with an unfinished run of the same calculator and settings is resumed;
    `on_finished` is called for every reaction, those of before included. Raises
    `InputError` when `out` holds another run or the reactions changed under their ids,
    `SettingsError` for a calculator that cannot be had, `StorageError` when the disk takes no more.
    """
    settings = settings or SearchSettings()
    entry = calculators.entry(calculator)
    start_or_resume(out, describe_run(entry, settings))
    try:
        store = Store(out, database)
    except OSError as error:
        raise StorageError(f"results cannot be stored: {error}") from error
    rows = _still_valid(store.finished(), reactions, out)
    for row in rows.values():
        on_finished(row)

    def in_order() -> list[Row]:
        return [rows[item.id] for item in reactions if item.id in rows]

    def keep(item: Reaction | Unreadable, result: SearchResult) -> None:
        try:
            rows[item.id] = store.add(result, fingerprint(item))
            store.refresh_table(in_order())
        except OSError as error:
            raise StorageError(
                f"reaction '{item.id}' could not be written to {out}: {error}. Everything "
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
            with _client(min(workers, len(waiting)), dask_address) as client:
                for reaction, result in _search_all(client, waiting, entry.name, settings):
                    keep(reaction, result)
    finally:
        with contextlib.suppress(OSError):  # the rows are safe in their folders
            store.write_table(in_order())
    return in_order()


def search_one(reaction: Reaction, calculator: str, settings: SearchSettings) -> SearchResult:
    """What a worker does: build the calculator and search."""
    try:
        built = calculators.build(calculator, reaction.charge, reaction.multiplicity)
        return search(reaction, built, settings)
    except InputError as error:
        return _failed(reaction, "input", str(error))
    except Exception as error:  # a bug must cost one reaction, not the run
        logging.getLogger(__name__).exception("reaction %s", reaction.id)
        return _failed(reaction, "worker", f"unexpected {type(error).__name__}: {error}")


def _failed(reaction: Reaction, stage: str, reason: str) -> SearchResult:
    return SearchResult(reaction, Verdict(Label.FAILED, reason, stage=stage))


def _still_valid(
    finished: dict[str, Row], reactions: Sequence[Reaction | Unreadable], out: Path
) -> dict[str, Row]:
    """The finished rows that belong to this input; refuses reactions that have changed."""
    valid = {}
    for item in reactions:
        row = finished.get(item.id)
        if row is None or row["stage"] in _TRY_AGAIN:
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
    client: Any, reactions: Sequence[Reaction], calculator: str, settings: SearchSettings
) -> Iterator[tuple[Reaction, SearchResult]]:
    """The results in the order in which they finish.

    When a worker dies, every reaction that was waiting on it is suspect. The suspects run
    again one by one at the end, so that only the one that kills its worker is blamed.
    """
    suspects: list[Reaction] = []
    for reaction, result in _as_finished(client, reactions, calculator, settings):
        if result is None:
            suspects.append(reaction)
        else:
            yield reaction, result
    for suspect in suspects:
        [(_, result)] = _as_finished(client, [suspect], calculator, settings)
        reason = (
            "the worker process died twice while it ran this reaction (killed, or out of "
            "memory); run again with fewer --workers"
        )
        yield suspect, result or _failed(suspect, "worker", reason)


def _as_finished(
    client: Any, reactions: Sequence[Reaction], calculator: str, settings: SearchSettings
) -> Iterator[tuple[Reaction, SearchResult | None]]:
    """Each reaction with its result, or with None when its worker died."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    futures = {
        client.submit(search_one, reaction, calculator, settings, pure=False): reaction
        for reaction in reactions
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
            with Client(address, timeout="20s") as client:
                yield client
        except (OSError, TimeoutError) as error:
            raise InputError(f"no Dask scheduler answers at {address}: {error}") from error
        return
    options = {"distributed.scheduler.allowed-failures": 0}  # _search_all decides
    with (
        dask.config.set(options),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
