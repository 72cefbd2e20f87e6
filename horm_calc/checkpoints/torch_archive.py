"""Opens the files that torch.save writes (zip format, since torch 1.6), and refuses all others.

The description of the content is read by `safe_pickle`, which executes nothing. Tensors are
read from the zip on demand, after their description was checked against their storage. A
storage's key is looked up among the names in the zip, never on disk. Every entry must be stored
uncompressed and all entries together must not be larger than the file, so memory is bounded by
the file's size, whatever the file claims.

`torch.load(weights_only=True)` is safe in current versions too, but it refuses what training
frameworks put into their files (paths, namespaces, callbacks), and it reads the optimiser's
state, which is most of the file.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from horm_calc.checkpoints.safe_pickle import Inert, Malformed, Name, StoredTensor, interpret
from horm_calc.errors import HormError

if TYPE_CHECKING:
    from torch import Tensor

# A checkpoint of 15 million weights in 2500 tensors with optimiser state has 1.5 MB.
_MOST_PICKLE_BYTES = 16 * 2**20
# Characters of settings and what else is told, where a value counts as ten.
_MOST_TOLD = 500_000
_MOST_LEVELS = 50
_LONGEST_TEXT = 10_000
_SCALARS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}

# What zipfile raises, depending on the place of the damage.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, OverflowError, ValueError),
)

AGAIN = "Download or copy it again."
_DISTRUST = "Get it again from its publisher, and do not open it with torch.load."


class CheckpointError(HormError, ValueError):
    """A file that cannot be used as a checkpoint; the message says why and what helps."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)  # all three, so that it passes between processes
        self.path = path
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}. {self.remedy}"


@dataclass(frozen=True)
class Archive:
    """An opened PyTorch file: its content as data, and its tensors on demand."""

    path: Path
    zip: zipfile.ZipFile
    folder: str
    content: Any
    size: int  # bytes of the whole file

    def tensor(self, stored: StoredTensor) -> Tensor:
        """The numbers of a tensor, on the CPU. Raises `CheckpointError` where they are missing."""
        return self._view(stored, self._numbers(stored))

    def tensors(self, weights: dict[Any, Any]) -> dict[str, Tensor]:
        """The tensors of a state_dict. Those that share a storage share memory."""
        for key, value in weights.items():
            if not (isinstance(key, str) and isinstance(value, StoredTensor)):
                problem = f"{printable(key)} in 'state_dict' is not a tensor of numbers"
                raise CheckpointError(self.path, problem, "Save the network's state_dict.")
        # Tensors can share a storage. So many that they amount to more than the file are a trap.
        if sum(value.bytes for value in weights.values()) > self.size:
            raise CheckpointError(self.path, "more weights than the file has room for", AGAIN)
        # Each storage is read once, as the file may name it for any number of small tensors.
        kept = {value.storage.key: value for value in weights.values()}
        numbers = {key: self._numbers(value) for key, value in kept.items()}
        return {
            key: self._view(value, numbers[value.storage.key]) for key, value in weights.items()
        }

    def _numbers(self, stored: StoredTensor) -> Tensor:
        """All numbers of the storage that a tensor lies in."""
        import torch

        storage = stored.storage
        dtype = getattr(torch, storage.dtype)
        block = _entry(self.path, self.zip, f"{self.folder}/data/{storage.key}")
        if len(block) != storage.length * storage.width:
            problem = f"storage {storage.key[:20]!r} has another size than the file says"
            raise CheckpointError(self.path, problem, AGAIN)
        return (
            torch.frombuffer(bytearray(block), dtype=dtype) if block else torch.empty(0).to(dtype)
        )

    def _view(self, stored: StoredTensor, numbers: Tensor) -> Tensor:
        storage = stored.storage
        if (len(numbers), str(numbers.dtype)) != (storage.length, f"torch.{storage.dtype}"):
            raise CheckpointError(self.path, "a storage with two sizes or types", _DISTRUST)
        return numbers.as_strided(stored.shape, stored.strides, stored.offset)


