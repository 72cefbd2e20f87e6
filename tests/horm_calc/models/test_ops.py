"""Operations that several networks share, against their definitions."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn

from horm_calc.models.ops import _POINTS_AT_ONCE, gather_sum, gaussian, scalar_mlp


def test_gaussian():
    x = torch.linspace(-50, 50, 10001, dtype=torch.float64, requires_grad=True)
    exact = torch.exp(-x * x)
    assert_allclose(gaussian(x).detach(), exact.detach(), atol=1.1e-20, rtol=1e-14)
    for found, expected in zip(derivatives(gaussian(x), x), derivatives(exact, x), strict=True):
        assert_allclose(found, expected, atol=1e-16)


def test_a_gaussian_of_nothing_is_not_zero():
    assert gaussian(torch.tensor([float("nan")])).isnan().all()


def test_no_gaussian_is_denormal():
    """Such numbers make the matrix products that read them several times slower."""
    values = gaussian(torch.linspace(0, 50, 100001))
    assert values[values != 0].min() > torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("widths", [(3, 5, 1), (3, 7, 4, 1), (3, 6, 5, 4, 1)])
@pytest.mark.parametrize("points", [0, 1, 40, 2 * _POINTS_AT_ONCE + 3])
def test_scalar_mlp(widths, points):
    """Value, gradient and second derivatives of the perceptron that its layers make."""
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs), nn.SiLU()]
    plain = nn.Sequential(*modules[:-1]).double().requires_grad_(False)
    t = torch.randn(points, 3, 2, dtype=torch.float64, requires_grad=True)
    found = scalar_mlp(t, *plain.parameters())
    expected = plain(t.transpose(1, 2)).squeeze(-1)
    assert_allclose(found.detach(), expected.detach(), atol=1e-13)
    for one, other in zip(derivatives(found, t), derivatives(expected, t), strict=True):
        assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("rows", [0, 5])
def test_sums_in_one_place(rows):
    values = torch.arange(3.0 * rows).reshape(rows, 3)
    index = torch.zeros(rows, dtype=torch.int64)
    before = torch.tensor([[1.0, 2.0, 3.0]])
    assert gather_sum(None, values, index, 1).equal(values.sum(0)[None])
    assert gather_sum(before, values, index, 1).equal(before + values.sum(0))


def derivatives(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the sum of the squares of y, and of the sum of the squares of that."""
    [first] = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    [second] = torch.autograd.grad((first * first).sum(), x)
    return first.detach(), second
