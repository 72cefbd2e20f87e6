"""Isotopes reach every structure, frequency, free energy and path of a search."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from horm_calc import HormCalculator
from horm_calc.chemistry.connectivity import same_molecule
from horm_calc.chemistry.masses import isotopes, with_positions
from horm_calc.chemistry.stereochemistry import compare
from horm_calc.chemistry.symmetry import symmetry
from horm_calc.chemistry.thermochemistry import normal_modes, thermochemistry
from horm_calc.units import to_kcal_per_mol
from tests.surfaces import LEPS
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Minimum, Reaction, Saddle
from workflows.settings import (
    EndpointSettings,
    IRCSettings,
    LowerPathSettings,
    PathSettings,
    SaddleSettings,
)
from workflows.stages import endpoints, irc, lower_path, path, saddle
from workflows.surface import Surface

D, T, C13, N15, O18 = 2.014, 3.016, 13.0034, 15.0001, 17.99916
H = 1.008


def heavy(atoms: Atoms, **masses: float) -> Atoms:
    """A copy with isotopes: heavy(water, H2=2.014)."""
    copy = atoms.copy()
    weights = copy.get_masses()
    for name, mass in masses.items():
        index = int(name.lstrip("CHNOF")) - 1
        assert name.startswith(copy.symbols[index])
        weights[index] = mass
    copy.set_masses(weights)
    return copy


@pytest.fixture(scope="module")
def network() -> Surface:
    return Surface(HormCalculator("horm-mini-xtb"))


def points(network: Surface, hydrogen: float) -> tuple[Minimum, Saddle]:
    """HCN and its saddle to HNC, with that mass of the hydrogen."""
    hcn = heavy(Atoms("HCN", [[-1.07, 0.01, 0], [0, 0, 0], [1.15, 0, 0]]), H1=hydrogen)
    guess = with_positions(hcn, np.array([[0.35, 1.15, 0], [0, 0, 0], [1.18, 0, 0]]))
    tight = {"max_force": 0.005}
    minimum = endpoints.settle(hcn, 20.0, network, EndpointSettings(**tight))
    return minimum, saddle.refine(guess, network, SaddleSettings(**tight))


def gibbs_barrier(minimum: Minimum, top: Saddle, **treatment: str) -> float:
    """eV"""
    start, end = (
        thermochemistry(point.atoms, point.modes, point.energy, order=order, **treatment).gibbs
        for order, point in enumerate((minimum, top))
    )
    return end - start


def bigeleisen_mayer(light: tuple[Minimum, Saddle], heavy: tuple[Minimum, Saddle]) -> float:
    """k(light)/k(heavy) at 298.15 K from frequencies alone, no masses and no moments of inertia.

    J. Bigeleisen and M. G. Mayer, J. Chem. Phys. 1947, 15, 261.
    """

    def reduced(frequencies: np.ndarray) -> float:
        u = frequencies * units.invcm / (units.kB * 298.15)
        return float(np.prod(u / np.sinh(u / 2)))

    imaginary = light[1].modes.frequencies[0] / heavy[1].modes.frequencies[0]
    minima = reduced(heavy[0].modes.frequencies) / reduced(light[0].modes.frequencies)
    tops = reduced(light[1].modes.frequencies[1:]) / reduced(heavy[1].modes.frequencies[1:])
    return imaginary * minima * tops


def test_the_isotope_effect_of_hydrogen_cyanide(network) -> None:
    light, deuterated = (points(network, mass) for mass in (H, D))
    assert light[1].modes.frequencies[0] == pytest.approx(-1653, abs=1)
    assert deuterated[1].modes.frequencies[0] == pytest.approx(-1244, abs=1)
    assert to_kcal_per_mol(gibbs_barrier(*light)) == pytest.approx(71.42, abs=0.01)
    assert to_kcal_per_mol(gibbs_barrier(*deuterated)) == pytest.approx(72.10, abs=0.01)
    later = gibbs_barrier(*deuterated, treatment="rrho") - gibbs_barrier(*light, treatment="rrho")
    ratio = np.exp(later / (units.kB * 298.15))
    assert ratio == pytest.approx(3.15, abs=0.02)
    assert ratio == pytest.approx(bigeleisen_mayer(light, deuterated), rel=0.01)


@pytest.mark.parametrize("mass", [D, T, 0.114])  # the last is muonium
def test_the_isotopes_of_a_diatomic_scale_with_the_reduced_mass(mass) -> None:
    spring = 35.0
    bond = np.array([[1.0, -1.0], [-1.0, 1.0]])
    hessian = np.kron(spring * bond, np.diag([1.0, 0, 0]))
    light = Atoms("HF", [[0, 0, 0], [0.92, 0, 0]])
    ratio = [
        normal_modes(atoms, hessian).frequencies[-1] for atoms in (light, heavy(light, H1=mass))
    ]
    reduced = [1 / (1 / m + 1 / 18.998403163) for m in (H, mass)]
    assert ratio[1] / ratio[0] == pytest.approx(np.sqrt(reduced[0] / reduced[1]), rel=1e-9)


METHANE = molecule("CH4")


@pytest.mark.parametrize(
    ("atoms", "point_group", "number"),
    [
        (molecule("H2O"), "C2v", 2),
        (heavy(molecule("H2O"), H2=D), "Cs", 1),
        (heavy(molecule("H2O"), H2=D, H3=D), "C2v", 2),
        (heavy(molecule("H2O"), H2=2.014, H3=2.0141018), "C2v", 2),  # two files' deuterium
        (heavy(METHANE, H2=D), "C3v", 3),
        (heavy(METHANE, H2=D, H3=D), "C2v", 2),
        (heavy(METHANE, H2=D, H3=D, H4=D), "C3v", 3),
        (heavy(METHANE, H2=D, H3=T), "Cs", 1),
        (heavy(METHANE, C1=C13), "Td", 12),
        (heavy(molecule("C2H2"), H3=D), "Cinfv", 1),
        (heavy(molecule("N2"), N1=N15), "Cinfv", 1),
        (heavy(molecule("CO2"), O2=O18, O3=O18), "Dinfh", 2),
        (heavy(molecule("NH3"), H2=D, H3=D), "Cs", 1),
        (heavy(molecule("C6H6"), H7=D), "C2v", 2),
    ],
    ids=lambda value: isotopes(value) if isinstance(value, Atoms) else None,
)
def test_isotopes_count_for_the_symmetry_number(atoms, point_group, number) -> None:
    assert symmetry(atoms) == (point_group, number)


ENDS = (
    heavy(Atoms("HHH", [[-4.0, 0.1, 0], [0, 0, 0], [0.76, 0, 0]]), H1=T, H3=D),
    heavy(Atoms("HHH", [[-0.76, 0, 0], [0, 0, 0], [4.0, 0.1, 0]]), H1=T, H3=D),
)
GUESS = with_positions(ENDS[0], np.array([[-0.98, 0.05, 0], [0, 0, 0], [0.88, 0.03, 0.02]]))
MASSES = [T, H, D]


@pytest.mark.parametrize("method", endpoints.METHODS)
def test_relaxation_keeps_the_isotopes(method) -> None:
    relaxed = endpoints.settle(ENDS[0], 20.0, Surface(LEPS()), EndpointSettings(method=method))
    np.testing.assert_array_equal(relaxed.atoms.get_masses(), MASSES)
    assert relaxed.modes.frequencies == pytest.approx(
        normal_modes(relaxed.atoms, Surface(LEPS()).get_hessian(relaxed.atoms)).frequencies
    )


@pytest.mark.parametrize("method", path.METHODS)
def test_paths_keep_the_isotopes(method) -> None:
    settings = PathSettings(method=method, images=5)
    found = path.find_path(*ENDS, Surface(LEPS()), settings)
    for image in found.images:
        np.testing.assert_array_equal(image.get_masses(), MASSES)


def test_a_string_keeps_the_isotopes() -> None:
    settings = LowerPathSettings(steps=3, images=3)
    found = lower_path.relaxed_string(*ENDS, np.inf, Surface(LEPS()), settings)
    for image in found.images:
        np.testing.assert_array_equal(image.get_masses(), MASSES)


@pytest.mark.parametrize("method", saddle.METHODS)
def test_saddles_have_the_frequencies_of_the_isotopes(method) -> None:
    surface = Surface(LEPS())
    found = saddle.refine(GUESS, surface, SaddleSettings(method=method))
    assert found.converged, found.reason
    np.testing.assert_array_equal(found.atoms.get_masses(), MASSES)
    # The same Hessian, weighted here; rigid motions have no frequency at a stationary point.
    roots = np.repeat(MASSES, 3) ** 0.5
    lowest = np.linalg.eigvalsh(found.hessian / np.outer(roots, roots))[0]
    wavenumber = units._hbar * units.m / np.sqrt(units._e * units._amu) / units.invcm
    assert found.modes.frequencies[0] == pytest.approx(-wavenumber * np.sqrt(-lowest), rel=1e-3)


@pytest.mark.parametrize("method", irc.METHODS)
def test_the_reaction_coordinate_is_mass_weighted(method) -> None:
    """It leaves the saddle along the mode of the isotopes, which is not that of hydrogen."""
    surface = Surface(LEPS())
    found = saddle.refine(GUESS, surface, SaddleSettings())
    steps = irc.follow(found, surface, IRCSettings(method=method, step_length=0.02, max_steps=3))
    assert steps.method == method, steps.reason
    for image in steps.images:
        np.testing.assert_array_equal(image.get_masses(), MASSES)
    # The steps to both sides together: what is curved cancels.
    index = steps.saddle_index
    step = steps.images[index + 1].positions - steps.images[index - 1].positions
    of_hydrogen = normal_modes(Atoms("HHH", found.atoms.positions), found.hessian)
    overlaps = [
        abs(np.vdot(step, modes.displacements[0])) / np.linalg.norm(step)
        for modes in (found.modes, of_hydrogen)
    ]
    assert overlaps[0] > 0.999 > overlaps[1] + 0.02


@pytest.mark.parametrize("method", irc.METHODS)
def test_no_library_makes_isotopes_of_ordinary_atoms(method, gfn2, hcn_guess) -> None:
    """Sella's IRC sets masses of its own, of carbon 12 and not of carbon."""
    plain = saddle.refine(hcn_guess, gfn2, SaddleSettings(method="sella"))
    found = irc.follow(plain, gfn2, IRCSettings(method=method, max_steps=3))
    relaxed = endpoints.relax(found.images[0], gfn2, EndpointSettings(method="sella"))
    for atoms in (plain.atoms, *found.images, relaxed.atoms):
        assert not atoms.has("masses")


