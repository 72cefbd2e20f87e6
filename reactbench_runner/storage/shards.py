"""Results of very many reactions: a journal, and a Parquet file for each thousand of them.

A finished reaction is one line of the journal, `<out>/results.parquet/_000007.jsonl`: what has been
written there survives a killed process, and a line that was cut off is no line. A thousand lines
become `results.parquet/000007.parquet`, the rows, and `structures.parquet/000007.parquet`, the
stationary points; then the journal goes and the next one begins. Nothing that is stored is read or
written again for what comes after it, and none of it stays in memory.

Of a reaction that is stored more than once, as it failed for no reason of its own before, the last
row counts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import time
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from horm_calc.configuration import SettingsError
from reactbench_runner.errors import StorageError
from reactbench_runner.storage.database import Entry, database_name
from reactbench_runner.storage.result_files import as_record, row_of
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import flush, read_record, replacing
from workflows.stage_names import COSTED

if typing.TYPE_CHECKING:
    import pyarrow as pa

#: Reactions of a Parquet file.
SIZE = 1000

#: Seconds between two times that the journal is flushed to the disk: what a power cut can cost.
FLUSH_EVERY = 1.0

ROWS, STRUCTURES = "results.parquet", "structures.parquet"

#: Arrays of a structure, as they are stored; those that it may lack are None there.
_ARRAYS = ("positions", "masses", "forces")
_DATA = ("hessian_ev_per_a2", "frequencies_cm1", "imaginary_mode", "atom_indices")
_KEYS = ("role", "level_of_theory", "total_charge", "multiplicity")

#: Of separate molecules alone; files of older versions lack it.
_COUNT = "count"

#: What is needed to know whether a reaction is finished, and how.
_OF_INDEX = (
    *("id", "fingerprint", "stamp", "stage", "verdict", "reason"),
    *("verify_level", "verify_reason", "solvent"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a finished reaction without its numbers; `place` counts stored rows."""

    place: int
    fingerprint: str
    stamp: str
    stage: str
    verdict: str
    reason: str
    verify_level: str
    verify_reason: str
    solvent: str


def check_installed() -> None:
    """Raise `SettingsError` where there is nothing that writes Parquet."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise SettingsError(
            "a run of so many reactions is stored in Parquet files, which need pyarrow: "
            "pip install '.[parquet]' in the repository, or use --storage folders"
        ) from None


class Shards:
    """The results in the folder `out`, to be added to. `SettingsError` without pyarrow.

    Nothing is made before there is something to store.
    """

    def __init__(self, out: Path) -> None:
        check_installed()
        self.out = out
        self._number = len(_sealed(out))
        self._count = self._end = 0
        self._file: int | None = None
        self._flushed = time.monotonic()
        for stale in set(_journals(out)) - {self._journal}:  # killed after it had been sealed
            stale.unlink()
        if self._journal.exists():
            self._open()

    @property
    def _journal(self) -> Path:
        return _journal(self.out, self._number)

    def _open(self) -> int:
        """The journal, behind its last whole line."""
        for name in (ROWS, STRUCTURES):
            (self.out / name).mkdir(exist_ok=True)
        lengths = [len(line) for line in _lines(self._journal)]
        self._count, self._end = len(lengths), sum(lengths)
        self._file = os.open(self._journal, os.O_WRONLY | os.O_CREAT, 0o666)
        flush(self._journal.parent)
        self._cut_off()
        return self._file

    def _cut_off(self) -> None:
        """Leave out what stands behind the last whole line."""
        assert self._file is not None
        os.ftruncate(self._file, self._end)
        os.lseek(self._file, self._end, os.SEEK_SET)

    def add(self, row: ResultRow, structures: Iterable[Entry], stamp: str = "") -> None:
        """Store one finished reaction. Raises `OSError`; it then counts as not finished."""
        record = {**as_record(row), "stamp": stamp}
        record["entries"] = [_packed(entry) for entry in structures]
        line = json.dumps(record).encode() + b"\n"
        file = self._open() if self._file is None else self._file
        try:
            _write_all(file, line)
        except OSError:
            self._cut_off()
            raise
        self._end += len(line)
        self._count += 1
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            os.fsync(file)
            self._flushed = time.monotonic()
        if self._count >= SIZE:
            self.seal()

    def seal(self) -> None:
        """Make Parquet files of the journal; the next reaction begins another one."""
        if self._file is not None and self._count:
            _write_parquet(self.out, self._number, self._journal)
            self._journal.unlink()
            os.close(self._file)
            self._file, self._count, self._number = None, 0, self._number + 1

    def close(self) -> None:
        """Flush what there is; what is in the journal stays there."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)


