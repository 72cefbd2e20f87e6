"""Read the reactions of a run: a CSV, a two-frame xyz file, or a folder of these.

What is wrong with the whole table stops the run before it begins. What is wrong with one
row costs that row only: it becomes an `Unreadable`, and a *failed* line of the results.
"""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from horm_calc.structure_files.reading import UnusableFile, read_frames
from workflows.errors import InputError
from workflows.records import Reaction

_COLUMNS = ("id", "reaction", "reactant", "product", "charge", "multiplicity")

#: Columns that people keep for themselves.
_NOTES = ("comment", "note", "notes")

#: Files of every run, beside the folders of its reactions.
_TAKEN = ("results.csv", "results.db", "run.json")

#: An id becomes a folder name.
_ID = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}")


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
    rows = _read_table(source)
    return [_read_row(row, line, source) for line, row in rows]


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.xyz"), key=lambda file: _natural(file.stem))
    if not files:
        raise InputError(f"{folder} holds no .xyz file; each needs two frames, reactant, product")
    return files


def _read_files(files: list[Path]) -> list[Reaction | Unreadable]:
    for file in files:
        _check_id(file.stem, str(file))
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


def _read_table(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of the CSV, checked as a table."""
    try:
        # utf-8-sig: spreadsheets write a byte-order mark.
        with source.open(newline="", encoding="utf-8-sig") as f:
            reader = csv.reader(f, skipinitialspace=True, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {source}") from None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{source} is not a CSV in UTF-8, save it as one: {error}") from None
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise InputError(f"{source} is empty; its first line names the columns, 'id,reaction'")
    (_, header), *body = lines
    _check_header(header, source)
    if not body:
        raise InputError(f"{source} has a header but no reactions below it")
    rows = []
    seen: dict[str, int] = {}
    for number, cells in body:
        where = f"{source}, line {number}"
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} values for {len(header)} columns")
        row = dict(zip(header, cells, strict=True))
        _check_id(row["id"], where)
        if row["id"].lower() in seen:  # some file systems do not tell a from A
            raise InputError(
                f"{where}: the id '{row['id']}' is taken by line {seen[row['id'].lower()]}"
            )
        seen[row["id"].lower()] = number
        rows.append((number, row))
    return rows


def _check_header(header: list[str], source: Path) -> None:
    where = f"{source}, line 1"
    for name in header:
        if name not in _COLUMNS and name.lower() not in _NOTES and not name.startswith("#"):
            for other, word in ((";", "semicolons"), ("\t", "tabs")):
                if other in name:
                    raise InputError(f"{where}: columns are separated by commas, not {word}")
            near = difflib.get_close_matches(name.lower(), _COLUMNS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(_COLUMNS)}"
            raise InputError(f"{where}: unknown column '{name}'; {hint}")
    if len(set(header)) != len(header):
        raise InputError(f"{where}: a column stands there twice")
    if "id" not in header:
        raise InputError(f"{where}: no column 'id'; the first line names the columns")
    one, two = "reaction" in header, {"reactant", "product"} & set(header)
    if one and two:
        raise InputError(f"{where}: either a column 'reaction', or 'reactant' and 'product'")
    if not one and len(two) < 2:
        raise InputError(f"{where}: needs a column 'reaction', or both 'reactant' and 'product'")


def _check_id(identifier: str, where: str) -> None:
    if not _ID.fullmatch(identifier):
        raise InputError(
            f"{where}: the id {identifier!r} cannot be a folder name; use up to 100 letters, "
            "digits and . _ + -, not beginning with a dot"
        )
    if identifier.lower() in _TAKEN:
        raise InputError(f"{where}: the id '{identifier}' is the name of a file of every run")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which rxn9 stands before rxn10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
