"""Frames as tensors: which frames make up a training step, and with which probing vectors.

Everything about step t follows from the seed and t alone, so that a resumed run sees what an
uninterrupted one would have seen, however many workers load the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from horm_calc.data.frames import Frame, Frames
from horm_calc.graphs import Molecules
from horm_calc.training.probes import probes, weights_of

#: Batches among which frames are ordered by size, so that molecules of a batch are alike.
_SORTED_TOGETHER = 64


@dataclass(frozen=True)
class Part:
    """Frames that are worked on together.

    energies: (molecules,) minus the atoms' references, eV. forces: (atoms, 3), eV/Å.
    vectors, products: (k, atoms, 3) probing vectors and the Hessians' products with them,
    eV/Å²; None where no second derivatives are compared. Molecules with fewer than k vectors
    have zeros in the others. weights: (k, molecules), see `probes.weights_of`; they contain the
    mean over a molecule's vectors.
    """

    molecules: Molecules
    energies: Tensor
    forces: Tensor
    vectors: Tensor | None = None
    products: Tensor | None = None
    weights: Tensor | None = None

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        moved = {
            spec.name: value.to(device)
            for spec in dataclasses.fields(self)
            if isinstance(value := getattr(self, spec.name), Tensor)
        }
        m = self.molecules
        molecules = Molecules(
            m.numbers.to(device), m.positions.to(device), m.molecule.to(device), m.sizes
        )
        return dataclasses.replace(self, molecules=molecules, **moved)


@dataclass(frozen=True)
class Batch:
    """The frames of one step, those with second derivatives apart from those without."""

    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(len(part.energies) for part in self.parts)

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return Batch(tuple(part.to(device) for part in self.parts))


@dataclass(frozen=True)
class BatchOptions:
    """How batches are made.

    references: eV for each atomic number. probe: "rows", "projections", "full", or "none" to
    compare no second derivatives. vectors: how many for each molecule.
    """

    references: Mapping[int, float]
    probe: str
    vectors: int
    dtype: torch.dtype = torch.float32


def batch_of(frames: Sequence[Frame], making: BatchOptions, rng: np.random.Generator) -> Batch:
    """The frames as one batch."""
    probed = making.probe != "none"
    with_second = [frame for frame in frames if probed and frame.has_second_derivatives]
    plain = [frame for frame in frames if not (probed and frame.has_second_derivatives)]
    parts = [_part(plain, making)] if plain else []
    if with_second:
        parts.append(_part_with_second(with_second, making, rng))
    return Batch(tuple(parts))


def _part(frames: Sequence[Frame], making: BatchOptions) -> Part:
    sizes = tuple(len(frame.numbers) for frame in frames)
    centred = [frame.positions - np.mean(frame.positions, axis=0) for frame in frames]
    energies = [
        frame.energy - sum(making.references[int(number)] for number in frame.numbers)
        for frame in frames
    ]
    molecules = Molecules(
        torch.as_tensor(np.concatenate([frame.numbers for frame in frames]).astype(np.int64)),
        torch.as_tensor(np.concatenate(centred), dtype=making.dtype),
        torch.as_tensor(np.repeat(np.arange(len(sizes)), sizes)),
        sizes,
    )
    forces = np.concatenate([frame.forces for frame in frames])
    return Part(
        molecules,
        torch.tensor(energies, dtype=making.dtype),
        torch.as_tensor(forces, dtype=making.dtype),
    )


def _part_with_second(
    frames: Sequence[Frame], making: BatchOptions, rng: np.random.Generator
) -> Part:
    probed = [_probed(frame, making, rng) for frame in frames]
    most = max(len(vectors) for vectors, _, _ in probed)

    def joined(which: int) -> Tensor:
        padded = [
            np.concatenate([one[which], np.zeros((most - len(one[which]), *one[which].shape[1:]))])
            for one in probed
        ]
        return torch.as_tensor(np.concatenate(padded, axis=1), dtype=making.dtype)

    return dataclasses.replace(
        _part(frames, making), vectors=joined(0), products=joined(1), weights=joined(2)
    )


def _probed(
    frame: Frame, making: BatchOptions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (k, n, 3), products (k, n, 3) and weights (k, 1) of a frame.

    Labels that are products themselves come with their vectors.
    """
    if frame.hessian is not None:
        vectors = probes(making.probe, len(frame.numbers), making.vectors, rng)
        flat = vectors.reshape(len(vectors), -1)
        # Rows: the backward pass through the forces gives vᵀH. Labels are symmetric.
        products = (flat @ frame.hessian).reshape(vectors.shape)
    else:
        assert frame.vectors is not None and frame.products is not None
        chosen = rng.permutation(len(frame.vectors))[: making.vectors]
        vectors, products = frame.vectors[chosen], frame.products[chosen]
    return vectors, products, weights_of(vectors)[:, None] / len(vectors)