def index(out: Path) -> dict[str, Known]:
    """What is finished, by id: one pass over a few columns."""
    found: dict[str, Known] = {}
    place = 0
    for rows in pieces(out, [*_OF_INDEX]):
        for row in rows:
            told = [row.get(name) or "" for name in _OF_INDEX[1:]]
            found[row["id"]] = Known(place, *told[:2], *map(sys.intern, told[2:]))
            place += 1
    return found


def rows_of(out: Path) -> Iterator[ResultRow]:
    """Every finished reaction once, in the order in which they finished."""
    last = {name: known.place for name, known in index(out).items()}
    place = 0
    for rows in pieces(out):
        for row in rows:
            if last.get(row["id"]) == place:  # one that has finished since is unknown
                yield row_of(_with_costs(row))
            place += 1


def write_database(out: Path) -> Path:
    """Write `results.db` of all structures, in place of what is there."""
    run = str(read_record(out / "run.json").get("run", ""))
    path = out / "results.db"
    last = {name: known.place for name, known in index(out).items()}
    place = 0
    with replacing(path) as temporary:
        temporary.unlink(missing_ok=True)
        for number, rows in enumerate(pieces(out, ["id", "verdict"])):
            verdicts = {}
            for row in rows:
                if last[row["id"]] == place:
                    verdicts[row["id"]] = row["verdict"]
                place += 1
            with connect(temporary, type="db", use_lock_file=False) as database:
                for stored in _structures(out, number):
                    name = stored["reaction"]
                    if name in verdicts:
                        atoms, keys, data = _entry(stored)
                        keys |= {"run": run, "reaction": database_name(name)}
                        keys["verdict"] = verdicts[name]
                        database.write(atoms, key_value_pairs=keys, data=data)
    return path


def positions_of(out: Path, roles: Collection[str]) -> Iterator[tuple[str, str, Atoms]]:
    """Reaction, role and structure of all points in these roles, without forces and Hessians.

    In the order in which they were stored: of a reaction that comes twice, the last counts.
    """
    columns = ["reaction", "role", "numbers", "positions", "masses"]
    number = 0
    while True:
        of_journal = number >= len(_sealed(out))
        for stored in _structures(out, number, columns):
            if stored["role"] in roles:
                yield stored["reaction"], stored["role"], _atoms(stored)
        if not of_journal:
            number += 1
        elif number >= len(_sealed(out)):  # else it has become a Parquet file meanwhile
            return


def searches_of(
    out: Path, needed: Callable[[ResultRow], bool]
) -> Iterator[tuple[ResultRow, list[Entry]]]:
    """Every finished reaction once, with all structures of those that are `needed`.

    In the order in which they finished; one thousand at a time are in memory.
    """
    last = {name: known.place for name, known in index(out).items()}
    place = 0
    for number, rows in enumerate(pieces(out)):
        found: dict[str, ResultRow] = {}
        for row in rows:
            if last.get(row["id"]) == place:
                found[row["id"]] = row_of(_with_costs(row))
            place += 1
        wanted = {name for name, row in found.items() if needed(row)}
        entries: dict[str, list[Entry]] = {name: [] for name in wanted}
        for stored in _structures(out, number) if wanted else ():
            if stored["reaction"] in wanted:
                entries[stored["reaction"]].append(_entry(stored))
        for name, known in found.items():
            yield known, entries.get(name, [])


