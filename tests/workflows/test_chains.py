"""Reactions that take several elementary steps."""

from __future__ import annotations

import itertools

import pytest
from ase.io import read

from horm_calc import gfn2_xtb
from horm_calc.chemistry.connectivity import describe_changes, same_bonds
from tests.places import SHARED
from tests.surfaces import MullerBrown, Relay
from workflows.records import Label, SearchResult
from workflows.settings import from_mapping
from workflows.tssearch import search

pytestmark = pytest.mark.slow

REACTBENCH = SHARED / "data" / "reactbench"


def relayed(first: int, last: int, **settings) -> SearchResult:
    """The search for a hydrogen atom that goes from one carbon atom to another."""
    ends = Relay.atoms(first), Relay.atoms(last)
    return search(*ends, Relay(), multiplicity=2, settings=from_mapping(settings))


@pytest.fixture(scope="module")
def chain() -> SearchResult:
    return relayed(0, 2)


def test_a_chain_has_the_two_saddles_of_the_surface(chain) -> None:
    assert chain.verdict.label is Label.IN_STEPS
    heights = [step.saddle.energy / MullerBrown.SCALE for step in chain.steps]
    assert heights == pytest.approx(Relay.SADDLES, abs=0.05)


def test_its_steps_lead_from_the_reactant_over_the_intermediate_to_the_product(chain) -> None:
    minima = [chain.steps[0].first, *(step.last for step in chain.steps)]
    depths = [minimum.energy / MullerBrown.SCALE for minimum in minima]
    assert depths == pytest.approx([Relay.DEPTHS[number] for number in (0, 1, 2)], abs=0.05)
    for step, after in itertools.pairwise(chain.steps):
        assert step.last.energy == pytest.approx(after.first.energy, abs=1e-3)
    for step in chain.steps:  # the IRC runs the way of the reaction
        for end, image in ((step.first, step.irc.images[0]), (step.last, step.irc.images[-1])):
            assert same_bonds(end.atoms, image, 1.2)


def test_the_highest_saddle_is_the_one_of_the_result(chain) -> None:
    assert chain.saddle is not None
    assert chain.saddle.energy / MullerBrown.SCALE == pytest.approx(Relay.SADDLES[0], abs=0.05)
    assert "C1-H4 broken, C2-H4 formed" in chain.verdict.reason
    assert "C2-H4 broken, C3-H4 formed" in chain.verdict.reason
    assert "saddle 1 is the highest" in chain.verdict.reason
    assert set(chain.thermochemistry) == {"reactant", "saddle", "product"}


def test_the_other_way_round_the_steps_are_the_same_in_reverse_order(chain) -> None:
    back = relayed(2, 0)
    assert [step.saddle.energy for step in back.steps] == pytest.approx(
        [step.saddle.energy for step in chain.steps][::-1], abs=1e-3
    )
    assert "saddle 2 is the highest" in back.verdict.reason


def test_one_step_stays_one_step() -> None:
    found = relayed(0, 1)
    assert found.verdict.label is Label.INTENDED
    assert found.steps == ()


def test_who_wants_single_steps_gets_no_chain() -> None:
    found = relayed(0, 2, steps=1)
    assert found.verdict.label is Label.PARTLY
    assert found.steps == ()


@pytest.mark.skipif(not REACTBENCH.exists(), reason="the reactions are not part of the project")
def test_a_real_reaction_in_two_steps() -> None:
    """No saddle of GFN2-xTB is known that connects the ends of rxn6930."""
    result = search(*read(REACTBENCH / "rxn6930.xyz", ":"), gfn2_xtb())
    assert result.verdict.label is Label.IN_STEPS
    assert len(result.steps) == 2
    changes = [describe_changes(step.first.atoms, step.last.atoms, 1.2) for step in result.steps]
    assert changes == ["O1-C3 formed", "C2-C4 formed"]


@pytest.mark.skipif(not REACTBENCH.exists(), reason="the reactions are not part of the project")
def test_a_real_reaction_that_bond_orders_decide() -> None:
    """C4-H11 is 1.33 Å long at an end of the IRC of rxn532, with a bond order of 0.32."""
    settings = from_mapping({"attempts": 1, "steps": 1, "lower_path": {"steps": 0}})
    result = search(*read(REACTBENCH / "rxn532.xyz", ":"), gfn2_xtb(), settings=settings)
    assert result.verdict.label is Label.INTENDED
    assert "bond orders decide: C4-H11 1.33 Å" in result.verdict.reason