def open_archive(path: Path, file: BinaryIO) -> Archive:
    """Opens a file that torch.save wrote; `file` must stay open while tensors are read.

    Raises `CheckpointError` for every other file, and for one that is damaged or not plausible.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _ZIP_ERRORS as error:
        raise CheckpointError(path, f"damaged, probably cut short ({error})", AGAIN) from None
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    size = file.seek(0, 2)
    if len(names) < len(entries) or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError(path, "a zip whose entries overlap or repeat", _DISTRUST)
    roots = {name.split("/")[0] for name in names if name.endswith("/data.pkl")}
    if len(roots) != 1 or f"{min(roots)}/data.pkl" not in names:
        raise CheckpointError(
            path, "a zip, but not a PyTorch file", "Give a .ckpt or a .safetensors."
        )
    folder = roots.pop()
    if f"{folder}/constants.pkl" in names:
        raise CheckpointError(path, "a TorchScript program", "Give a .ckpt.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(path, "a compressed zip, which torch.save never writes", _DISTRUST)
    order = f"{folder}/byteorder"
    if order in names and _entry(path, archive, order) != b"little":
        raise CheckpointError(path, "written by a big-endian machine", "Convert it there.")
    return Archive(path, archive, folder, _description(path, archive, folder), size)


def _description(path: Path, archive: zipfile.ZipFile, folder: str) -> Any:
    program = _entry(path, archive, f"{folder}/data.pkl")
    if len(program) > _MOST_PICKLE_BYTES:
        raise CheckpointError(path, "too much beside the weights", _DISTRUST)
    try:
        return interpret(program)
    except Malformed as error:
        raise CheckpointError(path, f"not a plausible checkpoint: {error}", _DISTRUST) from None
    except (ValueError, OverflowError) as error:
        raise CheckpointError(path, f"damaged ({error})", AGAIN) from None


def _entry(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry of the zip, its checksum verified."""
    try:
        return archive.read(name)
    except KeyError:
        raise CheckpointError(path, f"incomplete, {name[:60]!r} is missing", AGAIN) from None
    except (*_ZIP_ERRORS, RuntimeError) as error:  # a RuntimeError asks for a password
        raise CheckpointError(path, f"damaged ({error})", AGAIN) from None


def mapping(value: Any) -> dict[Any, Any]:
    """The items of a dictionary, or of the stand-in for a class derived from one."""
    if isinstance(value, Inert):
        value = value.items
    return value if isinstance(value, dict) else {}


def has_tensors(value: Any) -> bool:
    """Whether tensors of more than one number lie in the value, a few levels deep."""
    level = [value]
    for _ in range(4):
        if any(isinstance(one, StoredTensor) and math.prod(one.shape) > 1 for one in level):
            return True
        level = parts(level)
    return False


def parts(values: Iterable[Any]) -> list[Any]:
    """What lies directly in containers and stand-ins, each once, however often it is named."""
    found: dict[int, Any] = {}
    for value in values:
        inside: Iterable[Any] = value if isinstance(value, (list, tuple)) else ()
        if isinstance(value, Inert):
            inside = [value.items, value.values, value.state]
        elif isinstance(value, dict):
            inside = value.values()
        found |= {id(one): one for one in inside}
    return list(found.values())


def printable(key: object) -> str:
    """A name from a file, fit for a terminal: without control characters, and short."""
    return ascii(key)[1:-1][:100] if isinstance(key, str) else f"<{type(key).__name__}>"