def is_sharded(out: Path) -> bool:
    """Whether the folder of a run holds its results in this form."""
    return (out / ROWS).is_dir()


def _journal(out: Path, number: int) -> Path:
    return out / ROWS / f"_{number:06}.jsonl"  # pandas and pyarrow look over names with a _


def _journals(out: Path) -> list[Path]:
    return sorted((out / ROWS).glob("_*.jsonl"))


def _sealed(out: Path) -> list[Path]:
    return sorted((out / ROWS).glob("[0-9]*.parquet"))


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _lines(journal: Path) -> Iterator[bytes]:
    """The whole lines; the last one may have been cut off."""
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line


def _records(journal: Path) -> Iterator[dict[str, Any]]:
    """The rows of a journal. Raises `StorageError` where a whole line is damaged."""
    for number, line in enumerate(_lines(journal), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise StorageError(
                f"line {number} of {journal} is damaged ({error}); delete that line, and its "
                "reaction is searched anew"
            ) from None


def pieces(out: Path, columns: list[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """The rows of each Parquet file, and then those of the journal."""
    done = 0
    while True:
        files = _sealed(out)
        for file in files[done:]:
            yield _read(out, file, columns)
        done = len(files)
        last = [_flat(record) for record in _records(_journal(out, done))]
        if len(_sealed(out)) == done:  # else it has become a Parquet file meanwhile
            yield last
            return


def _read(out: Path, file: Path, columns: list[str] | None) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as stored:
            there = stored.schema_arrow.names  # older versions have fewer
            asked = columns and [name for name in columns if name in there]
            rows: list[dict[str, Any]] = stored.read(columns=asked).to_pylist()
    except (OSError, ValueError) as error:
        raise _damaged(file, out / STRUCTURES, error) from error
    return rows


def _damaged(file: Path, other: Path, error: Exception) -> StorageError:
    """Of a Parquet file that has a namesake in the folder `other`."""
    return StorageError(
        f"{file} is damaged ({error}); put a copy of it there, or delete it and the file "
        f"of its name in {other}, rename those after it so that no number is "
        "missing, and its reactions are searched anew"
    )


def _structures(
    out: Path, number: int, columns: list[str] | None = None
) -> Iterator[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    if number == len(_sealed(out)):
        for record in _records(_journal(out, number)):
            yield from _unpacked(record)
        return
    file = out / STRUCTURES / f"{number:06}.parquet"
    try:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=500, columns=columns):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise _damaged(file, out / ROWS, error) from error


def _write_parquet(out: Path, number: int, journal: Path) -> None:
    """The structures first: a journal goes with its rows, when all else is there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for record in _records(journal):
        rows.append(_flat(record))
        entries += _unpacked(record)
    tables = (
        (STRUCTURES, pa.Table.from_pylist(entries, schema=_structure_schema())),
        (ROWS, pa.Table.from_pylist(rows, schema=_row_schema())),
    )
    for folder, table in tables:
        with replacing(out / folder / f"{number:06}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
        flush(out / folder)


def _row_schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    fields = []
    for name, hint in typing.get_type_hints(ResultRow).items():
        if name in ("costs", "structures"):
            continue
        [kind] = [one for one in typing.get_args(hint) or (hint,) if one is not NoneType]
        fields.append(pa.field(name, kinds.get(kind, pa.string())))
    for stage in COSTED:
        seconds, gradients, hessians = _cost_columns(stage)
        fields += [pa.field(seconds, pa.float64())]
        fields += [pa.field(name, pa.int64()) for name in (gradients, hessians)]
    return pa.schema([*fields, pa.field("stamp", pa.string())])


def _cost_columns(stage: str) -> tuple[str, str, str]:
    name = stage.replace(" ", "_")
    return f"{name}_seconds", f"{name}_gradients", f"{name}_hessians"


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its structures, its costs as columns."""
    left_out = ("costs", "entries", "structures", "schema")
    row = {name: value for name, value in record.items() if name not in left_out}
    for stage in COSTED:
        if cost := record["costs"].get(stage):
            values = (cost["seconds"], cost["gradients"], cost["hessians"])
            row |= zip(_cost_columns(stage), values, strict=True)
    return row


def _with_costs(row: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of `_flat`; columns that an older version has not filled are left out."""
    costs = {}
    for stage in COSTED:
        values = [row.get(column) for column in _cost_columns(stage)]
        if None not in values:
            costs[stage] = dict(zip(("seconds", "gradients", "hessians"), values, strict=True))
    there = {name: value for name, value in row.items() if value is not None}
    return {**there, "costs": costs}


def _structure_schema() -> pa.Schema:
    import pyarrow as pa

    numbers = pa.list_(pa.float64())
    return pa.schema(
        {
            "reaction": pa.string(),
            "role": pa.string(),
            "level_of_theory": pa.string(),
            "total_charge": pa.int64(),
            "multiplicity": pa.int64(),
            _COUNT: pa.int64(),
            "numbers": pa.list_(pa.int64()),
            "energy": pa.float64(),
            **dict.fromkeys((*_ARRAYS, *_DATA), numbers),
            "curvature_error_ev_per_a2": pa.float64(),
        }
    )


def _packed(entry: Entry) -> dict[str, Any]:
    """A structure as a journal has it: arrays of float64 in base64."""
    atoms, keys, data = entry
    found = atoms.calc.results  # of its own making: nothing is to be compared
    arrays = {"positions": atoms.positions, "forces": found["forces"], **data}
    if atoms.has("masses"):
        arrays["masses"] = atoms.get_masses()
    return {
        **{name: keys[name] for name in _KEYS},
        _COUNT: keys.get(_COUNT),
        "numbers": atoms.numbers.tolist(),
        "energy": float(found["energy"]),
        "curvature_error_ev_per_a2": _float(arrays.pop("curvature_error_ev_per_a2", None)),
        **{name: _text_of(array) for name, array in arrays.items()},
    }


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _text_of(array: np.ndarray) -> str:
    return base64.b64encode(np.asarray(array, "<f8").tobytes()).decode()


def _unpacked(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The structures of a line of a journal, as rows of a Parquet file."""
    for packed in record["entries"]:
        arrays = {
            name: np.frombuffer(base64.b64decode(packed[name]), "<f8")
            for name in (*_ARRAYS, *_DATA)
            if packed.get(name) is not None
        }
        yield {"reaction": record["id"], **packed, **arrays}


def _atoms(stored: Mapping[str, Any]) -> Atoms:
    """Elements, positions and masses."""
    atoms = Atoms(stored["numbers"], np.asarray(stored["positions"], float).reshape(-1, 3))
    if stored.get("masses") is not None:
        atoms.set_masses(np.asarray(stored["masses"], float))
    return atoms


def _entry(stored: Mapping[str, Any]) -> Entry:
    """A structure as the ASE database takes it."""
    atoms = _atoms(stored)
    forces = np.asarray(stored["forces"], float).reshape(-1, 3)
    atoms.calc = SinglePointCalculator(atoms, energy=stored["energy"], forces=forces)
    size = 3 * len(atoms)
    shapes = {"hessian_ev_per_a2": (size, size), "imaginary_mode": (-1, 3)}
    data: dict[str, Any] = {
        name: np.asarray(stored[name], float).reshape(shapes.get(name, -1))
        for name in _DATA
        if stored.get(name) is not None
    }
    if "imaginary_mode" in data:  # of saddles
        data["curvature_error_ev_per_a2"] = stored["curvature_error_ev_per_a2"]
    if "atom_indices" in data:
        data["atom_indices"] = data["atom_indices"].astype(int)
    keys = {name: stored[name] for name in _KEYS}
    if stored.get(_COUNT) is not None:
        keys[_COUNT] = stored[_COUNT]
    return atoms, keys, data
