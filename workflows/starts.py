"""What a search starts from where not both ends of a reaction are known."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from horm_calc.chemistry.connectivity import Pair, bond_ratios, pair_name
from workflows.errors import InputError
from workflows.records import Reaction, Start, not_atoms
from workflows.settings import VerdictSettings

#: How a search is called.
FORMS = "search() takes (reactant, product, calculator) or (reaction, calculator)"

#: Verbs of a text that says what should happen.
_VERBS = ("break", "form")


@dataclass(frozen=True)
class SaddleGuess(Start):
    """A guess of a transition state, and nothing of what it connects.

    Attributes
    ----------
    id
        Name, in messages and of files.
    guess
        Positions in Å.
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1); a neutral singlet unless they are given.
    solvent
        By any of its names; "" for the gas phase.
    """

    guess: Atoms

    @property
    def structures(self) -> dict[str, Atoms]:
        """The guess."""
        return {"guess": self.guess}


@dataclass(frozen=True)
class BondChanges(Start):
    """A reactant and what should happen to it; the product is made with the calculator.

    Attributes
    ----------
    id
        Name, in messages and of files.
    reactant
        Positions in Å.
    breaking, forming
        Pairs of atoms, counted from 0, whose bonds break or form.
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1); a neutral singlet unless they are given.
    solvent
        By any of its names; "" for the gas phase.
    """

    reactant: Atoms
    breaking: tuple[Pair, ...] = ()
    forming: tuple[Pair, ...] = ()

    @classmethod
    def parsed(
        cls,
        id: str,
        reactant: Atoms,
        react: str,
        *,
        charge: int = 0,
        multiplicity: int = 1,
        solvent: str = "",
    ) -> BondChanges:
        """From a text such as 'break 3-7, form 3-9', with atoms counted from 1.

        An element may stand before its number, as in 'break C3-H7', and is checked. Raises
        `InputError`, which quotes what is wrong.
        """
        breaking, forming = _parsed(react, reactant)
        more: Any = {"charge": charge, "multiplicity": multiplicity, "solvent": solvent}
        return cls(id, reactant, breaking, forming, **more)

    @property
    def structures(self) -> dict[str, Atoms]:
        """The reactant."""
        return {"reactant": self.reactant}

    def __str__(self) -> str:
        """'break C3-H7, form C3-O9'."""
        return ", ".join(
            f"{verb} {pair_name(self.reactant, pair)}"
            for verb, pairs in zip(_VERBS, (self.breaking, self.forming), strict=True)
            for pair in pairs
        )


def check_changes(start: BondChanges, settings: VerdictSettings) -> None:
    """Raise `InputError` where a bond to break is none, or one to form is there already.

    Bonds too close to the limit to decide may do either.
    """
    atoms, pairs = start.reactant, [*start.breaking, *start.forming]
    if not pairs:
        raise InputError("no bond is to break or to form; as in 'break 3-7, form 3-9'")
    for pair in pairs:
        if pair[0] == pair[1]:
            raise InputError(f"atom {pair[0] + 1} has no bond with itself")
        if beyond := [index for index in pair if not 0 <= index < len(atoms)]:
            raise InputError(f"there is no atom {beyond[0] + 1}; the reactant has {len(atoms)}")
    if twice := [pair for pair in pairs if sum(set(pair) == set(one) for one in pairs) > 1]:
        raise InputError(
            f"{pair_name(atoms, twice[0])} stands twice in '{start}'; name each bond once"
        )
    ratios, limit = bond_ratios(atoms), settings.bond_factor
    apart = [ratios[min(pair), max(pair)] for pair in pairs]
    for place, (pair, ratio) in enumerate(zip(pairs, apart, strict=True)):
        breaks = place < len(start.breaking)
        if (
            ratio > limit * (1 + settings.margin)
            if breaks
            else ratio < limit * (1 - settings.margin)
        ):
            raise InputError(
                f"{pair_name(atoms, pair)} cannot {_VERBS[not breaks]}: its atoms are "
                f"{atoms.get_distance(*pair):.2f} Å apart and {'not' if breaks else 'already'} "
                f"bonded. Check the numbers (atoms are counted from 1), or does it "
                f"{_VERBS[breaks]}?"
            )


def _parsed(text: str, atoms: Atoms) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The bonds that break and those that form. Raises `InputError`."""
    if not text.strip():
        raise InputError(
            "no bonds are named; write, with atoms counted from 1, 'break 3-7, form 3-9'"
        )
    found: dict[str, list[Pair]] = {verb: [] for verb in _VERBS}
    words = re.split(r"[\s,;]+", re.sub(r"\s*[-\u2010-\u2013\u2212]\s*", "-", text.strip()))
    verb = ""
    for word, after in itertools.zip_longest(words, words[1:], fillvalue=""):
        if word.lower() in found:
            verb = word.lower()
            if not after or after.lower() in found:
                raise InputError(f"{word!r} in {text!r} names no bond, as in '{verb} 3-7'")
            continue
        pair = re.fullmatch(r"([A-Z][a-z]?)?(\d{1,6})-([A-Z][a-z]?)?(\d{1,6})", word)
        if not pair or not verb:
            raise InputError(
                f"{word!r} in {text!r} is not understood; write, with atoms counted from 1, "
                "'break 3-7, form 3-9'"
            )
        try:
            found[verb].append((_index(pair[1], pair[2], atoms), _index(pair[3], pair[4], atoms)))
        except ValueError as error:
            raise InputError(f"{word!r} in {text!r}: {error}") from None
    return tuple(found["break"]), tuple(found["form"])


