"""The points of a stored reaction between which transition-state theory counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from horm_calc.chemistry.kinetics import ReactionPoints, StationaryPoint
from reactbench_runner.kinetics.isotopes import Substitution, check_substitution, isotopologues
from reactbench_runner.storage.database import Entry
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE
from reactbench_runner.storage.rows import ResultRow
from workflows.errors import WorkflowError
from workflows.records import Label
from workflows.settings import VerdictSettings
from workflows.stages.separated import in_pieces

#: Of an end that moves as separate molecules.
MOLECULES = "_molecule"

#: More molecules than that do not meet.
MOST_MOLECULES = 3


class NoKinetics(WorkflowError):
    """Why a reaction has no rate constant."""


@dataclass(frozen=True)
class Isotopologue:
    """A reaction under some masses.

    `complexes`: ends that consist of several molecules, as they were relaxed together, by role.
    """

    points: ReactionPoints
    complexes: Mapping[str, StationaryPoint]


def why_not(row: ResultRow) -> str:
    """Why the verdict and the energies of a reaction allow no rate constant; "" where they do."""
    if row.verdict is Label.BARRIERLESS:
        return "barrierless: without a saddle, transition-state theory gives no rate constant"
    if row.verdict not in (Label.INTENDED, Label.IN_STEPS, Label.FOUND):
        return f"{row.verdict}: {row.reason}" if row.reason else f"the verdict is {row.verdict}"
    if row.ts_energy_ev is None:
        return "the saddle has not converged"
    if row.barrier_kcal_per_mol is None or row.reverse_barrier_kcal_per_mol is None:
        return "the saddle has no barrier from one of the ends, which relaxation has changed"
    return ""


def isotopologues_of(
    row: ResultRow,
    stored: Mapping[str, Entry],
    settings: VerdictSettings,
    substitution: Substitution,
) -> tuple[Isotopologue, Isotopologue]:
    """A stored reaction with light and with heavy isotopes; twice the same without any.

    Raises `NoKinetics` for what is not stored, and `InputError` for isotopes of atoms that the
    reaction does not have.
    """
    for role in (REACTANT, SADDLE, PRODUCT):
        if role not in stored:
            raise NoKinetics(f"the structure of the {_named(role)} is not stored")
    check_substitution(substitution, stored[REACTANT][0], row.id)
    lacking = [role for role in (REACTANT, SADDLE, PRODUCT) if _hessian(stored[role]) is None]
    if lacking:
        raise NoKinetics(_lacking(lacking))
    sides: list[tuple[list[StationaryPoint], list[StationaryPoint]]] = []
    together: list[dict[str, StationaryPoint]] = [{}, {}]
    for role in (REACTANT, PRODUCT):
        whole = _substituted(stored[role], substitution)
        if len(in_pieces(stored[role][0], settings)) == 1:
            sides.append(whole)
            continue
        for both, points in zip(together, whole, strict=True):
            both[role] = points[0]
        sides.append(_separate(row, role, stored, substitution))
    saddles = _substituted(stored[SADDLE], substitution)
    direct = row.verdict is not Label.IN_STEPS
    light, heavy = (
        Isotopologue(
            ReactionPoints(tuple(sides[0][i]), saddles[i][0], tuple(sides[1][i]), direct),
            together[i],
        )
        for i in (0, 1)
    )
    return light, heavy


def _separate(
    row: ResultRow, end: str, stored: Mapping[str, Entry], substitution: Substitution
) -> tuple[list[StationaryPoint], list[StationaryPoint]]:
    """The molecules of an end in pieces, each alone."""
    alone = {role: one for role, one in stored.items() if role.startswith(f"{end}{MOLECULES}")}
    if not alone:
        raise NoKinetics(
            f"the {end} consists of several molecules, and these are not stored each by itself: "
            f"{_why_not_separated(row, end)}"
        )
    number = sum(keys["count"] for _, keys, _ in alone.values())
    if number > MOST_MOLECULES:
        raise NoKinetics(
            f"the {end} consists of {number} molecules, which do not meet in one elementary step"
        )
    for name, one in alone.items():
        if _hessian(one) is None:
            raise NoKinetics(
                f"no Hessian of {one[0].get_chemical_formula()}, a molecule of the {end}, is "
                f"stored ({name})"
            )
    known = {int(index) for _, _, data in alone.values() for index in data["atom_indices"]}
    if elsewhere := sorted(set(substitution) - known):
        raise NoKinetics(
            f"atom {elsewhere[0] + 1} is in the second of several equal molecules of the {end}, "
            "of which only the first was computed; number the atoms so that it is in the first"
        )
    light, heavy = [], []
    for one in alone.values():
        both = _substituted(one, substitution)
        light += both[0]
        heavy += both[1]
    return light, heavy


def _why_not_separated(row: ResultRow, end: str) -> str:
    _, found, reason = row.not_computed.partition(f"separated {end}: ")
    if found:
        return reason.partition("; ")[0]
    return "the run was made by a version that did not keep them; search again with another --out"


def _substituted(
    entry: Entry, substitution: Substitution
) -> tuple[list[StationaryPoint], list[StationaryPoint]]:
    atoms, keys, data = entry
    hessian = np.asarray(data["hessian_ev_per_a2"], dtype=float)
    point = StationaryPoint(
        _bare(atoms),
        hessian,
        float(atoms.get_potential_energy()),
        keys["multiplicity"],
        keys.get("count", 1),
    )
    indices = data.get("atom_indices")
    places = range(len(atoms)) if indices is None else [int(index) for index in indices]
    return isotopologues(point, places, substitution)


def _bare(atoms: Atoms) -> Atoms:
    bare: Atoms = atoms.copy()
    bare.calc = None
    return bare


def _hessian(entry: Entry) -> object:
    return entry[2].get("hessian_ev_per_a2")


def _named(role: str) -> str:
    return role.replace("_", " ")


def _lacking(roles: list[str]) -> str:
    named = " and ".join(f"the {_named(role)}" for role in roles)
    return (
        f"no Hessian of {named} is stored. Runs of older versions have only that of the "
        "transition state; search again with another --out"
    )
