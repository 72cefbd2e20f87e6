"""LEFTNet with energy-derivative or direct forces.

Du, Wang, Feng, Wang, Ji, Gomes and Ma, "A new perspective on building efficient and
expressive 3D equivariant graph neural networks", NeurIPS 2023, arXiv:2304.04757; in the
configuration of OA-ReactDiff (arXiv:2304.06174) that HORM trains (arXiv:2505.12447).

Vectors become numbers by projection on local frames: one frame an edge, made of the edge and
of the positions of its ends relative to the molecule's centre, and one frame an atom. Three
properties of the published network are kept, because its weights were trained with them:

- pairs beyond the cut-off go on exchanging messages, the same at every distance, so two
  molecules far apart are not independent of each other;
- centres are those of the atoms within the cut-off of one another, so a molecule wider than
  the cut-off is cut into pieces in an order that depends on the numbering of its atoms;
- frames are divided by lengths that can vanish, so second derivatives have spikes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.graphs import Molecules, pairs
from horm_calc.models.contract import Graph, Network, require_sizes, shape_of
from horm_calc.models.leftnet.layers import (
    CUTOFF,
    Block,
    Dense,
    EdgeUpdate,
    Message,
    Update,
    VectorOutput,
    cosine_envelope,
    group_means,
    norm_and_direction,
    radial_constants,
    seen_without_sign,
)
from horm_calc.models.ops import gather_sum, gaussian, radial_function, scalar_mlp
from horm_calc.models.settings import LEFTNetSettings, require_cutoff
from horm_calc.references import ELEMENTS


@dataclass(frozen=True)
class LEFTNetGraph(Graph):
    """A graph of all pairs.

    inside: (edges, 1) 1 within the cut-off, 0 beyond. group: (atoms,) the piece of a molecule
    to whose centre an atom's position refers; n_groups in all. in_pieces: (molecules, 1) 1
    where a molecule is more than one piece. share: (atoms, 1) 1 / number of neighbours.
    """

    inside: Tensor
    group: Tensor
    n_groups: int
    in_pieces: Tensor
    share: Tensor


class LEFTNet(Network):
    """Forces are the negative gradient of the energy."""

    name: ClassVar[str] = "LEFTNet"
    conservative: ClassVar[bool] = True
    cutoff = CUTOFF
    Settings = LEFTNetSettings

    def __init__(
        self,
        layers: int,
        channels: int,
        radial: int,
        inputs: int = 8,
        elements: tuple[int, ...] = ELEMENTS,
    ) -> None:
        super().__init__()
        self.elements = elements
        self.edge_width = 3 * channels + radial
        self.model = _Trunk(layers, channels, radial, inputs)
        features = len(elements) + 2  # one-hot with an unused place, and the atomic number
        self.encoders = nn.ModuleList([Dense(features, 2 * features, inputs - 1)])
        self.decoders = nn.ModuleList([Dense(inputs - 1, 2 * features, features)])
        self.readout = _Readout(channels)

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = ELEMENTS,
    ) -> Self:
        channels, inputs = shape_of(shapes, "model.embedding.weight", 2)
        _, radial = shape_of(shapes, "model.radial_lin.0.weight", 2)
        prefix = "model.gcl_layers."
        layers = len({key.split(".")[2] for key in shapes if key.startswith(prefix)})
        require_sizes(LEFTNetSettings, layers, channels, radial, inputs)
        shown = "model.radial_emb.means" in shapes
        require_cutoff(LEFTNetSettings.claimed(config).cutoff, CUTOFF, shown)
        return cls.unfilled(layers, channels, radial, inputs, elements)

    @classmethod
    def fresh(cls, config: Mapping[str, Any], elements: tuple[int, ...] = ELEMENTS) -> Self:
        said = cls.said(config)
        require_cutoff(said.cutoff, CUTOFF)
        sizes = (said.num_layers, said.hidden_channels, said.num_radial, said.in_hidden_channels)
        return cls(*sizes, elements)

    def constant(self, key: str) -> Tensor | None:
        means, width = radial_constants(self.model.n_radial)
        constants = {"means": means, "betas": torch.full_like(means, width)}
        return constants.get(key.removeprefix("model.radial_emb."))

    @torch.no_grad()
    def prepare(self, molecules: Molecules) -> LEFTNetGraph:
        target, source = pairs(molecules.sizes, molecules.positions.device)
        positions = molecules.positions.detach()
        inside = (positions[target] - positions[source]).norm(dim=-1) < CUTOFF
        group, n_groups = molecules.molecule, len(molecules.sizes)
        in_pieces = torch.zeros_like(positions[:n_groups, :1])
        if not inside.all():
            group, n_groups, in_pieces = _centring_groups(molecules, target, source, inside)
        sizes = torch.tensor(molecules.sizes, device=group.device)[molecules.molecule]
        return LEFTNetGraph(
            numbers=molecules.numbers,
            molecule=molecules.molecule,
            sizes=molecules.sizes,
            target=target,
            source=source,
            inside=inside.to(positions).unsqueeze(-1),
            group=group,
            n_groups=n_groups,
            in_pieces=in_pieces.to(positions),
            share=(1 / (sizes - 1).clamp(min=1)).to(positions).unsqueeze(-1),
        )

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        assert isinstance(graph, LEFTNetGraph)
        encoded = self._encoded_elements(graph, positions.dtype)
        scalars, vectors = self.model(graph, positions, encoded, not self.conservative)
        energy = gather_sum(None, self.readout(scalars), graph.molecule, len(graph.sizes))
        return energy, self.direct_forces(scalars, vectors)

    def direct_forces(self, scalars: Tensor, vectors: Tensor) -> Tensor | None:
        return None

    def _encoded_elements(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        """(atoms, inputs); the last column is a condition that is always 0."""
        numbers = graph.numbers
        known = torch.tensor([*self.elements, 0], device=numbers.device)
        features = torch.cat([numbers[:, None] == known, numbers[:, None]], dim=1).to(dtype)
        return F.pad(self.encoders[0](features), (0, 1))


class LEFTNetDirect(LEFTNet):
    """Forces are an output of their own; they are not the gradient of the energy."""

    name: ClassVar[str] = "LEFTNet-df"
    conservative: ClassVar[bool] = False

    def direct_forces(self, scalars: Tensor, vectors: Tensor) -> Tensor:
        return self.model.out_pos["output_network"](scalars, vectors)


class _Readout(nn.Module):
    """An atom's share of the energy (atoms,), behind a gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = Dense(channels, channels, channels, 1)
        self.gmlp = Dense(channels, channels, channels, 1)

    def forward(self, scalars: Tensor) -> Tensor:
        return (self.mlp(scalars) * torch.sigmoid(self.gmlp(scalars))).squeeze(-1)