class Steps(Dataset[Batch]):
    """The batch of every training step.

    With `curved_fraction` that part of each batch has second derivatives, however many frames
    have them; otherwise they come as often as they are. Frames with and without are drawn
    apart, each set in random order again and again, molecules of like size together.
    """

    def __init__(
        self,
        frames: Frames,
        size: int,
        making: BatchOptions,
        seed: int,
        curved_fraction: float | None = None,
    ) -> None:
        self.frames, self.size, self.making, self.seed = frames, size, making, seed
        with_second = (
            frames.has_second_derivatives if making.probe != "none" else np.zeros(len(frames), bool)
        )
        if with_second.any() and not with_second.all():
            share = float(with_second.mean()) if curved_fraction is None else curved_fraction
            many = min(max(round(share * size), 1), size if share == 1 else size - 1)
            parts = [
                (np.flatnonzero(with_second), many),
                (np.flatnonzero(~with_second), size - many),
            ]
        else:
            parts = [(np.arange(len(frames)), size)]
        self._streams = [(members, count) for members, count in parts if count]

    @property
    def per_epoch(self) -> int:
        """Steps in which as many frames are seen as there are."""
        return max(1, -(-len(self.frames) // self.size))

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, 1, step])
        indices = [
            index for number in range(len(self._streams)) for index in self._indices(number, step)
        ]
        return batch_of([self.frames[int(i)] for i in indices], self.making, rng)

    def _indices(self, stream: int, step: int) -> np.ndarray:
        members, count = self._streams[stream]
        batches = max(1, len(members) // count)
        epoch, place = divmod(step, batches)
        return _epoch(self, stream, epoch)[place]


@lru_cache(maxsize=4)
def _epoch(steps: Steps, stream: int, epoch: int) -> list[np.ndarray]:
    """The batches of one pass through a stream of frames; the rest comes in another pass."""
    members, count = steps._streams[stream]
    rng = np.random.default_rng([steps.seed, 2, stream, epoch])
    if len(members) < count:
        return [rng.choice(members, count)]
    order = rng.permutation(members)
    batches: list[np.ndarray] = []
    for start in range(0, len(order), count * _SORTED_TOGETHER):
        near = order[start : start + count * _SORTED_TOGETHER]
        near = near[np.argsort(steps.frames.sizes[near], kind="stable")]
        batches += [near[i : i + count] for i in range(0, len(near) - count + 1, count)]
    return [batches[i] for i in rng.permutation(len(batches))]


def fixed_batches(frames: Frames, size: int, making: BatchOptions, seed: int) -> list[Batch]:
    """All frames once, ordered by size, with probing vectors that are always the same."""
    rng = np.random.default_rng([seed, 3])
    order = np.argsort(frames.sizes, kind="stable")
    return [
        batch_of([frames[int(i)] for i in order[start : start + size]], making, rng)
        for start in range(0, len(order), size)
    ]
