"""EquiformerV2: an equivariant graph transformer with energies and direct forces.

Liao, Wood, Das & Smidt, ICLR 2024, arXiv:2306.12059; its messages are the SO(2) convolutions
of Passaro & Zitnick 2023, arXiv:2302.03655.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from horm_calc.graphs import Molecules, pairs_within
from horm_calc.models import so3
from horm_calc.models.contract import (
    Graph,
    Network,
    require_room,
    require_sizes,
    shape_of,
)
from horm_calc.models.equiformer_v2.blocks import FeedForward, GraphAttention, TransformerBlock
from horm_calc.models.equiformer_v2.layers import (
    EdgeDegreeEmbedding,
    EquivariantNorm,
    Geometry,
    Sizes,
)
from horm_calc.models.ops import gather_sum
from horm_calc.models.settings import EquiformerV2Settings, require_cutoff
from horm_calc.models.sphere import Grid
from horm_calc.references import ELEMENTS

MAX_NEIGHBORS = 32
#: Points of the grid on the sphere, in polar angle and in azimuth: enough for degrees up to 8.
RESOLUTION = 18
#: Mean number of atoms in the data for which the architecture was made; divides the energy.
MEAN_ATOMS = 77.81317


@dataclass(frozen=True)
class EdgeGraph(Graph):
    """A graph with a direction for each edge, (edges, 3), that fixes the turn of its frame.

    Results do not depend on it. It must not be parallel to the edge, so it is chosen anew for
    each geometry and stays while derivatives are taken.
    """

    axes: Tensor


class EquiformerV2(Network):
    """Energies and direct forces.

    frame_fixed: whether derivatives take the rotations into the frames of the edges for
    constants, as the published training and evaluation do. The Hessian that the network
    was trained on is this one. If not, derivatives are those of the forces as they are.
    """

    name = "EquiformerV2"
    conservative: ClassVar[bool] = False
    cutoff = 12.0
    Settings = EquiformerV2Settings

    def __init__(self, sizes: Sizes, elements: tuple[int, ...] = ELEMENTS) -> None:
        super().__init__()
        self.elements = require_room(elements, sizes.elements)
        self.frame_fixed = True
        self.sizes = sizes
        self.edge_width = 2 * sizes.channels * (sizes.lmax + 1) ** 2
        self.sphere_embedding = nn.Embedding(sizes.elements, sizes.channels)
        self.edge_degree_embedding = EdgeDegreeEmbedding(sizes)
        self.blocks = nn.ModuleList(TransformerBlock(sizes) for _ in range(sizes.layers))
        self.norm = EquivariantNorm(sizes)
        self.energy_block = FeedForward(sizes, 1)
        self.force_block = GraphAttention(sizes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = ELEMENTS,
    ) -> Self:
        sizes = _sizes(shapes)
        require_sizes(EquiformerV2Settings, *astuple(sizes))
        said = EquiformerV2Settings.claimed(config)
        for cutoff in (said.cutoff, said.max_radius):
            require_cutoff(cutoff, cls.cutoff, "distance_expansion.offset" in shapes)
        return cls.unfilled(sizes, elements)

    @classmethod
    def fresh(cls, config: Mapping[str, Any], elements: tuple[int, ...] = ELEMENTS) -> Self:
        said = cls.said(config)
        for cutoff in (said.cutoff, said.max_radius):
            require_cutoff(cutoff, cls.cutoff)
        return cls(Sizes(*astuple(said)[: len(fields(Sizes))]), elements)

    @property
    def rotations(self) -> Literal["equivariant", "ignored", "unknown"]:  # type: ignore[override]
        """With fixed frames only distances are differentiated, and a rotation changes none."""
        return "ignored" if self.frame_fixed else "equivariant"

    def prepare(self, molecules: Molecules) -> EdgeGraph:
        target, source = pairs_within(molecules, self.cutoff, MAX_NEIGHBORS)
        positions = molecules.positions.detach()
        return EdgeGraph(
            numbers=molecules.numbers,
            molecule=molecules.molecule,
            sizes=molecules.sizes,
            target=target,
            source=source,
            axes=so3.second_axes(positions[source] - positions[target]),
        )

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, Tensor]:
        geometry = self._geometry(graph, positions)
        scalars = self.sphere_embedding(graph.numbers)
        start = self.edge_degree_embedding(geometry)
        x = torch.cat([start[:1] + scalars, start[1:]])
        for block in self.blocks:
            x = block(x, geometry)
        x = self.norm(x)
        atoms = self.energy_block.scalars(x)[:, 0]
        energies = gather_sum(None, atoms, graph.molecule, len(graph.sizes)) / MEAN_ATOMS
        return energies, self.force_block.vectors(x, geometry)

    def constant(self, key: str) -> Tensor | None:
        buffer = _published_buffers(self.sizes, self.cutoff).get(key)
        return None if buffer is None else torch.from_numpy(buffer.copy())

    def _geometry(self, graph: Graph, positions: Tensor) -> Geometry:
        assert isinstance(graph, EdgeGraph)
        lmax, mmax = self.sizes.lmax, self.sizes.mmax
        vectors = positions[graph.source] - positions[graph.target]
        framed = vectors.detach() if self.frame_fixed else vectors
        rotation = so3.edge_frames(framed, graph.axes)
        wigner = so3.wigner(rotation, [_like(array, positions) for array in so3.couplings(lmax)])
        rows = [so3.position(lm) for lm in so3.by_order(lmax, mmax)]
        to_edge = wigner[:, rows]
        scale = _like(so3.variance_scale(lmax, mmax)[rows], positions)
        return Geometry(
            graph=graph,
            to_edge=to_edge,
            to_atom=to_edge.transpose(1, 2) * scale,
            distance=(vectors * vectors).sum(1, keepdim=True).sqrt(),
            centers=_like(np.linspace(0.0, self.cutoff, self.sizes.gaussians), positions),
            atom_grid=_grid(lmax, lmax, positions),
            message_grid=_grid(lmax, mmax, positions),
        )


def _like(array: np.ndarray, tensor: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=tensor.dtype, device=tensor.device)


def _grid(lmax: int, mmax: int, like: Tensor) -> Grid:
    """The grid on the sphere for atoms (mmax = lmax, degree order) or messages."""
    evaluate, project = _flat_grid(lmax, mmax)
    return Grid(_like(evaluate, like), _like(project, like))


@cache
def _flat_grid(lmax: int, mmax: int) -> tuple[np.ndarray, np.ndarray]:
    kept = so3.coefficients(lmax, mmax)
    order = range(len(kept)) if lmax == mmax else map(kept.index, so3.by_order(lmax, mmax))
    to_grid, from_grid = so3.grid_matrices(lmax, mmax, RESOLUTION)
    columns = list(order)
    points = RESOLUTION**2
    evaluate = to_grid[:, :, columns].reshape(points, -1)
    project = from_grid[:, :, columns].reshape(points, -1).T
    return evaluate, np.ascontiguousarray(project)


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> Sizes:
    """The sizes that the shapes show, each read where it shows most directly."""
    force = "force_block."
    elements, channels = shape_of(shapes, "sphere_embedding.weight", 2)
    lmax, _ = shape_of(shapes, "norm.affine_weight", 2)
    heads, alpha_channels = shape_of(shapes, force + "alpha_dot", 2)
    edge_channels, edge_inputs = shape_of(shapes, force + "so2_conv_1.rad_func.net.0.weight", 2)
    _, _, values = shape_of(shapes, force + "proj.weight", 3)
    _, hidden = shape_of(shapes, force + "so2_conv_2.fc_m0.weight", 2)
    _, ffn_channels, _ = shape_of(shapes, "energy_block.so3_linear_1.weight", 3)
    return Sizes(
        elements=elements,
        layers=len({key.split(".")[1] for key in shapes if key.startswith("blocks.")}),
        channels=channels,
        lmax=lmax,
        mmax=sum(key.startswith(force + "so2_conv_2.so2_m_conv.") for key in shapes),
        heads=heads,
        alpha_channels=alpha_channels,
        value_channels=values // heads,
        hidden_channels=hidden // (lmax + 1),
        ffn_channels=ffn_channels,
        edge_channels=edge_channels,
        gaussians=edge_inputs - 2 * edge_channels,
    )


@cache
def _published_buffers(sizes: Sizes, cutoff: float) -> dict[str, np.ndarray]:
    """All constants that the published implementation keeps among its parameters."""
    lmax, mmax = sizes.lmax, sizes.mmax
    attention = [f"blocks.{layer}.ga." for layer in range(sizes.layers)] + ["force_block."]
    forward = [f"blocks.{layer}.ffn." for layer in range(sizes.layers)] + ["energy_block."]
    norms = [f"blocks.{layer}.norm_{i}." for layer in range(sizes.layers) for i in (1, 2)]
    degree = np.array([lm[0] for lm in so3.coefficients(lmax, lmax)])
    buffers = {"distance_expansion.offset": np.linspace(0.0, cutoff, sizes.gaussians)}
    for owner in ("", "edge_degree_embedding.", *attention):
        buffers |= _mapping(f"{owner}SO3_rotation.0.mapping.", lmax, lmax)
    convolutions = [owner + f"so2_conv_{i}." for owner in attention for i in (1, 2)]
    for owner in ("", "edge_degree_embedding.", *attention, *convolutions):
        buffers |= _mapping(f"{owner}mappingReduced.", lmax, mmax)
    for owner in ("", *attention, *forward):
        for grid_lmax in range(lmax + 1):
            for grid_mmax in range(lmax + 1):
                prefix = f"{owner}SO3_grid.{grid_lmax}.{grid_mmax}."
                matrices = so3.grid_matrices(grid_lmax, grid_mmax, RESOLUTION)
                buffers[prefix + "to_grid_mat"], buffers[prefix + "from_grid_mat"] = matrices
                buffers |= _mapping(f"{prefix}mapping.", grid_lmax, grid_lmax)
    for owner in ("norm.", *norms):
        share = 1.0 / (lmax * (2 * degree[1:] + 1))
        buffers[owner + "balance_degree_weight"] = share[:, None]
    linear = [f"{owner}so3_linear_{i}." for owner in forward for i in (1, 2)]
    for owner in (*linear, *(owner + "proj." for owner in attention)):
        buffers[owner + "expand_index"] = degree
    return buffers


def _mapping(prefix: str, lmax: int, mmax: int) -> dict[str, np.ndarray]:
    """Degrees and orders of the coefficients, and the permutation to the order of messages."""
    kept = so3.coefficients(lmax, mmax)
    degree, order = np.array(kept).T
    permutation = np.eye(len(kept))[[kept.index(lm) for lm in so3.by_order(lmax, mmax)]]
    return {
        prefix + "l_harmonic": degree,
        prefix + "m_harmonic": np.abs(order),
        prefix + "m_complex": order,
        prefix + "res_size": np.array([len(kept)]),
        prefix + "to_m": permutation,
        prefix + "m_size": lmax + 1 - np.arange(mmax + 1),
    }
