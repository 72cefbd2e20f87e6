"""What every network promises to the rest of the package.

A network is a `torch.nn.Module` whose parameters carry the names of the published
checkpoints (without their prefix `potential.`), so that the files load strictly and go both
ways. It keeps no state between calls, draws no random numbers but those that a new network
starts with, and runs in whatever dtype and on whatever device its parameters are.

To add a network, derive a class from `Network`, enter it in `horm_calc.models.registry`, and ask
`horm_calc.testing` whether it keeps its promises.

**What `forward` is given.** The graph that `prepare` made, of plain tensors, and positions. For
energies and forces the positions are a tensor. For Hessians they are a `Jet`
(`horm_calc.derivatives.jets`): a tensor that carries its derivatives along several directions
through the network, so that the whole Hessian takes one pass. Write ordinary PyTorch; a jet takes
part through `__torch_function__`, and whatever is computed from one is one. A jet has no
`requires_grad`, and nothing can be assigned to parts of it; `detach()` gives a plain tensor.

**Operations with rules**, as functions, methods or operators where PyTorch has them:

    abs add arctan2 atan2 bmm cat chunk clamp contiguous cos cross detach div einsum exp expand
    flatten index_add index_select layer_norm linalg_cross linear matmul mean mul narrow permute
    pow reciprocal reshape rsqrt sigmoid silu sin split sqrt square squeeze stack sub sum tanh
    transpose unbind unsqueeze view where __getitem__

and those of `horm_calc.models.ops` and `sphere`, which do in one rule what takes several of these:

    gather_sum linear_silu perceptron_on_sphere radial_function scalar_mlp silu_on_sphere
    sum_of_ends

**Without a rule.** A network with any other operation works all the same: its Hessians are
computed row by row, by one backward pass each, and a warning (`RowByRow`) names the operation.

**To add a rule.** Of a function of one number, add value, first and second derivative to `UNARY`
in `jets.nonlinear`. Of a linear operation, write a function under `@rule("its name")` in
`jets.linear` that returns `x.linear_map(...)`; tangents have one dimension more, in front. Of any
other, take `x.tape.adjoint(value)`, the derivative of the energy with respect to the result, and
add the second derivatives' share with `x.tape.add(left, right)`, as `mul` in `jets.nonlinear` does.
Then `horm_calc.testing.assert_one_sweep` must pass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from horm_calc.configuration import SettingsError
from horm_calc.errors import HormError
from horm_calc.graphs import Molecules
from horm_calc.models.settings import ModelSettings
from horm_calc.references import ELEMENTS, named


class ArchitectureMismatch(HormError, ValueError):
    """The tensors of a checkpoint are not those of the network they are meant for."""


@dataclass(frozen=True)
class Graph:
    """What a network needs beside the positions; nothing in it is differentiated.

    Networks that need more derive a class of their own from it.

    target, source: (edges,) indices of atoms, sorted by target; messages run from source
    to target. blocks: ranges of edges, all of them together, that are worked on one after the
    other.
    """

    numbers: Tensor
    molecule: Tensor
    sizes: tuple[int, ...]
    target: Tensor
    source: Tensor
    blocks: tuple[slice, ...] = field(default=(slice(None),), kw_only=True)

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """How the rows of each kind of tensor (of atoms, of edges) divide among molecules."""
        edges = torch.bincount(self.molecule[self.target], minlength=len(self.sizes))
        return [self.sizes, tuple(edges.tolist())]


def shape_of(shapes: Mapping[str, tuple[int, ...]], key: str, rank: int) -> tuple[int, ...]:
    """The shape of the tensor `key`, if it is there and of that rank."""
    if key not in shapes:
        raise ArchitectureMismatch(f"{key}, which shows sizes of the network, is missing")
    if len(shapes[key]) != rank:
        raise ArchitectureMismatch(
            f"{key}, which shows sizes of the network, has the shape {tuple(shapes[key])}: "
            f"{len(shapes[key])} dimensions instead of {rank}"
        )
    return shapes[key]


def require_sizes(kind: type[ModelSettings], *sizes: int, **named: int) -> None:
    """Raises `ArchitectureMismatch` for sizes, read from shapes, that no such network has."""
    try:
        kind(*sizes, **named)
    except SettingsError as error:
        raise ArchitectureMismatch(f"sizes that no such network has: {error}") from None


def require_room(elements: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The elements, if a table that is read by atomic number has a row for each of them."""
    if max(elements) >= rows:
        raise SettingsError(f"elements beyond number {rows - 1}, such as {named(elements[-1:])}")
    return elements


