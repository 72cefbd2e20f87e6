"""What an update of a Hessian must do, whatever it learns from."""

from __future__ import annotations

import numpy as np
import pytest

from workflows.methods.hessian_updates import bfgs, bofill

Update = type(bofill)


@pytest.fixture
def quadratic() -> tuple[np.ndarray, np.ndarray]:
    """A positive definite Hessian (eV/Å²), and a guess of it that is too soft."""
    random = np.random.default_rng(2)
    axes = np.linalg.qr(random.normal(size=(6, 6)))[0]
    return axes @ np.diag([0.3, 1.0, 4.0, 9.0, 20.0, 40.0]) @ axes.T, 0.2 * np.eye(6)


@pytest.mark.parametrize("update", [bofill, bfgs])
def test_an_update_explains_the_step_it_was_made_from(update: Update, quadratic) -> None:
    """The quasi-Newton condition; and a Hessian stays symmetric."""
    exact, guess = quadratic
    for step in np.random.default_rng(3).normal(size=(5, 6)):
        guess = update(guess, step, exact @ step)
        np.testing.assert_allclose(guess @ step, exact @ step, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(guess, guess.T, atol=1e-12)


@pytest.mark.parametrize("update", [bofill, bfgs])
def test_many_steps_teach_the_whole_hessian(update: Update, quadratic) -> None:
    exact, guess = quadratic
    for step in np.random.default_rng(4).normal(size=(300, 6)):
        guess = update(guess, step, exact @ step)
    np.testing.assert_allclose(guess, exact, atol=0.5)


def test_bfgs_stays_positive_definite_where_the_surface_curves_down(quadratic) -> None:
    """Beside a saddle point; Bofill's update follows the surface there instead."""
    downhill = -quadratic[0]
    guess = bent = np.eye(6)
    for step in np.random.default_rng(5).normal(size=(20, 6)):
        guess = bfgs(guess, step, downhill @ step)
        assert np.linalg.eigvalsh(guess).min() > 0
        np.testing.assert_allclose(guess, guess.T, atol=1e-12)
        bent = bofill(bent, step, downhill @ step)
    assert np.linalg.eigvalsh(bent).max() < 0


@pytest.mark.parametrize("update", [bofill, bfgs])
def test_where_there_is_nothing_to_learn_nothing_changes(update: Update, quadratic) -> None:
    exact, guess = quadratic
    still = np.zeros(6)
    np.testing.assert_array_equal(update(guess, still, still), guess)
    np.testing.assert_array_equal(update(guess, still, np.ones(6)), guess)
    step = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(update(exact, step, exact @ step), exact, atol=1e-12)
