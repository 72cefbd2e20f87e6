"""Rules for linear operations: they act on a tangent as on a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from horm_calc.derivatives.jets.core import Jet, Tape, rule


def _shift(dim: int) -> int:
    """The dimension `dim` of a value, in its tangent."""
    return dim if dim < 0 else dim + 1


def aligned_tangent(tangent: Tensor, rank: int) -> Tensor:
    """A tangent (D, *S) with ones after D until S has `rank` dimensions."""
    missing = rank + 1 - tangent.dim()
    return tangent.reshape(tangent.shape[0], *[1] * missing, *tangent.shape[1:])


def tape_of(*operands: Any) -> Tape:
    """The tape of the first operand that is a jet."""
    return next(x.tape for x in operands if isinstance(x, Jet))


def value_of(x: Any) -> Any:
    """The value of a jet; anything else as it is."""
    return x.value if isinstance(x, Jet) else x


@rule("add")
def _add(a: Any, b: Any) -> Jet:
    return _sum_of(a, b, torch.add)


@rule("sub")
def _sub(a: Any, b: Any) -> Jet:
    return _sum_of(a, b, torch.sub)


def _sum_of(a: Any, b: Any, operation: Callable[..., Tensor]) -> Jet:
    value = operation(value_of(a), value_of(b)) if isinstance(a, (Jet, Tensor)) else a - b.value
    jets = [x for x in (a, b) if isinstance(x, Jet)]
    tape = jets[0].tape
    if jets[0].tangent is None:
        return Jet(value, None, tape)
    first, *second = (
        aligned_tangent(x.tangent, value.dim()) for x in jets if x.tangent is not None
    )
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
    return _joined(torch.cat, tensors, dim)


@rule("stack")
def _stack(tensors: Sequence[Any], dim: int = 0) -> Jet:
    return _joined(torch.stack, tensors, dim)


def _joined(operation: Callable[..., Tensor], tensors: Sequence[Any], dim: int) -> Jet:
    value = operation([value_of(x) for x in tensors], dim)
    tangents = _all_tangents(tensors)
    tangent = None if tangents is None else operation(tangents, _shift(dim))
    return Jet(value, tangent, tape_of(*tensors))


def _all_tangents(tensors: Sequence[Any]) -> list[Tensor] | None:
    """Tangents of all, zeros for those that are no jets; None in the sweep that records."""
    known = next(x for x in tensors if isinstance(x, Jet)).tangent
    if known is None:
        return None
    result = []
    for x in tensors:
        tangent = x.tangent if isinstance(x, Jet) else x.new_zeros(known.shape[0], *x.shape)
        assert tangent is not None
        result.append(tangent)
    return result


@rule("split")
def _split(x: Jet, sizes: int | list[int], dim: int = 0) -> list[Jet]:
    return _divided(x, lambda tensor, along: tensor.split(sizes, along), dim)


@rule("chunk")
def _chunk(x: Jet, chunks: int, dim: int = 0) -> list[Jet]:
    return _split(x, -(-x.value.shape[dim] // chunks), dim)


@rule("unbind")
def _unbind(x: Jet, dim: int = 0) -> list[Jet]:
    return _divided(x, torch.unbind, dim)


def _divided(x: Jet, operation: Callable[[Tensor, int], Sequence[Tensor]], dim: int) -> list[Jet]:
    values = operation(x.value, dim)
    if x.tangent is None:
        return [Jet(value, None, x.tape) for value in values]
    tangents = operation(x.tangent, _shift(dim))
    return [Jet(v, t, x.tape) for v, t in zip(values, tangents, strict=True)]


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
    tangent, more = total.tangent, values.tangent
    if tangent is not None and more is not None:
        tangent = tangent.index_add_(1, index, more)
    return Jet(value, tangent, values.tape)


@rule("sum_of_ends")
def _sum_of_ends(x: Jet, i: Tensor, j: Tensor) -> Jet:
    value = x.value.index_select(0, i) + x.value.index_select(0, j)
    tangent = x.tangent
    if tangent is not None:
        tangent = tangent.index_select(1, i).add_(tangent.index_select(1, j))
    return Jet(value, tangent, x.tape)


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
        lambda t: aligned_tangent(t, value.dim()).expand(t.shape[0], *value.shape),
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
    value = torch.where(condition, value_of(a), value_of(b))
    tape = tape_of(a, b)
    if next(x for x in (a, b) if isinstance(x, Jet)).tangent is None:
        return Jet(value, None, tape)
    left, right = (x.tangent if isinstance(x, Jet) else 0.0 for x in (a, b))
    assert left is not None and right is not None
    return Jet(value, torch.where(condition, left, right), tape)


@rule("detach")
def _detach(x: Jet) -> Tensor:
    return x.value.detach()
