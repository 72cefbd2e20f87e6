"""Masses that are not the standard atomic weights: isotopes, carried from file to result.

ASE keeps them in an array of its own, which `Atoms(numbers, positions)` does not have.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_masses

from horm_calc.chemistry.symmetry import SAME_MASS


def with_positions(atoms: Atoms, positions: np.ndarray) -> Atoms:
    """The same atoms, isotopes included, at `positions` (N, 3), Å; nothing else is kept."""
    moved = Atoms(atoms.numbers, positions)
    if has_isotopes(atoms):
        moved.set_masses(atoms.get_masses())
    return moved


def has_isotopes(atoms: Atoms) -> bool:
    """Whether any mass is not the standard atomic weight of its element."""
    return bool(_beyond_standard(atoms).any())


def isotopes(atoms: Atoms) -> str:
    """The atoms whose masses are not the standard atomic weights, from 1: 'H3 2.014'."""
    masses = atoms.get_masses()
    special = np.nonzero(_beyond_standard(atoms))[0]
    return ", ".join(f"{atoms.symbols[i]}{i + 1} {masses[i]:.6g}" for i in special)


def isotope_kinds(atoms: Atoms) -> list[int]:
    """Of each atom a number that equal isotopes share: its mass in 0.01 amu, 0 of the element."""
    special = np.abs(_beyond_standard(atoms)) > SAME_MASS
    return np.where(special, np.rint(100 * atoms.get_masses()), 0).astype(int).tolist()


def different_masses(a: Atoms, b: Atoms) -> list[int]:
    """Indices of the atoms that are other isotopes; files round masses to a few digits."""
    return np.nonzero(np.abs(a.get_masses() - b.get_masses()) > SAME_MASS)[0].tolist()


def _beyond_standard(atoms: Atoms) -> np.ndarray:
    return np.asarray(atoms.get_masses() - atomic_masses[atoms.numbers])
