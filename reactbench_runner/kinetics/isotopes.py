"""Isotopes that are put in the place of atoms: '3:D'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from horm_calc.chemistry.kinetics import StationaryPoint
from horm_calc.chemistry.masses import isotope_kinds
from horm_calc.structure_files.isotopes import element, exact_mass, main_isotope
from workflows.errors import InputError


@dataclass(frozen=True)
class Isotope:
    """A nuclide of an element with its name as it was given, 'D' or '13C', and its mass, amu."""

    name: str
    element: str
    mass: float


#: By the index of the atom, from 0, what takes its place.
Substitution = Mapping[int, Isotope]


def read_isotopes(words: Sequence[str]) -> Substitution:
    """From '3:D', '1:13C', as people write it, with atoms counted from 1.

    Raises `InputError` for what is no isotope, and for an atom that is named twice.
    """
    found: dict[int, Isotope] = {}
    for word in words:
        place, _, name = word.partition(":")
        if not place.isascii() or not place.isdigit() or int(place) < 1 or not name:
            raise InputError(
                f"the isotope '{word}' is not ATOM:ISOTOPE, with atoms counted from 1; "
                "give 3:D, or 1:13C"
            )
        if int(place) - 1 in found:
            raise InputError(f"atom {place} has two isotopes; name it once")
        found[int(place) - 1] = _isotope(word, name)
    return found


def _isotope(word: str, name: str) -> Isotope:
    remedy = "give D, T, or a mass number with an element, such as 13C"
    try:
        symbol, mass = element(name)
    except (KeyError, ValueError) as error:
        told = str(error) if isinstance(error, ValueError) else f"there is no element in '{name}'"
        raise InputError(f"the isotope '{word}': {told}; {remedy}") from None
    if mass is None or symbol not in atomic_numbers:
        raise InputError(f"the isotope '{word}': '{name}' names no isotope; {remedy}")
    return Isotope(name, symbol, mass)


def check_substitution(substitution: Substitution, atoms: Atoms, reaction: str) -> None:
    """Raise `InputError` where a reaction has no such atom, or one of another element."""
    for index, isotope in substitution.items():
        asked = f"--isotope {index + 1}:{isotope.name}"
        remedy = "atoms count from 1; --reaction ID chooses reactions"
        if index >= len(atoms):
            raise InputError(
                f"reaction '{reaction}' has {len(atoms)} atoms, and no atom {index + 1} for "
                f"{asked}; {remedy}"
            )
        if atoms.symbols[index] != isotope.element:
            raise InputError(
                f"atom {index + 1} of reaction '{reaction}' is {atoms.symbols[index]}, and "
                f"{asked} needs {isotope.element}; {remedy}"
            )


def isotopologues(
    point: StationaryPoint, indices: Sequence[int], substitution: Substitution
) -> tuple[list[StationaryPoint], list[StationaryPoint]]:
    """A point with light and with heavy atoms in the places of a substitution.

    Light is the most abundant isotope, unless the run has another one there: the standard atomic
    weight, a mean of isotopes, would give a part of the effect. Of several equal molecules one is
    substituted. `indices` are those that its atoms have in the reaction.
    """
    places = [place for place, index in enumerate(indices) if index in substitution]
    if not places:
        return [point], [point]
    light = point.atoms.get_masses()
    heavy = light.copy()
    special = isotope_kinds(point.atoms)
    for place in places:
        number = int(point.atoms.numbers[place])
        if not special[place]:
            light[place] = exact_mass(number, main_isotope(number))
        heavy[place] = substitution[indices[place]].mass
    rest = [_counted(point, point.count - 1)] if point.count > 1 else []
    one = _counted(point, 1)
    return [*rest, one.with_masses(light)], [*rest, one.with_masses(heavy)]


def _counted(point: StationaryPoint, count: int) -> StationaryPoint:
    return StationaryPoint(
        point.atoms, np.asarray(point.hessian), point.energy, point.multiplicity, count
    )
