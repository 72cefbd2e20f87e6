"""The record of a finished reaction, a row of the results: every column, its unit and meaning.

Numbers have all their digits here and in `result.json`; `results.csv` rounds them to the digits
that their fields name.
"""

# ruff: noqa: RUF009 - the functions called in the class make its fields
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from horm_calc.chemistry.solvents import levels_in_words
from workflows.records import Cost, Label
from workflows.stage_names import Stage

#: What a search can start from, by the columns of a table of reactions.
ENDS, SMILES, REACT, GUESS = "ends", "smiles", "react", "guess"

#: Stages whose failure says nothing about the reaction: they are tried again on a re-run.
NOT_SEARCHED = (Stage.INPUT, Stage.WORKER)


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
    formula: str = _text("molecular formula; empty if the reaction could not be read")
    atoms: int | None = _optional("number of atoms")
    charge: int | None = _optional("total charge, in elementary charges")
    multiplicity: int | None = _optional("spin multiplicity, 1 for a singlet")
    isotopes: str = _text(
        "atoms whose masses are not the standard atomic weights, with their masses (amu): "
        "`H3 2.014`; empty if there are none"
    )
    solvent: str = _text("solvent; empty in the gas phase")
    level_of_theory: str = _text(
        "level of theory of all energies and structures, with the solvent: `GFN2-xTB (tblite), "
        "ALPB(water)`"
    )
    start: str = _text(
        "what the search started from: `ends` (structures of reactant and product), `smiles`, "
        "`react` (a reactant and bond changes) or `guess` (of a transition state, alone); empty if "
        "the reaction could not be read, and in runs of versions that did not store it"
    )
    verdict: Label = _column(
        "*intended*, *intended in steps*, *found*, *barrierless*, *partly intended*, *unintended*, "
        "*ambiguous* or *failed*"
    )
    side: str = _text(
        "if *partly intended*: the endpoint that was reached, reactant or product; empty if the "
        "two have the same bonds and are conformers"
    )
    verdict_at_limit: Label | None = _optional(
        "the verdict that the bond limit alone gives, uncertain bonds included; of conformers, "
        "only those count that coincide with reactant or product"
    )
    verdict_relabelled: Label | None = _optional(
        "the verdict if atoms of one element may change labels"
    )
    verdict_at_first_attempt: Label | None = _optional(
        "the verdict of the first attempt; empty if there was none, and in runs of versions that "
        "did not store it"
    )
    stage: Stage = _column("the stage in which a search *failed*; otherwise `verdict`")
    reason: str = _text(
        "why the verdict is not *intended*: the bonds that decide it, and atoms whose exchange in "
        "one of the files would make it *intended*; if *found*, the bonds that change"
    )
    reactant_smiles: str = _text(
        "SMILES of the relaxed reactant; empty if no bond orders fit its structure"
    )
    product_smiles: str = _text("SMILES of the relaxed product, in the same way")
    barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the relaxed reactant, which may be a complex of several "
        "molecules; empty if relaxation has changed its bonds",
        3,
    )
    reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the relaxed product", 3
    )
    reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic energy of the relaxed product relative to the relaxed reactant", 3
    )
    gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the reactant", 3
    )
    reverse_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the product", 3
    )
    reaction_gibbs_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the product relative to the reactant", 3
    )
    reactant_molecules: str = _text(
        "separate molecules of the reactant, with charges and spins: `CH3Br + Cl-`, "
        "`2 CHO (doublet)`; empty if it is one molecule"
    )
    product_molecules: str = _text("separate molecules of the product, in the same way")
    separated_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the separate molecules of the reactant, infinitely far "
        "apart; empty if the reactant is one molecule",
        3,
    )
    separated_reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the separate molecules of the product", 3
    )
    separated_reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic reaction energy between separate molecules", 3
    )
    separated_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the separate molecules of the reactant, each "
        "at `thermo.pressure` (default 1 atm): the ΔG‡ of a bimolecular reaction",
        3,
    )
    separated_reverse_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the separate molecules of the product, at "
        "that pressure",
        3,
    )
    separated_reaction_gibbs_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the reaction between separate molecules, at that pressure",
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
    steps: int | None = _optional(
        "number of elementary steps of a reaction *intended in steps*; the saddle of this row is "
        "then the highest one, and barriers count from the reactant and the product"
    )
    step_energies_kcal_per_mol: str = _text(
        "electronic energies along these steps, relative to the relaxed reactant: saddle, "
        "intermediate, saddle, and so on"
    )
    imaginary_frequency_cm1: float | None = _optional(
        "lowest frequency of the saddle; negative if imaginary", 1
    )
    imaginary_modes: int | None = _optional(
        "number of negative frequencies of the saddle; those above −`saddle.imaginary_threshold` "
        "(20 cm⁻¹) count as noise"
    )
    ts_max_force_ev_per_a: float | None = _optional("largest force component at the saddle", 5)
    curvature_error_ev_per_a2: float | None = _optional(
        "δH: deviation of a network's Hessian from differences of its forces, at the saddle", 4
    )
    lower_path_barrier_kcal_per_mol: float | None = _optional(
        "highest energy on a lower-energy path, relative to the reactant; empty if none is known", 3
    )
    reactant_energy_ev: float | None = _optional("total energy of the relaxed reactant", 6)
    ts_energy_ev: float | None = _optional("total energy of the converged saddle", 6)
    product_energy_ev: float | None = _optional("total energy of the relaxed product", 6)
    separated_reactants_energy_ev: float | None = _optional(
        "sum of the total energies of the separate molecules of the reactant", 6
    )
    separated_products_energy_ev: float | None = _optional(
        "sum of the total energies of the separate molecules of the product", 6
    )
    path_method: str = _text("method that found the path to this saddle")
    path_converged: bool | None = _optional(
        "whether that path met the criterion of its method; empty if there is no path, and in "
        "runs of versions that did not store it"
    )
    irc_method: str = _text("method that followed the IRC")
    attempts: int = _column(
        "number of attempts; the log says how each ended; 0 if an endpoint relaxed into the other "
        "one, or the reaction could not be read",
        default=0,
    )
    warnings: str = _text(
        "read these: bonds that relaxation changed; atoms whose exchange would make fewer bonds "
        "change; other stereoisomers and conformers; lower-energy paths; endpoints of several "
        "molecules; structures too large or too far apart for a network"
    )
    not_computed: str = _text("what could not be computed, and why")
    reactant_thermochemistry: str = _text(
        "what the reactant's free energy assumes: temperature, pressure, symmetry number, "
        "treatment of low-frequency modes"
    )
    ts_thermochemistry: str = _text("what the saddle's free energy assumes")
    product_thermochemistry: str = _text("what the product's free energy assumes")
    reactant_molecules_thermochemistry: str = _text(
        "what the free energies of the separate molecules of the reactant assume"
    )
    product_molecules_thermochemistry: str = _text(
        "what the free energies of the separate molecules of the product assume"
    )
    verify_level: str = _text(
        "level of theory of `--verify`; this and the columns below are empty without it"
    )
    verify_converged: bool | None = _optional("whether the saddle exists at that level too")
    verify_reason: str = _text("why it does not, or what could not be computed at that level")
    verify_ts_rmsd_a: float | None = _optional(
        "RMSD between the two saddles after superposition", 4
    )
    verify_mode_overlap: float | None = _optional(
        "overlap of the imaginary modes of the two saddles, 0 to 1", 3
    )
    verify_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the reactant, at that level", 3
    )
    verify_reverse_barrier_kcal_per_mol: float | None = _optional(
        "electronic barrier relative to the product, at that level", 3
    )
    verify_reaction_energy_kcal_per_mol: float | None = _optional(
        "electronic reaction energy at that level", 3
    )
    verify_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the reactant, at that level", 3
    )
    verify_reverse_gibbs_barrier_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the saddle relative to the product, at that level", 3
    )
    verify_reaction_gibbs_kcal_per_mol: float | None = _optional(
        "Gibbs free energy of the product relative to the reactant, at that level", 3
    )
    verify_imaginary_frequency_cm1: float | None = _optional(
        "lowest frequency of the saddle at that level", 1
    )
    verify_imaginary_modes: int | None = _optional("number of negative frequencies of that saddle")
    verify_ts_max_force_ev_per_a: float | None = _optional(
        "largest force component at that saddle", 5
    )
    verify_reactant_energy_ev: float | None = _optional(
        "total energy of the reactant at that level", 6
    )
    verify_ts_energy_ev: float | None = _optional("total energy of the saddle at that level", 6)
    verify_product_energy_ev: float | None = _optional(
        "total energy of the product at that level", 6
    )
    verify_seconds: float | None = _optional(
        "wall time of the verification, not part of `seconds`", 2
    )
    verify_gradients: int | None = _optional(
        "number of energy and force evaluations of the verification"
    )
    verify_hessians: int | None = _optional("number of Hessians of the verification")
    seconds: float = dataclasses.field(
        default=0, metadata={"doc": "wall time of the search: all attempts and stages", "digits": 2}
    )
    gradients: int = _column("number of energy and force evaluations of the search", default=0)
    hessians: int = _column("number of Hessians of the search", default=0)

    #: What each stage took; three columns for each of `COSTED`.
    costs: Mapping[Stage, Cost] = dataclasses.field(default_factory=dict)

    #: In result.json alone: a digest of what the search started from, and the names of the
    #: structures that belong into the database; None for versions that had these there alone.
    fingerprint: str = ""
    structures: tuple[str, ...] | None = None


def levels_of(rows: Iterable[ResultRow], *, verified: bool = False) -> str:
    """The level of theory of these rows, or of their verifications, in words.

    Where they are in several solvents, each is named. "" where nothing was searched.
    """
    return levels_in_words(
        (row.verify_level if verified else row.level_of_theory, row.solvent)
        for row in rows
        if row.stage not in NOT_SEARCHED
    )
