"""Tables of reactions: CSV as people, spreadsheets and pandas write it."""

from __future__ import annotations

import csv
import difflib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from workflows.errors import InputError

COLUMNS = (
    *("id", "reaction", "reactant", "product", "react", "smiles", "guess"),
    *("charge", "multiplicity", "solvent"),
)
_NUMBERS, FILES = ("charge", "multiplicity"), ("reaction", "reactant", "product", "guess")

#: Columns that people keep for themselves, as all whose names begin with #.
_NOTES = ("comment", "comments", "note", "notes")

#: Files of every run, beside the folders of its reactions, and what the names of those begin with
#: that SQLite has beside its database.
_TAKEN = (
    *("results.csv", "results.db", "run.json", "progress.json"),
    *("results.parquet", "structures.parquet"),
)

#: An id becomes a folder name.
_ID = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}")

#: What pandas, R and people write where there is no value, in lower case.
_MISSING = {"nan", "none", "na", "n/a", "<na>", "null"}

#: What spreadsheets call themselves in their first bytes.
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

#: Bytes. A million rows are shorter.
_LARGEST = 1_000_000_000

#: Characters among which the first line is looked for.
_BEGINNING = 100_000

#: The number of its line, and the cells of a row.
Line = tuple[int, list[str]]


def read_table(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV, by `COLUMNS`; what is missing is "".

    Commas, semicolons or tabs separate, by the first line. Charge and multiplicity are written
    as in '-1', however the table has them. Raises `InputError` for what makes it unusable.
    """
    return list(rows_of(source))


def rows_of(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """As `read_table`, one row after the other; all is checked when all have been taken."""
    lines = _lines(source)
    first, names = next(lines, (0, []))
    if not names:
        raise InputError(f"{source} is empty; its first line names the columns, 'id,reaction'")
    header = {place: _plain_name(name) for place, name in enumerate(names) if not _unnamed(name)}
    _check_header(list(header.values()), f"{source}, line {first}")
    unnamed = [_Unnamed(place) for place in range(len(names)) if place not in header]
    seen: dict[str, int] = {}
    for line, cells in lines:
        while len(cells) > len(names) and not cells[-1]:  # as spreadsheets leave them
            cells.pop()
        if len(cells) != len(names):
            quoted = " (a cell with commas stands in quotation marks)" * (
                "react" in header.values()
            )
            raise InputError(
                f"{source}, line {line}: {len(cells)} values for {len(names)} columns{quoted}"
            )
        for column in unnamed:
            column.take(line, cells[column.place])
        row = {header[i]: _value(header[i], cells[i], source.parent) for i in header}
        _check_new(row["id"], line, seen, source)
        yield line, row
    if not seen:
        raise InputError(f"{source} has a header but no reactions below it")
    for column in unnamed:
        column.check(source)


def _check_new(identifier: str, line: int, seen: dict[str, int], source: Path) -> None:
    """Raise `InputError` for an id that cannot be one, or is taken."""
    where = f"{source}, line {line}"
    check_id(identifier, where)
    lower = identifier.lower()  # some file systems do not tell a from A
    if lower in seen:
        raise InputError(f"{where}: the id '{identifier}' is taken by line {seen[lower]}")
    seen[lower] = line


class _Unnamed:
    """A column without a name: empty, or the index of pandas in the first place."""

    def __init__(self, place: int) -> None:
        self.place = place
        self._found: tuple[int, str] | None = None
        self._numbers: set[str] | None = set() if place == 0 else None

    def take(self, line: int, value: str) -> None:
        """The next value."""
        if value and self._found is None:
            self._found = line, value
        if self._numbers is not None:
            if value.isdecimal() and value not in self._numbers:
                self._numbers.add(value)
            else:
                self._numbers = None

    def check(self, source: Path) -> None:
        """Raise `InputError` where it is neither."""
        if self._numbers is None and self._found is not None:
            line, value = self._found
            raise InputError(
                f"{source}, line {line}: {value!r} is in column {self.place + 1}, which has no "
                "name; give it one, such as '#name' if it is a note of your own"
            )


def check_id(identifier: str, where: str) -> None:
    """Raise `InputError` for what cannot be the name of a reaction's folder."""
    if not _ID.fullmatch(identifier):
        raise InputError(
            f"{where}: the id {identifier!r} cannot be a folder name; use up to 100 letters, "
            "digits and . _ + -, not beginning with a dot"
        )
    if identifier.lower().startswith(_TAKEN):
        raise InputError(
            f"{where}: the id '{identifier}' is, or begins with, the name of a file of every run"
        )


def _lines(source: Path) -> Iterator[Line]:
    """Those that are not empty, read as they are asked for."""
    try:
        with _opened(source) as text:
            separator = _separator(text.read(_BEGINNING))
            text.seek(0)
            above = 0
            if text.read(4).lower() == "sep=":  # Excel's own line
                text.readline()
                above = 1
            else:
                text.seek(0)
            yield from _stripped(text, separator, above, source)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{source} is not a CSV in UTF-8, save it as one: {_where_not_text(source) or error}"
        ) from None


