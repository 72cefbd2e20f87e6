"""Point group and rotational symmetry number of a molecule, detected by libmsym.

libmsym (Johansson and Veryazov, J. Cheminform. 2017, 9, 8; through `pymsym`) finds the
group, but at one set of thresholds it misses what an optimiser's noise of 1e-3 Å breaks.
So thresholds are scanned from tight to loose, and the largest group whose every operation
maps the atoms onto themselves within `TOLERANCE` is taken.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.spatial.transform import Rotation

#: How far (Å) an operation may leave an atom from its image. Twenty times the noise of a
#: tight optimisation, a twentieth of the shortest bond.
TOLERANCE = 0.05

_GEOMETRY_THRESHOLDS = (1e-3, 1e-2, 3e-2, 1e-1)
_EQUIVALENCE_THRESHOLDS = (1e-3, 3e-3, 1e-2, 5e-2)

# libmsym's codes of the kinds of operations
_IDENTITY, _ROTATION, _ROTOREFLECTION, _REFLECTION, _INVERSION = range(5)


def is_linear(atoms: Atoms) -> bool:
    """Is a molecule of two or more atoms linear, within `TOLERANCE` (Å) of its axis?"""
    if len(atoms) < 2:
        return False
    centred = atoms.positions - atoms.positions.mean(axis=0)
    axis = np.linalg.svd(centred)[2][0]
    off_axis = centred - np.outer(centred @ axis, axis)
    return bool(np.linalg.norm(off_axis, axis=1).max() < 1e-3)


def symmetry(atoms: Atoms) -> tuple[str, int]:
    """Point group (Schoenflies) and rotational symmetry number.

    The symmetry number is the number of proper rotations of the group, identity included.
    """
    if len(atoms) == 1:
        return "Kh", 1
    if is_linear(atoms):
        centre = atoms.get_center_of_mass()
        mirrored = _deviation(atoms, -np.eye(3), centre) < TOLERANCE
        return ("Dinfh", 2) if mirrored else ("Cinfv", 1)
    best, size, rotations = "C1", 1, 1
    for geometry, equivalence in product(_GEOMETRY_THRESHOLDS, _EQUIVALENCE_THRESHOLDS):
        name, operations = _detect(atoms, geometry, equivalence)
        if len(operations) > size and _all_hold(atoms, operations):
            kinds = [kind for kind, _ in operations]
            best, size = name, len(operations)
            rotations = kinds.count(_IDENTITY) + kinds.count(_ROTATION)
    return best, rotations


def _detect(
    atoms: Atoms, geometry: float, equivalence: float
) -> tuple[str, list[tuple[int, np.ndarray]]]:
    """Group name and operations (kind, 3 x 3 matrix) at one set of thresholds."""
    import pymsym

    elements = [
        pymsym.Element(name=chemical_symbols[number], coordinates=[float(x) for x in position])
        for number, position in zip(atoms.numbers, atoms.positions, strict=True)
    ]
    try:
        with pymsym.Context() as context:
            context.set_thresholds(
                zero=geometry,
                geometry=geometry,
                angle=geometry,
                eigfact=geometry,
                equivalence=equivalence,
                permutation=5 * equivalence,
            )
            context.elements = elements
            name = context.find_symmetry()
            found = [(s.type, s.order, s.power, s.vector) for s in context.symmetry_operations]
    except pymsym.Error:  # how libmsym says that it found no group at these thresholds
        return "C1", []
    if any(order == 0 and kind in (_ROTATION, _ROTOREFLECTION) for kind, order, *_ in found):
        return "C1", []  # an infinite axis, but the molecule is not linear
    return name, [(kind, _matrix(kind, order, power, v)) for kind, order, power, v in found]


def _matrix(kind: int, order: int, power: int, vector: list[float]) -> np.ndarray:
    if kind == _IDENTITY:
        return np.eye(3)
    if kind == _INVERSION:
        return -np.eye(3)
    axis = np.array(vector)
    reflection = np.eye(3) - 2 * np.outer(axis, axis)
    if kind == _REFLECTION:
        return reflection
    rotation = Rotation.from_rotvec(2 * np.pi * power / order * axis).as_matrix()
    if kind == _ROTATION:
        return rotation
    return rotation @ np.linalg.matrix_power(reflection, power)


def _all_hold(atoms: Atoms, operations: list[tuple[int, np.ndarray]]) -> bool:
    centre = atoms.get_center_of_mass()
    return all(_deviation(atoms, matrix, centre) < TOLERANCE for _, matrix in operations)


def _deviation(atoms: Atoms, matrix: np.ndarray, centre: np.ndarray) -> float:
    """The largest distance (Å) of a moved atom from the nearest atom of its element."""
    positions = atoms.positions - centre
    distances = np.linalg.norm((positions @ matrix.T)[:, None] - positions[None], axis=2)
    distances[atoms.numbers[:, None] != atoms.numbers[None]] = np.inf
    return float(distances.min(axis=1).max())
