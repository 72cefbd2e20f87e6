"""Rate constants, isotope effects and Arrhenius fits against closed formulas and other programs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from ase import Atoms, units
from scipy import constants

from horm_calc.chemistry.arrhenius import arrhenius, modified_arrhenius
from horm_calc.chemistry.isotope_effects import IsotopeEffect, isotope_effect
from horm_calc.chemistry.kinetics import (
    CM3_PER_MOLECULE,
    Assumptions,
    Kinetics,
    ReactionPoints,
    StationaryPoint,
    kinetics,
    rate_unit,
)
from horm_calc.chemistry.thermochemistry import ThermochemistryError
from horm_calc.units import KCAL_PER_MOL
from tests.horm_calc.chemistry.springs import springs, triatomic

REACTANT = triatomic("HOF", (40.0, 25.0, 3.0))
SADDLE = triatomic("HOF", (15.0, 20.0, -4.0), energy=0.9, angle=60.0)
PRODUCT = triatomic("HOF", (12.0, 35.0, 6.0), energy=-0.4, angle=75.0)
POINTS = ReactionPoints((REACTANT,), SADDLE, (PRODUCT,))
RRHO = Assumptions(treatment="rrho")


def alone(symbols: str, positions: object, constant: float, energy: float, **more: int):
    atoms = Atoms(symbols, positions)
    hessian = springs(atoms, {(0, 1): constant} if len(atoms) == 2 else {})
    return StationaryPoint(atoms, hessian, energy, **more)


#: F + OH to the saddle above; each a doublet.
PARTS = (
    alone("F", [[0, 0, 0]], 0, 0.1, multiplicity=2),
    alone("OH", [[0, 0, 0], [0.97, 0, 0]], 50.0, 0.2, multiplicity=2),
)
BIMOLECULAR = ReactionPoints(PARTS, SADDLE, (PRODUCT,))


def with_barrier(points: ReactionPoints, barrier: float, temperature: float) -> Kinetics:
    """The same with another energy of the saddle, so that ΔG‡ (eV) is as asked."""
    rise = barrier - kinetics(points, temperature).gibbs_barrier
    saddle = dataclasses.replace(points.saddle, energy=points.saddle.energy + rise)
    return kinetics(dataclasses.replace(points, saddle=saddle), temperature)


# --- rate constants


def test_eyring_of_a_textbook_barrier() -> None:
    """20.0 kcal/mol at 298.15 K: half-life of a minute, 1.36e-2 s⁻¹, from CODATA constants."""
    found = with_barrier(POINTS, 20.0 * KCAL_PER_MOL, 298.15)
    thermal = constants.k * 298.15
    barrier = 20.0 * constants.calorie * 1000 / constants.N_A
    expected = thermal / constants.h * math.exp(-barrier / thermal)
    assert expected == pytest.approx(1.36e-2, abs=5e-5)
    # ASE has CODATA 2014, SciPy a later one.
    assert math.exp(found.log_rate) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow  # its import
def test_eyring_agrees_with_pysisyphus() -> None:
    """Its unit for two molecules is cm³/mol."""
    from pysisyphus.drivers.rates import eyring_rate

    for points, pressure in ((POINTS, 1e5), (BIMOLECULAR, 101325.0), (BIMOLECULAR, 2e4)):
        found = kinetics(points, 350.0, Assumptions(pressure=pressure))
        molecules = found.reactants.molecules
        barrier = found.gibbs_barrier / units.Ha
        theirs = eyring_rate(barrier, 350.0, molecules, pressure)
        ours = math.exp(found.log_rate) * 1000.0 ** (molecules - 1)
        assert ours == pytest.approx(float(theirs), rel=1e-4)  # other constants


def test_ammonia_inverts_as_goodvibes_says() -> None:
    """ΔH‡ and ΔS‡ of real Hessians from another program; the barrier has two equal sides."""
    from tests.horm_calc.chemistry.test_thermochemistry import (
        JOULE,
        goodvibes_enthalpy,
        goodvibes_entropy,
        stationary_point,
    )

    minimum, planar = (StationaryPoint(*stationary_point(one)) for one in ("NH3", "planar NH3"))
    found = kinetics(ReactionPoints((minimum,), planar, (minimum,)), 298.15)
    barrier = planar.energy - minimum.energy
    for sign, point, sigma in ((1, planar, 6), (-1, minimum, 3)):
        kept = point.modes.frequencies[-5:] if point is planar else point.modes.frequencies
        modes = dataclasses.replace(point.modes, frequencies=kept)
        enthalpy = goodvibes_enthalpy(point.atoms, modes, 298.15)
        entropy = goodvibes_entropy(point.atoms, modes, sigma, "grimme", 298.15, 101325.0)
        barrier += sign * (enthalpy - 298.15 * entropy) * JOULE
    assert found.gibbs_barrier == pytest.approx(barrier, abs=1e-6)
    expected = math.log(constants.k * 298.15 / constants.h) - barrier / (units.kB * 298.15)
    assert found.log_rate == pytest.approx(expected, abs=1e-4)
    assert found.log_equilibrium_constant == 0
    assert found.log_eckart is not None


@pytest.mark.parametrize("points", [POINTS, BIMOLECULAR])
@pytest.mark.parametrize("temperature", [200.0, 298.15, 1500.0])
def test_both_rate_constants_give_the_equilibrium(
    points: ReactionPoints, temperature: float
) -> None:
    found = kinetics(points, temperature)
    ratio = found.log_rate - found.log_reverse_rate
    assert ratio == pytest.approx(found.log_equilibrium_constant, rel=1e-13, abs=1e-13)
    back = kinetics(ReactionPoints(points.products, points.saddle, points.reactants), temperature)
    assert back.log_rate == found.log_reverse_rate
    assert back.log_eckart == pytest.approx(found.log_eckart, rel=1e-9)


def test_rate_constants_do_not_depend_on_the_standard_state() -> None:
    first = kinetics(BIMOLECULAR, 300)
    other = kinetics(BIMOLECULAR, 300, Assumptions(pressure=2e6, concentration=0.01))
    assert other.log_rate == pytest.approx(first.log_rate, rel=1e-12)
    assert other.log_equilibrium_constant == pytest.approx(first.log_equilibrium_constant)
    assert other.gibbs_barrier != pytest.approx(first.gibbs_barrier, abs=1e-3)


def test_units_by_molecularity() -> None:
    """At 1 mol/L Eyring's equation has no factor; 1 L/mol is 1000/N_A cm³ per molecule."""
    found = kinetics(BIMOLECULAR, 298.15)
    thermal = units.kB * 298.15
    expected = math.log(constants.k * 298.15 / constants.h) - (
        found.gibbs_barrier_at_concentration / thermal
    )
    assert found.log_rate == pytest.approx(expected, abs=1e-6)
    # RT ln(24.465), kcal/mol: from 1 atm to 1 mol/L for one molecule less.
    gain = (found.gibbs_barrier - found.gibbs_barrier_at_concentration) / KCAL_PER_MOL
    assert gain == pytest.approx(1.894, abs=1e-3)
    assert pytest.approx(1.66054e-21, rel=1e-5) == CM3_PER_MOLECULE
    assert (rate_unit(1), rate_unit(2), rate_unit(3)) == (
        "s⁻¹",
        "L mol⁻¹ s⁻¹",
        "L² mol⁻² s⁻¹",
    )


