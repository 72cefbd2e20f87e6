"""Structures in the files that people have, with what these say of electrons and isotopes.

For all commands: `read_structures` for files of any number of structures, `read_frames` for
those of a table of reactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression

from horm_calc.structure_files import isotopes, programs
from horm_calc.structure_files.electrons import KEY, said
from horm_calc.structure_files.molfiles import read_molfile
from horm_calc.structure_files.xyz import read_xyz

#: Formats that are no plain file with a molecule, or whose readers unpickle, connect, or
#: start a program (castep-cell asks the castep binary for its keywords).
_REFUSED = {
    "bundletrajectory", "castep-cell", "eon", "gpw", "mysql", "netcdftrajectory", "postgresql",
}  # fmt: skip

#: As ASE calls them, or the ends of their names.
_XYZ, _MOLFILES, _DATABASES = ("xyz", "extxyz"), ("mol", "sdf", "sd", "mdl"), ("db", "json")


class UnusableFile(Exception):
    """What is wrong with a file, and what helps."""


def read_frames(folder: Path, name: str, number: int, what: str) -> list[Atoms]:
    """Elements, positions, periodicity and masses of the frames, these where the file has them.

    `info[KEY]` is what the file says of the electrons. Raises `UnusableFile` where the file does
    not hold `number` structures; `what` they are.
    """
    if not name:
        raise UnusableFile(f"no file is named for {what}")
    path = folder / name
    try:
        if not path.is_file():
            raise UnusableFile(f"there is no file {path} (names are relative to the table)")
        frames = list(read_structures(path))
    except UnusableFile:
        raise
    except UnknownFileTypeError:
        raise UnusableFile(f"{path} is of no kind that ASE knows; use xyz") from None
    except KeyError as error:
        raise UnusableFile(f"{path} has an unknown element or key {error}") from None
    except Exception as error:  # ASE's many parsers have errors of their own
        text = " ".join(str(error).split()) or type(error).__name__
        raise UnusableFile(f"{path} cannot be read: {text}") from None
    if len(frames) != number:
        raise UnusableFile(f"{path} has {len(frames)} frame(s); {what} need {number}")
    return [_bare(frame, name) for frame in frames]


def _bare(frame: Atoms, name: str) -> Atoms:
    bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    if frame.has("masses"):
        bare.set_masses(frame.get_masses())
    bare.info[KEY] = said(frame).marked(name)
    return bare


def read_structures(path: Path) -> Iterator[Atoms]:
    """Each structure of a file, in order.

    What ASE's readers find, and what they leave out: masses of isotopes, and in `info` or in
    columns what `electrons.said` needs. Raises `ValueError` and what ASE's readers raise.
    """
    # Absolute, because ASE takes names that begin with 'postgres' or 'mysql' for databases.
    full = str(path.absolute())
    kind = filetype(full)
    if kind in _REFUSED:
        raise ValueError(f"it is of the kind '{kind}', which is not read here; use xyz")
    if kind in _XYZ:
        yield from read_xyz(path)
    elif kind in _MOLFILES:
        yield from read_molfile(_text(full))
    elif kind == "gaussian-in":
        yield programs.read_gaussian(_text(full))
    elif kind in _DATABASES:
        yield from map(_with_masses, read_database(path, kind))
    elif kind == "traj":
        yield from map(_with_masses, _read_with_ase(full))
    else:
        yield from _of_programs(_read_with_ase(full), kind, full)


def _read_with_ase(full: str) -> Iterator[Atoms]:
    # An @ in a name would be the number of a frame.
    return iread(full, ":", do_not_split_by_at_sign=True)


def _text(full: str) -> str:
    with open_with_compression(full, "r") as file:
        return str(file.read())


def _with_masses(atoms: Atoms) -> Atoms:
    isotopes.take_columns(atoms)
    return atoms


def read_database(path: Path, kind: str) -> Iterator[Atoms]:
    """The rows of a database of ASE, with their key-value pairs and data in `info`."""
    import ase.db

    with ase.db.connect(path.absolute(), type=kind) as database:
        for row in database.select():
            atoms = row.toatoms()
            atoms.info |= {**row.key_value_pairs, **row.data}
            yield atoms


def _of_programs(frames: Iterable[Atoms], kind: str, full: str) -> Iterator[Atoms]:
    """Inputs and outputs of programs, and other texts of which ASE reads the positions alone."""
    with open_with_compression(full, "rb") as file:
        text = file.read().decode("utf-8", "replace")
    charges = programs.formal_charges_of_pdb(text) if kind == "proteindatabank" else []
    for frame in frames:
        if charges:
            frame.set_initial_charges(np.array(charges[: len(frame)], dtype=float))
            del charges[: len(frame)]
        if not frame.pbc.any():  # which no command here takes
            programs.add_what_is_printed(frame, kind, text)
        yield frame
