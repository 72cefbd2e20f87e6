"""Molecules for tests of networks."""

from __future__ import annotations

from ase import Atoms
from ase.build import molecule


def crooked(formula: str = "CH3OH", seed: int = 5) -> Atoms:
    """Without the symmetry that would put energy, forces and frames on their kinks."""
    atoms = molecule(formula)
    atoms.rattle(0.1, seed=seed)
    return atoms