def test_collisions_of_two_atoms() -> None:
    """TST of atoms that meet at a distance d is gas kinetics: k = π d² (8 kT/πμ)^½."""
    distance, temperature = 2.0, 400.0
    one, two = alone("He", [[0, 0, 0]], 0, 0.0), alone("Ar", [[0, 0, 0]], 0, 0.0)
    atoms = Atoms("HeAr", [[0, 0, 0], [distance, 0, 0]])
    meeting = StationaryPoint(atoms, springs(atoms, {(0, 1): -1.0}), 0.0)
    found = kinetics(ReactionPoints((one, two), meeting, (one, two)), temperature)
    masses = atoms.get_masses() * constants.atomic_mass
    reduced = masses.prod() / masses.sum()
    speed = math.sqrt(8 * constants.k * temperature / (math.pi * reduced))
    expected = math.pi * (distance * 1e-10) ** 2 * speed * 1e6  # cm³ per molecule and second
    assert math.exp(found.log_rate) * CM3_PER_MOLECULE == pytest.approx(expected, rel=1e-4)
    assert "above both sides" in found.no_eckart


def test_equal_molecules_count_as_often_as_they_are_there() -> None:
    twice = dataclasses.replace(PARTS[1], count=2)
    pair = ReactionPoints((PARTS[1], PARTS[1]), SADDLE, (PRODUCT,))
    together = kinetics(ReactionPoints((twice,), SADDLE, (PRODUCT,)), 300)
    assert together.log_rate == pytest.approx(kinetics(pair, 300).log_rate, rel=1e-13)
    assert together.reactants.molecules == 2


