"""The rules of jets against automatic differentiation, each of them on its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from horm_calc.derivatives.jets import RULES, AmbiguousRows, Jet, Tape
from horm_calc.models import so3
from horm_calc.models.ops import (
    gather_sum,
    linear_silu,
    norm,
    radial_function,
    scalar_mlp,
    sum_of_ends,
)
from horm_calc.models.sphere import Grid, perceptron_on_sphere, silu_on_sphere

#: Directions along which derivatives are carried.
DIRECTIONS = 5
#: Rounding of sums of some hundred terms of order one.
ROUNDING = 1e-12


def fixed(*shape: int, seed: int = 7) -> Tensor:
    """Numbers that are not differentiated, of order one, the same every time."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@dataclass
class Case:
    """`function` of inputs of these shapes, between `low` and 2; None for any numbers."""

    rule: str
    label: str
    function: Callable[..., Any]
    shapes: Sequence[tuple[int, ...]] = ((4, 3),)
    low: float | None = None

    def inputs(self) -> list[Tensor]:
        rng = np.random.default_rng(0)
        if self.low is None:
            return [torch.from_numpy(rng.standard_normal(shape)) for shape in self.shapes]
        return [torch.from_numpy(rng.uniform(self.low, 2.0, s)) for s in self.shapes]

    def tangents(self) -> list[Tensor]:
        return [fixed(DIRECTIONS, *shape, seed=i) for i, shape in enumerate(self.shapes)]

    def results(self, *inputs: Any) -> list[Any]:
        found = self.function(*inputs)
        return list(found) if isinstance(found, (tuple, list)) else [found]


def _squared_and_its_sine(r: Tensor) -> tuple[Tensor, Tensor]:
    return r * r * fixed(1, 3), torch.sin(r) + fixed(1, 2)


def _layers(*widths: int) -> list[Tensor]:
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        layers += [fixed(b, a, seed=i), fixed(b, seed=i + 10)]
    return layers


INDEX = torch.tensor([2, 0, 2, 1])
MASK = torch.tensor([[True, False, True]])
ANYWHERE = ("silu", "sigmoid", "tanh", "exp", "cos", "sin", "square", "abs")
POSITIVE = ("sqrt", "rsqrt", "reciprocal")

