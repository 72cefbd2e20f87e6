"""The IRC by local quadratic approximation, where the path of steepest descent is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from scipy.integrate import solve_ivp

from horm_calc.chemistry.masses import with_positions
from tests.surfaces import LEPS
from workflows.methods.hessian_updates import bofill
from workflows.methods.lqa import _quadratic_path, follow_irc
from workflows.settings import IRCSettings, SaddleSettings
from workflows.stages.saddle import refine
from workflows.surface import Surface


def test_a_quadratic_path_is_that_of_steepest_descent() -> None:
    """Against a numerical integration along the arc, stiff and soft directions together."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.normal(size=(4, 4)))[0]
    hessian = axes @ np.diag([-0.5, 0.02, 1.0, 40.0]) @ axes.T
    start, gradient = np.zeros(4), random.normal(size=4)

    def downhill(_: float, place: np.ndarray) -> np.ndarray:
        slope = gradient + hessian @ place
        return -slope / np.linalg.norm(slope)

    for arc in (0.01, 0.3, 2.0):
        expected = solve_ivp(downhill, (0, arc), start, "Radau", rtol=1e-9, atol=1e-11).y[:, -1]
        place, slope = _quadratic_path(start, gradient, hessian, arc)
        np.testing.assert_allclose(place, expected, atol=2e-3 * arc)  # of adding up the arc length
        np.testing.assert_allclose(slope, gradient + hessian @ place, atol=1e-9)


def test_a_path_that_comes_to_a_minimum_ends_there() -> None:
    hessian, gradient = np.diag([1.0, 5.0]), np.array([1.0, -2.0])
    place, slope = _quadratic_path(np.zeros(2), gradient, hessian, arc=100.0)
    np.testing.assert_allclose(place, -np.linalg.solve(hessian, gradient), atol=1e-6)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_an_updated_hessian_explains_the_step_it_was_made_from() -> None:
    random = np.random.default_rng(1)
    hessian, step, change = random.normal(size=(5, 5)), *random.normal(size=(2, 5))
    hessian = hessian + hessian.T
    updated = bofill(hessian, step, change)
    np.testing.assert_allclose(updated @ step, change, atol=1e-10)
    np.testing.assert_allclose(updated, updated.T, atol=1e-12)


class WithHessian(LEPS):
    """The same surface with second derivatives of its own."""

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        return Surface(LEPS()).get_hessian(atoms)


@pytest.mark.parametrize("kind", [LEPS, WithHessian])
def test_it_follows_the_path_of_steepest_descent(kind: type[LEPS]) -> None:
    """Of H + HD on an analytic surface, against a numerical integration, whatever the Hessians."""
    surface = Surface(kind())
    guess = Atoms("HHH", [[-0.95, 0, 0], [0, 0, 0], [0.95, 0, 0]], masses=[1.008, 1.008, 2.014])
    saddle = refine(guess, surface, SaddleSettings(max_force=1e-3))
    settings = IRCSettings(step_length=0.2)
    branches = follow_irc(saddle.atoms, saddle.hessian, surface, settings)
    assert branches.arrived == (True, True)
    root = np.sqrt(np.repeat(guess.get_masses(), 3))

    def downhill(_: float, place: np.ndarray) -> np.ndarray:
        moved = with_positions(guess, (place / root).reshape(-1, 3))
        forces = surface.at(moved)[1].ravel() / root
        return forces / np.linalg.norm(forces)

    for images in branches.images:
        energies = [saddle.energy, *(surface.at(image)[0] for image in images)]
        assert (np.diff(energies) < 0).all()
        places = [image.positions.ravel() * root for image in images]
        length = sum(np.linalg.norm(b - a) for a, b in itertools.pairwise(places))
        path = solve_ivp(downhill, (0, length), places[0], rtol=1e-7, max_step=0.01).y.T / root
        for image in images:
            assert np.abs(path - image.positions.ravel()).max(axis=1).min() < 0.02