def test_eckart_counts_from_zero_point_energies() -> None:
    from horm_calc.chemistry.tunnelling import log_eckart

    found = kinetics(POINTS, 300)
    half = 0.5 * units.invcm
    grounds = [
        point.energy + half * point.modes.frequencies[point.modes.frequencies > 0].sum()
        for point in (SADDLE, REACTANT, PRODUCT)
    ]
    heights = grounds[0] - grounds[1], grounds[0] - grounds[2]
    expected = log_eckart(*heights, SADDLE.modes.frequencies[0], 300)
    assert found.log_eckart == pytest.approx(expected, rel=1e-9)
    steps = kinetics(dataclasses.replace(POINTS, direct=False), 300)
    assert steps.log_eckart is None
    assert "intermediate" in steps.no_eckart


def test_what_is_no_transition_state_is_refused() -> None:
    with pytest.raises(ThermochemistryError, match="order 1 needs 1 imaginary"):
        kinetics(ReactionPoints((REACTANT,), PRODUCT, (PRODUCT,)), 300)
    with pytest.raises(ThermochemistryError, match="order 0 needs 0 imaginary"):
        kinetics(ReactionPoints((SADDLE,), SADDLE, (PRODUCT,)), 300)
    with pytest.raises(ThermochemistryError, match="concentration"):
        kinetics(POINTS, 300, Assumptions(concentration=-1))
    with pytest.raises(ThermochemistryError, match="temperature"):
        kinetics(POINTS, 0)


# --- isotope effects

DEUTERIUM = 2.014102


def deuterated(point: StationaryPoint) -> StationaryPoint:
    masses = point.atoms.get_masses()
    masses[point.atoms.symbols == "H"] = DEUTERIUM
    return point.with_masses(masses)


def heavy(points: ReactionPoints) -> ReactionPoints:
    return ReactionPoints(
        tuple(map(deuterated, points.reactants)),
        deuterated(points.saddle),
        tuple(map(deuterated, points.products)),
    )


def effect_at(temperature: float, points: ReactionPoints = POINTS) -> IsotopeEffect:
    return isotope_effect(
        kinetics(points, temperature, RRHO), kinetics(heavy(points), temperature, RRHO)
    )


@pytest.mark.parametrize("point", [REACTANT, PRODUCT])
def test_product_rule_of_teller_and_redlich(point: StationaryPoint) -> None:
    """O. Redlich, Z. Phys. Chem. B 1935, 28, 371: the masses alone give the product of ν'/ν."""
    other = deuterated(point)
    rigid = 1.0
    for one, sign in ((other, 1), (point, -1)):
        masses = one.atoms.get_masses()
        moments = one.atoms.get_moments_of_inertia()
        rigid *= (masses.sum() ** 1.5 * moments.prod() ** 0.5 / masses.prod() ** 1.5) ** sign
    ratio = np.prod(other.modes.frequencies / point.modes.frequencies)
    assert ratio == pytest.approx(rigid, rel=1e-9)


@pytest.mark.parametrize("temperature", [250.0, 400.0])
@pytest.mark.parametrize("points", [POINTS, BIMOLECULAR])
def test_bigeleisen_and_mayer(points: ReactionPoints, temperature: float) -> None:
    """From frequencies alone: masses and moments of inertia drop out by the product rule."""

    def reduced(light: StationaryPoint, other: StationaryPoint) -> float:
        """(s/s') f of J. Chem. Phys. 1947, 15, 261, of the real frequencies."""
        pairs = zip(light.modes.frequencies, other.modes.frequencies, strict=True)
        found = 1.0
        for nu in pairs:
            if min(nu) > 0:
                u, v = (one * units.invcm / (units.kB * temperature) for one in nu)
                found *= (v / u) * math.sinh(u / 2) / math.sinh(v / 2)
        return found

    other = heavy(points)
    expected = points.saddle.modes.frequencies[0] / other.saddle.modes.frequencies[0]
    for one, two in zip(points.reactants, other.reactants, strict=True):
        expected *= reduced(one, two)
    expected /= reduced(points.saddle, other.saddle)
    found = effect_at(temperature, points)
    assert found.semiclassical == pytest.approx(expected, rel=1e-9)
    assert found.semiclassical > 1.5
    assert found.symmetry_factor == 1


