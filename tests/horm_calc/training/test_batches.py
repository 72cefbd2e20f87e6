"""What a training step sees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from horm_calc.data.formats.ase_files import Listed
from horm_calc.data.frames import Frame
from horm_calc.training.batches import BatchOptions, Steps, batch_of, fixed_batches
from horm_calc.training.probes import probes, weights_of
from tests.horm_calc.data.labelled import frames

NO_REFERENCES = dict.fromkeys((1, 6, 7, 8), 0.0)
MAKING = BatchOptions(NO_REFERENCES, "projections", 2, torch.float64)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rows_are_different_unit_vectors() -> None:
    vectors = probes("rows", 3, 5, rng()).reshape(5, 9)
    assert sorted(vectors.sum(1)) == [1.0] * 5
    assert (vectors.sum(0) <= 1).all()
    assert probes("rows", 1, 5, rng()).shape == (3, 1, 3)


def test_projections_are_signs_and_full_is_the_unit_matrix() -> None:
    vectors = probes("projections", 4, 500, rng())
    assert vectors.shape == (500, 4, 3)
    assert set(np.unique(vectors)) == {-1.0, 1.0}
    # 500 fair signs: the mean of a component has a spread of 1/sqrt(500) = 0.045.
    assert np.abs(vectors.mean(0)).max() < 5 * 0.045
    np.testing.assert_array_equal(probes("full", 2, 1, rng()).reshape(6, 6), np.eye(6))


def test_labels_go_where_their_atoms_are() -> None:
    listed = frames()
    batch = batch_of(listed, MAKING, rng())
    plain, with_second = batch.parts
    assert len(batch) == len(listed)
    assert plain.vectors is None
    expected = [frame for frame in listed if frame.hessian is not None]
    start = 0
    for place, frame in enumerate(expected):
        stop = start + len(frame.numbers)
        np.testing.assert_array_equal(with_second.molecules.numbers[start:stop], frame.numbers)
        np.testing.assert_allclose(with_second.forces[start:stop], frame.forces)
        assert with_second.energies[place] == frame.energy
        vectors = with_second.vectors[:, start:stop].reshape(2, -1).numpy()
        products = with_second.products[:, start:stop].reshape(2, -1)
        np.testing.assert_allclose(products, vectors @ frame.hessian, atol=1e-12)
        start = stop


def test_references_are_taken_off() -> None:
    [frame] = frames(1, 0)[:1]
    batch = batch_of([frame], BatchOptions({1: -1.0, 8: -5.0}, "none", 1), rng())
    assert batch.parts[0].energies[0] == pytest.approx(frame.energy + 7.0, abs=1e-5)


def test_labels_that_are_products_keep_their_vectors() -> None:
    whole = frames(1, 1)[0]
    vectors = probes("projections", 3, 4, rng())
    products = (vectors.reshape(4, 9) @ whole.hessian).reshape(4, 3, 3)
    frame = Frame(
        whole.numbers, whole.positions, 0.0, whole.forces, vectors=vectors, products=products
    )
    part = batch_of([frame], BatchOptions(NO_REFERENCES, "rows", 2, torch.float64), rng()).parts[0]
    for vector, product in zip(part.vectors, part.products, strict=True):
        [place] = [i for i in range(4) if np.array_equal(vectors[i], vector)]
        np.testing.assert_allclose(product, products[place])


def test_every_vector_weighs_by_its_length() -> None:
    """So that its squared product is, on average, the mean squared element of the Hessian."""
    vectors = np.stack([np.eye(9)[4], np.ones(9), rng().normal(size=9), np.zeros(9)])
    expected = [1 / 9, 1 / 81, 1 / (9 * (vectors[2] ** 2).sum()), 0.0]
    np.testing.assert_allclose(weights_of(vectors.reshape(4, 3, 3)), expected)
    whole = frames(1, 1)[0]
    labels = Frame(
        whole.numbers, whole.positions, 0.0, whole.forces,
        vectors=vectors.reshape(4, 3, 3), products=(vectors @ whole.hessian).reshape(4, 3, 3),
    )  # fmt: skip
    making = BatchOptions(NO_REFERENCES, "projections", 4, torch.float64)
    part = batch_of([labels], making, rng()).parts[0]
    np.testing.assert_allclose(sorted(part.weights[:, 0]), sorted(np.divide(expected, 4)))


def seen(steps: Steps, count: int) -> Counter[tuple[float, ...]]:
    """How often each frame came, told apart by its forces' sum of squares."""
    return Counter(
        tuple(np.round(float(energy), 9) for energy in [energy])
        for step in range(count)
        for part in steps[step].parts
        for energy in part.energies
    )


def test_an_epoch_sees_every_frame_once() -> None:
    listed = Listed(frames(4, 4))
    steps = Steps(listed, 4, MAKING, seed=3)
    assert steps.per_epoch == 4
    counts = seen(steps, steps.per_epoch)
    assert len(counts) == len(listed)
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(("fraction", "expected"), [(None, 4), (0.75, 6), (1.0, 8)])
def test_share_of_frames_with_second_derivatives(fraction, expected) -> None:
    steps = Steps(Listed(frames(4, 2)), 8, MAKING, 1, fraction)
    for step in range(4):
        parts = steps[step].parts
        with_second = sum(len(part.energies) for part in parts if part.vectors is not None)
        assert (with_second, len(steps[step])) == (expected, 8)


def test_a_step_follows_from_seed_and_number_alone() -> None:
    listed = Listed(frames())
    first, second = (Steps(listed, 4, MAKING, seed=5) for _ in range(2))
    other = Steps(listed, 4, MAKING, seed=6)
    later = second[7]  # without the steps before it
    for a, b in zip(first[7].parts, later.parts, strict=True):
        assert torch.equal(a.molecules.positions, b.molecules.positions)
        assert a.vectors is None or torch.equal(a.vectors, b.vectors)
    assert any(
        not torch.equal(first[step].parts[0].energies, other[step].parts[0].energies)
        for step in range(4)
    )


def test_no_second_derivatives_where_none_are_wanted() -> None:
    steps = Steps(Listed(frames()), 8, BatchOptions(NO_REFERENCES, "none", 1), 1)
    assert all(part.vectors is None for step in range(4) for part in steps[step].parts)


def test_validation_sees_every_frame_once_and_the_same_vectors() -> None:
    listed = Listed(frames())
    first, second = (fixed_batches(listed, 5, MAKING, 1) for _ in range(2))
    assert sum(len(batch) for batch in first) == len(listed)
    for a, b in zip(first, second, strict=True):
        for p, q in zip(a.parts, b.parts, strict=True):
            assert p.vectors is None or torch.equal(p.vectors, q.vectors)
