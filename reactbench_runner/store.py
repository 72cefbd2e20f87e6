"""Where results live, so that a finished reaction is never lost and never half written.

`<out>/<id>/` holds one reaction; `result.json` in it is the record that the tables are made
of. The folder is written beside its place and renamed into it, which the file system does
all at once: it is there completely or not at all, whatever kills the process. The
structures go into an ASE database before that, and are replaced if the folder was not
reached.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reactbench_runner.rows import COLUMNS, Row, to_row, verification_of
from reactbench_runner.structures import (
    VERIFY,
    points,
    read_back,
    write_search,
    write_verification,
)
from workflows.errors import InputError
from workflows.records import Reaction, SearchResult

_UNFINISHED = ".unfinished-"

#: Seconds between two writings of results.csv while a run goes on.
TABLE_EVERY = 5.0


@contextlib.contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Refuse, by `InputError`, a folder into which another process is writing.

    The lock goes with the process, however that ends. File systems without locks have none.
    """
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another horm-tssearch is writing to {out}; wait for it, or use another --out"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def finished(out: Path) -> dict[str, Row]:
    """The rows of all finished reactions of a run, by id; their structures are in `out / id`."""
    rows = (
        json.loads(file.read_text("utf-8"))
        for file in out.glob("*/result.json")
        if not file.parent.name.startswith(_UNFINISHED)
    )
    return {row["id"]: row for row in rows}


class Store:
    """The results of the run named `run` in the folder `out`, its structures in `database`.

    `database` is a file name or a PostgreSQL URL; by default `<out>/results.db` (SQLite).
    Several runs can share it.
    """

    def __init__(self, out: Path, run: str, database: str | None = None) -> None:
        self.out, self.run = out, run
        self._table_written = -TABLE_EVERY
        self.database = database or str(out / "results.db")
        out.mkdir(parents=True, exist_ok=True)
        for leftover in out.glob(f"{_UNFINISHED}*/"):
            shutil.rmtree(leftover)
        with self._open_database():  # a wrong password is better known before the first search
            pass

    def add(
        self, result: SearchResult, fingerprint: str, level: str, verify_level: str = ""
    ) -> Row:
        """Store one finished reaction for good and return its row.

        `level` is the level of theory of this run, `verify_level` that of its verifications,
        "" without them.

        Raises `OSError` (a full disk, say); the reaction then counts as not finished.
        """
        row = to_row(result) | {
            "fingerprint": fingerprint,
            "level_of_theory": level,
            "verify_level": verify_level,
        }
        self._write_points(result, row)
        identifier = result.reaction.id
        folder = self.out / f"{_UNFINISHED}{identifier}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_search(result, folder, level)
        write_verification(result, folder, verify_level)
        levels = f"{level}, verified with {verify_level}" if verify_level else level
        (folder / "log.txt").write_text(f"{levels}\n{result.log}", "utf-8")
        (folder / "result.json").write_text(json.dumps(row, indent=1), "utf-8")
        _flush_to_disk(folder)
        shutil.rmtree(self.out / identifier, ignore_errors=True)
        folder.rename(self.out / identifier)
        _flush(self.out)
        return row

    def read(self, reaction: Reaction, row: Row) -> SearchResult:
        """A finished search of this run, as far as a verification needs it.

        Raises `InputError` when its structures are not in the database.
        """
        with self._open_database() as database:
            found = database.select(run=self.run, reaction=database_name(reaction.id))
            known = {entry.role: (entry.toatoms(), entry.data) for entry in found}
        try:
            return read_back(reaction, row, known)
        except KeyError as error:
            raise InputError(
                f"reaction '{reaction.id}' is finished in {self.out}, but the database "
                f"{without_password(self.database)} does not hold its {error}; name the one of "
                f"that run with --db, or delete the folder {self.out / reaction.id} to search anew"
            ) from None

    def add_verification(self, result: SearchResult, row: Row, verify_level: str) -> Row:
        """Store what was verified of a search that is stored already; its new row.

        Raises `OSError`; the reaction then counts as not verified.
        """
        row = row | verification_of(result) | {"verify_level": verify_level}
        self._write_points(result, row, VERIFY)
        folder = self.out / result.reaction.id
        write_verification(result, folder, verify_level)
        searched = (folder / "log.txt").read_text("utf-8")
        with replacing(folder / "log.txt") as temporary:
            temporary.write_text(f"{searched}\nverified with {verify_level}{result.log}", "utf-8")
        with replacing(folder / "result.json") as temporary:  # last: now it is verified
            temporary.write_text(json.dumps(row, indent=1), "utf-8")
            _flush_to_disk(folder)
        return row

    def write_table(self, rows: Iterable[Row]) -> Path:
        """Write `results.csv`, one row a reaction, replacing it all at once."""
        path = self.out / "results.csv"
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
            table = csv.DictWriter(f, COLUMNS, extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
        return path

    def refresh_table(self, rows: Iterable[Row]) -> None:
        """`write_table`, unless that was done less than `TABLE_EVERY` ago."""
        if time.monotonic() - self._table_written > TABLE_EVERY:
            self.write_table(rows)
            self._table_written = time.monotonic()

    @contextlib.contextmanager
    def _open_database(self) -> Iterator[Any]:
        """The database in a transaction; what its driver raises becomes an `OSError`."""
        from ase.db import connect

        name = without_password(self.database)
        try:
            with connect(self.database) as database:
                yield database
        except ImportError as error:
            remedy = "pip install 'horm-tssearch[postgresql]'"
            raise OSError(f"the database {name} needs {error.name}: {remedy}") from error
        except OSError:
            raise
        except Exception as error:  # each driver has its own tree of errors
            raise OSError(f"the database {name}: {' '.join(str(error).split())}") from error

    def _write_points(self, result: SearchResult, row: Row, roles: str = "") -> None:
        """Those whose role begins with `roles`, in the place of those that are there."""
        keys = {"run": self.run, "reaction": database_name(result.reaction.id)}
        with self._open_database() as database:
            there = database.select(**keys)
            database.delete([old.id for old in there if old.role.startswith(roles)])
            for role, (atoms, data) in points(result).items():
                if role.startswith(roles):
                    level = row["verify_level" if role.startswith(VERIFY) else "level_of_theory"]
                    database.write(
                        atoms,
                        **keys,
                        role=role,
                        level_of_theory=level,
                        verdict=str(result.verdict.label),
                        total_charge=result.reaction.charge,
                        multiplicity=result.reaction.multiplicity,
                        data=data,
                    )


def database_name(identifier: str) -> str:
    """The id of a reaction as the database knows it.

    ASE refuses texts that look like numbers or truth values there: reaction 7 is '#7'.
    """
    try:
        float(identifier)
    except ValueError:
        return f"#{identifier}" if identifier.lower() in ("true", "false") else identifier
    return f"#{identifier}"


def _flush_to_disk(folder: Path) -> None:
    """Make sure the files survive a power cut before the folder gets its name."""
    for path in [*folder.iterdir(), folder]:
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def without_password(text: str) -> str:
    """`text` with the password of every URL in it struck out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


class replacing:  # noqa: N801 - a context manager, read as a verb
    """`with replacing(path) as temporary:` writes `path` completely or leaves it alone.

    What a killed process leaves behind has the same name every time, and is written over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{_UNFINISHED}{path.name}")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.temporary.replace(self.path)
        else:
            self.temporary.unlink(missing_ok=True)
