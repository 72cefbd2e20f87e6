"""Run many reactions at once, and keep every one that finishes."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from horm_calc.configuration import SettingsError
from reactbench_runner import calculators
from reactbench_runner.calculators import Entry, Factory, Source
from reactbench_runner.calculators.entries import Builder
from reactbench_runner.errors import StorageError
from reactbench_runner.execution.workers import (
    MOST_DEATHS,
    RunSpec,
    Task,
    name_of,
    not_verified,
    search_all,
    workers_of,
)
from reactbench_runner.inputs.large import solvents_of
from reactbench_runner.inputs.reactions import Unreadable, of_smiles
from reactbench_runner.resuming import has_changed, look_at_journals
from reactbench_runner.storage.database import without_password
from reactbench_runner.storage.journal import journals_in, remove_journal
from reactbench_runner.storage.progress import OnRunning, Progress
from reactbench_runner.storage.provenance import (
    describe_run,
    fingerprint,
    start_or_resume,
    with_solvents_there,
)
from reactbench_runner.storage.rows import NOT_SEARCHED, ResultRow
from reactbench_runner.storage.run_folder import claimed, clear_leftovers
from reactbench_runner.storage.shards import is_sharded
from reactbench_runner.storage.store import Say, Store, finished, to_stderr
from workflows.errors import InputError
from workflows.records import SearchResult, Start
from workflows.settings import SearchSettings

#: Searches in flight in a worker whose network computes on a GPU, which small batches leave idle.
IN_FLIGHT_ON_GPU = 64


def run_batch(
    reactions: Sequence[Start | Unreadable],
    out: Path | str,
    calculator: str | Builder = calculators.DEFAULT,
    *,
    settings: SearchSettings | None = None,
    verify: str | Builder | None = None,
    workers: int = 1,
    in_flight: int | None = None,
    dask_address: str | None = None,
    database: str | None = None,
    seconds: float | None = None,
    most_deaths: int = MOST_DEATHS,
    search: Callable[[Task, RunSpec], SearchResult] | None = None,
    on_started: Callable[[], None] = lambda: None,
    on_finished: Callable[[ResultRow], None] = lambda row: None,
    on_running: OnRunning | None = None,
    say: Say = to_stderr,
) -> list[ResultRow]:
    """Search many reactions, and keep every one that finishes.

    A folder with an unfinished run of the same calculators and settings is resumed, and what was
    searched there without `verify` is verified. Reactions that it holds from earlier inputs stay in
    its table, below those of this one. A folder that was made for a run that was refused is gone
    again.

    Parameters
    ----------
    reactions
        As `read_reactions` gives them.
    out
        The folder of the results.
    calculator
        A name that `horm-tssearch --calculator` understands, or `factory(charge, multiplicity)`,
        which returns an ASE calculator.
    settings
        Of each search.
    verify
        The calculator with which every transition state is refined once more.
    workers
        Processes on this machine.
    in_flight
        Searches that each worker has under way at a time; their structures are evaluated together.
        None: `IN_FLIGHT_ON_GPU` for a network on a GPU, and 1 otherwise, as results then do not
        depend on each other, not even in their last digits.
    dask_address
        Of a Dask scheduler, whose workers search instead.
    database
        File or URL of the ASE database of all structures, in the place of one in `out`.
    seconds
        After these nothing is begun any more; what is under way ends.
    most_deaths
        Workers that die one after the other, with no result between, before the run gives up.
    search
        What a worker does with a reaction, or with a finished search to verify, in the place of
        `execution.workers.search_one`; a function of a module.
    on_started
        Called once nothing of the input is refused any more, before the first search.
    on_finished
        Called with the row of every reaction, those of before included.
    on_running
        Called twice a second, and before each `on_finished`, with what is under way: a list of
        `Running`, with the status of each search.
    say
        Called with what was repaired or is waited for.

    Returns
    -------
    list
        One row of the table per reaction, in the order of the input; without those that were
        not begun before the time was up.

    Raises
    ------
    InputError
        When `out` holds another run, the reactions changed under their ids, or `verify` cannot
        verify this run.
    SettingsError
        For a calculator that cannot be had.
    StorageError
        When the disk takes no more.
    WorkersLost, OtherVersions
        Of workers that die one after the other, and of those of a cluster.
    """
    out = Path(out)
    end = end_after(seconds)
    spec, entry, trusted = prepared(calculator, settings, verify, search, in_flight)
    if trusted is not None:
        _check_verification(trusted, entry, reactions)
    levels = levels_of(entry, trusted)
    with explained(out), claimed(out):
        check_form(out, sharded=False)
        solvents = with_solvents_there(out, solvents_of(reactions))
        run_now = describe_run(entry, spec.settings, trusted, solvents)
        name = start_or_resume(out, run_now, of_smiles=any(map(of_smiles, reactions)))
        clear_leftovers(out)
        run = _Run(Store(out, name, database, say), reactions, levels, on_finished, on_running, say)
        try:
            with run.progress:
                if waiting := run.waiting():
                    how = Pooling(workers, dask_address, end, most_deaths, on_started, say)
                    told = {solvent: levels(solvent)[0] for solvent in solvents}
                    with journals_in(out, told, many=False) as journals:
                        spec = dataclasses.replace(spec, journals=journals)
                        found = how.results(waiting, spec, run.progress)
                        with contextlib.closing(found) as results:
                            for result in results:
                                run.keep(result)
                else:
                    on_started()
        finally:
            with contextlib.suppress(OSError):  # the rows are safe in their folders
                run.store.write_table(run.table())
        run.complete_database()
        return run.in_order()


#: What of a solvent gives the levels of theory of a search and of its verification, "" without one.
Levels = Callable[[str], tuple[str, str]]


def levels_of(entry: Entry, trusted: Entry | None) -> Levels:
    """Those of the calculators of a run."""
    return lambda solvent: (
        entry.level_in(solvent),
        trusted.level_in(solvent) if trusted else "",
    )


def end_after(seconds: float | None) -> float:
    """When so many seconds from now have gone."""
    return math.inf if seconds is None else time.monotonic() + seconds


@dataclasses.dataclass(frozen=True)
class Pooling:
    """Who searches, and until when: these arguments of `run_batch`.

    end: of `time.monotonic`, see `end_after`.
    """

    workers: int
    dask_address: str | None
    end: float
    most_deaths: int
    on_started: Callable[[], None]
    say: Say

    def time_is_up(self) -> bool:
        """Whether nothing is to be begun any more."""
        return time.monotonic() > self.end

    def results(
        self, tasks: Iterable[Task], spec: RunSpec, progress: Progress
    ) -> Generator[SearchResult, None, None]:
        """What is found, until the time is up."""

        def begun() -> Iterator[Task]:
            for task in tasks:
                if self.time_is_up():
                    return
                progress.begin(name_of(task))
                yield task

        with workers_of(self.workers, self.dask_address, spec, self.say) as pool:
            found = search_all(
                pool,
                begun(),
                spec,
                most_deaths=self.most_deaths,
                time_is_up=self.time_is_up,
                on_lost=lambda task: progress.put_aside(name_of(task)),
                on_begun=lambda task: progress.begin(name_of(task)),
            )
            with contextlib.closing(found):
                self.on_started()
                yield from found


def prepared(
    calculator: str | Builder,
    settings: SearchSettings | None,
    verify: str | Builder | None,
    search: Callable[[Task, RunSpec], SearchResult] | None,
    in_flight: int | None,
) -> tuple[RunSpec, Entry, Entry | None]:
    """What workers are told, and the calculators of search and verification.

    Raises `SettingsError`, and `InputError` for a verification that shows nothing.
    """
    entry = calculators.entry(_source(calculator))
    trusted = calculators.entry(_source(verify)) if verify is not None else None
    if trusted is not None and trusted.same_as(entry):
        raise InputError(
            f"verification with the calculator of the search itself ({trusted.name}) shows "
            "nothing; name another level of theory, or leave the verification out"
        )
    source = trusted.source if trusted else None
    spec = RunSpec(
        entry.source,
        settings or SearchSettings(),
        source,
        search,
        in_flight=in_flight or _best_in_flight(entry),
    )
    return spec, entry, trusted


def _best_in_flight(entry: Entry) -> int:
    if not entry.name.startswith(calculators.HORM):
        return 1
    import torch

    return IN_FLIGHT_ON_GPU if torch.cuda.is_available() else 1


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """What the disk says becomes a `StorageError`."""
    try:
        yield
    except BrokenPipeError:  # what reads the output has ended
        raise
    except OSError as error:
        raise StorageError(f"results cannot be stored in {out}: {error}") from error


def check_form(out: Path, *, sharded: bool) -> None:
    """Refuse, by `InputError`, to go on with a run whose results are stored in the other form."""
    there = any(out.glob("*/result.json")) if sharded else is_sharded(out)
    if there:
        form = "folders" if sharded else "shards"
        raise InputError(f"{out} holds a run with --storage {form}; go on with it so")


def _source(calculator: str | Builder) -> Source:
    """A calculator as the worker processes can be told of it. Raises `SettingsError`."""
    if isinstance(calculator, str):
        return calculator
    try:
        return Factory.of(calculator)
    except TypeError as error:
        raise SettingsError(str(error)) from error


class _Run:
    """The reactions of an input and what the folder holds of them."""

    def __init__(
        self,
        store: Store,
        reactions: Sequence[Start | Unreadable],
        levels: Levels,
        on_finished: Callable[[ResultRow], None],
        on_running: OnRunning | None,
        say: Say,
    ) -> None:
        self.store, self.reactions, self.levels = store, reactions, levels
        self.on_finished, self.say = on_finished, say
        before = {
            name: dataclasses.replace(row, level_of_theory=row.level_of_theory or levels("")[0])
            for name, row in finished(store.out, say).items()  # older versions name no level
        }
        self.rows = _still_valid(before, reactions, store.out)
        asked = {item.id for item in reactions}
        over = {name for name, row in before.items() if row.stage not in NOT_SEARCHED}
        look_at_journals(store.out, over, reactions, say)
        self.others = [row for name, row in before.items() if name not in asked]
        self.unverified = {
            name for name, row in self.rows.items() if levels("")[1] and _unverified(row)
        }
        self.lost: list[str] = []
        self.progress = Progress(store.out, len(reactions), on_running)
        self.complete_database()
        for name, row in self.rows.items():
            verify_level = row.verify_level or levels(row.solvent)[1]
            self.rows[name] = dataclasses.replace(row, verify_level=verify_level)
            if name not in self.unverified:
                self._tell(self.rows[name], now=False)

    def in_order(self) -> list[ResultRow]:
        """The rows there are of this input."""
        return [self.rows[item.id] for item in self.reactions if item.id in self.rows]

    def table(self) -> list[ResultRow]:
        """All rows of the folder."""
        return [*self.in_order(), *self.others]

    def complete_database(self) -> None:
        """Put the structures of finished reactions there that it has lost or never got."""
        filled, lost = self.store.complete_database(self.table())
        name = without_password(self.store.database.name)
        if filled:
            self.say(
                f"{name} lacked the structures of {_listed(filled)}; they are in it again, from "
                f"{self.store.out}"
            )
        if lost and not self.lost:
            self.lost = lost
            self.say(
                f"the structures of {_listed(lost)} are neither in {name} nor in "
                f"{self.store.out}; delete the folder of a reaction there to search it again"
            )

    def waiting(self) -> list[Task]:
        """What is to be searched or verified; unreadable reactions are stored at once."""
        waiting: list[Task] = []
        for item in self.reactions:
            if item.id in self.unverified and isinstance(item, Start):
                waiting.append(self.store.read(item, self.rows[item.id]))
            elif item.id in self.rows:
                continue
            elif isinstance(item, Unreadable):
                add = self.store.add_unreadable
                self._keep(item.id, partial(add, item, fingerprint(item), *self.levels("")))
            else:
                waiting.append(item)
        return waiting

    def keep(self, result: SearchResult) -> None:
        """Store a result. Raises `StorageError` saying what is safe."""
        name, levels = result.reaction.id, self.levels(result.reaction.solvent)
        if name in self.unverified:
            add = self.store.add_verification
            self._keep(name, partial(add, result, self.rows[name], levels[1]))
        else:
            digest = fingerprint(result.reaction)
            self._keep(name, partial(self.store.add, result, digest, *levels))

    def _keep(self, name: str, store: Callable[[], ResultRow]) -> None:
        """Have a row stored and shown. Raises `StorageError` saying what is safe."""
        try:
            row = store()
        except OSError as error:
            raise StorageError(
                f"reaction '{name}' could not be written to {self.store.out}: {error}. Everything "
                f"finished before is safe; {_remedy(error)} and run the same command to go on."
            ) from error
        self.rows[name] = row
        if row.stage not in NOT_SEARCHED:
            remove_journal(self.store.out, name)
        try:
            self.store.complete_database([row])
            self.store.refresh_table(self.table)
        except OSError as error:
            raise StorageError(
                f"reaction '{name}' is safe in {self.store.out / name}, but {error}; "
                f"{_remedy(error)} and run the same command to go on."
            ) from error
        self._tell(row)

    def _tell(self, row: ResultRow, *, now: bool = True) -> None:
        self.progress.finish(row.id, row.verdict, row.stage, row.reason, now=now)
        self.on_finished(row)


def _remedy(error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "full" in str(error)
    return "make room" if full else "mend that"


def _listed(names: Sequence[str]) -> str:
    """'3 reactions (a, b, c)', the first few of them."""
    more = ", ..." if len(names) > 5 else ""
    return f"{len(names)} reactions ({', '.join(names[:5])}{more})"


def _check_verification(
    trusted: Entry, entry: Entry, reactions: Sequence[Start | Unreadable]
) -> None:
    """Refuse a level that has no answer for what the search can do."""
    beyond = [
        f"{reaction.id} ({trusted.problem(reaction)})"
        for reaction in reactions
        if isinstance(reaction, Start) and not entry.refusal(reaction) and trusted.refusal(reaction)
    ]
    if beyond:
        more = f" and {len(beyond) - 3} more" if len(beyond) > 3 else ""
        raise InputError(
            f"{trusted.level_of_theory} cannot verify {', '.join(beyond[:3])}{more}; put such "
            "reactions into a run of their own, with another level for the verification or none"
        )


def _still_valid(
    finished: dict[str, ResultRow], reactions: Sequence[Start | Unreadable], out: Path
) -> dict[str, ResultRow]:
    """The finished rows that belong to this input; refuses reactions that have changed."""
    valid = {}
    for item in reactions:
        row = finished.get(item.id)
        if row is None or row.stage in NOT_SEARCHED:
            continue
        if row.fingerprint != fingerprint(item):
            remedy = f"delete its folder {out / item.id} to search it again"
            raise has_changed(item, row.solvent, out, remedy)
        valid[item.id] = row
    return valid


def _unverified(row: ResultRow) -> bool:
    """Does this row hold a transition state of which no verification says anything?"""
    done = row.verify_converged is not None or row.verify_reason
    return row.ts_energy_ev is not None and (not done or not_verified(row.verify_reason))
