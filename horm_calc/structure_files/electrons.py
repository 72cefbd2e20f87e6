"""What files and Atoms say of charge and multiplicity, and what that comes to.

Everything said is collected as `Saying`s, also what only looks as if it spoke of these, so that
nothing is passed over: `settle` finds what all of it agrees on, or raises `UnclearElectrons`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from horm_calc.errors import HormError

#: Where readers of files keep the `Electrons` of a structure in its `info`.
KEY = "electrons"


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


class UnclearElectrons(HormError, ValueError):
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
    clear = understood(sayings)
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


def understood(sayings: Iterable[Saying]) -> tuple[Saying, ...]:
    """Those that mean some value."""
    return tuple(one for one in sayings if one.values)


def _either(values: Iterable[int]) -> str:
    return " or ".join(str(value) for value in sorted(values))
