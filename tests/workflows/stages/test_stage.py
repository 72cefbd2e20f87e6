"""What every stage has in common: its cost, its log, and words where something breaks."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from ase import Atoms

from tests.surfaces import EXCHANGE, LEPS
from workflows.errors import CalculatorFailed, StageError
from workflows.records import Cost
from workflows.settings import EndpointSettings, SaddleSettings
from workflows.stages.endpoints import relax
from workflows.stages.saddle import refine
from workflows.stages.stage import stage
from workflows.surface import Surface

GUESS = Atoms("HHH", [[-0.95, 0, 0], [0, 0, 0], [0.95, 0, 0]])


@dataclass(frozen=True)
class Record:
    energy: float
    cost: Cost = field(default_factory=Cost)
    log: str = ""


def test_stages_are_called_as_any_function() -> None:
    """By position, by name, and by names in any order; the cost is that of the surface."""
    by_position = refine(GUESS, Surface(LEPS()), SaddleSettings())
    by_name = refine(guess=GUESS, settings=SaddleSettings(), surface=Surface(LEPS()))
    mixed = refine(GUESS, settings=SaddleSettings(), surface=Surface(LEPS()))
    assert by_position.cost.evaluations.gradients > 0
    for other in (by_name, mixed):
        assert other.energy == by_position.energy
        assert other.cost.evaluations == by_position.cost.evaluations


def test_the_surface_may_stand_anywhere() -> None:
    @stage
    def measure(surface: Surface, *, atoms: Atoms) -> Record:
        return Record(surface.at(atoms)[0])

    surface = Surface(LEPS())
    assert measure(surface, atoms=GUESS).cost.evaluations.gradients == 1
    assert measure(surface, atoms=EXCHANGE.reactant).cost.evaluations.gradients == 1


def test_wrong_arguments_are_the_callers_error() -> None:
    """Not a stage that has failed: nothing was searched."""
    with pytest.raises(TypeError, match="guess"):
        refine(surface=Surface(LEPS()), settings=SaddleSettings())  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="start"):
        refine(GUESS, Surface(LEPS()), SaddleSettings(), start=None)  # type: ignore[call-arg]


def test_what_has_no_surface_is_no_stage() -> None:
    with pytest.raises(TypeError, match="measure has no parameter 'surface'"):

        @stage
        def measure(atoms: Atoms) -> Record:
            return Record(len(atoms))


def test_errors_carry_the_cost_and_one_traceback() -> None:
    class Breaking(LEPS):
        calls = 0

        def calculate(self, *arguments: object, **options: object) -> None:
            self.calls += 1
            if self.calls > 3:
                raise KeyError("a bug of mine")
            super().calculate(*arguments, **options)

    with pytest.raises(CalculatorFailed) as told:
        relax(atoms=EXCHANGE.reactant, surface=Surface(Breaking()), settings=EndpointSettings())
    assert told.value.cost.evaluations.gradients == 3
    assert "\n" not in str(told.value)
    assert told.value.log.count('raise KeyError("a bug of mine")') == 1


def test_stages_in_stages_tell_a_cause_once() -> None:
    @stage
    def inner(surface: Surface) -> Record:
        raise ZeroDivisionError("inside")

    @stage
    def outer(surface: Surface) -> Record:
        return inner(surface)

    with pytest.raises(StageError, match=r"^unexpected: ZeroDivisionError: inside$") as told:
        outer(Surface(LEPS()))
    assert told.value.log.count("Traceback") == 1