def _stripped(text: TextIO, separator: str, above: int, source: Path) -> Iterator[Line]:
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if any(stripped := [cell.strip() for cell in cells]):
                yield reader.line_num + above, stripped
    except csv.Error as error:
        where = f"{source}, line {reader.line_num + above}"
        raise InputError(f"{where}: not a CSV in UTF-8, save it as one: {error}") from None


def _opened(source: Path) -> TextIO:
    """The text of a table, from its beginning."""
    try:
        with source.open("rb") as file:
            beginning = file.read(4)
            size = os.fstat(file.fileno()).st_size
            if not file.seekable():
                raise InputError(f"{source} is a pipe, which cannot be read twice; save the table")
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {source}") from None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from None
    if size > _LARGEST:
        raise InputError(f"{source} has more than {_LARGEST} bytes; is it a table of reactions?")
    if beginning.startswith(_WORKBOOKS):
        raise InputError(f"{source} is a workbook of a spreadsheet; save it as a CSV")
    utf16 = beginning.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's 'Unicode text'
    return source.open(encoding="utf-16" if utf16 else "utf-8-sig", newline="")


def _where_not_text(source: Path) -> str:
    """What cannot be read, and in which line."""
    with source.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"{error} in line {number}"
    return ""


def _separator(text: str) -> str:
    """That by which the first line has a column 'id'."""
    if said := re.match(r"(?i)sep=([^\r\n])", text):
        return said[1]
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    for separator in (",", ";", "\t"):
        if "id" in (_plain_name(name.strip(' "')) for name in first.split(separator)):
            return separator
    return ","


def _plain_name(name: str) -> str:
    """In lower case where that is a known column."""
    return name.lower() if name.lower() in (*COLUMNS, *_NOTES) else name


def _unnamed(name: str) -> bool:
    return not name or re.fullmatch(r"Unnamed: \d+", name) is not None  # as pandas calls them


def _check_header(header: list[str], where: str) -> None:
    for name in header:
        own = name.startswith("#")
        plain = name.lstrip("# ").lower()
        if own and plain in COLUMNS:
            raise InputError(
                f"{where}: a column '{name}' would not be read; call it '{plain}', or otherwise"
            )
        if not own and name not in (*COLUMNS, *_NOTES):
            near = difflib.get_close_matches(plain, COLUMNS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(COLUMNS)}."
            between = " Separate columns by commas, semicolons or tabs." * (len(header) == 1)
            raise InputError(
                f"{where}: unknown column '{name}'; {hint} A column of your own notes is "
                f"'#{name}'.{between}"
            )
    if len(set(header)) != len(header):
        raise InputError(f"{where}: two columns have the same name")
    if "id" not in header:
        raise InputError(f"{where}: no column 'id'; the first line names the columns")
    one = [name for name in ("reaction", "smiles") if name in header]
    two = {"reactant", "product", "react"} & set(header)
    if len(one) + bool(two) > 1:
        raise InputError(
            f"{where}: either a column 'reaction', or 'smiles', or 'reactant' and 'product', or "
            "'reactant' and 'react'"
        )
    if "react" in two and (two != {"reactant", "react"} or "guess" in header):
        raise InputError(
            f"{where}: 'react' says what becomes of a 'reactant', which needs a column; there is "
            "no column 'product' or 'guess' beside it"
        )
    if not one and len(two) < 2 and (two or "guess" not in header):
        raise InputError(
            f"{where}: needs a column 'reaction' or 'smiles', or both 'reactant' and 'product', or "
            "both 'reactant' and 'react', or 'guess'"
        )


def _value(name: str, cell: str, folder: Path) -> str:
    if name in _NUMBERS:
        return "" if cell.lower() in _MISSING else _whole_number(cell)
    if name == "solvent":  # 'none' is the gas phase, and not what was left out
        return "" if cell.lower() in _MISSING - {"none"} else cell
    missing = name in FILES and cell.lower() in _MISSING and not (folder / cell).exists()
    return "" if missing else cell


def _whole_number(cell: str) -> str:
    """As in '-1' where the cell is one: '-1.0', '−1', '1-', '¹⁻'; else the cell itself."""
    text = unicodedata.normalize("NFKC", cell).lstrip("'")  # Excel's mark of a text
    text = re.sub("[\N{MINUS SIGN}\N{EN DASH}\N{HYPHEN}\N{NON-BREAKING HYPHEN}]", "-", text)
    behind = re.fullmatch(r"(\d{1,9})([+-])", text)  # as chemists write
    if behind:
        text = behind[2] + behind[1]
    if not re.fullmatch(r"[+-]?\d{1,9}([.,]\d*)?(e[+-]?\d{1,2})?", text, re.IGNORECASE):
        return cell
    number = float(text.replace(",", "."))
    return str(int(number)) if number.is_integer() and abs(number) < 1e9 else cell
