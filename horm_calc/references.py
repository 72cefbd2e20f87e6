"""From a network's energies to those of its level of theory, and what checkpoints say of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from horm_calc.configuration import SettingsError, Validated, from_mapping, setting, shown

#: What the HORM networks were trained on.
LEVEL_OF_THEORY = "ωB97X/6-31G(d)"

#: Energy of an atom (eV) at ωB97X/6-31G(d), by which total energies and the atomization-like
#: energies that the networks give differ: fitted to the 100 samples published with HORM
#: (arXiv:2505.12447), where energy − ae is linear in the composition to 4e-4 eV.
ATOMIC_ENERGIES = {1: -16.71316736, 6: -1035.52099572, 7: -1489.14060684, 8: -2046.24250787}

#: The elements of the published networks, and of checkpoints that do not name theirs.
ELEMENTS = tuple(ATOMIC_ENERGIES)

#: No element has an atom of a million eV, all electrons included.
_LARGEST_ENERGY = 1e6


@dataclass(frozen=True)
class Domain:
    """The molecules that a network knows.

    elements: atomic numbers, in the order of the network's embedding. charges, multiplicities:
    those of the molecules. No network here is told a charge or a multiplicity, so that all of
    them know one of each: neutral singlets.
    """

    elements: tuple[int, ...] = ELEMENTS
    charges: tuple[int, ...] = (0,)
    multiplicities: tuple[int, ...] = (1,)

    @property
    def record(self) -> dict[str, Any]:
        """The same as a checkpoint's metadata hold it; `training_record` reads it."""
        return {
            "elements": [chemical_symbols[number] for number in self.elements],
            "charges": list(self.charges),
            "multiplicities": list(self.multiplicities),
        }


#: That of the published networks, and of checkpoints that do not say theirs.
PUBLISHED = Domain()


@dataclass(frozen=True)
class Training:
    """What a checkpoint says of its network's training.

    references: energy of an atom of each element, eV, which the network's own energies leave out.
    most_atoms: of a molecule of its training; None where it is not said. domain: which molecules
    the network knows.
    """

    level_of_theory: str
    references: Mapping[int, float]
    most_atoms: int | None
    domain: Domain = PUBLISHED


@dataclass(frozen=True)
class _Claims(Validated):
    level_of_theory: str | None = setting(None, "of the labels")
    most_atoms: int | None = setting(None, "of a molecule in the training data")


def reference_energy(numbers: np.ndarray, references: Mapping[int, float]) -> float:
    """Sum of the atoms' energies (eV) for atomic numbers (n,), all of them in `references`."""
    return float(sum(references[int(number)] for number in numbers))


def named(elements: Sequence[int]) -> str:
    """Elements as a sentence lists them: "H, C and O"."""
    *first, last = (chemical_symbols[number] for number in elements)
    return f"{', '.join(first)} and {last}" if first else last


def training_record(metadata: Mapping[str, Any]) -> Training:
    """What the metadata of a checkpoint say.

    The published checkpoints tell neither elements nor level of theory nor energies of atoms:
    theirs are those above. Under `data` other programs keep the names of files, ours facts.
    Raises `SettingsError` for what cannot be, and where an element has no energy of its atom.
    """
    data = metadata.get("data")
    claimed = from_mapping(
        _Claims,
        {
            "level_of_theory": metadata.get("level_of_theory"),
            "most_atoms": data.get("most_atoms") if isinstance(data, Mapping) else None,
        },
    )
    level = claimed.level_of_theory or ""
    if not level.isprintable() or len(level) > 200:
        raise SettingsError(f"'level_of_theory' is {shown(level)}; it must be a name")
    domain, energies = _domain(metadata), metadata.get("references")
    if energies is None and domain.elements == ELEMENTS:
        return Training(level or LEVEL_OF_THEORY, dict(ATOMIC_ENERGIES), claimed.most_atoms)
    references = _references(energies, domain.elements)
    return Training(level or "an unknown level of theory", references, claimed.most_atoms, domain)


def _domain(metadata: Mapping[str, Any]) -> Domain:
    for name in ("charges", "multiplicities"):
        [only] = getattr(PUBLISHED, name)
        if (said := metadata.get(name)) is not None and said != [only]:
            raise SettingsError(f"'{name}' is {shown(said)}; networks here know [{only}] alone")
    symbols = metadata.get("elements")
    if symbols is None:
        return PUBLISHED
    known = set(chemical_symbols[1:])
    if (
        not isinstance(symbols, list)
        or not symbols
        or not all(isinstance(one, str) and one in known for one in symbols)
        or len(set(symbols)) < len(symbols)
    ):
        raise SettingsError(f"'elements' is {shown(symbols)}; it must list symbols, each once")
    return Domain(tuple(atomic_numbers[one] for one in symbols))


def _references(energies: Any, elements: Sequence[int]) -> dict[int, float]:
    """The energy of an atom of each element, eV."""
    symbols = [chemical_symbols[number] for number in elements]
    if not isinstance(energies, Mapping) or not set(symbols) <= energies.keys():
        raise SettingsError("its references do not give an energy for each element")
    for one in symbols:
        value = energies[one]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and abs(value) <= _LARGEST_ENERGY):
            raise SettingsError(
                f"'references.{one}' is {shown(value)}; it must be an energy of at most "
                f"{_LARGEST_ENERGY:g} eV"
            )
    return {atomic_numbers[one]: float(energies[one]) for one in symbols}
