"""What comments say of charge and multiplicity, in the words of people and programs.

`charge=-1 multiplicity=2`, `Charge: -1, mult 2`, `{"q": -1, "uhf": 1}`, `-1 2`. What seems to
speak of these and cannot be understood is said too, without values.
"""

from __future__ import annotations

import re
from fractions import Fraction
from numbers import Real
from typing import Any

from ase.data import atomic_numbers

from horm_calc.structure_files.electrons import (
    Electrons,
    charge_of,
    multiplicity_of,
    spin_beside_charge,
)

_STATES = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet")
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:/2)?[+-]?(?![\w^/]|[.+-]\w)"
_VALUE = re.compile(rf"{_NUMBER}|(?:neutral|{'|'.join(_STATES)})\b", re.IGNORECASE)
#: Numbers in files have at least so many digits.
_ROUNDING = 1e-3

#: A name and the value after it, if it has one.
_WORD = re.compile(
    rf"""(?<![\w.])(?P<name>2s\+1|[a-z_]\w*(?:-[a-z_]\w*)*)
    (?:["'\]]*(?P<sign>\s*(?:=>|->|[=:>(]|\bis\b|\bof\b)\s*|\s+)["'({{]*(?P<value>{_VALUE.pattern})
    |(?P<open>["']?\s*[=:]))?""",
    re.VERBOSE | re.IGNORECASE,
)
#: A name with what follows it, for messages.
_REST = re.compile(r"[\w+-]+(?:[\"']?\s*[=:]\s*\S{1,30})?")
#: Two whole numbers after each other, as in the inputs of Gaussian, ORCA and Q-Chem.
_PAIR = r"[(\[]?([+-]?\d)(?:\s*[,/|;]\s*|\s+)(\d{1,2})[)\]]?"
_ALONE = re.compile(rf"\s*(?:\*?\s*xyz\s+)?{_PAIR}\s*", re.IGNORECASE)
_BOTH_NAMED = re.compile(
    r"\b\w*?(?:charge|chrg|chg)[\s_]*(?:/|,|&|\||and)?[\s_]*(?:spin[\s_-]*)?(?:mult\w*|spin)\s*"
    rf"[=:]?\s*{_PAIR}(?!\S)",
    re.IGNORECASE,
)
#: A title with two numbers at its beginning or end may mean them so, or not.
_TITLED = re.compile(rf"^\s*{_PAIR}(?=\s+[^\s\d=][^=]*$)|^[^=:]*[^\d\s]\s+{_PAIR}\s*$")

#: What names mean, written small and without anything but letters, digits and +.
_CHARGE = re.compile(
    r"(pubchem|scf)?(total|tot|net|nett|overall|molecular|molecule|mol|system|formal|ionic|ion|i)?"
    r"(charges?|charg|chrg|chg)(total|tot)?|q|qtot|qtotal|totalq"
)
_MULTIPLICITY = re.compile(
    r"(pubchem|scf)?(total|tot|electronic)?(spin)?(multiplicity|multiplicities|multip|mult|mul)"
    r"|2s\+1"
)
_UNPAIRED = re.compile(r"uhf|nopen|(n|num|number|numberof)?unpaired(electrons?|elec|e)?")
_MOMENT = re.compile(r"(total|tot)?(magmom|magneticmoment|magneti[sz]ation)")
_SPIN = re.compile(r"(total|tot)?spin")
#: Of these only with a value or the sign before one: many things are called q, and methods uhf.
_WITH_VALUE = re.compile(r"q|uhf|mul|mult")

#: What else looks as if it spoke of charge or spin.
_LIKE_CHARGE = re.compile(
    r"\w*(charg|chrg|chg|nelec)\w*|(di|tri|carbo|carb|oxo)?(cat|an)ions?(ic)?"
)
_LIKE_SPIN = re.compile(
    r"\w*(multiplicit|spin|unpaired|magmom|magneti|openshell|(di|bi|tri)radical)\w*|nalpha|nbeta"
    rf"|({'|'.join(_STATES[1:])})s?"
)

#: An ion's formula, as in SO4^2-, [NH4]+ and Ca2+, or the charge of an atom in a SMILES.
_ION = re.compile(
    r"(?<![\w=.)\]+-])[(\[]*(?P<formula>(?:[A-Z][a-z]?\d*[()\[\]]*)+?)"
    r"(?:\^?[({]*(?P<count>\d)?|\s+(?P<apart>\d))(?P<sign>[+-]{1,3})[)}]*(?=[\s,;.)]|$)"
)
_ATOM = re.compile(r"\[\d*[A-Za-z][a-z]?(?:@@?)?(?:H\d*)?(?P<sign>[+-]+)(?P<count>\d*)(?::\d+)?\]")


def said_in(text: str) -> Electrons:
    """What a comment says of charge and multiplicity."""
    text = _plain(text)
    if pair := _ALONE.fullmatch(text):
        return _pair(pair[1], pair[2], text.strip())
    told = Electrons()
    if both := _BOTH_NAMED.search(text):
        told += _pair(both[1], both[2], both[0])
        text = text.replace(both[0], " ")
    elif titled := _TITLED.search(text):
        charge, multiplicity = (int(one) for one in titled.groups() if one)
        if (charge, multiplicity) != (0, 1):
            told += charge_of(titled[0].strip()) + multiplicity_of(titled[0].strip())
    for word in _WORD.finditer(text):
        told += _at(word)
    return spin_beside_charge(told + _ions(text))