class _Trunk(nn.Module):
    """From encoded elements and positions to scalars (atoms, C) and vectors (atoms, 3, C)."""

    def __init__(self, layers: int, channels: int, radial: int, inputs: int) -> None:
        super().__init__()
        self.n_radial, self.channels = radial, channels
        half, quarter = channels // 2, channels // 4
        self.embedding = nn.Linear(inputs, channels)
        self.neighbor_emb = nn.ModuleDict({"embedding": nn.Linear(inputs, channels)})
        self.s2v = nn.ModuleDict({"lin1": nn.Sequential(nn.Linear(channels, channels))})
        self.radial_lin = nn.Sequential(
            nn.Linear(radial, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.lin3 = nn.Sequential(nn.Linear(3, quarter), nn.SiLU(), nn.Linear(quarter, 1))
        self.pos_expansion = Dense(3, half, channels, bias=False)
        self.gcl_layers = nn.ModuleList(EdgeUpdate(channels, radial) for _ in range(layers))
        self.message_layers = nn.ModuleList(Message(channels, radial) for _ in range(layers))
        self.update_layers = nn.ModuleList(Update(channels) for _ in range(layers))
        self.out_pos = nn.ModuleDict({"output_network": _Only(VectorOutput(channels))})
        # Published checkpoints hold these three, though nothing reads them.
        self.embedding_out = nn.Linear(channels, inputs)
        self.distance_embedding = Dense(radial, half, channels, bias=False)
        self.last_layer = nn.Linear(channels, 1)

    def forward(
        self, graph: LEFTNetGraph, positions: Tensor, encoded: Tensor, with_vectors: bool
    ) -> tuple[Tensor, Tensor]:
        centre = group_means(positions, graph.group, graph.n_groups)
        centred = positions - centre.index_select(0, graph.group)
        blocks = self._blocks(graph, centred)
        s, local = self._first_atoms(blocks, encoded)
        edges = [self._first_edges(block, local) for block in blocks]
        atom_frame = _atom_frames(centred, graph)
        place = self.pos_expansion((centred.unsqueeze(1) @ atom_frame).squeeze(1))
        vectors: Tensor | None = None
        last = len(self.gcl_layers) - 1
        for layer, (update_edges, message, update) in enumerate(
            zip(self.gcl_layers, self.message_layers, self.update_layers, strict=True)
        ):
            s, edges = update_edges(s + place, edges, blocks, graph.share)
            s, vectors = message(s, vectors, edges, blocks, layer)
            s, vectors = update(s, vectors, atom_frame, with_vectors or layer < last)
        assert vectors is not None
        return s, vectors

    def _blocks(self, graph: LEFTNetGraph, centred: Tensor) -> list[Block]:
        distance, frame = _edge_frames(centred, graph.target, graph.source)
        distance, frame = distance * graph.inside, frame * graph.inside.unsqueeze(-1)
        radial, envelope, filters, *weights = radial_function(
            lambda r: self._of_distance(r, graph.inside), distance
        )
        everything = Block(graph.target, graph.source, frame, radial, envelope, filters, weights)
        # A slice of all would be copied on the way back.
        return [everything] if len(graph.blocks) == 1 else [everything[p] for p in graph.blocks]

    def _of_distance(self, distance: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """All that depends on the distance alone: the radial basis and what layers make of it."""
        means, width = radial_constants(self.n_radial)
        gap = torch.exp(-distance) - means.to(distance.device, distance.dtype)
        envelope = cosine_envelope(distance)
        radial = envelope * gaussian(math.sqrt(width) * gap) * inside
        hidden = self.radial_lin[0](radial)
        # Not F.silu: PyTorch has no second derivative of it in forward mode.
        filters = self.radial_lin[2](hidden * torch.sigmoid(hidden)) * envelope
        weights = (cast(Message, layer).of_distance(radial) for layer in self.message_layers)
        return radial, envelope, filters, *weights

    def _first_atoms(self, blocks: list[Block], encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Scalars (atoms, C), and the vectors (atoms, 3, C) that edges are first made of."""
        count, width = len(encoded), (self.channels,)
        neighbors = F.layer_norm(self.neighbor_emb["embedding"](encoded), width)
        s: Tensor | None = None
        for block in blocks:
            s = gather_sum(s, block.filters * neighbors[block.j], block.i, count)
        s = self.embedding(encoded) + s
        senders = F.silu(F.layer_norm(self.s2v["lin1"](s), width))
        local: Tensor | None = None
        for block in blocks:
            sent = block.filters * senders.index_select(0, block.j)
            local = gather_sum(local, sent.unsqueeze(1) * -block.direction, block.i, count)
        assert s is not None and local is not None
        return s, local

    def _first_edges(self, block: Block, local: Tensor) -> Tensor:
        """Of shape (edges, 3C + radial)."""
        of_ends = []
        for end in (block.i, block.j):
            seen = seen_without_sign(local.index_select(0, end), block.frame)
            of_ends.append(scalar_mlp(seen, *self.lin3.parameters()) + seen[:, 0])
        scalars = torch.cat(of_ends, dim=-1) * block.envelope
        return torch.cat([scalars, block.filters, block.radial], dim=-1)


class _Only(nn.Module):
    """A list of one, as published checkpoints have it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.add_module("0", module)

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.get_submodule("0")(*arguments)


def _edge_frames(centred: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths (edges, 1) and frames (edges, 3, 3) whose columns are the three axes."""
    at_i, at_j = centred.index_select(0, i), centred.index_select(0, j)
    distance, along = norm_and_direction(at_i - at_j)
    _, normal = norm_and_direction(torch.linalg.cross(at_i, at_j))
    return distance, torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)


def _atom_frames(centred: Tensor, graph: LEFTNetGraph) -> Tensor:
    """Frames (atoms, 3, 3): from the other atoms' mean to the atom, and across.

    With one centre for the whole molecule the other atoms' mean lies on the line through
    atom and centre, so the second and third axes are zero. The published code gets there by
    rounding errors divided by 1e-6, of which nothing is left in single precision; here
    these axes are zero exactly, and so are their derivatives.
    """
    in_pieces = graph.in_pieces[graph.molecule]
    total = gather_sum(None, centred, graph.molecule, len(graph.sizes))
    others = (total.index_select(0, graph.molecule) * in_pieces - centred) * graph.share
    _, along = norm_and_direction(centred - others)
    _, normal = norm_and_direction(torch.linalg.cross(centred, others) * in_pieces)
    return torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)


def _centring_groups(
    molecules: Molecules, target: Tensor, source: Tensor, inside: Tensor
) -> tuple[Tensor, int, Tensor]:
    """Pieces of molecules wider than the cut-off, as the published code cuts them.

    Atoms in turn, each that has no piece yet takes all atoms within the cut-off into a new
    one, also out of earlier pieces.
    """
    group = torch.full_like(molecules.molecule, -1)
    near = torch.zeros(len(group), len(group), dtype=torch.bool, device=group.device)
    near[target[inside], source[inside]] = True
    count = 0
    for atom in range(len(group)):
        if group[atom] < 0:
            group[near[atom]] = count
            group[atom] = count
            count += 1
    lowest = torch.full((len(molecules.sizes),), count, device=group.device)
    highest = torch.full_like(lowest, -1)
    lowest = lowest.scatter_reduce(0, molecules.molecule, group, "amin")
    highest = highest.scatter_reduce(0, molecules.molecule, group, "amax")
    return group, count, (lowest != highest).unsqueeze(-1)
