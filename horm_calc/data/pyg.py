"""Frames and molecules for PyTorch Geometric (PyG): its data sets, its loaders, its networks.

    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import SchNet
    from horm_calc.data.pyg import FrameDataset, RadiusGraph

    loader = DataLoader(FrameDataset("train.h5"), batch_size=32, shuffle=True)
    network = SchNet(interaction_graph=RadiusGraph(6.0))
    for batch in loader:
        energy = network(batch.z, batch.pos, batch.batch)

The other way round, `HormCalculator.evaluate` and `Potential` take `Data` and `Batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from horm_calc.data.files import open_frames
from horm_calc.data.frames import DataError, Frame, chosen
from horm_calc.graphs import Molecules, pairs_within
from horm_calc.references import reference_energy


class FrameDataset(Dataset):  # type: ignore[misc]  # PyG says no types
    """The frames of files and folders (HDF5, HORM's LMDB, ASE's formats) as a PyG `Dataset`.

    Parameters
    ----------
    *paths
        As `horm_calc.data.files.open_frames` takes them.
    hessians
        Whether items have Hessians; frames without second derivatives are then left out, as PyG
        makes batches only of items with the same attributes.
    references
        Energy of an atom of each element by atomic number, eV, to be subtracted. Total energies
        have too many digits for single precision; `fit_references` in
        `horm_calc.training.atomic_energies` finds references.
    level_of_theory
        Of files that do not say theirs.
    dtype
        Of positions, forces and Hessians.
    transform
        PyG's: a function of an item, applied whenever one is read.

    Items are `Data` with `z` (n,), `pos` (n, 3), Å, `energy` (1,), eV, always in double precision,
    `forces` (n, 3), eV/Å, `reaction`, the name of the reaction, and, if wanted, `hessian` (9n²,),
    eV/Å², flat so that molecules of all sizes make a batch: `hessian.view(3 * n, 3 * n)`.

    Raises
    ------
    DataError
        For files that cannot be used, and with `hessians` where no frame has second derivatives,
        or one is read of which only products with vectors are known.
    """

    def __init__(
        self,
        *paths: Path | str,
        hessians: bool = False,
        references: Mapping[int, float] | None = None,
        level_of_theory: str = "",
        dtype: torch.dtype = torch.float32,
        transform: Callable[[Data], Data] | None = None,
    ) -> None:
        super().__init__(transform=transform)
        frames = open_frames(*paths, level_of_theory=level_of_theory)
        if hessians:
            if not frames.has_second_derivatives.any():
                raise DataError(paths[0], "no frame has a Hessian", "Leave out hessians=True.")
            frames = chosen(frames, np.flatnonzero(frames.has_second_derivatives))
        self.frames, self.hessians = frames, hessians
        self.references, self.dtype = references, dtype

    @property
    def level_of_theory(self) -> str:
        """By which the labels were computed; "" if unknown."""
        return self.frames.level_of_theory

    def len(self) -> int:
        """The number of frames, for PyG."""
        return len(self.frames)

    def get(self, idx: int) -> Data:
        """The frame number `idx`, for PyG."""
        frame = self.frames[idx]
        energy = frame.energy
        if self.references is not None:
            energy -= reference_energy(frame.numbers, self.references)
        data = Data(
            z=torch.as_tensor(frame.numbers.astype(np.int64)),
            pos=torch.as_tensor(frame.positions, dtype=self.dtype),
            energy=torch.tensor([energy], dtype=torch.float64),
            forces=torch.as_tensor(frame.forces, dtype=self.dtype),
            reaction=frame.reaction,
        )
        if self.hessians:
            data.hessian = torch.as_tensor(_hessian(frame), dtype=self.dtype).flatten()
        return data


def _hessian(frame: Frame) -> np.ndarray:
    if frame.hessian is None:
        problem = "has products of its Hessian with vectors, not all of it"
        raise DataError(f"a frame of {frame.reaction}", problem, "Leave out hessians=True.")
    return frame.hessian


class RadiusGraph(torch.nn.Module):
    """Pairs of atoms within a cut-off (Å), for networks of PyG, without torch-cluster or pyg-lib.

    As SchNet's `interaction_graph`: called with positions (atoms, 3) and `batch` (atoms,), it
    gives the edges (2, edges), sources above targets, and their lengths (edges,), Å.
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Edges (2, edges) and their lengths (edges,), Å, as PyG's `RadiusInteractionGraph`."""
        molecules = Molecules(batch, pos, batch, tuple(torch.bincount(batch).tolist()))
        target, source = pairs_within(molecules, self.cutoff)
        return torch.stack([source, target]), (pos[source] - pos[target]).norm(dim=-1)


def to_molecules(data: Any) -> Molecules:
    """A `Data` or `Batch` as this package's networks take it, gradients of `pos` included."""
    batch = getattr(data, "batch", None)
    if batch is None:
        batch = torch.zeros_like(data.z)
    return Molecules(data.z, data.pos, batch, tuple(torch.bincount(batch).tolist()))
