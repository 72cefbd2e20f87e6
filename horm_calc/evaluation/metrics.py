"""How far predictions are from labels: functions of arrays, which know of no network or file.

All errors of one frame are means over its elements, and those of a set means (or medians) over
its frames, so that a large molecule counts as much as a small one. This is how HORM
(arXiv:2505.12447) averages; a mean over all elements of all frames would be another number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from horm_calc.chemistry.thermochemistry import (
    IMAGINARY_THRESHOLD,
    NormalModes,
    ThermochemistryError,
    thermochemistry,
)

#: One Hartree/Bohr² in eV/Å²: 97.17. HORM's script converts eigenvalues to Hartree/Bohr².

#: Modes within this (cm⁻¹) of the lowest one are degenerate with it: what rounded labels leave
#: of an exact degeneracy is some tenths.
DEGENERATE = 1.0

#: Temperature (K) of Gibbs energies.
TEMPERATURE = 298.15


class Summary(NamedTuple):
    """Of absolute values: of how many frames, their mean and median (NaN if there are none)."""

    frames: int
    mean: float
    median: float


def summary(values: np.ndarray) -> Summary:
    """Mean and median of |values| (frames,), where NaN stands for 'does not apply'."""
    known = np.abs(values[np.isfinite(values)])
    if not known.size:
        return Summary(0, np.nan, np.nan)
    return Summary(known.size, float(known.mean()), float(np.median(known)))


def mean_error(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Mean absolute difference of two arrays of one shape, in their unit; NaN if empty."""
    if predicted.shape != reference.shape:
        raise ValueError(f"shapes {predicted.shape} and {reference.shape} do not compare")
    if not predicted.size:
        return np.nan
    return float(np.abs(np.subtract(predicted, reference, dtype=float)).mean())


def without_offsets(values: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Values (frames,) less their mean over the frames of the same group, such as a reaction.

    Methods, and networks, count energies from different zeros; within a reaction the zero drops
    out. NaN where the group has no name or no other frame, as nothing is then left to compare,
    and where the value itself is NaN.
    """
    _, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    known = np.isfinite(values)
    counts = np.bincount(place, known)
    means = np.bincount(place, np.where(known, values, 0.0)) / np.maximum(counts, 1)
    named = np.array([name != "" for name in groups], dtype=bool)
    return np.where(named & (counts[place] > 1), values - means[place], np.nan)


def asymmetry(hessian: np.ndarray) -> float:
    """Mean |H − Hᵀ| over all elements of (3n, 3n), diagonal included; zero for symmetric ones."""
    return mean_error(hessian, hessian.T)


def eigenvalues(hessian: np.ndarray) -> np.ndarray:
    """Eigenvalues (3n,), ascending, of the symmetric part of (3n, 3n), in its unit.

    Neither mass-weighted nor projected: translations and rotations are among them. HORM's script
    takes the lower triangle for the whole, which differs for direct forces.
    """
    exact = np.asarray(hessian, dtype=float)  # labels are often kept in float32
    return np.linalg.eigvalsh(0.5 * (exact + exact.T))


def product_error(predicted: np.ndarray, reference: np.ndarray, vectors: np.ndarray) -> float:
    """Mean absolute error of a Hessian's products with k vectors, all (k, n, 3).

    As if all vectors had unit length, so that it compares with the error of Hessian elements
    (a unit vector along a coordinate picks a column) whatever the vectors' scale.
    """
    flat = vectors.reshape(len(vectors), -1).astype(float)
    lengths = np.linalg.norm(flat, axis=1)[:, None, None]
    return mean_error(predicted / lengths, reference / lengths)


def lowest_overlap(atoms: Atoms, first: NormalModes, second: NormalModes) -> float:
    """|⟨v|v'⟩| of the lowest modes, between 0 and 1; NaN for a single atom.

    The modes are mass-weighted, without translations and rotations, and of unit norm.

    Where the lowest mode is degenerate it is any vector of a space, and the overlap the largest
    between vectors of the two spaces (cosine of the smallest principal angle).
    """
    if not first.frequencies.size:
        return np.nan
    overlaps = _lowest(atoms, first) @ _lowest(atoms, second).T
    return float(np.linalg.svd(overlaps, compute_uv=False)[0])


def _lowest(atoms: Atoms, modes: NormalModes) -> NDArray[np.float64]:
    """The modes (k, 3n) degenerate with the lowest, mass-weighted and orthonormal."""
    degenerate = modes.frequencies <= modes.frequencies[0] + DEGENERATE
    weighted = modes.displacements[degenerate] * np.sqrt(atoms.get_masses())[:, None]
    weighted = weighted.reshape(len(weighted), -1)
    return np.asarray(weighted / np.linalg.norm(weighted, axis=1, keepdims=True))


def imaginary_modes(modes: NormalModes) -> int:
    """How many modes are imaginary: below −20 cm⁻¹, as softer ones may be noise."""
    return len(modes.imaginary_frequencies(IMAGINARY_THRESHOLD))


def confusion(reference: np.ndarray, predicted: np.ndarray) -> NDArray[np.int_]:
    """How often each number of imaginary modes was taken for which: (3, 3) counts.

    Rows: 0, 1, and 2 or more by the reference; columns: by the prediction. Frames where either
    is NaN do not count.
    """
    known = np.isfinite(reference) & np.isfinite(predicted)
    counts = np.zeros((3, 3), dtype=int)
    rows, columns = (np.minimum(n[known].astype(int), 2) for n in (reference, predicted))
    np.add.at(counts, (rows, columns), 1)
    return counts


def gibbs_energy(atoms: Atoms, modes: NormalModes, energy: float) -> float:
    """Gibbs energy (eV) at 298.15 K and 1 atm of a minimum or transition state.

    energy: eV. Ideal gas, rigid rotor, low modes as free rotors (`thermochemistry`); one
    imaginary mode is left out as the reaction coordinate. NaN for more of them, and where a mode
    has no restoring force.
    """
    order = imaginary_modes(modes)
    if order > 1:
        return np.nan
    try:
        return thermochemistry(atoms, modes, energy, order=order, temperature=TEMPERATURE).gibbs
    except ThermochemistryError:
        return np.nan


def largest_force(forces: np.ndarray) -> float:
    """The largest length of a force on an atom, of (n, 3)."""
    return float(np.linalg.norm(np.asarray(forces, dtype=float), axis=1).max())


def within(values: np.ndarray, limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Which values (frames,) are in the bin [lower, upper)."""
    return np.asarray((values >= limits[0]) & (values < limits[1]))