def test_hot_isotope_effect_is_the_ratio_of_imaginary_frequencies() -> None:
    """J. Bigeleisen, J. Chem. Phys. 1949, 17, 675."""
    ratio = SADDLE.modes.frequencies[0] / deuterated(SADDLE).modes.frequencies[0]
    found = effect_at(1e6)
    assert ratio > 1.1
    assert found.semiclassical == pytest.approx(ratio, rel=1e-4)
    assert found.eckart == pytest.approx(ratio, rel=1e-4)


def test_tunnelling_adds_to_the_isotope_effect() -> None:
    found = effect_at(300)
    assert found.eckart is not None
    assert found.semiclassical < found.wigner < found.eckart


def test_the_same_masses_have_no_effect() -> None:
    one = kinetics(POINTS, 300)
    assert isotope_effect(one, kinetics(POINTS, 300)) == IsotopeEffect(1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ThermochemistryError, match="one temperature"):
        isotope_effect(one, kinetics(POINTS, 301))


def test_symmetry_numbers_are_told_apart() -> None:
    """Water loses its axis with one deuterium: a factor of two that counts positions."""
    water = triatomic("HOH", (40.0, 40.0, 3.0))
    water.atoms.positions[2] *= 1 / 1.3
    water = StationaryPoint(
        water.atoms, springs(water.atoms, {(0, 1): 40, (1, 2): 40, (0, 2): 3}), 0.0
    )
    saddle = triatomic("HOH", (15.0, 20.0, -4.0), energy=0.9, angle=60.0)
    masses = np.array([DEUTERIUM, 15.999, 1.008])
    points = ReactionPoints((water,), saddle, (water,))
    half = ReactionPoints(
        (water.with_masses(masses),), saddle.with_masses(masses), (water.with_masses(masses),)
    )
    found = isotope_effect(kinetics(points, 300, RRHO), kinetics(half, 300, RRHO))
    assert found.symmetry_factor == 2


# --- Arrhenius

WARM = list(range(250, 501, 25))


def test_fits_find_what_they_are_made_of() -> None:
    energy, exponent, prefactor = 0.8, 1.7, math.log(3e11)

    def log_k(temperature: float, power: float) -> float:
        return (
            prefactor + power * math.log(temperature / 298.15) - energy / (units.kB * temperature)
        )

    plain = arrhenius(WARM, [log_k(one, 0) for one in WARM])
    assert plain is not None
    assert plain.activation_energy == pytest.approx(energy, rel=1e-10)
    assert plain.log_prefactor == pytest.approx(prefactor, rel=1e-10)
    assert plain.exponent == 0
    modified = modified_arrhenius(WARM, [log_k(one, exponent) for one in WARM])
    assert modified is not None
    assert modified.exponent == pytest.approx(exponent, rel=1e-8)
    assert modified.activation_energy == pytest.approx(energy, rel=1e-8)
    assert modified.largest_deviation < 1e-9


def test_fits_that_cannot_be_made() -> None:
    assert arrhenius([300.0], [1.0]) is None
    assert arrhenius([300.0, 300.0], [1.0, 1.0]) is None
    assert modified_arrhenius([], []) is None
    assert modified_arrhenius([300, 310, 320, 330], [1, 2, 3, 4]) is None  # too narrow
    assert modified_arrhenius([300, 400, 600], [1, 2, 3]) is None


def test_eyring_has_the_activation_energy_of_its_enthalpy() -> None:
    """E = ΔH‡ + RT for one reacting molecule, by definition of both; with central differences."""
    at = [kinetics(POINTS, warm, RRHO) for warm in (299.9, 300.0, 300.1)]
    line = arrhenius([one.temperature for one in at], [one.log_rate for one in at])
    assert line is not None
    expected = at[1].enthalpy_barrier + units.kB * 300
    assert line.activation_energy == pytest.approx(expected, rel=1e-6)
