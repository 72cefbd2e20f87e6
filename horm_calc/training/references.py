"""Energies of atoms, by which total energies become comparable between molecules."""

from __future__ import annotations

import numpy as np

from horm_calc.training.frames import Frames, iterate
from horm_calc.training.progress import progress


def fit_references(frames: Frames) -> dict[int, float]:
    """For each element, by atomic number, the energy of its atom (eV) that fits the frames best.

    The sum of the atoms' energies is fitted to the frames' total energies by least squares, all
    frames alike. These are no energies of free atoms but of average atoms in molecules, so what
    is left has a mean near zero. Where the compositions do not tell elements apart (only water:
    two hydrogens always come with one oxygen), of all equally good solutions the one of minimum
    norm is taken: sums for the compositions that there are remain right, single energies and
    other compositions mean nothing. Raises `ValueError` if there are no frames.
    """
    if not len(frames):
        raise ValueError("no frames to fit the energies of atoms to")
    numbers, energies = [], np.zeros(len(frames))
    for i, frame in enumerate(progress(iterate(frames), "Fitting atoms' energies", len(frames))):
        numbers.append(np.bincount(frame.numbers, minlength=119).astype(np.int16))
        energies[i] = frame.energy
    return solve_references(np.array(numbers), energies)


def solve_references(counts: np.ndarray, energies: np.ndarray) -> dict[int, float]:
    """The same from counts of atoms (frames, 119) by atomic number, and energies (frames,), eV."""
    elements = np.flatnonzero(counts.any(0))
    # A frame's weight is the number of its like: sums over them give the same normal equations.
    kinds, kind = np.unique(counts[:, elements], axis=0, return_inverse=True)
    weight = np.sqrt(np.bincount(kind))
    means = np.bincount(kind, energies) / weight**2
    solution, *_ = np.linalg.lstsq(kinds * weight[:, None], means * weight, rcond=None)
    return dict(zip(elements.tolist(), solution.tolist(), strict=True))
