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

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.graphs import Molecules, pairs
from horm_calc.models.contract import ArchitectureMismatch, Graph, Network
from horm_calc.models.ops import (
    gather_sum,
    linear_silu,
    norm,
    radial_function,
    scalar_mlp,
    sum_over_molecules,
)

CUTOFF = 10.0  # Å
EPSILON = 1e-6  # Å or Å², added to lengths before a division
ELEMENTS = (1, 6, 7, 8)


@dataclass(frozen=True)
class LEFTNetGraph(Graph):
    """inside: (edges, 1) 1 within the cut-off, 0 beyond. group: (atoms,) the piece of the
    molecule to whose centre an atom's position refers; n_groups in all. whole: (molecules, 1)
    1 where a molecule is more than one piece."""

    inside: Tensor
    group: Tensor
    n_groups: int
    pieces: Tensor


class LEFTNet(Network):
    """Forces are the negative gradient of the energy."""

    name: ClassVar[str] = "LEFTNet"
    conservative: ClassVar[bool] = True
    cutoff = CUTOFF

    def __init__(self, layers: int, channels: int, radial: int, inputs: int = 8) -> None:
        super().__init__()
        self.model = _Trunk(layers, channels, radial, inputs)
        features = len(ELEMENTS) + 2  # one-hot with an unused place, and the atomic number
        self.encoders = nn.ModuleList([_dense(features, 2 * features, inputs - 1)])
        self.decoders = nn.ModuleList([_dense(inputs - 1, 2 * features, features)])
        self.edge_width = 3 * channels + radial
        self.readout = nn.ModuleDict(
            {part: _dense(channels, channels, channels, 1) for part in ("mlp", "gmlp")}
        )

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> Self:
        try:
            channels, inputs = shapes["model.embedding.weight"]
            radial = shapes["model.radial_lin.0.weight"][1]
        except KeyError as error:
            raise ArchitectureMismatch(f"{cls.name} needs the tensor {error}") from None
        prefix = "model.gcl_layers."
        layers = 1 + max(
            (int(key.removeprefix(prefix).split(".")[0]) for key in shapes if prefix in key),
            default=-1,
        )
        return cls(layers, channels, radial, inputs)

    def constant(self, key: str) -> Tensor | None:
        means, width = _radial_constants(self.model.radial_lin[0].in_features)
        if key == "model.radial_emb.means":
            return means
        if key == "model.radial_emb.betas":
            return torch.full_like(means, width)
        return None

    @torch.no_grad()
    def prepare(self, molecules: Molecules) -> LEFTNetGraph:
        target, source = pairs(molecules.sizes, molecules.positions.device)
        positions = molecules.positions.detach()
        inside = (positions[target] - positions[source]).norm(dim=-1) < CUTOFF
        if inside.all():
            group, n_groups = molecules.molecule, len(molecules.sizes)
            pieces = torch.zeros_like(positions[:n_groups, :1])
        else:
            group, n_groups, pieces = _centring_groups(molecules, target, source, inside)
        return LEFTNetGraph(
            molecules.numbers,
            molecules.molecule,
            molecules.sizes,
            target,
            source,
            inside.to(positions).unsqueeze(-1),
            group,
            n_groups,
            pieces.to(positions),
        )

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        assert isinstance(graph, LEFTNetGraph)
        scalars, vectors = self.model(graph, positions, self._inputs(graph, positions.dtype))
        gate = torch.sigmoid(_apply(self.readout["gmlp"], scalars))
        atomic = (_apply(self.readout["mlp"], scalars) * gate).squeeze(-1)
        energy = sum_over_molecules(atomic, graph.molecule, len(graph.sizes))
        return energy, self.direct_forces(scalars, vectors)

    def direct_forces(self, scalars: Tensor, vectors: Tensor) -> Tensor | None:
        return None

    def _inputs(self, graph: Graph, dtype: torch.dtype) -> Tensor:
        """(atoms, inputs) encoded element; the last column is a condition that is always 0."""
        numbers = graph.numbers
        known = torch.tensor([*ELEMENTS, 0], device=numbers.device)
        features = torch.cat([numbers[:, None] == known, numbers[:, None]], dim=1).to(dtype)
        return F.pad(_apply(self.encoders[0], features), (0, 1))


class LEFTNetDirect(LEFTNet):
    """Forces are an output of their own; they are not the gradient of the energy."""

    name: ClassVar[str] = "LEFTNet-df"
    conservative: ClassVar[bool] = False

    def direct_forces(self, scalars: Tensor, vectors: Tensor) -> Tensor:
        return self.model.out_pos.output_network[0](scalars, vectors)


