"""Attempts that share what they have found."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest

from reactbench_runner import calculators
from tests.surfaces import EXCHANGE, LEPS
from workflows import guesses
from workflows.account import Account
from workflows.attempts import Attempt, attempt_from
from workflows.records import Label, Minimum, Reaction, StringPath, Verdict
from workflows.settings import PathSettings, SearchSettings, from_mapping
from workflows.stage_names import Stage
from workflows.stages.endpoints import settle
from workflows.stages.path import find_path
from workflows.surface import Surface
from workflows.tssearch import search

SETTINGS = SearchSettings()


@pytest.fixture
def surface() -> Surface:
    return Surface(LEPS(), multiplicity=2)


@pytest.fixture
def ends(surface: Surface) -> tuple[Minimum, Minimum]:
    return tuple(
        settle(atoms, 20.0, surface, SETTINGS.endpoints)
        for atoms in (EXCHANGE.reactant, EXCHANGE.product)
    )


def attempt(method: str, ends, surface: Surface, known: list[Attempt]) -> tuple[Attempt, Account]:
    account = Account(lambda stage: None)
    guess = partial(
        find_path, *(end.atoms for end in ends), surface, PathSettings(method=method, images=5)
    )
    return attempt_from(guess, *ends, surface, SETTINGS, account, known=known), account


def test_a_saddle_that_is_known_is_not_followed_again(surface, ends) -> None:
    first, spent = attempt("geodesic", ends, surface, [])
    assert first.verdict.label is Label.INTENDED
    assert spent.costs[Stage.IRC].evaluations.gradients > 10
    before = surface.evaluations.gradients
    second, account = attempt("string", ends, surface, [first])
    assert "the saddle of an earlier attempt again" in account.log
    assert Stage.IRC not in account.costs
    assert Stage.IRC_ENDS not in account.costs
    paid = sum(account.costs[stage].evaluations.gradients for stage in (Stage.PATH, Stage.SADDLE))
    assert surface.evaluations.gradients - before == paid
    # Verdict, IRC and ends are those of the first; the path is its own.
    assert second.verdict == first.verdict
    assert second.irc is first.irc
    assert second.ends is first.ends
    assert second.path is not None
    assert second.path.method == "string"


@pytest.mark.parametrize("change", ["higher", "elsewhere", "failed", "not followed"])
def test_what_is_not_the_same_saddle_is_followed(surface, ends, change) -> None:
    first, _ = attempt("geodesic", ends, surface, [])
    assert first.saddle is not None
    moved = first.saddle.atoms.copy()
    moved.positions[0] += [-0.2, 0, 0]
    other = {
        "higher": {"saddle": dataclasses.replace(first.saddle, energy=first.saddle.energy + 0.01)},
        "elsewhere": {"saddle": dataclasses.replace(first.saddle, atoms=moved)},
        "failed": {"verdict": Verdict(Label.FAILED)},
        "not followed": {"ends": None},
    }[change]
    second, account = attempt("string", ends, surface, [dataclasses.replace(first, **other)])
    assert account.costs[Stage.IRC].evaluations.gradients > 10
    assert second.verdict.label is Label.INTENDED
    assert second.irc is not first.irc
    np.testing.assert_allclose(second.saddle.energy, first.saddle.energy, atol=1e-3)


def test_a_string_that_an_attempt_has_relaxed_is_not_relaxed_again(hcn, hnc, monkeypatch) -> None:
    """It is followed, to look below its saddle."""
    reaction = Reaction("hcn", hcn, hnc)
    geodesic = from_mapping({"path": {"method": "geodesic"}, "attempts": 1})
    usual = search(reaction, calculators.build("gfn2-xtb"), geodesic)

    def fails(*_: object) -> StringPath:
        raise AssertionError("relaxed again")

    monkeypatch.setattr(guesses, "relaxed_string", fails)
    result = search(reaction, calculators.build("gfn2-xtb"))
    assert result.verdict.label is Label.INTENDED
    assert (result.attempts, result.path.method) == (1, "string")
    assert "lower path" not in result.skipped
    spent = (found.costs[Stage.LOWER_PATH].evaluations.gradients for found in (result, usual))
    assert 0 < next(spent) < next(spent)
