"""An image of a path for which the calculator has no answer costs itself, not the path."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from tests.surfaces import LEPS
from workflows.errors import CalculatorFailed, StageError
from workflows.records import Label, Reaction
from workflows.settings import LowerPathSettings, PathSettings, from_mapping
from workflows.stages.lower_path import relaxed_string
from workflows.stages.path import METHODS, find_path
from workflows.surface import Surface
from workflows.tssearch import search

REACTANT = Atoms("HHH", [[-2.2, 0, 0], [0, 0, 0], [0.74, 0, 0]])
PRODUCT = Atoms("HHH", [[-0.74, 0, 0], [0, 0, 0], [2.2, 0, 0]])


class Holes(LEPS):
    """H + H2 without an answer where `inside` says so of the progress, -1.5 to 1.5 Å."""

    def __init__(self, inside) -> None:
        super().__init__()
        self.inside, self.refused = inside, 0

    def calculate(self, atoms=None, *arguments, **options) -> None:
        distances = atoms.get_all_distances()
        if self.inside(distances[1, 2] - distances[0, 1]):
            self.refused += 1
            raise RuntimeError("SCF not converged in 250 cycles")
        super().calculate(atoms, *arguments, **options)


def now_and_then(every: int):
    calls = iter(range(10**9))
    return lambda progress: abs(progress) < 1.4 and next(calls) % every == every - 1


HOLES = {
    "at the top": lambda progress: abs(progress) < 0.1,
    "beside the top": lambda progress: 0.05 < progress < 0.4,
    "where it begins": lambda progress: -1.4 < progress < -1.0,
    "where it ends": lambda progress: 0.9 < progress < 1.3,
    "two": lambda progress: 0.5 < abs(progress) < 0.8,
    "every third call": now_and_then(3),
    "every tenth call": now_and_then(10),
}


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("method", METHODS)
def test_paths_past_holes(method, hole) -> None:
    calculator = Holes(HOLES[hole])
    path = find_path(REACTANT, PRODUCT, Surface(calculator), PathSettings(method=method))
    honest = Surface(LEPS())
    # No energy is made up: each is that of the geometry beside it.
    for image, energy in zip(path.images, path.energies, strict=True):
        assert energy == pytest.approx(honest.at(image)[0], abs=1e-9)
    assert len(path.images) >= 5  # of nine
    if calculator.refused:
        assert "SCF not converged" in path.log
    full = find_path(REACTANT, PRODUCT, honest, PathSettings(method=method))
    # The guess is nearer to the saddle than to the ends, 0.9 eV below it.
    assert max(path.energies) > max(full.energies) - 0.45
    assert "SCF" not in full.log


@pytest.mark.parametrize("method", METHODS)
def test_where_no_image_has_an_answer_the_path_fails(method) -> None:
    surface = Surface(Holes(lambda progress: abs(progress) < 1.45))
    with pytest.raises(CalculatorFailed, match=r"image \d of \d.*SCF not converged"):
        find_path(REACTANT, PRODUCT, surface, PathSettings(method=method))


@pytest.mark.parametrize("method", METHODS)
def test_ends_without_an_answer_are_no_path(method) -> None:
    surface = Surface(Holes(lambda progress: progress > 1.4))
    with pytest.raises(CalculatorFailed):
        find_path(REACTANT, PRODUCT, surface, PathSettings(method=method))


def test_a_string_with_a_gap_shows_no_lower_path() -> None:
    """What lies between its points has to be known, or the path may be higher there."""
    surface = Surface(Holes(HOLES["at the top"]))
    with pytest.raises(StageError, match="SCF"):
        relaxed_string(REACTANT, PRODUCT, 0.0, surface, LowerPathSettings())


def test_a_search_finds_its_way() -> None:
    reaction = Reaction("exchange", REACTANT, PRODUCT, multiplicity=2)
    settings = from_mapping({"path": {"method": "neb"}, "attempts": 1, "lower_path": {"steps": 0}})
    result = search(reaction, Holes(now_and_then(25)), settings)
    usual = search(reaction, LEPS(), settings)
    assert usual.verdict.label is Label.INTENDED
    if result.saddle is not None and result.saddle.converged:
        assert result.saddle.energy == pytest.approx(usual.saddle.energy, abs=1e-4)
        np.testing.assert_allclose(
            result.saddle.atoms.get_all_distances(),
            usual.saddle.atoms.get_all_distances(),
            atol=5e-3,
        )
    assert result.path is not None
