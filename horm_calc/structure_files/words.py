"""What comments say of charge and multiplicity, in the words of people and programs.

`charge=-1 multiplicity=2`, `Charge: -1, mult 2`, `{"q": -1, "uhf": 1}`, `-1 2`. What seems to
speak of these and cannot be understood is said too, without values.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from fractions import Fraction
from functools import lru_cache
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
    r"(?:charge|chrg|chg)[ _]*+(?:[/,&|]|and)?[ _]*+(?:spin[ _-]?)?(?:mult\w*+|spin)[\"']? ?"
    rf"[=:]? ?[\"']?{_PAIR}[\"']?(?![^\s,}}])",
    re.IGNORECASE,
)
#: A title with two numbers at its beginning or end may mean them so, or not.
_TITLED = re.compile(rf"^\s*{_PAIR}(?=\s+[^\s\d=])|^[^=:]*[^\d\s]\s+{_PAIR}\s*$")

#: What names mean, written small and without anything but letters, digits and +.
_KNOWN = {
    "q": re.compile(r"q"),  # only with = or :, as many things are called so
    "method": re.compile(r"uhf"),  # without a value
    "charge": re.compile(
        r"(pubchem|scf)?"
        r"(total|tot|net|nett|overall|molecular|molecule|mol|system|formal|ionic|ion|i)?"
        r"(charges?|charg|chrg|chg)(total|tot)?|qtot|qtotal|totalq"
    ),
    "multiplicity": re.compile(
        r"(pubchem|scf)?(total|tot|electronic)?(spin)?(multiplicity|multiplicities|multip|mult)"
        r"|2s\+1"
    ),
    "unpaired": re.compile(r"nopen|(n|num|number|numberof)?unpaired(electrons?|elec|e)?"),
    "moment": re.compile(r"(total|tot)?(magmom|magneticmoment|magneti[sz]ation)"),
    "spin": re.compile(r"(total|tot)?spin"),
}
#: What else looks as if it spoke of charge or spin.
_LIKE_CHARGE = re.compile(
    r"\w*(charg|chrg|chg|nelec)\w*|(di|tri|carbo|carb|oxo)?(cat|an)ions?(ic)?"
)
_LIKE_SPIN = re.compile(
    r"\w*(multiplicit|spin|unpaired|magmom|magneti|openshell|(di|bi|tri)radical)\w*|\w*mult\d*"
    r"|nalpha|nbeta|nup|ndown"
    rf"|({'|'.join(_STATES[1:])})s?"
)

#: Notations without a name: xtb's options, ions, InChI, names of files and jobs, terms, states.
_CHARGE_NOTED = re.compile(
    r"(?<!\S)-c +[+-]?[1-9](?!\S)|\([1-9][+-]\)(?![\w-])|InChI=\S{0,500}?/[pq][+-]\d"
    r"|\b(?:[A-Z][a-z]?\d*+)+ ?\([+-][1-9]\)(?![\w-])"
    r"|(?<![A-Za-z0-9])[cq](?!0_?m)[+-]?\d_?m\d(?![A-Za-z0-9])"
)
_SPIN_NOTED = re.compile(
    r"(?<!\S)-u +[1-9](?!\S)|(?<![A-Za-z0-9])[cq][+-]?\d_?m(?!1)\d(?![A-Za-z0-9])"
    r"|\^[2-9][A-Z\u0370-\u03ff]\w*|(?<![\w.])[2-9](?:[ABE]\d?[gu]?['\"\u2032\u2033]+|[\u03a3\u03a0\u0394])"
    r"|\b[TDQ]_?\d (?:state|surface|PES|minimum|geometry)\b|\bstate ?[=:] ?[\"']?[TDQ](?:_?\d)?\b"
)

_NOTHING = Electrons()

#: An ion's formula, as in SO4^2-, [NH4]+ and Ca2+, or the charge of an atom in a SMILES.
_ION = re.compile(
    r"(?<![\w=.()\[\]+-])[(\[]*+(?P<formula>(?:[A-Z][a-z]?\d*[()\[\]]*)+?)"
    r"(?:[.\u2022\u00b7]?\^?[({]*(?P<count>\d)?|\s+(?P<apart>\d))(?P<sign>[+-]{1,3})[)}]*"
    r"(?=[\s,;.)\u2022\u00b7]|$)"
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
    found = [one for word in _WORD.finditer(text) if (one := _at(word))]
    told += Electrons(  # at once: adding up one by one takes minutes in a long line
        tuple(saying for one in found for saying in one.charge),
        tuple(saying for one in found for saying in one.multiplicity),
    )
    return spin_beside_charge(told + _noted(text) + _ions(text))


def _at(word: re.Match[str]) -> Electrons:
    sign = (word["sign"] or word["open"] or "").strip()
    words = word[0] if word["value"] else _REST.match(word.string, word.start())[0]  # type: ignore[index]
    told = _meaning(word["name"], word["value"], words.strip(), separated=bool(sign))
    if not told and (word["value"] or "").lower() in _STATES:  # as in "HCOH (triplet)"
        return _meaning(word["value"], None, word["value"], separated=False)
    return told


def said_under(name: str, value: Any) -> Electrons:
    """What a value says that has a name, as in `atoms.info`; the names of other things nothing."""
    if not _kind(name):
        return _NOTHING
    text = str(value).strip().replace("\N{MINUS SIGN}", "-")
    if name == "multiplicity" and re.fullmatch(r"\d+( or \d+)+", text):  # of radicals in a molfile
        return multiplicity_of(f"{name} is {text}", *map(int, text.split(" or ")))
    good = isinstance(value, Real) or _VALUE.fullmatch(text)
    return _meaning(name, text if good else None, f"{name} is {value}", separated=True)


def _plain(text: str) -> str:
    """Without what is no comment in the line of an extended xyz file, signs as in ASCII."""
    text = re.sub(r"[\N{MINUS SIGN}\N{EN DASH}]", "-", " ".join(text.split()))
    text = re.sub(r'\b(Properties|Lattice|pbc)\s*=\s*("[^"]*"|\S+)', " ", text, flags=re.I)
    text = re.sub(r"<?\bS ?(?:\^|\*\*) ?2>?", "spin_squared", text)
    text = re.sub(r"\bopen[ _]shell\b", "open-shell", text, flags=re.I)
    return re.sub(r"\bunpaired[ _-](electrons?|e)\b", r"unpaired_\1", text, flags=re.I)


def _pair(charge: str, multiplicity: str, words: str) -> Electrons:
    values = [int(multiplicity)] if int(multiplicity) else []
    return charge_of(words, int(charge)) + multiplicity_of(words, *values)


def _noted(text: str) -> Electrons:
    told = _NOTHING
    if charge := _CHARGE_NOTED.search(text):
        told += charge_of(charge[0])
    if spin := _SPIN_NOTED.search(text):
        told += multiplicity_of(spin[0])
    return told


def _meaning(name: str, value: str | None, words: str, *, separated: bool) -> Electrons:
    """What a name says with the value after it; separated: whether = or : stands between."""
    kind = _kind(name)
    if not kind or (not separated and (kind == "q" or (value is None and kind == "method"))):
        return _NOTHING
    number = _number(value)
    if kind in ("charge", "q"):
        return charge_of(words, *_whole(number))
    if kind == "multiplicity":
        return multiplicity_of(words, *(one for one in _whole(_state(value, number)) if one > 0))
    if kind in ("unpaired", "method"):
        return multiplicity_of(words, *(abs(one) + 1 for one in _whole(number)))
    if kind == "spin":
        state = _state(value, None)
        return multiplicity_of(words, *_whole(state)) if state else _spin(words, number)
    if number == 0:  # none of it, as in every calculation without spin
        return _NOTHING
    if kind == "moment":
        return multiplicity_of(words, *(abs(one) + 1 for one in _whole(number)))
    if kind.startswith("maybe") and not (separated and number):
        return _NOTHING
    if kind in ("maybe m", "maybe multi") and number == 1:
        return _NOTHING
    return charge_of(words) if kind.endswith("charge") else multiplicity_of(words)


@lru_cache(maxsize=4096)
def _kind(name: str) -> str:
    """What such a name is one of; "" if it has to do neither with charge nor with spin.

    "like charge" and "like spin" are not understood but look like it, and "maybe" some more with
    a number.
    """
    plain = re.sub(r"[^a-z0-9+]", "", name.lower())
    for kind, known in _KNOWN.items():
        if known.fullmatch(plain):
            return kind
    parts = [plain, *re.split(r"[^a-z0-9+]", name.lower())]
    for kind, like in (("like charge", _LIKE_CHARGE), ("like spin", _LIKE_SPIN)):
        if any(map(like.fullmatch, parts)):
            return kind
    if plain.endswith("electrons") or (_near(plain, "charge") and plain != "change"):
        return "maybe charge"
    if plain in ("s", "m", "multi"):
        return f"maybe {plain}"
    return "maybe spin" if _near(plain, "multiplicity") else ""


def _near(name: str, word: str) -> bool:
    """Whether it may be that word with a typing error."""
    return bool(get_close_matches(name, [word], cutoff=0.8))


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