def _at(word: re.Match[str]) -> Electrons:
    sign = (word["sign"] or word["open"] or "").strip()
    words = word[0] if word["value"] else _REST.match(word.string, word.start())[0]  # type: ignore[index]
    told = _meaning(word["name"], word["value"], words.strip(), bool(sign))
    if not told and (word["value"] or "").lower() in _STATES:  # as in "HCOH (triplet)"
        return _meaning(word["value"], None, word["value"], False)
    return told


def said_under(name: str, value: Any) -> Electrons:
    """What a value says that has a name, as in `atoms.info`; the names of other things nothing."""
    text = str(value).strip().replace("\N{MINUS SIGN}", "-")
    if name == "multiplicity" and re.fullmatch(r"\d+( or \d+)+", text):  # of radicals in a molfile
        return multiplicity_of(f"{name} is {text}", *map(int, text.split(" or ")))
    good = isinstance(value, Real) or _VALUE.fullmatch(text)
    return _meaning(name, text if good else None, f"{name} is {value}", separated=True)


def _plain(text: str) -> str:
    """Without what is no comment in the line of an extended xyz file, signs as in ASCII."""
    text = re.sub(r"[\N{MINUS SIGN}\N{EN DASH}]", "-", text)
    text = re.sub(r'\b(Properties|Lattice|pbc)\s*=\s*("[^"]*"|\S+)', " ", text, flags=re.I)
    text = re.sub(r"\bopen[\s_]shell\b", "open-shell", text, flags=re.I)
    return re.sub(r"\bunpaired[\s_-]+(electrons?|e)\b", r"unpaired_\1", text, flags=re.I)


def _pair(charge: str, multiplicity: str, words: str) -> Electrons:
    values = [int(multiplicity)] if int(multiplicity) else []
    return charge_of(words, int(charge)) + multiplicity_of(words, *values)


def _meaning(name: str, value: str | None, words: str, separated: bool) -> Electrons:
    """What a name says with the value after it; separated: whether = or : stands between."""
    plain = re.sub(r"[^a-z0-9+]", "", name.lower())
    if not separated and (plain == "q" or (value is None and _WITH_VALUE.fullmatch(plain))):
        return Electrons()
    number = _number(value)
    if _CHARGE.fullmatch(plain):
        return charge_of(words, *_whole(number))
    if _MULTIPLICITY.fullmatch(plain):
        return multiplicity_of(words, *(one for one in _whole(_state(value, number)) if one > 0))
    if _UNPAIRED.fullmatch(plain):
        return multiplicity_of(words, *(abs(one) + 1 for one in _whole(number)))
    if _MOMENT.fullmatch(plain):
        # One of zero is what every calculation without spin has.
        told = multiplicity_of(words, *(abs(one) + 1 for one in _whole(number)))
        return Electrons() if number == 0 else told
    if _SPIN.fullmatch(plain):
        state = _state(value, None)
        return multiplicity_of(words, *_whole(state)) if state else _spin(words, number)
    parts = [plain, *re.split(r"[^a-z0-9+]", name.lower())]
    return _likeness(parts, number if separated else None, words)


def _likeness(parts: list[str], number: Fraction | None, words: str) -> Electrons:
    """What is not understood but looks as if it spoke of charge or spin: a name, and its parts."""
    whole = parts[0]
    if any(map(_LIKE_CHARGE.fullmatch, parts)) or (number and whole.endswith("electrons")):
        return charge_of(words)
    if any(map(_LIKE_SPIN.fullmatch, parts)):
        return multiplicity_of(words)
    if number and ((whole == "s" and number > 0) or (whole == "m" and number > 1)):
        return multiplicity_of(words)
    return Electrons()


def _spin(words: str, number: Fraction | None) -> Electrons:
    """Some call the multiplicity so (OMol25), others the unpaired electrons (PySCF), others S."""
    if number is None or number < 0 or (2 * number).denominator > 1:
        return multiplicity_of(words)
    values = {one for one in (number, number + 1, 2 * number + 1) if one.denominator == 1 and one}
    usual = int(number) if number in values else None
    return multiplicity_of(words, *map(int, values), usual=usual)


def _state(value: str | None, number: Fraction | None) -> Fraction | None:
    """The multiplicity of a state that has a name, else the number."""
    word = (value or "").lower()
    return Fraction(_STATES.index(word) + 1) if word in _STATES else number


def _number(value: str | None) -> Fraction | None:
    """Whole or half where it is that but for rounding; None for no number."""
    if value is None or value.lower() in _STATES:
        return None
    if value.lower() == "neutral":
        return Fraction(0)
    sign = value[-1] if value[-1] in "+-" else ""  # 2- is -2
    try:
        number = Fraction(sign + value[:-1] if sign else value.rstrip("."))
    except ValueError:  # nan
        return None
    half = Fraction(round(2 * number), 2)
    return half if abs(number - half) < _ROUNDING else number


def _whole(number: Fraction | None) -> list[int]:
    return [int(number)] if number is not None and number.denominator == 1 else []


def _ions(text: str) -> Electrons:
    """Formulas of ions and charged atoms of SMILES, where they do not add up to zero."""
    ions = [ion for ion in _ION.finditer(text) if _is_formula(ion["formula"])]
    charged = [*ions, *_ATOM.finditer(text)]
    total = 0
    for one in charged:
        count = one["count"] or one.groupdict().get("apart")
        size = int(count) if count else len(one["sign"])
        total += size if one["sign"][0] == "+" else -size
    return charge_of(", ".join(one[0].strip() for one in charged)) if total else Electrons()


def _is_formula(text: str) -> bool:
    return all(symbol in atomic_numbers for symbol in re.findall(r"[A-Z][a-z]?", text))
