"""Rate constants and equilibrium constants by transition-state theory.

All from stationary points and their Hessians, as ideal gases. Rate constants are kept as natural
logarithms, because those of high barriers at low temperatures are too small for floats. Their unit
is s^-1 for one reacting molecule and (L/mol)^(m-1) s^-1 for m of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike

from horm_calc.chemistry.symmetry import FloatArray
from horm_calc.chemistry.thermochemistry import (
    IMAGINARY_THRESHOLD,
    NormalModes,
    Thermochemistry,
    ThermochemistryError,
    normal_modes,
    thermochemistry,
)
from horm_calc.chemistry.tunnelling import log_eckart, wigner

#: cm^3/molecule in 1 L/mol.
CM3_PER_MOLECULE = 1000 / units._Nav

# k in eV/K over h in eV s: the Eyring prefactor per kelvin, 1/(K s).
_EYRING = units._k / units._hplanck


@dataclass(frozen=True)
class Assumptions:
    """What free energies assume; see `thermochemistry`.

    Attributes
    ----------
    treatment
        "rrho", "grimme" or "truhlar".
    pressure
        Of the standard state, Pa.
    concentration
        Of the other standard state, mol/L.
    cutoff, imaginary_threshold
        cm^-1.
    """

    treatment: str = "grimme"
    pressure: float = 101325.0
    concentration: float = 1.0
    cutoff: float = 100.0
    imaginary_threshold: float = IMAGINARY_THRESHOLD


@dataclass(frozen=True, eq=False)
class StationaryPoint:
    """A minimum or a transition state of one molecule, or of `count` equal ones.

    Attributes
    ----------
    atoms
        N atoms, positions in Å; the masses are theirs, amu.
    hessian
        (3N, 3N), eV/Å^2, atom-major.
    energy
        Electronic energy of one molecule, eV.
    multiplicity
        2S + 1.
    count
        How many of these molecules there are.
    """

    atoms: Atoms
    hessian: FloatArray
    energy: float
    multiplicity: int = 1
    count: int = 1

    @cached_property
    def modes(self) -> NormalModes:
        """Frequencies and displacements under the masses of the atoms."""
        return normal_modes(self.atoms, self.hessian)

    def with_masses(self, masses: ArrayLike) -> StationaryPoint:
        """Another isotopologue: the same surface, other masses (N,), amu."""
        atoms = self.atoms.copy()
        atoms.set_masses(np.asarray(masses, dtype=float))
        return dataclasses.replace(self, atoms=atoms)


@dataclass(frozen=True, eq=False)
class ReactionPoints:
    """The molecules on both sides of a transition state.

    Attributes
    ----------
    reactants, products
        Each molecule that moves by itself is a point of its own: two for a bimolecular reaction.
    saddle
        The transition state.
    direct
        Whether no intermediate lies between the saddle and the two sides. If one does, there is no
        Eckart correction: its barrier would have other sides.
    """

    reactants: tuple[StationaryPoint, ...]
    saddle: StationaryPoint
    products: tuple[StationaryPoint, ...]
    direct: bool = True


@dataclass(frozen=True, kw_only=True)
class Side:
    """Reactants or products at one temperature: sums over all their molecules.

    Attributes
    ----------
    molecules
        How many there are.
    energy, zero_point_energy, enthalpy, gibbs
        eV; enthalpy and gibbs include the electronic energy, gibbs is at the pressure.
    entropy
        eV/K, at the pressure.
    symmetry_number
        Product of those of all molecules.
    parts
        Of each kind of molecule, with how many there are of it.
    """

    molecules: int
    energy: float
    zero_point_energy: float
    enthalpy: float
    entropy: float
    gibbs: float
    symmetry_number: int
    parts: tuple[tuple[Thermochemistry, int], ...]


@dataclass(frozen=True, kw_only=True)
class Kinetics:
    """A reaction at one temperature.

    Attributes
    ----------
    temperature
        K.
    reactants, saddle, products
        Their thermochemistry.
    pressure, concentration
        Of the two standard states, Pa and mol/L.
    imaginary_frequency
        Of the saddle, cm^-1, negative.
    log_wigner, log_eckart
        Natural logarithms of the tunnelling factors; log_eckart is None where `no_eckart` says why.
    no_eckart
        Empty where there is an Eckart factor.
    """

    temperature: float
    reactants: Side
    saddle: Side
    products: Side
    pressure: float
    concentration: float
    imaginary_frequency: float
    log_wigner: float
    log_eckart: float | None
    no_eckart: str = ""

    @property
    def enthalpy_barrier(self) -> float:
        """ΔH‡ from the reactants, eV."""
        return self.saddle.enthalpy - self.reactants.enthalpy

    @property
    def gibbs_barrier(self) -> float:
        """ΔG‡ from the reactants at the pressure, eV."""
        return self.saddle.gibbs - self.reactants.gibbs

    @property
    def reverse_gibbs_barrier(self) -> float:
        """ΔG‡ from the products at the pressure, eV."""
        return self.saddle.gibbs - self.products.gibbs

    @property
    def gibbs_barrier_at_concentration(self) -> float:
        """ΔG‡ from the reactants at the concentration, eV."""
        return self.gibbs_barrier + self._compressed(1 - self.reactants.molecules)

    @property
    def reaction_enthalpy(self) -> float:
        """ΔH of the reaction, eV."""
        return self.products.enthalpy - self.reactants.enthalpy

    @property
    def reaction_gibbs(self) -> float:
        """ΔG of the reaction at the pressure, eV."""
        return self.products.gibbs - self.reactants.gibbs

    @property
    def reaction_gibbs_at_concentration(self) -> float:
        """ΔG of the reaction at the concentration, eV."""
        return self.reaction_gibbs + self._compressed(
            self.products.molecules - self.reactants.molecules
        )

    @property
    def log_rate(self) -> float:
        """Natural logarithm of the rate constant without tunnelling; unit as in `rate_unit`."""
        return self._eyring(self.gibbs_barrier, self.reactants.molecules)

    @property
    def log_reverse_rate(self) -> float:
        """The same from the products."""
        return self._eyring(self.reverse_gibbs_barrier, self.products.molecules)

    @property
    def log_equilibrium_constant(self) -> float:
        """Natural logarithm of K in (mol/L)^Δn, the ratio of both rate constants."""
        more = self.products.molecules - self.reactants.molecules
        return -self.reaction_gibbs / self._thermal - more * log(self._molar_volume)

    @property
    def symmetry_factor(self) -> float:
        """What symmetry numbers contribute to the rate constant: reactants over saddle."""
        return self.reactants.symmetry_number / self.saddle.symmetry_number

    @property
    def _thermal(self) -> float:
        return units.kB * self.temperature

    @property
    def _molar_volume(self) -> float:
        """Of the ideal gas at the pressure, L/mol."""
        return 1000 * units._Nav * units._k * self.temperature / self.pressure

    def _compressed(self, molecules: int) -> float:
        """Gibbs energy, eV, of bringing molecules from the pressure to the concentration."""
        return molecules * self._thermal * log(self.concentration * self._molar_volume)

    def _eyring(self, barrier: float, molecules: int) -> float:
        prefactor = log(_EYRING * self.temperature)
        return prefactor - barrier / self._thermal + (molecules - 1) * log(self._molar_volume)


def kinetics(
    points: ReactionPoints, temperature: float, assumptions: Assumptions | None = None
) -> Kinetics:
    """Rate and equilibrium constants of a reaction at one temperature.

    The rate constant is Eyring's,

        k = κ (k_B T / h) (1/c°)^(m-1) exp(-ΔG‡°/RT),

    for m reacting molecules, with ΔG‡° at the concentration c° of the standard state; κ is 1 in
    `log_rate`, and `log_wigner` and `log_eckart` are to be added. It does not depend on the
    standard state, nor does K. For two equal molecules the rate is k [A]², so that
    d[A]/dt = -2 k [A]². Eckart's barrier has the heights of the saddle above both sides, zero-point
    energies included; for separate molecules, above these.

    Parameters
    ----------
    points
        The reaction.
    temperature
        K.
    assumptions
        Of the free energies.

    Returns
    -------
    Kinetics
        In both directions.

    Raises
    ------
    ThermochemistryError
        Where a point has the wrong number of imaginary modes, or is no molecule.

    References
    ----------
    H. Eyring, J. Chem. Phys. 1935, 3, 107. Wigner and Eckart: see `tunnelling`.
    """
    chosen = assumptions or Assumptions()
    if not 0 < chosen.concentration < np.inf:
        raise ThermochemistryError(
            f"concentration must be positive and finite, not {chosen.concentration}"
        )
    reactants = side_of(points.reactants, 0, temperature, chosen)
    saddle = side_of([points.saddle], 1, temperature, chosen)
    products = side_of(points.products, 0, temperature, chosen)
    frequency = float(points.saddle.modes.frequencies[0])
    eckart, reason = None, "an intermediate lies between the saddle and an end"
    if points.direct:
        top, *sides = (
            side.energy + side.zero_point_energy for side in (saddle, reactants, products)
        )
        try:
            eckart, reason = log_eckart(top - sides[0], top - sides[1], frequency, temperature), ""
        except ThermochemistryError as error:
            reason = str(error)
    return Kinetics(
        temperature=temperature,
        reactants=reactants,
        saddle=saddle,
        products=products,
        pressure=chosen.pressure,
        concentration=chosen.concentration,
        imaginary_frequency=frequency,
        log_wigner=log(wigner(frequency, temperature)),
        log_eckart=eckart,
        no_eckart=reason,
    )


def rate_unit(molecules: int) -> str:
    """Of the rate constant of so many reacting molecules: 's⁻¹', 'L mol⁻¹ s⁻¹'."""
    powers = {1: "", 2: "L mol⁻¹ ", 3: "L² mol⁻² "}
    return powers.get(molecules, f"(L mol⁻¹)^{molecules - 1} ") + "s⁻¹"


def side_of(
    points: Sequence[StationaryPoint], order: int, temperature: float, chosen: Assumptions
) -> Side:
    """The thermochemistry of molecules that move by themselves, and the sums.

    Parameters
    ----------
    points
        One for each kind of molecule.
    order
        Imaginary modes that each must have: 0 for minima, 1 for a transition state.
    temperature
        K.
    chosen
        What free energies assume.

    Raises
    ------
    ThermochemistryError
        Where a point has another number of imaginary modes, or is no molecule.
    """
    parts = [
        (
            thermochemistry(
                one.atoms,
                one.modes,
                one.energy,
                order=order,
                temperature=temperature,
                pressure=chosen.pressure,
                multiplicity=one.multiplicity,
                treatment=chosen.treatment,
                cutoff=chosen.cutoff,
                imaginary_threshold=chosen.imaginary_threshold,
            ),
            one.count,
        )
        for one in points
    ]
    return Side(
        molecules=sum(count for _, count in parts),
        energy=sum(gas.energy * count for gas, count in parts),
        zero_point_energy=sum(gas.zero_point_energy * count for gas, count in parts),
        enthalpy=sum(gas.enthalpy * count for gas, count in parts),
        entropy=sum(gas.entropy * count for gas, count in parts),
        gibbs=sum(gas.gibbs * count for gas, count in parts),
        symmetry_number=int(np.prod([gas.symmetry_number**count for gas, count in parts])),
        parts=tuple(parts),
    )
