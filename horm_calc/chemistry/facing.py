"""How ready to react two structures are: what will bond is near, and little moves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data.vdw_alvarez import vdw_radii

from horm_calc.chemistry.connectivity import Pair
from horm_calc.chemistry.superposition import superposition

#: Atoms face each other up to this times the sum of their van der Waals radii.
FACING = 1.2


def moves(one: Atoms, other: Atoms, changed: Iterable[Pair]) -> float:
    """How much a reaction between two conformers moves, Å.

    That is how far they are apart when laid upon each other, and by how much the bonds that form or
    break, `changed`, change their lengths.
    """
    first, last = (_lengths(atoms, changed) for atoms in (one, other))
    return superposition(one, other)[1] + float(np.abs(first - last).sum())


def faces(atoms: Atoms, pairs: Iterable[Pair]) -> bool:
    """Are the atoms of all `pairs`, between which bonds will form, near each other?"""
    radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0)
    reach = np.array([radii[list(pair)].sum() for pair in sorted(pairs)])
    return bool((_lengths(atoms, pairs) <= FACING * reach).all())


def _lengths(atoms: Atoms, pairs: Iterable[Pair]) -> np.ndarray:
    """Of the pairs in their order, Å."""
    places = np.array(sorted(pairs), dtype=int).reshape(-1, 2)
    return np.asarray(
        np.linalg.norm(atoms.positions[places[:, 0]] - atoms.positions[places[:, 1]], axis=1)
    )
