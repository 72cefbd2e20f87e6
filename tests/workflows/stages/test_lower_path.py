"""A second look for a lower-energy path than the saddle that a search has found."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from horm_calc import HormCalculator
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import calculators
from reactbench_runner.storage.store import Store
from tests.places import STRUCTURES
from workflows import attempts, guesses
from workflows.errors import CalculatorFailed, NotConverged, StageError
from workflows.methods import strings
from workflows.records import Label, Reaction, ReactionPath, SearchResult, StringPath, Verdict
from workflows.settings import EndpointSettings, LowerPathSettings, PathSettings, from_mapping
from workflows.stages import lower_path
from workflows.stages.endpoints import relax
from workflows.stages.lower_path import PARTS, followed, relaxed_string
from workflows.stages.path import find_path
from workflows.surface import Surface
from workflows.tssearch import search

FAST = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 2})


@pytest.fixture(scope="module")
def reaction() -> Reaction:
    return Reaction("hcn", *read(STRUCTURES / "hcn.xyz", ":"))


@pytest.fixture(scope="module")
def usual(reaction) -> SearchResult:
    """Its search without disturbance."""
    return search(reaction, calculators.build("gfn2-xtb"), FAST)


@pytest.fixture
def ends(gfn2) -> tuple[Atoms, Atoms]:
    """Vinyl alcohol and acetaldehyde, relaxed."""
    structures = read(STRUCTURES / "vinyl_alcohol.xyz", ":")
    reactant, product = (relax(atoms, gfn2, EndpointSettings()).atoms for atoms in structures)
    return reactant, product


def test_the_string_bounds_the_only_saddle_from_above(usual) -> None:
    """And closely: with a lower bound there would be a second saddle, which HCN does not have."""
    ends = usual.reactant.atoms, usual.product.atoms
    surface = Surface(calculators.build("gfn2-xtb"))
    settings = LowerPathSettings()
    string = relaxed_string(*ends, -math.inf, surface, settings)
    assert 0 < string.ceiling - usual.saddle.energy < settings.margin
    assert len(string.images) == len(string.energies) == (settings.images + 1) * PARTS + 1
    # One of its images, of which there is one in `PARTS` points, is near the top.
    assert string.energies[::PARTS].max() == pytest.approx(usual.saddle.energy, abs=0.05)
    assert string.cost.evaluations.gradients == surface.evaluations.gradients
    assert usual.attempts == 1
    assert "attempt 1: neb, intended, saddle 73.2 kcal/mol above the reactant" in usual.log
    assert usual.lower_path is None
    assert usual.warnings == ()
    assert "above the reactant" in usual.log


def coarse(ends: tuple[Atoms, Atoms], images: int, surface: Surface) -> ReactionPath:
    """A path that is highest between its images, as relaxed strings are not."""
    return find_path(*ends, surface, PathSettings(method="geodesic", images=images))


@pytest.mark.parametrize(("images", "bar"), [(2, 0.0), (2, 2.8)], ids=["one look", "closer"])
def test_no_point_along_a_path_lies_above_its_ceiling(gfn2, ends, images, bar) -> None:
    """Energies every eighth of the way, against those that are interpolated."""
    start = gfn2.at(ends[0])[0]
    string = followed(coarse(ends, images, gfn2), start + bar, gfn2, LowerPathSettings())
    pairs = itertools.pairwise(image.positions for image in string.images)
    numbers = string.images[0].numbers
    true = max(
        gfn2.at(Atoms(numbers, first + part * (last - first)))[0]
        for first, last in pairs
        for part in np.linspace(0, 1, 8)
    )
    assert string.ceiling == pytest.approx(true, abs=0.005)
    if bar:
        assert len(string.images) > 3 * PARTS + 1
    else:
        assert string.energies.max() < true - 0.005  # eV; the points alone would not do


def test_sections_are_looked_at_closely_where_that_can_decide(gfn2, ends, monkeypatch) -> None:
    """The saddle between these two lies 61 kcal/mol above the first."""
    start, path = gfn2.at(ends[0])[0], coarse(ends, 2, gfn2)

    def along(bar: float) -> StringPath:
        energy = start + bar / to_kcal_per_mol(1.0)
        return followed(path, energy, Surface(gfn2), LowerPathSettings())

    found = {bar: along(bar) for bar in (45, 65, 90)}
    heights = {bar: to_kcal_per_mol(one.ceiling - start) for bar, one in found.items()}
    images = found[45].energies[::PARTS]
    assert 45 < to_kcal_per_mol(images.max() - start) < 65 < heights[45] == heights[90] < 90
    assert 60 < heights[65] < 65
    cost = {bar: one.cost.evaluations.gradients for bar, one in found.items()}
    assert cost[45] == cost[90] < cost[65] < cost[45] + 3 * 60

    def fail(*_):
        raise StageError("no way between these images")

    monkeypatch.setattr(lower_path, "_finer", fail)
    assert to_kcal_per_mol(along(65).ceiling - start) == pytest.approx(heights[45])


def test_the_concerted_way_is_lower_than_the_one_over_fragments() -> None:
    """The Claisen rearrangement, where a growing string has led over 60 kcal/mol."""
    surface = Surface(HormCalculator("horm-mini-xtb"))
    reactant, product = (
        relax(atoms, surface, EndpointSettings()) for atoms in read(STRUCTURES / "claisen.xyz", ":")
    )
    bar = reactant.energy + 40 / to_kcal_per_mol(1.0)
    ends = reactant.atoms, product.atoms
    string = relaxed_string(*ends, bar, surface, LowerPathSettings())
    # Its saddle lies at 25 kcal/mol; how near the string comes changes with the weights.
    assert 20 < to_kcal_per_mol(string.ceiling - reactant.energy) < 45


def test_a_saddle_above_the_string_is_not_the_last_attempt(
    reaction, usual, monkeypatch, tmp_path
) -> None:
    """Every saddle lies above a string that is said to be 2 eV lower than it is."""

    def lowered(*arguments):
        string = relaxed_string(*arguments)
        return dataclasses.replace(string, ceiling=string.ceiling - 2.0)

    monkeypatch.setattr(guesses, "relaxed_string", lowered)
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.INTENDED
    assert result.attempts == 2
    assert result.saddle.energy == pytest.approx(usual.saddle.energy, abs=1e-3)
    (warning,) = result.warnings
    below = to_kcal_per_mol(result.saddle.energy - result.lower_path.ceiling)
    assert f"stays {below:.1f} kcal/mol below this saddle" in warning
    Store(tmp_path, "run-1").add(result, "x", "GFN2-xTB")
    height = json.loads((tmp_path / "hcn" / "result.json").read_text())[
        "lower_path_barrier_kcal_per_mol"
    ]
    barrier = to_kcal_per_mol(result.saddle.energy - result.reactant.energy)
    assert barrier - height == pytest.approx(below, abs=1e-3)
    assert len(read(tmp_path / "hcn" / "lower_path.xyz", ":")) == len(result.lower_path.images)

    off = dataclasses.replace(FAST, lower_path=LowerPathSettings(steps=0))
    without = search(reaction, calculators.build("gfn2-xtb"), off)
    assert without.attempts == 1
    assert without.lower_path is None
    assert "lower path" not in without.costs


@pytest.mark.parametrize(
    ("ceiling", "energies", "count", "reported", "warned"),
    [
        (2.5, [2.0], 1, 2.0, False),
        (2.5, [2.55], 1, 2.55, False),  # within the margin
        (2.5, [3.0, 2.0], 2, 2.0, False),
        (2.5, [2.8, 3.0, None, None], 4, 2.8, True),
        (2.5, [None, 3.0, 2.9, None], 4, 2.9, True),
        (2.5, [None, None, None, 2.0], 4, 2.0, False),
        (2.5, [None, None, None, 3.0], 4, 3.0, True),
    ],
)
def test_the_lowest_intended_attempt_is_reported(
    reaction, usual, monkeypatch, ceiling, energies, count, reported, warned
) -> None:
    """Energies (eV) of the saddles of the attempts, None for one that finds none."""
    left = iter(energies)
    methods_tried = []

    def attempt(guess, *_, known):
        assert len(known) == len(methods_tried)
        path = guess()
        methods_tried.append(path.method)
        energy = next(left)
        if energy is None:
            return attempts.Attempt(Verdict(Label.FAILED, stage="saddle"))
        saddle = dataclasses.replace(usual.saddle, energy=energy)
        return attempts.Attempt(Verdict(Label.INTENDED), path, saddle, usual.irc)

    def driven(reactant, product, factor, saddle, *_):
        if saddle < math.inf:  # not for a guess
            raise NotConverged("driving bonds gives no path that is low")
        return StringPath((reactant, product), np.zeros(2), method="driven", converged=True)

    def low(search):
        return lambda *arguments: dataclasses.replace(search(*arguments), ceiling=ceiling)

    monkeypatch.setattr(guesses, "driven_string", driven)
    monkeypatch.setattr(attempts, "attempt_from", attempt)
    monkeypatch.setattr(guesses, "relaxed_string", low(relaxed_string))
    monkeypatch.setattr(guesses, "followed", low(followed))
    settings = dataclasses.replace(FAST, attempts=4)
    result = search(reaction, calculators.build("gfn2-xtb"), settings)
    assert result.saddle.energy == reported
    assert result.attempts == count
    assert (result.lower_path is not None) == (len(result.warnings) == 1) == warned
    # What was found below the first intended saddle is the guess that follows it.
    after = energies.index(next(e for e in energies if e is not None)) + 1
    methods = ["neb", "string", "driven", "geodesic", "gsm"]
    others = [method for method in methods[after:] if method != "string"]
    assert methods_tried == [*methods[:after], "string", *others][:count]


@pytest.mark.parametrize("error", [CalculatorFailed, ValueError])
def test_a_string_that_fails_costs_the_result_nothing(reaction, monkeypatch, error) -> None:
    def stuck(*_):
        raise error("SCF not converged in 250 cycles")

    monkeypatch.setattr(strings._Steps, "taken", stuck)
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.INTENDED
    assert result.attempts == 1
    assert result.warnings == ()
    assert "SCF not converged" in result.skipped["lower path"]
    assert result.costs["lower path"].evaluations.gradients > 0


def test_a_string_over_its_wall_time(reaction) -> None:
    settings = dataclasses.replace(FAST, lower_path=LowerPathSettings(wall_time=1e-3))
    result = search(reaction, calculators.build("gfn2-xtb"), settings)
    assert result.verdict.label is Label.INTENDED
    assert "wall-time of 0.001 s" in result.skipped["lower path"]
