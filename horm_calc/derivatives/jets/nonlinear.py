"""Rules for operations that add to a Hessian."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from horm_calc.derivatives.jets.core import RULES, Jet, NoRule, rule
from horm_calc.derivatives.jets.linear import aligned_tangent, value_of
from horm_calc.models.ops import scalar_mlp, scalar_mlp_derivatives
from horm_calc.models.sphere import (
    perceptron_on_sphere,
    perceptron_on_sphere_jvp,
    silu_on_sphere,
    silu_on_sphere_jvp,
)

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
    before = sum((value_of(y) for y in summands), start=F.linear(x.value, weight, bias))
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
    values, firsts, *seconds = _along_itself(function, at, 2 if tape.second_order else 1)
    for value, second in zip(values, *seconds, strict=True) if seconds else ():
        adjoint = tape.adjoint(value)
        if adjoint is not None:
            tape.add(tangent, tangent * (0.5 * adjoint * second).sum(-1, keepdim=True))
    return tuple(
        Jet(v, None, tape, (tangent, first)) for v, first in zip(values, firsts, strict=True)
    )


def _along_itself(
    function: Callable[..., tuple[Tensor, ...]], at: Tensor, order: int
) -> tuple[tuple[Tensor, ...], ...]:
    """Values and derivatives up to `order` of functions of one number (edges, 1)."""
    one = torch.ones_like(at)
    if order == 0:
        return (function(at),)

    def lower(x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        return _along_itself(function, x, order - 1)

    values, tangents = torch.func.jvp(lower, (at,), (one,))[:2]
    return (*values, tangents[-1])


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
    r² θ̇ = x ẏ − y ẋ, r² ġ = x ẋ + y ẏ, and the second derivative is −(θ̇ ġ' + ġ θ̇').
    """
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
        raise NoRule(function.__name__)
    assert x.tangent is not None
    return Jet(function(x.value, *arguments), jvp(x.value, x.tangent, *arguments), x.tape)


# Functions of two tensors, linear in each


@rule("mul")
def _mul(a: Any, b: Any) -> Jet:
    if isinstance(a, Jet) and isinstance(b, Jet):
        for x, y in ((a, b), (b, a)):
            if x.along is not None and y.along is None and x.shape == y.shape:
                return _mul_along(x, y)
    return _bilinear(a, b, torch.mul, torch.mul, aligned=True)


def _mul_along(x: Jet, y: Jet) -> Jet:
    """X · y where the tangent of x is a product of factors, without making that product."""
    assert x.along is not None and y.tangent is not None
    change, slope = x.along
    value = x.value * y.value
    adjoint = x.tape.adjoint(value)
    if adjoint is not None:
        x.tape.add(change, (y.tangent * (adjoint * slope)).sum(-1, keepdim=True))
    tangent = (y.tangent * x.value).addcmul_(change, slope * y.value)
    return Jet(value, tangent, x.tape)


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
    value = product(value_of(a), value_of(b))
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
        left = aligned_tangent(a.tangent, rank) if aligned else a.tangent
        tangent = product(left, value_of(b))
    if isinstance(b, Jet):
        assert b.tangent is not None
        right = aligned_tangent(b.tangent, rank) if aligned else b.tangent
        if tangent is None:
            tangent = product(value_of(a), right)
        elif product is torch.mul:
            tangent.addcmul_(value_of(a), right)
        else:
            tangent.add_(product(value_of(a), right))
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