@dataclass(frozen=True)
class _Block:
    """A range of edges and what is known of them before any layer.

    Work on edges is done block by block: the Jacobians that second derivatives carry make
    the tensors of all edges too large for any cache.
    """

    i: Tensor
    j: Tensor
    frame: Tensor
    radial: Tensor
    envelope: Tensor
    filters: Tensor
    weights: list[Tensor]

    @property
    def direction(self) -> Tensor:
        """(edges, 3, 1) unit vectors from j to i."""
        return self.frame[:, :, :1]


class _Trunk(nn.Module):
    """From encoded elements and positions to scalars (atoms, C) and vectors (atoms, 3, C)."""

    def __init__(self, layers: int, channels: int, radial: int, inputs: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.embedding = nn.Linear(inputs, channels)
        self.embedding_out = nn.Linear(channels, inputs)  # published, read by nothing
        self.neighbor_emb = nn.ModuleDict({"embedding": nn.Linear(inputs, channels)})
        self.s2v = nn.ModuleDict({"lin1": nn.Sequential(nn.Linear(channels, channels))})
        self.radial_lin = nn.Sequential(
            nn.Linear(radial, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        self.lin3 = nn.Sequential(nn.Linear(3, quarter), nn.SiLU(), nn.Linear(quarter, 1))
        self.pos_expansion = _dense(3, half, channels, bias=False)
        self.distance_embedding = _dense(radial, half, channels, bias=False)  # read by nothing
        self.gcl_layers = nn.ModuleList(_EdgeUpdate(channels, radial) for _ in range(layers))
        self.message_layers = nn.ModuleList(_Message(channels, radial) for _ in range(layers))
        self.update_layers = nn.ModuleList(_Update(channels) for _ in range(layers))
        self.last_layer = nn.Linear(channels, 1)  # read by nothing
        self.out_pos = nn.ModuleDict({"output_network": nn.ModuleList([_VectorOutput(channels)])})

    def forward(self, graph: LEFTNetGraph, positions: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        n_atoms, channels = len(graph.numbers), self.embedding.out_features
        centred = positions - _mean(positions, graph.group, graph.n_groups)[graph.group]
        distance, frame = _edge_frames(centred, graph.target, graph.source)
        distance, frame = distance * graph.inside, frame * graph.inside.unsqueeze(-1)
        radial = radial_function(lambda r: self._of_distance(r, graph.inside), distance)
        blocks = [
            _Block(
                graph.target[part],
                graph.source[part],
                frame[part],
                *(values[part] for values in radial[:3]),
                [values[part] for values in radial[3:]],
            )
            for part in graph.blocks
        ]

        neighbors = F.layer_norm(self.neighbor_emb["embedding"](h), (channels,))
        gathered: Tensor | None = None
        for block in blocks:
            gathered = gather_sum(gathered, block.filters * neighbors[block.j], block.i, n_atoms)
        s = self.embedding(h) + gathered
        senders = F.silu(F.layer_norm(self.s2v["lin1"](s), (channels,)))
        local: Tensor | None = None
        for block in blocks:
            pulls = (block.filters * _at(senders, block.j)).unsqueeze(1) * -block.direction
            local = gather_sum(local, pulls, block.i, n_atoms)  # (atoms, 3, C)
        edges = [self._first_edges(block, local) for block in blocks]

        atom_frame = _atom_frames(centred, graph)
        place = _apply(self.pos_expansion, torch.einsum("ax,axk->ak", centred, atom_frame))
        vectors: Tensor | None = None
        last = len(self.gcl_layers) - 1
        for layer, (update_edges, message, update) in enumerate(
            zip(self.gcl_layers, self.message_layers, self.update_layers, strict=True)
        ):
            s, edges = update_edges(s + place, edges, blocks)
            s, vectors = message(s, vectors, edges, blocks, layer)
            s, vectors = update(s, vectors, atom_frame, last_layer=layer == last)
        assert vectors is not None
        return s, vectors

    def _first_edges(self, block: _Block, local: Tensor) -> Tensor:
        of_i, of_j = (self._projection(_at(local, end), block.frame) for end in (block.i, block.j))
        parts = [of_i * block.envelope, of_j * block.envelope, block.filters, block.radial]
        return torch.cat(parts, dim=-1)

    def _of_distance(self, distance: Tensor, inside: Tensor) -> tuple[Tensor, ...]:
        """All that depends on the distance alone: the radial basis and what layers make of it."""
        radial = self._radial_basis(distance) * inside
        envelope = _cosine_envelope(distance)
        weights = (message.rbf_proj(radial) for message in self.message_layers)
        hidden = self.radial_lin[0](radial)
        # Not F.silu: PyTorch has no second derivative of it in forward mode.
        filters = self.radial_lin[2](hidden * torch.sigmoid(hidden)) * envelope
        return radial, envelope, filters, *weights

    def _radial_basis(self, distance: Tensor) -> Tensor:
        means, width = _radial_constants(self.radial_lin[0].in_features)
        gap = torch.exp(-distance) - means.to(distance.device, distance.dtype)
        return _cosine_envelope(distance) * torch.exp(-width * (gap * gap))

    def _projection(self, vectors: Tensor, frame: Tensor) -> Tensor:
        """(edges, C) from an atom's vectors (edges, 3, C) seen in the edge's frame."""
        seen = _absolute_second(torch.einsum("exc,exk->ekc", vectors, frame))
        return scalar_mlp(seen, *self.lin3.parameters()) + seen[:, 0]


class _EdgeUpdate(nn.Module):
    """Messages between scalars, which also change the edges (arXiv:2304.06174, eq. of GCL)."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        edge = 3 * channels + radial
        self.edge_mlp = _dense(2 * channels + edge, channels, channels)
        self.node_mlp = _dense(2 * channels, channels, channels)
        self.edge_out_trans = _dense(channels, edge)
        self.att_mlp = _dense(channels, 1)
        self.x_layernorm = nn.LayerNorm(channels)

    def forward(
        self, s: Tensor, edges: list[Tensor], blocks: list[_Block]
    ) -> tuple[Tensor, list[Tensor]]:
        channels = s.shape[-1]
        x = self.x_layernorm(s)
        first = self.edge_mlp["mlp"][0]["linear"]
        # The first layer acts on (x_i, x_j, edge): its parts for i and j are done per atom.
        of_i, of_j, of_edge = first.weight.split(
            [channels, channels, first.in_features - 2 * channels], dim=1
        )
        from_i, from_j = F.linear(x, of_i, first.bias), F.linear(x, of_j)
        new, total = [], None
        for edge, block in zip(edges, blocks, strict=True):
            message = linear_silu(edge, of_edge, None, _at(from_i, block.i), _at(from_j, block.j))
            message = _linear_silu(self.edge_mlp["mlp"][1]["linear"], message)
            message = message * _linear_silu(self.att_mlp["mlp"][0]["linear"], message)
            total = gather_sum(total, message, block.i, len(s))
            new.append(edge + _linear_silu(self.edge_out_trans["mlp"][0]["linear"], message))
        members = sum(torch.bincount(block.i, minlength=len(s)) for block in blocks)
        mean = total * (1 / members.clamp(min=1).to(s.dtype)).unsqueeze(-1)
        return x + _apply(self.node_mlp, torch.cat([x, mean], dim=-1)), new


class _Message(nn.Module):
    """Messages along edges that carry vectors."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.dir_proj = nn.Sequential(
            nn.Linear(wide + radial, wide), nn.SiLU(), nn.Linear(wide, wide)
        )
        self.x_proj = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.SiLU(),
            nn.Linear(channels, wide, bias=False),
        )
        self.rbf_proj = nn.Linear(radial, wide, bias=False)
        self.x_layernorm = nn.LayerNorm(channels)

    def forward(
        self,
        s: Tensor,
        vectors: Tensor | None,
        edges: list[Tensor],
        blocks: list[_Block],
        layer: int,
    ) -> tuple[Tensor, Tensor]:
        channels = s.shape[-1]
        # The weights of vectors carry the constants 1/sqrt(3) and 1/sqrt(C) of the messages.
        scale = torch.ones(3, channels, dtype=s.dtype, device=s.device)
        scale[1] = 1 / math.sqrt(3 * channels)
        scale[2] = 1 / math.sqrt(channels)
        x = self.x_proj(self.x_layernorm(s)) * scale.flatten()
        scalar_sum, vector_sum = None, None
        for edge, block in zip(edges, blocks, strict=True):
            weights = self.dir_proj[2](_linear_silu(self.dir_proj[0], edge)) * block.weights[layer]
            ds, along, pushed = ((_at(x, block.i) + _at(x, block.j)) * weights).split(
                channels, dim=-1
            )
            # In the published network these messages run from i to j: they are summed over j.
            pushed = pushed.unsqueeze(1) * block.direction
            if vectors is not None:
                pushed = pushed + _at(vectors, block.i) * along.unsqueeze(1)
            scalar_sum = gather_sum(scalar_sum, ds, block.j, len(s))
            vector_sum = gather_sum(vector_sum, pushed, block.j, len(s))
        s = (s + scalar_sum) * (1 / math.sqrt(2))
        return s, vector_sum if vectors is None else vectors + vector_sum


class _Update(nn.Module):
    """Scalars and vectors of the same atom exchange what they know."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vec_proj = nn.Linear(channels, 2 * channels, bias=False)
        self.xvec_proj = nn.Sequential(
            nn.Linear(2 * channels, channels, bias=False),
            nn.SiLU(),
            nn.Linear(channels, 3 * channels, bias=False),
        )
        self.lin3 = nn.Sequential(
            nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 8), nn.SiLU(), nn.Linear(8, 1)
        )

    def forward(
        self, s: Tensor, vectors: Tensor, frame: Tensor, last_layer: bool
    ) -> tuple[Tensor, Tensor]:
        channels = s.shape[-1]
        first, second = self.vec_proj(vectors).split(channels, dim=-1)
        seen = _absolute_second(torch.einsum("axc,axk->akc", first, frame))
        known = torch.cat([s, scalar_mlp(seen, *self.lin3.parameters())], dim=-1)
        mixed = self.xvec_proj(known)
        one, two, gate = mixed.split(channels, dim=-1)
        overlap = (first * second).sum(1) * (1 / math.sqrt(channels))
        s = s + (one + two + overlap) * (1 / math.sqrt(2))
        return s, vectors + gate.unsqueeze(1) * second


class _VectorOutput(nn.Module):
    """Gated equivariant block (Schütt et al. 2021, arXiv:2102.03150) with one channel out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vec1_proj = nn.Linear(channels, channels, bias=False)
        self.vec2_proj = nn.Linear(channels, 1, bias=False)
        self.update_net = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 2)
        )

    def forward(self, s: Tensor, vectors: Tensor) -> Tensor:
        lengths = norm(self.vec1_proj(vectors).transpose(1, 2)).squeeze(-1)
        gate = self.update_net(torch.cat([s, lengths], dim=-1))[:, 1:]
        return gate * self.vec2_proj(vectors).squeeze(-1)


