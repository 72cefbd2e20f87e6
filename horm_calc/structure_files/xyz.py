"""Structures in xyz files, plain and extended, in the dialects that programs and people write."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ase import Atoms
from ase.io import iread
from ase.io.formats import open_with_compression

from horm_calc.structure_files import isotopes
from horm_calc.structure_files.electrons import KEY
from horm_calc.structure_files.elements import element, labels_count
from horm_calc.structure_files.kinds import LONGEST_LINE, check_length
from horm_calc.structure_files.words import said_in

#: Characters. Of the words of longer comments readers make lists for minutes.
_LONGEST_COMMENT = 20_000

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?")
_NO_NUMBERS = ("nan", "inf", "infinity")
_ATOM = re.compile(rf"\s*\S+(?:\s+{_NUMBER.pattern}){{3}}(?:\s.*)?", re.DOTALL)
#: Values that are long lists of numbers, as of a Hessian.
_LIST = re.compile(r"=\s*[\"\[{](?:_JSON )?[\d\s.,+\-eE\[\]]{100,}[\"\]}]")
_PROPERTIES = re.compile(r"(?:^|\s)Properties\s*=\s*[\"']?([^\s\"']+)")
_PLAIN = "species:S:1:pos:R:3"
#: What comments say of positions that are not in Å, as they are in xyz files.
_OTHER_UNIT = re.compile(
    r"""\b(?:in|units?)[\s=:("']*+(?:bohrs?|a0)\b(?!\s*[/^*])|^\W*+bohrs?\W*$
    |\b(?:coord\w*|positions?|units?)[\s=:("']*+(?:are\s++)?(?:in\s++)?["']?
    (?:bohrs?|au|a\.u\.|atomic\ units|nm|pm|nanomet\w+)(?![\w/])""",
    re.VERBOSE | re.IGNORECASE,
)

#: A line with its number.
Line = tuple[int, str]


class Block(NamedTuple):
    """The lines of one structure; cell: those with its vectors, as ADF writes them."""

    start: int
    comment: str
    atoms: list[Line]
    cell: list[Line]


class Columns(NamedTuple):
    """How many there are, and where; real: those of real numbers."""

    width: int
    pos: range
    species: int | None
    real: list[int]


def read_xyz(path: Path) -> Iterator[Atoms]:
    """The structures of an xyz file, with what ASE makes of comments and named columns.

    `info[KEY]` is what the comment says of charge and multiplicity.

    Elements are symbols in any case, atomic numbers, labels that count the atoms (`C1`), or
    isotopes (`D`, `13C`), which have their masses. Fortran's exponents, blank lines between
    structures, missing comments and comments of any encoding are read. Raises `ValueError`, with
    the line, for what has no meaning or more than one.
    """
    full = str(path.absolute())
    with open_with_compression(full, "rb") as file:
        utf16 = file.read(2) in (b"\xff\xfe", b"\xfe\xff")  # PowerShell writes it
        file.seek(0)
        encoding = "utf-16" if utf16 else "utf-8"
        with io.TextIOWrapper(file, encoding, errors="surrogateescape") as text:
            for block in _blocks(_lines(text)):
                yield _structure(block)


def _lines(text: io.TextIOWrapper) -> Iterator[Line]:
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        check_length(line, number)
        if not line.isascii():
            line = _decoded(line.encode("utf-8", "surrogateescape"))
        yield number, line.removeprefix("\ufeff")  # a mark at the beginning of a file


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _blocks(lines: Iterator[Line]) -> Iterator[Block]:
    start = 0
    line = next(lines, None)
    while line is not None:
        if not line[1].strip():
            line = next(lines, None)
            continue
        count = _count(line, start)
        start = line[0]
        found = list(islice(lines, count + 1))
        if _without_comment(found, count):
            found.insert(0, (start, ""))
        if len(found) <= count:
            raise ValueError(
                f"line {start} announces {count} atoms but the file ends at line "
                f"{[line, *found][-1][0]}; is it cut off?"
            )
        line = found.pop() if len(found) > count + 1 else next(lines, None)
        cell = []
        while line is not None and line[1].lstrip().startswith("VEC"):
            cell.append(line)
            line = next(lines, None)
        yield Block(start, found[0][1].strip(), found[1:], cell)


def _count(line: Line, above: int) -> int:
    number, text = line
    if not re.fullmatch(r"\s*0*[1-9]\d{0,17}\s*", text):
        doubt = f"; is the number in line {above} right?" if above else ", alone, above a comment"
        raise ValueError(f"line {number} is {_short(text)}, not the number of atoms{doubt}")
    return int(text)


def _without_comment(found: list[Line], count: int) -> bool:
    """Whether the atoms begin already where the comment belongs."""
    are_atoms = [bool(_ATOM.fullmatch(text)) for _, text in found]
    return len(found) >= count and all(are_atoms[:count]) and not any(are_atoms[count:])


def _structure(block: Block) -> Atoms:
    comment = _LIST.sub("=", block.comment)
    if len(comment) > _LONGEST_COMMENT:
        raise ValueError(
            f"line {block.start + 1} is a comment of more than {_LONGEST_COMMENT} characters, "
            "lists of numbers aside; shorten it"
        )
    if unit := _OTHER_UNIT.search(comment):
        raise ValueError(
            f"line {block.start + 1} says '{unit[0].strip()}'; xyz files are read in Å: convert "
            "the positions, or leave these words out if they are in Å"
        )
    named = _PROPERTIES.search(comment)
    columns = _columns(named[1] if named else _PLAIN, block.start + 1)
    rows = [_words(line, columns, named=bool(named)) for line in block.atoms]
    masses = [] if columns.species is None else _name_elements(block, rows, columns.species)
    lines = [str(len(rows)), block.comment, *map(" ".join, rows)]
    text = "".join(f"{line}\n" for line in lines) + "".join(line for _, line in block.cell)
    try:
        [atoms] = iread(io.StringIO(text), format="extxyz")
    except Exception as error:  # ASE's reader raises many kinds
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the structure that begins in line {block.start}: {cause}") from None
    isotopes.take_columns(atoms)
    if any(masses) and atoms.has("masses"):
        raise ValueError(
            f"the structure that begins in line {block.start} has isotopes among its elements and "
            "masses beside them; leave one of them out"
        )
    isotopes.label(atoms, masses)
    if not atoms.has("masses") and (words := isotopes.mentioned(comment)):
        raise ValueError(
            f"line {block.start + 1} says '{words}', but no atom is an isotope; write D or 13C for "
            "an element that is one, or leave these words out"
        )
    # ASE writes the words of a comment that it has read as keys that are true: "charge=T 0=T".
    atoms.info[KEY] = said_in(re.sub(r"(?<=\S)=T(?!\S)", "", comment))
    return atoms


def _columns(properties: str, number: int) -> Columns:
    fields = properties.split(":")
    places: dict[str, range] = {}
    real: list[int] = []
    width = 0
    for name, kind, count in zip(fields[::3], fields[1::3], fields[2::3], strict=False):
        if count.isdecimal():
            places[name] = range(width, width + int(count))
            width += int(count)
            real += places[name] if kind == "R" else []
    elements = {"species", "Z"} & places.keys()
    if len(places) * 3 != len(fields) or "pos" not in places or not elements:
        raise ValueError(
            f"line {number}: Properties is {_short(properties)}; it should name all columns with "
            f"their kinds and numbers, among them these: {_PLAIN}"
        )
    species = places["species"].start if "species" in places else None
    return Columns(width, places["pos"], species, real)


def _words(line: Line, columns: Columns, *, named: bool) -> list[str]:
    """The columns of one atom, with exponents that Python understands."""
    number, text = line
    words = text.split()
    width = columns.width
    coordinates = words[columns.pos.start : columns.pos.stop]
    if any(word.lower().strip("+-") in _NO_NUMBERS for word in coordinates):
        raise ValueError(f"line {number} is {_short(text)}, with coordinates that are not numbers")
    if len(words) < width or not all(map(_NUMBER.fullmatch, coordinates)):
        wanted = f"the {width} columns that Properties names" if named else "an element, x, y and z"
        raise ValueError(
            f"line {number} is {_short(text)}, not {wanted}, with blanks between them and decimal "
            "points"
        )
    more = words[width:]
    if more and (named or len(more) % 3 or not all(map(_NUMBER.fullmatch, more))):
        raise ValueError(
            f"line {number} is {_short(text)}: nothing says what {more[0]!r} in column {width + 1} "
            f"is. Leave it out, or name it in the comment: Properties={_PLAIN}:masses:R:1"
        )
    for place in columns.real:
        if "D" in words[place].upper() and _NUMBER.fullmatch(words[place]):
            words[place] = re.sub("[Dd]", "E", words[place])
    return words[:width]


def _name_elements(block: Block, rows: list[list[str]], place: int) -> list[float | None]:
    """Puts symbols where the elements are; returns the masses of isotopes."""
    labelled = labels_count([words[place] for words in rows])
    masses = []
    for (number, _), words in zip(block.atoms, rows, strict=True):
        try:
            words[place], mass = element(words[place], labelled=labelled)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        masses.append(mass)
    return masses


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
