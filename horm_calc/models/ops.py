"""Small operations that several networks share, and how some of their layers start."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812


def glorot(*modules: nn.Module) -> None:
    """Draws the weights of all linear layers in them so that neither signals nor gradients grow
    or fade on the way (Glorot & Bengio, AISTATS 2010); biases start at zero.
    """
    for layer in (layer for module in modules for layer in module.modules()):
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def norm(vectors: Tensor) -> Tensor:
    """Lengths (..., 1) of `vectors` (..., 3), with derivative zero where the length is zero.

    The derivative of a length is undefined at zero; without this, an atom that sits exactly
    at the centre of its molecule would turn every force into NaN.
    """
    squared = (vectors * vectors).sum(-1, keepdim=True)
    vanishing = squared == 0
    return torch.where(vanishing, 0.0, torch.where(vanishing, 1.0, squared).sqrt())


#: exp(−46) is 1e-20, which is lost beside the functions that are centred nearer.
_LOST = 46.0


def gaussian(x: Tensor) -> Tensor:
    """exp(−x²), exactly zero where that is less than 1e-20.

    Far out it would be a denormal number (in float32 one below 1e-38), and a few of those make
    every operation that they enter several times slower, matrix products among them.
    """
    squared = x * x
    return torch.exp(-torch.where(squared > _LOST, math.inf, squared))


def gather_sum(total: Tensor | None, values: Tensor, index: Tensor, count: int) -> Tensor:
    """`total` (count, ...) plus `values` (edges, ...), each at its place in `index` (edges,).

    So messages are summed at atoms, and atoms in molecules. A `total` of None is zero. What is
    passed as `total` must not be used again: where derivatives are carried along, it is
    changed in place.
    """
    if torch.overrides.has_torch_function((total, values)):
        return torch.overrides.handle_torch_function(
            gather_sum, (total, values), total, values, index, count
        )
    if count == 1:
        sums = values.sum(0, keepdim=True)
        return sums if total is None else total + sums
    if total is None:
        total = torch.zeros(count, *values.shape[1:], dtype=values.dtype, device=values.device)
    return torch.index_add(total, 0, index, values)


def sum_of_ends(x: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """x_i + x_j (edges, ...) of the two atoms of each edge, from x (atoms, ...)."""
    if torch.overrides.has_torch_function((x,)):
        return torch.overrides.handle_torch_function(sum_of_ends, (x,), x, i, j)
    return x.index_select(0, i) + x.index_select(0, j)


def linear_silu(x: Tensor, weight: Tensor, bias: Tensor | None, *summands: Tensor) -> Tensor:
    """silu(x · weightᵀ + bias + summands), in one name so that derivatives can be fused."""
    if torch.overrides.has_torch_function((x,)):
        return torch.overrides.handle_torch_function(linear_silu, (x,), x, weight, bias, *summands)
    return F.silu(sum(summands, start=F.linear(x, weight, bias)))


def radial_function(
    function: Callable[[Tensor], tuple[Tensor, ...]], distance: Tensor
) -> tuple[Tensor, ...]:
    """function(distance): several tensors (edges, C) that depend on nothing but (edges, 1).

    Their derivative along any direction is the direction's change of distance times one
    vector (edges, C), so that carrying Jacobians through the layers inside is not needed.
    """
    if torch.overrides.has_torch_function((distance,)):
        return torch.overrides.handle_torch_function(
            radial_function, (distance,), function, distance
        )
    return function(distance)


def scalar_mlp(t: Tensor, *layers: Tensor) -> Tensor:
    """A perceptron with SiLU from three numbers to one, at every point and channel.

    t (..., 3, C) → (..., C). layers: weight (h, 3), bias (h,), weight (h', h), bias (h',), …;
    the last has one output.

    Evaluated at every edge and channel, its hidden layers would be the largest tensors of
    the network by far. As a function of three numbers it has a gradient of three and a second
    derivative of six, so at inference those are computed on the way and the hidden layers are
    never kept. In training the derivatives with respect to the weights are needed as well:
    there it runs as ordinary layers.
    """
    if torch.overrides.has_torch_function((t,)):
        return torch.overrides.handle_torch_function(scalar_mlp, (t,), t, *layers)
    if any(parameter.requires_grad for parameter in layers):
        x = F.linear(t.transpose(-1, -2), layers[0], layers[1])
        for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
            x = F.linear(F.silu(x), weight, bias)
        return x.squeeze(-1)
    if not (torch.is_grad_enabled() and t.requires_grad):
        return scalar_mlp_derivatives(t, layers, order=0)[0]
    return _ScalarMLP.apply(t, *layers)


def scalar_mlp_derivatives(t: Tensor, layers: Sequence[Tensor], order: int) -> list[Tensor]:
    """Value (..., C), gradient (..., 3, C), second derivatives (..., 3, 3, C) of `scalar_mlp`.

    Only those up to `order`.
    """
    batch, channels = t.shape[:-2], t.shape[-1]
    points = t.reshape(-1, 3, channels).transpose(0, 1).reshape(3, -1)
    parts = [_derivatives_at(part, layers, order) for part in points.split(_POINTS_AT_ONCE, 1)]
    results = []
    for rank, part in enumerate(zip(*parts, strict=True)):
        at_points = torch.cat(part, dim=-1) if len(part) > 1 else part[0]
        at_points = at_points.reshape(*[3] * rank, *batch, channels)
        results.append(at_points.movedim(tuple(range(rank)), tuple(range(-rank - 1, -1))))
    return results


#: Points for which the hidden layer exists at one time: small enough for the cache.
_POINTS_AT_ONCE = 4096


def _derivatives_at(t: Tensor, layers: Sequence[Tensor], order: int) -> list[Tensor]:
    """Value (points,), gradient (3, points), second derivatives (9, points) at t (3, points)."""
    if order == 2:
        return _second_derivatives_at(t, layers)
    *hidden, last, last_bias = layers
    x, slopes = t, []
    for weight, bias in zip(hidden[::2], hidden[1::2], strict=True):
        u = torch.addmm(bias.unsqueeze(1), weight, x)
        s = torch.sigmoid(u)
        x = u.mul_(s)
        if order == 1:
            slopes.append((x + s).addcmul_(x, s, value=-1))
    results = [torch.addmm(last_bias.unsqueeze(1), last, x).squeeze(0)]
    if order == 1:
        # The first product is the same at all points, so it is one of weights.
        gradient = (hidden[-2].T * last) @ slopes[-1]
        for weight, slope in zip(hidden[-4::-2], slopes[-2::-1], strict=True):
            gradient = weight.T @ gradient.mul_(slope)
        results.append(gradient)
    return results


def _second_derivatives_at(t: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
    """As above, with second derivatives carried along from layer to layer.

    The first hidden layer is by far the widest, so few operations pass over it: with
    h = u / 2 and q = h · tanh h, silu(u) = h + q, its slope is (1 + h + (1 − q) · tanh h) / 2 and
    its second derivative (1 − tanh² h) (1 − q) / 2. The sums over the layer are products of
    matrices, and what is linear in h needs no layer at all.
    """
    inner, inner_bias, outer, outer_bias, *rest = layers
    half, half_bias = 0.5 * inner, 0.5 * inner_bias.unsqueeze(1)
    h = torch.addmm(half_bias, half, t)
    tanh = torch.tanh(h)
    q = h.mul_(tanh)
    linear = torch.addmm(outer @ half_bias + outer_bias.unsqueeze(1), outer @ half, t)
    value = linear.addmm_(outer, q)
    along = (half.T.unsqueeze(1) * outer).flatten(0, 1)
    constant = along @ half_bias + along.sum(1, keepdim=True)
    linear = torch.addmm(constant, along @ half, t)
    gradient = linear.addmm_(along, torch.addcmul(tanh, tanh, q, value=-1))
    pairs = (inner.T.unsqueeze(1) * half.T).flatten(0, 1)
    bend = torch.addcmul(torch.ones_like(q), tanh, tanh, value=-1).mul_(1 - q)
    second = (pairs.unsqueeze(1) * outer).flatten(0, 1) @ bend
    results = [
        x.reshape(len(x) // len(outer), len(outer), t.shape[1]) for x in (value, gradient, second)
    ]
    for weight, bias in zip(rest[::2], rest[1::2], strict=True):
        results = [weight @ x for x in _through_silu(*results)]
        results[0] = results[0] + bias[:, None]
    value, gradient, second = (x.squeeze(1) for x in results)
    return [value.squeeze(0), gradient, second]


def _through_silu(u: Tensor, gradient: Tensor, second: Tensor) -> list[Tensor]:
    """Value, gradient and second derivatives after a SiLU, from those before it."""
    s = torch.sigmoid(u)
    slope = s + u * s * (1 - s)
    bend = s * (1 - s) * (2 + u * (1 - 2 * s))
    outer = (gradient.unsqueeze(1) * gradient).flatten(0, 1)
    return [u * s, slope * gradient, bend * outer + slope * second]


class _ScalarMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, *layers: Tensor) -> Tensor:
        ctx.save_for_backward(t, *layers)
        value, ctx.gradient = scalar_mlp_derivatives(t, layers, order=1)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        t, *layers = ctx.saved_tensors
        if torch.is_grad_enabled() and t.requires_grad:
            gradient = _ScalarMLPGradient.apply(t, *layers)
        else:
            gradient = ctx.gradient
        return upstream.unsqueeze(-2) * gradient, *[None] * len(layers)


class _ScalarMLPGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor, *layers: Tensor) -> Tensor:
        _, gradient, second = scalar_mlp_derivatives(t, layers, order=2)
        ctx.save_for_backward(second)
        ctx.n_layers = len(layers)
        return gradient

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (second,) = ctx.saved_tensors
        return (upstream.unsqueeze(-3) * second).sum(-2), *[None] * ctx.n_layers
