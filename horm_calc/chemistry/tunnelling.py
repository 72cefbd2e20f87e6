"""Tunnelling corrections of rate constants: factors for barriers in one dimension."""

from __future__ import annotations

import itertools

import numpy as np
from ase import units
from scipy.integrate import quad

from horm_calc.chemistry.symmetry import FloatArray
from horm_calc.chemistry.thermochemistry import ThermochemistryError

# The integral ends where exp(-E/kT) has fallen to exp(-60) of its value at the top of the barrier,
# far below the accuracy of a float.
_ABOVE = 60.0


def reduced_frequency(frequency: float, temperature: float) -> float:
    """The imaginary frequency in units of the thermal energy, u = h |ν| / (k T).

    Parameters
    ----------
    frequency
        Of the imaginary mode, cm^-1, of either sign.
    temperature
        K.

    Raises
    ------
    ThermochemistryError
        For a frequency of zero, and for a temperature that is not positive.
    """
    if not (np.isfinite(frequency) and frequency != 0 and 0 < temperature < np.inf):
        raise ThermochemistryError(
            f"tunnelling needs an imaginary mode and a temperature above zero, not "
            f"{frequency} cm^-1 and {temperature} K"
        )
    return abs(frequency) * units.invcm / (units.kB * temperature)


def wigner(frequency: float, temperature: float) -> float:
    """Wigner's factor, κ = 1 + u²/24 with u = h |ν| / (k T).

    The first term of an expansion in u: good to a few per cent where u is below 2, and of the right
    order of magnitude up to 2π.

    Parameters
    ----------
    frequency
        Of the imaginary mode, cm^-1, of either sign.
    temperature
        K.

    References
    ----------
    E. Wigner, Z. Phys. Chem. B 1932, 19, 203.
    """
    return 1 + reduced_frequency(frequency, temperature) ** 2 / 24


def log_eckart(forward: float, reverse: float, frequency: float, temperature: float) -> float:
    """Natural logarithm of Eckart's factor κ for an unsymmetrical barrier.

    The thermal average of the exact transmission P(E) through Eckart's barrier, divided by that of
    a classical particle,

        κ = exp(V₁/kT) ∫ P(E) exp(-E/kT) dE/kT   from E = max(0, V₁ - V₂) to infinity,

        P(E) = [cosh(A + B) - cosh(A - B)] / [cosh(A + B) + cosh D],

    with α₁ = 2π V₁/h|ν|, α₂ = 2π V₂/h|ν|, and

        A = 2 √(α₁ E/V₁) / (α₁^-½ + α₂^-½),   B = 2 √(α₁ E/V₁ - α₁ + α₂) / (α₁^-½ + α₂^-½),

        D = 2 √(α₁ α₂ - π²/4), where cosh D is cos|D| if the root is imaginary.

    The barrier has the heights V₁ and V₂ from its two sides and, for the mass of the mode, its
    curvature at the top. κ is the same in both directions. It is not restricted to small
    corrections, but knows nothing of paths that cut the corner. The integral is done numerically.

    Parameters
    ----------
    forward, reverse
        V₁ and V₂, eV: energies of the saddle above both sides, zero-point energies included.
    frequency
        Of the imaginary mode, cm^-1, of either sign.
    temperature
        K.

    Returns
    -------
    float
        ln κ, as κ itself can be too large for a float at low temperatures.

    Raises
    ------
    ThermochemistryError
        Where a side does not lie below the saddle: there is no such barrier.

    References
    ----------
    C. Eckart, Phys. Rev. 1930, 35, 1303; H. S. Johnston and J. Heicklen, J. Phys. Chem. 1962, 66,
    532, eqs. 8-13.
    """
    if not (0 < forward < np.inf and 0 < reverse < np.inf):
        raise ThermochemistryError(
            "Eckart's barrier needs a saddle above both sides, zero-point energies included; the "
            f"barriers are {forward:.4f} and {reverse:.4f} eV"
        )
    u = reduced_frequency(frequency, temperature)
    thermal = units.kB * temperature
    heights = forward / thermal, reverse / thermal
    bottom = min(heights)

    # E = V₁ - kT (bottom - s²): P rises as the root of the energy, and in s it is smooth.
    def log_integrand(s: FloatArray) -> FloatArray:
        above_top = s**2 - bottom
        return np.log(2 * s) + log_transmission(above_top, heights, u) - above_top

    end = float(np.sqrt(bottom + _ABOVE))
    grid = np.linspace(0, end, 2001)[1:]
    values = log_integrand(grid)
    peak, highest = float(grid[values.argmax()]), float(values.max())

    def integrand(s: float) -> float:
        return float(np.exp(log_integrand(np.asarray(s)) - highest)) if s > 0 else 0.0

    # P rises within some u of the top, then exp(-E/kT) falls: no step of the two is overlooked.
    near_top = bottom + np.array([-4 * u, -u, 0, u, 4 * u, 1, 5, 20])
    breaks = np.sqrt(near_top[(near_top > 0) & (near_top < bottom + _ABOVE)]).tolist()
    edges = sorted({0.0, peak, *breaks, end})
    area = sum(
        quad(integrand, left, right, limit=200, epsabs=1e-13, epsrel=1e-10)[0]
        for left, right in itertools.pairwise(edges)
    )
    return float(highest + np.log(area))


def log_transmission(above_top: FloatArray, heights: tuple[float, float], u: float) -> FloatArray:
    """Natural logarithm of the probability to pass Eckart's barrier; P(E) of `log_eckart`.

    Parameters
    ----------
    above_top
        Energy relative to the top of the barrier, in kT; not below the higher side.
    heights
        Of the barrier from both sides, in kT.
    u
        Its `reduced_frequency`.

    Returns
    -------
    ndarray
        Of the shape of `above_top`.
    """
    alphas = [2 * np.pi * height / u for height in heights]
    scale = 2 / sum(alpha**-0.5 for alpha in alphas)
    a, b = (
        scale * np.sqrt(2 * np.pi * np.maximum(above_top + height, 0) / u) for height in heights
    )
    square = 4 * alphas[0] * alphas[1] - np.pi**2
    # cosh(A + B) - cosh(A - B) = 2 sinh A sinh B. Both sides of the fraction are divided by
    # exp(A + B) / 2, as all of this is far too large for floats.
    numerator = np.log(-np.expm1(-2 * a)) + np.log(-np.expm1(-2 * b))
    total = a + b
    if square < 0:
        extra = 2 * np.cos(np.sqrt(-square)) * np.exp(-total)
        return np.asarray(numerator - np.log1p(np.exp(-2 * total) + extra))
    d = np.sqrt(square)
    extra = np.logaddexp(d - total, -d - total)
    return np.asarray(numerator - np.logaddexp(np.log1p(np.exp(-2 * total)), extra))
