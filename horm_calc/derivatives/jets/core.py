"""What a jet is, and the tape of one sweep over a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from horm_calc.errors import HormError

RULES: dict[str, Callable[..., Any]] = {}


class NoRule(HormError, NotImplementedError, AttributeError):
    """An operation that jets have no rule for; the message names it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)  # as it is, so that it passes between processes

    def __str__(self) -> str:
        return f"second derivatives have no rule for '{self.args[0]}'"


class AmbiguousRows(HormError, ValueError):
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
            raise NoRule(name)
        return RULES[name](*args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "device", "dim", "size"):
            return getattr(self.value, name)
        if name not in RULES:
            raise NoRule(name)
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

    def __matmul__(self, other: Any) -> Jet:
        return RULES["matmul"](self, other)

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
    """Enters a function as the rule for the operations `names`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register