def diagnosis(head: bytes) -> tuple[str, str]:
    """What a file is that is neither of the two formats, and the remedy."""
    if not head:
        return "empty", AGAIN
    if head.startswith(b"\x80") or head[257:262] == b"ustar":
        return "written by torch < 1.6, or a bare pickle, which cannot be read safely", (
            "If you trust its origin, load it with torch.load and write it with torch.save."
        )
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS instead of the file", "Run 'git lfs pull' in its repository."
    if head.lstrip().startswith(b"<"):
        return "a web page", "Download the file itself: its address has /resolve/, not /blob/."
    return (
        "not a checkpoint",
        "Give a .ckpt of PyTorch Lightning or a .safetensors of this package.",
    )


def plain(value: Any) -> Any:
    """The value as JSON has it: dictionaries with text keys, lists, numbers, text, None.

    Mappings and namespaces of other classes become dictionaries, paths text, numpy's scalars
    numbers; what else an object was is told by its name in angle brackets. Raises `Malformed`
    where the data refer to themselves or are nested so that they unfold without end.
    """
    return _plain(value, 0, _Room())


class _Room:
    """How much may still be told."""

    def __init__(self) -> None:
        self.left = _MOST_TOLD

    def take(self, told: Any) -> Any:
        self.left -= 10 + (len(told) if type(told) is str else 0)
        if self.left < 0:
            raise Malformed("settings that are nested without end")
        return told


def _plain(value: Any, level: int, room: _Room) -> Any:
    if level > _MOST_LEVELS:
        raise Malformed("settings that are nested without end")
    if isinstance(value, Inert):
        number = _scalar(value)
        value = _content(value) if number is None else number
    room.take(None)
    if type(value) is dict:
        return {room.take(_text(key)): _plain(item, level + 1, room) for key, item in value.items()}
    if type(value) in (list, tuple):
        return [_plain(item, level + 1, room) for item in value]
    if isinstance(value, StoredTensor):
        return f"<tensor of shape {list(value.shape)}>"
    if isinstance(value, Name):
        return room.take(_text(f"<{value.text}>"))
    if type(value) is int and value.bit_length() > 64:
        return "<large number>"  # Python refuses to print those of thousands of digits
    simple = value is None or type(value) in (bool, int, float)
    return value if simple else room.take(_text(value))


def _text(value: Any) -> str:
    if type(value) is str:
        if len(value) > _LONGEST_TEXT:
            return f"<text of {len(value)} characters>"
        return value.encode("utf-8", "backslashreplace").decode()  # no halves of surrogates
    simple = type(value) in (int, bool) or value is None
    return str(value) if simple else f"<{type(value).__name__}>"


def _content(value: Inert) -> Any:
    """What a stand-in amounts to, as far as it is known how its class keeps its content."""
    if value.items:
        return value.items
    if value.values:
        return value.values
    if value.name in ("argparse.Namespace", "types.SimpleNamespace") and value.state:
        return value.state
    if value.name.startswith("pathlib.") and all(type(part) is str for part in value.arguments):
        root, *parts = value.arguments or (".",)
        return "/".join([root.rstrip("/"), *parts]) or "/"
    return f"<{value.name}>"


def _scalar(value: Inert) -> Any:
    """The number that a numpy scalar holds; None for everything else."""
    if not value.name.startswith("numpy.") or not value.name.endswith(".multiarray.scalar"):
        return None
    kind, data = (*value.arguments, None, None)[:2]
    if isinstance(data, Inert) and data.name == "_codecs.encode" and data.arguments:
        data = data.arguments[0]  # how protocol 2 writes bytes: as Latin-1 text
        data = data.encode("latin-1", "replace") if type(data) is str and len(data) < 16 else None
    code = kind.arguments[0] if isinstance(kind, Inert) and kind.arguments else None
    order = kind.state[1] if isinstance(kind, Inert) and type(kind.state) is tuple else None
    if type(code) is not str or code not in _SCALARS or order not in ("<", "|"):
        return None
    form = "<" + _SCALARS[code]
    fits = type(data) is bytes and len(data) == struct.calcsize(form)
    return struct.unpack(form, data)[0] if fits else None
