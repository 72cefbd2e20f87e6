"""Masses that a file gives to its atoms, as those of deuterium, in atomic mass units.

Without a word of them atoms have ASE's masses: the standard atomic weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from numbers import Real

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

#: Symbols of their own.
_LETTERS = {"D": ("H", 2), "T": ("H", 3)}

#: As in 13C and 2H.
_NUMBERED = re.compile(r"(\d{1,3})([A-Za-z]{1,2})")

#: Names that columns of masses or mass numbers have.
_COLUMNS = re.compile(
    r"((atom(ic)?|nuclear|iso|isotop(e|ic))_?)?mass(es)?|isotopes?|(mass|isotope|nucleon)_?numbers?"
    r"|nucleons|amu",
    re.IGNORECASE,
)

#: Words for isotopes in comments.
_WORDS = re.compile(
    r"(?:deuter(?:ium|at|o)|triti(?:um|at)|isotop(?:olog|omer|e))\w*|\biso\(\d+\)", re.IGNORECASE
)

#: Masses that are closer to the atomic weight than this fraction of it are no label: programs
#: print 12 for carbon's 12.011 and 1.01 for hydrogen's 1.008. No isotope's neighbour is so close.
ROUNDING = 0.0025


def element(symbol: str) -> tuple[str, float | None]:
    """The element and, where the symbol names an isotope (D, T, 13C), its mass."""
    symbol = symbol.capitalize() if symbol.isalpha() else symbol
    if symbol in _LETTERS:
        name, number = _LETTERS[symbol]
    elif numbered := _NUMBERED.fullmatch(symbol):
        name, number = numbered[2].capitalize(), int(numbered[1])
    else:
        return symbol, None
    return name, exact_mass(atomic_numbers[name], number)


@cache
def exact_mass(number: int, mass_number: int) -> float:
    """Of an isotope. Raises `ValueError` where there is none."""
    from rdkit.Chem import GetPeriodicTable

    known = 0 < mass_number < 400  # of more RDKit has none, or fails
    mass = GetPeriodicTable().GetMassForIsotope(int(number), int(mass_number)) if known else 0.0
    if not mass:
        raise ValueError(f"there is no isotope {mass_number} of {chemical_symbols[number]}")
    return float(mass)


@cache
def main_isotope(number: int) -> int:
    """The mass number of an element's most abundant isotope, which Gaussian takes unasked."""
    from rdkit.Chem import GetPeriodicTable

    return int(GetPeriodicTable().GetMostCommonIsotope(int(number)))


def mentioned(comment: str) -> str:
    """The first words in it that speak of isotopes."""
    found = _WORDS.search(comment)
    return found[0] if found else ""


def label(atoms: Atoms, labels: Sequence[float | None]) -> None:
    """Sets the masses of those atoms that have one among the labels, as in Gaussian's `iso=`.

    Whole numbers are mass numbers: 2 is a deuterium of 2.0141. Nothing is set without labels.
    """
    if all(mass is None for mass in labels):
        return
    masses = atomic_masses[atoms.numbers].copy()
    for place, mass in enumerate(labels):
        if mass is not None:
            masses[place] = _mass(atoms, place, mass)
    atoms.set_masses(masses)


def take_columns(atoms: Atoms) -> None:
    """Sets the masses from what the file has in columns, or in lists of its comment line.

    Whole numbers are mass numbers, and masses that are the atomic weight but for rounding are
    the atomic weight. Raises `ValueError` for masses that no atom can have.
    """
    given = {**atoms.info, **atoms.arrays}
    weights = atomic_masses[atoms.numbers]
    for name in [name for name in given if _COLUMNS.fullmatch(str(name))]:
        if _is_of_the_molecule(given[name], weights.sum()):
            continue
        try:
            told = np.asarray(given[name], dtype=float).reshape(len(atoms))
        except (TypeError, ValueError):
            raise ValueError(f"'{name}' is not a number for each atom: {given[name]}") from None
        unsaid = (told == 0) & any(word in name.lower() for word in ("iso", "number", "nucleon"))
        masses = [
            weight if nothing else _mass(atoms, place, mass)
            for place, (weight, nothing, mass) in enumerate(zip(weights, unsaid, told, strict=True))
        ]
        rounded = np.abs(masses - weights) <= ROUNDING * weights
        atoms.set_masses(np.where(rounded, weights, masses))


def _is_of_the_molecule(value: object, weight: float) -> bool:
    """Whether it is no mass of an atom: a word of a comment, to ASE true, or the whole mass."""
    if isinstance(value, bool | np.bool_):
        return True
    whole = isinstance(value, Real) and abs(float(value) - weight) <= ROUNDING * weight
    return bool(whole)


def _mass(atoms: Atoms, place: int, mass: float) -> float:
    if not (np.isfinite(mass) and mass > 0):
        raise ValueError(
            f"the mass of atom {place + 1} ({atoms.symbols[place]}) is {mass:g}; masses are in "
            "atomic mass units, 2.014 for deuterium"
        )
    if float(mass).is_integer():
        return exact_mass(atoms.numbers[place], int(mass))
    return float(mass)
