"""A saddle looked for again on another surface, of which the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from reactbench_runner import calculators
from tests.places import STRUCTURES
from tests.surfaces import LEPS
from workflows.errors import InputError
from workflows.records import Label, Minimum, Reaction, SearchResult, Verdict
from workflows.settings import EndpointSettings, SaddleSettings, SearchSettings
from workflows.stages import saddle as saddle_stage
from workflows.stages.endpoints import relax
from workflows.stages.saddle import METHODS, refine, refine_again
from workflows.surface import Surface
from workflows.verification import superpose, verify

GUESS = Atoms("HHH", [[-0.98, 0.05, 0], [0, 0, 0], [0.88, 0.03, 0.02]])
BEFORE = Atoms("HHH", [[-4.0, 0.1, 0], [0, 0, 0], [0.76, 0, 0]])
AFTER = Atoms("HHH", [[-0.76, 0, 0], [0, 0, 0], [4.0, 0.1, 0]])

#: What forces of 0.0231 eV/Å leave on the softest mode of the saddle, 5 eV/Å², Å.
CLOSE = 5e-3

SHRUNK = 1.05


class Shrunk(LEPS):
    """LEPS with all lengths divided by `SHRUNK`: the same energies at smaller structures."""

    ALPHA = LEPS.ALPHA * SHRUNK
    R0 = LEPS.R0 / SHRUNK


class Inverted(LEPS):
    """LEPS upside down: its first-order saddles have all but one of their modes imaginary."""

    def calculate(self, *arguments, **more) -> None:
        super().calculate(*arguments, **more)
        self.results = {name: -value for name, value in self.results.items()}


class Failing(Shrunk):
    """Fails from its n-th call on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.calls, self.after = 0, after

    def calculate(self, *arguments, **more) -> None:
        self.calls += 1
        if self.calls > self.after:
            raise RuntimeError("SCF not converged in 250 cycles")
        super().calculate(*arguments, **more)


