"""Run many reactions at once, and keep every one that finishes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms

from reactbench_runner import calculators
from reactbench_runner.calculators import Entry
from reactbench_runner.provenance import describe_run, fingerprint, start_or_resume
from reactbench_runner.reactions import Unreadable
from reactbench_runner.rows import Row
from reactbench_runner.store import Store, finished, only_one
from reactbench_runner.workers import How, Task, failed, search_all, workers_of
from workflows.errors import InputError, WorkflowError
from workflows.records import Reaction, SearchResult
from workflows.settings import SearchSettings

#: Stages whose failure says nothing about the reaction: they are tried again on a re-run.
NOT_SEARCHED = ("input", "worker")


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
    folder with an unfinished run of the same calculators and settings is resumed, and what was
    searched there without `verify` is verified; `on_finished` is called for every reaction, those
    of before included. Raises `InputError` when `out` holds another run, the reactions changed
    under their ids, or `verify` cannot verify this run, `SettingsError` for a calculator that
    cannot be had, `StorageError` when the disk takes no more.
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
    unverified = {name: row for name, row in rows.items() if how[2] and _unverified(row)}
    for name, row in rows.items():
        row["verify_level"] = row.get("verify_level") or levels[1]
        if name not in unverified:
            on_finished(row)

    def in_order() -> list[Row]:
        return [rows[item.id] for item in reactions if item.id in rows]

    def keep(item: Reaction | Unreadable, result: SearchResult) -> None:
        name = item.id
        try:
            if name in unverified:
                rows[name] = store.add_verification(result, rows[name], levels[1])
            else:
                rows[name] = store.add(result, fingerprint(item), *levels)
            store.refresh_table([*in_order(), *others])
        except OSError as error:
            raise StorageError(
                f"reaction '{name}' could not be written to {store.out}: {error}. Everything "
                "finished before is safe; make room and run the same command to go on."
            ) from error
        on_finished(rows[name])

    try:
        waiting: list[Task] = []
        for item in reactions:
            if isinstance(item, Unreadable):
                if item.id not in rows:
                    keep(item, failed(Reaction(item.id, Atoms(), Atoms()), "input", item.reason))
            elif item.id in unverified:
                waiting.append(store.read(item, rows[item.id]))
            elif item.id not in rows:
                waiting.append(item)
        if waiting:
            workers, dask_address = pool
            with workers_of(min(workers, len(waiting)), dask_address) as client:
                for result in search_all(client, waiting, how):
                    keep(result.reaction, result)
    finally:
        with contextlib.suppress(OSError):  # the rows are safe in their folders
            store.write_table([*in_order(), *others])
    return in_order()


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
                f"reaction '{item.id}' is finished in {out} but its structures, isotopes, charge "
                "or multiplicity have changed since; use another --out, or delete its folder "
                f"{out / item.id} to compute it anew"
            )
        valid[item.id] = row
    return valid


def _unverified(row: Row) -> bool:
    """Does this row hold a transition state of which no verification says anything?"""
    done = row.get("verify_converged", "") != "" or row.get("verify_reason", "")
    return row["ts_energy_ev"] != "" and not done
