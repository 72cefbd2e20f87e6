"""Point group and rotational symmetry number of an optimised, so never exact, geometry.

This is done here and not by a library because none holds up on optimised geometries. With
positions disturbed by 1e-3 Å, libmsym (pymsym 0.3.5) misses most symmetries at its default
thresholds and overruns its arrays at looser ones, which aborts the process; PySCF 2.14 misses
13 of the 162 molecules of ASE's g2 set at the best tolerance. On exact geometries all agree.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# A symmetry operation may miss an atom by this much (Å): ten times what an optimiser leaves over
# and less than zero-point motion (about 0.1 Å), which averages smaller distortions out.
SYMMETRY_TOLERANCE = 0.05

# A rotation that moves no atom by more than this (Å per radian) is no degree of freedom. Optimised
# linear molecules keep off-axis noise of 1e-3 to 1e-2 Å; the atoms of bent ones are > 0.1 Å off.
# More than half the tolerance above, or half a turn about such an axis would pass for symmetry.
LINEAR_TOLERANCE = 0.03

# Atoms whose masses (amu) differ by less are of one kind: 2.014 and 2.0141 are both deuterium. No
# two isotopes are closer than 0.9, nor any isotope and another mass of its element than 0.01,
# but for elements of which one isotope is all or nearly all there is.
SAME_MASS = 0.005


def symmetry(atoms: Atoms, tolerance: float = SYMMETRY_TOLERANCE) -> tuple[str, int]:
    """Point group (Schoenflies symbol) and rotational symmetry number.

    An operation counts if it brings every atom within tolerance (Å) of one of its kind (isotopes
    differ); the symmetry number is the number of rotations among them, identity included.
    Operations that form no group are searched again within half the tolerance; what never forms
    one is C1. Raises ValueError for no atoms and for NaN or infinite positions.
    """
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        raise ValueError("symmetry needs at least one atom and finite positions")
    masses, centred = atoms.get_masses(), centred_positions(atoms)
    rotations = len(rigid_rotations(centred, masses))
    if rotations == 0:
        return "Kh", 1
    if rotations == 2:
        partners = _partners(-centred, centred, masses)
        misfit = np.linalg.norm(centred + centred[partners], axis=1).max()
        return ("Dinfh", 2) if misfit <= tolerance else ("Cinfv", 1)
    for limit in (tolerance, tolerance / 2, tolerance / 4, tolerance / 8):
        turns = _turns(centred, centred, masses, limit)
        name = _point_group(turns, _turns(-centred, centred, masses, limit))
        if name is not None:
            return name, len(turns)
    return "C1", 1


def _turns(
    source: FloatArray, target: FloatArray, masses: FloatArray, tolerance: float
) -> FloatArray:
    """Angles (0 to pi) of all rotations that bring the source atoms onto the target atoms.

    With a molecule (N, 3) as target, the source is the molecule for its rotations and its inverse
    for its improper operations. Two atoms out of line with the centre fix a rotation, so one such
    pair is laid on every pair that may be its image, and the fit completed with all atoms.
    """
    radius = np.linalg.norm(target, axis=1)
    alike = _same_kind(masses) & (abs(radius[:, None] - radius) <= tolerance)
    distance = np.linalg.norm(target[:, None] - target, axis=2)
    # Few possible images save time; a large triangle with the centre makes the first fit accurate.
    area = np.linalg.norm(np.cross(target[:, None], target), axis=2)
    merit = area / np.outer(alike.sum(axis=0), alike.sum(axis=0))
    pair = np.array(np.unravel_index(merit.argmax(), merit.shape))
    images = np.outer(alike[pair[0]], alike[pair[1]])
    images &= abs(distance - distance[tuple(pair)]) <= 2 * tolerance
    angles = {}
    for image in np.argwhere(images):
        first_fit = source @ _best_rotation(source[pair], target[image]).T
        partners = _partners(first_fit, target, masses)
        turn = _best_rotation(source, target[partners])
        misfit = np.linalg.norm(source @ turn.T - target[partners], axis=1).max()
        if misfit <= tolerance and len(set(partners.tolist())) == len(partners):
            angles[tuple(partners)] = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    return np.array(list(angles.values()))


def _partners(source: FloatArray, target: FloatArray, masses: FloatArray) -> NDArray[np.int_]:
    """Index of the nearest target atom of the same mass for every source atom."""
    distance = np.linalg.norm(source[:, None] - target, axis=2)
    nearest: NDArray[np.int_] = np.where(_same_kind(masses), distance, np.inf).argmin(1)
    return nearest


def _same_kind(masses: FloatArray) -> NDArray[np.bool_]:
    return np.abs(masses[:, None] - masses) < SAME_MASS


def _best_rotation(source: FloatArray, target: FloatArray) -> FloatArray:
    """Rotation matrix R with least |R source - target| (W. Kabsch, Acta Cryst. A 1976, 32, 922)."""
    left, _, right = np.linalg.svd(target.T @ source)
    return np.asarray(left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right)


def _point_group(turns: FloatArray, inverted: FloatArray) -> str | None:
    """Name of the group with these rotation angles and, after inversion, improper ones.

    None if it is no group. A half turn after inversion is a mirror plane.
    """
    turning = turns[turns > 0.1]  # without the identity
    axis = round(2 * np.pi / turning.min()) if turning.size else 1
    names = {
        (1, 1): ("C1", {0: "Ci", 1: "Cs"}),
        (12, 3): ("T", {3: "Th", 6: "Td"}),
        (24, 4): ("O", {9: "Oh"}),
        (60, 5): ("I", {15: "Ih"}),
        (2 * axis, axis): (f"D{axis}", {axis: f"D{axis}d", axis + 1: f"D{axis}h"}),
    }
    if axis > 1:
        planes = {0: f"S{2 * axis}", 1: f"C{axis}h", axis: f"C{axis}v"}
        names[axis, axis] = (f"C{axis}", planes)
    name, with_planes = names.get((len(turns), axis), (None, {}))
    if len(inverted) == 0:
        return name
    if len(inverted) != len(turns):
        return None
    return with_planes.get(int((inverted > np.pi - 0.1).sum()))


def centred_positions(atoms: Atoms) -> FloatArray:
    """Positions (N, 3) in Å relative to the centre of mass."""
    centre = np.average(atoms.positions, axis=0, weights=atoms.get_masses())
    return np.asarray(atoms.positions - centre)


def rigid_rotations(centred: FloatArray, masses: FloatArray) -> FloatArray:
    """Displacements per radian, (R, N, 3) in Å, of the R = 0, 2 or 3 rotations that move an atom.

    They turn about the principal axes of inertia. For a linear molecule with a little off-axis
    noise the third would be nothing but that noise, normalised, and would remove a bend.
    """
    _, _, axes = np.linalg.svd(np.sqrt(masses)[:, None] * centred)
    moved = np.cross(axes[:, None, :], centred)
    return np.asarray(moved[np.linalg.norm(moved, axis=2).max(axis=1) > LINEAR_TOLERANCE])
