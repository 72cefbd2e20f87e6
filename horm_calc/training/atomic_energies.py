"""Energies of atoms, by which total energies become comparable between molecules."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from horm_calc.data.frames import Frame, Frames, iterate
from horm_calc.models.contract import Network
from horm_calc.progress import progress
from horm_calc.references import reference_energy
from horm_calc.training.batches import BatchOptions, batch_of

_TOGETHER = 32  # frames of which a network is asked at once


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
    compositions, energies = Compositions(), []
    for frame in progress(iterate(frames), "Fitting atoms' energies", len(frames)):
        compositions.add(frame)
        energies.append(frame.energy)
    return compositions.references(np.array(energies))


def corrected_references(
    frames: Frames, network: Network, references: Mapping[int, float]
) -> dict[int, float]:
    """Energies of atoms (eV) by which the network's energies come nearest to the frames'.

    To `references`, to which the network was trained, that is added which fits what remains:
    labels less the network's energies and the references, by least squares as above. Of the
    elements that the frames have. Unlike a fit to the labels alone this keeps what the network
    knows of bonds, however few frames there are.
    """
    compositions, rest = Compositions(), []
    dtype = next(network.parameters()).dtype
    making = BatchOptions(references, "none", 1, dtype)
    for start in progress(range(0, len(frames), _TOGETHER), "Comparing levels of theory"):
        some = [frames[i] for i in range(start, min(start + _TOGETHER, len(frames)))]
        [part] = batch_of(some, making, np.random.default_rng(0)).parts
        with torch.no_grad():
            energies, _ = network(network.prepare(part.molecules), part.molecules.positions)
        for frame, energy in zip(some, energies.tolist(), strict=True):
            compositions.add(frame)
            rest.append(frame.energy - reference_energy(frame.numbers, references) - energy)
    fitted = compositions.references(np.array(rest))
    return {number: references[number] + more for number, more in fitted.items()}


class Compositions:
    """Which atoms frames have, kept once for all frames alike."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, int] = {}
        self._kind: list[int] = []

    def add(self, frame: Frame) -> None:
        """Counts the atoms of one more frame."""
        counts = np.bincount(frame.numbers, minlength=119).astype(np.int16).tobytes()
        self._kind.append(self._kinds.setdefault(counts, len(self._kinds)))

    def _counts(self) -> np.ndarray:
        """(kinds, 119): atoms of each atomic number."""
        return np.frombuffer(b"".join(self._kinds), np.int16).reshape(-1, 119)

    def elements(self) -> dict[int, int]:
        """How many atoms there are of each atomic number, in all frames."""
        total = np.bincount(self._kind) @ self._counts()
        return {int(number): int(total[number]) for number in np.flatnonzero(total)}

    def references(self, energies: np.ndarray) -> dict[int, float]:
        """As `fit_references` for total energies (frames,), eV."""
        elements = list(self.elements())
        number = np.bincount(self._kind)
        # Frames alike as one with their mean, weighted by the root of their number, give the
        # same normal equations as all of them.
        weight = np.sqrt(number)
        means = np.bincount(self._kind, energies) / number
        rows = self._counts()[:, elements] * weight[:, None]
        solution, *_ = np.linalg.lstsq(rows, means * weight, rcond=None)
        return dict(zip(elements, solution.tolist(), strict=True))

    def sums(self, references: Mapping[int, float]) -> np.ndarray:
        """(frames,) eV: the sum of the atoms' energies in each."""
        return (self._counts()[:, list(references)] @ list(references.values()))[self._kind]
