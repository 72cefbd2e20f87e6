"""Elements by the names that files give to atoms: symbols, atomic numbers, labels, isotopes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ase.data import chemical_symbols

from horm_calc.structure_files import isotopes

_NAME = re.compile(r"(?P<isotope>\d{0,3})(?P<symbol>[A-Za-z]{1,2})(?P<label>\d{0,6})")

_ELEMENTS = set(chemical_symbols[1:])
_SYMBOLS = _ELEMENTS | {"D", "T"}

#: Names of atoms in proteins (alpha carbon, ...) that in upper case are elements as well.
_OF_PROTEINS = {"CA", "CD", "CE", "HE", "HG", "ND", "NE"}


def element(name: str, *, labelled: bool) -> tuple[str, float | None]:
    """The symbol, and the mass (atomic mass units) of an isotope (`D`, `13C`).

    labelled: whether numbers behind symbols are labels, see `labels_count`. Raises `ValueError`
    for what is no element, or may be several.
    """
    if re.fullmatch(r"\d+(\.0*)?", name):
        number = int(float(name))
        if not 0 < number < len(chemical_symbols):
            raise ValueError(f"'{name}' is the atomic number of no element")
        return chemical_symbols[number], None
    found = _NAME.fullmatch(name)
    symbol = found["symbol"] if found else ""
    if not found or symbol.capitalize() not in (_ELEMENTS if found["isotope"] else _SYMBOLS):
        raise ValueError(f"'{name}' is no element")
    if symbol in _OF_PROTEINS:
        raise ValueError(
            f"'{name}' may be {symbol.capitalize()}, or {symbol[0]} by its name in a protein; "
            f"write {symbol.capitalize()} or {symbol[0]}"
        )
    if found["label"] and not labelled:
        raise ValueError(
            f"'{name}' may be an isotope, or a label that does not count the atoms; write "
            f"{symbol}, or {found['label']}{symbol} for an isotope"
        )
    return isotopes.element(found["isotope"] + symbol)


def labels_count(names: Sequence[str]) -> bool:
    """Whether each name ends in a number, and these count the atoms, all or those of an element."""
    found = [_NAME.fullmatch(name) for name in names]
    seen: Counter[str] = Counter()
    starts = set()
    for index, match in enumerate(found):
        if not match or not match["label"]:
            return False
        symbol = match["symbol"].capitalize()
        starts.add((int(match["label"]) - index, int(match["label"]) - seen[symbol]))
        seen[symbol] += 1
    return any({start[way] for start in starts} in ({0}, {1}) for way in (0, 1))
