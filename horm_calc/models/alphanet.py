"""AlphaNet: local frames, phases that turn the features, and complex states of the atoms.

Yin et al., npj Comput. Mater. 2025 (arXiv:2501.07155), in the form that HORM trained
(Cui et al. 2025, arXiv:2505.12447). Three properties of the published network are kept,
because its weights were trained with them:

- the energy depends on how the molecule lies in space, see `FrameTransition`; only
  translations, permutations of like atoms, and rotations and reflections that map the
  coordinate axes onto each other leave it as it is;
- forces jump where a number of which the absolute value is taken passes through zero: the
  second component of a vector in an edge's frame, any component of an atom's vectors; at
  zero itself their slope is zero, see `_absolute`;
- the energy jumps where two atoms cross the cut-off, because frames hang on the mean position
  of an atom's neighbours, and where one of the phases of a message crosses ±π.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.graphs import Molecules, pairs_within
from horm_calc.models.contract import ArchitectureMismatch, Graph, Network, shape_of
from horm_calc.models.ops import (
    gather_sum,
    gaussian,
    glorot,
    linear_silu,
    norm,
    radial_function,
    scalar_mlp,
)

#: Settings that are supported with their published value only.
SETTINGS: Mapping[str, object] = {
    "readout": "sum",
    "reduce_mode": "sum",
    "use_pbc": False,
    "use_sigmoid": False,
    "has_norm_before_flag": True,
    "has_norm_after_flag": False,
    "num_targets": 1,
    "output_dim": 1,
    "direct_forces": False,
    "compute_stress": False,
}
#: Settings that published configurations hold and that choose nothing here. Dropout is among
#: them: it is no part of the network at inference, and there is none in training either.
UNREAD = {"pos_require_grad", "has_dropout_flag", "device", "compute_forces"}


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
    def said(cls, settings: Mapping[str, int]) -> Self:
        """As a configuration names them."""
        width, head, chi = (settings[k] for k in ("hidden_channels", "head", "hidden_channels_chi"))
        if chi % head or head > width:
            raise ArchitectureMismatch(
                "AlphaNet: head must divide hidden_channels_chi and not exceed hidden_channels"
            )
        return cls(
            layers=settings["num_layers"],
            channels=width,
            chi=settings["main_chi1"],
            radial=settings["num_radial"],
            scalar=width // 4,
            phases=settings["mp_chi1"],
            gate=chi // 2,
            kernel=(head + 1, chi // head, settings["chi2"]),
        )

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
        length = _absolute(left, left, graph.molecule, len(graph.sizes)).sum(1)
        mixed = self.xvec_proj(torch.cat((x, length), dim=-1))
        first, second, third = mixed.split(width, dim=-1)
        x = x + (first + second + product) * (1 / math.sqrt(2))
        return x, vectors + third.unsqueeze(1) * right if with_vectors else vectors


class AlphaNet(Network):
    """The network of given sizes; its forces are the negative gradient of its energy."""

    name: ClassVar[str] = "AlphaNet"
    conservative: ClassVar[bool] = True
    rotations = "unknown"
    defaults: ClassVar[Mapping[str, int | float]] = {
        **{"num_layers": 4, "hidden_channels": 128, "num_radial": 64, "head": 16},
        **{"main_chi1": 32, "mp_chi1": 32, "chi2": 8, "hidden_channels_chi": 96},
        **{"cutoff": 5.0, "eps": 1e-6, "a": 0.35, "b": 0.0},
    }

    def __init__(self, sizes: Sizes, cutoff: float, eps: float) -> None:
        super().__init__()
        if sizes.channels % 2:  # real and imaginary parts
            raise ArchitectureMismatch(f"AlphaNet: {sizes.channels} channels do not make pairs")
        self.edge_width = 3 * sizes.channels + sizes.radial
        self.cutoff, self.eps, width, chi = cutoff, eps, sizes.channels, sizes.chi
        self.a = nn.Parameter(torch.full((108,), self.defaults["a"]))
        self.b = nn.Parameter(torch.full((108,), self.defaults["b"]))
        self.kernel1 = nn.Parameter(torch.randn(width, 2 * chi))
        self.kernels_real = nn.Parameter(torch.randn(sizes.layers, width, chi, chi))
        self.kernels_imag = nn.Parameter(torch.randn(sizes.layers, width, chi, chi))
        self.z_emb = nn.Embedding(95, width)
        self.radial_lin = Perceptron(sizes.radial, width, width)
        self.neighbor_emb = nn.ModuleDict({"embedding": nn.Embedding(95, width)})
        self.S_vector = nn.ModuleDict({"lin1": nn.Sequential(nn.Linear(width, width))})
        self.lin = Perceptron(3, sizes.scalar, 1)
        self.message_layers = nn.ModuleList(Message(sizes) for _ in range(sizes.layers))
        self.FTEs = nn.ModuleList(FrameTransition(width) for _ in range(sizes.layers))
        self.last_layer, self.last_layer_quantum = nn.Linear(width, 1), nn.Linear(2 * chi, 1)

    @classmethod
    def from_shapes(cls, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any]) -> Self:
        """The network of these shapes; cut-off (Å) and eps (Å) come from `config`."""
        _require_supported(config)
        cutoff, eps = (config.get(key, cls.defaults[key]) for key in ("cutoff", "eps"))
        return cls.unfilled(Sizes.of(shapes), cutoff, eps)

    @classmethod
    def fresh(cls, config: Mapping[str, Any]) -> Self:
        """`a` and `b` are what the output of an atom is multiplied with and what is added to it
        (eV), to start with: the published training took the forces' spread and zero."""
        _require_supported(config)
        read = config.keys() - SETTINGS.keys() - UNREAD
        settings = cls.settings({key: config[key] for key in read})
        network = cls(Sizes.said(settings), settings["cutoff"], settings["eps"])
        for parameter, key in ((network.a, "a"), (network.b, "b")):
            nn.init.constant_(parameter, settings[key])
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
        across = _absolute(across, along, molecule, len(graph.sizes))
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


def _require_supported(config: Mapping[str, Any]) -> None:
    for key, value in SETTINGS.items():
        if config.get(key, value) != value:
            raise ArchitectureMismatch(f"AlphaNet: {key} must be {value}, not {config[key]}")


def _normalise(x: Tensor) -> Tensor:
    """Mean 0 and variance 1 along the last axis."""
    return F.layer_norm(x, x.shape[-1:])


def _absolute(x: Tensor, like: Tensor, molecule: Tensor, count: int) -> Tensor:
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


def _spread(graph: PairGraph, x: Tensor, spread: Tensor) -> Tensor:
    """x (atoms, channels) on its way along the edges, times `spread` (pairs, 1, channels)."""
    sent = x.index_select(0, graph.sender).reshape(-1, 2, x.shape[-1])
    return (sent * spread).flatten(0, 1)


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    """The halves of x (atoms, channels), real and imaginary parts, turned in their plane."""
    cos, sin = torch.cos(angles), torch.sin(angles)
    real, imag = x.chunk(2, dim=-1)
    return torch.cat((real * cos - imag * sin, real * sin + imag * cos), dim=-1)
