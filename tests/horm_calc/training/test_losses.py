"""The losses against cases worked out by hand, and in the mean against the whole Hessian."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from horm_calc.derivatives import hessian
from horm_calc.graphs import Molecules
from horm_calc.training.batches import BatchOptions, Part, batch_of
from horm_calc.training.losses import (
    Prediction,
    energy_errors,
    force_errors,
    predict,
    product_errors,
)
from tests.horm_calc.data.labelled import frames, network
from tests.horm_calc.small_networks import small

NO_REFERENCES = dict.fromkeys((1, 6, 7, 8), 0.0)
NAMES = ("LEFTNet", "LEFTNet-df", "AlphaNet")


def part_of(kind: str, vectors: int = 1, seed: int = 0, listed=None) -> Part:
    making = BatchOptions(NO_REFERENCES, kind, vectors, torch.float64)
    chosen = listed or [frame for frame in frames() if frame.hessian is not None]
    [part] = batch_of(chosen, making, np.random.default_rng(seed)).parts
    return part


def hand_made() -> tuple[Prediction, Part]:
    """Two molecules: one atom, then two."""
    molecules = Molecules(
        torch.tensor([1, 8, 1]), torch.zeros(3, 3), torch.tensor([0, 1, 1]), (1, 2)
    )
    zero = torch.zeros(3, 3)
    vectors = torch.zeros(2, 3, 3)
    part = Part(molecules, torch.zeros(2), zero, vectors, vectors, torch.tensor([[0.5, 0.1]] * 2))
    forces = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
    products = torch.stack([forces, 2 * forces])
    return Prediction(torch.tensor([0.5, -2.0]), forces, products), part


def test_energies_by_hand() -> None:
    found, part = hand_made()
    assert energy_errors(found, part, "l1").tolist() == [0.5, 2.0]
    assert energy_errors(found, part, "squared").tolist() == [0.25, 4.0]


def test_forces_by_hand() -> None:
    found, part = hand_made()
    np.testing.assert_allclose(force_errors(found, part, "l1"), [7 / 3, 2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(force_errors(found, part, "norm"), [5, 2, 0], atol=1e-6)
    np.testing.assert_allclose(force_errors(found, part, "squared"), [25 / 3, 4 / 3, 0], rtol=1e-6)


def test_products_by_hand() -> None:
    """Two vectors; the second's errors are twice the first's."""
    found, part = hand_made()
    np.testing.assert_allclose(product_errors(found, part, "norm"), [0.75, 0.3], rtol=1e-6)
    squared = [0.5 * (25 + 100), 0.1 * (4 + 16)]
    np.testing.assert_allclose(product_errors(found, part, "squared"), squared, rtol=1e-6)


def test_a_molecule_with_fewer_vectors_is_averaged_over_its_own() -> None:
    found, part = hand_made()
    part = dataclasses.replace(part, weights=torch.tensor([[0.5, 0.1], [0.0, 0.1]]))
    products = found.products.clone()
    products[1, 0] = 0
    found = dataclasses.replace(found, products=products)
    np.testing.assert_allclose(product_errors(found, part, "norm"), [0.5, 0.3], rtol=1e-6)


def test_a_vanishing_error_has_a_gradient() -> None:
    """Labels that are what the network says."""
    student, part = network(seed=1), part_of("projections", listed=frames(1, 1))
    found = predict(student, part, second=True)
    part = dataclasses.replace(part, forces=found.forces.detach(), products=found.products.detach())
    loss = force_errors(found, part, "norm").sum() + product_errors(found, part, "norm").sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in student.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_hessian(name) -> None:
    """vᵀH of each molecule, for energy-derivative and for direct forces."""
    net = small(name)
    part = part_of("projections", vectors=2)
    found = predict(net, part, second=True)
    matrices = hessian.hessians(net, part.molecules)
    start = 0
    for size, matrix in zip(part.molecules.sizes, matrices, strict=True):
        rows = slice(start, start + size)
        vectors = part.vectors[:, rows].reshape(2, -1)
        products = found.products[:, rows].reshape(2, -1).detach()
        # Sums of some 1e4 terms in float64, elements of the order of 1e2 eV/Å².
        assert (products - vectors @ matrix).abs().max() < 1e-9 * max(1, matrix.abs().max())
        start += size


def test_the_whole_hessian_is_the_mean_squared_element() -> None:
    student, part = network(seed=1), part_of("full")
    losses = product_errors(predict(student, part, second=True), part, "squared")
    found = hessian.hessians(student, part.molecules)
    labels = [frame.hessian for frame in frames() if frame.hessian is not None]
    expected = [
        float(((h - torch.as_tensor(label)) ** 2).mean())
        for h, label in zip(found, labels, strict=True)
    ]
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-9)


def gradient(student, part: Part) -> torch.Tensor:
    loss = product_errors(predict(student, part, second=True), part, "squared").mean()
    weights = [p for p in student.parameters() if p.requires_grad]
    parts = torch.autograd.grad(loss, weights, allow_unused=True)
    return torch.cat([g.flatten() for g in parts if g is not None])


@pytest.mark.parametrize("kind", ["rows", "projections"])
def test_gradient_has_that_of_the_whole_hessian_as_its_mean(kind) -> None:
    """Averages of 150 draws. Along the exact gradient g, the sample mean of g·ĝ / g·g is 1."""
    student, listed = network(seed=1), frames(1, 1)[:2]
    exact = gradient(student, part_of("full", listed=listed))
    drawn = torch.stack(
        [gradient(student, part_of(kind, seed=seed, listed=listed)) for seed in range(150)]
    )
    along = drawn @ exact / (exact @ exact)
    error = float(along.std() / len(along) ** 0.5)
    assert error < 0.1
    assert abs(float(along.mean()) - 1) < 4 * error
    # Across it, nothing but noise remains, which falls with the root of the number of draws.
    rest = drawn - along[:, None] * exact
    spread = rest.std(0) / len(drawn) ** 0.5
    assert float(rest.mean(0).norm() / spread.norm()) < 2
