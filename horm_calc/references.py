"""From a network's energies to those of its level of theory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import chemical_symbols

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


def told_by(metadata: Mapping[str, Any]) -> tuple[str, dict[int, float]]:
    """Level of theory and atomic energies (eV) of a checkpoint, from its metadata.

    The published checkpoints tell neither: theirs are those above. Raises `ValueError` for
    energies that are no numbers, or not there for each of `ELEMENTS`.
    """
    told = metadata.get("references")
    if told is None:
        return str(metadata.get("level_of_theory", LEVEL_OF_THEORY)), dict(ATOMIC_ENERGIES)
    try:
        energies = {z: float(told[chemical_symbols[z]]) for z in ELEMENTS}
    except (KeyError, TypeError, ValueError):
        raise ValueError("its references do not give an energy for each element") from None
    if not all(math.isfinite(energy) for energy in energies.values()):
        raise ValueError("its references are not finite")
    return str(metadata.get("level_of_theory") or "an unknown level of theory"), energies
