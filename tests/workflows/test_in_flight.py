"""Calls that wait for a calculator together: same results, fewer batches, no harm to each other."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from workflows import in_flight, limits
from workflows.errors import CalculatorFailed, StageTimeout
from workflows.in_flight import Turns, run_together
from workflows.limits import now, run_with_limit
from workflows.surface import Surface


class Counting(EMT):
    """EMT with batches, whose sizes it notes; `poison` is a number of atoms that it refuses."""

    def __init__(self, poison: int = 0, seconds: float = 0.0) -> None:
        super().__init__()
        self.poison, self.seconds, self.batches = poison, seconds, list[int]()

    def evaluate(self, molecules: list[Atoms], properties: tuple[str, ...]) -> list[dict[str, Any]]:
        self.batches.append(len(molecules))
        return [self.one(atoms) for atoms in molecules]

    def one(self, atoms: Atoms) -> dict[str, Any]:
        time.sleep(self.seconds)
        if len(atoms) == self.poison:
            raise RuntimeError(f"no answer for {self.poison} atoms")
        calculator = EMT()
        return {
            "energy": calculator.get_potential_energy(atoms),
            "forces": calculator.get_forces(atoms),
        }

    def get_forces(self, atoms: Atoms | None = None) -> np.ndarray:
        self.batches.append(1)
        return np.array(self.one(atoms or Atoms())["forces"])


def walk(calculator: Calculator, atoms: Atoms, steps: int) -> float:
    """Some steps downhill; the energy at the end."""
    surface = Surface(calculator)
    for _ in range(steps):
        energy, forces = surface.at(atoms)
        atoms = Atoms(atoms.numbers, atoms.positions + 0.02 * forces)
    return energy


def copper(atoms: int) -> Atoms:
    return Atoms("Cu" * atoms, [[2.4 * i, 0.1 * (i % 2), 0.0] for i in range(atoms)])


def test_calls_find_what_they_find_alone_in_batches_of_all() -> None:
    calculator = Counting()
    calls = [(size, partial(walk, calculator, copper(size), 5)) for size in range(2, 8)]
    found = dict(run_together(calls, in_flight=6))
    assert calculator.batches == [6] * 5
    for size in range(2, 8):
        assert found[size] == pytest.approx(walk(EMT(), copper(size), 5), abs=1e-12)


def test_the_next_call_begins_when_there_is_room_and_not_before() -> None:
    calculator, begun = Counting(), list[int]()

    def calls() -> Iterator[tuple[int, Callable[[], float]]]:
        for size in range(2, 8):
            begun.append(size)
            yield size, partial(walk, calculator, copper(size), size)  # the later, the longer

    found = run_together(calls(), in_flight=2)
    assert next(found)[0] == 2
    assert begun == [2, 3]
    assert sorted(key for key, _ in found) == list(range(3, 8))
    assert max(calculator.batches) == 2


def test_one_bad_structure_costs_its_own_call_only() -> None:
    calculator = Counting(poison=4)

    def attempt(size: int) -> float | str:
        try:
            return walk(calculator, copper(size), 3)
        except CalculatorFailed as error:
            return str(error)

    found = dict(run_together([(size, partial(attempt, size)) for size in range(2, 7)], 5))
    assert "no answer for 4 atoms" in str(found[4])
    for size in (2, 3, 5, 6):
        assert found[size] == pytest.approx(walk(EMT(), copper(size), 3), abs=1e-12)


def test_what_belongs_to_the_process_is_each_calls_own(tmp_path) -> None:
    """Current folder, standard output, NumPy's random numbers and filters of warnings."""
    calculator, here = Counting(), os.getcwd()

    def call(name: str, seed: int) -> tuple[str, str, list[float], int]:
        (tmp_path / name).mkdir()
        numbers, said = [], io.StringIO()
        os.chdir(tmp_path / name)
        np.random.seed(seed)  # noqa: NPY002 - as libraries do
        with contextlib.redirect_stdout(said), warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", UserWarning)
            for _ in range(3):
                walk(calculator, copper(2), 1)
                print(name, end="")
                numbers.append(np.random.random())  # noqa: NPY002
            filters = len(warnings.filters)
        folder = os.getcwd()
        os.chdir(here)
        return Path(folder).name, said.getvalue(), numbers, filters

    before = sys.stdout, len(warnings.filters)
    np.random.seed(7)  # noqa: NPY002
    found = dict(run_together([(n, partial(call, n, s)) for n, s in (("a", 1), ("b", 2))], 2))
    assert (sys.stdout, len(warnings.filters)) == before
    assert os.getcwd() == here
    assert np.random.random() == np.random.RandomState(7).random()  # noqa: NPY002
    for name, seed in (("a", 1), ("b", 2)):
        folder, said, numbers, filters = found[name]
        assert (folder, said, filters) == (name, 3 * name, before[1] + 2)
        assert numbers == list(np.random.RandomState(seed).random(3))


