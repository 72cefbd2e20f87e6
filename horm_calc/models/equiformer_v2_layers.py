"""The layers of EquiformerV2 (Liao, Wood, Das & Smidt, ICLR 2024, arXiv:2306.12059).

Atoms carry coefficients of spherical harmonics of the degrees 0 ... lmax: tensors
(coefficients, atoms, channels) in degree order. Messages carry those of orders up to mmax in
the frame of their edge: lists over m = 0 ... mmax of tensors (edges, 1 or 2, degrees x
channels), where the second index tells m from -m and the degrees run from m to lmax. See
`horm_calc.models.so3` for both orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from horm_calc.models.contract import Graph
from horm_calc.models.ops import radial_function
from horm_calc.models.sphere import Grid, perceptron_on_sphere, silu_on_sphere

#: Mean number of neighbours in the data for which the architecture was made.
MEAN_NEIGHBORS = 23.395238876342773
#: Standard deviation of the Gaussians of the distance over their spacing.
GAUSSIAN_WIDTH = 2.0
#: Slope of the attention's activation at minus infinity.
NEGATIVE_SLOPE = 0.2
EPSILON = 1e-5


@dataclass(frozen=True)
class Sizes:
    """Everything about the network that shows in the shapes of its parameters."""

    elements: int
    layers: int
    channels: int
    lmax: int
    mmax: int
    heads: int
    alpha_channels: int
    value_channels: int
    hidden_channels: int
    ffn_channels: int
    edge_channels: int
    gaussians: int


@dataclass(frozen=True)
class Geometry:
    """What all layers share.

    to_edge: (edges, messages, coefficients), the rotation of what atoms carry into messages,
    which are numbered as in `so3.by_order`.
    to_atom: (edges, coefficients, messages), the way back.
    distance: (edges, 1), Å.
    centers: (gaussians,), where the Gaussians of the distance have their maxima, Å.
    """

    graph: Graph
    to_edge: Tensor
    to_atom: Tensor
    distance: Tensor
    centers: Tensor
    atom_grid: Grid
    message_grid: Grid


class RadialFunction(nn.Module):
    """Invariant weights of an edge: a function of its length and its two elements."""

    def __init__(self, sizes: Sizes, outputs: int) -> None:
        super().__init__()
        width = sizes.edge_channels
        self.net = nn.Sequential(
            nn.Linear(sizes.gaussians + 2 * width, width),
            nn.LayerNorm(width, EPSILON),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.LayerNorm(width, EPSILON),
            nn.SiLU(),
            nn.Linear(width, outputs),
        )

    def forward(self, geometry: Geometry, sources: nn.Embedding, targets: nn.Embedding) -> Tensor:
        """(edges, outputs). The first layer acts on [distance, source, target]; what it makes
        of an element is computed once for each atom."""
        graph = geometry.graph
        width = sources.embedding_dim
        weight = self.net.get_parameter("0.weight")
        by_distance, by_source, by_target = weight.split(
            [weight.shape[1] - 2 * width, width, width], 1
        )
        of_elements = (
            F.linear(sources(graph.numbers), by_source)[graph.source]
            + F.linear(targets(graph.numbers), by_target)[graph.target]
        )

        def of_distance(distance: Tensor) -> tuple[Tensor, ...]:
            centers = geometry.centers
            reduced = (distance - centers) / (GAUSSIAN_WIDTH * (centers[1] - centers[0]))
            gaussians = (-0.5 * reduced * reduced).exp()
            hidden = F.linear(gaussians, by_distance, self.net.get_parameter("0.bias"))
            hidden = hidden + of_elements
            for layer in list(self.net)[1:]:
                # SiLU spelt out: the fused one has no second derivative in forward mode.
                silu = isinstance(layer, nn.SiLU)
                hidden = hidden * torch.sigmoid(hidden) if silu else layer(hidden)
            return (hidden,)

        return radial_function(of_distance, geometry.distance)[0]


class EdgeDegreeEmbedding(nn.Module):
    """What the directions of its neighbours give an atom to start with."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.degrees, self.channels = sizes.lmax + 1, sizes.channels
        self.source_embedding = nn.Embedding(sizes.elements, sizes.edge_channels)
        self.target_embedding = nn.Embedding(sizes.elements, sizes.edge_channels)
        self.rad_func = RadialFunction(sizes, self.degrees * sizes.channels)

    def forward(self, geometry: Geometry) -> Tensor:
        """(coefficients, atoms, channels). In the frame of an edge only m = 0 is not zero."""
        radial = self.rad_func(geometry, self.source_embedding, self.target_embedding)
        along = radial.reshape(-1, self.degrees, self.channels)
        messages = torch.matmul(geometry.to_atom[:, :, : self.degrees], along)
        return sum_over_neighbors(messages, geometry.graph).transpose(0, 1) / MEAN_NEIGHBORS


