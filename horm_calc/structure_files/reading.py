"""Structures in the files that people have, with what these say of charge and multiplicity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, open_with_compression

from horm_calc.structure_files.molfiles import read_molfile
from horm_calc.structure_files.xyz import read_xyz

#: Formats that are no plain file with a molecule, or whose readers unpickle, connect, or
#: start a program (castep-cell asks the castep binary for its keywords).
_REFUSED = {
    "bundletrajectory", "castep-cell", "db", "eon", "gpw", "mysql", "netcdftrajectory",
    "postgresql",
}  # fmt: skip

#: Input of Gaussian, and molfiles, as ASE calls their kinds or the ends of their names.
_GAUSSIAN, _MOLFILES = "gaussian-in", ("mol", "sdf", "sd", "mdl")

#: What an extended xyz file can say of the electrons of a frame, as in `charge=-1`.
_ELECTRONS = ("charge", "multiplicity")


class UnusableFile(Exception):
    """What is wrong with a file, and what helps."""


def read_frames(folder: Path, name: str, number: int, what: str) -> list[Atoms]:
    """Elements, positions and periodicity of the frames, and what the file says of electrons.

    That is in `info` as charge and multiplicity; what it says nothing of is not there. Raises
    `UnusableFile` where the file does not hold `number` structures; `what` they are.
    """
    if not name:
        raise UnusableFile(f"no file is named for {what}")
    path = folder / name
    # Absolute, because ASE takes names that begin with 'postgres' or 'mysql' for databases.
    full = str(path.absolute())
    try:
        if not path.is_file():
            raise UnusableFile(f"there is no file {path} (names are relative to the table)")
        kind = filetype(full)
        if kind in _REFUSED:
            raise UnusableFile(f"{path} is of the kind '{kind}', which is not read here; use xyz")
        # Where Gaussian's input has charge and multiplicity, ASE has its parameters.
        more: dict[str, Any] = {"attach_calculator": True} if kind == _GAUSSIAN else {}
        if kind in ("xyz", "extxyz"):
            frames = list(read_xyz(path))
        elif kind in _MOLFILES:
            with open_with_compression(full) as f:
                frames = read_molfile(f.read())
        else:
            frames = list(iread(full, ":", do_not_split_by_at_sign=True, **more))
        told = [_electrons(frame, kind) for frame in frames]
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
    return [
        Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc, info=electrons)
        for frame, electrons in zip(frames, told, strict=True)
    ]


def _electrons(frame: Atoms, kind: str) -> dict[str, Any]:
    """What a file of that kind says of charge and multiplicity.

    In comments in whatever case, but not where they only have the word in it: ASE reads 'the
    charge is 0' as charge=True.
    """
    if kind == _GAUSSIAN:
        parameters = frame.calc.parameters
        return {"charge": parameters["charge"], "multiplicity": parameters["mult"]}
    told = {str(key).lower(): value for key, value in frame.info.items()}
    return {key: told[key] for key in _ELECTRONS if key in told and not isinstance(told[key], bool)}
