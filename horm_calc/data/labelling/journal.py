"""What `horm-label` has finished so far, in a file beside the result until that is complete.

An SQLite database, in which every label is safe as soon as it is added, whatever happens to the
process. It belongs to one run at a time, and to one set of geometries and settings.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from horm_calc.data.formats.hdf5 import packed, unpacked
from horm_calc.data.frames import DataError, Frame
from horm_calc.data.labelling.labels import Failure, Geometry, Settings, vectors
from horm_calc.data.labelling.levels import LEVELS

_TABLES = """
create table run (description text);
create table labels (
    number integer primary key, cause text,
    energy real, forces blob, hessian blob, products blob
);
"""


class Journal:
    """The labels of geometries under certain settings, as far as they are there.

    Raises `DataError` where the file is another run's, in use, or not of this kind.
    """

    def __init__(self, path: Path, geometries: Sequence[Geometry], settings: Settings) -> None:
        self.path = path
        self.geometries, self.settings = geometries, settings
        try:
            self._file = sqlite3.connect(path, isolation_level=None, timeout=0.2)
        except sqlite3.OperationalError as error:
            raise DataError(path, f"cannot be made ({error})", "Is its folder writable?") from None
        try:
            self._begin()
        except (sqlite3.DatabaseError, ValueError) as error:
            self._file.close()
            if isinstance(error, DataError):
                raise
            busy = "locked" in str(error)
            problem = "is in use by another horm-label" if busy else f"cannot be used ({error})"
            remedy = "Wait for it." if busy else "Delete it to label all frames anew."
            raise DataError(path, problem, remedy) from None

    def _begin(self) -> None:
        # Alone with the file, a write-ahead log needs no shared memory, which network file
        # systems lack; and no label waits for the disk, yet none is lost with the process.
        self._file.execute("pragma locking_mode = exclusive")
        self._file.execute("pragma journal_mode = wal")
        self._file.execute("pragma synchronous = normal")
        wanted = _description(self.geometries, self.settings)
        self._file.execute("begin immediate")
        if not self._file.execute("select * from sqlite_master").fetchall():
            for statement in _TABLES.split(";"):
                self._file.execute(statement)
            self._file.execute("insert into run values (?)", [json.dumps(wanted)])
        with self._sound():
            [[text]] = self._file.execute("select description from run").fetchall()
            self._file.execute("commit")
            found = dict(json.loads(text))
        other = [key.replace("_", " ") for key in wanted if found.get(key) != wanted[key]]
        if other:
            raise DataError(
                self.path,
                f"holds unfinished labels with other {', '.join(other)}",
                "Finish those with the same command as before, delete the file, or choose "
                "another name for the result.",
            )

    def finished(self) -> list[int]:
        """The places of the geometries that are done, those without label included."""
        with self._sound():
            places = range(len(self.geometries))
            found = [number for [number] in self._file.execute("select number from labels")]
            return [places[number] for number in found]

    def add(self, number: int, outcome: Frame | Failure) -> None:
        """Keeps a label. Raises `sqlite3.OperationalError` when the disk is full."""
        row: list[str | float | bytes | None]
        if isinstance(outcome, Failure):
            row = [outcome.cause, None, None, None, None]
        else:
            hessian = None if outcome.hessian is None else packed(outcome.hessian)
            arrays = [(outcome.forces, "<f8"), (hessian, "<f4"), (outcome.products, "<f8")]
            blobs = [None if a is None else a.astype(kind).tobytes() for a, kind in arrays]
            row = [None, outcome.energy, *blobs]
        self._file.execute("insert into labels values (?, ?, ?, ?, ?, ?)", [number, *row])

    def __iter__(self) -> Iterator[Frame | Failure]:
        """What is there, in the order of the geometries."""
        with self._sound():
            for row in self._file.execute("select * from labels order by number"):
                yield self._outcome(*row)

    def _outcome(self, number: int, cause: str | None, energy: float, *arrays: bytes | None) -> Any:
        item = self.geometries[number]
        if cause is not None:
            return Failure(number, item.reaction, cause)
        atoms = len(item.numbers)
        forces, hessian, products = arrays
        return Frame(
            item.numbers,
            item.positions,
            float(energy),
            np.frombuffer(forces or b"", "<f8").reshape(atoms, 3),
            None if hessian is None else unpacked(np.frombuffer(hessian, "<f4")),
            None if products is None else vectors(self.settings, number, atoms),
            None if products is None else np.frombuffer(products, "<f8").reshape(-1, atoms, 3),
            item.reaction,
        )

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Turns what damage leads to into a `DataError`; a full disk is none."""
        try:
            yield
        except (sqlite3.DatabaseError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, (sqlite3.OperationalError, DataError)):
                raise
            remedy = "Delete it to label all frames anew."
            raise DataError(self.path, f"is damaged ({error})", remedy) from None

    def close(self) -> None:
        """Closes the file and lets it be."""
        self._file.close()

    def delete(self) -> None:
        """Removes the file: the result is written."""
        self.close()
        self.path.unlink()


def _description(geometries: Sequence[Geometry], settings: Settings) -> dict[str, object]:
    """What decides about the labels, as JSON has it."""
    digest = hashlib.sha256()
    for item in geometries:
        digest.update(f"{item.reaction}\0{item.problem}\0".encode())
        digest.update(item.numbers.astype("<i8").tobytes())
        digest.update(item.positions.astype("<f8").tobytes())
    level = LEVELS[settings.level].description
    return dataclasses.asdict(settings) | {"level": level, "geometries": digest.hexdigest()}