def test_equivalent_atoms_are_of_one_isotope() -> None:
    labelled = heavy(METHANE, H2=D)
    assert same_molecule(labelled, heavy(METHANE, H3=D), 1.2)
    assert same_molecule(labelled, heavy(METHANE, H3=2.0141018), 1.2)
    assert not same_molecule(labelled, METHANE, 1.2)
    assert not same_molecule(labelled, heavy(METHANE, H2=T), 1.2)


def test_an_isotope_can_make_a_centre() -> None:
    """CHDFCl has mirror images, CH2FCl has none."""
    plain = Atoms(
        "CHHFCl",
        [[0, 0, 0], [0.63, 0.63, 0.63], [0.63, -0.63, -0.63], [-0.8, 0.8, -0.8], [-1, -1, 1]],
    )
    mirror = plain.copy()
    mirror.positions[[1, 2]] = mirror.positions[[2, 1]]
    assert compare(plain, mirror, 1.2).same
    found = compare(heavy(plain, H2=D), heavy(mirror, H2=D), 1.2)
    assert not found.same
    assert found.mirrored
    assert found.changes == "C1 inverted"


@pytest.mark.parametrize(
    ("reactant", "product", "message"),
    [
        ({"H1": D}, {}, r"H1 2\.014 in the reactant, 1\.008 in the product"),
        ({}, {"C2": C13}, r"C2 12\.011 in the reactant, 13\.0034 in the product"),
        ({"H1": D}, {"H1": T}, r"H1 2\.014 in the reactant, 3\.016 in the product"),
        ({"H1": 0.0}, {"H1": 0.0}, "H1 of the reactant has the mass 0"),
        ({"N3": np.nan}, {"N3": np.nan}, "N3 of the reactant has the mass nan"),
        ({"N3": -15.0}, {"N3": -15.0}, "N3 of the reactant has the mass -15"),
        ({"N3": np.inf}, {"N3": np.inf}, "N3 of the reactant has the mass inf"),
    ],
)
def test_masses_that_are_none_or_differ_are_refused(hcn, hnc, reactant, product, message) -> None:
    with pytest.raises(InputError, match=message):
        check_reaction(Reaction("hcn", heavy(hcn, **reactant), heavy(hnc, **product)))


def test_the_same_isotope_with_other_digits_is_no_difference(hcn, hnc) -> None:
    check_reaction(Reaction("dcn", heavy(hcn, H1=2.014), heavy(hnc, H1=2.01410178)))


def test_standard_weights_said_are_no_isotopes(hcn) -> None:
    assert isotopes(heavy(hcn, H1=1.008)) == ""
    assert not with_positions(heavy(hcn, H1=1.008), hcn.positions).has("masses")
    assert isotopes(heavy(hcn, H1=D, N3=N15)) == "H1 2.014, N3 15.0001"
