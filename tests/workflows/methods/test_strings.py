"""The preconditioned string, where the path and its highest point are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from tests.surfaces import EXCHANGE, LEPS
from workflows.errors import CalculatorFailed
from workflows.logs import Log
from workflows.methods.geodesics import geodesic
from workflows.methods.strings import (
    MOST,
    _marks,
    _spread,
    relax_string,
    relaxed_path,
)
from workflows.settings import EndpointSettings, PathSettings, SaddleSettings
from workflows.stages.endpoints import relax
from workflows.stages.saddle import refine
from workflows.surface import Surface

H3_GUESS = Atoms("HHH", [[-0.98, 0.05, 0], [0, 0, 0], [0.88, 0.03, 0.02]])


def places_of(images: list[Atoms]) -> np.ndarray:
    return np.array([image.positions.ravel() for image in images])


def relaxed(
    ends: tuple[Atoms, Atoms], surface: Surface, images: int = 7
) -> tuple[list[Atoms], Log]:
    log = Log("")
    start = geodesic(*ends, images, seed=1)
    found, _ = relax_string(start, surface, log, steps=MOST)
    return found, log


def top_of(log: Log) -> float:
    """The lowest of the heights that are logged, eV."""
    return min(float(line.split()[1]) for line in log.getvalue().splitlines())


@pytest.fixture(scope="module")
def exchange() -> tuple[tuple[Atoms, Atoms], float]:
    """Ends of H + H2 and the energy of the saddle between them."""
    surface = Surface(LEPS())
    saddle = refine(H3_GUESS, surface, SaddleSettings())
    return (EXCHANGE.reactant, EXCHANGE.product), saddle.energy


def test_the_string_tops_at_the_saddle_of_hydrogen_exchange(exchange) -> None:
    ends, saddle = exchange
    images, log = relaxed(ends, Surface(LEPS()))
    assert top_of(log) == pytest.approx(saddle, abs=0.05)
    surface = Surface(LEPS())
    assert max(surface.at(image)[0] for image in images) == pytest.approx(saddle, abs=0.05)


def test_the_string_tops_at_the_saddle_of_hydrogen_cyanide(gfn2, hcn, hnc, hcn_guess) -> None:
    ends = tuple(relax(end, gfn2, EndpointSettings()).atoms for end in (hcn, hnc))
    saddle = refine(hcn_guess, gfn2, SaddleSettings())
    _, log = relaxed(ends, gfn2)
    assert top_of(log) == pytest.approx(saddle.energy, abs=0.05)


def test_the_ends_stay_and_images_are_numbers(gfn2, hcn, hnc) -> None:
    ends = tuple(relax(end, gfn2, EndpointSettings()).atoms for end in (hcn, hnc))
    for steps in range(6):
        images, _ = relax_string(geodesic(*ends, 7, 1), gfn2, Log(""), steps=steps)
        assert len(images) == 9
        assert np.isfinite(places_of(images)).all()
        # The geodesic path superposes the ends; the string does not move them.
        for image, end in ((images[0], ends[0]), (images[-1], ends[1])):
            np.testing.assert_allclose(
                image.get_all_distances(), end.get_all_distances(), atol=1e-4
            )


def test_more_cycles_never_make_it_worse(exchange) -> None:
    """What comes back is the string with the lowest top."""
    ends, _ = exchange
    tops = []
    for steps in range(0, 12, 2):
        log = Log("")
        relax_string(geodesic(*ends, 7, 1), Surface(LEPS()), log, steps=steps)
        tops.append(top_of(log))
    assert np.diff(tops).max() <= 0


@pytest.mark.parametrize("top", [None, 0.3, 2.6, 4.0, 6.9])
def test_images_are_spread_evenly_on_both_sides_of_the_top(top) -> None:
    """In scaled distances; an image is where the top was.

    Three rounds of spreading leave a third where the curve is as bumpy as here.
    """
    random = np.random.default_rng(1)
    waypoints = geodesic(EXCHANGE.reactant, EXCHANGE.product, 7, 1)
    places = places_of(waypoints)
    places[1:-1] += random.normal(scale=0.02, size=places[1:-1].shape)
    spread = _spread(EXCHANGE.reactant, places, top)
    np.testing.assert_allclose(spread[[0, -1]], places[[0, -1]], atol=1e-12)
    steps = np.diff(_marks(EXCHANGE.reactant, spread))
    if top is None:
        assert steps.max() < 1.4 * steps.min()
        return
    marks = _marks(EXCHANGE.reactant, places)
    part = float(np.interp(top, np.arange(len(marks)), marks) / marks[-1])
    parts = np.append(0.0, steps.cumsum()) / steps.sum()
    number = 1 + int(np.abs(parts[1:-1] - part).argmin())
    for side in (steps[:number], steps[number:]):
        assert side.max() < 1.4 * side.min()
    assert parts[number] == pytest.approx(part, abs=0.02)


def test_images_that_lie_on_each_other_do_not_break_a_string(exchange) -> None:
    ends, _ = exchange
    start = geodesic(*ends, 5, 1)
    start[3] = start[2].copy()
    images, _ = relax_string(start, Surface(LEPS()), Log(""), steps=5)
    assert np.isfinite(places_of(images)).all()


class Holes(LEPS):
    """H + H2 without an answer where the hydrogen in the middle is nearly half way over."""

    refused = 0

    def calculate(self, atoms=None, *arguments, **options) -> None:
        distances = atoms.get_all_distances()
        if 0.05 < distances[1, 2] - distances[0, 1] < 0.2:
            self.refused += 1
            raise RuntimeError("SCF not converged in 250 cycles")
        super().calculate(atoms, *arguments, **options)


def test_a_hole_in_the_surface_costs_no_string(exchange) -> None:
    ends, saddle = exchange
    calculator = Holes()
    surface = Surface(calculator)
    images, log = relaxed(ends, surface)
    energies = [surface.at(image)[0] for image in images]  # it has an answer for all of them
    assert calculator.refused
    assert "towards a neighbour" in log.getvalue() or "stays where it was" in log.getvalue()
    assert max(energies) == pytest.approx(saddle, abs=0.1)


class Broken(LEPS):
    """Has an answer near the ends alone."""

    def calculate(self, atoms=None, *arguments, **options) -> None:
        distances = atoms.get_all_distances()
        if abs(distances[1, 2] - distances[0, 1]) < 1.45:
            raise RuntimeError("SCF not converged in 250 cycles")
        super().calculate(atoms, *arguments, **options)


def test_without_any_answer_it_fails_and_says_where(exchange) -> None:
    with pytest.raises(CalculatorFailed, match=r"image \d of 9 of the string.*SCF not converged"):
        relaxed(exchange[0], Surface(Broken()))


def test_as_a_path_method_it_says_whether_it_is_at_rest(exchange) -> None:
    ends, _ = exchange
    whole = relaxed_path(*ends, Surface(LEPS()), PathSettings())
    short = relaxed_path(*ends, Surface(LEPS()), PathSettings(max_steps=2))
    assert (whole.converged, short.converged) == (True, False)
    assert len(short.log.splitlines()) == 3
    assert len(whole.log.splitlines()) <= MOST + 1
