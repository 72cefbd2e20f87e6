"""Where results live, so that a finished reaction is never lost and never half written.

`<out>/<id>/` holds one reaction; `result.json` in it is the record that the tables are made
of. The folder is written beside its place and renamed into it, which the file system does
all at once: it is there completely or not at all, whatever kills the process. The
structures go into an ASE database after that, and are put there from the folders at the next
start where that was not reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.storage.database import DamagedDatabase, Database, Entry, write_entries
from reactbench_runner.storage.making import to_row, unreadable_row, with_verification
from reactbench_runner.storage.result_files import as_json, read_result
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import SEARCHES, UNFINISHED, flush, replacing
from reactbench_runner.storage.structures import (
    VERIFY,
    entries,
    points_of,
    read_back,
)
from reactbench_runner.storage.table import write_csv
from reactbench_runner.storage.xyz_files import write_search, write_verification
from workflows.errors import InputError
from workflows.records import Label, SearchResult, Start
from workflows.stage_names import Stage

#: Seconds between two writings of results.csv while a run goes on.
TABLE_EVERY = 5.0

#: And how many times as long as it took to write it.
TABLE_REST = 20.0

#: Characters of the beginning and of the end of a log that are kept of a longer one.
LOG_ENDS = 500_000

#: Told to the user.
Say = Callable[[str], None]

STRUCTURES = "structures.json"

#: What becomes of bytes of file names that are no text.
_NO_TEXT = "backslashreplace"


def to_stderr(text: str) -> None:
    """Where it does not mix with results."""
    print(text, file=sys.stderr)


def finished(out: Path, say: Say = lambda text: None) -> dict[str, ResultRow]:
    """The rows of all finished reactions of a run, by id; their structures are in `out / id`.

    A reaction whose record is damaged counts as not finished; `say` hears of it. Raises
    `InputError` where a younger version has written one.
    """
    return {row.id: row for row in stored_rows(out, say)}


def stored_rows(out: Path, say: Say = lambda text: None) -> Iterator[ResultRow]:
    """As `finished`, one after the other."""
    for file in sorted(out.glob("*/result.json")):
        identifier = file.parent.name
        if identifier.startswith(UNFINISHED):
            continue
        try:
            yield read_result(file, identifier)
        except InputError:
            raise
        except ValueError as error:
            say(f"{file} is damaged ({error}): reaction '{identifier}' counts as not finished")


class Store:
    """The results of the run named `run` in the folder `out`, its structures in `database`.

    `database` is a file name or a PostgreSQL URL; by default `<out>/results.db` (SQLite), which is
    made anew where it is damaged. Several runs can share one. `say` hears what was repaired.
    """

    def __init__(
        self, out: Path, run: str, database: str | None = None, say: Say = lambda text: None
    ) -> None:
        self.out = out
        self._table_due = 0.0
        # A wrong password is better known before the first search.
        try:
            self.database = Database(database or str(out / "results.db"), run)
        except DamagedDatabase as error:
            if database is not None:
                raise DamagedDatabase(
                    f"{error}. Move it away and run the same command: what this run has in it is "
                    f"put into a new one from {out}, and so it is of other runs that share it"
                ) from error
            kept = _move_aside(out / "results.db")
            say(f"{error}: it is {kept.name} now, and a new one is made")
            self.database = Database(str(out / "results.db"), run)

    def add(
        self, result: SearchResult, fingerprint: str, level: str, verify_level: str = ""
    ) -> ResultRow:
        """Store one finished reaction for good and return its row.

        `level` is the level of theory of this run, `verify_level` that of its verifications,
        "" without them.

        Raises `OSError` (a full disk, say); the reaction then counts as not finished. What it
        was to leave in the database is not there before `complete_database`.
        """
        row = dataclasses.replace(
            to_row(result),
            fingerprint=fingerprint,
            level_of_theory=level,
            verify_level=verify_level,
        )
        with self._folder(row.id) as folder:
            write_search(result, folder, level)
            write_verification(result, folder, verify_level)
            log = result.log
            if not result.costs:  # it is not from the search, but of a process that has ended
                log = _salvage(self.out / SEARCHES / row.id, folder, log)
            row = dataclasses.replace(row, reason=_with_files(row, folder))
            found = entries(result, level, verify_level)
            return _write_record(folder, row, found, log)

    def add_unreadable(
        self, item: Unreadable, fingerprint: str, level: str, verify_level: str = ""
    ) -> ResultRow:
        """Store for good why a reaction could not be read, and return its row. As `add`."""
        row = dataclasses.replace(
            unreadable_row(item),
            fingerprint=fingerprint,
            level_of_theory=level,
            verify_level=verify_level,
        )
        with self._folder(row.id) as folder:
            return _write_record(folder, row, [], "")

    @contextlib.contextmanager
    def _folder(self, identifier: str) -> Iterator[Path]:
        """A new folder for a reaction, which gets its name when everything is in it."""
        folder = self.out / f"{UNFINISHED}{identifier}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
        for path in [*folder.iterdir(), folder]:  # before a power cut, and before it has its name
            flush(path)
        shutil.rmtree(self.out / identifier, ignore_errors=True)
        folder.rename(self.out / identifier)
        flush(self.out)

    def read(self, reaction: Start, row: ResultRow) -> SearchResult:
        """A finished search of this run, as far as a verification needs it.

        Raises `InputError` when its structures are not in the database.
        """
        try:
            return read_back(reaction, row, points_of(self.database.rows(reaction.id)))
        except KeyError as error:
            raise InputError(
                f"reaction '{reaction.id}' is finished in {self.out}, but neither its folder nor "
                f"the database holds its {error}; name the database of that run with --db, or "
                f"delete the folder {self.out / reaction.id} to search it again"
            ) from None

    def add_verification(
        self, result: SearchResult, row: ResultRow, verify_level: str
    ) -> ResultRow:
        """Store what was verified of a search that is stored already; its new row.

        Raises `OSError`; the reaction then counts as not verified.
        """
        folder = self.out / result.reaction.id
        searched = [
            (known, dict(known.key_value_pairs), dict(known.data))
            for known in self.database.rows(result.reaction.id)
            if not known.role.startswith(VERIFY)
        ]
        verified = entries(result, row.level_of_theory, verify_level, VERIFY)
        with replacing(folder / STRUCTURES) as temporary:
            structures = write_entries(temporary, [*searched, *verified])
        write_verification(result, folder, verify_level)
        with replacing(folder / "log.txt") as temporary:
            _write_text(temporary, _with_verification(folder / "log.txt", result, verify_level))
        row = dataclasses.replace(
            with_verification(row, result), verify_level=verify_level, structures=tuple(structures)
        )
        flush(folder)
        with replacing(folder / "result.json") as temporary:  # last: now it is verified
            _write_text(temporary, as_json(row))
        return row

    def complete_database(self, rows: Iterable[ResultRow]) -> tuple[list[str], list[str]]:
        """Put in what it lacks of finished reactions, from their folders.

        Returns the reactions of which it did, and those whose structures are in neither place.
        Raises `DatabaseError`.
        """
        self.database.look()
        missing = {}
        for row in rows:
            held = self.database.structures(row.id)
            if row.structures is not None:
                complete = held == set(row.structures)
            else:  # of an older version, which wrote them into the database alone
                complete = bool(held) or row.reactant_energy_ev is None
            if not complete:
                missing[row.id] = self.out / row.id / STRUCTURES
        lost = self.database.take(missing) if missing else []
        return [name for name in missing if name not in lost], lost

    def write_table(self, rows: Iterable[ResultRow]) -> Path:
        """Write `results.csv`, one row a reaction, replacing it all at once."""
        return write_table(self.out / "results.csv", rows)

    def refresh_table(self, rows: Callable[[], Iterable[ResultRow]]) -> None:
        """`write_table`, unless that was done just now.

        A large table is written less often, so that this takes a twentieth of the time at most.
        """
        begun = time.monotonic()
        if begun > self._table_due:
            self.write_table(rows())
            now = time.monotonic()
            self._table_due = now + max(TABLE_EVERY, TABLE_REST * (now - begun))


def write_table(path: Path, rows: Iterable[ResultRow]) -> Path:
    """Write a table of rows, replacing what is there all at once."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=_NO_TEXT) as f,
    ):
        write_csv(f, rows)
    return path