def _dense(*widths: int, bias: bool = True) -> nn.ModuleDict:
    """Linear layers under the names that the published files give them."""
    return nn.ModuleDict(
        {
            "mlp": nn.ModuleList(
                nn.ModuleDict({"linear": nn.Linear(a, b, bias=bias)})
                for a, b in itertools.pairwise(widths)
            )
        }
    )


def _apply(layers: nn.Module, x: Tensor) -> Tensor:
    """The layers one after the other, with SiLU between them."""
    first, *rest = layers["mlp"]  # type: ignore[index]
    x = first["linear"](x)
    for layer in rest:
        x = layer["linear"](F.silu(x))
    return x


def _at(values: Tensor, index: Tensor) -> Tensor:
    """values[index], with a derivative that is a plain sum and so faster."""
    return values.index_select(0, index)


def _linear_silu(layer: nn.Linear, x: Tensor) -> Tensor:
    return linear_silu(x, layer.weight, layer.bias)


def _radial_constants(count: int) -> tuple[Tensor, float]:
    """Centres of the radial functions (in exp(-distance/Å)) and their common width."""
    start, end = math.exp(-CUTOFF), 1.0
    return torch.linspace(start, end, count, dtype=torch.float64), (2 / count * (end - start)) ** -2


def _cosine_envelope(distance: Tensor) -> Tensor:
    return 0.5 * (torch.cos(distance * (math.pi / CUTOFF)) + 1.0)


