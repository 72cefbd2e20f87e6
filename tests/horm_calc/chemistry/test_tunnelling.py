"""Tunnelling factors against published tables, closed formulas and another program."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import units
from scipy import constants

from horm_calc.chemistry.thermochemistry import ThermochemistryError
from horm_calc.chemistry.tunnelling import (
    log_eckart,
    log_transmission,
    reduced_frequency,
    wigner,
)

#: H. S. Johnston and J. Heicklen, J. Phys. Chem. 1962, 66, 532, table 1: κ by α₁, α₂ and u.
PUBLISHED = {
    (0.5, 20): {2: 0.93, 6: 1.00, 10: 1.19, 16: 1.64},
    (1, 1): {4: 1.62, 8: 2.72, 12: 4.68, 16: 8.19},
    (1, 8): {4: 1.26, 8: 1.92, 16: 5.25},
    (2, 2): {2: 1.32, 4: 1.91, 6: 2.90, 8: 4.55, 10: 7.34, 12: 12.1, 16: 34.0},
    (2, 20): {2: 1.12, 4: 1.47, 8: 3.18, 12: 8.22, 16: 23.3},
    (4, 4): {2: 1.30, 4: 2.02, 6: 3.69, 8: 7.60, 10: 17.3, 12: 42.4, 16: 304},
    (4, 8): {3: 1.51, 5: 2.56, 8: 7.57, 12: 46.7, 16: 376},
    (8, 8): {3: 1.56, 5: 2.94, 8: 13.8, 10: 57.0, 12: 307},
    (8, 20): {3: 1.51, 5: 2.90, 8: 15.5, 12: 474},
    (12, 20): {3: 1.5, 5: 3.1, 8: 26, 10: 246, 12: 3920},
    (20, 20): {8: 46, 10: 1150},
}


def eckart_of(alphas: tuple[float, float], u: float, temperature: float = 300.0) -> float:
    thermal = units.kB * temperature
    heights = [alpha * u * thermal / (2 * math.pi) for alpha in alphas]
    return math.exp(log_eckart(*heights, u * thermal / units.invcm, temperature))


@pytest.mark.parametrize("alphas", PUBLISHED)
def test_eckart_is_that_of_johnston_and_heicklen(alphas: tuple[float, float]) -> None:
    """A selection. They print two or three digits, of which the last one is uncertain.

    So for α₁ = α₂ = 20 they have 3.2 at u = 5, where it is 3.32.
    """
    for u, kappa in PUBLISHED[alphas].items():
        assert eckart_of(alphas, u) == pytest.approx(kappa, rel=0.015), u


@pytest.mark.slow  # its import
def test_eckart_agrees_with_pysisyphus() -> None:
    """Its quadrature after Brown (J. Res. NBS 1981, 86, 357) is good to 1% in its range."""
    from pysisyphus.drivers.rates import tunl

    for alphas in ((1.0, 3.0), (4.0, 9.0), (10.0, 15.0)):
        for u in (1.0, 3.0, 6.0, 9.0):
            assert eckart_of(alphas, u) == pytest.approx(tunl(*alphas, u), rel=0.01)


def test_transmission_through_the_symmetrical_barrier() -> None:
    """V/cosh²(x/L) in closed form: Landau and Lifshitz, Quantum Mechanics, § 25, problem 4."""
    mass, height, length = 1.008 * constants.atomic_mass, 0.3 * constants.e, 0.25e-10
    hbar, thermal = constants.hbar, constants.k * 300
    omega = math.sqrt(2 * height / mass) / length  # of the top, from V'' = -2 V / L²
    for energy in np.array([0.01, 0.3, 0.8, 1.0, 1.5]) * height:
        wave = math.sqrt(2 * mass * energy) / hbar
        sinh = math.sinh(math.pi * wave * length) ** 2
        root = 8 * mass * height * length**2 / hbar**2 - 1
        expected = sinh / (sinh + math.cosh(math.pi / 2 * math.sqrt(root)) ** 2)
        v = height / thermal
        found = log_transmission(
            np.array((energy - height) / thermal), (v, v), hbar * omega / thermal
        )
        assert math.exp(float(found)) == pytest.approx(expected, rel=1e-9)


def test_eckart_goes_to_one_when_it_is_hot() -> None:
    assert math.exp(log_eckart(0.8, 1.1, 1500, 1e6)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("frequency", [10.0, 100.0, 200.0])
def test_eckart_begins_as_wigner_under_a_high_barrier(frequency: float) -> None:
    """A high barrier is a parabola, u/2 / sin(u/2), of which Wigner is the first term."""
    u = reduced_frequency(frequency, 300)
    gain = math.exp(log_eckart(30, 30, frequency, 300)) - 1
    flat = units.kB * 300 / 30  # how far the barrier is from a parabola
    assert gain == pytest.approx(u / 2 / math.sin(u / 2) - 1, rel=2 * flat)
    # The next term of the sine's expansion is 7 u⁴/5760.
    assert gain == pytest.approx(wigner(frequency, 300) - 1, rel=2 * flat + u**2 / 30)


def test_eckart_is_the_same_in_both_directions_and_rises_as_it_gets_cold() -> None:
    found = [log_eckart(0.5, 0.9, 1500, warm) for warm in (500, 300, 200, 100, 20, 5)]
    assert found == sorted(found)
    back = [log_eckart(0.9, 0.5, 1500, warm) for warm in (500, 300, 200, 100, 20, 5)]
    assert found == pytest.approx(back, rel=1e-9)
    assert found[-1] > 709  # κ itself is no float any more


def test_wigner_by_hand() -> None:
    """1000 cm⁻¹ are 1438.777 K (second radiation constant): u = 4.8257 at 298.15 K."""
    u = 1438.777 / 298.15
    assert reduced_frequency(-1000, 298.15) == pytest.approx(u, rel=1e-6)
    assert wigner(-1000, 298.15) == pytest.approx(1 + u**2 / 24, rel=1e-6)
    assert wigner(1000, 298.15) == wigner(-1000, 298.15)


@pytest.mark.parametrize("heights", [(-0.1, 0.5), (0.5, 0.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_no_barrier_no_eckart(heights: tuple[float, float]) -> None:
    with pytest.raises(ThermochemistryError, match="a saddle above both sides"):
        log_eckart(*heights, 1000, 300)


@pytest.mark.parametrize(("frequency", "temperature"), [(0, 300), (1000, 0), (math.nan, 300)])
def test_no_mode_no_tunnelling(frequency: float, temperature: float) -> None:
    with pytest.raises(ThermochemistryError, match="needs an imaginary mode"):
        wigner(frequency, temperature)