def _index(symbol: str | None, number: str, atoms: Atoms) -> int:
    """Of an atom, from 0. Raises `ValueError`."""
    index = int(number) - 1
    if not 0 <= index < len(atoms):
        raise ValueError(f"there is no atom {number}; the reactant has {len(atoms)}")
    if symbol and atoms.symbols[index] != symbol:
        raise ValueError(f"atom {number} is {atoms.symbols[index]}, not {symbol}")
    return index


def changes_missing(start: BondChanges, product: Sequence[Pair] | frozenset[Pair]) -> list[str]:
    """What of the asked changes a structure with the bonds `product` lacks, in words."""
    there = {frozenset(pair) for pair in product}
    words = [
        f"{pair_name(start.reactant, pair)} is not broken"
        for pair in start.breaking
        if frozenset(pair) in there
    ]
    return words + [
        f"{pair_name(start.reactant, pair)} is not formed"
        for pair in start.forming
        if frozenset(pair) not in there
    ]


def start_of(
    reactant: Any,
    product: Any,
    guess: Any,
    react: Any,
    charge: int | None,
    multiplicity: int | None,
    solvent: str | None,
) -> Start:
    """What the arguments of `search` are, where none is a `Start` itself.

    Raises `TypeError` for those that do not go together.
    """
    if wrong := _misfit(reactant, product, guess, react):
        raise TypeError(wrong)
    more: dict[str, Any] = {
        "charge": charge or 0,
        "multiplicity": 1 if multiplicity is None else multiplicity,
        "solvent": solvent or "",
    }
    if reactant is None:
        return SaddleGuess(guess.get_chemical_formula(), guess, **more)
    name = reactant.get_chemical_formula()
    if react is not None:
        return BondChanges.parsed(name, reactant, react, **more)
    return Reaction(name, reactant, product, guess=guess, **more)


def _misfit(reactant: Any, product: Any, guess: Any, react: Any) -> str:
    """Why no search starts from these, in words; "" where one does."""
    if isinstance(product, Calculator):
        return (
            f"the calculator {type(product).__name__} stands in the place of the product; give "
            "that, or name the calculator: search(reactant, react='break 3-7', calculator=...) and "
            "search(guess=guess, calculator=...) need no product"
        )
    for name, given in (("reactant", reactant), ("product", product), ("guess", guess)):
        if given is not None and not isinstance(given, Atoms):
            return not_atoms(name, given)
    if react is not None and not isinstance(react, str):
        return f"react is {react!r:.80}; write a text, as in 'break 3-7, form 3-9'"
    if react is not None and product is not None:
        return "react makes the product, and there is one already; leave out one of them"
    if react is not None and guess is not None:
        return (
            "react and guess do not go together; give a guess alone, or beside reactant and product"
        )
    if react is not None and reactant is None:
        return "react says what becomes of the reactant; give that too"
    if react is not None or (reactant is not None and product is not None):
        return ""
    if reactant is None and product is None:
        return "" if guess is not None else f"{FORMS}; there is nothing to search from"
    here, missing = ("reactant", "product") if product is None else ("product", "reactant")
    if guess is not None:
        return (
            f"a guess stands alone or beside both ends; leave out the {here} or add the {missing}"
        )
    return (
        f"the {missing} is missing; {FORMS}. Where it is not known, a guess may stand alone or "
        "react beside the reactant"
    )
