"""What an HDF5 file holds itself, and no more than it has room for.

HDF5 can refer to other files in four ways: external links, soft links through them, datasets
whose numbers lie in other files, and virtual datasets made of others. None is followed, as a
file from elsewhere could have any file of this machine read as numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from horm_calc.data.frames import DataError

_INSIDE = "Make a file that holds its data itself: h5repack or h5copy do that."
# Compressed numbers may take so many times the file, and small files some more. Float64 that was
# rounded for it takes up to 8 times; zeros, and what is not stored at all, any number of times.
_MOST_TIMES, _SMALL = 20, 64 * 2**20


def groups_of(path: Path, file: h5py.File) -> dict[str, h5py.Group]:
    """The groups of the file by name. Raises `DataError` for links, and for one with two names."""
    found = {key: one for key, one in _members(path, file, file) if isinstance(one, h5py.Group)}
    names: dict[Any, str] = {}
    for key, group in found.items():
        other = names.setdefault(h5py.h5o.get_info(group.id).addr, key)
        if other != key:
            raise DataError(path, f"groups '{other}' and '{key}' are one and the same", _INSIDE)
    return found


def datasets_of(path: Path, group: h5py.Group, keys: Iterable[str]) -> dict[str, Any]:
    """What lies under those names in a group, datasets or not; others are let be.

    Raises `DataError` for links, and for datasets that lie in other files.
    """
    found = dict(
        _members(path, group, [key for key in keys if group.id.links.exists(key.encode())])
    )
    for key, one in found.items():
        if isinstance(one, h5py.Dataset) and (one.is_virtual or one.external):
            problem = f"'{group.name}/{key}' has its numbers in other files, which are not read"
            raise DataError(path, problem, _INSIDE)
    return found


def require_room(path: Path, shapes: Iterable[tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """Raises `DataError` where arrays of these shapes and types are too much for the file."""
    claimed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes)
    size = path.stat().st_size
    if claimed > _MOST_TIMES * size + _SMALL:
        problem = f"claims {claimed / 1e6:,.0f} MB of numbers in {size / 1e6:,.1f} MB"
        raise DataError(path, problem, "It is damaged or a trap: make it again.")


def text_of(path: Path, holder: Any, key: str, default: str) -> str:
    """A text among the attributes of a file or group."""
    value = holder.attrs.get(key, default)
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise DataError(path, f"the attribute {key} of '{holder.name}' is not text")
    return value


def _members(path: Path, group: Any, keys: Iterable[str]) -> Iterable[tuple[str, Any]]:
    for key in keys:
        if not isinstance(key, str):  # as h5py has what is no UTF-8
            raise DataError(
                path, f"the name {key[:40]!r} is not text", "It is damaged: copy it again."
            )
        # By the lower level of h5py, which looks at a link without following it.
        if group.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
            where = f"{group.name.rstrip('/')}/{key}"
            raise DataError(path, f"'{where}' is a link, and links are not followed", _INSIDE)
        yield key, group[key]
