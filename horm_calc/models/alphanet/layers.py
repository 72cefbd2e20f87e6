"""The layers of AlphaNet, under the names that published checkpoints give their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.models.contract import Graph, shape_of
from horm_calc.models.ops import gather_sum, glorot, linear_silu
from horm_calc.models.settings import AlphaNetSettings

#: Of the largest number of its kind, in units of the machine's precision: less may be zero.
ROUNDING = 30


@dataclass(frozen=True)
class PairGraph(Graph):
    """The same edges pair by pair: from `second` to `first`, then back.

    What depends on a distance alone has one row (1, C) for the two edges (2, C) of a pair.

    first, second: (pairs,) atoms; receiver, sender: (2 pairs,) the atoms of the edges in that
    order. neighbours: (atoms, 1) their number, but at least 1.
    """

    first: Tensor
    second: Tensor
    receiver: Tensor
    sender: Tensor
    neighbours: Tensor

    @property
    def rows(self) -> list[tuple[int, ...]]:
        pairs = torch.bincount(self.molecule[self.first], minlength=len(self.sizes))
        return [*super().rows, tuple(pairs.tolist())]


@dataclass(frozen=True)
class Sizes:
    """Widths of the network, as a checkpoint's tensors show them."""

    layers: int
    channels: int
    chi: int
    radial: int
    scalar: int
    phases: int
    gate: int
    kernel: tuple[int, int, int]  # heads and 1, channels of a head, results

    @classmethod
    def said(cls, settings: AlphaNetSettings) -> Self:
        """As a configuration names them."""
        head, chi = settings.head, settings.hidden_channels_chi
        return cls(
            layers=settings.num_layers,
            channels=settings.hidden_channels,
            chi=settings.main_chi1,
            radial=settings.num_radial,
            scalar=settings.hidden_channels // 4,
            phases=settings.mp_chi1,
            gate=chi // 2,
            kernel=(head + 1, chi // head, settings.chi2),
        )

    @property
    def as_said(self) -> dict[str, Any]:
        """The inverse of `said`: what a configuration would say."""
        more, width, results = self.kernel
        return {
            **{"num_layers": self.layers, "hidden_channels": self.channels},
            **{"main_chi1": self.chi, "num_radial": self.radial, "mp_chi1": self.phases},
            **{"head": more - 1, "hidden_channels_chi": width * (more - 1), "chi2": results},
        }

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        layers, channels, chi, _ = shape_of(shapes, "kernels_real", 4)
        heads, width, results = shape_of(shapes, "message_layers.0.kernel_real", 3)
        (phases,) = shape_of(shapes, "message_layers.0.diachi1", 1)
        gate, _ = shape_of(shapes, "message_layers.0.diagonal.0.weight", 2)
        _, radial = shape_of(shapes, "radial_lin.0.weight", 2)
        scalar, _ = shape_of(shapes, "lin.0.weight", 2)
        return cls(layers, channels, chi, radial, scalar, phases, gate, (heads, width, results))


class Perceptron(nn.Sequential):
    """Linear–SiLU–Linear; checkpoints call the linear layers 0 and 2."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))

    @property
    def inner(self) -> nn.Linear:
        return cast(nn.Linear, self[0])

    @property
    def outer(self) -> nn.Linear:
        return cast(nn.Linear, self[2])

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(linear_silu(x, self.inner.weight, self.inner.bias))


class Message(nn.Module):
    """What atoms send along their edges in one layer, summed over the neighbours."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, phases, (heads, head_width, results) = sizes.channels, sizes.phases, sizes.kernel
        self.kernel_norm, self.kernels = math.sqrt(width // (heads - 1)), results
        self.diachi1 = nn.Parameter(torch.randn(phases))
        self.kernel_real = nn.Parameter(torch.randn(sizes.kernel))
        self.kernel_imag = nn.Parameter(torch.randn(sizes.kernel))
        self.scale = nn.Linear(width, 2 * (heads - 1) * head_width)
        self.dir_proj = Perceptron(3 * width + sizes.radial, 3 * width, 3 * width)
        self.x_proj = Perceptron(width, width, 3 * width)
        self.rbf_proj = nn.Linear(sizes.radial, 3 * width)
        self.x_layernorm = nn.LayerNorm(width)
        self.diagonal = Perceptron(3 * width, sizes.gate, results)
        self.dx_layer_norm = nn.LayerNorm(phases + width)
        self.scale2 = nn.Sequential(nn.Linear(phases, width // 2))
        self.fc_mps = nn.Linear(phases, phases)
        self.dia = nn.Linear(phases, phases)
        # Checkpoints hold these two, though no output depends on them.
        self.unitary = nn.Parameter(torch.randn(phases, phases))
        self.fc_dx = nn.Linear(phases, width)
        glorot(self.dir_proj, self.x_proj, self.rbf_proj)

    def of_distance(self, spread: Tensor, radial: Tensor) -> tuple[Tensor, Tensor]:
        """The parts of `filters` that depend on the distance alone, each (pairs, 3 channels)."""
        inner, known = self.dir_proj.inner, torch.cat((spread, radial), dim=-1)
        weight = inner.weight[:, -known.shape[-1] :]
        return F.linear(known, weight, inner.bias), self.rbf_proj(radial)

    def filters(self, scalars: Tensor, summand: Tensor, factor: Tensor) -> Tensor:
        """What the geometry makes of a message: (edges, 3 channels).

        scalars: (pairs, 2, 2 channels); summand, factor: (pairs, 1, 3 channels).
        """
        weight = self.dir_proj.inner.weight[:, : scalars.shape[-1]]
        hidden = linear_silu(scalars, weight, None, summand)
        return (self.dir_proj.outer(hidden) * factor).flatten(0, 1)

    def _convolution(self) -> tuple[Tensor, Tensor]:
        """`scale` and the complex convolution in one: weight (2 results, channels) and bias.

        Real parts of the results come before imaginary parts.
        """
        real, imag = self.kernel_real / self.kernel_norm, self.kernel_imag / self.kernel_norm
        of_real = torch.cat((real, imag), dim=-1)
        of_imag = torch.cat((-imag, real), dim=-1)
        matrix = torch.cat((of_real[1:], of_imag[1:])).flatten(0, 1).T
        return matrix @ self.scale.weight, matrix @ self.scale.bias + of_real[0].sum(0)

    def phases(self, x: Tensor, filters: Tensor) -> Tensor:
        """Phases (edges, phases) of complex numbers made of x (edges, channels).

        Convolution, diagonal operator and projection are linear one after the other, and two
        complex numbers of each edge are all that passes between them.
        """
        convolved = F.linear(x, *self._convolution()).reshape(len(x), 2, self.kernels)
        gate = F.silu(self.diagonal(filters)).unsqueeze(1)
        numbers = torch.stack(((convolved * gate).sum(-1), convolved.sum(-1)), dim=-1)
        constant = self.dia(torch.ones_like(self.diachi1))
        basis = torch.stack((self.dia.weight @ self.diachi1, constant), dim=-1)
        state = F.linear(numbers, self.fc_mps.weight @ basis, self.fc_mps.bias)
        return torch.atan2(state[:, 1], state[:, 0])

    def forward(
        self,
        graph: PairGraph,
        direction: Tensor,
        filters: Tensor,
        x: Tensor,
        vectors: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Phases (atoms, phases), changes of x (atoms, channels) and of the vectors.

        direction: (edges, 3); vectors: (atoms, 3, channels), or None while they are zero.
        """
        atoms, width = x.shape
        values = self.x_proj(self.x_layernorm(x)).index_select(0, graph.sender) * filters
        x, of_vectors, of_direction = values.split(width, dim=-1)
        change = direction.unsqueeze(2) * of_direction.unsqueeze(1)
        if vectors is not None:
            sent = (vectors * (1 / math.sqrt(3))).index_select(0, graph.sender)
            change = change + sent * of_vectors.unsqueeze(1)
        change = gather_sum(None, change, graph.receiver, atoms) * (1 / math.sqrt(width))
        phases = gather_sum(None, self.phases(x, filters), graph.receiver, atoms)
        both = torch.cat((phases, gather_sum(None, x, graph.receiver, atoms)), dim=-1)
        phases, x = self.dx_layer_norm(both).split([phases.shape[-1], width], dim=-1)
        return phases, x, change


class FrameTransition(nn.Module):
    """Exchange between the scalars and vectors of an atom ("frame transition encoding").

    The length of a vector is |x| + |y| + |z| here, as published, and so not that of the
    rotated vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vec_proj = nn.Linear(width, 2 * width, bias=False)
        self.xvec_proj = Perceptron(2 * width, width, 3 * width)
        glorot(self)

    def forward(
        self, graph: Graph, x: Tensor, vectors: Tensor, with_vectors: bool
    ) -> tuple[Tensor, Tensor]:
        """New x (atoms, channels) and, where wanted, vectors (atoms, 3, channels)."""
        width = x.shape[-1]
        left, right = self.vec_proj(vectors).split(width, dim=-1)
        product = (left * right).sum(1) * (1 / math.sqrt(width))
        length = absolute(left, left, graph.molecule, len(graph.sizes)).sum(1)
        mixed = self.xvec_proj(torch.cat((x, length), dim=-1))
        first, second, third = mixed.split(width, dim=-1)
        x = x + (first + second + product) * (1 / math.sqrt(2))
        return x, vectors + third.unsqueeze(1) * right if with_vectors else vectors


def absolute(x: Tensor, like: Tensor, molecule: Tensor, count: int) -> Tensor:
    """|x|, but zero with slope zero where x is zero except for rounding.

    By symmetry it often is, and then the sign that rounding gives it, and the forces with it,
    would depend on what else is computed at the same time. x, like: (rows, ...), rows of which
    `molecule` says to which of the `count` molecules they belong; numbers as large as the
    largest of `like` in the same molecule were rounded to make x.
    """
    values, largest = x.detach(), like.detach().abs().flatten(1).amax(1)
    scale = largest.new_zeros(count).scatter_reduce(0, molecule, largest, "amax")[molecule]
    certain = values.abs() > ROUNDING * torch.finfo(x.dtype).eps * scale.reshape(-1, 1, 1)
    return x * (values.sign() * certain)