class Network(torch.nn.Module):
    """Energies, and for some networks forces, of many molecules at once."""

    #: The name in a checkpoint's `model_config["name"]`.
    name: ClassVar[str]
    #: Whether forces are the negative gradient of the energy. If not, `forward` returns
    #: forces of their own, and the Hessian is their negative Jacobian.
    conservative: ClassVar[bool]
    #: How forces answer to a rotation of the molecule: they turn with it ("equivariant"), their
    #: derivative along it is taken as zero ("ignored"), or nothing is promised ("unknown").
    rotations: Literal["equivariant", "ignored", "unknown"] = "equivariant"
    #: What a configuration may say, with the published values.
    Settings: ClassVar[type[ModelSettings]]
    #: Numbers that a layer keeps or makes for each edge, at most.
    edge_width: int
    #: Distance (Å) beyond which two atoms exchange no message.
    cutoff: float
    #: Atomic numbers that it knows, in the order of its embedding.
    elements: tuple[int, ...] = ELEMENTS

    @classmethod
    @abstractmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = ELEMENTS,
    ) -> Self:
        """The network that has parameters of these names and shapes, on the device "meta".

        There it takes no memory, as shapes in a file can be anything. Depth and width come from
        the shapes; `config` (`model_config` of the checkpoint) gives what shapes do not show, and
        `elements` the atomic numbers that the network knows, in the order of its embedding.
        Raises `ArchitectureMismatch` where they show no sizes that a network of this kind can
        have, and `SettingsError` for a configuration that it cannot have. Whether all the other
        shapes agree with these sizes is for `horm_calc.checkpoints.files` to compare.
        """

    @classmethod
    @abstractmethod
    def fresh(cls, config: Mapping[str, Any], elements: tuple[int, ...] = ELEMENTS) -> Self:
        """A network to be trained: of the sizes that `config` says, with random parameters.

        elements: the atomic numbers that it is to know.

        `config` is a `model_config` such as checkpoints have, with any of the names of
        `Settings`; it goes into the checkpoint that is trained. Parameters are drawn as in
        the published training, from PyTorch's generator (`torch.manual_seed`). Raises
        `SettingsError` for other names and for sizes that no such network has.
        """

    @classmethod
    def said(cls, config: Mapping[str, Any]) -> Any:
        """The settings that `config` says, for `fresh`. Raises `SettingsError`."""
        if config.get("name", cls.name) != cls.name:
            raise SettingsError(f"the configuration is of {config['name']}, not of {cls.name}")
        return cls.Settings.said(config)

    @classmethod
    def unfilled(cls, *sizes: Any) -> Self:
        """`cls(*sizes)` on the device "meta": no memory, no time, no numbers drawn."""
        with torch.device("meta"), _NothingDrawn():
            return cls(*sizes)

    @abstractmethod
    def prepare(self, molecules: Molecules) -> Graph:
        """Everything that does not depend smoothly on the positions: edges, and the like."""

    @abstractmethod
    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        """Energies (molecules,) in eV and direct forces (atoms, 3) in eV/Å or None.

        Energies are the network's own, without atomic references. Twice differentiable in
        `positions` (atoms, 3), Å, wherever the network's mathematics is.
        """

    def constant(self, key: str) -> Tensor | None:
        """The published buffer called `key`, which this architecture defines; None if none is.

        Buffers may be absent from a checkpoint. Where present they must equal this value.
        """
        return None


#: What fills a parameter at random.
_DRAWING = (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_)


class _NothingDrawn(TorchFunctionMode):
    """Initial values of parameters are not drawn.

    On the device "meta" they mean nothing, and PyTorch loads its compiler to draw them: 1.6 s.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