class EquivariantNorm(nn.Module):
    """Layer norm of the scalars; the other degrees share one root mean square.

    Each degree counts the same in the mean, whatever its number of orders.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_l0 = nn.LayerNorm(sizes.channels, EPSILON)
        self.affine_weight = nn.Parameter(torch.empty(sizes.lmax, sizes.channels))

    def forward(self, x: Tensor) -> Tensor:
        """(coefficients, atoms, channels), normalised over all but the atoms."""
        lmax, channels = self.affine_weight.shape
        orders = torch.arange(3, 2 * lmax + 2, 2, device=x.device)
        share = (1.0 / (lmax * channels * orders.to(x.dtype))).repeat_interleave(orders)
        tensors = x[1:]
        square = (tensors * tensors).sum(2, keepdim=True)
        mean_square = (square * share[:, None, None]).sum(0, keepdim=True)
        scale = self.affine_weight.repeat_interleave(orders, 0)[:, None, :]
        normed = tensors / (mean_square + EPSILON).sqrt() * scale
        return torch.cat([self.norm_l0(x[:1]), normed])


class DegreeLinear(nn.Module):
    """A linear map of the channels for each degree; only scalars have a bias."""

    def __init__(self, sizes: Sizes, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sizes.lmax + 1, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(coefficients, atoms, inputs) to (coefficients, atoms, outputs)."""
        parts = [F.linear(x[:1], self.weight[0], self.bias)]
        for degree in range(1, len(self.weight)):
            part = x[degree**2 : (degree + 1) ** 2]
            parts.append(F.linear(part, self.weight[degree]))
        return torch.cat(parts)


class SO2Convolution(nn.Module):
    """A map of messages that commutes with rotations about their edge (arXiv:2302.03655).

    Coefficients of the orders m and -m are multiplied like a complex number, by a complex
    matrix over degrees and channels. Order 0 gives `scalars` more channels, which come first.
    """

    #: Weights of the inputs, where the convolution has them.
    rad_func: RadialFunction

    def __init__(self, sizes: Sizes, inputs: int, outputs: int, scalars: int = 0) -> None:
        super().__init__()
        self.outputs = outputs
        degrees = degrees_of_orders(sizes)
        self.fc_m0 = nn.Linear(degrees[0] * inputs, scalars + degrees[0] * outputs)
        self.so2_m_conv = nn.ModuleList(
            nn.ModuleDict({"fc": nn.Linear(n * inputs, 2 * n * outputs, bias=False)})
            for n in degrees[1:]
        )

    def forward(self, messages: list[Tensor]) -> list[Tensor]:
        """Messages of all degrees, each (edges, 1 or 2, [scalars +] degrees x outputs)."""
        return [self.fc_m0(messages[0])] + [
            _complex_product(message, *self._matrix(m))
            for m, message in enumerate(messages[1:], start=1)
        ]

    def vectors(self, messages: list[Tensor]) -> Tensor:
        """Of the outputs only those of degree 1: (edges, 3, outputs), m = 0, 1, -1."""
        rows = slice(self.outputs, 2 * self.outputs)
        along = F.linear(messages[0], self.fc_m0.weight[rows], self.fc_m0.bias[rows])
        real, imaginary = self._matrix(1)
        across = _complex_product(messages[1], real[: self.outputs], imaginary[: self.outputs])
        return torch.cat([along, across], 1)

    def _matrix(self, m: int) -> tuple[Tensor, Tensor]:
        """Real and imaginary part of the order m > 0: (degrees x outputs, degrees x inputs)."""
        weight = self.so2_m_conv.get_parameter(f"{m - 1}.fc.weight")
        real, imaginary = weight.split(len(weight) // 2)
        return real, imaginary


def _complex_product(message: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    """`message` (edges, 2, inputs), real and imaginary part, times the matrix that `real` and
    `imaginary` (outputs, inputs) make: (edges, 2, outputs). With three real products, not four.
    """
    x, y = message[:, 0], message[:, 1]
    both = F.linear(x + y, real)
    products = [both - F.linear(y, real + imaginary), both + F.linear(x, imaginary - real)]
    return torch.cat(products, 1).reshape(-1, 2, len(real))


class GraphAttention(nn.Module):
    """Messages between neighbours, weighted by attention (figure 1b of the paper)."""

    def __init__(self, sizes: Sizes, outputs: int) -> None:
        super().__init__()
        self.sizes = sizes
        pair, values = 2 * sizes.channels, sizes.heads * sizes.value_channels
        scalars = sizes.heads * sizes.alpha_channels + sizes.hidden_channels
        self.source_embedding = nn.Embedding(sizes.elements, sizes.edge_channels)
        self.target_embedding = nn.Embedding(sizes.elements, sizes.edge_channels)
        self.so2_conv_1 = SO2Convolution(sizes, pair, sizes.hidden_channels, scalars)
        self.so2_conv_1.rad_func = RadialFunction(sizes, pair * sum(degrees_of_orders(sizes)))
        self.alpha_norm = nn.LayerNorm(sizes.alpha_channels, EPSILON)
        self.alpha_dot = nn.Parameter(torch.empty(sizes.heads, sizes.alpha_channels))
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
        edges (edges, 1, heads x value channels) for what comes out of it."""
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
        """Softmax over the neighbours of each atom: (edges, 1, heads x value channels)."""
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
    """SiLU of messages as signals on the sphere, up to order `mmax` (section 3.2).

    The scalars do not come from the sphere: they are the SiLU of `scalars` (edges, 1,
    channels).
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
    """A network of three layers at the points of a sphere around each atom (section 3.4)."""

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


def degrees_of_orders(sizes: Sizes) -> list[int]:
    """How many degrees have the order m, for m = 0 ... mmax."""
    return [sizes.lmax + 1 - m for m in range(sizes.mmax + 1)]


def coefficients_of_orders(sizes: Sizes) -> list[int]:
    """How many coefficients have the order m or -m, for m = 0 ... mmax."""
    return [count if m == 0 else 2 * count for m, count in enumerate(degrees_of_orders(sizes))]


def sum_over_neighbors(messages: Tensor, graph: Graph) -> Tensor:
    """(edges, ...) summed at their targets: (atoms, ...)."""
    shape = (len(graph.numbers), *messages.shape[1:])
    zeros = torch.zeros(shape, dtype=messages.dtype, device=messages.device)
    return torch.index_add(zeros, 0, graph.target, messages)
