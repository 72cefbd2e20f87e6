"""The structures of a run in an ASE database, for questions to all of them at once.

The database is a copy: each reaction's structures lie in its folder too, in a small ASE database
of their own, and what is missing is put in again from there. No lock files of ASE are used, which
outlive a killed process and are then waited for without end: SQLite and PostgreSQL keep writers
apart themselves.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ase.db import connect

from horm_calc.errors import HormError
from workflows.errors import InputError

#: A structure (ASE's Atoms, or a row of a database), its keys and its data.
Entry = tuple[Any, dict[str, Any], dict[str, Any]]

#: What SQLite says of a file that is none of its own, has been cut off, or lacks tables.
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

#: Bytes of SQLite's code for an error that are the same for all of its kind.
_KIND = 0xFF


class DatabaseError(HormError, OSError):
    """What the database, or the driver of its server, said."""


class DamagedDatabase(DatabaseError):
    """A file that no longer is a whole database."""


class Database:
    """What the run named `run` has in the database `name`, a file or the URL of a server.

    Several runs can share it. Raises `DatabaseError` where it cannot be had, `DamagedDatabase`
    where it is no whole database, `InputError` for a name that is no database's.
    """

    def __init__(self, name: str, run: str) -> None:
        self.name, self.run = name, run
        self._file = None if "://" in name else Path(name)
        if self._file and self._file.suffix != ".db":
            raise InputError(f"the name of the database {name} must end in .db")
        #: id in the database of each structure, by reaction and unique id.
        self._known: dict[str, dict[str, int]] = {}
        self._looked_into: object = None
        self.look()

    def look(self) -> None:
        """See what it holds, unless that was done and it is the same file still."""
        if self._looked_into is not None and self._looked_into == self._identity():
            return
        self._known = {}
        with self._opened(writing=not self._filled()) as database:
            if self._file:
                _check(database.connection)
            columns = ["id", "unique_id", "key_value_pairs"]
            for row in database.select(run=self.run, columns=columns, include_data=False):
                self._known.setdefault(row.reaction, {})[row.unique_id] = row.id
        self._looked_into = self._identity()

    def structures(self, reaction: str) -> set[str]:
        """The unique ids of what it holds of a reaction."""
        return set(self._known.get(database_name(reaction), ()))

    def rows(self, reaction: str) -> list[Any]:
        """What it holds of a reaction."""
        numbers = self._known.get(database_name(reaction), {}).values()
        with self._opened() as database:
            return [database.get(id=number) for number in numbers]

    def take(self, files: Mapping[str, Path]) -> list[str]:
        """Hold the structures in the file of each reaction, and no others of it.

        Returns the reactions whose file cannot be read.
        """
        taken: dict[str, dict[str, int]] = {}
        unreadable = []
        with self._opened(writing=True) as database:
            for reaction, file in files.items():
                try:
                    entries = read_entries(file)
                except ValueError:
                    unreadable.append(reaction)
                    continue
                name = database_name(reaction)
                held = self._known.get(name, {})
                new = {row.unique_id for row, _, _ in entries}
                database.delete([number for one, number in held.items() if one not in new])
                taken[name] = {one: number for one, number in held.items() if one in new}
                for row, keys, data in entries:
                    if row.unique_id not in held:
                        keys |= {"run": self.run, "reaction": name}
                        number = database.write(row, key_value_pairs=keys, data=data)
                        taken[name][row.unique_id] = number
        self._known |= taken  # not before it is written
        return unreadable

    def _identity(self) -> object:
        """Of the file: another one, or none, lies there when somebody has deleted it."""
        if self._file is None:
            return self.name
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _filled(self) -> bool:
        return self._file is None or (self._file.exists() and self._file.stat().st_size > 0)

    @contextlib.contextmanager
    def _opened(self, *, writing: bool = False) -> Iterator[Any]:
        """The database in a transaction; what its driver raises becomes a `DatabaseError`."""
        name = without_password(self.name)
        try:
            with connect(self.name, use_lock_file=False) as database:
                if writing and self._file:  # waits for other runs now, and for none later
                    database.connection.execute("BEGIN IMMEDIATE")
                yield database
        except ImportError as error:
            remedy = "pip install '.[postgresql]' in the repository"
            raise DatabaseError(f"the database {name} needs {error.name}: {remedy}") from error
        except Exception as error:  # each driver has its own tree of errors
            kind = DamagedDatabase if self._file and _is_damage(error) else DatabaseError
            raise kind(f"the database {name}: {' '.join(str(error).split())}") from error


def write_entries(path: Path, entries: Iterable[Entry]) -> list[str]:
    """Write a small ASE database (JSON) with these structures; returns their unique ids."""
    path.unlink(missing_ok=True)
    database = connect(path, type="json", use_lock_file=False)
    # ASE writes the whole file for each of them, so those with data go last.
    for atoms, keys, data in sorted(entries, key=lambda entry: bool(entry[2])):
        database.write(atoms, key_value_pairs=keys, data=data)
    return sorted(row.unique_id for row, _, _ in read_entries(path)) if path.exists() else []


def read_entries(path: Path) -> list[Entry]:
    """The structures that `write_entries` wrote. Raises `ValueError` where that is not so."""
    if not path.exists():
        raise ValueError(f"{path} is missing")
    try:
        rows = list(connect(path, type="json", use_lock_file=False).select())
        return [(row, dict(row.key_value_pairs), dict(row.data)) for row in rows]
    except Exception as error:  # whatever ASE stumbles over in a damaged file
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def database_name(identifier: str) -> str:
    """The id of a reaction as the database knows it.

    ASE refuses texts that look like numbers or truth values there: reaction 7 is '#7'.
    """
    try:
        float(identifier)
    except ValueError:
        return f"#{identifier}" if identifier.lower() in ("true", "false") else identifier
    return f"#{identifier}"


def without_password(text: str) -> str:
    """`text` with the password of every URL in it struck out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def _check(connection: sqlite3.Connection) -> None:
    """Raise what SQLite raises for a damaged file, also where it would notice later or never."""
    [told] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if told != "ok":
        raise sqlite3.DatabaseError(told)


def _is_damage(error: Exception) -> bool:
    """Rather than a database that is locked, read-only, or on a disk that is full."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        return code & _KIND in _DAMAGE
    return not isinstance(error, OSError)
