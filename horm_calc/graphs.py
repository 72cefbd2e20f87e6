"""Molecules as tensors: many of them side by side, and the edges between their atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from torch import Tensor


@dataclass(frozen=True)
class Molecules:
    """Several molecules as one set of atoms, those of one molecule next to each other.

    numbers: (atoms,) atomic numbers, int64.
    positions: (atoms, 3), Å.
    molecule: (atoms,) which molecule each atom belongs to, int64, ascending from 0.
    sizes: atoms in each molecule.
    """

    numbers: Tensor
    positions: Tensor
    molecule: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def from_atoms(
        cls,
        molecules: Sequence[Atoms],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Molecules:
        """The tensors of `molecules` (ASE), positions in `dtype` on `device`."""
        sizes = tuple(len(atoms) for atoms in molecules)
        numbers = np.concatenate([atoms.numbers for atoms in molecules])
        positions = np.concatenate([atoms.positions for atoms in molecules])
        return cls(
            torch.as_tensor(numbers, dtype=torch.int64, device=device),
            torch.as_tensor(positions, dtype=dtype, device=device),
            torch.repeat_interleave(
                torch.arange(len(sizes), device=device), torch.tensor(sizes, device=device)
            ),
            sizes,
        )

    def taken(self, indices: Sequence[int]) -> Molecules:
        """The molecules number `indices`, in that order."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        atoms = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in indices])
        sizes = tuple(self.sizes[i] for i in indices)
        device = self.positions.device
        kept = torch.as_tensor(atoms, device=device)
        molecule = np.repeat(np.arange(len(sizes)), sizes)
        return Molecules(
            self.numbers[kept],
            self.positions[kept],
            torch.as_tensor(molecule, device=device),
            sizes,
        )


def pairs(sizes: Sequence[int], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """All ordered pairs of different atoms of the same molecule, as (target, source).

    Both are (edges,) indices of atoms, sorted by target and then by source; a molecule of n
    atoms has n (n - 1) of them.
    """
    if len(set(sizes)) == 1:
        target, source = _pairs_of_equal_molecules(sizes[0], len(sizes))
    else:
        parts = [_pairs_of_equal_molecules(size, 1) for size in sizes]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        target, source = (
            np.concatenate([part[side] + start for part, start in zip(parts, starts, strict=True)])
            for side in (0, 1)
        )
    return (
        torch.as_tensor(target, device=device),
        torch.as_tensor(source, device=device),
    )


def pairs_within(
    molecules: Molecules, cutoff: float, max_neighbors: int | None = None
) -> tuple[Tensor, Tensor]:
    """The pairs closer than `cutoff` (Å), sorted as in `pairs`.

    With `max_neighbors` each target keeps only that many, the nearest; of equally near ones
    those that come first, so that the choice does not depend on chance.
    """
    target, source = pairs(molecules.sizes, molecules.positions.device)
    with torch.no_grad():
        positions = molecules.positions.detach()
        distance = (positions[target] - positions[source]).norm(dim=-1)
        keep = distance <= cutoff
        if max_neighbors is not None and max(molecules.sizes) - 1 > max_neighbors:
            keep &= _rank_by_distance(target, distance) < max_neighbors
    return target[keep], source[keep]


def _pairs_of_equal_molecules(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    atom = np.arange(size)
    off_diagonal = atom[:, None] != atom[None, :]
    target, source = np.nonzero(off_diagonal)
    starts = np.arange(count)[:, None] * size
    return (starts + target).ravel(), (starts + source).ravel()


def _rank_by_distance(target: Tensor, distance: Tensor) -> Tensor:
    """Position of each edge in its target's list of edges, ordered by distance."""
    by_distance = torch.argsort(distance, stable=True)
    order = by_distance[torch.argsort(target[by_distance], stable=True)]
    counts = torch.bincount(target)
    first = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - first[target[order]]
    return rank
