"""Arrays out of pickles of molecules, read as data; nothing in them is executed.

HORM's records are pickles of PyTorch Geometric's `Data`. `safe_pickle` tells what such a pickle
describes; here the tensors and arrays in it become numpy arrays. In a plain pickle, unlike in a
file of torch.save, the numbers of a tensor stand in the midst of it, as the bytes that torch.save
makes of one storage.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from horm_calc.checkpoints.safe_pickle import (
    REBUILD_TENSOR,
    STORAGES,
    Inert,
    Malformed,
    Storage,
    StoredTensor,
    interpret,
    stored_tensor,
)
from horm_calc.checkpoints.torch_archive import CheckpointError, open_archive

# One storage as torch.save writes it without zip, five pickles and the numbers: magic number,
# version, machine, reference to the storage, list of storages. Only type, key, device and length
# differ from one to the next. Matching that takes a hundredth of the time of reading pickles.
_LEGACY = re.compile(
    rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.\x80\x02M\xe9\x03\.\x80\x02}q\x00\("
    rb"X.{4}protocol_versionq\x01M\xe9\x03X.{4}little_endianq\x02\x88X.{4}type_sizesq\x03}q\x04\("
    rb".{1,60}?uu\.\x80\x02\(X\x07\0\0\0storageq\x00ctorch\n(?P<kind>\w{1,20})\nq\x01"
    rb"X.{4}\d{1,20}q\x02X.{4}[a-z0-9:]{1,20}q\x03.{2,12}?Ntq\x04Q\.\x80\x02]q\x00"
    rb"X.{4}\d{1,20}q\x01a\.(?P<length>.{8})",
    re.DOTALL,
)
_NUMPY = re.compile(r"numpy\.(?:_?core\.)?(.*)")
_DTYPE = re.compile(r"[fiu][1248]|b1")


def fields(program: bytes) -> dict[Any, Any]:
    """What a pickled `Data`, or dictionary, holds by name, for `array` to make arrays of.

    Reads what PyTorch Geometric 2 writes (with a store in the object) and 1 (without). Raises
    `Malformed`, or `ValueError` where the pickle breaks off.
    """
    content = interpret(program)
    if isinstance(content, Inert):
        content = content.state
    if isinstance(content, dict) and isinstance(content.get("_store"), Inert):
        store = content["_store"].state
        content = store.get("_mapping") if isinstance(store, dict) else None
    if not isinstance(content, dict):
        raise Malformed("not a record of a molecule")
    return content


def array(value: Any) -> np.ndarray:
    """The numbers of a tensor, an array, a flat list or a single number. Raises `Malformed`."""
    if isinstance(value, Inert):
        if value.name == REBUILD_TENSOR:
            return _tensor(value.arguments)
        return _from_numpy(value)
    # Of lists, flat ones alone: nested ones can contain themselves.
    elements = value if isinstance(value, (list, tuple)) else [value]
    if all(type(element) in (bool, int, float) for element in elements):
        numbers = np.array(value)
        if numbers.dtype.kind in "biuf":
            return numbers
    raise Malformed(f"{type(value).__name__} in the place of numbers")


def _tensor(arguments: tuple[Any, ...]) -> np.ndarray:
    data = _bytes((*arguments[0].arguments, None)[0])
    storage, block = _legacy(data) if data[:1] == b"\x80" else _zipped(data)
    tensor = stored_tensor((storage, *arguments[1:]))
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, storage.dtype)
    steps = [step * storage.width for step in tensor.strides]
    start = tensor.offset * storage.width
    return np.ndarray(tensor.shape, storage.dtype, block, start, steps)


def _legacy(data: bytes) -> tuple[Storage, bytes]:
    head = _LEGACY.match(data)
    if head is None:
        raise Malformed("a storage that torch.save did not write")
    dtype, width = STORAGES.get(head["kind"].decode(), ("", 0))
    if dtype in ("", "bfloat16"):
        raise Malformed(f"a storage of unknown type {head['kind'].decode()}")
    length = int.from_bytes(head["length"], "little")
    if len(data) - head.end() != length * width:
        raise Malformed("a storage that breaks off, or has another size than it says")
    return Storage("", dtype, width, length), data[head.end() :]


def _zipped(data: bytes) -> tuple[Storage, bytes]:
    try:
        archive = open_archive(Path("storage"), io.BytesIO(data))
        storage = archive.content
        if not isinstance(storage, Storage) or storage.dtype == "bfloat16":
            raise Malformed("an archive that is not one of a storage")
        whole = StoredTensor(storage, 0, (storage.length,), (1,))
        return storage, archive.tensor(whole).numpy().tobytes()
    except CheckpointError as error:
        raise Malformed(f"a storage that is {error.problem}") from None


def _from_numpy(value: Inert) -> np.ndarray:
    """An array or a scalar, however numpy's versions and pickle's protocols write them."""
    match = _NUMPY.fullmatch(value.name)
    kind = match[1] if match else ""
    parts = (*value.arguments, None, None, None, None)
    shape: Any = ()
    fortran = False
    if kind == "multiarray.scalar":
        dtype, data = parts[:2]
    elif kind == "multiarray._reconstruct" and type(value.state) is tuple and len(value.state) == 5:
        _, shape, dtype, fortran, data = value.state
    elif kind == "numeric._frombuffer":
        data, dtype, shape, order = parts[:4]
        fortran = order == "F"
    else:
        raise Malformed(f"{value.name} in the place of numbers")
    counts = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    block = np.frombuffer(_bytes(data), _dtype(dtype))
    if not counts or math.prod(shape) != len(block):
        raise Malformed("an array with another size than it says")
    return block.reshape(shape, order="F" if fortran else "C")


def _bytes(data: Any) -> bytes:
    """Bytes, which protocol 2 writes as a call of `bytes` or of `encode` with Latin-1 text."""
    if isinstance(data, Inert) and data.name in ("_codecs.encode", "__builtin__.bytes"):
        text = data.arguments[0] if data.arguments else ""
        data = text.encode("latin-1", "replace") if isinstance(text, str) else None
    if not isinstance(data, (bytes, bytearray)):
        raise Malformed("an array without its numbers")
    return bytes(data)


def _dtype(value: Any) -> np.dtype[Any]:
    """The type of an array's elements: numbers of the usual kinds only."""
    if isinstance(value, Inert) and value.name == "numpy.dtype" and value.arguments:
        code, state = value.arguments[0], value.state
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if isinstance(code, str) and _DTYPE.fullmatch(code) and order in ("<", ">", "|"):
            return np.dtype(order + code)
    raise Malformed("an array of something else than numbers")