CASES = [
    *(
        Case(name, "", F.silu if name == "silu" else getattr(torch, name), low=low)
        for names, low in ((ANYWHERE, None), (POSITIVE, 0.5))
        for name in names
    ),
    Case("add", "two", lambda a, b: a + b, [(4, 3), (4, 3)]),
    Case("add", "broadcast", lambda a, b: a + b, [(4, 1, 3), (2, 3)]),
    Case("add", "a tensor", lambda a: a + fixed(2, 4, 3)),
    Case("add", "to a tensor", lambda a: fixed(3) + a),
    Case("add", "to a number", lambda a: 1.5 + a),
    Case("sub", "two", lambda a, b: a - b, [(4, 3), (4, 1)]),
    Case("sub", "a tensor", lambda a: a - fixed(4, 3)),
    Case("sub", "from a tensor", lambda a: fixed(4, 3) - a),
    Case("sub", "from a number", lambda a: 1.5 - a),
    Case("mul", "two", lambda a, b: a * b, [(4, 3), (4, 3)]),
    Case("mul", "broadcast", lambda a, b: a * b, [(4, 1, 3), (4, 2, 1)]),
    Case("mul", "fewer dimensions", lambda a, b: a * b, [(4, 2, 3), (3,)]),
    Case("mul", "a tensor", lambda a: a * fixed(2, 1, 3)),
    Case("mul", "to a tensor", lambda a: fixed(4, 1) * a),
    Case("mul", "with itself", lambda a: a * a),
    Case(
        "mul",
        "a function of the distance",
        lambda r, a: radial_function(_squared_and_its_sine, r)[0] * a,
        [(4, 1), (4, 3)],
    ),
    Case(
        "mul",
        "by a function of the distance",
        lambda r, a: a * radial_function(_squared_and_its_sine, r)[0],
        [(4, 1), (4, 3)],
    ),
    Case(
        "mul",
        "two functions of the distance",
        lambda r: radial_function(_squared_and_its_sine, r)[0] * (r * r * r),
        [(4, 1)],
    ),
    Case("div", "two", lambda a, b: a / b, [(4, 3), (4, 1)], 0.5),
    Case("div", "by a tensor", lambda a: a / (3 + fixed(3))),
    Case("div", "of a number", lambda a: 2.0 / a, low=0.5),
    Case("div", "of a tensor", lambda a: fixed(4, 3) / a, low=0.5),
    Case("pow", "2", lambda a: a**2),
    Case("pow", "3", lambda a: a**3),
    Case("pow", "-1", lambda a: a**-1, low=0.5),
    Case("pow", "1/2", lambda a: torch.pow(a, 0.5), low=0.5),
    Case("clamp", "both", lambda a: a.clamp(-0.5, 0.5)),
    Case("clamp", "least", lambda a: torch.clamp(a, min=0.1)),
    Case("cross", "", lambda a, b: torch.cross(a, b, dim=-1), [(4, 3), (4, 3)]),
    Case("linalg_cross", "two", torch.linalg.cross, [(4, 3), (4, 3)]),
    Case("linalg_cross", "broadcast", torch.linalg.cross, [(4, 1, 3), (4, 2, 3)]),
    Case("linalg_cross", "a tensor", lambda a: torch.linalg.cross(fixed(4, 3), a)),
    Case("matmul", "two", lambda a, b: a @ b, [(4, 2, 3), (4, 3, 5)]),
    Case("matmul", "broadcast", torch.matmul, [(4, 2, 3), (3, 5)]),
    Case("matmul", "a tensor", lambda a: a @ fixed(3, 5)),
    Case("matmul", "to a tensor", lambda a: torch.matmul(fixed(2, 4), a)),
    Case("bmm", "", torch.bmm, [(4, 2, 3), (4, 3, 5)]),
    Case(
        "einsum",
        "two",
        lambda a, b: torch.einsum("exc,exk->ekc", a, b),
        [(4, 3, 2), (4, 3, 5)],
    ),
    Case("einsum", "a tensor", lambda a: torch.einsum("ax, kx -> ka", a, fixed(5, 3))),
    Case("einsum", "to a tensor", lambda a: torch.einsum("kx,ax->ak", fixed(5, 3), a)),
    Case("linear", "", lambda a: F.linear(a, fixed(5, 3), fixed(5))),
    Case("linear", "no bias", lambda a: F.linear(a, fixed(5, 3))),
    Case("cat", "rows", lambda a, b: torch.cat([a, b]), [(4, 3), (2, 3)]),
    Case("cat", "a tensor", lambda a: torch.cat([fixed(4, 2), a, fixed(4, 1)], dim=-1)),
    Case("stack", "", lambda a, b: torch.stack([a, b], dim=1), [(4, 3), (4, 3)]),
    Case("stack", "a tensor", lambda a: torch.stack((a, fixed(4, 3)), dim=-1)),
    Case("split", "equal", lambda a: a.split(1, dim=-1)),
    Case("split", "sizes", lambda a: torch.split(a, [1, 3])),
    Case("unbind", "", lambda a: a.unbind(-1)),
    Case("unbind", "rows", lambda a: torch.unbind(a)),
    Case("chunk", "", lambda a: a.chunk(2, dim=-1)),
    Case("chunk", "rows", lambda a: torch.chunk(a, 3)),
    Case("narrow", "", lambda a: a.narrow(1, 1, 2)),
    Case("__getitem__", "slice", lambda a: a[1:3]),
    Case("__getitem__", "column", lambda a: a[:, :1]),
    Case("__getitem__", "new dimension", lambda a: a[:, None]),
    Case("__getitem__", "last", lambda a: a[..., 1]),
    Case("__getitem__", "indices", lambda a: a[INDEX]),
    Case("index_select", "rows", lambda a: a.index_select(0, INDEX)),
    Case("index_select", "columns", lambda a: torch.index_select(a, -1, INDEX)),
    Case(
        "index_add",
        "",
        lambda a: torch.index_add(fixed(3, 3), 0, INDEX, a),
    ),
    Case("gather_sum", "from nothing", lambda a: gather_sum(None, a, INDEX, 3)),
    Case(
        "gather_sum",
        "onto another",
        lambda a, b: gather_sum(gather_sum(None, b, INDEX[:2], 3), a, INDEX, 3),
        [(4, 3), (2, 3)],
    ),
    Case("sum_of_ends", "", lambda a: sum_of_ends(a, INDEX, INDEX.flip(0))),
    Case("sum", "one", lambda a: a.sum(0), [(4, 2, 3)]),
    Case("sum", "two", lambda a: torch.sum(a, (0, -1), keepdim=True), [(4, 2, 3)]),
    Case("mean", "", lambda a: a.mean(-1, keepdim=True), [(4, 2, 3)]),
    Case("mean", "rows", lambda a: a.mean(0)),
    Case("reshape", "", lambda a: a.reshape(2, -1)),
    Case("reshape", "tuple", lambda a: torch.reshape(a, (3, 4))),
    Case("view", "", lambda a: a.view(-1)),
    Case("flatten", "", lambda a: a.flatten(1), [(4, 2, 3)]),
    Case("flatten", "all", lambda a: torch.flatten(a), [(4, 2, 3)]),
    Case("expand", "", lambda a: a.expand(-1, 2, 3), [(4, 1, 3)]),
    Case("expand", "more", lambda a: a.expand((2, 4, 3))),
    Case("unsqueeze", "", lambda a: a.unsqueeze(1)),
    Case("unsqueeze", "last", lambda a: a.unsqueeze(-1)),
    Case("squeeze", "", lambda a: a.squeeze(1), [(4, 1, 3)]),
    Case("squeeze", "last", lambda a: a.squeeze(-1), [(4, 1)]),
    Case("transpose", "", lambda a: a.transpose(0, 2), [(4, 2, 3)]),
    Case("transpose", "from the end", lambda a: a.transpose(-1, -2), [(4, 2, 3)]),
    Case("permute", "", lambda a: a.permute(1, 2, 0), [(4, 2, 3)]),
    Case("permute", "from the end", lambda a: torch.permute(a, (-1, 0, 1)), [(4, 2, 3)]),
    Case("contiguous", "", lambda a: a.transpose(0, 1).contiguous()),
    Case("where", "two", lambda a, b: torch.where(MASK, a, b), [(4, 3), (4, 3)]),
    Case("where", "a number", lambda a: torch.where(MASK, 0.0, a)),
    Case("where", "or a number", lambda a: torch.where(MASK, a, 1.0)),
    Case("detach", "", lambda a: a * a.detach()),
    Case("atan2", "", torch.atan2, [(4, 3), (4, 3)]),
    Case("arctan2", "", torch.arctan2, [(4, 3), (4, 3)]),
    Case("layer_norm", "", lambda a: F.layer_norm(a, (3,))),
    Case("layer_norm", "weights", lambda a: F.layer_norm(a, (3,), fixed(3), fixed(3, seed=1), 0.1)),
    Case("linear_silu", "", lambda a: linear_silu(a, fixed(5, 3), fixed(5))),
    Case(
        "linear_silu",
        "summands",
        lambda a, b, c: linear_silu(a, fixed(5, 3), None, b, c),
        [(4, 3), (4, 5), (4, 5)],
    ),
    Case(
        "radial_function",
        "",
        lambda r: radial_function(_squared_and_its_sine, r),
        [(4, 1)],
    ),
    Case(
        "radial_function",
        "in parts",
        lambda r: [part[1:3] for part in radial_function(_squared_and_its_sine, r)],
        [(4, 1)],
    ),
    Case("scalar_mlp", "", lambda t: scalar_mlp(t, *_layers(3, 6, 1)), [(4, 3, 2)]),
    Case("scalar_mlp", "deeper", lambda t: scalar_mlp(t, *_layers(3, 6, 5, 1)), [(4, 2, 3, 2)]),
]

