"""Read the reactions of a run: a CSV, a two-frame xyz file, or a folder of these.

What is wrong with the whole table stops the run before it begins. What is wrong with one
row costs that row only: it becomes an `Unreadable`, and a *failed* line of the results.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from horm_calc.structure_files.reading import UnusableFile, read_frames
from reactbench_runner.tables import check_id, read_table
from workflows.errors import InputError
from workflows.records import Reaction


@dataclass(frozen=True)
class Unreadable:
    """A row from which no reaction could be made, and why: file, line and remedy."""

    id: str
    reason: str


class _BadRow(Exception):
    """What is wrong with one row."""


def read_reactions(source: Path) -> list[Reaction | Unreadable]:
    """All reactions of a CSV, an xyz file or a folder, in order.

    The CSV has the columns `id` and either `reaction` or `reactant` and `product`, and may
    have `charge` and `multiplicity`; file names are relative to the CSV. An .xyz file with two
    frames is a reaction, and so is every such file in a folder; a neutral singlet, unless the
    comments of its frames say `charge=-1` or `multiplicity=2`. Raises
    `InputError` for what makes the whole input unusable.
    """
    if source.is_dir():
        return _read_files(_files(source))
    if source.suffix.lower() == ".xyz" and source.is_file():
        return _read_files([source])
    rows = read_table(source)
    return [_read_row(row, line, source) for line, row in rows]


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.xyz"), key=lambda file: _natural(file.stem))
    if not files:
        raise InputError(f"{folder} holds no .xyz file; each needs two frames, reactant, product")
    return files


def _read_files(files: list[Path]) -> list[Reaction | Unreadable]:
    for file in files:
        check_id(file.stem, str(file))
    return [_make(file.stem, {"reaction": file.name}, file.parent, str(file)) for file in files]


def _read_row(row: dict[str, str], line: int, source: Path) -> Reaction | Unreadable:
    return _make(row["id"], row, source.parent, f"{source}, line {line}")


def _make(identifier: str, row: dict[str, str], folder: Path, where: str) -> Reaction | Unreadable:
    try:
        if "reaction" in row:
            frames = read_frames(folder, row["reaction"], 2, "reactant and product")
        else:
            frames = [
                *read_frames(folder, row["reactant"], 1, "the reactant"),
                *read_frames(folder, row["product"], 1, "the product"),
            ]
        charge = _whole_number(row, frames, "charge", 0)
        multiplicity = _whole_number(row, frames, "multiplicity", 1)
        if multiplicity < 1:
            raise _BadRow(f"'multiplicity' is {multiplicity}; it is 1 for a singlet")
    except (_BadRow, UnusableFile) as error:
        return Unreadable(identifier, f"{where}: {error}")
    return Reaction(identifier, frames[0], frames[1], charge, multiplicity)


def _whole_number(row: dict[str, str], frames: list[Atoms], column: str, default: int) -> int:
    """Of the table or, as `column=1`, of the comments of the frames; all must agree."""
    told = [row.get(column, ""), *(str(atoms.info.pop(column, "")) for atoms in frames)]
    texts = list(dict.fromkeys(text for text in told if text))
    for text in texts:
        if not re.fullmatch(r"[+-]?\d{1,9}", text):
            raise _BadRow(f"'{column}' is {text!r}; it must be a whole number")
    numbers = {int(text) for text in texts}
    if len(numbers) > 1:
        raise _BadRow(f"'{column}' is {' and '.join(texts)} in the table and its files")
    return numbers.pop() if numbers else default


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which rxn9 stands before rxn10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
