"""HORM's files of frames: an LMDB of pickled records, one a frame, with the keys "0", "1", ...

Records are read as data, nothing in them is executed (see `pickled`). The file itself is read by
LMDB's library, which trusts its pages: a file from nowhere should be converted in a sandbox.

HORM (arXiv:2505.12447) has 1.8 million frames. What must be known of all of them at once is
found by one pass over the file, and kept in an index beside it, or in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from ase.symbols import Symbols

from horm_calc.checkpoints.safe_pickle import Malformed, interpret
from horm_calc.checkpoints.torch_archive import printable
from horm_calc.data.formats.pickled import array, fields
from horm_calc.data.frames import DataError, Frame, sound
from horm_calc.progress import progress
from horm_calc.references import LEVEL_OF_THEORY

_ONE_HOT = np.array([1, 6, 7, 8, 9])  # what the columns of one_hot stand for
_LONG = 1000  # frames, from which the outcome of the pass is worth keeping
_VERSION = 1  # of the index
_LEAST_BYTES = 16  # that a record takes at the very least
_AGAIN = "Download or copy the file again."

# Of each file, the process that opened it and the state it was in. LMDB allows to open a file
# only once in a process, and what was opened before a fork is not for the child to use.
_opened: dict[Path, tuple[tuple[int, ...], lmdb.Environment]] = {}


class LMDBFrames:
    """The frames of a file (or of a folder with `data.mdb`), read one by one. See `frames.Frames`.

    Energies are total energies. A reaction's name has the record's `rxn` and the sum formula:
    `rxn` is the same number in all of the published sample, while the formula is that of all
    frames of a reaction. So a reaction here may stand for several, but none is in two.

    May be pickled and used in several processes. Raises `DataError` for what is
    damaged or no such file, at opening or where a frame is read.
    """

    level_of_theory = LEVEL_OF_THEORY

    def __init__(self, path: Path) -> None:
        file = (path / "data.mdb" if path.is_dir() else path).resolve()
        length = _length(file)
        names, codes, self.sizes, self.has_second_derivatives = _read_index(file, length) or _scan(
            file, length
        )
        self._file = file
        self.reactions = [names[code] for code in codes.tolist()]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Frame:
        return _frame(self._file, range(len(self))[index])


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the file, which change with its content."""
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})") from None
    return stat.st_size, stat.st_mtime_ns


def _environment(path: Path) -> lmdb.Environment:
    stamp = (os.getpid(), *_state(path))
    if path in _opened:
        before, environment = _opened[path]
        if before == stamp:
            return environment
        del _opened[path]
        environment.close()
    environment = lmdb.open(str(path), subdir=False, readonly=True, lock=False, readahead=False)
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if needed > stamp[1]:  # reading what is not there would end the process
        environment.close()
        raise DataError(path, f"cut short: {stamp[1]} of {needed} bytes", _AGAIN)
    _opened[path] = stamp, environment
    return environment


def _value(path: Path, key: str) -> bytes:
    try:
        with _environment(path).begin() as transaction:
            value = transaction.get(key.encode())
    except lmdb.Error as error:
        raise DataError(path, f"cannot be read as LMDB ({error})", _AGAIN) from None
    if value is None:
        raise DataError(path, f"has no record '{key}'", _AGAIN)
    return bytes(value)


@contextmanager
def _record(path: Path, key: str) -> Iterator[bytes]:
    """The value of a key; what is wrong with it becomes a `DataError`."""
    value = _value(path, key)
    try:
        yield value
    except (ValueError, OverflowError) as error:  # what `interpret` and `array` raise
        raise DataError(path, f"record '{key}': {error}", _AGAIN) from None


def _length(path: Path) -> int:
    with _record(path, "length") as value:
        length = array(interpret(value))
        if length.size != 1 or length.dtype.kind not in "iu" or length.item() < 1:
            raise Malformed("not a number of frames")
        if length.item() > _state(path)[0] // _LEAST_BYTES:
            raise Malformed(f"{length.item():,} frames, for which the file has no room")
    return int(length.item())


def _frame(path: Path, index: int) -> Frame:
    with _record(path, str(index)) as value:
        found = fields(value)

        def read(name: str, *shape: int) -> np.ndarray:
            if name not in found:
                raise Malformed(f"lacks {name}")
            numbers = array(found[name])
            if numbers.size != math.prod(shape):
                raise Malformed(f"{name} is {numbers.shape}, not {shape}")
            if not sound(numbers):
                raise Malformed(f"{name} holds numbers that are not finite, or beyond 1e18")
            return numbers.reshape(shape)

        numbers = _numbers(found)
        atoms = len(numbers)
        return Frame(
            numbers,
            read("pos", atoms, 3).astype(float),
            float(read("energy", 1)[0]),
            read("forces", atoms, 3).astype(float),
            hessian=read("hessian", 3 * atoms, 3 * atoms).copy() if "hessian" in found else None,
            reaction=_reaction(found.get("rxn"), numbers),
        )


