"""Labelled frames: what networks learn from, wherever it is stored.

A frame is one geometry with its energy and forces, and sometimes second derivatives: the whole
Hessian, or its products with some vectors. Sets of frames mix all three kinds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from horm_calc.errors import HormError


class DataError(HormError, ValueError):
    """A file of frames that cannot be used; the message names it and says what helps."""

    def __init__(self, path: Path | str, problem: str, remedy: str = "") -> None:
        super().__init__(path, problem, remedy)  # all three, so that it passes between processes

    def __str__(self) -> str:
        path, problem, remedy = self.args
        return f"{path}: {problem}" + (f". {remedy}" if remedy else "")


def sound(numbers: np.ndarray) -> bool:
    """Whether all of them are finite, in single precision and squared too."""
    return float(np.abs(numbers).max(initial=0)) < 1e18  # a NaN is no number below it


@dataclass(frozen=True, eq=False)
class Frame:
    """One labelled geometry of n atoms.

    Attributes
    ----------
    numbers
        (n,) atomic numbers.
    positions
        (n, 3), Å.
    energy
        Total energy, eV.
    forces
        (n, 3), eV/Å.
    hessian
        (3n, 3n), eV/Å², or None.
    vectors, products
        (k, n, 3), the Hessian's products (eV/Å²) with k dimensionless vectors, where only these are
        known, or None.
    reaction
        Frames of one reaction are never split between training and test.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energy: float
    forces: np.ndarray
    hessian: np.ndarray | None = None
    vectors: np.ndarray | None = None
    products: np.ndarray | None = None
    reaction: str = ""

    @property
    def has_second_derivatives(self) -> bool:
        """Whether second derivatives are known, all of them or some products."""
        return self.hessian is not None or self.products is not None


class Frames(Protocol):
    """A set of frames with random access.

    Attributes
    ----------
    sizes
        (frames,) atoms of each.
    has_second_derivatives
        (frames,) whether second derivatives are known.
    reactions
        The reaction of each.
    level_of_theory
        Such as "GFN2-xTB"; "" if unknown.
    """

    sizes: np.ndarray
    has_second_derivatives: np.ndarray
    reactions: list[str]
    level_of_theory: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...


class Chosen:
    """Some frames of others, in a given order; of several sets one after the other too."""

    def __init__(
        self, parts: Sequence[Frames], chosen: Sequence[int] | np.ndarray | None = None
    ) -> None:
        self._parts = parts
        starts = np.cumsum([0, *map(len, parts)])
        self._starts = starts[:-1]
        self._chosen = np.arange(starts[-1]) if chosen is None else np.asarray(chosen, dtype=int)
        self.sizes = np.concatenate([part.sizes for part in parts])[self._chosen]
        self.has_second_derivatives = np.concatenate(
            [part.has_second_derivatives for part in parts]
        )[self._chosen]
        reactions = [name for part in parts for name in part.reactions]
        self.reactions = [reactions[i] for i in self._chosen]
        levels = {part.level_of_theory for part in parts} - {""}
        self.level_of_theory = " and ".join(sorted(levels))

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Frame:
        place = int(self._chosen[index])
        part = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._parts[part][place - int(self._starts[part])]


def chosen(frames: Frames, indices: Sequence[int] | np.ndarray) -> Frames:
    """The frames number `indices`, in that order."""
    return Chosen([frames], indices)


def iterate(frames: Frames) -> Iterator[Frame]:
    """All frames, one after the other."""
    for index in range(len(frames)):
        yield frames[index]


def fingerprint(frames: Frames) -> str:
    """A digest of numbers, positions and energies, to tell which data a network has seen."""
    digest = hashlib.sha256()
    for frame in iterate(frames):
        digest.update(frame.numbers.astype("<i8").tobytes())
        digest.update(frame.positions.astype("<f8").round(6).tobytes())
        digest.update(np.float64(frame.energy).round(6).tobytes())
    return digest.hexdigest()
