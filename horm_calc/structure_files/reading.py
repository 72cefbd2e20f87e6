"""Structures in the files that people have, with what these say of electrons and isotopes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import open_with_compression

from horm_calc.structure_files import isotopes, programs
from horm_calc.structure_files.electrons import KEY
from horm_calc.structure_files.kinds import check_length, kind_of
from horm_calc.structure_files.molfiles import read_molfile
from horm_calc.structure_files.xyz import read_xyz

_DATABASES = ("db", "json")


def read_structures(path: Path) -> Iterator[Atoms]:
    """Each structure of a file, in order.

    What ASE's readers find, and what they leave out: masses of isotopes, and in `info` or in
    columns what `stated_electrons` needs. Raises `ValueError` and what ASE's readers raise.
    """
    full = str(path.absolute())  # see kind_of
    kind = kind_of(path)
    if kind == "xyz":
        yield from read_xyz(path)
    elif kind == "molfile":
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
    with open_with_compression(full, "rb") as file:
        data: bytes = file.read()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        check_length(line, number)
    return text


def _with_masses(atoms: Atoms) -> Atoms:
    isotopes.take_columns(atoms)
    return atoms


def read_database(path: Path, kind: str) -> Iterator[Atoms]:
    """The rows of a database of ASE, with their key-value pairs and data in `info`."""
    import ase.db

    with ase.db.connect(path.absolute(), type=kind) as database:
        for row in database.select():
            atoms = row.toatoms()
            if atoms.calc:
                atoms.calc.parameters.update(row.get("calculator_parameters", {}))
            atoms.info |= {**row.key_value_pairs, **row.data}
            yield atoms


def _of_programs(frames: Iterable[Atoms], kind: str, full: str) -> Iterator[Atoms]:
    """Inputs and outputs of programs, and other texts of which ASE reads the positions alone."""
    text = _text(full)
    if kind == "orca-output":
        programs.check_count(text)
    programs.check_units(kind, text)
    if kind == "proteindatabank":
        programs.check_elements_of_pdb(text)
    charges = programs.formal_charges_of_pdb(text) if kind == "proteindatabank" else []
    last = None
    for frame in frames:
        if charges:
            frame.set_initial_charges(np.array(charges[: len(frame)], dtype=float))
            del charges[: len(frame)]
        if last and KEY in last.info and np.array_equal(frame.numbers, last.numbers):
            _take_what_is_printed(frame, last)
        elif not frame.pbc.any():  # which no command here takes
            programs.add_what_is_printed(frame, kind, text)
        last = frame
        yield frame
    if kind == "gaussian-out" and last:
        programs.check_last_geometry(last, text)


def _take_what_is_printed(frame: Atoms, before: Atoms) -> None:
    """From the frame before of the same atoms: to search the text each time takes minutes."""
    frame.info[KEY] = before.info[KEY]
    if before.has("masses"):
        frame.set_masses(before.get_masses())
