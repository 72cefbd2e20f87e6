"""Rate constants as records for tables and JSON, with units in all names.

A number that does not exist is None, and so is one that is too large or small for a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from horm_calc.chemistry.arrhenius import ArrheniusFit, arrhenius, modified_arrhenius
from horm_calc.chemistry.kinetics import CM3_PER_MOLECULE, Kinetics, Side
from horm_calc.chemistry.thermochemistry import Thermochemistry
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.kinetics.results import ReactionKinetics

#: Units of rate constants by the number of molecules that react, at the end of names.
RATE_UNITS = {1: "per_s", 2: "l_per_mol_s", 3: "l2_per_mol2_s"}

#: Tunnelling corrections, at the end of names; none first.
CORRECTIONS = ("", "_wigner", "_eckart")

#: exp() of more is no float.
_LARGEST = 700.0

_ENDS = ("reactant", "transition_state", "product", "reactant_molecules", "product_molecules")

#: Of an end, of the saddle, or of one molecule.
_OF_SIDE: dict[str, Callable[[Side | Thermochemistry], float]] = {
    "energy_ev": lambda side: side.energy,
    "zero_point_energy_ev": lambda side: side.zero_point_energy,
    "enthalpy_ev": lambda side: side.enthalpy,
    "entropy_ev_per_k": lambda side: side.entropy,
    "gibbs_ev": lambda side: side.gibbs,
}

#: Of a reaction at one temperature.
_OF_REACTION: dict[str, Callable[[Kinetics], float | None]] = {
    "enthalpy_barrier_kcal_per_mol": lambda one: to_kcal_per_mol(one.enthalpy_barrier),
    "gibbs_barrier_kcal_per_mol": lambda one: to_kcal_per_mol(one.gibbs_barrier),
    "gibbs_barrier_at_concentration_kcal_per_mol": lambda one: to_kcal_per_mol(
        one.gibbs_barrier_at_concentration
    ),
    "reverse_gibbs_barrier_kcal_per_mol": lambda one: to_kcal_per_mol(one.reverse_gibbs_barrier),
    "reaction_enthalpy_kcal_per_mol": lambda one: to_kcal_per_mol(one.reaction_enthalpy),
    "reaction_gibbs_kcal_per_mol": lambda one: to_kcal_per_mol(one.reaction_gibbs),
    "reaction_gibbs_at_concentration_kcal_per_mol": lambda one: to_kcal_per_mol(
        one.reaction_gibbs_at_concentration
    ),
    "imaginary_frequency_cm1": lambda one: one.imaginary_frequency,
    "wigner_factor": lambda one: _number(one.log_wigner),
    "eckart_factor": lambda one: _number(one.log_eckart),
    "reactant_molecularity": lambda one: one.reactants.molecules,
    "product_molecularity": lambda one: one.products.molecules,
    "equilibrium_constant_mol_per_l": lambda one: _number(one.log_equilibrium_constant),
}

_EFFECTS = (
    *("kie", "kie_wigner", "kie_eckart", "kie_symmetry_factor"),
    *("heavy_gibbs_barrier_kcal_per_mol", "heavy_imaginary_frequency_cm1"),
)

#: Those of the table.
COLUMNS = (
    *("reaction", "verdict", "no_number_because", "level_of_theory", "treatment", "isotopes"),
    *("temperature_k", "pressure_pa", "concentration_mol_per_l"),
    *(f"{end}_{name}" for end in _ENDS for name in _OF_SIDE),
    *_OF_REACTION,
    *(
        f"{way}rate_constant{correction}_{unit}"
        for way in ("", "reverse_")
        for correction in CORRECTIONS
        for unit in (*RATE_UNITS.values(), "cm3_per_molecule_s")
    ),
    *_EFFECTS,
)


def about(found: ReactionKinetics) -> dict[str, Any]:
    """What is the same at all temperatures."""
    return {
        "reaction": found.id,
        "verdict": str(found.verdict),
        "no_number_because": found.reason,
        "level_of_theory": found.level_of_theory,
        "treatment": found.assumptions.treatment,
        "isotopes": found.isotopes,
    }


def record(found: ReactionKinetics, place: int) -> dict[str, Any]:
    """What stands in the table for the temperature at this place."""
    one, light = found.at[place], found.complexes[place]
    sides: dict[str, Side] = {
        "reactant": light.get("reactant", one.reactants),
        "transition_state": one.saddle,
        "product": light.get("product", one.products),
    }
    if "reactant" in light:
        sides["reactant_molecules"] = one.reactants
    if "product" in light:
        sides["product_molecules"] = one.products
    values: dict[str, Any] = {
        "temperature_k": one.temperature,
        "pressure_pa": one.pressure,
        "concentration_mol_per_l": one.concentration,
    }
    for end, side in sides.items():
        values |= {f"{end}_{name}": of(side) for name, of in _OF_SIDE.items()}
    values |= {name: of(one) for name, of in _OF_REACTION.items()}
    for way, molecules, log in (
        ("", one.reactants.molecules, one.log_rate),
        ("reverse_", one.products.molecules, one.log_reverse_rate),
    ):
        for correction, factor in _factors(one).items():
            corrected = None if factor is None else log + factor
            values |= _rates(f"{way}rate_constant{correction}", molecules, corrected)
    return values | _isotope_effects(found, place)


def of_molecules(found: ReactionKinetics, place: int) -> dict[str, float]:
    """Of the separate molecules of ends that consist of several, one by one."""
    one = found.at[place]
    return {
        f"{end}_molecule{number}_{name}": of(gas)
        for end, side in (("reactant", one.reactants), ("product", one.products))
        if end in found.complexes[place]
        for number, (gas, _) in enumerate(side.parts, 1)
        for name, of in _OF_SIDE.items()
    }


def fits(found: ReactionKinetics) -> dict[str, ArrheniusFit]:
    """Arrhenius equations of the forward rate constants, plain and modified, by correction."""
    temperatures = [one.temperature for one in found.at]
    made: dict[str, ArrheniusFit] = {}
    for correction in CORRECTIONS:
        logs = [_corrected(one, correction) for one in found.at]
        known = [log for log in logs if log is not None]
        if len(known) < len(temperatures):
            continue
        for name, fit in (("arrhenius", arrhenius), ("modified_arrhenius", modified_arrhenius)):
            if line := fit(temperatures, known):
                made[f"{name}{correction}"] = line
    return made


def _corrected(one: Kinetics, correction: str) -> float | None:
    factor = _factors(one)[correction]
    return None if factor is None else one.log_rate + factor


def _factors(one: Kinetics) -> dict[str, float | None]:
    return dict(zip(CORRECTIONS, (0.0, one.log_wigner, one.log_eckart), strict=True))


def _rates(name: str, molecules: int, log: float | None) -> dict[str, float | None]:
    values = {f"{name}_{RATE_UNITS[molecules]}": _number(log)}
    if molecules == 2 and log is not None:
        values[f"{name}_cm3_per_molecule_s"] = _number(log + math.log(CM3_PER_MOLECULE))
    return values


def _isotope_effects(found: ReactionKinetics, place: int) -> dict[str, float | None]:
    if not found.effects:
        return {}
    effect, heavy = found.effects[place], found.heavy[place]
    values = (
        *(effect.semiclassical, effect.wigner, effect.eckart, effect.symmetry_factor),
        *(to_kcal_per_mol(heavy.gibbs_barrier), heavy.imaginary_frequency),
    )
    return dict(zip(_EFFECTS, values, strict=True))


def fit_record(fit: ArrheniusFit, molecules: int) -> dict[str, float | None]:
    """The numbers of a fit to rate constants of so many reacting molecules."""
    return {
        f"prefactor_{RATE_UNITS[molecules]}": _number(fit.log_prefactor),
        "activation_energy_kcal_per_mol": to_kcal_per_mol(fit.activation_energy),
        "exponent": fit.exponent,
        "largest_deviation_of_ln_k": fit.largest_deviation,
    }


def _number(log: float | None) -> float | None:
    return None if log is None or abs(log) > _LARGEST else math.exp(log)