def write_files(result: SearchResult, out: Path, level: str, verify_level: str) -> None:
    """The folder of a reaction whose record is kept elsewhere: its xyz files and its log."""
    folder = out / f"{UNFINISHED}{result.reaction.id}"
    folder.mkdir()
    write_search(result, folder, level)
    write_verification(result, folder, verify_level)
    _write_text(folder / "log.txt", headed(result.log, level, verify_level))
    shutil.rmtree(out / result.reaction.id, ignore_errors=True)
    folder.rename(out / result.reaction.id)


#: The file that shows why a search failed, the best one of each stage first. Stages behind the
#: ends of the IRC fail no search.
_EVIDENCE = {
    Stage.PREPARATION: ("last_structures.xyz",),
    Stage.ENDPOINTS: ("last_structures.xyz", "product.xyz", "reactant.xyz"),
    Stage.PATH: ("last_structures.xyz", "path.xyz"),
    Stage.SADDLE: ("ts.xyz", "last_structures.xyz", "path.xyz"),
    Stage.IRC: ("irc.xyz", "last_structures.xyz"),
    Stage.IRC_ENDS: ("last_structures.xyz", "irc.xyz"),
}


def _with_files(row: ResultRow, folder: Path) -> str:
    """The reason of a row, with the file in its folder to look at where the search failed."""
    names = _EVIDENCE.get(row.stage, ()) if row.verdict is Label.FAILED else ()
    shows = next((name for name in names if (folder / name).exists()), None)
    return f"{row.reason} (see {shows})" if shows else row.reason


