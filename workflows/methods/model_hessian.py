"""A Hessian guessed from the geometry alone, for optimisers to start from.

The model of Lindh, Bernhardsson, Karlström and Malmqvist, Chem. Phys. Lett. 1995, 241, 423:
stretches, bends and torsions of all atoms that are near each other. Force constants fall off
smoothly with distance, so that no bonds need to be assigned.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import (
    get_angles_derivatives,
    get_dihedrals_derivatives,
    get_distances_derivatives,
)

from horm_calc.units import BOHR, HARTREE

#: By rows of the periodic table (H and He, Li to Ne, all others): the distance of a coupling of 1,
#: bohr, and how fast couplings fall off with distance, bohr⁻².
REFERENCES = np.array([[1.35, 2.10, 2.53], [2.10, 2.87, 3.40], [2.53, 3.40, 3.40]])
DECAYS = np.array([[1.0, 0.3949, 0.3949], [0.3949, 0.28, 0.28], [0.3949, 0.28, 0.28]])
LAST_OF_ROWS = [2, 10]

#: Force constants where couplings are 1: stretch, eV/Å²; bend and torsion, eV/rad².
STRETCH, BEND, TORSION = 0.45 * HARTREE / BOHR**2, 0.15 * HARTREE, 0.005 * HARTREE

#: Couplings below this are left out.
WEAKEST = 1e-3

#: Nearly straight angles have no derivative. Where sin² of one is below the first, it bends in two
#: planes instead; where it is below the second, there are no torsions about its bonds.
STRAIGHT_BEND, STRAIGHT_TORSION = 0.01, 0.04

#: Added to all curvatures, eV/Å²: without it, molecules that barely touch would move freely.
FLOOR = 0.05


def model_hessian(atoms: Atoms) -> np.ndarray:
    """Second derivatives of a model energy, (3n, 3n), eV/Å², positive definite."""
    arms = atoms.positions[None] - atoms.positions[:, None]
    near = couplings(atoms)
    pairs = np.argwhere(np.triu(near > WEAKEST))
    bends, straight = _bends(near, arms)
    torsions = _torsions(near, arms, bends)
    i, j = pairs.T
    hessian = FLOOR * np.eye(3 * len(atoms))
    hessian += _sum(atoms, pairs, get_distances_derivatives(arms[i, j]), STRETCH * near[i, j])
    if len(bends):
        i, j, k = bends.T
        slopes = np.radians(get_angles_derivatives(arms[j, i], arms[j, k]))
        hessian += _sum(atoms, bends, slopes, BEND * near[i, j] * near[j, k])
    if len(straight):
        i, j, k = straight.T
        for slopes in _straight_slopes(arms[j, i], arms[j, k]):
            hessian += _sum(atoms, straight, slopes, BEND * near[i, j] * near[j, k])
    if len(torsions):
        i, j, k, m = torsions.T
        slopes = np.radians(get_dihedrals_derivatives(arms[i, j], arms[j, k], arms[k, m]))
        hessian += _sum(atoms, torsions, slopes, TORSION * near[i, j] * near[j, k] * near[k, m])
    return hessian


def couplings(atoms: Atoms) -> np.ndarray:
    """How near each two atoms are, (n, n): about 1 in a single bond, 0 far apart."""
    rows = np.searchsorted(LAST_OF_ROWS, atoms.numbers)
    table = np.ix_(rows, rows)
    squares = (atoms.get_all_distances() / BOHR) ** 2
    near = np.exp(DECAYS[table] * (REFERENCES[table] ** 2 - squares))
    np.fill_diagonal(near, 0.0)
    return np.asarray(near)


def _bends(near: np.ndarray, arms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms i, j, k of each angle at j, (angles, 3), each once: those that bend, straight ones."""
    i, j, k = np.nonzero(near[:, :, None] * near[None] > WEAKEST)
    i, j, k = (atoms[i < k] for atoms in (i, j, k))
    bent = _sin_squared(arms[j, i], arms[j, k]) > STRAIGHT_BEND
    opposite = (arms[j, i] * arms[j, k]).sum(1) < 0
    angles = np.stack([i, j, k], axis=1)
    return angles[bent], angles[~bent & opposite]


def _straight_slopes(first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    """Derivatives of straight angles between arms, (angles, 3, 3), in two planes."""
    axis = first / np.linalg.norm(first, axis=1)[:, None]
    least = np.eye(3)[np.abs(axis).argmin(axis=1)]
    across = np.cross(axis, least)
    across /= np.linalg.norm(across, axis=1)[:, None]
    ends = [1 / np.linalg.norm(arm, axis=1)[:, None] for arm in (first, second)]
    return [
        np.stack([one * ends[0], -one * (ends[0] + ends[1]), one * ends[1]], axis=1)
        for one in (across, np.cross(axis, across))
    ]


def _torsions(near: np.ndarray, arms: np.ndarray, bends: np.ndarray) -> np.ndarray:
    """Atoms i, j, k, m of each torsion about j-k, (torsions, 4), each once."""
    bends = np.concatenate([bends, bends[:, ::-1]])
    i, j, k = bends.T
    other_bend = near[j, k][:, None] * near[k]
    at, m = np.nonzero((other_bend > WEAKEST) & (near[i, j][:, None] * other_bend > WEAKEST))
    i, j, k = bends[at].T
    bent = (_sin_squared(arms[j, i], arms[j, k]) > STRAIGHT_TORSION) & (
        _sin_squared(arms[k, j], arms[k, m]) > STRAIGHT_TORSION
    )
    once = bent & (j < k) & (m != i) & (m != j)
    return np.asarray(np.stack([i, j, k, m], axis=1)[once])


def _sin_squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the angles between rows of `a` and `b`."""
    squares = (a * a).sum(1) * (b * b).sum(1)
    return np.asarray(1 - (a * b).sum(1) ** 2 / np.maximum(squares, 1e-12))


def _sum(atoms: Atoms, groups: np.ndarray, slopes: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """Σ k·b·bᵀ over coordinates of the atoms in `groups` with derivatives b = `slopes`."""
    rows = np.zeros((len(groups), len(atoms), 3))
    for place in range(groups.shape[1]):
        rows[np.arange(len(groups)), groups[:, place]] += slopes[:, place]
    flat = rows.reshape(len(groups), 3 * len(atoms))
    return np.asarray(flat.T @ (constants[:, None] * flat))
