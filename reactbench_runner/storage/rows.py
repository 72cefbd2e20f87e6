"""The record of a finished reaction, a row of the results: every column, its unit and meaning.

Numbers have all their digits here and in `result.json`; `results.csv` rounds them to the digits
that their fields name.
"""

# ruff: noqa: RUF009 - the functions called in the class make its fields
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workflows.records import Cost, Label
from workflows.stage_names import Stage


def _column(doc: str, **more: Any) -> Any:
    """A field that every record has."""
    return dataclasses.field(metadata={"doc": doc}, **more)


def _text(doc: str) -> Any:
    """A field of text, "" where there is nothing to say."""
    return _column(doc, default="")


def _optional(doc: str, digits: int | None = None) -> Any:
    """A field that is None where there is no such number; `digits` are those of results.csv."""
    return dataclasses.field(default=None, metadata={"doc": doc, "digits": digits})


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """What one reaction came to. Units are at the end of the names.

    None stands where there is no such number, or where it would mean nothing. The documentation of
    each field, and the digits that `results.csv` shows, are in its metadata, from which the table
    in docs/reference/results.md is made.
    """

    id: str = _column("name of the reaction")
    formula: str = _text("sum formula; empty where the reaction could not be read")
    atoms: int | None = _optional("number of atoms")
    charge: int | None = _optional("total charge, elementary charges")
    multiplicity: int | None = _optional("spin multiplicity, 1 for a singlet")
    isotopes: str = _text(
        "atoms whose masses are not the standard atomic weights, with these masses (amu): "
        "`H3 2.014`; empty without"
    )
    level_of_theory: str = _text("method of all energies and structures")
    verdict: Label = _column(
        "*intended*, *barrierless*, *partly intended*, *unintended*, *ambiguous* or *failed*"
    )
    side: str = _text(
        "*partly intended*: the end that was reached, reactant or product; empty where both have "
        "the same bonds and are conformers"
    )
    verdict_at_limit: Label | None = _optional(
        "the verdict if bonds in doubt count as they stand, and of conformers only what lies upon "
        "reactant or product"
    )
    verdict_relabelled: Label | None = _optional(
        "the verdict if equivalent atoms may change places"
    )
    stage: Stage = _column("where a search *failed*; else `verdict`")
    reason: str = _text(
        "why it is not *intended*, with the bonds that decide; atoms whose exchange in one of the "
        "files would make it so"
    )
    barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the relaxed reactant; of an end in pieces as it stands, often a "
        "complex; empty where relaxation has made something else of it",
        3,
    )
    reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the relaxed product", 3
    )
    reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic energy of the relaxed product above the relaxed reactant", 3
    )
    gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle above the reactant", 3
    )
    reverse_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle above the product", 3
    )
    reaction_gibbs_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the product above the reactant", 3
    )
    reactant_molecules: str = _text(
        "molecules of a reactant in pieces, with charges and spins: `CH3Br + Cl-`, "
        "`2 CHO (doublet)`; empty where it is one molecule"
    )
    product_molecules: str = _text("molecules of a product in pieces, in the same way")
    separated_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the molecules of a reactant in pieces, infinitely far "
        "apart; empty where the reactant is one molecule",
        3,
    )
    separated_reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the molecules of a product in pieces", 3
    )
    separated_reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic reaction energy, from and to the molecules of an end in pieces", 3
    )
    separated_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle above the molecules of a reactant in pieces, "
        "each at the pressure of the settings, 1 atm: the ΔG‡ of a bimolecular reaction",
        3,
    )
    separated_reverse_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle above the molecules of a product in pieces, at "
        "that pressure",
        3,
    )
    separated_reaction_gibbs_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the reaction, from and to the molecules of an end in "
        "pieces, at that pressure",
        3,
    )
    separated_gibbs_barrier_1m_kcal_per_mol: float | None = _optional(
        "`separated_gibbs_barrier_kcal_per_mol` at 1 mol/L", 3
    )
    separated_reverse_gibbs_barrier_1m_kcal_per_mol: float | None = _optional(
        "`separated_reverse_gibbs_barrier_kcal_per_mol` at 1 mol/L", 3
    )
    separated_reaction_gibbs_1m_kcal_per_mol: float | None = _optional(
        "`separated_reaction_gibbs_kcal_per_mol` at 1 mol/L", 3
    )
    imaginary_frequency_cm1: float | None = _optional("lowest frequency of the saddle", 1)
    imaginary_modes: int | None = _optional(
        "how many frequencies of the saddle lie below zero; those above "
        "−`saddle.imaginary_threshold` (20 cm⁻¹) are taken for noise"
    )
    ts_max_force_ev_per_a: float | None = _optional("largest force component at the saddle", 5)
    curvature_error_ev_per_a2: float | None = _optional(
        "δH: how far a network's Hessian is from its forces at the saddle", 4
    )
    lower_path_barrier_kcal_per_mol: float | None = _optional(
        "height of a lower-energy path above the reactant, if one is known", 3
    )
    reactant_energy_ev: float | None = _optional("total energy of the relaxed reactant", 6)
    ts_energy_ev: float | None = _optional("total energy of the converged saddle", 6)
    product_energy_ev: float | None = _optional("total energy of the relaxed product", 6)
    separated_reactants_energy_ev: float | None = _optional(
        "sum of the total energies of the molecules of a reactant in pieces", 6
    )
    separated_products_energy_ev: float | None = _optional(
        "sum of the total energies of the molecules of a product in pieces", 6
    )
    path_method: str = _text("which method found the path that led there")
    irc_method: str = _text("which method followed the IRC")
    attempts: int = _column(
        "how many guesses were tried; the log says how each ended; 0 where an end has relaxed "
        "into the other one, or the reaction could not be read",
        default=0,
    )
    warnings: str = _text(
        "read these: bonds that relaxation changed, atoms whose exchange would make fewer bonds "
        "change, other stereoisomers and conformers, lower-energy paths, ends in pieces, molecules "
        "unlike a network's data"
    )
    not_computed: str = _text("what is missing, and why")
    reactant_thermochemistry: str = _text(
        "what the reactant's free energy assumes: temperature, pressure, symmetry number, "
        "treatment of low modes"
    )
    ts_thermochemistry: str = _text("what the saddle's free energy assumes")
    product_thermochemistry: str = _text("what the product's free energy assumes")
    reactant_molecules_thermochemistry: str = _text(
        "what the free energies of the molecules of a reactant in pieces assume"
    )
    product_molecules_thermochemistry: str = _text(
        "what the free energies of the molecules of a product in pieces assume"
    )
    verify_level: str = _text("with `--verify`: the other level of theory")
    verify_converged: bool | None = _optional("whether the other level has the saddle too")
    verify_reason: str = _text("why it has not, or what is missing there")
    verify_ts_rmsd_a: float | None = _optional("RMSD of both saddles, superposed", 4)
    verify_mode_overlap: float | None = _optional(
        "overlap of the imaginary modes of both saddles, 0 to 1", 3
    )
    verify_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the reactant at the other level", 3
    )
    verify_reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier from the product at the other level", 3
    )
    verify_reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic reaction energy at the other level", 3
    )
    verify_imaginary_frequency_cm1: float | None = _optional(
        "lowest frequency of the saddle at the other level", 1
    )
    verify_imaginary_modes: int | None = _optional(
        "how many frequencies of that saddle lie below zero"
    )
    verify_ts_max_force_ev_per_a: float | None = _optional(
        "largest force component at that saddle", 5
    )
    verify_reactant_energy_ev: float | None = _optional(
        "total energy of the reactant at the other level", 6
    )
    verify_ts_energy_ev: float | None = _optional(
        "total energy of the saddle at the other level", 6
    )
    verify_product_energy_ev: float | None = _optional(
        "total energy of the product at the other level", 6
    )
    verify_seconds: float | None = _optional("wall time of the verification, beside `seconds`", 2)
    verify_gradients: int | None = _optional("energies with forces that the verification asked for")
    verify_hessians: int | None = _optional("Hessians that the verification asked for")
    seconds: float = dataclasses.field(
        default=0, metadata={"doc": "wall time of the search: all attempts and stages", "digits": 2}
    )
    gradients: int = _column("energies with forces that the search asked for", default=0)
    hessians: int = _column("Hessians that the search asked for", default=0)

    #: What each stage took; three columns for each of `COSTED`.
    costs: Mapping[Stage, Cost] = dataclasses.field(default_factory=dict)

    #: In result.json alone: a digest of what the search started from, and the names of the
    #: structures that belong into the database; None for versions that had these there alone.
    fingerprint: str = ""
    structures: tuple[str, ...] | None = None