def test_wall_times_count_what_a_call_itself_uses() -> None:
    """The busy one is over its limit, the other waits as long and is not."""
    calculator = Counting()

    def call(busy: float) -> float | str:
        def work() -> float:
            for _ in range(5):
                time.sleep(busy)
                walk(calculator, copper(2), 1)
            return now()

        try:
            return run_with_limit(work, 0.3)
        except StageTimeout as error:
            return str(error)

    found = dict(run_together([(busy, partial(call, busy)) for busy in (0.0, 0.1)], 2))
    assert "exceeded its wall-time of 0.3 s" in str(found[0.1])
    assert isinstance(found[0.0], float)
    assert found[0.0] < 0.1


def test_calls_share_the_time_of_their_batches_by_their_atoms() -> None:
    calculator = Counting(seconds=0.02)

    def call(size: int) -> float:
        walk(calculator, copper(size), 3)
        return now()

    found = dict(run_together([(size, partial(call, size)) for size in (2, 6)], 2))
    assert found[6] == pytest.approx(3 * found[2], rel=0.3)
    assert found[2] + found[6] >= 3 * 2 * 0.02


def test_an_error_ends_the_others_which_clean_up() -> None:
    calculator, cleaned = Counting(), list[int]()

    def good(size: int) -> None:
        try:
            walk(calculator, copper(size), 100)
        finally:
            cleaned.append(size)

    def bad() -> None:
        walk(calculator, copper(2), 2)
        raise ZeroDivisionError

    calls = [(0, bad), (3, partial(good, 3)), (4, partial(good, 4))]
    with pytest.raises(ZeroDivisionError):
        list(run_together(calls, 3))
    assert sorted(cleaned) == [3, 4]
    cleaned.clear()
    quick = (0, partial(walk, calculator, copper(2), 1))
    found = run_together([quick, (3, partial(good, 3))], 2)
    next(found)
    found.close()
    assert cleaned == [3]


def test_a_call_that_never_asks_again_is_named(monkeypatch) -> None:
    """As workers end themselves then, with word of the reaction that they were at."""
    said: list[str] = []
    monkeypatch.setattr(in_flight, "LONGEST_TURN", 0.5)
    calculator = Counting()

    def call(name: str, seconds: float) -> None:
        monkeypatch.setattr(limits, "when_stuck", lambda words: said.append(f"{name} {words}"))
        for _ in range(3):
            walk(calculator, copper(2), 1)
        time.sleep(seconds)

    list(run_together([(n, partial(call, n, s)) for n, s in (("a", 0.0), ("b", 2.5))], 2))
    assert len(said) == 1
    assert said[0].startswith("b exceeded 0.5 s without a question")


def test_libraries_that_know_only_one_process_take_turns() -> None:
    calculator, turns, inside = Counting(), Turns(), list[str]()

    def call(name: str) -> None:
        with turns, turns:  # it can be taken again by whoever has it
            for _ in range(3):
                walk(calculator, copper(2), 1)
                inside.append(name)

    list(run_together([(name, partial(call, name)) for name in "ab"], 2))
    assert inside == [*"aaabbb"]


def test_calculators_without_batches_are_asked_one_by_one() -> None:
    calls = [(size, partial(walk, EMT(), copper(size), 4)) for size in (2, 3)]
    found = dict(run_together(calls, 2))
    assert found == {size: walk(EMT(), copper(size), 4) for size in (2, 3)}


def test_outside_of_all_this_a_question_is_answered_at_once() -> None:
    atoms = molecule("H2O")
    assert Surface(EMT()).at(atoms)[0] == EMT().get_potential_energy(atoms)