def _salvage(search: Path, folder: Path, log: str) -> str:
    """What a search had written before its process died; returns its log, with that of the end."""
    with contextlib.suppress(OSError):
        for file in search.glob("*.xyz"):
            shutil.copyfile(file, folder / file.name)
        return f"{(search / 'log.txt').read_text('utf-8')}\n{log}"
    return log


def _write_record(folder: Path, row: ResultRow, found: Sequence[Entry], log: str) -> ResultRow:
    """Structures, log and result.json of a reaction; the row with the names of the structures."""
    row = dataclasses.replace(row, structures=tuple(write_entries(folder / STRUCTURES, found)))
    _write_text(folder / "log.txt", headed(log, row.level_of_theory, row.verify_level))
    _write_text(folder / "result.json", as_json(row))
    return row


def headed(log: str, level: str, verify_level: str = "") -> str:
    """A log below the levels of theory of its search."""
    levels = f"{level}, verified with {verify_level}" if verify_level else level
    return f"{levels}\n{bounded(log)}"


def bounded(log: str) -> str:
    """A log without its middle, where it is longer than anyone reads."""
    left_out = len(log) - 2 * LOG_ENDS
    if left_out <= 0:
        return log
    return f"{log[:LOG_ENDS]}\n[... {left_out} characters left out ...]\n{log[-LOG_ENDS:]}"


def _with_verification(path: Path, result: SearchResult, level: str) -> str:
    """The log of a search and its verification, in the place of one that was not stored."""
    searched = path.read_text("utf-8") if path.exists() else ""
    heading = f"\nverified with {level}\n"
    return searched.partition(heading)[0] + heading + bounded(result.log.removeprefix("\n"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", _NO_TEXT)


def _move_aside(path: Path) -> Path:
    """Give a damaged database a name that is free, with what SQLite keeps beside it."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    kept = next(name for name in names if not name.exists())
    for ending in ("-journal", "-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(kept.with_name(kept.name + ending))
    return kept
