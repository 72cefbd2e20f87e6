"""The layers of LEFTNet, under the names that published checkpoints give their weights."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.models.ops import gather_sum, glorot, linear_silu, norm, scalar_mlp, sum_of_ends

CUTOFF = 10.0  # Å
EPSILON = 1e-6  # Å or Å², added to lengths before a division


@dataclass(frozen=True)
class Block:
    """A range of edges and what is known of them before any layer.

    Work on edges is done block by block: the Jacobians that second derivatives carry make
    the tensors of all edges too large for any cache.

    i, j: (edges,) the atoms of an edge. frame: (edges, 3, 3), axes in columns. radial,
    filters and weights (one for each layer) depend on the distance alone, as does envelope
    (edges, 1), which falls from 1 to 0 at the cut-off.
    """

    i: Tensor
    j: Tensor
    frame: Tensor
    radial: Tensor
    envelope: Tensor
    filters: Tensor
    weights: list[Tensor]

    def __getitem__(self, part: slice) -> Block:
        return Block(
            i=self.i[part],
            j=self.j[part],
            frame=self.frame[part],
            radial=self.radial[part],
            envelope=self.envelope[part],
            filters=self.filters[part],
            weights=[of_layer[part] for of_layer in self.weights],
        )

    @property
    def direction(self) -> Tensor:
        """(edges, 3, 1) unit vectors from j to i."""
        return self.frame[:, :, :1]


class Dense(nn.Module):
    """Linear layers with SiLU between them; `plain` and `activated` give the single layers."""

    def __init__(self, *widths: int, bias: bool = True) -> None:
        super().__init__()
        self.mlp = nn.ModuleList(
            nn.ModuleDict({"linear": nn.Linear(a, b, bias=bias)})
            for a, b in itertools.pairwise(widths)
        )

    @property
    def layers(self) -> list[nn.Linear]:
        return [named.get_submodule("linear") for named in self.mlp]  # type: ignore[misc]

    def activated(self, x: Tensor) -> Tensor:
        """With a SiLU after the last layer too."""
        for layer in self.layers:
            x = linear_silu(x, layer.weight, layer.bias)
        return x

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.layers
        for layer in inner:
            x = linear_silu(x, layer.weight, layer.bias)
        return F.linear(x, last.weight, last.bias)


class EdgeUpdate(nn.Module):
    """Scalars exchange messages along edges, and the messages change the edges."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        edge = 3 * channels + radial
        self.channels = channels
        self.edge_mlp = Dense(2 * channels + edge, channels, channels)
        self.node_mlp = Dense(2 * channels, channels, channels)
        self.edge_out_trans = Dense(channels, edge)
        self.att_mlp = Dense(channels, 1)
        self.x_layernorm = nn.LayerNorm(channels)

    def forward(
        self, s: Tensor, edges: list[Tensor], blocks: list[Block], share: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        x = self.x_layernorm(s)
        first, second = self.edge_mlp.layers
        # The first layer acts on (x_i, x_j, edge): its parts for i and j are done per atom.
        channels = self.channels
        of_edge = first.weight[:, 2 * channels :]
        from_i = F.linear(x, first.weight[:, :channels], first.bias)
        from_j = F.linear(x, first.weight[:, channels : 2 * channels])
        new, total = [], None
        for edge, block in zip(edges, blocks, strict=True):
            ends = from_i.index_select(0, block.i), from_j.index_select(0, block.j)
            message = linear_silu(edge, of_edge, None, *ends)
            message = linear_silu(message, second.weight, second.bias)
            message = message * self.att_mlp.activated(message)
            total = gather_sum(total, message, block.i, len(s))
            new.append(edge + self.edge_out_trans.activated(message))
        assert total is not None
        return x + self.node_mlp(torch.cat([x, total * share], dim=-1)), new


class Message(nn.Module):
    """Messages along edges that carry vectors."""

    def __init__(self, channels: int, radial: int) -> None:
        super().__init__()
        wide = 3 * channels
        self.channels = channels
        self.dir_proj = nn.ModuleDict(
            {"0": nn.Linear(wide + radial, wide), "2": nn.Linear(wide, wide)}
        )
        self.x_proj = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.SiLU(),
            nn.Linear(channels, wide, bias=False),
        )
        self.rbf_proj = nn.Linear(radial, wide, bias=False)
        self.x_layernorm = nn.LayerNorm(channels)
        glorot(self.x_proj, self.rbf_proj)

    def forward(
        self,
        s: Tensor,
        vectors: Tensor | None,
        edges: list[Tensor],
        blocks: list[Block],
        layer: int,
    ) -> tuple[Tensor, Tensor]:
        channels = self.channels
        x = self.x_proj(self.x_layernorm(s))
        inner, outer = self.dir_proj["0"], self.dir_proj["2"]
        assert isinstance(inner, nn.Linear)
        scalar_sum, vector_sum = None, None
        for edge, block in zip(edges, blocks, strict=True):
            weights = outer(linear_silu(edge, inner.weight, inner.bias))
            sent = (weights * block.weights[layer]) * sum_of_ends(x, block.i, block.j)
            ds, along, pushed = sent.split(channels, dim=-1)
            # In the published network these messages run from i to j: they are summed over j.
            pushed = pushed.unsqueeze(1) * block.direction
            if vectors is not None:
                pushed = pushed + vectors.index_select(0, block.i) * along.unsqueeze(1)
            scalar_sum = gather_sum(scalar_sum, ds, block.j, len(s))
            vector_sum = gather_sum(vector_sum, pushed, block.j, len(s))
        assert scalar_sum is not None and vector_sum is not None
        s = (s + scalar_sum) * (1 / math.sqrt(2))
        return s, vector_sum if vectors is None else vectors + vector_sum

    def of_distance(self, radial: Tensor) -> Tensor:
        """Factors (edges, 3C) of the three kinds of messages.

        Their constants are put into the weights, which are fewer than the messages.
        """
        weight = self.rbf_proj.weight
        constants = [1.0, 1 / math.sqrt(3 * self.channels), 1 / math.sqrt(self.channels)]
        scale = torch.tensor(constants, dtype=weight.dtype, device=weight.device)
        return F.linear(radial, weight * scale.repeat_interleave(self.channels).unsqueeze(1))


