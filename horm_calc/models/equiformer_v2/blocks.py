"""Attention and feed-forward networks of EquiformerV2, and the block that is made of them.

Tensors have the layouts of `horm_calc.models.equiformer_v2.layers`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from horm_calc.models.contract import Graph
from horm_calc.models.equiformer_v2.layers import (
    EPSILON,
    DegreeLinear,
    EquivariantNorm,
    Geometry,
    RadialFunction,
    Sizes,
    SO2Convolution,
    coefficients_of_orders,
    degrees_of_orders,
    element_embedding,
    sum_over_neighbors,
    uniform,
)
from horm_calc.models.sphere import Grid, perceptron_on_sphere, silu_on_sphere

#: Slope of the attention's activation at minus infinity.
NEGATIVE_SLOPE = 0.2


class GraphAttention(nn.Module):
    """Messages between neighbours, weighted by attention."""

    def __init__(self, sizes: Sizes, outputs: int) -> None:
        super().__init__()
        self.sizes = sizes
        pair, values = 2 * sizes.channels, sizes.heads * sizes.value_channels
        scalars = sizes.heads * sizes.alpha_channels + sizes.hidden_channels
        self.source_embedding = element_embedding(sizes)
        self.target_embedding = element_embedding(sizes)
        self.so2_conv_1 = SO2Convolution(sizes, pair, sizes.hidden_channels, scalars)
        self.so2_conv_1.rad_func = RadialFunction(sizes, pair * sum(degrees_of_orders(sizes)))
        self.alpha_norm = nn.LayerNorm(sizes.alpha_channels, EPSILON)
        self.alpha_dot = uniform(sizes.heads, sizes.alpha_channels)
        self.so2_conv_2 = SO2Convolution(sizes, sizes.hidden_channels, values)
        self.proj = DegreeLinear(sizes, values, outputs)

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """(coefficients, atoms, channels) to (coefficients, atoms, outputs)."""
        attention, hidden = self._hidden(x, geometry, self.sizes.mmax)
        values = [
            part.reshape(-1, count, attention.shape[2])
            for part, count in zip(
                self.so2_conv_2(hidden), coefficients_of_orders(self.sizes), strict=True
            )
        ]
        messages = torch.matmul(geometry.to_atom, torch.cat(values, 1) * attention)
        return self.proj(sum_over_neighbors(messages, geometry.graph).transpose(0, 1))

    def vectors(self, x: Tensor, geometry: Geometry) -> Tensor:
        """Of the outputs only those of degree 1, and of these the first channel: (atoms, 3)."""
        attention, hidden = self._hidden(x, geometry, 1)
        values = F.linear(self.so2_conv_2.vectors(hidden) * attention, self.proj.weight[1, :1])
        lmax = self.sizes.lmax
        orders = [1, lmax + 1, 2 * lmax + 1]  # where (1, 0), (1, 1) and (1, -1) are
        messages = torch.matmul(geometry.to_atom[:, 1:4, orders], values)
        return sum_over_neighbors(messages, geometry.graph)[:, :, 0]

    def _hidden(self, x: Tensor, geometry: Geometry, mmax: int) -> tuple[Tensor, list[Tensor]]:
        """What the second convolution is given, up to the order `mmax`, and the weights of the
        edges (edges, 1, heads x value channels) for what comes out of it.
        """
        sizes = self.sizes
        scalars, *messages = self.so2_conv_1(self._pairs(x, geometry))
        features, gate, along = scalars.split(
            [
                sizes.heads * sizes.alpha_channels,
                sizes.hidden_channels,
                (sizes.lmax + 1) * sizes.hidden_channels,
            ],
            2,
        )
        hidden = sphere_activation([along, *messages], gate, geometry.message_grid, sizes, mmax)
        return self._attention(features, geometry.graph), hidden

    def _pairs(self, x: Tensor, geometry: Geometry) -> list[Tensor]:
        """Messages of source and target side by side, weighted by the radial function."""
        graph, sizes = geometry.graph, self.sizes
        by_atom = x.transpose(0, 1).reshape(x.shape[1], -1)  # whole rows are faster to gather
        source, target = (
            by_atom[ends].reshape(-1, *x.shape[::2]) for ends in (graph.source, graph.target)
        )
        pairs = torch.cat([source, target], 2)
        rotated = torch.matmul(geometry.to_edge, pairs)
        radial = self.so2_conv_1.rad_func(geometry, self.source_embedding, self.target_embedding)
        widths = [count * pairs.shape[2] for count in degrees_of_orders(sizes)]
        parts = rotated.split(coefficients_of_orders(sizes), 1)
        return [
            part.reshape(-1, 1 if m == 0 else 2, widths[m]) * weight.unsqueeze(1)
            for m, (part, weight) in enumerate(zip(parts, radial.split(widths, 1), strict=True))
        ]

    def _attention(self, features: Tensor, graph: Graph) -> Tensor:
        """Softmax over the neighbours of each atom: (edges, 1, heads x value channels).

        Of normalised features (the paper's attention re-normalization).
        """
        sizes = self.sizes
        normed = self.alpha_norm(features.reshape(-1, sizes.heads, sizes.alpha_channels))
        active = NEGATIVE_SLOPE * normed + (1 - NEGATIVE_SLOPE) * F.silu(normed)
        logits = (active * self.alpha_dot).sum(2)
        constant = logits.detach()
        index = graph.target.unsqueeze(1).expand_as(constant)
        lowest = constant.new_full((len(graph.numbers), sizes.heads), -torch.inf)
        largest = lowest.scatter_reduce(0, index, constant, "amax")
        weights = (logits - largest[graph.target]).exp()
        weights = weights / sum_over_neighbors(weights, graph)[graph.target]
        per_channel = weights[:, :, None].expand(-1, -1, sizes.value_channels)
        return per_channel.reshape(-1, 1, sizes.heads * sizes.value_channels)


def sphere_activation(
    messages: list[Tensor], scalars: Tensor, grid: Grid, sizes: Sizes, mmax: int
) -> list[Tensor]:
    """SiLU of messages as signals on the sphere, up to order `mmax`.

    The separable S² activation of the paper: the scalars do not come from the sphere, but
    are the SiLU of `scalars` (edges, 1, channels).
    """
    channels, kept = sizes.hidden_channels, coefficients_of_orders(sizes)[: mmax + 1]
    signal = torch.cat(
        [
            part.reshape(-1, count, channels).transpose(0, 1)
            for part, count in zip(messages, coefficients_of_orders(sizes), strict=True)
        ]
    )
    active = silu_on_sphere(signal, Grid(grid.evaluate, grid.project[1 : sum(kept)]))
    outputs = torch.cat([F.silu(scalars).transpose(0, 1), active]).split(kept)
    return [
        part.transpose(0, 1).reshape(-1, 1 if m == 0 else 2, degrees * channels)
        for m, (part, degrees) in enumerate(zip(outputs, degrees_of_orders(sizes), strict=False))
    ]


class FeedForward(nn.Module):
    """A network of three layers at the points of a sphere around each atom."""

    def __init__(self, sizes: Sizes, outputs: int) -> None:
        super().__init__()
        inputs, width = sizes.channels, sizes.ffn_channels
        self.so3_linear_1 = DegreeLinear(sizes, inputs, width)
        self.scalar_mlp = nn.Sequential(nn.Linear(inputs, width), nn.SiLU())
        self.grid_mlp = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.SiLU(),
            nn.Linear(width, width, bias=False),
            nn.SiLU(),
            nn.Linear(width, width, bias=False),
        )
        self.so3_linear_2 = DegreeLinear(sizes, width, outputs)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """(coefficients, atoms, channels) to (coefficients, atoms, outputs).

        The first and the last layer mix channels linearly and so commute with the way to the
        sphere and back: they act on the coefficients, which are fewer than the points.
        """
        first, second, third = (self.grid_mlp.get_parameter(f"{i}.weight") for i in (0, 2, 4))
        signal, grid = F.linear(self.so3_linear_1(x), first), Grid(grid.evaluate, grid.project[1:])
        tensors = F.linear(perceptron_on_sphere(signal, second, grid), third)
        return self.so3_linear_2(torch.cat([self.scalar_mlp(x[:1]), tensors]))

    def scalars(self, x: Tensor) -> Tensor:
        """Of the outputs only those of degree 0: (atoms, outputs). They do not see the sphere."""
        last = self.so3_linear_2
        return F.linear(self.scalar_mlp(x[0]), last.weight[0], last.bias)


class TransformerBlock(nn.Module):
    """Attention, then a feed-forward network, each behind a norm and beside an identity."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_1 = EquivariantNorm(sizes)
        self.ga = GraphAttention(sizes, sizes.channels)
        self.norm_2 = EquivariantNorm(sizes)
        self.ffn = FeedForward(sizes, sizes.channels)

    def forward(self, x: Tensor, geometry: Geometry) -> Tensor:
        """(coefficients, atoms, channels) to the same."""
        x = x + self.ga(self.norm_1(x), geometry)
        return x + self.ffn(self.norm_2(x), geometry.atom_grid)