#: Rules without second derivatives; networks with direct forces alone need them.
FIRST_ORDER_ONLY = ["silu_on_sphere", "perceptron_on_sphere"]


def _grid() -> Grid:
    there, back = so3.grid_matrices(2, 1, 6)
    return Grid(
        *(torch.from_numpy(x.copy()) for x in (there.reshape(36, -1), back.reshape(36, -1).T))
    )


SPHERE = [
    Case("silu_on_sphere", "", lambda x: silu_on_sphere(x, _grid()), [(7, 4, 3)]),
    Case(
        "perceptron_on_sphere",
        "",
        lambda x: perceptron_on_sphere(x, fixed(3, 3), _grid()),
        [(7, 4, 3)],
    ),
]


def _name(case: Case) -> str:
    return f"{case.rule}: {case.label}" if case.label else case.rule


def test_every_rule_is_tested() -> None:
    assert {case.rule for case in CASES + SPHERE} == RULES.keys()


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the rules that were asked for."""
    names: set[str] = set()

    def recorded(name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            names.add(name)
            return rule(*args, **kwargs)

        return run

    for name, rule in list(RULES.items()):
        monkeypatch.setitem(RULES, name, recorded(name, rule))
    return names


@pytest.mark.parametrize("case", CASES + SPHERE, ids=_name)
def test_values_and_first_derivatives(case: Case, used: set[str]) -> None:
    inputs, tangents = case.inputs(), case.tangents()
    tape = Tape(second_order=False)
    found = case.results(*(Jet(x, t, tape) for x, t in zip(inputs, tangents, strict=True)))
    assert case.rule in used
    expected = case.results(*inputs)
    assert len(found) == len(expected)
    for jet, value in zip(found, expected, strict=True):
        torch.testing.assert_close(jet.value, value, rtol=0, atol=ROUNDING)
    by_reverse_mode = torch.autograd.functional.jacobian(
        lambda *x: tuple(case.results(*x)), tuple(inputs)
    )
    for jet, of_inputs in zip(found, by_reverse_mode, strict=True):
        derivative = sum(
            torch.tensordot(t.flatten(1), part.flatten(jet.dim()), ([1], [jet.dim()]))
            for t, part in zip(tangents, of_inputs, strict=True)
        )
        torch.testing.assert_close(jet.tangent, derivative, rtol=0, atol=10 * ROUNDING)


def scalar_of(results: Sequence[Any]) -> Any:
    """A nonlinear function of all the results, so that also linear rules matter twice."""
    total: Any = 0.0
    for i, result in enumerate(results):
        flat = torch.sin(result).reshape(-1) * fixed(result.shape.numel(), seed=20 + i)
        total = flat.sum(0) + total
    return total


def carried(energy: Callable[..., Any], inputs: Sequence[Tensor], tangents: Sequence[Tensor]):
    """The Hessian along the directions as `horm_calc.derivatives.hessian` makes it."""
    recording = Tape()
    leaves = [x.clone().requires_grad_() for x in inputs]
    value = energy(*(Jet(leaf, None, recording) for leaf in leaves)).value
    adjoints = torch.autograd.grad(value, recording.results, allow_unused=True)
    sweep = Tape(adjoints)
    with torch.no_grad():
        energy(*(Jet(x, t, sweep) for x, t in zip(inputs, tangents, strict=True)))
    assert next(sweep._adjoints, "none left") == "none left"
    [half] = sweep.half
    return half + half.T


def differentiated(
    energy: Callable[..., Any], inputs: Sequence[Tensor], tangents: Sequence[Tensor]
) -> Tensor:
    """The same by automatic differentiation of a function of the place along the directions."""

    def at(place: Tensor) -> Tensor:
        moved = (x + torch.tensordot(place, t, 1) for x, t in zip(inputs, tangents, strict=True))
        return energy(*moved)

    return torch.autograd.functional.hessian(at, torch.zeros(DIRECTIONS, dtype=torch.float64))


@pytest.mark.parametrize("case", CASES, ids=_name)
def test_second_derivatives(case: Case) -> None:
    inputs, tangents = case.inputs(), case.tangents()

    def energy(*x: Any) -> Any:
        return scalar_of(case.results(*x))

    found = carried(energy, inputs, tangents)
    expected = differentiated(energy, inputs, tangents)
    scale = expected.abs().max()
    assert scale > 1e-2
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize("case", SPHERE, ids=_name)
def test_rules_without_second_derivatives_say_so(case: Case) -> None:
    assert case.rule in FIRST_ORDER_ONLY
    [signal] = case.inputs()
    with pytest.raises(NotImplementedError, match=f"no rule for '{case.rule}'"):
        case.function(Jet(signal, None, Tape()))


def test_rules_work_together() -> None:
    """A function with everything a network does: gathering, lengths, products, layers."""
    target, source = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 0, 2, 0, 1])

    def energy(x: Any) -> Any:
        difference = x.index_select(0, target) - x.index_select(0, source)
        distance = norm(difference)
        first, second = radial_function(_squared_and_its_sine, distance)
        axes = torch.stack(
            [difference / (distance + 0.1), torch.linalg.cross(x[target], x[source])], 1
        )
        seen = scalar_mlp(
            torch.cat([axes, difference.unsqueeze(1)], 1).transpose(1, 2), *_layers(3, 4, 1)
        )
        message = F.layer_norm(linear_silu(seen * first, fixed(5, 3), fixed(5)), (5,))
        atoms = gather_sum(None, message * second[:, :1], target, 3)
        return (torch.tanh(atoms) * atoms[:, :1]).reshape(-1).sum(0)

    x = [fixed(3, 3)]
    tangents = [fixed(DIRECTIONS, 3, 3, seed=1)]
    found, expected = (method(energy, x, tangents) for method in (carried, differentiated))
    scale = expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=100 * ROUNDING)


def test_lengths_of_zero_have_derivative_zero() -> None:
    vectors = fixed(3, 3)
    vectors[1] = 0
    found = carried(
        lambda x: (norm(x) ** 2).reshape(-1).sum(0), [vectors], [fixed(DIRECTIONS, 3, 3, seed=1)]
    )
    kept = fixed(DIRECTIONS, 3, 3, seed=1)[:, [0, 2]].reshape(DIRECTIONS, -1)
    torch.testing.assert_close(found, 2 * kept @ kept.T, rtol=0, atol=10 * ROUNDING)


# --- what is said of what there is no rule for ---


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("erf", torch.erf),
        ("softmax", lambda x: torch.softmax(x, -1)),
        ("cumsum", lambda x: torch.cumsum(x, 0)),
        ("gelu", F.gelu),
        ("roll", lambda x: torch.roll(x, 1)),
    ],
)
def test_an_operation_without_a_rule_is_named(name: str, function: Callable[..., Any]) -> None:
    assert name not in RULES
    with pytest.raises(NotImplementedError, match=f"no rule for '{name}'"):
        function(Jet(fixed(4, 3), None, Tape()))


def test_a_method_without_a_rule_is_named() -> None:
    with pytest.raises(AttributeError, match="no rule for 'cumsum'"):
        Jet(fixed(4, 3), None, Tape()).cumsum(0)


# --- several molecules ---


def test_each_molecule_has_its_own_hessian() -> None:
    """Directions that move the atoms of all molecules at once are told apart by the rows."""
    sizes, index = (2, 3), torch.tensor([0, 0, 1, 1, 1])
    x, tangent = fixed(5, 3), fixed(DIRECTIONS, 5, 3, seed=1)

    def energies(x: Any, count: int, index: Tensor) -> Any:
        atoms = torch.sin(x * x).sum(-1)
        return torch.index_add(torch.zeros(count, dtype=torch.float64), 0, index, atoms)

    recording = Tape()
    leaf = x.clone().requires_grad_()
    energy = energies(Jet(leaf, None, recording), 2, index).value
    adjoints = torch.autograd.grad(energy.sum(), recording.results)
    sweep = Tape(adjoints, rows=[sizes])
    energies(Jet(x, tangent, sweep), 2, index)
    assert sweep.half.shape == (2, DIRECTIONS, DIRECTIONS)
    for i, rows in enumerate((slice(0, 2), slice(2, 5))):
        expected = differentiated(
            lambda x: energies(x, 1, torch.zeros(len(x), dtype=torch.int64)).sum(),
            [x[rows]],
            [tangent[:, rows]],
        )
        found = sweep.half[i] + sweep.half[i].T
        torch.testing.assert_close(found, expected, rtol=0, atol=100 * ROUNDING)


def test_rows_that_divide_in_two_ways_are_refused() -> None:
    """Six rows: of atoms as 2 + 4, of edges as 4 + 2?"""
    with pytest.raises(AmbiguousRows):
        Tape(rows=[(2, 4), (4, 2)])


def test_rows_that_divide_in_one_way_are_not() -> None:
    """Molecules of three atoms have as many edges as atoms twice: 6 and 6, never 3 and 3."""
    assert Tape(rows=[(3, 3), (6, 6), (3, 3)]).rows == {6: (3, 3), 12: (6, 6)}