class WithHessian(Shrunk):
    """Remembers where it was asked for second derivatives."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[np.ndarray] = []

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        self.asked.append(atoms.positions.copy())
        return Surface(Shrunk()).get_hessian(atoms)


@pytest.fixture(scope="module")
def found() -> SearchResult:
    """Hydrogen exchange on LEPS, as a search would have left it."""
    surface = Surface(LEPS())
    return SearchResult(
        Reaction("exchange", BEFORE, AFTER, multiplicity=2),
        Verdict(Label.INTENDED),
        reactant=relax(BEFORE, surface, EndpointSettings()),
        product=relax(AFTER, surface, EndpointSettings()),
        saddle=refine(GUESS, surface, SaddleSettings()),
    )


def settings(**saddle: object) -> SearchSettings:
    return SearchSettings(saddle=SaddleSettings(**saddle))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_the_saddle_of_a_shrunk_surface_is_the_shrunk_saddle(method, found) -> None:
    verified = verify(found, Shrunk(), settings(method=method))
    assert verified.converged, verified.reason
    before, after = found.saddle.atoms.get_all_distances(), verified.saddle.atoms
    np.testing.assert_allclose(after.get_all_distances(), before / SHRUNK, atol=2 * CLOSE)
    # Linear and symmetric: the outer atoms have moved in by d - d/1.05, the inner one has not.
    inwards = before[0, 1] - before[0, 1] / SHRUNK
    assert verified.rmsd == pytest.approx(np.sqrt(2 / 3) * inwards, abs=CLOSE)
    assert verified.overlap == pytest.approx(1.0, abs=1e-3)
    # The same energies at other lengths, so the same barriers: to the square of the forces, eV.
    for end in ("reactant", "product"):
        barrier = found.saddle.energy - getattr(found, end).energy
        assert verified.saddle.energy - getattr(verified, end).energy == pytest.approx(
            barrier, abs=1e-3
        )


@pytest.mark.parametrize("method", METHODS)
def test_it_starts_from_the_hessian_of_the_search(method, found) -> None:
    """So that the only Hessian at the trusted level is the one at its saddle."""
    calculator = WithHessian()
    stage = SaddleSettings(method=method)
    again = refine_again(found.saddle, Surface(calculator), stage)
    assert again.converged
    [place] = calculator.asked
    np.testing.assert_allclose(place, again.atoms.positions, atol=1e-6)
    without = refine(found.saddle.atoms, Surface(Shrunk()), stage).cost.evaluations
    with_it = refine_again(found.saddle, Surface(Shrunk()), stage).cost.evaluations
    assert with_it.hessians == 1
    # One Hessian of three atoms less, by differences in both directions or, for trim, in one; and
    # where that would have been exact and is an old one now, a step more.
    saved = 9 if method == "trim" else 18
    assert with_it.gradients <= without.gradients - saved + 1


def test_a_useless_hessian_costs_one_more_and_not_the_saddle(found) -> None:
    """One as stiff as this makes no way in four steps; three are enough with an exact one."""
    wrong = dataclasses.replace(found.saddle, hessian=1000.0 * np.eye(9))
    lost = refine_again(wrong, Surface(Shrunk()), SaddleSettings(max_steps=4))
    assert not lost.converged
    calculator = WithHessian()
    alone = dataclasses.replace(found, saddle=wrong, verdict=Verdict(Label.UNINTENDED))
    verified = verify(alone, calculator, settings(max_steps=4))
    assert verified.converged, verified.reason
    assert "Once more, with exact Hessians" in verified.log
    _, start, _ = calculator.asked  # where the first walk ended, then where it began
    np.testing.assert_array_equal(start, found.saddle.atoms.positions)


def test_the_cost_is_all_of_it(found) -> None:
    calculator = Failing(after=10**9)
    verified = verify(found, calculator)
    assert verified.cost.evaluations.gradients == calculator.calls
    parts = [verified.saddle.cost, verified.reactant.cost, verified.product.cost]
    of_saddle = sum(part.evaluations.hessians for part in parts)
    assert verified.cost.evaluations.hessians == of_saddle + 2  # and one for each end
    assert verified.cost.seconds > 0


@pytest.mark.parametrize("label", [Label.UNINTENDED, Label.PARTLY, Label.FAILED])
def test_only_ends_that_the_saddle_connects_with_are_relaxed(label, found) -> None:
    verdict = Verdict(label, side="product" if label is Label.PARTLY else "")
    verified = verify(dataclasses.replace(found, verdict=verdict), Shrunk())
    assert verified.converged
    assert verified.reactant is None
    assert (verified.product is None) == (label is not Label.PARTLY)
    # The ends of this surface hold together in one dimension only: they have no free energy.
    assert "barrier" not in verified.reason
    assert ("no free energy of the product" in verified.reason) == (label is Label.PARTLY)


def test_a_calculator_that_fails_is_a_reason(found) -> None:
    verified = verify(found, Failing(after=2))
    assert not verified.converged
    assert "SCF not converged" in verified.reason
    assert verified.saddle is None
    assert verified.rmsd is None
    assert verified.cost.evaluations.gradients == 2


def test_a_calculator_that_fails_at_an_end_costs_that_barrier_only(found) -> None:
    first = Failing(after=10**9)
    verify(dataclasses.replace(found, verdict=Verdict(Label.UNINTENDED)), first)
    verified = verify(found, Failing(after=first.calls))
    assert verified.converged
    assert verified.reactant is None
    assert "no barrier from the reactant: SCF not converged" in verified.reason
    assert "no barrier from the product: SCF not converged" in verified.reason


def test_a_point_of_higher_order_is_not_verified(found) -> None:
    """The lowest of the four modes is imaginary on LEPS, the other three are upside down."""
    # Any force will do, so that only the number of modes decides.
    verified = verify(found, Inverted(), settings(max_force=100.0, max_steps=1))
    assert not verified.converged
    assert "3 imaginary modes" in verified.reason
    assert verified.saddle is not None
    assert verified.rmsd is None
    assert verified.reactant is None


def test_running_out_of_steps_and_time_is_said(found, monkeypatch) -> None:
    far = dataclasses.replace(found.saddle, atoms=GUESS)
    few = verify(dataclasses.replace(found, saddle=far), Shrunk(), settings(max_steps=1))
    assert not few.converged
    assert "within 1 steps" in few.reason

    def stuck(*_: object) -> None:
        while True:
            pass

    monkeypatch.setitem(saddle_stage.METHODS, "trim", stuck)
    late = verify(found, Shrunk(), settings(wall_time=0.2))
    assert "wall-time of 0.2 s" in late.reason


def test_another_saddle_is_not_taken_for_the_same(found) -> None:
    """Same structure, but what the search followed was another mode, as if H moved sideways."""
    modes = found.saddle.modes
    turned = dataclasses.replace(modes, displacements=modes.displacements[::-1])
    other = dataclasses.replace(found.saddle, modes=turned)
    verified = verify(dataclasses.replace(found, saddle=other), Shrunk())
    assert not verified.converged
    assert "led to another saddle" in verified.reason
    assert "overlaps by 0.00" in verified.reason


def test_an_end_that_falls_apart_gives_no_barrier(found) -> None:
    squeezed = Atoms("HHH", [[-0.80, 0, 0], [0, 0, 0], [0.82, 0, 0]])
    reactant = Minimum(squeezed, energy=0.0, forces=np.zeros((3, 3)), method="rfo", converged=True)
    verified = verify(dataclasses.replace(found, reactant=reactant), Shrunk())
    assert verified.converged
    assert verified.reactant is None
    assert verified.product is not None
    assert "no barrier from the reactant: relaxation changed its bonds: H" in verified.reason


def test_nothing_to_verify_is_an_error(found) -> None:
    no_saddle = dataclasses.replace(found.saddle, converged=False)
    for result in (
        dataclasses.replace(found, saddle=None),
        dataclasses.replace(found, saddle=no_saddle),
    ):
        with pytest.raises(InputError, match="'exchange' has no converged transition state"):
            verify(result, Shrunk())


def test_superposition_undoes_any_motion_of_the_whole(hcn_guess) -> None:
    saddle = refine(hcn_guess, Surface(calculators.build("gfn2-xtb")), SaddleSettings())
    moved = saddle.atoms.copy()
    moved.rotate(70, (1, 2, 3), rotate_cell=False)
    moved.translate((1.0, -2.0, 0.5))
    turn = Atoms("3H", saddle.modes.displacements[0])
    turn.rotate(70, (1, 2, 3))
    modes = dataclasses.replace(saddle.modes, displacements=-turn.positions[None])
    distance, overlap = superpose(saddle, dataclasses.replace(saddle, atoms=moved, modes=modes))
    assert distance < 1e-6  # Å
    assert overlap == pytest.approx(1.0)


def test_charge_reaches_the_other_level() -> None:
    """Cl⁻ + CH₃Br with GFN2-xTB: its own saddle, verified, stays where it is."""

    from ase.io import read

    from workflows.settings import PathSettings
    from workflows.stages.path import find_path

    def anion() -> Calculator:
        return calculators.build("gfn2-xtb", -1)

    file = STRUCTURES / "sn2.xyz"
    surface = Surface(anion(), -1)
    ends = [relax(atoms, surface, EndpointSettings()) for atoms in read(file, ":")]
    path = find_path(ends[0].atoms, ends[1].atoms, surface, PathSettings())
    saddle = refine(path.highest, surface, SaddleSettings())
    reaction = Reaction("sn2", ends[0].atoms, ends[1].atoms, charge=-1)
    found = SearchResult(
        reaction, Verdict(Label.INTENDED), reactant=ends[0], product=ends[1], saddle=saddle
    )
    verified = verify(found, anion())
    assert verified.converged, verified.reason
    assert verified.saddle.energy == pytest.approx(saddle.energy, abs=1e-4)  # eV
    assert verified.reactant.energy == pytest.approx(ends[0].energy, abs=1e-4)
