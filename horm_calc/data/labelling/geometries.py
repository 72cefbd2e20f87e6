"""Reads geometries, with labels or without, so that they can be labelled."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from horm_calc.data.files import files_of, open_frames
from horm_calc.data.frames import DataError, iterate
from horm_calc.data.labelling.labels import Geometry, geometry
from horm_calc.structure_files.reading import read_structures

_FRAMES = (".h5", ".hdf5", ".lmdb")


def read_geometries(path: Path) -> list[Geometry]:
    """All geometries of a file or a folder of files, in their order, files by name.

    `.h5`, `.hdf5`, `.lmdb`: frames, see `frames.open_frames`. All else: what ASE reads; energies
    are not needed. A geometry's reaction is what its `info["reaction"]` or its frame says, else
    its file's name without ending. Where a file's name stands for several molecules (other atoms,
    or in another order), all after the first get a number; a reaction that is named stays one,
    whatever its molecules. Raises `DataError`.
    """
    found: list[Geometry] = []
    for file in files_of(path.expanduser()):
        read = list(_apart(file.stem, _read(file, len(found))))
        if not read:
            raise DataError(file, "holds no geometries")
        found += read
    return found


def _read(file: Path, first: int) -> Iterator[Geometry]:
    if file.suffix in _FRAMES:
        for number, frame in enumerate(iterate(open_frames(file)), first):
            yield geometry(number, frame)
        return
    number = first
    try:
        for atoms in read_structures(file):
            yield geometry(number, atoms)
            number += 1
    except Exception as error:  # ASE's readers raise what they meet: ValueError, IndexError, ...
        message = str(error).removesuffix(".") or type(error).__name__
        remedy = "Check that it is whole, and that ASE knows the format: try 'ase gui'."
        where = f"frame {number - first} cannot be read ({message})"
        raise DataError(file, where, remedy) from None


def _apart(stem: str, found: Iterable[Geometry]) -> Iterator[Geometry]:
    """The geometries of a file under names that HDF5 takes; those without under the file's."""
    molecules: dict[bytes, int] = {}
    for item in found:
        name = item.reaction
        if not name:
            number = molecules.setdefault(item.numbers.tobytes(), len(molecules) + 1)
            name = stem if number == 1 else f"{stem}-{number}"
        yield dataclasses.replace(item, reaction=re.sub(r"[/\0]|^\.+$", "_", name))
