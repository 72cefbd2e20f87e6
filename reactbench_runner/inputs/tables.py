"""Tables of reactions: CSV as people, spreadsheets and pandas write it."""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from pathlib import Path

from workflows.errors import InputError

COLUMNS = ("id", "reaction", "reactant", "product", "charge", "multiplicity")
_NUMBERS, _FILES = ("charge", "multiplicity"), ("reaction", "reactant", "product")

#: Columns that people keep for themselves, as all whose names begin with #.
_NOTES = ("comment", "comments", "note", "notes")

#: Files of every run, beside the folders of its reactions, and what the names of those begin with
#: that SQLite has beside its database.
_TAKEN = ("results.csv", "results.db", "run.json")

#: An id becomes a folder name.
_ID = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}")

#: What pandas, R and people write where there is no value, in lower case.
_MISSING = {"nan", "none", "na", "n/a", "<na>", "null"}

#: What spreadsheets call themselves in their first bytes.
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")

#: Bytes. A million rows are shorter.
_LARGEST = 100_000_000

#: The number of its line, and the cells of a row.
Line = tuple[int, list[str]]


def read_table(source: Path) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV, by `COLUMNS`; what is missing is "".

    Commas, semicolons or tabs separate, by the first line. Charge and multiplicity are written
    as in '-1', however the table has them. Raises `InputError` for what makes it unusable.
    """
    (first, names), *body = _lines(source)
    header = {place: _plain_name(name) for place, name in enumerate(names) if not _unnamed(name)}
    _check_header(list(header.values()), f"{source}, line {first}")
    if not body:
        raise InputError(f"{source} has a header but no reactions below it")
    for line, cells in body:
        while len(cells) > len(names) and not cells[-1]:  # as spreadsheets leave them
            cells.pop()
        if len(cells) != len(names):
            raise InputError(f"{source}, line {line}: {len(cells)} values for {len(names)} columns")
    for place in range(len(names)):
        if place not in header:
            _check_unnamed(place, body, source)
    rows = [
        (line, {header[i]: _value(header[i], cells[i], source.parent) for i in header})
        for line, cells in body
    ]
    _check_ids(rows, source)
    return rows


def _check_ids(rows: list[tuple[int, dict[str, str]]], source: Path) -> None:
    seen: dict[str, int] = {}
    for line, row in rows:
        where = f"{source}, line {line}"
        check_id(row["id"], where)
        if row["id"].lower() in seen:  # some file systems do not tell a from A
            taken = seen[row["id"].lower()]
            raise InputError(f"{where}: the id '{row['id']}' is taken by line {taken}")
        seen[row["id"].lower()] = line


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


def _lines(source: Path) -> list[Line]:
    text, above = _text(source), 0
    separator = _separator(text)
    if text[:4].lower() == "sep=":  # Excel's own line
        text, above = text.partition("\n")[2], 1
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    lines = []
    try:
        for cells in reader:
            lines.append((reader.line_num + above, [cell.strip() for cell in cells]))
    except csv.Error as error:
        where = f"{source}, line {reader.line_num + above}"
        raise InputError(f"{where}: not a CSV in UTF-8, save it as one: {error}") from None
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if not lines:
        raise InputError(f"{source} is empty; its first line names the columns, 'id,reaction'")
    return lines


def _text(source: Path) -> str:
    try:
        with source.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise InputError(f"there is no file or folder {source}") from None
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise InputError(f"{source} has more than {_LARGEST} bytes; is it a table of reactions?")
    if data.startswith(_WORKBOOKS):
        raise InputError(f"{source} is a workbook of a spreadsheet; save it as a CSV")
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's 'Unicode text'
    try:
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{source} is not a CSV in UTF-8, save it as one: {error} in line {line}"
        ) from None


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


def _check_unnamed(place: int, body: list[Line], source: Path) -> None:
    """Raise `InputError` where a column without a name is neither empty nor pandas' index."""
    values = [cells[place] for _, cells in body]
    is_index = place == 0 and all(map(str.isdecimal, values)) and len({*values}) == len(values)
    if not is_index and any(values):
        line, value = next((line, cells[place]) for line, cells in body if cells[place])
        raise InputError(
            f"{source}, line {line}: {value!r} is in column {place + 1}, which has no name; give "
            "it one, such as '#name' if it is a note of your own"
        )


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
    one, two = "reaction" in header, {"reactant", "product"} & set(header)
    if one and two:
        raise InputError(f"{where}: either a column 'reaction', or 'reactant' and 'product'")
    if not one and len(two) < 2:
        raise InputError(f"{where}: needs a column 'reaction', or both 'reactant' and 'product'")


def _value(name: str, cell: str, folder: Path) -> str:
    if name in _NUMBERS:
        return "" if cell.lower() in _MISSING else _whole_number(cell)
    missing = name in _FILES and cell.lower() in _MISSING and not (folder / cell).exists()
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
