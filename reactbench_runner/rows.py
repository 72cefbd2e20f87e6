"""One row of the results table: every number with its unit, empty where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np

from workflows.free_energy import connected_sides
from workflows.records import Cost, SearchResult
from workflows.units import to_kcal_per_mol

Row = dict[str, Any]

STAGES = ("endpoints", "path", "saddle", "irc", "irc ends", "thermochemistry")

_RESULT_COLUMNS = (
    "id",
    "formula",
    "atoms",
    "charge",
    "multiplicity",
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
    "imaginary_frequency_cm1",
    "imaginary_modes",
    "ts_max_force_ev_per_a",
    "curvature_error_ev_per_a2",
    "reactant_energy_ev",
    "ts_energy_ev",
    "product_energy_ev",
    "path_method",
    "irc_method",
    "attempts",
    "warnings",
    "not_computed",
    "reactant_thermochemistry",
    "ts_thermochemistry",
    "product_thermochemistry",
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
    return row | _energies(result) | _saddle(result) | _costs(result)


def _saddle(result: SearchResult) -> Row:
    if result.saddle is None:
        return {}
    imaginary = result.saddle.modes.imaginary_frequencies()
    error = result.saddle.curvature_error
    return {
        "imaginary_frequency_cm1": round(float(imaginary[0]), 1) if len(imaginary) else "",
        "imaginary_modes": len(imaginary),
        "ts_max_force_ev_per_a": round(float(np.abs(result.saddle.forces).max()), 5),
        "curvature_error_ev_per_a2": "" if error is None else round(error, 4),
    }


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
    forward, backward = connected_sides(result.verdict)
    for prefix, values in (("", electronic), ("gibbs_", gibbs)):
        total = "reaction_gibbs" if prefix else "reaction_energy"
        differences = {
            f"{prefix}barrier": ("reactant", "ts", forward),
            f"reverse_{prefix}barrier": ("product", "ts", backward),
            total: ("reactant", "product", True),
        }
        for column, (start, end, connected) in differences.items():
            if connected and start in values and end in values:
                difference = to_kcal_per_mol(values[end] - values[start])
                row[f"{column}_kcal_per_mol"] = round(difference, 3)
    return row


def _costs(result: SearchResult) -> Row:
    row: Row = {}
    for name in STAGES:
        cost = result.costs.get(name, Cost())
        column = name.replace(" ", "_")
        row[f"{column}_seconds"] = round(cost.seconds, 2)
        row[f"{column}_gradients"] = cost.evaluations.gradients
        row[f"{column}_hessians"] = cost.evaluations.hessians
    row["seconds"] = round(sum(cost.seconds for cost in result.costs.values()), 2)
    row["gradients"] = sum(cost.evaluations.gradients for cost in result.costs.values())
    row["hessians"] = sum(cost.evaluations.hessians for cost in result.costs.values())
    return row
