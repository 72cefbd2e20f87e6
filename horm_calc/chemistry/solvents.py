"""Names of solvents: one for each, however people write it, and "" for the gas phase."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable

#: What people write where there is no solvent.
GAS = ("", "none", "gas", "gasphase", "vacuum")

#: Other names of solvents, in lower case and without spaces and hyphens.
_OTHER_NAMES = {
    "h2o": "water",
    "ch3cn": "acetonitrile",
    "mecn": "acetonitrile",
    "acn": "acetonitrile",
    "dichloromethane": "ch2cl2",
    "methylenechloride": "ch2cl2",
    "dcm": "ch2cl2",
    "chloroform": "chcl3",
    "trichloromethane": "chcl3",
    "carbondisulfide": "cs2",
    "1,4dioxane": "dioxane",
    "dimethylformamide": "dmf",
    "n,ndimethylformamide": "dmf",
    "dimethylsulfoxide": "dmso",
    "etoh": "ethanol",
    "diethylether": "ether",
    "et2o": "ether",
    "etoac": "ethylacetate",
    "ethylethanoate": "ethylacetate",
    "furane": "furan",
    "nhexadecane": "hexadecane",
    "nhexane": "hexane",
    "meoh": "methanol",
    "1octanol": "octanol",
    "noctanol": "octanol",
    "wetoctanol": "woctanol",
    "tetrahydrofuran": "thf",
}

#: Names that are one word here.
_ONE_WORD = frozenset({*_OTHER_NAMES.values(), "gasphase"})


def solvent_name(text: str) -> str:
    """The one name of a solvent: 'H2O' is 'water', 'diethyl ether' is 'ether'.

    "" for the gas phase ('none', 'gas'). A name that is not known here stays as it is, in lower
    case: which solvents there are, the calculator says.
    """
    plain = " ".join(text.lower().split())
    squeezed = re.sub(r"[ _-]", "", plain)
    if squeezed in GAS:
        return ""
    return _OTHER_NAMES.get(squeezed, squeezed if squeezed in _ONE_WORD else plain)


def levels_in_words(levels: Iterable[tuple[str, str]]) -> str:
    """Levels of theory, each with its solvent: 'GFN2-xTB (tblite): gas phase, ALPB(water)'.

    A single one is told as it is. "" where there is none.
    """
    models: dict[str, dict[str, str]] = {}
    for level, solvent in sorted(set(levels), key=lambda one: (one[1], one[0])):
        base, model = level, "gas phase"
        if solvent and level.endswith(f"({solvent})"):
            base, _, model = level.rpartition(", ")
        if level:
            models.setdefault(base, {})[model] = level
    return " and ".join(
        next(iter(found.values())) if len(found) == 1 else f"{base}: {', '.join(found)}"
        for base, found in models.items()
    )


def unknown_solvent(name: str, known: Collection[str]) -> str:
    """What to say of a solvent that is not among those `known`: near names, and all of them."""
    spelt = {*known, *(other for other, one in _OTHER_NAMES.items() if one in known)}
    near = difflib.get_close_matches(name, sorted(spelt), n=2, cutoff=0.7)
    hint = f"; did you mean {' or '.join(dict.fromkeys(map(solvent_name, near)))}?" if near else ""
    return f"the solvent '{name}'{hint} (it knows {', '.join(sorted(known))})"
