"""Minima and saddle points by quadratic steps, on surfaces whose stationary points are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from horm_calc.chemistry.thermochemistry import normal_modes
from tests.surfaces import LEPS
from workflows.methods.trust_region import minimise, refine_saddle, restricted
from workflows.settings import EndpointSettings, SaddleSettings
from workflows.stages.saddle import refine, refine_again
from workflows.surface import Surface

GUESS = Atoms("HHH", [[-0.98, 0.05, 0], [0, 0, 0], [0.88, 0.03, 0.02]])


def value(values: np.ndarray, slopes: np.ndarray, point: np.ndarray) -> np.ndarray:
    return point @ slopes + 0.5 * (point**2 @ values)


@pytest.mark.parametrize(
    "values",
    [[0.5, 2.0, 30.0], [-3.0, 1.0, 20.0], [-3.0, -1.0, -0.1], [0.0, 0.0, 5.0], [-2.0, -2.0, 4.0]],
    ids=str,
)
@pytest.mark.parametrize(
    "slopes",
    [[0.01, 0.02, -0.05], [3.0, -5.0, 8.0], [0.0, 1.0, -2.0], [0.0, 0.0, 0.0], [1e-9, 1.0, 1.0]],
    ids=str,
)
@pytest.mark.parametrize("radius", [0.02, 0.5])
def test_a_restricted_step_ends_at_the_lowest_point(values, slopes, radius) -> None:
    """No point within the radius is lower; the conditions of Karush, Kuhn and Tucker hold."""
    values, slopes = np.array(values), np.array(slopes)
    point = restricted(values, slopes, radius)
    length = np.linalg.norm(point)
    assert length < radius * (1 + 1e-6)
    lowest = value(values, slopes, point)
    random = np.random.default_rng(0)
    others = random.normal(size=(20000, 3))
    others *= (
        radius
        * random.uniform(size=(20000, 1)) ** (1 / 3)
        / np.linalg.norm(others, axis=1, keepdims=True)
    )
    on_the_rim = radius * others / np.linalg.norm(others, axis=1, keepdims=True)
    for points in (others, on_the_rim):
        assert value(values, slopes, points).min() > lowest - 1e-6 * max(1, abs(lowest))
    # Downhill still, if at all, only against the rim.
    slope = slopes + values * point
    if length > radius * (1 - 1e-6):
        shift = -(slope @ point) / length**2
        np.testing.assert_allclose(slope, -shift * point, atol=1e-4 * max(1, np.abs(slopes).max()))
        assert shift > max(-values.min(), 0) - 1e-3
    else:
        np.testing.assert_allclose(slope, 0, atol=1e-6)
        assert values.min() > -1e-6


class Remembering(LEPS):
    """Keeps the energies that it was asked for, in order, and counts Hessians of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.energies: list[float] = []
        self.hessians = 0

    def calculate(self, *arguments, **more) -> None:
        super().calculate(*arguments, **more)
        self.energies.append(self.results["energy"])


class WithHessian(Remembering):
    """The same surface with second derivatives of its own."""

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        self.hessians += 1
        return Surface(LEPS()).get_hessian(atoms)


def imaginary(atoms: Atoms, surface: Surface) -> int:
    modes = normal_modes(atoms, surface.get_hessian(atoms))
    return len(modes.imaginary_frequencies(SaddleSettings().imaginary_threshold))


@pytest.mark.parametrize("seed", range(5))
def test_energies_never_rise_on_the_way_to_a_minimum(gfn2: Surface, seed: int) -> None:
    """What has been gained after so many steps is kept by more of them."""
    start = molecule("CH3CH2OH")
    start.rattle(0.15, seed=seed)
    energies = [gfn2.at(start)[0]]
    for steps in range(1, 30, 2):
        walk = minimise(start, gfn2, EndpointSettings(max_steps=steps))
        energies.append(gfn2.at(walk.atoms)[0])
    assert np.diff(energies).max() <= 0
    assert np.abs(gfn2.at(walk.atoms)[1]).max() < EndpointSettings().max_force
    assert len(walk.log.splitlines()) < 29  # it came to its end