def _numbers(found: dict[Any, Any]) -> np.ndarray:
    """Atomic numbers (n,) from `charges`, or where there are none from `one_hot`."""
    if "charges" in found:
        numbers = array(found["charges"]).reshape(-1)
    elif "one_hot" in found:
        columns = array(found["one_hot"])
        hot = columns.ndim == 2 and columns.shape[1] <= len(_ONE_HOT)
        if (
            not hot
            or not ((columns == 1).sum(1) == 1).all()
            or (columns != 0).sum() != len(columns)
        ):
            raise Malformed("one_hot does not tell the elements")
        numbers = _ONE_HOT[columns.argmax(1)]
    else:
        raise Malformed("lacks charges and one_hot, which tell the elements")
    if not len(numbers) or not set(numbers.tolist()) <= set(range(1, 119)):
        raise Malformed("charges are not atomic numbers")
    return numbers.astype(np.int64)


def _reaction(label: Any, numbers: np.ndarray) -> str:
    formula = _formula(np.sort(numbers).tobytes())
    if label is None:
        return formula
    if isinstance(label, str):
        return f"{printable(label)} {formula}"
    number = array(label)
    if number.size != 1:
        raise Malformed("rxn is not one number")
    return f"rxn{number.item():g} {formula}"


@lru_cache(maxsize=10_000)
def _formula(numbers: bytes) -> str:
    return str(Symbols(np.frombuffer(numbers, np.int64)).get_chemical_formula("hill"))


_Index = tuple[list[str], np.ndarray, np.ndarray, np.ndarray]
_KINDS = {
    "names": "U",
    "codes": "iu",
    "sizes": "iu",
    "has_second_derivatives": "b",
}  # of what the index holds
# What numpy raises of an index that is none, depending on the place of the damage.
_DAMAGE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError),
    *(TypeError, ValueError, zipfile.BadZipFile, zlib.error),
)


def _scan(path: Path, length: int) -> _Index:
    """Names of reactions; of each frame the place of its name, its atoms, if it has a Hessian."""
    names: dict[str, int] = {}
    rows = np.zeros((3, length), np.int32)
    for index in progress(range(length), f"Reading {path.name} (once)", length):
        frame = _frame(path, index)
        place = names.setdefault(frame.reaction, len(names))
        rows[:, index] = place, len(frame.numbers), frame.hessian is not None
    found = list(names), rows[0], rows[1].astype(int), rows[2].astype(bool)
    if length >= _LONG:
        _keep_index(path, found)
    return found


def _index_files(path: Path) -> list[Path]:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "horm"
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:20]
    return [path.with_name(f"{path.name}.index.npz"), home / f"{digest}.npz"]


def _read_index(path: Path, length: int) -> _Index | None:
    """The index kept for this very state of the file, if there is a sound one."""
    for kept in _index_files(path):
        try:
            with np.load(kept, allow_pickle=False) as saved:
                if sum(entry.file_size for entry in saved.zip.infolist()) > 1000 * (length + 1000):
                    continue  # names take half of that at most
                found = {key: saved[key] for key in (*_KINDS, "state")}
        except _DAMAGE:
            continue
        names, codes, sizes, with_second = (found[key] for key in _KINDS)
        if (
            found["state"].tolist() == [_VERSION, *_state(path)]
            and all(found[key].dtype.kind in kind for key, kind in _KINDS.items())
            and codes.shape == sizes.shape == with_second.shape == (length,)
            and names.ndim == 1
            and 0 <= codes.min() <= codes.max() < len(names)
        ):
            return names.tolist(), codes, sizes.astype(int), with_second
    return None


def _keep_index(path: Path, index: _Index) -> None:
    """Keeps the index where that is possible; without it, the next opening takes longer."""
    names, codes, sizes, with_second = index
    state = np.array([_VERSION, *_state(path)])
    for kept in _index_files(path):
        partial = kept.with_name(f".{kept.name}.{os.getpid()}.partial.npz")
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                partial,
                names=np.array(names),
                codes=codes,
                sizes=sizes.astype(np.int32),
                has_second_derivatives=with_second,
                state=state,
            )
            partial.replace(kept)
        except OSError:
            continue
        else:
            return
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