def _edge_frames(centred: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths (edges, 1) and frames (edges, 3, 3) whose columns are the three axes."""
    at_i, at_j = _at(centred, i), _at(centred, j)
    difference = at_i - at_j
    distance = norm(difference)
    along = difference / (distance + EPSILON)
    normal = torch.linalg.cross(at_i, at_j)
    normal = normal / (norm(normal) + EPSILON)
    return distance, torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)


def _atom_frames(centred: Tensor, graph: LEFTNetGraph) -> Tensor:
    """Frames (atoms, 3, 3): from the other atoms' mean to the atom, and across.

    With one centre for the whole molecule the other atoms' mean lies on the line through
    atom and centre, and the second and third axes are zero. The published code gets there by
    rounding errors divided by 1e-6; here the sum of the positions is set to zero exactly.
    """
    total = sum_over_molecules(centred, graph.molecule, len(graph.sizes)) * graph.pieces
    sizes = torch.tensor(graph.sizes, device=centred.device)[graph.molecule].unsqueeze(-1)
    others = (total[graph.molecule] - centred) * (1 / (sizes - 1).clamp(min=1).to(centred.dtype))
    across = centred - others
    along = across / (norm(across) + EPSILON)
    normal = torch.linalg.cross(centred, others)
    normal = normal / (norm(normal) + EPSILON)
    return torch.stack([along, normal, torch.linalg.cross(along, normal)], dim=-1)


def _absolute_second(seen: Tensor) -> Tensor:
    """The component along the second axis, a pseudovector, without its sign."""
    first, second, third = seen.split(1, dim=1)
    return torch.cat([first, second.abs(), third], dim=1)


def _mean(values: Tensor, index: Tensor, count: int) -> Tensor:
    members = torch.bincount(index, minlength=count).clamp(min=1).to(values.dtype)
    return gather_sum(None, values, index, count) * (1 / members).unsqueeze(-1)


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