def test_an_atom_and_a_pair_relax() -> None:
    surface = Surface(LEPS())
    apart = minimise(
        Atoms("HHH", [[-8, 0, 0], [0, 0, 0], [0.9, 0, 0]]), surface, EndpointSettings()
    )
    assert apart.atoms.get_distance(1, 2) == pytest.approx(LEPS.R0, abs=2e-3)


@pytest.mark.parametrize("calculator", [LEPS, WithHessian])
def test_the_saddle_of_hydrogen_exchange(calculator) -> None:
    """It is straight and symmetric."""
    surface = Surface(calculator())
    walk = refine_saddle(GUESS, surface, SaddleSettings())
    forces = surface.at(walk.atoms)[1]
    assert np.abs(forces).max() < SaddleSettings().max_force
    assert imaginary(walk.atoms, surface) == 1
    first, second, both = (walk.atoms.get_distance(*pair) for pair in ((0, 1), (1, 2), (0, 2)))
    assert first == pytest.approx(second, abs=0.01)
    assert both == pytest.approx(first + second, abs=0.01)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_own_hessians_are_asked_for_every_so_many_steps(every: int) -> None:
    calculator = WithHessian()
    walk = refine_saddle(GUESS, Surface(calculator), SaddleSettings(hessian_every=every))
    steps = len(walk.log.splitlines()) - 1
    assert calculator.energies  # gradients, one a step and one at the start
    assert len(calculator.energies) == steps + 1
    # One at the start, those between, and the one that shows what kind of point it is.
    assert steps // every + 1 <= calculator.hessians <= steps // every + 2


def test_from_a_known_hessian_no_new_one_is_asked_for_on_the_way() -> None:
    """That is what it is for: at a level of theory where they are dear."""
    known = refine(GUESS, Surface(LEPS()), SaddleSettings())
    far = known.atoms.copy()
    far.positions[0] += [-0.25, 0.1, 0]
    calculator = WithHessian()
    walk = refine_again(
        dataclasses.replace(known, atoms=far), Surface(calculator), SaddleSettings(hessian_every=1)
    )
    assert walk.converged, walk.reason
    assert len(walk.log.splitlines()) > 3
    assert calculator.hessians == 1


def test_differences_cost_one_gradient_a_coordinate() -> None:
    """Three atoms: 9 at the start and 18 at the end, where they are exact, and one a step."""
    calculator = Remembering()
    walk = refine_saddle(GUESS, Surface(calculator), SaddleSettings())
    assert len(calculator.energies) == len(walk.log.splitlines()) + 9 + 18


#: Two ammonia molecules, flat: symmetry leaves no force along either of their inversions.
FLAT = Atoms("NHHH", [[0, 0, 0], [1.0, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]])


def pair(distance: float) -> Atoms:
    other = FLAT.copy()
    other.translate((0, 0, distance))
    return FLAT + other


@pytest.mark.parametrize(
    "start",
    [pair(6.0), molecule("NH3"), FLAT, molecule("C2H6"), molecule("HCN")],
    ids=["second order", "ammonia", "flat ammonia", "ethane", "HCN"],
)
def test_from_other_stationary_points_it_goes_on(start: Atoms, gfn2: Surface) -> None:
    """To a first-order saddle, or it says that there is none."""
    start = minimise(start, gfn2, EndpointSettings()).atoms
    saddle = refine(start, gfn2, SaddleSettings())
    order = len(saddle.modes.imaginary_frequencies(SaddleSettings().imaginary_threshold))
    assert saddle.converged == (order == 1 and not saddle.reason)
    if saddle.converged:
        assert np.abs(saddle.forces).max() <= SaddleSettings().max_force
    else:
        words = "not a first-order saddle", "not a saddle", "stopped with a largest force"
        assert any(one in saddle.reason for one in words)


def test_the_walk_leaves_a_minimum(gfn2: Surface) -> None:
    """Uphill forces grow: steps that are refused for it must become shorter, not come again."""
    start = minimise(molecule("CH3OH"), gfn2, EndpointSettings()).atoms
    saddle = refine(start, gfn2, SaddleSettings())
    assert saddle.converged, saddle.reason
    barrier = saddle.energy - gfn2.at(start)[0]
    assert 0.02 < barrier < 0.1  # eV; the methyl group turns (experiment: 0.046)
