"""The layers of EquiformerV2 (Liao, Wood, Das & Smidt, ICLR 2024, arXiv:2306.12059).

Atoms carry coefficients of spherical harmonics of the degrees 0 ... lmax: tensors
(coefficients, atoms, channels) in degree order. Messages carry those of orders up to mmax in
the frame of their edge: lists over m = 0 ... mmax of tensors (edges, 1 or 2, degrees x
channels), where the second index tells m from -m and the degrees run from m to lmax. See
`horm_calc.models.so3` for both orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from horm_calc.models.contract import Graph
from horm_calc.models.ops import gather_sum, gaussian, radial_function
from horm_calc.models.sphere import Grid

#: Mean number of neighbours in the data for which the architecture was made.
MEAN_NEIGHBORS = 23.395238876342773
#: Standard deviation of the Gaussians of the distance over their spacing.
GAUSSIAN_WIDTH = 2.0
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


def uniform(*shape: int) -> nn.Parameter:
    """Weights of a new network, uniform between ±1/√inputs (the last of the shape), as those of
    its ordinary linear layers are.
    """
    bound = 1 / math.sqrt(shape[-1])
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def element_embedding(sizes: Sizes) -> nn.Embedding:
    """An element as edges see it. In a new network it hardly shows beside the distance."""
    embedding = nn.Embedding(sizes.elements, sizes.edge_channels)
    nn.init.uniform_(embedding.weight, -0.001, 0.001)
    return embedding


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
        of an element is computed once for each atom.
        """
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
            hidden = F.linear(
                gaussian(math.sqrt(0.5) * reduced), by_distance, self.net.get_parameter("0.bias")
            )
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
        self.source_embedding = element_embedding(sizes)
        self.target_embedding = element_embedding(sizes)
        self.rad_func = RadialFunction(sizes, self.degrees * sizes.channels)

    def forward(self, geometry: Geometry) -> Tensor:
        """(coefficients, atoms, channels). In the frame of an edge only m = 0 is not zero."""
        radial = self.rad_func(geometry, self.source_embedding, self.target_embedding)
        along = radial.reshape(-1, self.degrees, self.channels)
        messages = torch.matmul(geometry.to_atom[:, :, : self.degrees], along)
        return sum_over_neighbors(messages, geometry.graph).transpose(0, 1) / MEAN_NEIGHBORS


class EquivariantNorm(nn.Module):
    """Layer norm of the scalars; the other degrees share one root mean square (the paper's
    separable layer normalization).

    Each degree counts the same in the mean, whatever its number of orders.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_l0 = nn.LayerNorm(sizes.channels, EPSILON)
        self.affine_weight = nn.Parameter(torch.ones(sizes.lmax, sizes.channels))

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
        self.weight = uniform(sizes.lmax + 1, outputs, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))

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


def degrees_of_orders(sizes: Sizes) -> list[int]:
    """How many degrees have the order m, for m = 0 ... mmax."""
    return [sizes.lmax + 1 - m for m in range(sizes.mmax + 1)]


def coefficients_of_orders(sizes: Sizes) -> list[int]:
    """How many coefficients have the order m or -m, for m = 0 ... mmax."""
    return [count if m == 0 else 2 * count for m, count in enumerate(degrees_of_orders(sizes))]


def sum_over_neighbors(messages: Tensor, graph: Graph) -> Tensor:
    """(edges, ...) summed at their targets: (atoms, ...)."""
    return gather_sum(None, messages, graph.target, len(graph.numbers))
