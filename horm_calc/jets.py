"""Second derivatives in one forward pass: tensors that carry their Jacobian.

For an energy E computed by operations y_k = f_k(inputs of k), the Hessian is

    H = Σ_k  Σ_ab  (∂E/∂y_k) · (∂²f_k/∂a∂b) · J_aᵀ J_b ,

a and b the inputs of operation k and J their Jacobians with respect to the positions (the
chain rule of second order; Griewank and Walther, Evaluating Derivatives, 2nd ed., ch. 7).
Linear operations drop out. So one pass forward with the Jacobians J, given the adjoints
∂E/∂y_k from one ordinary backward pass, gives the whole Hessian; a product of two Jacobians
of D rows costs little beside the layer of C channels that made them. The usual way, one
backward pass through the gradient for each row, does twice the arithmetic and an order of
magnitude more passes over memory.

For a network with direct forces the Hessian is the Jacobian of its output: the same pass,
without products.

Networks are written in ordinary PyTorch; a `Jet` takes part in it through
`__torch_function__`. An operation without a rule here raises `NotImplementedError` by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from horm_calc.models.ops import scalar_mlp, scalar_mlp_derivatives
from horm_calc.models.sphere import (
    perceptron_on_sphere,
    perceptron_on_sphere_jvp,
    silu_on_sphere,
    silu_on_sphere_jvp,
)

RULES: dict[str, Callable[..., Any]] = {}


class AmbiguousRows(ValueError):
    """The number of a tensor's rows does not tell to which molecules they belong."""


class Tape:
    """One sweep over a network: which operations were not linear, and what they add.

    Without `adjoints` the sweep records the results of nonlinear operations. With them (one
    for each recorded result, in order) it adds each operation's share to `half`, (molecules,
    D, D), half of the Hessian: its sum with its transpose is the whole. With neither wanted,
    for direct forces, `second_order` is False.

    rows: how the rows of tensors divide among several molecules, one entry for each kind of
    tensor; None for one molecule. Raises `AmbiguousRows` where tensors of two kinds have
    the same number of rows in all, and divide differently.
    """

    def __init__(
        self,
        adjoints: Sequence[Tensor | None] | None = None,
        rows: Sequence[Sequence[int]] | None = None,
        second_order: bool = True,
    ) -> None:
        self.rows: dict[int, Sequence[int]] = {}
        for counts in rows or ():
            if self.rows.setdefault(sum(counts), counts) != counts:
                raise AmbiguousRows
        self.second_order = second_order
        self.results: list[Tensor] = []
        self._adjoints = iter(adjoints) if adjoints is not None else None
        self.half: Tensor | None = None

    def adjoint(self, result: Tensor) -> Tensor | None:
        """The adjoint of this nonlinear result, if it is known and not zero."""
        if not self.second_order:
            return None
        if self._adjoints is None:
            self.results.append(result)
            return None
        return next(self._adjoints)

    def add(self, left: Tensor, right: Tensor) -> None:
        """Add the product left · rightᵀ of two tangents (D, rows, ...), molecule by molecule."""
        directions = left.shape[0]
        if self.half is None:
            molecules = len(next(iter(self.rows.values()), (0,)))
            self.half = left.new_zeros(molecules, directions, directions)
        counts = self.rows[left.shape[1]] if self.rows else (left.shape[1],)
        if len(set(counts)) == 1:
            a, b = (x.reshape(directions, len(counts), -1).transpose(0, 1) for x in (left, right))
            self.half.baddbmm_(a, b.transpose(1, 2))
            return
        parts = zip(left.split(list(counts), 1), right.split(list(counts), 1), strict=True)
        for molecule, (a, b) in enumerate(parts):
            self.half[molecule].addmm_(a.reshape(directions, -1), b.reshape(directions, -1).T)


