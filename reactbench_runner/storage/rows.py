"""One row of the results table: every number with its unit, empty where there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from horm_calc.chemistry.masses import isotopes
from horm_calc.units import to_kcal_per_mol
from workflows.records import Cost, Label, Saddle, SearchResult, Verdict
from workflows.stages.free_energy import connected_sides

Row = dict[str, Any]

STAGES = (
    "endpoints", "path", "saddle", "irc", "irc ends", "lower way", "thermochemistry",
    "separated molecules",
)  # fmt: skip

#: Both barriers and the reaction energy: electronic, and of Gibbs energies.
_ELECTRONIC = ("barrier", "reverse_barrier", "reaction_energy")
_GIBBS = ("gibbs_barrier", "reverse_gibbs_barrier", "reaction_gibbs")

_RESULT_COLUMNS = (
    "id",
    "formula",
    "atoms",
    "charge",
    "multiplicity",
    "isotopes",
    "level_of_theory",
    "verdict",
    "side",
    "verdict_at_limit",
    "verdict_relabelled",
    "stage",
    "reason",
    "barrier_kcal_per_mol",
    "reverse_barrier_kcal_per_mol",
    "reaction_energy_kcal_per_mol",
    "gibbs_barrier_kcal_per_mol",
    "reverse_gibbs_barrier_kcal_per_mol",
    "reaction_gibbs_kcal_per_mol",
    "reactant_molecules",
    "product_molecules",
    "separated_barrier_kcal_per_mol",
    "separated_reverse_barrier_kcal_per_mol",
    "separated_reaction_energy_kcal_per_mol",
    "separated_gibbs_barrier_kcal_per_mol",
    "separated_reverse_gibbs_barrier_kcal_per_mol",
    "separated_reaction_gibbs_kcal_per_mol",
    "separated_gibbs_barrier_1m_kcal_per_mol",
    "separated_reverse_gibbs_barrier_1m_kcal_per_mol",
    "separated_reaction_gibbs_1m_kcal_per_mol",
    "imaginary_frequency_cm1",
    "imaginary_modes",
    "ts_max_force_ev_per_a",
    "curvature_error_ev_per_a2",
    "lower_way_barrier_kcal_per_mol",
    "reactant_energy_ev",
    "ts_energy_ev",
    "product_energy_ev",
    "separated_reactants_energy_ev",
    "separated_products_energy_ev",
    "path_method",
    "irc_method",
    "attempts",
    "warnings",
    "not_computed",
    "reactant_thermochemistry",
    "ts_thermochemistry",
    "product_thermochemistry",
    "reactant_molecules_thermochemistry",
    "product_molecules_thermochemistry",
    "verify_level",
    "verify_converged",
    "verify_reason",
    "verify_ts_rmsd_a",
    "verify_mode_overlap",
    "verify_barrier_kcal_per_mol",
    "verify_reverse_barrier_kcal_per_mol",
    "verify_reaction_energy_kcal_per_mol",
    "verify_imaginary_frequency_cm1",
    "verify_imaginary_modes",
    "verify_ts_max_force_ev_per_a",
    "verify_reactant_energy_ev",
    "verify_ts_energy_ev",
    "verify_product_energy_ev",
    "verify_seconds",
    "verify_gradients",
    "verify_hessians",
    "seconds",
    "gradients",
    "hessians",
)

#: The columns of results.csv in order; the last ones are the cost of each stage.
COLUMNS = _RESULT_COLUMNS + tuple(
    f"{name.replace(' ', '_')}_{what}"
    for name in STAGES
    for what in ("seconds", "gradients", "hessians")
)


#: Columns with numbers: what they count, or a unit at the end of the name.
_NUMBERS = re.compile(
    r"(?:.*_)?(?:atoms|charge|multiplicity|attempts|modes|overlap|gradients|hessians|seconds|"
    r"kcal_per_mol|ev|ev_per_a2?|cm1|a)"
)


def checked(row: dict[str, Any], identifier: str) -> Row:
    """A row read from a file, with columns that younger versions have.

    Raises `ValueError` where it cannot be one of the reaction `identifier`.
    """
    for name in ("fingerprint", "stage", "reason", "verdict", "warnings", "level_of_theory"):
        if not isinstance(row.get(name, ""), str):
            raise ValueError(f"'{name}' is no text")
    if row.get("id") != identifier or not {"fingerprint", "stage", "verdict"} <= row.keys():
        raise ValueError(f"it is no record of reaction '{identifier}'")
    for name in ("verdict", "verdict_at_limit", "verdict_relabelled"):
        if name == "verdict" or row.get(name, ""):
            Label(row[name])
    for name, value in row.items():
        if name in COLUMNS and value != "":
            kind = int | float if _NUMBERS.fullmatch(name) else str | bool | int | float
            if not isinstance(value, kind):
                raise ValueError(f"'{name}' is {value!r}")
    structures = row.get("structures", [])
    if not isinstance(structures, list) or not all(isinstance(one, str) for one in structures):
        raise ValueError("'structures' is no list of names")
    return dict.fromkeys(COLUMNS, "") | row


def to_row(result: SearchResult) -> Row:
    """The table row of a search. Energies in eV or kcal/mol as the column names say."""
    row: Row = dict.fromkeys(COLUMNS, "")
    reaction, verdict = result.reaction, result.verdict
    row |= {
        "id": reaction.id,
        "formula": reaction.reactant.get_chemical_formula(),
        "atoms": len(reaction.reactant),
        "charge": reaction.charge,
        "multiplicity": reaction.multiplicity,
        "isotopes": isotopes(reaction.reactant),
        "verdict": str(verdict.label),
        "side": verdict.side,
        "verdict_at_limit": str(verdict.at_limit or ""),
        "verdict_relabelled": str(verdict.relabelled or ""),
        "stage": verdict.stage or "verdict",
        "reason": verdict.reason,
        "path_method": result.path.method if result.path else "",
        "irc_method": result.irc.method if result.irc else "",
        "attempts": result.attempts,
        "warnings": "; ".join(result.warnings),
        "not_computed": "; ".join(f"{name}: {why}" for name, why in result.skipped.items()),
    }
    if result.lower_way is not None and result.reactant is not None:
        height = to_kcal_per_mol(result.lower_way.ceiling - result.reactant.energy)
        row["lower_way_barrier_kcal_per_mol"] = round(height, 3)
    row |= _energies(result) | _separated(result)
    return row | _saddle(result) | _costs(result) | verification_of(result)


def _saddle(result: SearchResult) -> Row:
    if result.saddle is None:
        return {}
    error = result.saddle.curvature_error
    return _shape(result.saddle) | {
        "curvature_error_ev_per_a2": "" if error is None else round(error, 4)
    }


def _shape(saddle: Saddle) -> Row:
    imaginary = saddle.modes.imaginary_frequencies()
    return {
        "imaginary_frequency_cm1": round(float(imaginary[0]), 1) if len(imaginary) else "",
        "imaginary_modes": len(imaginary),
        "ts_max_force_ev_per_a": round(float(np.abs(saddle.forces).max()), 5),
    }


def verification_of(result: SearchResult) -> Row:
    """What another level of theory says; nothing from a saddle that did not converge there."""
    found = result.verification
    if found is None:
        return {}
    row: Row = {
        "converged": found.converged,
        "reason": found.reason,
        **_cost(found.cost),
        **(_shape(found.saddle) if found.saddle else {}),
    }
    if found.rmsd is not None and found.overlap is not None:
        row |= {"ts_rmsd_a": round(found.rmsd, 4), "mode_overlap": round(found.overlap, 3)}
    saddle = found.saddle if found.converged else None
    points = {"reactant": found.reactant, "ts": saddle, "product": found.product}
    energies = {name: point.energy for name, point in points.items() if point is not None}
    row |= {f"{name}_energy_ev": round(value, 6) for name, value in energies.items()}
    row |= _differences(energies, result.verdict)
    return {f"verify_{column}": value for column, value in row.items()}


def _energies(result: SearchResult) -> Row:
    """Energies and their differences; a barrier only from an end that the saddle reaches."""
    saddle = result.saddle if result.saddle and result.saddle.converged else None
    points = {"reactant": result.reactant, "ts": saddle, "product": result.product}
    electronic = {name: point.energy for name, point in points.items() if point is not None}
    gibbs = {
        ("ts" if name == "saddle" else name): values.gibbs
        for name, values in result.thermochemistry.items()
    }
    row: Row = {f"{name}_energy_ev": round(value, 6) for name, value in electronic.items()}
    for name, thermo in result.thermochemistry.items():
        row[f"{'ts' if name == 'saddle' else name}_thermochemistry"] = thermo.assumptions()
    row |= _differences(electronic, result.verdict)
    return row | _differences(gibbs, result.verdict, _GIBBS)


def _separated(result: SearchResult) -> Row:
    """From the molecules of the ends that are in pieces; nothing where none is."""
    if not result.separated:
        return {}
    gas, saddle = result.thermochemistry, result.saddle
    electronic: dict[str, Any] = {
        "reactant": result.reactant,
        "ts": saddle if saddle and saddle.converged else None,
        "product": result.product,
    }
    gibbs: dict[str, Any] = {
        "reactant": gas.get("reactant"),
        "ts": gas.get("saddle"),
        "product": gas.get("product"),
    }
    row: Row = {}
    for points, value, names, suffix in (
        (electronic, "energy", _ELECTRONIC, ""),
        (gibbs, "gibbs", _GIBBS, ""),
        (gibbs, "gibbs_1_mol_per_l", _GIBBS, "_1m"),
    ):
        points |= result.separated
        found = {name: getattr(point, value, None) for name, point in points.items()}
        known = {
            name: energy
            for name, energy in found.items()
            # An end in pieces whose molecules are not known is no molecule to count from or to.
            if energy is not None and f"separated {name}" not in result.skipped
        }
        columns = [f"separated_{name}{suffix}" for name in names]
        row |= _differences(known, result.verdict, columns)
        for name, column in zip(("reactant", "product"), columns, strict=False):
            if name not in result.separated:  # its barrier is the one of the other columns
                row.pop(f"{column}_kcal_per_mol", None)
    for name, apart in result.separated.items():
        row |= {
            f"{name}_molecules": apart.name,
            f"separated_{name}s_energy_ev": round(apart.energy, 6),
            f"{name}_molecules_thermochemistry": apart.assumptions(),
        }
    return row


def _differences(
    energies: dict[str, float],
    verdict: Verdict,
    columns: Sequence[str] = _ELECTRONIC,
) -> Row:
    """Both barriers and the reaction energy in kcal/mol, as far as `energies` (eV) go."""
    forward, backward = connected_sides(verdict)
    steps = (
        ("reactant", "ts", forward),
        ("product", "ts", backward),
        ("reactant", "product", not verdict.lost),
    )
    return {
        f"{column}_kcal_per_mol": round(to_kcal_per_mol(energies[end] - energies[start]), 3)
        for column, (start, end, connected) in zip(columns, steps, strict=True)
        if connected and start in energies and end in energies
    }


def _costs(result: SearchResult) -> Row:
    row: Row = {}
    for name in STAGES:
        cost = _cost(result.costs.get(name, Cost()))
        row |= {f"{name.replace(' ', '_')}_{what}": value for what, value in cost.items()}
    row["seconds"] = round(sum(cost.seconds for cost in result.costs.values()), 2)
    row["gradients"] = sum(cost.evaluations.gradients for cost in result.costs.values())
    row["hessians"] = sum(cost.evaluations.hessians for cost in result.costs.values())
    return row


def _cost(cost: Cost) -> Row:
    return {
        "seconds": round(cost.seconds, 2),
        "gradients": cost.evaluations.gradients,
        "hessians": cost.evaluations.hessians,
    }