class Update(nn.Module):
    """Scalars and vectors of the same atom exchange what they know."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.vec_proj = nn.Linear(channels, 2 * channels, bias=False)
        self.xvec_proj = nn.Sequential(
            nn.Linear(2 * channels, channels, bias=False),
            nn.SiLU(),
            nn.Linear(channels, 3 * channels, bias=False),
        )
        self.lin3 = nn.Sequential(
            nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 8), nn.SiLU(), nn.Linear(8, 1)
        )
        glorot(self.vec_proj, self.xvec_proj)

    def forward(
        self, s: Tensor, vectors: Tensor, frame: Tensor, with_vectors: bool
    ) -> tuple[Tensor, Tensor]:
        first, second = self.vec_proj(vectors).split(self.channels, dim=-1)
        seen = seen_without_sign(first, frame)
        known = torch.cat([s, scalar_mlp(seen, *self.lin3.parameters())], dim=-1)
        one, two, gate = self.xvec_proj(known).split(self.channels, dim=-1)
        overlap = (first * second).sum(1) * (1 / math.sqrt(self.channels))
        s = s + (one + two + overlap) * (1 / math.sqrt(2))
        return s, vectors + gate.unsqueeze(1) * second if with_vectors else vectors


class VectorOutput(nn.Module):
    """Gated equivariant block (Schütt et al. 2021, arXiv:2102.03150) with one channel out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vec1_proj = nn.Linear(channels, channels, bias=False)
        self.vec2_proj = nn.Linear(channels, 1, bias=False)
        self.update_net = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 2)
        )
        glorot(self)

    def forward(self, s: Tensor, vectors: Tensor) -> Tensor:
        lengths = norm(self.vec1_proj(vectors).transpose(1, 2)).squeeze(-1)
        gate = self.update_net(torch.cat([s, lengths], dim=-1))[:, 1:]
        return gate * self.vec2_proj(vectors).squeeze(-1)


def radial_constants(count: int) -> tuple[Tensor, float]:
    """Centres of the radial functions (in exp(-distance/Å)) and their common width."""
    start, end = math.exp(-CUTOFF), 1.0
    centres = torch.linspace(start, end, count, dtype=torch.float64, device="cpu")
    return centres, (2 / count * (end - start)) ** -2


def cosine_envelope(distance: Tensor) -> Tensor:
    """From 1 at distance zero to 0 at the cut-off."""
    return 0.5 * (torch.cos(distance * (math.pi / CUTOFF)) + 1.0)


def norm_and_direction(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths (..., 1), and vectors (..., 3) divided by a little more than them."""
    length = norm(vectors)
    return length, vectors / (length + EPSILON)


def seen_without_sign(vectors: Tensor, frame: Tensor) -> Tensor:
    """Vectors (n, 3, C) along the axes of frames (n, 3, 3).

    The second axis is a pseudovector, so the sign of that component means nothing.
    """
    first, second, third = (frame.transpose(1, 2) @ vectors).split(1, dim=1)
    return torch.cat([first, second.abs(), third], dim=1)


def group_means(positions: Tensor, group: Tensor, count: int) -> Tensor:
    """Mean position (count, 3) of each group of atoms."""
    members = torch.bincount(group, minlength=count).clamp(min=1).to(positions.dtype)
    return gather_sum(None, positions, group, count) * (1 / members).unsqueeze(-1)
