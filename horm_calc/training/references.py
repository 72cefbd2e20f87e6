"""Energies of atoms, so that a network learns only what bonds them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from horm_calc.references import ELEMENTS
from horm_calc.training.frames import Frame


def fit_references(frames: Iterable[Frame]) -> dict[int, float]:
    """Energy of an atom of each element, eV, by least squares of total energy on composition.

    Where the frames do not determine all of them, the solution of least norm. Raises
    `ValueError` for elements that networks do not know.
    """
    compositions, energies = [], []
    for frame in frames:
        counts = [int(np.sum(frame.numbers == number)) for number in ELEMENTS]
        if sum(counts) != len(frame.numbers):
            raise ValueError(f"reaction '{frame.reaction}' has elements other than H, C, N, O")
        compositions.append(counts)
        energies.append(frame.energy)
    fitted, *_ = np.linalg.lstsq(np.array(compositions, float), np.array(energies), rcond=None)
    return dict(zip(ELEMENTS, map(float, fitted), strict=True))
