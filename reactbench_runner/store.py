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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.extxyz import key_val_dict_to_str

from reactbench_runner.rows import COLUMNS, Row, to_row
from workflows.errors import InputError
from workflows.records import IRC, Minimum, ReactionPath, Saddle, SearchResult

_UNFINISHED = ".unfinished-"

#: A structure and its energy, eV.
Frame = tuple[Atoms, float]

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
        self._write_structures(result, level, verify_level)
        identifier = result.reaction.id
        folder = self.out / f"{_UNFINISHED}{identifier}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, frames in _paths(result).items():
            _write_frames(folder / name, frames, level)
        verified = result.verification
        if verified and verified.saddle and verified.converged:
            _write_frames(folder / "ts_verified.xyz", _frames(verified.saddle), verify_level)
        levels = f"{level}, verified with {verify_level}" if verify_level else level
        (folder / "log.txt").write_text(f"{levels}\n{result.log}", "utf-8")
        (folder / "result.json").write_text(json.dumps(row, indent=1), "utf-8")
        _flush_to_disk(folder)
        shutil.rmtree(self.out / identifier, ignore_errors=True)
        folder.rename(self.out / identifier)
        _flush(self.out)
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

    def _write_structures(self, result: SearchResult, level: str, verify_level: str) -> None:
        keys = {"run": self.run, "reaction": database_name(result.reaction.id)}
        with self._open_database() as database:
            database.delete([row.id for row in database.select(**keys)])
            for role, atoms, data in _structures(result):
                database.write(
                    atoms,
                    **keys,
                    role=role,
                    level_of_theory=verify_level if role.startswith("verify_") else level,
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


def _structures(result: SearchResult) -> Iterable[tuple[str, Atoms, dict[str, Any]]]:
    """Role, structure with energy and forces, and what was derived from its Hessian."""
    points: list[tuple[str, Minimum | Saddle | None]] = [
        ("reactant", result.reactant),
        ("product", result.product),
        ("transition_state", result.saddle),
    ]
    if result.irc_ends:
        points += zip(("irc_first", "irc_last"), result.irc_ends, strict=True)
    if found := result.verification:
        points += [("verify_reactant", found.reactant), ("verify_product", found.product)]
        points += [("verify_transition_state", found.saddle)]
    for role, point in points:
        if point is not None:
            atoms = _with_results(point.atoms, point.energy, point.forces)
            yield role, atoms, _curvature(point) if isinstance(point, Saddle) else {}


def _curvature(saddle: Saddle) -> dict[str, Any]:
    return {
        "hessian_ev_per_a2": saddle.hessian,
        "frequencies_cm1": saddle.modes.frequencies,
        "imaginary_mode": saddle.modes.displacements[0],
        "curvature_error_ev_per_a2": saddle.curvature_error,
    }


def _with_results(atoms: Atoms, energy: float, forces: np.ndarray) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def _paths(result: SearchResult) -> dict[str, list[Frame]]:
    """What a person may want to look at, by file name."""
    return {
        "path.xyz": _frames(result.path),
        "ts.xyz": _frames(result.saddle),
        "lower_way.xyz": _frames(result.lower_way),
        "irc.xyz": _frames(result.irc),
    }


def _frames(found: Saddle | ReactionPath | IRC | None) -> list[Frame]:
    """Structures with their energies."""
    if found is None:
        return []
    if isinstance(found, Saddle):
        return [(found.atoms, found.energy)]
    return list(zip(found.images, found.energies.tolist(), strict=True))


def _write_frames(path: Path, frames: Sequence[Frame], level: str) -> None:
    """As xyz. The comments say level of theory and energy, which ASE reads with the structures."""
    if not frames:
        return
    with path.open("w", encoding="utf-8") as file:
        for atoms, energy in frames:
            told = {"level_of_theory": level, "energy": energy}
            comment = key_val_dict_to_str(told)
            write(file, atoms, format="xyz", fmt="%15.8f", comment=comment)


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