class Jet:
    """A tensor `value` and its derivative `tangent` (D, *value.shape) along D directions.

    tangent is None in the sweep that only records.
    """

    __slots__ = ("_tangent", "along", "tape", "value")

    def __init__(
        self,
        value: Tensor,
        tangent: Tensor | None,
        tape: Tape,
        along: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Instead of `tangent`, `along` may give two factors whose product it is."""
        self.value = value
        self._tangent = tangent
        self.along = along
        self.tape = tape

    @property
    def tangent(self) -> Tensor | None:
        # A product of factors is not kept: it is wanted in small parts, and the whole is large.
        return self._tangent if self.along is None else self.along[0] * self.along[1]

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = _ALIASES.get(function.__name__, function.__name__)
        if name not in RULES:
            raise NotImplementedError(f"second derivatives have no rule for '{name}'")
        return RULES[name](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "device", "dim", "size"):
            return getattr(self.value, name)
        if name not in RULES:
            raise AttributeError(f"second derivatives have no rule for '{name}'")
        return lambda *args, **kwargs: RULES[name](self, *args, **kwargs)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: Any) -> Jet:
        return RULES["__getitem__"](self, index)

    def __add__(self, other: Any) -> Jet:
        return RULES["add"](self, other)

    def __sub__(self, other: Any) -> Jet:
        return RULES["sub"](self, other)

    def __rsub__(self, other: Any) -> Jet:
        return RULES["sub"](other, self)

    def __mul__(self, other: Any) -> Jet:
        return RULES["mul"](self, other)

    def __truediv__(self, other: Any) -> Jet:
        return RULES["div"](self, other)

    def __rtruediv__(self, other: Any) -> Jet:
        return RULES["div"](other, self)

    def __pow__(self, exponent: float) -> Jet:
        return RULES["pow"](self, exponent)

    def __neg__(self) -> Jet:
        return self.linear_map(torch.neg)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return self.value == other

    def __lt__(self, other: Any) -> Tensor:
        return self.value < other

    __radd__ = __add__
    __rmul__ = __mul__
    __hash__ = None  # type: ignore[assignment]

    def linear_map(
        self, on_value: Callable[[Tensor], Tensor], on_tangent: Callable[..., Tensor] | None = None
    ) -> Jet:
        """The result of a linear operation; `on_tangent` where it must spare dimension 0."""
        tangent = self.tangent
        if tangent is not None:
            tangent = (on_tangent or on_value)(tangent)
        return Jet(on_value(self.value), tangent, self.tape)


_ALIASES = {
    **{f"__{name}__": name for name in ("add", "sub", "mul", "pow", "matmul")},
    **{"__radd__": "add", "__rmul__": "mul", "__truediv__": "div", "true_divide": "div"},
    **{"concat": "cat", "multiply": "mul", "square_": "square"},
}


def rule(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


# Linear operations


def _shift(dim: int) -> int:
    """The dimension `dim` of a value, in its tangent."""
    return dim if dim < 0 else dim + 1


def _aligned(tangent: Tensor, rank: int) -> Tensor:
    """A tangent (D, *S) with ones after D until S has `rank` dimensions."""
    missing = rank + 1 - tangent.dim()
    return tangent.reshape(tangent.shape[0], *[1] * missing, *tangent.shape[1:])


def _tape_of(*operands: Any) -> Tape:
    return next(x.tape for x in operands if isinstance(x, Jet))


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Jet) else x


@rule("add")
def _add(a: Any, b: Any) -> Jet:
    return _sum_of(a, b, torch.add)


@rule("sub")
def _sub(a: Any, b: Any) -> Jet:
    return _sum_of(a, b, torch.sub)


def _sum_of(a: Any, b: Any, operation: Callable[..., Tensor]) -> Jet:
    value = operation(_value(a), _value(b)) if isinstance(a, (Jet, Tensor)) else a - b.value
    jets = [x for x in (a, b) if isinstance(x, Jet)]
    tape = jets[0].tape
    if jets[0].tangent is None:
        return Jet(value, None, tape)
    first, *second = (_aligned(x.tangent, value.dim()) for x in jets if x.tangent is not None)
    if second:
        return Jet(value, operation(first, second[0]), tape)
    if isinstance(b, Jet) and operation is torch.sub:
        first = -first
    return Jet(value, first.expand(first.shape[0], *value.shape), tape)


@rule("linear")
def _linear(input: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    return input.linear_map(lambda x: F.linear(x, weight, bias), lambda x: F.linear(x, weight))


@rule("cat")
def _cat(tensors: Sequence[Any], dim: int = 0) -> Jet:
    tape = _tape_of(*tensors)
    value = torch.cat([_value(x) for x in tensors], dim)
    tangents = _all_tangents(tensors)
    return Jet(value, None if tangents is None else torch.cat(tangents, _shift(dim)), tape)


@rule("stack")
def _stack(tensors: Sequence[Any], dim: int = 0) -> Jet:
    tape = _tape_of(*tensors)
    value = torch.stack([_value(x) for x in tensors], dim)
    tangents = _all_tangents(tensors)
    return Jet(value, None if tangents is None else torch.stack(tangents, _shift(dim)), tape)


def _all_tangents(tensors: Sequence[Any]) -> list[Tensor] | None:
    known = next(x for x in tensors if isinstance(x, Jet)).tangent
    if known is None:
        return None
    return [
        x.tangent if isinstance(x, Jet) else x.new_zeros(known.shape[0], *x.shape) for x in tensors
    ]


@rule("split")
def _split(x: Jet, sizes: int | list[int], dim: int = 0) -> list[Jet]:
    values = x.value.split(sizes, dim)
    if x.tangent is None:
        return [Jet(value, None, x.tape) for value in values]
    tangents = x.tangent.split(sizes, _shift(dim))
    return [Jet(v, t, x.tape) for v, t in zip(values, tangents, strict=True)]


@rule("chunk")
def _chunk(x: Jet, chunks: int, dim: int = 0) -> list[Jet]:
    return _split(x, -(-x.value.shape[dim] // chunks), dim)


@rule("narrow")
def _narrow(x: Jet, dim: int, start: int, length: int) -> Jet:
    return x.linear_map(
        lambda v: v.narrow(dim, start, length), lambda t: t.narrow(_shift(dim), start, length)
    )


@rule("__getitem__")
def _getitem(x: Jet, index: Any) -> Jet:
    if isinstance(index, Tensor):
        return _index_select(x, 0, index)
    if x.along is not None and isinstance(index, slice):
        return Jet(x.value[index], None, x.tape, (x.along[0][:, index], x.along[1][index]))
    inner = index if isinstance(index, tuple) else (index,)
    return x.linear_map(lambda v: v[index], lambda t: t[(slice(None), *inner)])


@rule("index_select")
def _index_select(x: Jet, dim: int, index: Tensor) -> Jet:
    return x.linear_map(
        lambda v: v.index_select(dim, index), lambda t: t.index_select(_shift(dim), index)
    )


@rule("index_add")
def _index_add(input: Tensor, dim: int, index: Tensor, source: Jet) -> Jet:
    value = torch.index_add(input, dim, index, source.value)
    tangent = source.tangent
    if tangent is not None:
        zero = tangent.new_zeros(tangent.shape[0], *input.shape)
        tangent = zero.index_add_(_shift(dim), index, tangent)
    return Jet(value, tangent, source.tape)


@rule("gather_sum")
def _gather_sum(total: Jet | None, values: Jet, index: Tensor, count: int) -> Jet:
    if total is None:
        zero = values.value.new_zeros(count, *values.value.shape[1:])
        if values.tangent is None:
            total = Jet(zero, None, values.tape)
        else:
            total = Jet(zero, zero.new_zeros(values.tangent.shape[0], *zero.shape), values.tape)
    value = torch.index_add(total.value, 0, index, values.value)
    tangent = total.tangent
    return Jet(
        value,
        None if tangent is None else tangent.index_add_(1, index, values.tangent),
        values.tape,
    )


@rule("sum")
def _sum(x: Jet, dim: int | tuple[int, ...], keepdim: bool = False) -> Jet:
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    shifted = tuple(_shift(d) for d in dims)
    return x.linear_map(lambda v: v.sum(dims, keepdim), lambda t: t.sum(shifted, keepdim))


@rule("mean")
def _mean(x: Jet, dim: int, keepdim: bool = False) -> Jet:
    return x.linear_map(lambda v: v.mean(dim, keepdim), lambda t: t.mean(_shift(dim), keepdim))


@rule("reshape", "view")
def _reshape(x: Jet, *shape: Any) -> Jet:
    wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    value = x.value.reshape(wanted)
    return x.linear_map(lambda _: value, lambda t: t.reshape(t.shape[0], *value.shape))


@rule("flatten")
def _flatten(x: Jet, start_dim: int = 0, end_dim: int = -1) -> Jet:
    return _reshape(x, x.value.flatten(start_dim, end_dim).shape)


@rule("expand")
def _expand(x: Jet, *shape: Any) -> Jet:
    wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    value = x.value.expand(wanted)
    return x.linear_map(
        lambda _: value,
        lambda t: _aligned(t, value.dim()).expand(t.shape[0], *value.shape),
    )


@rule("unsqueeze")
def _unsqueeze(x: Jet, dim: int) -> Jet:
    return x.linear_map(lambda v: v.unsqueeze(dim), lambda t: t.unsqueeze(_shift(dim)))


@rule("squeeze")
def _squeeze(x: Jet, dim: int) -> Jet:
    return x.linear_map(lambda v: v.squeeze(dim), lambda t: t.squeeze(_shift(dim)))


@rule("transpose")
def _transpose(x: Jet, a: int, b: int) -> Jet:
    return x.linear_map(lambda v: v.transpose(a, b), lambda t: t.transpose(_shift(a), _shift(b)))


@rule("permute")
def _permute(x: Jet, *dims: Any) -> Jet:
    order = tuple(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else dims
    order = tuple(d % len(order) for d in order)
    return x.linear_map(lambda v: v.permute(order), lambda t: t.permute(0, *(d + 1 for d in order)))


@rule("contiguous")
def _contiguous(x: Jet) -> Jet:
    return x.linear_map(Tensor.contiguous)


@rule("where")
def _where(condition: Tensor, a: Any, b: Any) -> Jet:
    value = torch.where(condition, _value(a), _value(b))
    tape = _tape_of(a, b)
    if next(x for x in (a, b) if isinstance(x, Jet)).tangent is None:
        return Jet(value, None, tape)
    left, right = (x.tangent if isinstance(x, Jet) else 0.0 for x in (a, b))
    return Jet(value, torch.where(condition, left, right), tape)


@rule("detach")
def _detach(x: Jet) -> Tensor:
    return x.value.detach()


# Functions of one number, with their first and second derivatives


def _silu(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = torch.sigmoid(u)
    slope = s * (1 - s)
    return u * s, s + u * slope, slope * (2 + u * (1 - 2 * s))


def _sigmoid(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s = torch.sigmoid(u)
    slope = s * (1 - s)
    return s, slope, slope * (1 - 2 * s)


def _tanh(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.tanh(u)
    slope = 1 - t * t
    return t, slope, -2 * t * slope


def _exp(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    e = torch.exp(u)
    return e, e, e


def _sqrt(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    root = torch.sqrt(u)
    return root, 0.5 / root, -0.25 / (root * u)


def _rsqrt(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    root = torch.rsqrt(u)
    return root, -0.5 * root / u, 0.75 * root / (u * u)


def _reciprocal(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    inverse = 1 / u
    return inverse, -inverse * inverse, 2 * inverse * inverse * inverse


def _abs(u: Tensor) -> tuple[Tensor, Tensor, None]:
    return u.abs(), torch.sign(u), None


UNARY: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]]] = {
    "silu": _silu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "exp": _exp,
    "cos": lambda u: (torch.cos(u), -torch.sin(u), -torch.cos(u)),
    "sin": lambda u: (torch.sin(u), torch.cos(u), -torch.sin(u)),
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "reciprocal": _reciprocal,
    "abs": _abs,
    "square": lambda u: (u * u, 2 * u, torch.full_like(u, 2.0)),
}


def _unary(x: Jet, derivatives: Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]]) -> Jet:
    value, first, second = derivatives(x.value)
    tangent = x.tangent
    if second is not None:
        adjoint = x.tape.adjoint(value)
        if adjoint is not None and tangent is not None:
            x.tape.add(tangent, tangent * (0.5 * adjoint * second))
    return Jet(value, None if tangent is None else tangent * first, x.tape)


for _name, _derivatives in UNARY.items():
    RULES[_name] = lambda x, inplace=False, _d=_derivatives: _unary(x, _d)


@rule("pow")
def _pow(x: Jet, exponent: float) -> Jet:
    n = exponent
    return _unary(
        x, lambda u: (u**n, n * u ** (n - 1), n * (n - 1) * (u ** (n - 2) if n != 2 else u**0))
    )


@rule("clamp")
def _clamp(x: Jet, min: float = -math.inf, max: float = math.inf) -> Jet:
    return _unary(x, lambda u: (u.clamp(min, max), ((u >= min) & (u <= max)).to(u), None))


@rule("linear_silu")
def _linear_silu(x: Jet, weight: Tensor, bias: Tensor | None, *summands: Any) -> Jet:
    """As the operations one after the other, but with one tangent that changes in place."""
    before = sum((_value(y) for y in summands), start=F.linear(x.value, weight, bias))
    value, first, second = _silu(before)
    adjoint = x.tape.adjoint(value)
    if x.tangent is None:
        return Jet(value, None, x.tape)
    tangent = F.linear(x.tangent, weight)
    for summand in summands:
        tangent.add_(summand.tangent)
    if adjoint is not None:
        x.tape.add(tangent, tangent * (0.5 * adjoint * second))
    return Jet(value, tangent.mul_(first), x.tape)


@rule("radial_function")
def _radial_function(function: Callable[..., tuple[Tensor, ...]], r: Jet) -> tuple[Jet, ...]:
    """Values, first and second derivatives along the one number everything depends on."""
    tape, tangent, at = r.tape, r.tangent, r.value
    if tangent is None:
        # Views, so that an adjoint leaves out what one result does inside the function.
        values = tuple(value.view_as(value) for value in function(at))
        for value in values:
            tape.adjoint(value)
        return tuple(Jet(value, None, tape) for value in values)
    one = torch.ones_like(at)
    if not tape.second_order:
        values, firsts = torch.func.jvp(function, (at,), (one,))
        return tuple(
            Jet(v, None, tape, (tangent, first)) for v, first in zip(values, firsts, strict=True)
        )

    def slope(x: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return torch.func.jvp(function, (x,), (one,))

    (values, firsts), (_, seconds) = torch.func.jvp(slope, (at,), (one,))
    for value, second in zip(values, seconds, strict=True):
        adjoint = tape.adjoint(value)
        if adjoint is not None:
            tape.add(tangent, tangent * (0.5 * adjoint * second).sum(-1, keepdim=True))
    return tuple(
        Jet(v, None, tape, (tangent, first)) for v, first in zip(values, firsts, strict=True)
    )


@rule("scalar_mlp")
def _scalar_mlp(t: Jet, *layers: Tensor) -> Jet:
    """A function of three numbers: its share has a 3 × 3 matrix at every point."""
    if t.tangent is None:
        value = scalar_mlp(t.value, *layers)
        t.tape.adjoint(value)
        return Jet(value, None, t.tape)
    order = 2 if t.tape.second_order else 1
    value, gradient, *second = scalar_mlp_derivatives(t.value, layers, order)
    adjoint = t.tape.adjoint(value)
    if adjoint is not None:
        bend = second[0] * (0.5 * adjoint)[..., None, None, :]
        share = t.tangent.select(-2, 0).unsqueeze(-2) * bend[..., 0, :, :]
        for axis in (1, 2):
            share.addcmul_(t.tangent.select(-2, axis).unsqueeze(-2), bend[..., axis, :, :])
        t.tape.add(t.tangent, share)
    return Jet(value, (t.tangent * gradient).sum(-2), t.tape)


@rule("atan2", "arctan2")
def _atan2(y: Jet, x: Jet) -> Jet:
    """The angle θ of (x, y). With (ẋ, ẏ) along and (ẋ', ẏ') along another direction,
    r² θ̇ = x ẏ − y ẋ, r² ġ = x ẋ + y ẏ, and the second derivative is −(θ̇ ġ' + ġ θ̇')."""
    value = torch.atan2(y.value, x.value)
    adjoint = x.tape.adjoint(value)
    dx, dy = x.tangent, y.tangent
    if dx is None or dy is None:
        return Jet(value, None, x.tape)
    inverse = 1 / (x.value * x.value + y.value * y.value)
    to_x, to_y = x.value * inverse, y.value * inverse
    angle = to_x * dy - to_y * dx
    if adjoint is not None:
        x.tape.add(angle, (to_x * dx + to_y * dy) * -adjoint)
    return Jet(value, angle, x.tape)


@rule("silu_on_sphere")
def _silu_on_sphere(signal: Jet, grid: Any) -> Jet:
    return _first_order_only(signal, silu_on_sphere, silu_on_sphere_jvp, grid)


@rule("perceptron_on_sphere")
def _perceptron_on_sphere(signal: Jet, *arguments: Any) -> Jet:
    return _first_order_only(signal, perceptron_on_sphere, perceptron_on_sphere_jvp, *arguments)


def _first_order_only(
    x: Jet, function: Callable[..., Tensor], jvp: Callable[..., Tensor], *arguments: Any
) -> Jet:
    if x.tape.second_order:
        raise NotImplementedError(f"second derivatives have no rule for '{function.__name__}'")
    assert x.tangent is not None
    return Jet(function(x.value, *arguments), jvp(x.value, x.tangent, *arguments), x.tape)


# Functions of two tensors, linear in each


@rule("mul")
def _mul(a: Any, b: Any) -> Jet:
    return _bilinear(a, b, torch.mul, torch.mul, aligned=True)


@rule("div")
def _div(a: Any, b: Any) -> Jet:
    if isinstance(b, Jet):
        return _mul(_unary(b, _reciprocal), a)
    return a.linear_map(lambda v: v / b)


@rule("cross", "linalg_cross")
def _cross(a: Any, b: Any, dim: int = -1) -> Jet:
    # adjoint · (a × b) = a · (b × adjoint)
    def product(x: Tensor, y: Tensor) -> Tensor:
        return torch.linalg.cross(*torch.broadcast_tensors(x, y), dim=dim)

    return _bilinear(a, b, product, lambda adjoint, y: product(y, adjoint))


@rule("matmul", "bmm")
def _matmul(a: Any, b: Any) -> Jet:
    return _bilinear(
        a, b, torch.matmul, lambda adjoint, b: adjoint @ b.transpose(-1, -2), aligned=True
    )


@rule("einsum")
def _einsum(equation: str, *operands: Any) -> Jet:
    a, b = operands
    inputs, out = equation.replace(" ", "").split("->")
    of_a, of_b = inputs.split(",")

    def product(x: Tensor, y: Tensor) -> Tensor:
        carried = x.dim() > len(of_a), y.dim() > len(of_b)
        of_x, of_y = (
            "Z" + of if more else of for of, more in zip((of_a, of_b), carried, strict=True)
        )
        return torch.einsum(f"{of_x},{of_y}->{'Z' if any(carried) else ''}{out}", x, y)

    def transposed(adjoint: Tensor, tangent: Tensor) -> Tensor:
        return torch.einsum(f"{out},Z{of_b}->Z{of_a}", adjoint, tangent)

    return _bilinear(a, b, product, transposed)


def _bilinear(
    a: Any,
    b: Any,
    product: Callable[[Tensor, Tensor], Tensor],
    transposed: Callable[[Tensor, Tensor], Tensor],
    aligned: bool = False,
) -> Jet:
    """product(a, b); `transposed(adjoint, b)` is its derivative with respect to a.

    aligned: operands broadcast from the right, so tangents need ones after D.
    """
    value = product(_value(a), _value(b))
    jets = [x for x in (a, b) if isinstance(x, Jet)]
    tape = jets[0].tape
    both = len(jets) == 2
    adjoint = tape.adjoint(value) if both else None
    if jets[0].tangent is None:
        return Jet(value, None, tape)
    rank = value.dim()
    tangent: Tensor | None = None
    if isinstance(a, Jet):
        assert a.tangent is not None
        left = _aligned(a.tangent, rank) if aligned else a.tangent
        tangent = product(left, _value(b))
    if isinstance(b, Jet):
        assert b.tangent is not None
        right = _aligned(b.tangent, rank) if aligned else b.tangent
        if tangent is None:
            tangent = product(_value(a), right)
        elif product is torch.mul:
            tangent.addcmul_(_value(a), right)
        else:
            tangent.add_(product(_value(a), right))
        if adjoint is not None:
            share = transposed(adjoint, right)
            tape.add(left, _summed_to(share, left.shape))
    assert tangent is not None
    return Jet(value, tangent, tape)


def _summed_to(x: Tensor, shape: torch.Size) -> Tensor:
    """Sum over the dimensions along which an operand of `shape` was broadcast."""
    dims = [d for d in range(1, len(shape)) if shape[d] == 1 and x.shape[d] != 1]
    return x.sum(dims, keepdim=True) if dims else x


# Composites


@rule("layer_norm")
def _layer_norm(
    input: Jet,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Jet:
    assert len(normalized_shape) == 1
    centred = input - input.mean(-1, keepdim=True)
    variance = _unary(centred, UNARY["square"]).mean(-1, keepdim=True)
    normed = centred * _unary(variance + eps, _rsqrt)
    if weight is not None:
        normed = normed * weight
    return normed if bias is None else normed + bias
