"""A second look for a lower way than the saddle that a search has found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from horm_calc import HormCalculator
from reactbench_runner import calculators
from reactbench_runner.store import Store
from workflows import tssearch
from workflows.endpoints import relax
from workflows.errors import CalculatorFailed
from workflows.lower_way import POINTS, relaxed_string
from workflows.records import Label, Reaction
from workflows.settings import EndpointSettings, LowerWaySettings, from_mapping
from workflows.surface import Surface
from workflows.tssearch import search
from workflows.units import to_kcal_per_mol

EXAMPLES = Path(__file__).parents[2] / "examples" / "xyz"
FAST = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 2})


@pytest.fixture
def reaction(hcn, hnc) -> Reaction:
    return Reaction("hcn", hcn, hnc)


def test_the_string_bounds_the_only_saddle_from_above(reaction) -> None:
    """And closely: with a lower bound there would be a second saddle, which HCN does not have."""
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    ends = result.reactant.atoms, result.product.atoms
    surface = Surface(calculators.build("gfn2-xtb"))
    settings = LowerWaySettings()
    string = relaxed_string(*ends, surface, settings)
    above = string.energies.max() - result.saddle.energy
    assert 0 < above < settings.margin
    assert len(string.images) == len(string.energies) == (settings.images + 1) * POINTS + 1
    steps = [np.linalg.norm(b.positions - a.positions) for a, b in
             zip(string.images, string.images[1:], strict=False)]  # fmt: skip
    assert max(steps) < 2 * min(steps)  # equally spaced but for the last alignment
    assert string.cost.evaluations.gradients == surface.evaluations.gradients
    assert result.attempts == 1
    assert result.lower_way is None
    assert result.warnings == ()


def test_the_concerted_way_is_lower_than_the_one_over_fragments() -> None:
    """The Claisen rearrangement, where a string grown from both ends takes 60 kcal/mol."""
    surface = Surface(HormCalculator())
    reactant, product = (
        relax(atoms, surface, EndpointSettings()) for atoms in read(EXAMPLES / "claisen.xyz", ":")
    )
    string = relaxed_string(reactant.atoms, product.atoms, surface, LowerWaySettings())
    # Its saddle lies at 25.4 kcal/mol with these weights.
    assert 20 < to_kcal_per_mol(string.energies.max() - reactant.energy) < 45


def test_a_saddle_above_the_string_is_not_the_last_attempt(reaction, monkeypatch, tmp_path) -> None:
    """Every saddle lies above a string that is said to be 2 eV lower than it is."""

    def lowered(*arguments):
        string = relaxed_string(*arguments)
        return dataclasses.replace(string, energies=string.energies - 2.0)

    usual = search(reaction, calculators.build("gfn2-xtb"), FAST)
    monkeypatch.setattr(tssearch, "relaxed_string", lowered)
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.INTENDED
    assert result.attempts == 2
    assert result.saddle.energy == pytest.approx(usual.saddle.energy, abs=1e-3)
    (warning,) = result.warnings
    below = to_kcal_per_mol(result.saddle.energy - result.lower_way.energies.max())
    assert f"stays {below:.1f} kcal/mol below this saddle" in warning
    Store(tmp_path).add(result, "x", "GFN2-xTB")
    assert len(read(tmp_path / "hcn" / "lower_way.xyz", ":")) == len(result.lower_way.images)

    off = dataclasses.replace(FAST, lower_way=LowerWaySettings(steps=0))
    without = search(reaction, calculators.build("gfn2-xtb"), off)
    assert without.attempts == 1
    assert without.lower_way is None
    assert "lower way" not in without.costs


def test_a_string_that_fails_costs_the_result_nothing(reaction, monkeypatch) -> None:
    def failing(*_):
        raise CalculatorFailed("SCF not converged in 250 cycles")

    monkeypatch.setattr(tssearch, "relaxed_string", failing)
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.INTENDED
    assert result.attempts == 1
    assert result.warnings == ()
    assert "SCF not converged" in result.log
