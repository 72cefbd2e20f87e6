"""MomentNet: a small smooth network for searches on a CPU.

Every atom holds C scalars, C vectors and C traceless symmetric tensors of rank two (real
spherical harmonics of degree 0, 1, 2, so that a tensor has five components). A layer adds to
them the moments of the atom's neighbourhood,

    m_i = Σ_j f(r_ij) Y(r_ij / |r_ij|) (W s_j)  +  Σ_j f'(r_ij) (W' t_j),

and mixes them through invariants such as v·v' and v·T·v', which see angles and torsions, as in
moment tensor potentials (Shapeev, Multiscale Model. Simul. 14, 1153 (2016), arXiv:1512.06054)
and equivariant message passing (PaiNN, arXiv:2102.03150; TensorNet, arXiv:2306.06482).

Channels share their radial functions f within a head. So an edge carries H numbers, not C, and
the sums over neighbours are products of matrices (N, N) with (N, C/H): on a processor whose
memory is slow and whose arithmetic is fast, that is what makes third derivatives, which
training on Hessians needs, affordable. Molecules are therefore worked on as dense tables of
pairs, padded where sizes differ.

The energy is smooth: SiLU and polynomials throughout, no frames, and an envelope whose second
derivative is zero at the cut-off. Where atoms overlap, the repulsion of their nuclei can be added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from horm_calc.graphs import Molecules, pairs
from horm_calc.models.contract import ArchitectureMismatch, Graph, Network, require_sizes, shape_of
from horm_calc.models.ops import gaussian, radial_function
from horm_calc.models.repulsion import ending, pair_constants, repulsion, visibility
from horm_calc.models.settings import MomentNetSettings
from horm_calc.references import ELEMENTS

#: Paths of a message: scalars to scalars, vectors and tensors; vectors to vectors, tensors to
#: tensors. The first layer has no vectors and tensors yet.
PATHS, FIRST_PATHS = 5, 3
_ROOT3 = math.sqrt(3)


@dataclass(frozen=True)
class DenseGraph(Graph):
    """All pairs of each molecule, as a table.

    place: (atoms,) where each atom stands among molecules × largest size, or None where all
    sizes are equal. distinct: (molecules, size, size) whether the pair is of two different atoms.
    kinds: (molecules, size) the atom's place in the network's `elements`. present: (molecules,
    size), 1 or 0. repelling: of each row of pairs what `repulsion` needs, (3, pairs, 1), or None
    where nuclei do not repel each other.
    """

    place: Tensor | None
    distinct: Tensor
    kinds: Tensor
    present: Tensor
    repelling: Tensor | None

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """Also tables, one a molecule, and the rows of tables one after the other."""
        count, size = self.kinds.shape
        return [*super().rows, (1,) * count, (size * size,) * count]


@dataclass(frozen=True)
class Sizes:
    """Widths and depth."""

    layers: int
    channels: int
    heads: int
    radial: int
    hidden: int


class Layer(nn.Module):
    """Messages from the neighbours, and what an atom makes of them."""

    def __init__(self, sizes: Sizes, first: bool, last: bool) -> None:
        super().__init__()
        width, self.heads, self.last = sizes.channels, sizes.heads, last
        self.of_scalars = nn.Linear(width, 3 * width, bias=False)
        if not first:
            self.of_vectors = nn.Linear(width, width, bias=False)
            self.of_tensors = nn.Linear(width, width, bias=False)
        self.mix_vectors = nn.Linear(width, 2 * width, bias=False)
        self.mix_tensors = nn.Linear(width, 2 * width, bias=False)
        self.inner = nn.Linear(5 * width, sizes.hidden)
        self.outer = nn.Linear(sizes.hidden, (1 if last else 5) * width)

    def messages(
        self,
        filters: Sequence[Tensor],
        geometry: Sequence[Tensor],
        scalars: Tensor,
        state: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """Moments of degree 0, 1, 2: (molecules, size, 1, 3 or 5, C) each.

        filters: of each path, (molecules, heads, 1, size, size); geometry: harmonics of degree 1
        and 2, (molecules, 1, 3 or 5, size, size); state: vectors and tensors of the atoms, or
        nothing in the first layer.
        """
        sent = self.of_scalars(scalars).split(scalars.shape[-1], dim=-1)
        weights = [filters[0], *(f * y for f, y in zip(filters[1:3], geometry, strict=True))]
        results = [self._gathered(w, s.unsqueeze(2)) for w, s in zip(weights, sent, strict=True)]
        if state:
            for degree, layer in ((1, self.of_vectors), (2, self.of_tensors)):
                results[degree] = results[degree] + self._gathered(
                    filters[2 + degree], layer(state[degree - 1])
                )
        return tuple(results)

    def _gathered(self, weights: Tensor, sent: Tensor) -> Tensor:
        """Sums over neighbours, of scalars to several components or of components each.

        weights: (molecules, heads, components, size, size) with (molecules, size, 1, C), or
        (molecules, heads, 1, size, size) with (molecules, size, components, C).
        """
        count, heads, rows, size, _ = weights.shape
        columns, width = sent.shape[2], sent.shape[3] // heads
        sent = sent.reshape(count, size, columns, heads, width).permute(0, 3, 1, 2, 4)
        sums = weights.reshape(count, heads, rows * size, size) @ sent.reshape(
            count, heads, size, columns * width
        )
        sums = sums.reshape(count, heads, rows, size, columns, width).permute(0, 3, 2, 4, 1, 5)
        return sums.reshape(count, size, rows * columns, heads * width)

    def forward(
        self,
        filters: Sequence[Tensor],
        geometry: Sequence[Tensor],
        scalars: Tensor,
        state: tuple[Tensor, ...],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        width = scalars.shape[-1]
        sums, *moments = self.messages(filters, geometry, scalars, state)
        vectors, tensors = (
            (state[0] + moments[0], state[1] + moments[1]) if state else tuple(moments)
        )
        v, other_v = self.mix_vectors(vectors).split(width, dim=-1)
        t, other_t = self.mix_tensors(tensors).split(width, dim=-1)
        turned = applied(t, v)
        invariants = [scalars, sums.squeeze(2)]
        for left, right in ((v, other_v), (t, other_t), (turned, other_v)):
            invariants.append((left * right).sum(2))
        mixed = self.outer(F.silu(self.inner(torch.cat(invariants, dim=-1))))
        if self.last:
            return scalars + mixed, ()
        change, *gates = mixed.split(width, dim=-1)
        same_v, from_t, same_t, from_v = (gate.unsqueeze(2) for gate in gates)
        vectors = vectors + same_v * other_v + from_t * turned
        tensors = tensors + same_t * other_t + from_v * traceless(v, other_v)
        return scalars + change, (vectors, tensors)


class MomentNet(Network):
    """The network of given sizes; its forces are the negative gradient of its energy."""

    name: ClassVar[str] = "MomentNet"
    conservative: ClassVar[bool] = True
    Settings = MomentNetSettings

    def __init__(
        self,
        sizes: Sizes,
        cutoff: float,
        repulsion: bool = False,
        elements: tuple[int, ...] = ELEMENTS,
    ) -> None:
        super().__init__()
        self.elements = elements
        self.cutoff, self.repulsion, self.heads = cutoff, repulsion, sizes.heads
        paths = FIRST_PATHS + PATHS * (sizes.layers - 1)
        self.edge_width = 8 * sizes.heads
        self.species = nn.Embedding(len(elements), sizes.channels)
        self.filters = nn.Linear(sizes.radial, paths * sizes.heads, bias=False)
        last = sizes.layers - 1
        self.layers = nn.ModuleList(
            Layer(sizes, depth == 0, depth == last) for depth in range(sizes.layers)
        )
        self.inner = nn.Linear(sizes.channels, sizes.channels)
        self.outer = nn.Linear(sizes.channels, 1)
        self.shift = nn.Parameter(torch.zeros(len(elements)))

    @classmethod
    def fresh(cls, config: Mapping[str, Any], elements: tuple[int, ...] = ELEMENTS) -> Self:
        *sizes, cutoff, repulsion = astuple(cls.said(config))
        return cls(Sizes(*sizes), cutoff, repulsion, elements)

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = ELEMENTS,
    ) -> Self:
        layers = sum(key.endswith(".of_scalars.weight") for key in shapes)
        _, channels = shape_of(shapes, "species.weight", 2)
        rows, radial = shape_of(shapes, "filters.weight", 2)
        hidden, _ = shape_of(shapes, "layers.0.inner.weight", 2)
        heads = rows // (FIRST_PATHS + PATHS * (layers - 1))
        if layers < 1 or heads < 1 or channels % heads:
            raise ArchitectureMismatch("numbers of layers, filters and channels do not agree")
        sizes = Sizes(layers, channels, heads, radial, hidden)
        require_sizes(MomentNetSettings, *astuple(sizes))
        said = MomentNetSettings.claimed(config)
        return cls.unfilled(sizes, said.cutoff, said.repulsion, elements)

    def prepare(self, molecules: Molecules) -> DenseGraph:
        sizes, device = molecules.sizes, molecules.positions.device
        count, size = len(sizes), max(sizes)
        kinds = torch.zeros(119, dtype=torch.int64, device=device)
        kinds[list(self.elements)] = torch.arange(len(self.elements), device=device)
        kind, place = kinds[molecules.numbers], None
        present = torch.ones(count, size, dtype=torch.bool, device=device)
        if min(sizes) < size:
            atoms = torch.tensor(sizes, device=device)
            present = torch.arange(size, device=device) < atoms[:, None]
            place = present.flatten().nonzero().squeeze(1)
            kind = torch.zeros(count * size, dtype=kind.dtype, device=device).index_add(
                0, place, kind
            )
        both = present[:, None] & present[:, :, None]
        kinds = kind.reshape(count, size)
        repelling = None
        if self.repulsion:
            numbers = torch.tensor(self.elements, device=device)[kinds]
            repelling = pair_constants(numbers).reshape(3, -1, 1)
        return DenseGraph(
            molecules.numbers,
            molecules.molecule,
            sizes,
            *pairs(sizes, device),
            place=place,
            distinct=both & ~torch.eye(size, dtype=torch.bool, device=device),
            kinds=kinds,
            present=present.to(molecules.positions.dtype),
            repelling=repelling,
        )

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, None]:
        assert isinstance(graph, DenseGraph)
        count, size = graph.kinds.shape
        if graph.place is not None:
            zero = torch.zeros(count * size, 3, dtype=positions.dtype, device=positions.device)
            positions = torch.index_add(zero, 0, graph.place, positions)
        at = positions.reshape(count, size, 3)
        vector = at.unsqueeze(1) - at.unsqueeze(2)
        squared = torch.where(graph.distinct, (vector * vector).sum(-1), 1.0)
        distance = squared.sqrt()
        # Split once, not indexed where used: each indexing costs a table of zeros backwards.
        geometry = harmonics(vector / distance.unsqueeze(-1)).unsqueeze(1).split([3, 5], dim=2)
        filters, repelled = self._of_pairs(distance, graph)
        scalars, state, start = self.species(graph.kinds), (), 0
        for layer in self.layers:
            stop = start + (PATHS if state else FIRST_PATHS)
            scalars, state = layer(filters[start:stop], geometry, scalars, state)
            start = stop
        energy = self.outer(F.silu(self.inner(scalars))).squeeze(-1) + self.shift[graph.kinds]
        if repelled is not None:
            energy = energy + repelled
        return (energy * graph.present).sum(1), None

    def _of_pairs(
        self, distance: Tensor, graph: DenseGraph
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """What depends on distances alone: filters, and energies of repulsion.

        Filters of each path, (molecules, heads, 1, size, size), are zero unless two atoms are
        there. The energies are those of the atoms, (molecules, size), eV.
        """
        count, size = graph.kinds.shape
        function = partial(self._of_distance, graph.repelling)
        filters, *pairwise = radial_function(function, distance.reshape(-1, 1))
        filters = filters.reshape(count, size * size, -1).transpose(1, 2)
        distinct = graph.distinct.to(filters.dtype).reshape(count, 1, size, size)
        filters = filters.reshape(count, -1, size, size) * distinct
        of_paths = filters.reshape(count, -1, self.heads, 1, size, size).unbind(1)
        if not pairwise:
            return of_paths, None
        repelled = 0.5 * pairwise[0].reshape(count, size, size) * distinct.squeeze(1)
        return of_paths, repelled.sum(2)

    def _of_distance(self, repelling: Tensor | None, distance: Tensor) -> tuple[Tensor, ...]:
        """Of the distances (pairs, 1), Å: the radial functions (pairs, paths · heads).

        And the energies of repulsion (pairs, 1), if the network has any.
        """
        envelope = ending(distance / self.cutoff)
        least, count = math.exp(-self.cutoff), self.filters.in_features
        means = torch.linspace(least, 1.0, count, dtype=distance.dtype, device=distance.device)
        gap = (torch.exp(-distance) - means) * (count / (2 * (1 - least)))
        filters = self.filters(gaussian(gap) * envelope)
        if repelling is None:
            return (filters,)
        return filters * visibility(distance, repelling), repulsion(distance, repelling)


def harmonics(unit: Tensor) -> Tensor:
    """Spherical harmonics of degree 1 and 2, (molecules, 8, size, size), of unit vectors.

    Racah's normalisation: Σ_m Y_m² = 1 for each degree.
    """
    x, y, z = unit.unbind(-1)
    quadratic = [_ROOT3 * x * y, _ROOT3 * y * z, 1.5 * z * z - 0.5, _ROOT3 * x * z]
    return torch.stack([x, y, z, *quadratic, 0.5 * _ROOT3 * (x * x - y * y)], dim=1)


def traceless(a: Tensor, b: Tensor) -> Tensor:
    """The traceless symmetric product (…, 5, C) of vectors (…, 3, C), as harmonics."""
    ax, ay, az = a.unbind(2)
    bx, by, bz = b.unbind(2)
    xx, yy, half = ax * bx, ay * by, 0.5 * _ROOT3
    parts = [
        half * (ax * by + ay * bx),
        half * (ay * bz + az * by),
        az * bz - 0.5 * (xx + yy),
        half * (ax * bz + az * bx),
        half * (xx - yy),
    ]
    return torch.stack(parts, dim=2)


def applied(tensor: Tensor, vector: Tensor) -> Tensor:
    """√3 times the matrix of each tensor (…, 5, C) times a vector (…, 3, C)."""
    xy, yz, zz, xz, planar = tensor.unbind(2)
    x, y, z = vector.unbind(2)
    zz = zz * (1 / _ROOT3)
    parts = [
        (planar - zz) * x + xy * y + xz * z,
        xy * x - (planar + zz) * y + yz * z,
        xz * x + yz * y + 2 * zz * z,
    ]
    return torch.stack(parts, dim=2)
