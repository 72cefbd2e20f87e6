"""Many searches at once: each finds what it finds alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from horm_calc import HormCalculator
from tests.places import STRUCTURES
from workflows import Reaction, SearchResult, search, search_many
from workflows.records import Label
from workflows.stage_names import Stage

NAMES = ("vinyl_alcohol", "hcn", "claisen")


class Batches(HormCalculator):
    """horm-mini, which notes how many structures it is asked about at a time."""

    sizes: tuple[int, ...] = ()

    def evaluate(self, molecules: Any, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        self.sizes = (*self.sizes, len(molecules))
        return super().evaluate(molecules, *arguments, **options)


@pytest.fixture(scope="module")
def reactions() -> list[Reaction]:
    return [Reaction(name, *read(STRUCTURES / f"{name}.xyz", ":")) for name in NAMES]


@pytest.fixture(scope="module")
def alone(reactions) -> dict[str, SearchResult]:
    calculator = HormCalculator()
    return {reaction.id: search(reaction, calculator) for reaction in reactions}


def test_each_finds_what_it_finds_alone(reactions, alone) -> None:
    calculator, stages = Batches(), list[tuple[str, Stage]]()
    sulfur = Reaction("sulfur", molecule("SH2"), molecule("SH2"))
    found = {
        result.reaction.id: result
        for result in search_many(
            iter([*reactions, sulfur]),
            calculator,
            in_flight=4,
            progress=lambda reaction, stage: stages.append((reaction.id, stage)),
        )
    }
    assert found["sulfur"].verdict.label is Label.FAILED
    assert "S (it knows H, C, N, O)" in found["sulfur"].verdict.reason
    for name, one in alone.items():
        many = found[name]
        assert many.verdict.label is one.verdict.label
        assert many.attempts == one.attempts
        for stage in ("reactant", "saddle", "product"):
            energies = [getattr(result, stage).energy for result in (one, many)]
            assert energies[1] == pytest.approx(energies[0], abs=1e-3)  # as far as these converge
        counts = [sum(c.evaluations.gradients for c in r.costs.values()) for r in (one, many)]
        assert counts[1] == pytest.approx(counts[0], rel=0.2)
    assert {stage for name, stage in stages if name == "hcn"} >= {Stage.PATH, Stage.IRC}
    # More than the images of one string: structures of several searches.
    assert max(calculator.sizes) > 9
    assert sum(calculator.sizes) / len(calculator.sizes) > 3


def test_one_in_flight_is_a_search_alone(reactions, alone) -> None:
    [many] = search_many(reactions[1:2], HormCalculator(), in_flight=1)
    one = alone[many.reaction.id]
    assert many.saddle is not None
    assert one.saddle is not None
    assert many.saddle.energy == one.saddle.energy
    costs = [
        {stage: dataclasses.replace(cost, seconds=0) for stage, cost in result.costs.items()}
        for result in (one, many)
    ]
    assert costs[0] == costs[1]


def test_nothing_is_read_before_there_is_room() -> None:
    taken = []

    def reactions():
        for number in range(100):
            taken.append(number)
            yield Reaction(str(number), Atoms("S"), Atoms("S"))

    results = search_many(reactions(), HormCalculator(), in_flight=3)
    next(results)
    assert len(taken) == 3
