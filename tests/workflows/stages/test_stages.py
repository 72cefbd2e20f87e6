"""Endpoints, paths, saddles and IRCs: every method on the same real molecules."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from sella import Sella

from horm_calc import HormCalculator
from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.storage.provenance import PACKAGES
from tests.places import STRUCTURES
from tests.surfaces import LEPS
from workflows.errors import CalculatorFailed, IRCFailed, NotConverged
from workflows.methods import pysis
from workflows.methods.registry import METHODS
from workflows.settings import (
    EndpointSettings,
    IRCSettings,
    PathSettings,
    SaddleSettings,
    stage_types,
)
from workflows.stages import endpoints
from workflows.stages import irc as irc_stage
from workflows.stages.endpoints import METHODS as MINIMISERS
from workflows.stages.endpoints import relax, settle
from workflows.stages.irc import follow
from workflows.stages.path import METHODS as PATHS
from workflows.stages.path import find_path
from workflows.stages.saddle import METHODS as SADDLES
from workflows.stages.saddle import refine
from workflows.surface import Surface

ENDPOINTS, SADDLE = EndpointSettings(), SaddleSettings()


@pytest.fixture(scope="module")
def ethanol() -> Atoms:
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.08, seed=3)
    return atoms


@pytest.mark.parametrize("method", MINIMISERS)
def test_minima(method, gfn2, ethanol) -> None:
    minimum = relax(ethanol, gfn2, EndpointSettings(method=method))
    assert minimum.method == method  # and no other that took over
    assert minimum.converged, minimum.reason
    assert np.abs(minimum.forces).max() <= ENDPOINTS.max_force
    np.testing.assert_array_equal(gfn2.at(minimum.atoms)[1], minimum.forces)
    modes = normal_modes(minimum.atoms, gfn2.get_hessian(minimum.atoms))
    assert len(modes.imaginary_frequencies(SADDLE.imaginary_threshold)) == 0
    assert minimum.cost.evaluations.gradients > 1
    assert minimum.cost.seconds > 0


@pytest.mark.parametrize("method", MINIMISERS)
def test_running_out_of_steps_is_said(method, gfn2, ethanol) -> None:
    minimum = relax(ethanol, gfn2, EndpointSettings(method=method, max_steps=1))
    assert not minimum.converged
    assert "within 1 steps" in minimum.reason
    assert "eV/Å" in minimum.reason


@pytest.mark.parametrize("method", MINIMISERS)
def test_a_flat_start_does_not_end_on_a_saddle_point(method, gfn2) -> None:
    """The forces on planar ammonia never point out of its plane, so relaxation stays in it."""
    angles = np.radians([0, 120, 240])
    flat = Atoms("NH3", [[0, 0, 0], *np.c_[np.cos(angles), np.sin(angles), 0 * angles]])
    settings = EndpointSettings(method=method)
    stuck = relax(flat, gfn2, settings)
    assert stuck.converged
    threshold = SADDLE.imaginary_threshold
    minimum = settle(flat, threshold, gfn2, settings)
    assert minimum.converged, minimum.reason
    assert len(minimum.modes.imaginary_frequencies(threshold)) == 0
    assert minimum.energy < stuck.energy - 0.1  # eV; GFN2-xTB's inversion barrier is 0.2
    assert "a saddle point; on along its mode" in minimum.log


def test_molecules_that_hold_each_other_loosely_relax_to_a_minimum(gfn2) -> None:
    """Water and carbon dioxide: beside their saddle points the slopes are gentle for long."""
    pair = Atoms(
        "OCO2H2",
        [[1.4, -0.375, -0.008], [0.72, 0.543, 0.036], [0.028, 1.453, 0.079],
         [-2.921, -1.731, -0.12], [-1.993, -1.973, -0.125], [-2.969, -0.774, -0.069]],
    )  # fmt: skip
    minimum = settle(pair, SADDLE.imaginary_threshold, gfn2, ENDPOINTS)
    assert minimum.converged, minimum.reason
    assert len(minimum.modes.imaginary_frequencies(SADDLE.imaginary_threshold)) == 0
    # Forces within the criterion hide this much along modes as soft as those between molecules.
    finely = dataclasses.replace(ENDPOINTS, max_force=1e-3)
    assert minimum.energy == pytest.approx(relax(minimum.atoms, gfn2, finely).energy, abs=1e-3)


def test_smaller_forces_below_a_saddle_point_are_no_condition(gfn2, monkeypatch) -> None:
    """Where noise keeps the forces from falling further, the criterion of the settings counts."""
    monkeypatch.setattr(endpoints, "FINER", 1e9)
    angles = np.radians([0, 120, 240])
    flat = Atoms("NH3", [[0, 0, 0], *np.c_[np.cos(angles), np.sin(angles), 0 * angles]])
    settings = EndpointSettings(max_steps=40)
    minimum = settle(flat, SADDLE.imaginary_threshold, gfn2, settings)
    assert minimum.converged, minimum.reason
    assert minimum.modes.frequencies[0] > 0


class Unreliable(HormCalculator):
    """horm-mini without an answer to the calls for forces in `lost`, and without a Hessian."""

    lost: tuple[int, ...] = ()
    calls = 0

    def get_forces(self, atoms: Atoms | None = None) -> np.ndarray:
        self.calls += 1
        if self.calls in self.lost:
            raise CalculationFailed(f"no answer to call {self.calls}")
        return super().get_forces(atoms)

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        raise CalculationFailed("no Hessian")


@pytest.mark.parametrize(
    ("method", "cause"), [("bfgs", "no answer to call 3"), ("rfo", "no Hessian")]
)
def test_another_optimiser_follows_one_that_breaks_down(method, cause, ethanol) -> None:
    calculator = Unreliable()
    calculator.lost = (3,)
    minimum = relax(ethanol, Surface(calculator), EndpointSettings(method=method))
    assert (minimum.method, minimum.converged) == ("geometric", True)
    assert np.abs(minimum.forces).max() <= ENDPOINTS.max_force
    assert ("internal coordinates failed" in minimum.log) == (method == "rfo")
    assert f"{cause}; geometric instead" in minimum.log


@pytest.mark.parametrize(
    ("method", "cause"), [("bfgs", "no answer to call 3"), ("rfo", "no Hessian")]
)
def test_where_all_break_down_the_first_says_why(method, cause, ethanol) -> None:
    calculator = Unreliable()
    calculator.lost = (3, 5)
    with pytest.raises(CalculatorFailed, match=cause) as caught:
        relax(ethanol, Surface(calculator), EndpointSettings(method=method))
    if method == "rfo":
        assert "no answer to call 3" in caught.value.log
    with pytest.raises(CalculatorFailed, match="no answer to call 9"):
        calculator.lost = tuple(range(9, 100))
        relax(ethanol, Surface(calculator), EndpointSettings(method="geometric"))


def test_an_end_without_a_hessian_is_taken_as_it_relaxes(gfn2, monkeypatch) -> None:
    def fails(atoms: Atoms) -> np.ndarray:
        raise CalculatorFailed("SCF not converged")

    surface = Surface(gfn2.calculator)
    monkeypatch.setattr(surface, "get_hessian", fails)
    minimum = settle(molecule("H2O"), SADDLE.imaginary_threshold, surface, ENDPOINTS)
    assert minimum.converged
    assert minimum.modes is None


def test_loose_fragments_relax_where_internals_alone_do_not(gfn2) -> None:
    """Two molecules far apart: the motion between them is no bond, bend or torsion."""
    pair = molecule("H2O") + Atoms("CO", [[4.0, 0.5, 0.3], [5.2, 0.3, 0.1]])
    minimum = relax(pair, gfn2, ENDPOINTS)
    assert minimum.converged, minimum.reason


@pytest.fixture(scope="module")
def ends() -> tuple[Atoms, Atoms]:
    """Vinyl alcohol and acetaldehyde, relaxed."""

    from ase.io import read

    from reactbench_runner import calculators

    file = STRUCTURES / "vinyl_alcohol.xyz"
    surface = Surface(calculators.build("gfn2-xtb"))
    reactant, product = (relax(atoms, surface, ENDPOINTS).atoms for atoms in read(file, ":"))
    return reactant, product


@pytest.mark.parametrize("method", PATHS)
def test_paths(method, gfn2, ends) -> None:
    path = find_path(*ends, gfn2, PathSettings(method=method))
    assert len(path.images) == 9
    for image, end in ((path.images[0], ends[0]), (path.images[-1], ends[1])):
        np.testing.assert_allclose(  # 1e-4 Å: rounding of moving and turning the whole
            image.get_all_distances(), end.get_all_distances(), atol=1e-4
        )
    inner = [gfn2.at(image)[0] for image in path.images[1:-1]]
    assert gfn2.at(path.highest)[0] == pytest.approx(max(inner), abs=1e-5)  # SCF noise
    assert max(inner) > max(path.energies[0], path.energies[-1]) + 0.5  # eV; a high barrier
    if method == "geodesic":
        assert path.cost.evaluations.gradients <= 9  # only the energies along it


class Counting(HormCalculator):
    """Says how often it was asked for one molecule and for many."""

    def __init__(self) -> None:
        super().__init__()
        self.single = self.together = 0

    def calculate(self, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
        self.single += 1
        super().calculate(*arguments, **options)

    def evaluate(self, *arguments, **options):  # type: ignore[no-untyped-def]
        self.together += 1
        return super().evaluate(*arguments, **options)


@pytest.mark.parametrize("method", ["gsm", "neb"])
def test_a_network_works_out_all_images_of_a_path_together(method, ends) -> None:
    """And the path is the one that it finds image by image."""
    settings = PathSettings(method=method, max_steps=16)
    paths, counts = [], []
    for calculator in (Counting(), Counting()):
        surface = Surface(calculator)
        if paths:
            surface.prepare = lambda images: None  # type: ignore[method-assign]
        paths.append(find_path(*ends, surface, settings))
        counts.append((calculator.single, calculator.together))
    (single, together), (alone, never) = counts
    assert never == 0
    assert 16 <= together <= 20  # once a cycle, however often the optimiser asks
    assert single == 0
    assert alone > 16
    for one, other in zip(paths[0].images, paths[1].images, strict=True):
        # What the rounding of float32 grows to over the cycles.
        np.testing.assert_allclose(one.positions, other.positions, atol=0.01)


def test_a_path_is_the_same_every_time(gfn2, ends) -> None:
    settings = PathSettings(method="geodesic")
    first, second = (find_path(*ends, gfn2, settings) for _ in range(2))
    for a, b in zip(first.images, second.images, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    other = find_path(*ends, gfn2, dataclasses.replace(settings, seed=2))
    assert not np.array_equal(first.images[4].positions, other.images[4].positions)


def test_a_string_that_does_not_grow_together_is_an_error(gfn2, ends) -> None:
    with pytest.raises(NotConverged, match="did not grow together in 2 cycles"):
        find_path(*ends, gfn2, PathSettings(method="gsm", max_steps=2))


@pytest.mark.parametrize("method", SADDLES)
def test_saddles(method, gfn2, hcn_guess) -> None:
    saddle = refine(hcn_guess, gfn2, SaddleSettings(method=method, max_steps=200))
    assert saddle.converged, saddle.reason
    assert np.abs(saddle.forces).max() <= SADDLE.max_force
    assert len(saddle.modes.imaginary_frequencies(SADDLE.imaginary_threshold)) == 1
    assert len(saddle.modes.frequencies) == 3
    np.testing.assert_allclose(saddle.hessian, saddle.hessian.T)
    # All methods find the same saddle: its C-N bond and where the hydrogen is, to 0.01 Å.
    distances = saddle.atoms.get_all_distances()[np.triu_indices(3, 1)]
    np.testing.assert_allclose(distances, [1.162, 1.319, 1.203], atol=0.01)


def test_a_minimum_is_not_sold_as_a_saddle(gfn2) -> None:
    minimum = relax(molecule("H2O"), gfn2, ENDPOINTS)
    # Any force will do, so that only the number of modes decides.
    saddle = refine(minimum.atoms, gfn2, SaddleSettings(max_force=100.0, max_steps=1))
    assert not saddle.converged
    assert "minimum, not a saddle" in saddle.reason


def test_a_second_order_saddle_is_not_sold_as_a_saddle(gfn2) -> None:
    """Two flat ammonia molecules, far apart: each has the imaginary mode of its inversion."""
    flat = Atoms("NHHH", [[0, 0, 0], [1.0, 0, 0], [-0.5, 0.87, 0], [-0.5, -0.87, 0]])
    other = flat.copy()
    other.translate((0, 0, 6.0))
    # Any force will do, so that only the number of modes decides.
    saddle = refine(flat + other, gfn2, SaddleSettings(max_force=100.0, max_steps=1))
    assert not saddle.converged
    assert "2 imaginary modes" in saddle.reason
    assert "not a first-order saddle" in saddle.reason


@pytest.fixture(scope="module")
def hcn_saddle():
    from reactbench_runner import calculators

    guess = Atoms("HCN", [[0.35, 1.15, 0], [0, 0, 0], [1.18, 0, 0]])
    return refine(guess, Surface(calculators.build("gfn2-xtb")), SADDLE)


@pytest.mark.parametrize("method", irc_stage.METHODS)
def test_irc(method, gfn2, hcn_saddle) -> None:
    irc = follow(hcn_saddle, gfn2, IRCSettings(method=method))
    assert irc.method == method, irc.reason
    assert irc.cost.evaluations.hessians == 0  # the saddle's own is used
    assert irc.arrived == (True, True), irc.reason
    steps = np.linalg.norm(np.diff([i.positions for i in irc.images], axis=0), axis=2).max(axis=1)
    # Both first steps are as long: no image is lost.
    assert steps[irc.saddle_index] == pytest.approx(steps[irc.saddle_index - 1], rel=0.3)
    top = irc.saddle_index
    np.testing.assert_array_equal(irc.images[top].positions, hcn_saddle.atoms.positions)
    for side in (irc.energies[: top + 1][::-1], irc.energies[top:]):
        assert len(side) > 3
        assert side[-1] < side[0] - 0.5  # eV: down into a deep well
        assert (np.diff(side[:4]) < 0).all()
    ends = [relax(irc.images[i], gfn2, ENDPOINTS).atoms for i in (0, -1)]
    bonded_to = {1 if end.get_distance(0, 1) < end.get_distance(0, 2) else 2 for end in ends}
    assert bonded_to == {1, 2}  # hydrogen cyanide on one side, isocyanide on the other


def test_where_internal_coordinates_lead_nowhere_cartesian_ones_go_on(
    gfn2, hcn_saddle, monkeypatch
) -> None:
    optimise = pysis._optimise

    def lost(optimizer, geometry, *arguments, **options) -> bool:
        if geometry.coord_type == "cart":
            return optimise(optimizer, geometry, *arguments, **options)
        geometry.coords = geometry.coords + 0.5  # what breaks down leaves behind
        return False

    monkeypatch.setattr(pysis, "_optimise", lost)
    guess = hcn_saddle.atoms.copy()
    guess.rattle(0.05, seed=1)
    saddle = refine(guess, gfn2, SaddleSettings(method="rsirfo"))
    assert saddle.converged, saddle.reason
    assert saddle.energy == pytest.approx(hcn_saddle.energy, abs=1e-3)
    assert "led to no stationary point" in saddle.log


def test_no_irc_from_what_is_no_saddle(gfn2, hcn_saddle) -> None:
    wrong = dataclasses.replace(hcn_saddle, converged=False, reason="2 imaginary modes")
    with pytest.raises(IRCFailed, match="not a first-order saddle: 2 imaginary modes"):
        follow(wrong, gfn2, IRCSettings())


def test_a_stuck_integrator_hands_over_to_the_other(gfn2, hcn_saddle, monkeypatch) -> None:
    def stuck(*_):
        while True:
            pass

    # The real one takes so long on a busy machine that it can come to the limit, too.
    monkeypatch.setitem(irc_stage.METHODS, "eulerpc", irc_stage.METHODS["lqa"])
    monkeypatch.setitem(irc_stage.METHODS, "lqa", stuck)
    irc = follow(hcn_saddle, gfn2, IRCSettings(wall_time=6.0))
    assert irc.method == "eulerpc"
    assert "lqa: exceeded its wall-time" in irc.reason


def test_an_irc_without_steps_is_an_error_that_names_all(gfn2, hcn_saddle, monkeypatch) -> None:
    still = [hcn_saddle.atoms.copy()]
    there = (True, True)
    monkeypatch.setitem(irc_stage.METHODS, "lqa", lambda *_: ([[], still], there, ""))
    monkeypatch.setitem(irc_stage.METHODS, "eulerpc", lambda *_: ([still, []], there, ""))
    monkeypatch.setitem(irc_stage.METHODS, "sella", lambda *_: ([still, still], there, ""))
    with pytest.raises(IRCFailed, match=r"lqa: made no step.*eulerpc: made.*sella: did not desc"):
        follow(hcn_saddle, gfn2, IRCSettings())


def test_sella_finds_the_known_saddle_of_muller_brown(muller_brown) -> None:
    """The higher saddle of the surface lies at (-0.822, 0.624) (Müller and Brown 1979)."""
    surface = Surface(muller_brown)
    atoms = Atoms("H", [[-0.75, 0.55, 0.02]])
    atoms.calc = surface
    Sella(
        atoms,
        order=1,
        internal=False,
        logfile=None,
        hessian_function=surface.get_hessian,
        proj_trans=False,
        proj_rot=False,
    ).run(fmax=1e-3, steps=100)
    assert np.linalg.norm(atoms.get_forces()) < 1e-3
    eigenvalues = np.linalg.eigvalsh(muller_brown.exact_hessian(atoms))
    assert (eigenvalues < 0).sum() == 1
    np.testing.assert_allclose(atoms.positions[0], [-0.822, 0.624, 0.0], atol=2e-3)


@pytest.mark.parametrize("method", SADDLES)
def test_the_saddle_of_hydrogen_exchange_on_an_analytic_surface(method) -> None:
    """On the LEPS surface of H + H2 it is collinear and symmetric, for reasons of symmetry."""
    surface = Surface(LEPS())
    guess = Atoms("HHH", [[-0.98, 0.05, 0], [0, 0, 0], [0.88, 0.03, 0.02]])
    saddle = refine(guess, surface, SaddleSettings(method=method, max_steps=300))
    assert saddle.converged, saddle.reason
    assert saddle.modes.linear
    assert (saddle.modes.frequencies < 0).sum() == 1
    # To 5e-3 Å: what a force of 0.02 eV/Å leaves on a mode of 5 eV/Å².
    distances = saddle.atoms.get_all_distances()
    assert distances[0, 1] == pytest.approx(distances[1, 2], abs=5e-3)
    assert saddle.atoms.get_angle(0, 1, 2) > 175
    separate = Atoms("HHH", [[-8, 0, 0], [0, 0, 0], [0.742, 0, 0]])
    assert 0.2 < saddle.energy - surface.at(separate)[0] < 1.5  # eV, a real barrier


def test_every_entry_of_the_registry_is_a_choice_everywhere() -> None:
    """A method is entered once: settings, help and versions follow."""
    kinds = stage_types()
    for name, methods in METHODS.items():
        [spec] = [one for one in dataclasses.fields(kinds[name]) if one.name == "method"]
        assert spec.metadata["choices"] == tuple(one.name for one in methods)
        for one in methods:
            assert f"{one.name}: {one.doc}" in spec.metadata["doc"]
            assert one.package in PACKAGES
            assert version(one.package)
            assert callable(one.load())


def test_modes_are_computed_where_there_are_none() -> None:
    """Of minima and saddles alike; the stage says so in its log."""
    surface = Surface(LEPS(), 0, 2)
    h2 = Atoms("H3", [[-3.5, 0, 0], [0, 0, 0], [0.74, 0, 0]])
    minimum = relax(h2, surface, ENDPOINTS)
    assert minimum.modes is None
    known = endpoints.with_modes(minimum, surface, ENDPOINTS)
    assert known.hessian.shape == (9, 9)
    assert (known.log, known.cost) == (minimum.log, minimum.cost)
    before = surface.evaluations
    assert endpoints.with_modes(known, surface, ENDPOINTS) is known
    assert surface.evaluations == before
    saddle = refine(Atoms("H3", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]]), surface, SADDLE)
    bare = dataclasses.replace(saddle, modes=None)
    again = endpoints.with_modes(bare, surface, ENDPOINTS)
    np.testing.assert_allclose(again.modes.frequencies, saddle.modes.frequencies, atol=1)  # cm⁻¹
    end = endpoints.end_with_modes(minimum, surface, ENDPOINTS)
    assert end.log.startswith("Hessian of a relaxed end; lowest frequencies: ")
    assert (end.modes.frequencies == known.modes.frequencies).all()
