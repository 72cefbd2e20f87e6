"""Stationary points of springs between atoms: Hessians that no rotation changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from horm_calc.chemistry.kinetics import StationaryPoint


def springs(atoms: Atoms, constants: Mapping[tuple[int, int], float]) -> np.ndarray:
    """The Hessian (3N, 3N) of springs at rest between pairs of atoms, eV/Å²."""
    hessian = np.zeros((3 * len(atoms), 3 * len(atoms)))
    for (i, j), constant in constants.items():
        along = atoms.positions[i] - atoms.positions[j]
        row = np.zeros((len(atoms), 3))
        row[i], row[j] = along, -along
        row /= np.linalg.norm(along)
        hessian += constant * np.outer(row, row)
    return hessian


def triatomic(
    symbols: str, constants: tuple[float, float, float], energy: float = 0.0, angle: float = 100.0
) -> StationaryPoint:
    """Bent, of three atoms: springs 0-1, 1-2 and 0-2; a negative one makes a saddle."""
    radians = np.radians(angle)
    atoms = Atoms(
        symbols, [[1, 0, 0], [0, 0, 0], [1.3 * np.cos(radians), 1.3 * np.sin(radians), 0]]
    )
    pairs = dict(zip(((0, 1), (1, 2), (0, 2)), constants, strict=True))
    return StationaryPoint(atoms, springs(atoms, pairs), energy)
