"""What a search tells of itself while it goes on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms

from horm_calc.units import to_kcal_per_mol
from tests.surfaces import EXCHANGE, LEPS
from workflows import SearchResult, search, status
from workflows.records import Label
from workflows.settings import from_mapping
from workflows.stage_names import COSTED, Stage
from workflows.status import Status, Watch
from workflows.surface import Surface
from workflows.verification import verify

#: With a string, which numbers its cycles.
FAST = from_mapping({"attempts": 1, "lower_path": {"steps": 0}})


def watched(every: float) -> tuple[SearchResult, list[Status]]:
    told: list[Status] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(status, "EVERY", every)
        return search(EXCHANGE, LEPS(), FAST, on_status=told.append), told


@pytest.fixture(scope="module")
def all_told() -> tuple[SearchResult, list[Status]]:
    return watched(every=0.0)


def stages(told: list[Status]) -> list[list[Status]]:
    """What was told of each stage, in their order."""
    groups = itertools.groupby(told, key=lambda one: (one.stage, one.attempt))
    return [list(group) for _, group in groups]


def test_it_adds_up_to_what_the_result_says(all_told) -> None:
    result, told = all_told
    last = {group[-1].stage: group[-1] for group in stages(told)}
    for stage, cost in result.costs.items():
        assert stage in COSTED
        assert last[stage].gradients == cost.evaluations.gradients, stage
    barrier = to_kcal_per_mol(result.saddle.energy - result.reactant.energy)
    saddle = last[Stage.SADDLE]
    assert saddle.energy_kcal_per_mol == pytest.approx(barrier, abs=1e-6)
    assert saddle.max_force_ev_per_a == pytest.approx(np.abs(result.saddle.forces).max(), abs=1e-6)
    assert saddle.max_force_ev_per_a <= FAST.saddle.max_force
    assert [one.seconds for one in told] == sorted(one.seconds for one in told)
    assert told[0].attempt == 0
    assert told[0].energy_kcal_per_mol is None  # the reactant is not relaxed
    assert "attempt 1: " in told[-1].outcome
    assert result.verdict.label in told[-1].outcome


def test_steps_rise_and_structures_of_a_hessian_are_no_steps(all_told) -> None:
    """A displaced structure feels up to 0.05 eV/Å; the saddle, less than the settings allow."""
    _, told = all_told
    [saddle] = [group for group in stages(told) if group[0].stage is Stage.SADDLE]
    steps = [one.step for one in saddle if one.step is not None]
    assert steps == sorted(steps)
    at_rest = [one for one in saddle if one.step == steps[-1]]
    assert at_rest[-1].gradients - at_rest[0].gradients >= 18  # of the Hessian of 3 atoms
    assert {one.max_force_ev_per_a for one in at_rest} == {at_rest[0].max_force_ev_per_a}
    cycles = [one.step for one in told if one.stage is Stage.PATH and one.step is not None]
    assert cycles == sorted(cycles)


def test_a_guess_alone_has_no_energies_to_count_from() -> None:
    told: list[Status] = []
    guess = Atoms("HHH", [[-0.95, 0, 0], [0, 0, 0], [0.93, 0, 0]])
    found = search(
        guess=guess, calculator=LEPS(), multiplicity=2, settings=FAST, on_status=told.append
    )
    assert found.verdict.label is Label.FOUND
    assert {one.energy_kcal_per_mol for one in told} == {None}


def test_it_is_told_in_time_and_at_the_ends_of_stages(all_told) -> None:
    result, told = watched(every=1e9)
    everything, _ = all_told
    for group in stages(told):
        assert len(group) <= 2
        assert group[0].gradients == 0
        cost = result.costs.get(group[0].stage)
        assert cost is None or group[-1].gradients == cost.evaluations.gradients
    assert everything.saddle.energy == result.saddle.energy  # whoever watches changes nothing


def test_a_broken_listener_is_not_taken_for_a_broken_calculator() -> None:
    """It would make a stage go on with its second method."""
    calls = []

    def listen(status: Status) -> None:
        calls.append(status)
        if status.stage is Stage.SADDLE:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        search(EXCHANGE, LEPS(), FAST, on_status=listen)
    assert [one.stage for one in calls].count(Stage.SADDLE) == 1

    def stop(status: Status) -> None:
        if status.stage is Stage.PATH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(EXCHANGE, LEPS(), FAST, on_status=stop)


def test_of_methods_that_number_no_steps_the_highest_image_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "EVERY", 0.0)
    told: list[Status] = []
    surface = Surface(LEPS())
    surface.watch = Watch(told.append)
    surface.watch.reference = 0.0
    surface.watch.begin(Stage.PATH)
    energies = []
    for distance in (0.8, 0.6, 0.9):
        atoms = EXCHANGE.reactant.copy()
        atoms.positions[0] += distance
        energies.append(surface.at(atoms)[0])
    surface.watch.end()
    assert told[-1].step is None
    assert surface.watch.status.energy_kcal_per_mol == pytest.approx(to_kcal_per_mol(max(energies)))
    surface.watch.begin(Stage.SADDLE)
    surface.at(atoms)
    assert surface.watch.status.energy_kcal_per_mol == pytest.approx(to_kcal_per_mol(energies[-1]))


def test_a_verification_tells_too(all_told) -> None:
    result, _ = all_told
    told: list[Status] = []
    verification = verify(result, LEPS(), FAST, on_status=told.append)
    assert {one.stage for one in told} == {Stage.VERIFICATION}
    assert told[-1].gradients == verification.cost.evaluations.gradients
    assert told[-1].energy_kcal_per_mol is None


def test_in_words() -> None:
    assert str(Status(Stage.ENDPOINTS)) == "endpoints, 0 s"
    told = Status(Stage.PATH, 2, 7, 50, -0.01, 0.01234, 61.7)
    assert str(told) == "path, attempt 2, cycle 7, 50 gradients, 0.0 kcal/mol, 0.0123 eV/Å, 62 s"
    assert "step 7, 1 gradient, " in str(Status(Stage.SADDLE, 1, 7, 1, 3.0))


def test_slow_calculators_are_told_as_they_answer() -> None:
    """With the answer itself and the step that it is, not with those before."""
    told: list[Status] = []
    surface = Surface(LEPS())
    surface.watch = Watch(told.append)
    surface.watch.begin(Stage.SADDLE)
    for number in (1, 2, 3):
        atoms = EXCHANGE.reactant.copy()
        atoms.positions[0] += 0.1 * number
        surface.watch._told = surface.watch._step_told = -60.0  # as if so much time had gone
        energy, forces = surface.at(atoms)
        assert told[-1].gradients == number
        if number == 1:
            assert told[-1].max_force_ev_per_a == np.abs(forces).max()
        surface.watch.step(number, energy, 0.1 * number)
        assert (told[-1].step, told[-1].max_force_ev_per_a) == (number, 0.1 * number)
