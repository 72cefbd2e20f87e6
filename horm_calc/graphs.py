"""Molecules as tensors: many of them side by side, and the edges between their atoms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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


def atoms_of(molecules: Any) -> list[Atoms]:
    """Molecules as ASE has them, from `Atoms`, or `Data` and `Batch` of PyTorch Geometric.

    molecules: several of them, or one `Data` or `Batch`. A `Data` gives atomic numbers as `z` or
    `atomic_numbers` and positions as `pos`, Å; those with `batch` are several molecules. What it
    says of a whole molecule (`charge`, `spin`, ...) goes into `info`, and `pbc` is taken over.
    Raises `TypeError` for anything else.
    """
    if hasattr(molecules, "pos"):
        return _of_data(molecules)
    if isinstance(molecules, Atoms) or not isinstance(molecules, Iterable):
        raise TypeError(f"a list of molecules is needed, not {type(molecules).__name__}")
    found: list[Atoms] = []
    for one in molecules:
        if not (isinstance(one, Atoms) or hasattr(one, "pos")):
            raise TypeError(f"a molecule is an Atoms or a Data, not {type(one).__name__}")
        found += _of_data(one) if hasattr(one, "pos") else [one]
    return found


def _of_data(data: Any) -> list[Atoms]:
    """The molecules of a `Data` or `Batch`, told by its attributes: PyG need not be there."""
    fields = dict(data.to_dict())
    numbers = fields.pop("z", None)
    numbers = fields.pop("atomic_numbers", numbers)
    if numbers is None:
        raise TypeError("a Data gives atomic numbers as z or atomic_numbers")
    numbers, positions = _array(numbers).astype(int).ravel(), _array(fields.pop("pos"))
    batch = fields.pop("batch", None)
    batch = np.zeros(len(numbers), int) if batch is None else _array(batch)
    count = int(batch.max(initial=0)) + 1
    whole = {key: _array(value).ravel() for key, value in fields.items() if value is not None}
    molecules = []
    for place in range(count):
        atoms = Atoms(numbers[batch == place], positions[batch == place])
        pbc = whole.get("pbc")
        if pbc is not None and pbc.size in (1, 3, count, 3 * count):
            atoms.pbc = bool(pbc.any())
        atoms.info = {
            key: value[place].item()
            for key, value in whole.items()
            if value.size == count and value.dtype.kind in "biufU"
        }
        molecules.append(atoms)
    return molecules


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


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
