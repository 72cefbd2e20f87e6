"""AlphaNet: local frames, phases that turn the features, and complex states of the atoms.

Yin et al., npj Comput. Mater. 2025 (arXiv:2501.07155), in the form that HORM trained
(Cui et al. 2025, arXiv:2505.12447). Three properties of the published network are kept,
because its weights were trained with them:

- the energy depends on how the molecule lies in space, see `alphanet_layers.FrameTransition`; only
  translations, permutations of like atoms, and rotations and reflections that map the
  coordinate axes onto each other leave it as it is;
- forces jump where a number of which the absolute value is taken passes through zero: the
  second component of a vector in an edge's frame, any component of an atom's vectors; at
  zero itself their slope is zero, see `alphanet_layers.absolute`;
- the energy jumps where two atoms cross the cut-off, because frames hang on the mean position
  of an atom's neighbours, and where one of the phases of a message crosses ±π.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.graphs import Molecules, pairs_within
from horm_calc.models.alphanet.layers import (
    FrameTransition,
    Message,
    PairGraph,
    Perceptron,
    Sizes,
    absolute,
)
from horm_calc.models.contract import Graph, Network, require_room, require_sizes
from horm_calc.models.ops import (
    gather_sum,
    gaussian,
    norm,
    radial_function,
    scalar_mlp,
)
from horm_calc.models.settings import AlphaNetSettings
from horm_calc.references import ELEMENTS

_ELEMENT_ROWS = 95  # of its tables of elements, read by atomic number


class AlphaNet(Network):
    """The network of given sizes; its forces are the negative gradient of its energy."""

    name: ClassVar[str] = "AlphaNet"
    conservative: ClassVar[bool] = True
    rotations = "unknown"
    Settings = AlphaNetSettings

    def __init__(
        self, sizes: Sizes, cutoff: float, eps: float, elements: tuple[int, ...] = ELEMENTS
    ) -> None:
        super().__init__()
        self.elements = require_room(elements, _ELEMENT_ROWS)
        self.edge_width = 3 * sizes.channels + sizes.radial
        self.cutoff, self.eps, width, chi = cutoff, eps, sizes.channels, sizes.chi
        self.a = nn.Parameter(torch.full((108,), AlphaNetSettings.a))
        self.b = nn.Parameter(torch.full((108,), AlphaNetSettings.b))
        self.kernel1 = nn.Parameter(torch.randn(width, 2 * chi))
        self.kernels_real = nn.Parameter(torch.randn(sizes.layers, width, chi, chi))
        self.kernels_imag = nn.Parameter(torch.randn(sizes.layers, width, chi, chi))
        self.z_emb = nn.Embedding(_ELEMENT_ROWS, width)
        self.radial_lin = Perceptron(sizes.radial, width, width)
        self.neighbor_emb = nn.ModuleDict({"embedding": nn.Embedding(_ELEMENT_ROWS, width)})
        self.S_vector = nn.ModuleDict({"lin1": nn.Sequential(nn.Linear(width, width))})
        self.lin = Perceptron(3, sizes.scalar, 1)
        self.message_layers = nn.ModuleList(Message(sizes) for _ in range(sizes.layers))
        self.FTEs = nn.ModuleList(FrameTransition(width) for _ in range(sizes.layers))
        self.last_layer, self.last_layer_quantum = nn.Linear(width, 1), nn.Linear(2 * chi, 1)

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = ELEMENTS,
    ) -> Self:
        """The network of these shapes; cut-off (Å) and eps (Å) come from `config`."""
        sizes = Sizes.of(shapes)
        require_sizes(AlphaNetSettings, **sizes.as_said)
        said = AlphaNetSettings.claimed(config)
        return cls.unfilled(sizes, said.cutoff, said.eps, elements)

    @classmethod
    def fresh(cls, config: Mapping[str, Any], elements: tuple[int, ...] = ELEMENTS) -> Self:
        said = cls.said(config)
        network = cls(Sizes.said(said), said.cutoff, said.eps, elements)
        nn.init.constant_(network.a, said.a)
        nn.init.constant_(network.b, said.b)
        return network

    def prepare(self, molecules: Molecules) -> PairGraph:
        target, source = pairs_within(molecules, self.cutoff)
        first, second = target[target < source], source[target < source]
        neighbours = torch.bincount(target, minlength=len(molecules.numbers)).clamp(min=1)
        return PairGraph(
            molecules.numbers,
            molecules.molecule,
            molecules.sizes,
            target,
            source,
            first,
            second,
            receiver=torch.stack((first, second), dim=1).flatten(),
            sender=torch.stack((second, first), dim=1).flatten(),
            neighbours=neighbours.unsqueeze(1).to(molecules.positions.dtype),
        )

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, None]:
        assert isinstance(graph, PairGraph)
        vector = positions.index_select(0, graph.second) - positions.index_select(0, graph.first)
        distance = norm(vector)
        unit = vector / (distance + self.eps)
        direction = torch.stack((unit, -unit), dim=1).flatten(0, 1)
        of_distance = radial_function(self._of_distance, distance)
        envelope, spread, *of_layers = (value.unsqueeze(1) for value in of_distance)

        species = _normalise(self.z_emb(graph.numbers))
        neighbour = _normalise(self.neighbor_emb["embedding"](graph.numbers))
        spreading = _spread(graph, neighbour, spread)
        x = species + gather_sum(None, spreading, graph.receiver, len(species))
        frame = self._frames(graph, positions, direction)
        scalars = self._scalars(graph, x, spread, frame) * envelope

        state = torch.matmul(species, self.kernel1).reshape(len(species), 2, -1)
        vectors, turned, last = None, x, len(self.FTEs) - 1
        for layer, transition in enumerate(self.FTEs):
            message = cast(Message, self.message_layers[layer])
            filters = message.filters(scalars, *of_layers[2 * layer : 2 * layer + 2])
            phases, dx, change = message(graph, direction, filters, turned, vectors)
            x, vectors = x + dx, change if vectors is None else vectors + change
            state = self._evolve(layer, x, state)
            x, vectors = transition(graph, x, vectors, layer < last)
            if layer < last:
                turned = _turn(x, message.scale2(phases))
        quantum = self.last_layer_quantum(state.flatten(1)) * (1 / state.shape[-1])
        output = (self.last_layer(x) + quantum).squeeze(-1)
        output = output * self.a[graph.numbers] + self.b[graph.numbers]
        return gather_sum(None, output, graph.molecule, len(graph.sizes)), None

    def _of_distance(self, distance: Tensor) -> tuple[Tensor, ...]:
        """Of (pairs, 1): envelope, which is 0 at the cut-off; its message; parts of filters."""
        envelope = 0.5 * torch.cos(distance * (math.pi / self.cutoff)) + 0.5
        means, betas = (x.to(distance.device, distance.dtype) for x in self._radial_constants())
        offset = torch.exp(-distance) - means
        radial = envelope * gaussian(betas.sqrt() * offset)
        hidden = self.radial_lin.inner(radial)
        # Not F.silu, which has no second derivative in forward mode.
        spread = envelope * self.radial_lin.outer(hidden * torch.sigmoid(hidden))
        layers = (cast(Message, message) for message in self.message_layers)
        parts = (part for layer in layers for part in layer.of_distance(spread, radial))
        return envelope, spread, *parts

    def _radial_constants(self) -> tuple[Tensor, Tensor]:
        """Centres and widths (radial,) of the Gaussians in exp(−distance)."""
        count, least = self.radial_lin.inner.in_features, math.exp(-self.cutoff)
        means = torch.linspace(least, 1.0, count, dtype=torch.float64)
        return means, torch.full_like(means, (2 / count * (1.0 - least)) ** -2)

    def constant(self, key: str) -> Tensor | None:
        means, betas = self._radial_constants()
        return {"radial_emb.means": means, "radial_emb.betas": betas}.get(key)

    def _frames(self, graph: PairGraph, positions: Tensor, direction: Tensor) -> Tensor:
        """Frames (edges, 3, 3), each row an axis; only the first is of length one."""
        sender = positions.index_select(0, graph.sender)
        centre = gather_sum(None, sender, graph.receiver, len(positions)) * (1 / graph.neighbours)
        arm = (positions - centre).index_select(0, graph.receiver)
        across = torch.linalg.cross(arm, sender - centre.index_select(0, graph.receiver))
        return torch.stack((direction, across, torch.linalg.cross(direction, across)), dim=1)

    def _scalars(self, graph: PairGraph, x: Tensor, spread: Tensor, frame: Tensor) -> Tensor:
        """Vectors of both ends of an edge as seen in its frame: (pairs, 2, 2 channels)."""
        width = x.shape[-1]
        sent = _spread(graph, F.silu(_normalise(self.S_vector["lin1"](x))), spread)
        pushed = frame[:, 0].unsqueeze(2) * sent.unsqueeze(1)
        vectors = gather_sum(None, pushed, graph.receiver, len(x))
        ends = [vectors.index_select(0, end) for end in (graph.receiver, graph.sender)]
        along, across, upright = torch.matmul(frame, torch.cat(ends, dim=-1)).split(1, dim=1)
        # Reflections change the sign of the second axis, and that alone.
        molecule = graph.molecule.index_select(0, graph.receiver)
        across = absolute(across, along, molecule, len(graph.sizes))
        seen = torch.cat((along, across, upright), dim=1)
        bent = scalar_mlp(seen, *self.lin.inner.parameters(), *self.lin.outer.parameters())
        return ((bent + along.squeeze(1)) * (1 / math.sqrt(width))).reshape(-1, 2, 2 * width)

    def _evolve(self, layer: int, x: Tensor, state: Tensor) -> Tensor:
        """The next complex states (atoms, 2, chi), real and imaginary part, of modulus one."""
        chi = state.shape[-1]
        kernels = self.kernels_real[layer], self.kernels_imag[layer]
        parts = [torch.matmul(x, part.flatten(1)).reshape(-1, chi, chi) for part in kernels]
        operator = torch.cat(parts, dim=-1).transpose(1, 2)
        quarter_turned = torch.stack((-state[:, 1], state[:, 0]), dim=1)
        state = torch.matmul(torch.cat((state, quarter_turned), dim=-1), operator)
        return state / (state * state).sum(1, keepdim=True).sqrt()


def _normalise(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 along the last axis."""
    return F.layer_norm(x, x.shape[-1:])


def _spread(graph: PairGraph, x: Tensor, spread: Tensor) -> Tensor:
    """X (atoms, channels) on its way along the edges, times `spread` (pairs, 1, channels)."""
    sent = x.index_select(0, graph.sender).reshape(-1, 2, x.shape[-1])
    return (sent * spread).flatten(0, 1)


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    """The halves of x (atoms, channels), real and imaginary parts, turned in their plane."""
    cos, sin = torch.cos(angles), torch.sin(angles)
    real, imag = x.chunk(2, dim=-1)
    return torch.cat((real * cos - imag * sin, real * sin + imag * cos), dim=-1)
