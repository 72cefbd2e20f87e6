"""How far two structures are from each other."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from horm_calc.chemistry.masses import with_positions

#: Structures closer than this are the same, root mean square distance of the atoms in Å.
SAME = 0.05


def superposition(a: Atoms, b: Atoms) -> tuple[Rotation, float]:
    """The turn that lays `b` best upon `a`, both with the same order of atoms, no mirroring.

    And the root mean square distance of the atoms that is left, Å.
    """
    first, second = (atoms.positions - atoms.positions.mean(0) for atoms in (a, b))
    with warnings.catch_warnings(action="ignore"):  # of a line, which may turn about itself
        turn, distance = Rotation.align_vectors(first, second)
    return turn, float(distance / np.sqrt(len(first)))


def laid_upon(a: Atoms, b: Atoms) -> Atoms:
    """`b` turned and moved so that it lies best upon `a`."""
    turn, _ = superposition(a, b)
    return with_positions(b, turn.apply(b.positions - b.positions.mean(0)) + a.positions.mean(0))
