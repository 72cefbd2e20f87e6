"""The Hessian held against differences of the forces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner import calculators
from tests.surfaces import LEPS
from workflows.records import Label, Reaction
from workflows.settings import from_mapping
from workflows.stages import saddle
from workflows.stages.saddle import refine
from workflows.surface import Evaluations, Surface
from workflows.trust import check_hessian
from workflows.tssearch import search

FAST = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 1})
#: Of the differences on LEPS, whose lowest curvature is −28 eV/Å², eV/Å².
TRUNCATION = 0.03
PLACE = Atoms("HHH", [[-0.98, 0.1, 0], [0, 0, 0.05], [0.95, 0.05, 0]])


class Rippled(LEPS):
    """LEPS with a wave of 3 mÅ on it: tiny forces, large second derivatives of its own."""

    AMPLITUDE, WAVE = 2.5e-6, 2000.0  # eV, 1/Å: 0.005 eV/Å, 10 eV/Å²

    def calculate(self, *arguments, **more) -> None:
        super().calculate(*arguments, **more)
        wave = np.sin(self.WAVE * (self.atoms.positions - PLACE.positions))
        self.results["forces"] = self.results["forces"] - self.AMPLITUDE * self.WAVE * wave


def exact(atoms: Atoms = PLACE) -> np.ndarray:
    """The Hessian of LEPS, from differences so small that no error of theirs shows."""
    surface, step, rows = Surface(LEPS()), 1e-5, []
    for index in np.ndindex(atoms.positions.shape):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index] += sign * step
            forces.append(surface.at(moved)[1].ravel())
        rows.append((forces[1] - forces[0]) / (2 * step))
    return 0.5 * (np.array(rows) + np.array(rows).T)


def error(hessian: np.ndarray, calculator: Calculator | None = None) -> float:
    found = check_hessian(Surface(calculator or LEPS()), PLACE, hessian)
    assert found is not None
    return found.curvature_error


def test_the_right_hessian_is_right_for_six_gradients() -> None:
    surface = Surface(LEPS())
    found = check_hessian(surface, PLACE, exact())
    assert found is not None
    assert len(found.errors) == 3
    assert found.curvature_error < TRUNCATION
    assert surface.evaluations == Evaluations(gradients=6)


def test_a_wrong_hessian_shows_by_how_much_it_is_wrong() -> None:
    assert error(exact() + 2.0 * np.eye(9)) == pytest.approx(2.0, abs=TRUNCATION)


def test_an_error_that_leaves_the_curvature_of_the_mode_alone_shows_too() -> None:
    """The mode coupled with another vibration: v·H v is right, H v is not."""
    modes = normal_modes(PLACE, exact()).displacements.reshape(-1, 9)  # equal masses
    coupling = 0.3 * np.outer(modes[0], modes[1])
    wrong = exact() + coupling + coupling.T
    lowest = normal_modes(PLACE, wrong).displacements[0].ravel()
    assert abs(lowest @ (wrong - exact()) @ lowest) < 0.1
    assert error(wrong) == pytest.approx(0.3, abs=TRUNCATION)


def test_rigid_motions_do_not_count() -> None:
    shift = np.tile([1.0, 0.0, 0.0], 3) / np.sqrt(3)
    assert error(exact() + 50.0 * np.outer(shift, shift)) < TRUNCATION


def test_spikes_narrower_than_the_step_show() -> None:
    ripple = Rippled.AMPLITUDE * Rippled.WAVE**2 * np.eye(9)
    assert error(exact() + ripple, Rippled()) > 5.0


def test_one_atom_has_no_vibration() -> None:
    assert check_hessian(Surface(LEPS()), Atoms("H"), np.eye(3)) is None


class WithHessian(Calculator):
    """GFN2-xTB that claims to know its second derivatives."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE

    def __init__(self) -> None:
        super().__init__()
        self.inner = Surface(calculators.build("gfn2-xtb"))

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        super().calculate(atoms)
        energy, forces = self.inner.at(atoms)
        self.results = {"energy": energy, "forces": forces}

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        return self.inner.get_hessian(atoms)


def test_only_a_hessian_of_the_calculators_own_is_checked(hcn_guess, monkeypatch) -> None:
    own = refine(hcn_guess, Surface(WithHessian()), FAST.saddle)
    assert own.converged
    assert own.curvature_error == max(own.hessian_check.errors)
    assert own.curvature_error < 0.1
    monkeypatch.setattr(saddle, "check_hessian", lambda *_: None)
    unchecked = refine(hcn_guess, Surface(WithHessian()), FAST.saddle)
    assert own.cost.evaluations - unchecked.cost.evaluations == Evaluations(gradients=6)
    monkeypatch.setattr(saddle, "check_hessian", lambda *_: pytest.fail("nothing to check"))
    other = refine(hcn_guess, Surface(calculators.build("gfn2-xtb")), FAST.saddle)
    assert other.hessian_check is None
    assert other.curvature_error is None


def test_beyond_the_limit_it_is_a_warning_and_the_verdict_stays(hcn, hnc) -> None:
    class Doubtful(WithHessian):
        def concerns(self, atoms: Atoms) -> list[str]:
            return [f"nobody knows {atoms.get_chemical_formula()}"]

    strict = dataclasses.replace(FAST.saddle, max_curvature_error=1e-6)
    settings = dataclasses.replace(FAST, saddle=strict)
    result = search(Reaction("hcn", hcn, hnc), WithHessian(), settings)
    assert result.verdict.label is Label.INTENDED
    [warning] = result.warnings
    assert "Hessian deviates from its forces" in warning
    assert search(Reaction("hcn", hcn, hnc), WithHessian(), FAST).warnings == ()
    doubted = search(Reaction("hcn", hcn, hnc), Doubtful(), FAST)
    assert doubted.warnings == ("nobody knows CHN",)  # once, not for each structure
