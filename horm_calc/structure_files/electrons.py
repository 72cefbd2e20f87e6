"""What files and Atoms say of charge and multiplicity, and what that comes to.

Everything said is collected as `Saying`s, also what only looks as if it spoke of these, so that
nothing is passed over: `settle` finds what all of it agrees on, or raises `UnclearElectrons`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

#: Where readers of files keep the `Electrons` of a structure in its `info`.
KEY = "electrons"

#: What ASE's names mean.
_ASE = {"initial_charges": "initial charges", "initial_magmoms": "initial magnetic moments"}

#: Columns of these.
_CHARGES, _SPINS = (
    re.compile(names, re.IGNORECASE)
    for names in ("charge|chg|^q$|mulliken|lowdin|chelpg", "spin|magmom")
)

#: Entries of `info` that are comments.
_TEXTS = ("comment", "title", "name")

#: Partial charges and spin populations add up to a whole number within this, in few digits.
ROUNDING = 0.05


@dataclass(frozen=True)
class Saying:
    """Words about the charge or the multiplicity, and the values that they may mean.

    values: several where the words are ambiguous; none where they are not understood. usual:
    what is meant where the number of electrons allows it.
    """

    words: str
    values: frozenset[int] = frozenset()
    usual: int | None = None


@dataclass(frozen=True)
class Electrons:
    """All that is said of the charge and of the multiplicity."""

    charge: tuple[Saying, ...] = ()
    multiplicity: tuple[Saying, ...] = ()

    def __add__(self, other: Electrons) -> Electrons:
        return Electrons(self.charge + other.charge, self.multiplicity + other.multiplicity)

    def __bool__(self) -> bool:
        return bool(self.charge or self.multiplicity)

    def marked(self, place: str) -> Electrons:
        """The same, with the place where it is said."""

        def mark(sayings: tuple[Saying, ...]) -> tuple[Saying, ...]:
            return tuple(replace(one, words=f"{one.words} ({place})") for one in sayings)

        return Electrons(mark(self.charge), mark(self.multiplicity))


class UnclearElectrons(ValueError):
    """Words about charge or multiplicity that contradict each other, or are not understood."""

    def __init__(self, quantity: str, problem: str) -> None:
        super().__init__(quantity, problem)
        self.quantity = quantity

    def __str__(self) -> str:
        return str(self.args[1])


def charge_of(words: str, *values: int) -> Electrons:
    """One saying about the charge."""
    return Electrons(charge=(Saying(words, frozenset(values)),))


def multiplicity_of(words: str, *values: int, usual: int | None = None) -> Electrons:
    """One saying about the multiplicity."""
    return Electrons(multiplicity=(Saying(words, frozenset(values), usual),))


def spin_beside_charge(told: Electrons) -> Electrons:
    """Where no charge is told beside it, nobody knows what `spin` usually means.

    With it, as in OMol25's data, it is the multiplicity.
    """
    if any(one.values for one in told.charge):
        return told
    return replace(told, multiplicity=tuple(replace(one, usual=None) for one in told.multiplicity))


def settle(told: Electrons, numbers: Sequence[int] | np.ndarray) -> tuple[int | None, int | None]:
    """Charge and multiplicity of the atoms `numbers`; None where nothing is said.

    Raises `UnclearElectrons`.
    """
    if not told:
        return None, None
    charge = _agreed("charge", told.charge)
    electrons = int(np.sum(numbers)) - (charge or 0)
    return charge, _agreed("multiplicity", [_possible(one, electrons) for one in told.multiplicity])


def _possible(saying: Saying, electrons: int) -> Saying:
    """What it can mean with so many electrons; what is not ambiguous stays as it is."""
    if len(saying.values) < 2:
        return saying
    values = {value for value in saying.values if value > 0 and (electrons - value) % 2}
    if saying.usual in values:
        values = {saying.usual}
    return replace(saying, values=frozenset(values or saying.values))


def _agreed(quantity: str, sayings: Sequence[Saying]) -> int | None:
    if not sayings:
        return None
    clear = _clear(sayings)
    listed = "; ".join(dict.fromkeys(one.words for one in clear or sayings))
    if not clear:
        raise UnclearElectrons(
            quantity, f"{listed}: looks like a {quantity}, but is not understood"
        )
    possible = frozenset.intersection(*(one.values for one in clear))
    if not possible:
        values = " and ".join(dict.fromkeys(_either(one.values) for one in clear))
        raise UnclearElectrons(quantity, f"'{quantity}' is {values}: {listed}")
    if len(possible) > 1:
        raise UnclearElectrons(quantity, f"{listed}: the {quantity} may be {_either(possible)}")
    return next(iter(possible))


def _clear(sayings: Iterable[Saying]) -> tuple[Saying, ...]:
    return tuple(one for one in sayings if one.values)


def _either(values: Iterable[int]) -> str:
    return " or ".join(str(value) for value in sorted(values))


def said(atoms: Atoms) -> Electrons:
    """What `info`, columns of charges and magnetic moments, and results say of the electrons."""
    told = _in_info(atoms)
    for name, numbers in atoms.arrays.items():
        if name not in ("numbers", "positions") and (one := _added_up(name, numbers)):
            told += one
    if isinstance(atoms.calc, SinglePointCalculator):
        # What was asked of its calculator, then what came out, and each where nothing else is said.
        for found in (_in_parameters(atoms.calc.parameters), _in_results(atoms.calc.results)):
            told = Electrons(told.charge or found.charge, told.multiplicity or found.multiplicity)
    return told


def _in_parameters(parameters: Mapping[str, Any]) -> Electrons:
    """What the parameters of a calculator say, where that is understood; None is what it likes."""
    from horm_calc.structure_files.words import said_under

    found = Electrons()
    for key, value in _flat(parameters):
        if value is not None and not isinstance(value, bool | np.bool_):
            found += said_under(key, value)
    return spin_beside_charge(Electrons(_clear(found.charge), _clear(found.multiplicity)))


def _in_results(results: Mapping[str, Any]) -> Electrons:
    found = Electrons()
    for name in ("charges", "magmom" if "magmom" in results else "magmoms"):
        if name in results:
            found += _added_up(name, results[name])
    return found


def _in_info(atoms: Atoms) -> Electrons:
    if not atoms.info:  # at every step of a search
        return Electrons()
    from horm_calc.structure_files.words import said_in, said_under

    if isinstance(known := atoms.info.get(KEY), Electrons):
        return known
    told = Electrons()
    items = list(_flat(atoms.info))
    # ASE takes the words of a comment for keys that are true: "charge 0" as two.
    if flags := [key for key, value in items if isinstance(value, bool | np.bool_)]:
        words = said_in(" ".join(flags))
        told += Electrons(_clear(words.charge), _clear(words.multiplicity))
    for key, value in items:
        if value is None or isinstance(value, bool | np.bool_):
            continue
        if np.ndim(value) == 1 and len(value) == len(atoms):
            told += _added_up(key, value)
        elif key.lower() in _TEXTS:
            told += said_in(str(value))
        else:
            told += said_under(key, value)
    return spin_beside_charge(told)


def _flat(info: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Of the key-value pairs and data of a database too."""
    for key, value in info.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield str(key), value


def _added_up(name: str, numbers: Any) -> Electrons:
    """What charges or magnetic moments of the atoms say; those that are zero say nothing."""
    of_spin = _SPINS.search(name)
    if not (of_spin or _CHARGES.search(name)) or not np.any(numbers):
        return Electrons()
    told = multiplicity_of if of_spin else charge_of
    try:
        values = np.asarray(numbers, dtype=float)
    except (TypeError, ValueError):
        return told(f"{name} are no numbers")
    if values.ndim > 1:
        return told(f"{_ASE.get(name, name)} are vectors")
    total = float(values.sum())
    words = f"{_ASE.get(name, name)} add up to {total:g}"
    if not abs(total - np.rint(total)) <= ROUNDING:
        return told(words)
    whole = int(np.rint(total))
    if of_spin and not whole and np.abs(values).max(initial=0) > ROUNDING:
        return told(f"{_ASE.get(name, name)} that cancel")
    if not whole:
        return Electrons()
    if of_spin:
        return told(f"{words}, multiplicity {abs(whole) + 1}", abs(whole) + 1)
    return told(words, whole)
