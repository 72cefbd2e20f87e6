"""Which structures of a search are kept in the database, and how they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.storage.database import Entry, database_name
from reactbench_runner.storage.rows import ResultRow
from workflows.records import (
    Minimum,
    Saddle,
    SearchResult,
    SeparatedMolecule,
    Start,
    Verdict,
)

#: A structure with its energy (eV) and forces, and what was derived from its Hessian.
Point = tuple[Atoms, dict[str, Any]]

#: What the roles of a verification's structures begin with.
VERIFY = "verify_"


def points(result: SearchResult) -> dict[str, Point]:
    """The stationary points of a search by their role in the database."""
    ends = {"reactant": result.reactant, "product": result.product}
    found: dict[str, Minimum | Saddle | None] = {
        # Whoever asks for these wants them relaxed.
        **{name: end if end and end.converged else None for name, end in ends.items()},
        "transition_state": result.saddle,
    }
    if result.irc_ends:
        found["irc_first"], found["irc_last"] = result.irc_ends
    for number, step in enumerate(result.steps, 1):
        found[f"step{number}_reactant"] = step.first
        found[f"step{number}_transition_state"] = step.saddle
        found[f"step{number}_product"] = step.last
    if verified := result.verification:
        found |= {
            f"{VERIFY}reactant": verified.reactant,
            f"{VERIFY}product": verified.product,
            f"{VERIFY}transition_state": verified.saddle,
        }
    found |= {role: one.minimum for role, one in molecules(result).items()}
    return {
        role: (_with_results(point), _curvature(point))
        for role, point in found.items()
        if point is not None
    }


def molecules(result: SearchResult) -> dict[str, SeparatedMolecule]:
    """The molecules of ends in pieces, each relaxed alone, by their role in the database."""
    return {
        f"{end}_molecule{number}": one
        for end, separated in result.separated.items()
        for number, one in enumerate(separated.molecules, 1)
    }


def entries(result: SearchResult, level: str, verify_level: str, roles: str = "") -> list[Entry]:
    """Those whose role begins with `roles`, as they stand in a database."""
    alone = molecules(result)
    found: list[Entry] = []
    for role, (atoms, data) in points(result).items():
        if not role.startswith(roles):
            continue
        one = alone.get(role)
        electrons = one or result.reaction
        keys = {
            "reaction": database_name(result.reaction.id),
            "role": role,
            "level_of_theory": verify_level if role.startswith(VERIFY) else level,
            "verdict": str(result.verdict.label),
            "total_charge": electrons.charge,
            "multiplicity": electrons.multiplicity,
        }
        if one:
            keys["count"] = one.count
            data = {**data, "atom_indices": np.array(one.indices)}
        found.append((atoms, keys, data))
    return found


def points_of(rows: Iterable[Any]) -> dict[str, Point]:
    """The stationary points of a search by their role, from the rows of a database."""
    return {row.role: (row.toatoms(), row.data) for row in rows}


def read_back(reaction: Start, row: ResultRow, known: Mapping[str, Point]) -> SearchResult:
    """A finished search from its row and its `points`, as far as a verification needs it.

    Raises `KeyError` where a point is missing.
    """
    verdict = Verdict(
        row.verdict,
        row.reason,
        row.side,
        at_limit=row.verdict_at_limit,
        # The energy between the ends is left out where relaxation has made something else of one.
        lost=("reactant", "product") if row.reaction_energy_kcal_per_mol is None else (),
    )
    # A guess whose IRC has led to no ends has none.
    reactant, product = (
        None if energy is None else minimum_of(known[name])
        for name, energy in (
            ("reactant", row.reactant_energy_ev),
            ("product", row.product_energy_ev),
        )
    )
    saddle = saddle_of(known["transition_state"])
    return SearchResult(reaction, verdict, reactant=reactant, product=product, saddle=saddle)


def _curvature(point: Minimum | Saddle) -> dict[str, Any]:
    """The Hessian and the frequencies, where they are known."""
    if point.hessian is None or point.modes is None:
        return {}
    known: dict[str, Any] = {
        "hessian_ev_per_a2": point.hessian,
        "frequencies_cm1": point.modes.frequencies,
    }
    if isinstance(point, Saddle):
        known["imaginary_mode"] = point.modes.displacements[0]
        known["curvature_error_ev_per_a2"] = point.curvature_error
    return known


def _with_results(point: Minimum | Saddle) -> Atoms:
    atoms: Atoms = point.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=point.energy, forces=point.forces)
    return atoms


def minimum_of(point: Point) -> Minimum:
    """A stored minimum, with its modes where its Hessian was stored."""
    atoms, data = point
    hessian = data.get("hessian_ev_per_a2")
    hessian = None if hessian is None else np.asarray(hessian)
    return Minimum(
        atoms,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        method="stored",
        converged=True,
        hessian=hessian,
        modes=None if hessian is None else normal_modes(atoms, hessian),
    )


def saddle_of(point: Point) -> Saddle:
    """A stored saddle. Raises `KeyError` where its Hessian is missing."""
    atoms, data = point
    hessian = np.asarray(data["hessian_ev_per_a2"])
    return Saddle(
        atoms,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        hessian=hessian,
        modes=normal_modes(atoms, hessian),
        method="stored",
        converged=True,
    )
