"""The counted and checked calculator."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

from horm_calc import HormCalculator
from workflows.errors import CalculatorFailed
from workflows.surface import Evaluations, Surface


@pytest.mark.parametrize("place", [(-0.5, 0.5), (0.6, 0.03), (-0.82, 0.62), (0.2, 0.9)])
def test_finite_differences_agree_with_the_exact_hessian(muller_brown, place) -> None:
    atoms = Atoms("H", [[*place, 0.1]])
    surface = Surface(muller_brown)
    exact = muller_brown.exact_hessian(atoms)
    # The error of a central difference is h²/6 times the fourth derivative, which is up to
    # 1e4 times larger than the curvature on this surface of narrow Gaussians.
    np.testing.assert_allclose(surface.get_hessian(atoms), exact, atol=0.01 * abs(exact).max())
    assert surface.evaluations == Evaluations(gradients=6, hessians=1)


def test_the_same_geometry_is_not_computed_twice(gfn2, hcn) -> None:
    gfn2.at(hcn)
    gfn2.at(hcn)
    assert gfn2.evaluations.gradients == 1
    first = gfn2.get_hessian(hcn)
    cost = gfn2.evaluations
    first[0, 0] = 1e9  # the caller's copy is the caller's
    second = gfn2.get_hessian(hcn)
    assert gfn2.evaluations == cost
    assert second[0, 0] != 1e9
    moved = hcn.copy()
    moved.positions[0, 0] += 0.01
    gfn2.get_hessian(moved)
    assert gfn2.evaluations.hessians == 2


def test_a_calculator_that_knows_its_hessian_is_asked(muller_brown) -> None:
    muller_brown.get_hessian = muller_brown.exact_hessian
    surface = Surface(muller_brown)
    atoms = Atoms("H", [[-0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(surface.get_hessian(atoms), muller_brown.exact_hessian(atoms))
    assert surface.evaluations == Evaluations(gradients=0, hessians=1)


def test_the_forces_of_the_analytic_surface_are_its_gradient() -> None:
    from ase.calculators.fd import calculate_numerical_forces

    from tests.surfaces import LEPS

    atoms = Atoms("HHH", [[-1.0, 0.2, 0], [0, 0, 0.1], [0.9, 0.1, 0]])
    atoms.calc = LEPS()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-6)


@pytest.fixture(scope="module")
def network() -> HormCalculator:
    return HormCalculator()


def test_images_are_worked_out_together(network) -> None:
    images = [molecule("CH3CH2OH") for _ in range(3)]
    for seed, image in enumerate(images):
        image.rattle(0.05, seed=seed)
    together, alone = Surface(network), Surface(network)
    together.prepare(images)
    assert together.evaluations.gradients == 3
    for image in [*images, images[0]]:
        (energy, forces), expected = together.at(image), alone.at(image)
        assert energy == pytest.approx(expected[0], abs=1e-4)
        np.testing.assert_allclose(forces, expected[1], atol=1e-4)
    assert together.evaluations.gradients == 3
    images[1].positions[0] += 0.01
    energy, _ = together.at(images[1])
    assert together.evaluations.gradients == 4
    assert energy == pytest.approx(alone.at(images[1])[0], abs=1e-6)


def test_other_calculators_are_left_to_be_asked_one_by_one(gfn2, hcn) -> None:
    gfn2.prepare([hcn])
    assert gfn2.evaluations.gradients == 0


def test_what_goes_wrong_for_many_is_said_as_for_one(network) -> None:
    with pytest.raises(CalculatorFailed, match="Si"):
        Surface(network).prepare([Atoms("SiH4", np.eye(5, 3))])


class Broken(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE

    def __init__(self, energy: float = 0.0, force: float = 0.0) -> None:
        super().__init__()
        self.energy, self.force = energy, force

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        super().calculate(atoms)
        if self.energy is not None and self.energy > 1e300:
            raise RuntimeError("SCF not converged")
        rows = len(atoms) - (self.force == 7)
        self.results = {"energy": self.energy, "forces": np.full((rows, 3), self.force)}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Broken(energy=np.nan), "not finite"),
        (Broken(force=np.inf), "not finite"),
        (Broken(energy=1e301), "SCF not converged"),
        (Broken(energy=None), "an energy of type object, not of real numbers"),
        (Broken(force=7), r"shape \(2, 3\), not \(3, 3\)"),
    ],
)
def test_bad_numbers_and_errors_become_one_kind_of_error(broken, message, hcn) -> None:
    with pytest.raises(CalculatorFailed, match=message):
        Surface(broken).at(hcn)


def test_an_energy_without_bounds_is_a_failure(hcn) -> None:
    """Networks have holes where atoms lie on each other: 44,000 eV deep in one relaxation."""
    broken = Broken()
    surface = Surface(broken)
    surface.at(hcn)
    moved = hcn.copy()
    # 20 eV an atom below the first, 1000 above.
    for energy, problem in ((-50, ""), (-70, "fell by 70 eV"), (500, ""), (4e3, "rose by 4e")):
        broken.energy = energy
        moved.rattle(0.1, seed=abs(int(energy)))
        if problem:
            with pytest.raises(CalculatorFailed, match=problem):
                surface.at(moved)
        else:
            assert surface.at(moved)[0] == energy


@pytest.mark.parametrize("hessian", [np.full((9, 9), np.nan), np.zeros((3, 3))])
def test_bad_hessians(hessian, hcn) -> None:
    broken = Broken()
    broken.get_hessian = lambda atoms: hessian
    with pytest.raises(CalculatorFailed, match="Hessian"):
        Surface(broken).get_hessian(hcn)


def test_charge_and_spin_reach_the_calculator(hcn) -> None:
    class Listening(Broken):
        def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
            super().calculate(atoms)
            self.heard = atoms.get_initial_charges().sum(), atoms.get_initial_magnetic_moments()

    listening = Listening()
    Surface(listening, charge=-1, multiplicity=3).at(hcn)
    assert listening.heard[0] == -1
    assert listening.heard[1].sum() == 2
