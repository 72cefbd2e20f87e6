"""Normal modes and ideal-gas thermochemistry of a stationary point from its Hessian.

Masses are those of the Atoms object (``atoms.get_masses()``: the standard atomic weights of ASE
unless they were set). Conformers and optical isomers are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from ase import Atoms, units
from ase.thermochemistry import HarmonicMode, IdealGasThermo, RRHOMode
from numpy.typing import ArrayLike

from horm_calc.chemistry.symmetry import FloatArray, centred_positions, rigid_rotations, symmetry
from horm_calc.errors import HormError

# Softer imaginary modes (cm^-1) are numerical noise. The same limit as xtb's "imagthr".
IMAGINARY_THRESHOLD = 20.0

# Softer vibrations (cm^-1) have no restoring force, and without one the entropy is not finite.
_FLAT = 1e-3

# B_av of Grimme 2012, 1e-44 kg m^2, here in amu Å^2. ASE takes the mean moment of inertia of the
# molecule instead. The constant is what the paper and GoodVibes use, and a free rotor of the same
# frequency then has the same entropy in a reactant, its fragments and the transition state.
GRIMME_INERTIA = 1e-44 * units.kg * units.m**2

# sqrt(eV / (Å^2 amu)) as a wavenumber in cm^-1
_WAVENUMBER = units._hbar * units.m / np.sqrt(units._e * units._amu) / units.invcm

_TREATMENTS: dict[str, Callable[[float, float], HarmonicMode]] = {
    "rrho": lambda energy, cutoff: HarmonicMode(energy),
    "grimme": lambda energy, cutoff: RRHOMode(energy, mean_inertia=GRIMME_INERTIA, tau=cutoff),
    "truhlar": lambda energy, cutoff: HarmonicMode(max(energy, cutoff * units.invcm)),
}


class ThermochemistryError(HormError, ValueError):
    """The requested thermochemistry is not defined for this input; nothing was computed."""


@dataclass(frozen=True, eq=False)
class NormalModes:
    """Vibrations of N atoms: M = 3N-6 of them, 3N-5 if linear, none for a single atom.

    Attributes
    ----------
    frequencies
        (M,) cm^-1, ascending, imaginary ones as negative numbers.
    displacements
        (M, N, 3) Cartesian (not mass-weighted), each mode of unit norm.
    reduced_masses
        (M,) amu, in the convention of Gaussian that belongs to these unit vectors (not the
        m1 m2 / (m1 + m2) of a heteronuclear diatomic).
    linear
        Whether the molecule is linear (False for a single atom).
    """

    frequencies: FloatArray
    displacements: FloatArray
    reduced_masses: FloatArray
    linear: bool

    def imaginary_frequencies(self, threshold: float = 0.0) -> FloatArray:
        """Frequencies below -threshold (cm^-1), ascending."""
        return self.frequencies[self.frequencies < -threshold]


def internal_directions(atoms: Atoms, *, weighted: bool = True) -> FloatArray:
    """Mass-weighted displacements without translation and rotation, (3N, 3N - 6), orthonormal.

    3N - 5 of a linear molecule; see `rigid_rotations` for what counts as one. Cartesian
    displacements, all masses equal, where they are not to be `weighted`.
    """
    masses = atoms.get_masses()
    rotations = rigid_rotations(centred_positions(atoms), masses)
    rigid = np.concatenate([np.tile(np.eye(3), len(atoms)), rotations.reshape(-1, 3 * len(atoms))])
    weights = np.sqrt(np.repeat(masses, 3)) if weighted else np.ones(3 * len(atoms))
    basis, _, _ = np.linalg.svd((rigid * weights).T)
    return np.asarray(basis[:, len(rigid) :])


def normal_modes(atoms: Atoms, hessian: ArrayLike) -> NormalModes:
    """Vibrations in the space orthogonal to translation and rotation.

    The six or fewer rigid-body directions are projected out of the mass-weighted Hessian.

    Parameters
    ----------
    atoms
        N atoms, positions in Å; the masses are theirs, amu.
    hessian
        (3N, 3N), eV/Å^2, atom-major; its antisymmetric part is dropped.

    Returns
    -------
    NormalModes
        Frequencies in cm^-1.

    Raises
    ------
    ValueError
        For a Hessian of another shape and for NaN or infinite numbers.

    References
    ----------
    Wilson, Decius and Cross, Molecular Vibrations, ch. 2; J. W. Ochterski, Vibrational Analysis in
    Gaussian, 1999.
    """
    second = np.asarray(hessian, dtype=float)
    size = 3 * len(atoms)
    if size == 0 or second.shape != (size, size):
        raise ValueError(
            f"the Hessian of {len(atoms)} atoms must be {size} x {size}, not {second.shape}"
        )
    if not (np.isfinite(second).all() and np.isfinite(atoms.positions).all()):
        raise ValueError("the Hessian or the geometry contains NaN or infinite numbers")
    root_mass = np.sqrt(np.repeat(atoms.get_masses(), 3))
    internal = internal_directions(atoms)
    weighted = 0.5 * (second + second.T) / np.outer(root_mass, root_mass)
    squares, vectors = np.linalg.eigh(internal.T @ weighted @ internal)
    cartesian = (internal @ vectors).T / root_mass
    norms = np.linalg.norm(cartesian, axis=1)
    return NormalModes(
        frequencies=_WAVENUMBER * np.sign(squares) * np.sqrt(np.abs(squares)),
        displacements=(cartesian / norms[:, None]).reshape(-1, len(atoms), 3),
        reduced_masses=norms**-2,
        linear=size - internal.shape[1] == 5,  # three translations and two rotations
    )


@dataclass(frozen=True)
class Thermochemistry:
    """Ideal-gas functions of one stationary point, with everything that was assumed for them.

    Attributes
    ----------
    energy, zero_point_energy, enthalpy, gibbs
        eV; enthalpy and gibbs include the energy.
    entropy
        eV/K.
    temperature
        K.
    pressure
        Pa.
    symmetry_number
        As used.
    point_group
        As detected.
    multiplicity
        2S + 1.
    treatment
        "rrho", "grimme" or "truhlar", see `thermochemistry`.
    cutoff
        cm^-1.
    linear
        Whether the molecule is linear.
    modes_used
        Number of vibrations in the partition function.
    modes_adjusted
        Frequencies (cm^-1) not taken as they are: those below the cut-off of a quasi-RRHO
        treatment, and imaginary ones small enough to be noise (negative numbers).
    modes_left_out
        Frequencies (cm^-1) of the reaction coordinate.
    """

    energy: float
    zero_point_energy: float
    enthalpy: float
    entropy: float
    gibbs: float
    temperature: float
    pressure: float
    symmetry_number: int
    point_group: str
    multiplicity: int
    treatment: str
    cutoff: float
    linear: bool
    modes_used: int
    modes_adjusted: tuple[float, ...]
    modes_left_out: tuple[float, ...]

    @property
    def gibbs_1_mol_per_l(self) -> float:
        """Gibbs energy (eV) of the ideal gas at a concentration of 1 mol/L."""
        per_volume = 1000 * units._Nav * units._k * self.temperature  # Pa
        return self.gibbs + units.kB * self.temperature * float(np.log(per_volume / self.pressure))

    def assumptions(self) -> str:
        """One line that names every choice behind the numbers."""
        cutoff = "" if self.treatment == "rrho" else f" with cut-off {self.cutoff:g} cm^-1"
        noisy = any(frequency < 0 for frequency in self.modes_adjusted)
        noise = " (negative: imaginary noise, taken as real)" if noisy else ""
        return (
            f"T = {self.temperature:g} K, p = {self.pressure:g} Pa, "
            f"symmetry number {self.symmetry_number} (point group {self.point_group}), "
            f"multiplicity {self.multiplicity}, {self.treatment}{cutoff}, "
            f"{self.modes_used} vibrations, adjusted: {_listed(self.modes_adjusted)}{noise}, "
            f"left out: {_listed(self.modes_left_out)}"
        )


def thermochemistry(
    atoms: Atoms,
    modes: NormalModes,
    energy: float,
    *,
    order: int = 0,
    temperature: float = 298.15,
    pressure: float = 101325.0,
    multiplicity: int = 1,
    symmetry_number: int | None = None,
    treatment: str = "grimme",
    cutoff: float = 100.0,
    imaginary_threshold: float = IMAGINARY_THRESHOLD,
) -> Thermochemistry:
    """Enthalpy, entropy and Gibbs energy as ideal gas, rigid rotor and (quasi-)harmonic oscillator.

    A mode is imaginary below -imaginary_threshold. Softer negative ones are the noise of forces and
    Hessian and count as real with their absolute value; modes_adjusted lists them.

    Parameters
    ----------
    atoms
        A molecule, positions in Å.
    modes
        Its own, as `normal_modes` gives them.
    energy
        Electronic energy, eV.
    order
        Number of imaginary modes the point must have (0 minimum, 1 transition state), all of which
        are left out as reaction coordinates.
    temperature
        K.
    pressure
        Pa.
    multiplicity
        2S + 1.
    symmetry_number
        Detected if None.
    treatment
        "rrho": every mode harmonic. "grimme": entropy interpolated to that of a free rotor below
        the cut-off; zero-point and thermal energy harmonic. "truhlar": frequencies below the
        cut-off raised to it, in the whole partition function, zero-point energy included, so that
        S = -dG/dT. (GoodVibes raises them in the entropy alone; the enthalpies differ by at most
        0.02 kT per mode for a cut-off of 100 cm^-1 at 298 K.)
    cutoff, imaginary_threshold
        cm^-1.

    Returns
    -------
    Thermochemistry
        Energies in eV, the entropy in eV/K.

    Raises
    ------
    ThermochemistryError
        If the number of imaginary modes is not the order, if a mode has no restoring force, or for
        conditions without meaning.

    References
    ----------
    "grimme": S. Grimme, Chem. Eur. J. 2012, 18, 9955, eqs. 3-8. "truhlar": R. F. Ribeiro et al.,
    J. Phys. Chem. B 2011, 115, 14556.
    """
    if treatment not in _TREATMENTS:
        raise ThermochemistryError(f"treatment {treatment!r} is not one of {list(_TREATMENTS)}")
    if not np.isfinite(energy):
        raise ThermochemistryError(f"the energy is {energy}")
    _require_positive(
        temperature=temperature, pressure=pressure, multiplicity=multiplicity, cutoff=cutoff
    )
    if atoms.pbc.any() or modes.displacements.shape[1:] != (len(atoms), 3):
        raise ThermochemistryError("need a molecule, not a periodic system, and its own modes")
    left_out, kept = _split(modes.frequencies, order, imaginary_threshold)
    vibrations = [_TREATMENTS[treatment](abs(nu) * units.invcm, cutoff) for nu in kept.tolist()]
    if any(mode.energy < _FLAT * units.invcm for mode in vibrations):
        raise ThermochemistryError(f"a mode without restoring force: {_listed(kept)}")
    softest = 0.0 if treatment == "rrho" else cutoff
    point_group, detected = symmetry(atoms)
    sigma = detected if symmetry_number is None else symmetry_number
    _require_positive(symmetry_number=sigma)
    gas = _ideal_gas(atoms, sigma, multiplicity, linear=modes.linear)
    zero_point = sum(mode.get_ZPE_correction() for mode in vibrations)
    with np.errstate(over="ignore"):  # exp(h nu / kT) of a mode frozen out at low temperature
        thermal = sum(mode.get_vib_energy_contribution(temperature) for mode in vibrations)
        disorder = [mode.get_entropy(temperature, contributions=False) for mode in vibrations]
    enthalpy = energy + zero_point + thermal + gas.get_enthalpy(temperature, verbose=False)
    vibrational = sum(cast(list[float], disorder))
    entropy = vibrational + gas.get_entropy(temperature, pressure, verbose=False)
    return Thermochemistry(
        energy=float(energy),
        zero_point_energy=float(zero_point),
        enthalpy=float(enthalpy),
        entropy=float(entropy),
        gibbs=float(enthalpy - temperature * entropy),
        temperature=temperature,
        pressure=pressure,
        symmetry_number=sigma,
        point_group=point_group,
        multiplicity=multiplicity,
        treatment=treatment,
        cutoff=cutoff,
        linear=modes.linear,
        modes_used=len(kept),
        modes_adjusted=tuple(kept[kept < softest].tolist()),
        modes_left_out=tuple(left_out.tolist()),
    )


def _ideal_gas(atoms: Atoms, sigma: int, multiplicity: int, *, linear: bool) -> IdealGasThermo:
    """Translation, rotation and spin; no vibrations, as ASE 3.29 ignores the modes it is given."""
    geometry: Literal["monatomic", "linear", "nonlinear"]
    geometry = "monatomic" if len(atoms) == 1 else "linear" if linear else "nonlinear"
    spin = (multiplicity - 1) / 2
    return IdealGasThermo(
        [], geometry, atoms=atoms, symmetrynumber=sigma, spin=spin, vib_selection="all"
    )


def _require_positive(**conditions: float) -> None:
    """Raise ThermochemistryError for conditions that are not positive, finite numbers."""
    for name, value in conditions.items():
        if not 0 < value < np.inf:
            raise ThermochemistryError(f"{name} must be positive and finite, not {value}")


def _split(frequencies: FloatArray, order: int, threshold: float) -> tuple[FloatArray, FloatArray]:
    """The imaginary frequencies and the others, if there are as many imaginary ones as asked."""
    imaginary = frequencies < -threshold
    if imaginary.sum() != order:
        raise ThermochemistryError(
            f"a stationary point of order {order} needs {order} imaginary modes below "
            f"-{threshold:g} cm^-1, this one has {imaginary.sum()}; "
            f"lowest frequencies: {_listed(frequencies[: order + 3])}"
        )
    return frequencies[imaginary], frequencies[~imaginary]


def _listed(frequencies: ArrayLike) -> str:
    """Frequencies (cm^-1) for a message."""
    values = np.asarray(frequencies, dtype=float)
    return ", ".join(f"{value:.1f}" for value in values) + " cm^-1" if values.size else "none"
