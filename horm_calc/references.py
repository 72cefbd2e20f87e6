"""From a network's energies to those of its level of theory, and what checkpoints say of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from horm_calc.configuration import SettingsError, Validated, from_mapping, setting, shown

#: What the HORM networks were trained on.
LEVEL_OF_THEORY = "ωB97X/6-31G(d)"

#: Energy of an atom (eV) at ωB97X/6-31G(d), by which total energies and the atomization-like
#: energies that the networks give differ: fitted to the 100 samples published with HORM
#: (arXiv:2505.12447), where energy − ae is linear in the composition to 4e-4 eV.
ATOMIC_ENERGIES = {1: -16.71316736, 6: -1035.52099572, 7: -1489.14060684, 8: -2046.24250787}

#: The elements the networks know.
ELEMENTS = tuple(ATOMIC_ENERGIES)


def reference_energy(numbers: np.ndarray, references: Mapping[int, float]) -> float:
    """Sum of the atoms' energies (eV) for atomic numbers (n,), all of them in `references`."""
    return float(sum(references[int(number)] for number in numbers))


def _energy() -> Any:
    """Of an atom, eV, with all of its electrons: no element has an atom of a million eV here."""
    return setting(0.0, "eV", least=-1e6, most=1e6)


@dataclass(frozen=True)
class _Energies(Validated):
    H: float = _energy()
    C: float = _energy()
    N: float = _energy()
    O: float = _energy()  # noqa: E741


@dataclass(frozen=True)
class _Claims(Validated):
    level_of_theory: str | None = setting(None, "of the labels")
    most_atoms: int | None = setting(None, "of a molecule in the training data")


@dataclass(frozen=True)
class Training:
    """What a checkpoint says of its network's training.

    references: energy of an atom of each element, eV, which the network's own energies leave out.
    most_atoms: of a molecule of its training; None where it is not said.
    """

    level_of_theory: str
    references: Mapping[int, float]
    most_atoms: int | None


def told_by(metadata: Mapping[str, Any]) -> Training:
    """What the metadata of a checkpoint say.

    The published checkpoints tell neither level of theory nor energies of atoms: theirs are those
    above. Under `data` other programs keep the names of files, ours facts. Raises `SettingsError`
    for what cannot be, and for energies that are not there for each of `ELEMENTS`.
    """
    data, energies = metadata.get("data"), metadata.get("references")
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
    if energies is None:
        return Training(level or LEVEL_OF_THEORY, dict(ATOMIC_ENERGIES), claimed.most_atoms)
    elements = asdict(_Energies()).keys()
    if not isinstance(energies, Mapping) or not elements <= energies.keys():
        raise SettingsError("its references do not give an energy for each element")
    found = from_mapping(_Energies, {one: energies[one] for one in elements}, "references.")
    references = {atomic_numbers[one]: float(value) for one, value in asdict(found).items()}
    return Training(level or "an unknown level of theory", references, claimed.most_atoms)
