"""From what a search has found to the record that is stored of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from horm_calc.chemistry.masses import isotopes
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.storage.rows import ENDS, GUESS, REACT, SMILES, ResultRow
from workflows.records import (
    Cost,
    Label,
    Minimum,
    Reaction,
    Saddle,
    SearchResult,
    SeparatedMolecules,
    Start,
    Verdict,
)
from workflows.stage_names import COSTED, Stage
from workflows.stages.free_energy import connected_sides
from workflows.starts import BondChanges

Point = TypeVar("Point", Minimum, Saddle)


def to_row(result: SearchResult) -> ResultRow:
    """The record of a search, but for what the run knows: levels of theory, digests."""
    reaction, verdict = result.reaction, result.verdict
    row = ResultRow(
        id=reaction.id,
        formula=reaction.atoms.get_chemical_formula(),
        atoms=len(reaction.atoms),
        charge=reaction.charge,
        multiplicity=reaction.multiplicity,
        isotopes=isotopes(reaction.atoms),
        solvent=reaction.solvent,
        start=_start(reaction),
        verdict=verdict.label,
        side=verdict.side,
        verdict_at_limit=verdict.at_limit,
        verdict_relabelled=verdict.relabelled,
        verdict_at_first_attempt=result.first_verdict.label if result.first_verdict else None,
        stage=Stage(verdict.stage or Stage.VERDICT),
        reason=verdict.reason,
        reactant_smiles=result.smiles.get("reactant", ""),
        product_smiles=result.smiles.get("product", ""),
        path_method=result.path.method if result.path else "",
        path_converged=bool(result.path.converged) if result.path else None,
        irc_method=result.irc.method if result.irc else "",
        attempts=result.attempts,
        warnings="; ".join(result.warnings),
        not_computed="; ".join(f"{name}: {why}" for name, why in result.skipped.items()),
    )
    for add in (
        _with_energies,
        _with_steps,
        _with_separated,
        _with_saddle,
        _with_costs,
        with_verification,
    ):
        row = add(row, result)
    return row


def _start(start: Start) -> str:
    """What a search starts from, by the columns of a table of reactions."""
    if isinstance(start, Reaction):
        return SMILES if start.smiles else ENDS
    return REACT if isinstance(start, BondChanges) else GUESS


def unreadable_row(item: Unreadable) -> ResultRow:
    """The record of a reaction that could not be read: nothing is known of it but why."""
    return ResultRow(
        id=item.id,
        verdict=Label.FAILED,
        stage=Stage.INPUT,
        reason=item.reason,
        costs=dict.fromkeys(COSTED, Cost()),
    )


def with_verification(row: ResultRow, result: SearchResult) -> ResultRow:
    """With what another level says; nothing from a saddle that did not converge there."""
    found = result.verification
    if found is None:
        return row
    saddle = found.saddle if found.converged else None
    reactant, ts, product = map(_energy, (found.reactant, saddle, found.product))
    heights = _heights(reactant, ts, product, result.verdict)
    gibbs = {name: float(values.gibbs) for name, values in found.thermochemistry.items()}
    free = _free_heights(gibbs, result.verdict)
    shape = _shape(found.saddle)
    return dataclasses.replace(
        row,
        verify_converged=found.converged,
        verify_reason=found.reason,
        verify_ts_rmsd_a=_float(found.rmsd),
        verify_mode_overlap=_float(found.overlap),
        verify_barrier_kcal_per_mol=heights.forward,
        verify_reverse_barrier_kcal_per_mol=heights.reverse,
        verify_reaction_energy_kcal_per_mol=heights.reaction,
        verify_gibbs_barrier_kcal_per_mol=free.forward,
        verify_reverse_gibbs_barrier_kcal_per_mol=free.reverse,
        verify_reaction_gibbs_kcal_per_mol=free.reaction,
        verify_imaginary_frequency_cm1=shape.lowest,
        verify_imaginary_modes=shape.modes,
        verify_ts_max_force_ev_per_a=shape.force,
        verify_reactant_energy_ev=reactant,
        verify_ts_energy_ev=ts,
        verify_product_energy_ev=product,
        verify_seconds=found.cost.seconds,
        verify_gradients=found.cost.evaluations.gradients,
        verify_hessians=found.cost.evaluations.hessians,
    )


def _with_energies(row: ResultRow, result: SearchResult) -> ResultRow:
    """Energies and their differences; a barrier only from an end that the saddle reaches."""
    reactant, product = (_energy(_converged(end)) for end in (result.reactant, result.product))
    ts = _energy(_converged(result.saddle))
    gas = result.thermochemistry
    gibbs = {name: float(values.gibbs) for name, values in gas.items()}
    assumed = {name: values.assumptions() for name, values in gas.items()}
    electronic = _heights(reactant, ts, product, result.verdict)
    free = _free_heights(gibbs, result.verdict)
    lower, lower_path = result.lower_path, None
    if lower is not None and reactant is not None:
        lower_path = float(to_kcal_per_mol(lower.ceiling - reactant))
    return dataclasses.replace(
        row,
        reactant_energy_ev=reactant,
        ts_energy_ev=ts,
        product_energy_ev=product,
        barrier_kcal_per_mol=electronic.forward,
        reverse_barrier_kcal_per_mol=electronic.reverse,
        reaction_energy_kcal_per_mol=electronic.reaction,
        gibbs_barrier_kcal_per_mol=free.forward,
        reverse_gibbs_barrier_kcal_per_mol=free.reverse,
        reaction_gibbs_kcal_per_mol=free.reaction,
        reactant_thermochemistry=assumed.get("reactant", ""),
        ts_thermochemistry=assumed.get("saddle", ""),
        product_thermochemistry=assumed.get("product", ""),
        lower_path_barrier_kcal_per_mol=lower_path,
    )


def _with_steps(row: ResultRow, result: SearchResult) -> ResultRow:
    """The energies along a chain of elementary steps; nothing for a single one."""
    if not result.steps or result.reactant is None:
        return row
    points = [point for step in result.steps for point in (step.saddle, step.last)][:-1]
    heights = [to_kcal_per_mol(point.energy - result.reactant.energy) for point in points]
    told = ", ".join(f"{height:.3f}" for height in heights)
    return dataclasses.replace(row, steps=len(result.steps), step_energies_kcal_per_mol=told)


def _with_separated(row: ResultRow, result: SearchResult) -> ResultRow:
    """From the molecules of the ends that are in pieces; nothing where none is."""
    if not result.separated:
        return row
    reactant, product = (result.separated.get(name) for name in ("reactant", "product"))
    electronic = _from_molecules(result, "energy")
    gibbs = _from_molecules(result, "gibbs")
    at_1m = _from_molecules(result, "gibbs_1_mol_per_l")
    return dataclasses.replace(
        row,
        reactant_molecules=reactant.name if reactant else "",
        product_molecules=product.name if product else "",
        separated_reactants_energy_ev=_energy(reactant),
        separated_products_energy_ev=_energy(product),
        reactant_molecules_thermochemistry=reactant.assumptions() if reactant else "",
        product_molecules_thermochemistry=product.assumptions() if product else "",
        separated_barrier_kcal_per_mol=electronic.forward,
        separated_reverse_barrier_kcal_per_mol=electronic.reverse,
        separated_reaction_energy_kcal_per_mol=electronic.reaction,
        separated_gibbs_barrier_kcal_per_mol=gibbs.forward,
        separated_reverse_gibbs_barrier_kcal_per_mol=gibbs.reverse,
        separated_reaction_gibbs_kcal_per_mol=gibbs.reaction,
        separated_gibbs_barrier_1m_kcal_per_mol=at_1m.forward,
        separated_reverse_gibbs_barrier_1m_kcal_per_mol=at_1m.reverse,
        separated_reaction_gibbs_1m_kcal_per_mol=at_1m.reaction,
    )


def _with_saddle(row: ResultRow, result: SearchResult) -> ResultRow:
    shape = _shape(result.saddle)
    return dataclasses.replace(
        row,
        imaginary_frequency_cm1=shape.lowest,
        imaginary_modes=shape.modes,
        ts_max_force_ev_per_a=shape.force,
        curvature_error_ev_per_a2=result.saddle.curvature_error if result.saddle else None,
    )


def _with_costs(row: ResultRow, result: SearchResult) -> ResultRow:
    costs = result.costs.values()
    return dataclasses.replace(
        row,
        costs={stage: result.costs.get(stage, Cost()) for stage in COSTED},
        seconds=sum(cost.seconds for cost in costs),
        gradients=sum(cost.evaluations.gradients for cost in costs),
        hessians=sum(cost.evaluations.hessians for cost in costs),
    )


class _Heights(NamedTuple):
    """Both barriers and the reaction energy, kcal/mol."""

    forward: float | None
    reverse: float | None
    reaction: float | None


def _heights(
    reactant: float | None, ts: float | None, product: float | None, verdict: Verdict
) -> _Heights:
    """From energies in eV, as far as the saddle is connected with the ends."""

    def step(start: float | None, end: float | None) -> float | None:
        if start is None or end is None:
            return None
        return float(to_kcal_per_mol(end - start))

    forward, backward = connected_sides(verdict)
    return _Heights(
        step(reactant, ts) if forward else None,
        step(product, ts) if backward else None,
        None if verdict.lost else step(reactant, product),
    )


def _free_heights(gibbs: Mapping[str, float], verdict: Verdict) -> _Heights:
    """From Gibbs energies in eV of what has one."""
    return _heights(gibbs.get("reactant"), gibbs.get("saddle"), gibbs.get("product"), verdict)


def _from_molecules(result: SearchResult, what: str) -> _Heights:
    """With the molecules of an end in pieces in its place; `what` is their attribute, eV."""
    gas = result.thermochemistry
    electronic = {
        "reactant": _converged(result.reactant),
        "saddle": _converged(result.saddle),
        "product": _converged(result.product),
    }
    points = (electronic if what == "energy" else gas) | result.separated

    def known(name: str) -> float | None:
        # An end in pieces whose molecules are not known is no molecule to count from or to.
        if f"separated {name}" in result.skipped:
            return None
        return _float(getattr(points.get(name), what, None))

    found = _heights(known("reactant"), known("saddle"), known("product"), result.verdict)
    # The barrier from an end that is one molecule is the one of the other columns.
    return _Heights(
        found.forward if "reactant" in result.separated else None,
        found.reverse if "product" in result.separated else None,
        found.reaction,
    )


class _Shape(NamedTuple):
    """Of a saddle: lowest frequency (cm⁻¹), imaginary modes, largest force (eV/Å)."""

    lowest: float | None = None
    modes: int | None = None
    force: float | None = None


def _shape(saddle: Saddle | None) -> _Shape:
    if saddle is None:
        return _Shape()
    imaginary = saddle.modes.imaginary_frequencies()
    lowest = float(imaginary[0]) if len(imaginary) else None
    return _Shape(lowest, len(imaginary), float(np.abs(saddle.forces).max()))


def _converged(point: Point | None) -> Point | None:
    return point if point and point.converged else None


def _energy(point: Minimum | Saddle | SeparatedMolecules | None) -> float | None:
    """Of a point that is known, eV."""
    return None if point is None else float(point.energy)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)
