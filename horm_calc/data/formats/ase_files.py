"""Frames in the files of ASE: extended xyz, trajectories and databases.

Energies (eV) and forces (eV/Å) are those of the calculator that ASE makes of the file. Other
labels stand in `info` (in a database: among its key-value pairs and data): `reaction`,
`level_of_theory`, `hessian` (3n, 3n), eV/Å², and `vectors` and `products` (k, n, 3).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import iread
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict, write_extxyz

from horm_calc.data.frames import DataError, Frame, Frames, sound
from horm_calc.input_checks import charged_or_open
from horm_calc.progress import progress
from horm_calc.structure_files.reading import read_database
from horm_calc.structure_files.xyz import read_xyz

# Named, not guessed from the content: ASE knows formats that execute what they read.
_FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".traj": "traj", ".db": "db"}
_LEVEL = "level_of_theory"


class Listed:
    """Frames in memory. See `frames.Frames`."""

    def __init__(self, frames: Sequence[Frame], level_of_theory: str = "") -> None:
        self._frames = frames
        self.sizes = np.array([len(frame.numbers) for frame in frames], dtype=int)
        self.has_second_derivatives = np.array(
            [frame.has_second_derivatives for frame in frames], dtype=bool
        )
        self.reactions = [frame.reaction for frame in frames]
        self.level_of_theory = level_of_theory

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[index]


def read_ase(path: Path, level_of_theory: str = "") -> Frames:
    """All frames of a file, by its name extended xyz (.xyz, .extxyz), .traj or .db.

    A frame's reaction is the file's name where it says none, and its level of theory the given
    one, "" if none is known. Raises `DataError` for frames without energy or forces, of periodic
    systems, of charged or open-shell molecules or of several levels of theory, and for files that
    ASE cannot read.
    """
    if path.suffix not in _FORMATS:
        raise DataError(path, f"not one of {', '.join(_FORMATS)}, .h5, .hdf5, .lmdb")
    frames: list[Frame] = []
    levels: set[str] = set()
    try:
        for atoms in progress(_images(path), f"Reading {path.name}"):
            levels.add(str(atoms.info.get(_LEVEL, "")) or level_of_theory)
            frames.append(_frame(path, len(frames), atoms))
    except DataError:
        raise
    except Exception as error:  # ASE's readers raise all kinds, by the place of the damage
        cause = str(error) or type(error).__name__
        raise DataError(path, f"ASE cannot read frame {len(frames)} ({cause})") from None
    if not frames:
        raise DataError(path, "holds no frames")
    if len(levels - {""}) > 1:
        remedy = "Energies of different methods do not compare: give each a file of its own."
        raise DataError(path, f"labels of {' and '.join(sorted(levels - {''}))} together", remedy)
    if len(levels) > 1:
        problem = f"some frames are of {max(levels)}, others do not say how they were labelled"
        raise DataError(path, problem, "If it is the same, name it in each: level_of_theory=NAME.")
    return Listed(frames, levels.pop())


def _images(path: Path) -> Iterator[Atoms]:
    kind = _FORMATS[path.suffix]
    if kind == "db":
        return read_database(path, kind)
    return read_xyz(path) if kind == "extxyz" else iread(path, ":", format=kind)


def _frame(path: Path, index: int, atoms: Atoms) -> Frame:
    # Of the calculator's results: the methods of Atoms set forces of fixed atoms to zero.
    results = atoms.calc.results if atoms.calc is not None else {}
    atom_count = len(atoms)
    if atoms.pbc.any():
        raise DataError(path, f"frame {index} is periodic, not a molecule")
    if told := charged_or_open(atoms):
        raise DataError(path, f"frame {index}: {told}", "Leave it out: networks know no such.")

    def read(name: str, found: Any, *shape: int) -> np.ndarray:
        try:
            numbers = np.asarray(found, dtype=float).reshape(shape)
        except (TypeError, ValueError):
            problem = f"frame {index}: {name} is not {' × '.join(map(str, shape))} numbers"
            raise DataError(path, problem) from None
        if not sound(numbers):
            raise DataError(
                path, f"frame {index}: {name} holds numbers that are not finite, or beyond 1e18"
            )
        return numbers

    for name in ("energy", "forces"):
        if name not in results:
            remedy = "Name them energy (eV) and forces (eV/Å), as ASE does."
            raise DataError(path, f"frame {index} has no {name}", remedy)
    if not atom_count or (atoms.numbers < 1).any():
        raise DataError(path, f"frame {index} has no atoms, or unknown ones")
    hessian = atoms.info.get("hessian", atoms.arrays.get("hessian"))
    products = {
        name: read(name, atoms.info[name], -1, atom_count, 3)
        for name in ("vectors", "products")
        if name in atoms.info
    }
    if len({value.shape for value in products.values()}) != bool(products) or len(products) == 1:
        raise DataError(path, f"frame {index}: vectors and products do not belong together")
    return Frame(
        atoms.numbers.copy(),
        read("positions", atoms.positions, atom_count, 3),
        float(read("energy", results["energy"], 1)[0]),
        read("forces", results["forces"], atom_count, 3),
        hessian=None if hessian is None else read("hessian", hessian, *[3 * atom_count] * 2),
        reaction=str(atoms.info.get("reaction", path.stem)),
        **products,
    )


def write_xyz(path: Path, frames: Iterable[Frame], level_of_theory: str) -> None:
    """Writes frames as extended xyz into a new file, in which `read_ase` finds all labels.

    Numbers have eight digits behind the point. Raises `DataError` where the file exists.
    """
    if path.exists():
        raise DataError(path, "exists already", "Move it away or choose another name.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for frame in frames:
                write_extxyz(file, [_atoms(frame, level_of_theory)])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _atoms(frame: Frame, level_of_theory: str) -> Atoms:
    atoms = Atoms(frame.numbers, frame.positions)
    atoms.calc = SinglePointCalculator(atoms, energy=frame.energy, forces=frame.forces)
    texts = {"reaction": frame.reaction, _LEVEL: level_of_theory}
    atoms.info |= {key: _text(text) for key, text in texts.items() if text}
    for key in ("hessian", "vectors", "products"):
        numbers = getattr(frame, key)
        if numbers is not None:
            atoms.info[key] = np.asarray(numbers, dtype=float).round(8).tolist()
    return atoms


def _text(text: str) -> str:
    """The text in a form that is read as it is.

    ASE takes 007 for a number and T for true, and drops the backslash of a SMILES.
    """
    quoted = f"_JSON {json.dumps(text, ensure_ascii=False)}"
    for form in (text, text.replace("\\", "\\\\"), quoted, quoted.replace("\\", "\\\\")):
        read = key_val_str_to_dict(key_val_dict_to_str({"text": form})).get("text")
        if isinstance(read, str) and read == text:
            return form
    return text
