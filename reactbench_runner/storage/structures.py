"""Which structures of a search are kept, in the database and as xyz, and how they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.io.extxyz import key_val_dict_to_str, write_extxyz

from horm_calc.chemistry.masses import has_isotopes, with_positions
from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.storage.database import Entry, database_name
from reactbench_runner.storage.rows import ResultRow
from workflows.records import (
    IRC,
    Minimum,
    Reaction,
    ReactionPath,
    Saddle,
    SearchResult,
    SeparatedMolecule,
    SeparatedMolecules,
    Verdict,
)

#: A structure with its energy (eV) and forces, and what was derived from its Hessian.
Point = tuple[Atoms, dict[str, Any]]

#: A structure and what its comment says: the energy (eV) and more.
Frame = tuple[Atoms, dict[str, Any]]

#: What the roles of a verification's structures begin with.
VERIFY = "verify_"


def points(result: SearchResult) -> dict[str, Point]:
    """The stationary points of a search by their role in the database."""
    found: dict[str, Minimum | Saddle | None] = {
        "reactant": result.reactant,
        "product": result.product,
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
    return {
        role: (_with_results(point), _curvature(point) if isinstance(point, Saddle) else {})
        for role, point in found.items()
        if point is not None
    }


def entries(result: SearchResult, level: str, verify_level: str, roles: str = "") -> list[Entry]:
    """Those whose role begins with `roles`, as they stand in a database."""
    return [
        (
            atoms,
            {
                "reaction": database_name(result.reaction.id),
                "role": role,
                "level_of_theory": verify_level if role.startswith(VERIFY) else level,
                "verdict": str(result.verdict.label),
                "total_charge": result.reaction.charge,
                "multiplicity": result.reaction.multiplicity,
            },
            data,
        )
        for role, (atoms, data) in points(result).items()
        if role.startswith(roles)
    ]


def points_of(rows: Iterable[Any]) -> dict[str, Point]:
    """The stationary points of a search by their role, from the rows of a database."""
    return {row.role: (row.toatoms(), row.data) for row in rows}


def read_back(reaction: Reaction, row: ResultRow, known: Mapping[str, Point]) -> SearchResult:
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
    reactant, product = (
        Minimum(
            atoms,
            energy=atoms.get_potential_energy(),
            forces=atoms.get_forces(),
            method="stored",
            converged=True,
        )
        for atoms, _ in (known["reactant"], known["product"])
    )
    atoms, data = known["transition_state"]
    hessian = np.asarray(data["hessian_ev_per_a2"])
    saddle = Saddle(
        atoms,
        energy=atoms.get_potential_energy(),
        forces=atoms.get_forces(),
        hessian=hessian,
        modes=normal_modes(atoms, hessian),
        method="stored",
        converged=True,
    )
    return SearchResult(reaction, verdict, reactant=reactant, product=product, saddle=saddle)


def write_search(result: SearchResult, folder: Path, level: str) -> None:
    """What a person may want to look at, as xyz files."""
    files: list[tuple[str, Saddle | ReactionPath | IRC | SeparatedMolecules | None]] = [
        ("path.xyz", result.path),
        ("ts.xyz", result.saddle),
        ("lower_path.xyz", result.lower_path),
        ("irc.xyz", result.irc),
        ("reactant_molecules.xyz", result.separated.get("reactant")),
        ("product_molecules.xyz", result.separated.get("product")),
    ]
    for number, step in enumerate(result.steps, 1):
        files += [(f"step{number}_ts.xyz", step.saddle), (f"step{number}_irc.xyz", step.irc)]
    for name, found in files:
        if found is not None:
            _write_frames(folder / name, _frames(found), level, result.reaction)


def write_verification(result: SearchResult, folder: Path, level: str) -> None:
    """The transition state at the other level, where that has it."""
    verified = result.verification
    if verified and verified.saddle and verified.converged:
        _write_frames(folder / "ts_verified.xyz", _frames(verified.saddle), level, result.reaction)


def _curvature(saddle: Saddle) -> dict[str, Any]:
    return {
        "hessian_ev_per_a2": saddle.hessian,
        "frequencies_cm1": saddle.modes.frequencies,
        "imaginary_mode": saddle.modes.displacements[0],
        "curvature_error_ev_per_a2": saddle.curvature_error,
    }


def _with_results(point: Minimum | Saddle) -> Atoms:
    atoms: Atoms = point.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, energy=point.energy, forces=point.forces)
    return atoms


def _frames(found: Saddle | ReactionPath | IRC | SeparatedMolecules) -> list[Frame]:
    if isinstance(found, Saddle):
        return [(found.atoms, {"energy": found.energy})]
    if isinstance(found, SeparatedMolecules):
        return [(one.minimum.atoms, _alone(one)) for one in found.molecules]
    energies = ({"energy": energy} for energy in found.energies.tolist())
    return list(zip(found.images, energies, strict=True))


def _alone(one: SeparatedMolecule) -> dict[str, Any]:
    return {
        "energy": one.minimum.energy,
        "charge": one.charge,
        "multiplicity": one.multiplicity,
        "count": one.count,
    }


def _write_frames(path: Path, frames: Sequence[Frame], level: str, of: Reaction) -> None:
    """As xyz. The comments say level of theory and energy, which ASE reads with the structures.

    Those of ions and open shells say their charge and multiplicity, for who reads them again.
    """
    electrons = {"charge": of.charge, "multiplicity": of.multiplicity}
    with path.open("w", encoding="utf-8") as file:
        for atoms, values in frames:
            told = {"level_of_theory": level, **values}
            if (of.charge, of.multiplicity) != (0, 1):
                told = {**told, **electrons, **values}
            if has_isotopes(atoms):  # with a column for them
                frame = with_positions(atoms, atoms.positions)
                frame.info = told
                columns = ["symbols", "positions", "masses"]
                write_extxyz(file, frame, columns=columns, write_results=False)
            else:
                comment = key_val_dict_to_str(told)
                write(file, atoms, format="xyz", fmt="%15.8f", comment=comment)
