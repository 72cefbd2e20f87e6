"""Kinetic isotope effects: one surface, two sets of masses."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from horm_calc.chemistry.kinetics import Kinetics
from horm_calc.chemistry.thermochemistry import ThermochemistryError


@dataclass(frozen=True)
class IsotopeEffect:
    """k_light / k_heavy of two isotopologues at one temperature.

    Attributes
    ----------
    semiclassical
        Without tunnelling.
    wigner, eckart
        With these corrections; eckart is None where one of the two has none.
    symmetry_factor
        What the change of symmetry numbers contributes to each of them. Divided by it, they are
        those of Bigeleisen and Mayer, which count one given position.
    """

    semiclassical: float
    wigner: float
    eckart: float | None
    symmetry_factor: float


def isotope_effect(light: Kinetics, heavy: Kinetics) -> IsotopeEffect:
    """The kinetic isotope effect of two isotopologues on the same surface.

    Parameters
    ----------
    light, heavy
        `kinetics` of the same points with other masses, at the same temperature.

    Raises
    ------
    ThermochemistryError
        For two temperatures.

    References
    ----------
    J. Bigeleisen and M. G. Mayer, J. Chem. Phys. 1947, 15, 261; J. Bigeleisen, J. Chem. Phys. 1949,
    17, 675.
    """
    if light.temperature != heavy.temperature:
        raise ThermochemistryError(
            f"an isotope effect has one temperature, not {light.temperature} and "
            f"{heavy.temperature} K"
        )
    plain = light.log_rate - heavy.log_rate
    eckart = None
    if light.log_eckart is not None and heavy.log_eckart is not None:
        eckart = _exp(plain + light.log_eckart - heavy.log_eckart)
    return IsotopeEffect(
        semiclassical=_exp(plain),
        wigner=_exp(plain + light.log_wigner - heavy.log_wigner),
        eckart=eckart,
        symmetry_factor=light.symmetry_factor / heavy.symmetry_factor,
    )


def _exp(value: float) -> float:
    try:
        return exp(value)
    except OverflowError:
        raise ThermochemistryError(
            f"an isotope effect of exp({value:.0f}) is too large for a number; "
            "the temperature is too low"
        ) from None
