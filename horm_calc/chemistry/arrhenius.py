"""Arrhenius equations fitted to rate constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

#: T₀ of the modified equation, K.
REFERENCE_TEMPERATURE = 298.15

# Over a narrower range of temperatures (highest over lowest) ln T is nearly a straight line in 1/T,
# and the exponent cannot be told from the energy.
_WIDE = 1.5


@dataclass(frozen=True)
class ArrheniusFit:
    """k = A (T/T₀)^n exp(-E/kT) with T₀ = 298.15 K; n is 0 in Arrhenius's own equation.

    Attributes
    ----------
    log_prefactor
        ln A, A in the unit of the rate constant.
    activation_energy
        E, eV.
    exponent
        n.
    largest_deviation
        Of ln k from the fit.
    """

    log_prefactor: float
    activation_energy: float
    exponent: float
    largest_deviation: float


def arrhenius(temperatures: Sequence[float], log_rates: Sequence[float]) -> ArrheniusFit | None:
    """The straight line of ln k against 1/T, by least squares; None below two temperatures.

    Parameters
    ----------
    temperatures
        K.
    log_rates
        ln k at each.
    """
    return _fit(temperatures, log_rates, least=2, powers=False)


def modified_arrhenius(
    temperatures: Sequence[float], log_rates: Sequence[float]
) -> ArrheniusFit | None:
    """The same with the factor (T/T₀)^n.

    None below four temperatures, and where the highest is less than 1.5 times the lowest: exponent
    and energy could not be told apart.

    Parameters
    ----------
    temperatures
        K.
    log_rates
        ln k at each.
    """
    if not temperatures or max(temperatures) < _WIDE * min(temperatures):
        return None
    return _fit(temperatures, log_rates, least=4, powers=True)


def _fit(
    temperatures: Sequence[float], log_rates: Sequence[float], *, least: int, powers: bool
) -> ArrheniusFit | None:
    t, values = np.asarray(temperatures, dtype=float), np.asarray(log_rates, dtype=float)
    if len(set(t.tolist())) < least:
        return None
    columns = [np.ones_like(t), REFERENCE_TEMPERATURE / t]
    if powers:
        columns.append(np.log(t / REFERENCE_TEMPERATURE))
    basis = np.stack(columns, axis=1)
    found, *_ = np.linalg.lstsq(basis, values, rcond=None)
    return ArrheniusFit(
        log_prefactor=float(found[0]),
        activation_energy=float(-found[1] * units.kB * REFERENCE_TEMPERATURE),
        exponent=float(found[2]) if powers else 0.0,
        largest_deviation=float(np.abs(basis @ found - values).max()),
    )
