"""From a network's energies to those of its level of theory."""

from __future__ import annotations

import numpy as np

#: What the HORM networks were trained on.
LEVEL_OF_THEORY = "ωB97X/6-31G(d)"

#: Energy of an atom (eV) at ωB97X/6-31G(d), by which total energies and the atomization-like
#: energies that the networks give differ: fitted to the 100 samples published with HORM
#: (arXiv:2505.12447), where energy − ae is linear in the composition to 4e-4 eV.
ATOMIC_ENERGIES = {1: -16.71316736, 6: -1035.52099572, 7: -1489.14060684, 8: -2046.24250787}

#: The elements the networks know.
ELEMENTS = tuple(ATOMIC_ENERGIES)


def reference_energy(numbers: np.ndarray) -> float:
    """Sum of the atoms' energies (eV) for atomic numbers (n,), all of them in `ELEMENTS`."""
    return float(sum(ATOMIC_ENERGIES[int(number)] for number in numbers))
