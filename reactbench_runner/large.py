"""Run very many reactions: nothing of them stays in memory, and no file is theirs alone.

`run_batch` keeps every row and writes a folder for each reaction. Here rows and structures go into
files of a thousand (`storage.shards`), the input is read as it is needed, and what is returned are
counts.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from reactbench_runner import calculators
from reactbench_runner.batch import (
    Levels,
    Pooling,
    check_form,
    end_after,
    explained,
    levels_of,
    prepared,
)
from reactbench_runner.calculators import Entry
from reactbench_runner.calculators.entries import Builder
from reactbench_runner.errors import StorageError
from reactbench_runner.execution.workers import (
    MOST_DEATHS,
    RunSpec,
    Task,
    not_verified,
)
from reactbench_runner.inputs.large import solvents_of
from reactbench_runner.inputs.reactions import Listed, Unreadable, of_smiles
from reactbench_runner.resuming import has_changed, look_at_journals
from reactbench_runner.storage.journal import journals_in, remove_journal
from reactbench_runner.storage.making import to_row, unreadable_row
from reactbench_runner.storage.progress import OnRunning, Progress
from reactbench_runner.storage.provenance import (
    describe_run,
    fingerprint,
    start_or_resume,
    with_solvents_there,
)
from reactbench_runner.storage.rows import NOT_SEARCHED, ResultRow
from reactbench_runner.storage.run_folder import claimed, clear_leftovers
from reactbench_runner.storage.shards import Known, Shards, check_installed, index, is_sharded
from reactbench_runner.storage.store import Say, to_stderr, write_files
from reactbench_runner.storage.structures import entries
from workflows.errors import InputError
from workflows.records import SearchResult, Start
from workflows.settings import SearchSettings

#: What `run_large` takes.
Item = Start | Unreadable | Listed


@dataclass(frozen=True)
class Counts:
    """What became of the reactions of a run.

    Attributes
    ----------
    verdicts
        How many there are of each.
    not_searched
        How many of them could not be searched, such as for a missing file.
    left
        How many have not been searched, as the time was up.
    """

    verdicts: Counter[str]
    not_searched: int
    left: int


def run_large(
    reactions: Iterable[Item],
    out: Path | str,
    calculator: str | Builder = calculators.DEFAULT,
    *,
    settings: SearchSettings | None = None,
    verify: str | Builder | None = None,
    workers: int = 1,
    in_flight: int | None = None,
    dask_address: str | None = None,
    files: bool = False,
    seconds: float | None = None,
    most_deaths: int = MOST_DEATHS,
    search: Callable[[Task, RunSpec], SearchResult] | None = None,
    on_started: Callable[[], None] = lambda: None,
    on_finished: Callable[[str], None] = lambda verdict: None,
    on_running: OnRunning | None = None,
    say: Say = to_stderr,
) -> Counts:
    """Search very many reactions, and keep every one that finishes.

    A folder with an unfinished run of the same calculators and settings is resumed. What is
    finished there is not read again, unless its files have changed.

    Parameters
    ----------
    reactions
        As `open_reactions` gives them: their structures are read when their turn comes. It is
        gone through twice.
    out
        The folder of the results.
    calculator, settings, verify, workers, in_flight, dask_address, search
        As of `run_batch`.
    files
        Whether each reaction has a folder with its xyz files and its log too.
    seconds
        After these nothing is begun any more; what is under way ends.
    most_deaths
        Workers that die one after the other, with no result between, before the run gives up.
    on_started
        Called once nothing of the run is refused any more, before the first search.
    on_finished
        Called with the verdict of every reaction, those of before included.
    on_running
        As of `run_batch`.
    say
        Called with what is waited for, and what becomes of searches that were interrupted.

    Returns
    -------
    Counts
        The results themselves are in `out`.

    Raises
    ------
    InputError
        When `out` holds another run, or a finished reaction has changed under its id.
    SettingsError
        For a calculator that cannot be had, or without pyarrow.
    StorageError
        When the disk takes no more.
    WorkersLost, OtherVersions
        Of workers that die one after the other, and of those of a cluster.
    """
    out = Path(out)
    end = end_after(seconds)
    check_installed()
    spec, entry, trusted = prepared(calculator, settings, verify, search, in_flight)
    levels = levels_of(entry, trusted)
    with explained(out), claimed(out):
        check_form(out, sharded=True)
        before = index(out) if is_sharded(out) else {}
        _check_levels(before, levels("")[1], out)
        asked = solvents_of(reactions)
        _check_solvents(entry, trusted, asked)
        run_now = describe_run(entry, spec.settings, trusted, with_solvents_there(out, asked))
        # A table has SMILES in all of its rows or in none.
        several = any(map(of_smiles, islice(reactions, 1)))
        start_or_resume(out, run_now, of_smiles=several)
        clear_leftovers(out)
        total = len(reactions) if isinstance(reactions, Sized) else None
        progress = Progress(out, total, on_running)
        finished = _finished(reactions, before, progress, on_finished, out)
        del before  # as large as the input
        if total is not None:  # else they can be gone through once only
            look_at_journals(out, finished, reactions, say)
        with contextlib.closing(Shards(out)) as shards, progress:
            run = _Run(out, shards, progress, levels, on_finished, files=files)
            if len(finished) == total:
                on_started()
            else:
                how = Pooling(workers, dask_address, end, most_deaths, on_started, say)
                due = run.due(reactions, finished, how.time_is_up)
                told = {solvent: levels(solvent)[0] for solvent in asked}
                with journals_in(out, told, many=True) as journals:
                    spec = replace(spec, journals=journals)
                    with contextlib.closing(how.results(due, spec, progress)) as results:
                        for result in results:
                            run.keep(result)
            left = 0 if total is None else total - progress.verdicts.total()
            if not left:
                shards.seal()
        return Counts(progress.verdicts, progress.not_searched, left)


class _Run:
    """What is under way: the stamps of what workers have been given, and where results go."""

    def __init__(
        self,
        out: Path,
        shards: Shards,
        progress: Progress,
        levels: Levels,
        on_finished: Callable[[str], None],
        *,
        files: bool,
    ) -> None:
        self.out, self.shards, self.progress, self.levels = out, shards, progress, levels
        self.on_finished, self.files = on_finished, files
        self.stamps: dict[str, str] = {}

    def due(
        self, reactions: Iterable[Item], finished: set[str], time_is_up: Callable[[], bool]
    ) -> Iterator[Task]:
        """What is to be searched, read when its turn comes; what cannot be read is stored."""
        for item in reactions:
            if item.id in finished:
                continue
            if time_is_up():
                return
            stamp, found = _read(item)
            if isinstance(found, Unreadable):
                self._add(unreadable_row(found), fingerprint(found), stamp, None)
                continue
            self.stamps[found.id] = stamp
            yield found

    def keep(self, result: SearchResult) -> None:
        """Store a result. Raises `StorageError`."""
        if self.files:
            write_files(result, self.out, *self.levels(result.reaction.solvent))
        stamp = self.stamps.pop(result.reaction.id, "")
        self._add(to_row(result), fingerprint(result.reaction), stamp, result)

    def _add(self, row: ResultRow, digest: str, stamp: str, result: SearchResult | None) -> None:
        level, verify_level = self.levels(row.solvent)
        row = replace(row, fingerprint=digest, level_of_theory=level, verify_level=verify_level)
        structures = entries(result, level, verify_level) if result else []
        try:
            self.shards.add(row, structures, stamp)
        except OSError as error:
            raise StorageError(
                f"reaction '{row.id}' could not be written to {self.out}: {error}. Everything "
                "finished before is safe; mend that and run the same command to go on."
            ) from error
        if row.stage not in NOT_SEARCHED:
            remove_journal(self.out, row.id)
        self.progress.finish(row.id, row.verdict, row.stage, row.reason)
        self.on_finished(row.verdict)


def _read(item: Item) -> tuple[str, Start | Unreadable]:
    return (item.stamp(), item.read()) if isinstance(item, Listed) else ("", item)


def _finished(
    reactions: Iterable[Item],
    before: dict[str, Known],
    progress: Progress,
    on_finished: Callable[[str], None],
    out: Path,
) -> set[str]:
    """The ids of finished reactions of this input; refuses those that have changed."""
    finished: set[str] = set()
    if not before:
        return finished
    for item in reactions:
        known = before.get(item.id)
        if known is None or not _still_valid(item, known, out):
            continue
        finished.add(item.id)
        progress.finish(item.id, known.verdict, known.stage, known.reason, now=False)
        on_finished(known.verdict)
    return finished


def _still_valid(item: Item, known: Known, out: Path) -> bool:
    """Whether a stored reaction need not be searched again. Raises `InputError`."""
    again = known.stage in NOT_SEARCHED or not_verified(known.verify_reason)
    if not again and isinstance(item, Listed) and item.stamp() == known.stamp != "":
        return True
    _, found = _read(item)
    same = fingerprint(found) == known.fingerprint
    if again:
        return same and isinstance(found, Unreadable)
    if not same:
        raise has_changed(found, known.solvent, out, "another id")
    return True


def _check_solvents(entry: Entry, trusted: Entry | None, solvents: Iterable[str]) -> None:
    """Refuse, by `InputError`, to verify with a level that lacks a solvent of the search."""
    if trusted is None:
        return
    for solvent in solvents:
        problem = trusted.capabilities.refusal_of_solvent(solvent)
        if problem and not entry.capabilities.refusal_of_solvent(solvent):
            raise InputError(
                f"{trusted.level_of_theory} cannot verify reactions in {problem}; put them into "
                "a run of their own, with another level for the verification or none"
            )


def _check_levels(before: dict[str, Known], verify_level: str, out: Path) -> None:
    if verify_level and any(not known.verify_level for known in before.values()):
        raise InputError(
            f"{out} holds a large run that was begun without verification, which cannot get one "
            "later; use another --out"
        )
