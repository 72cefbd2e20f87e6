"""Hold a transition state of a fast method against a trusted one.

The saddle is refined once more at the other level of theory, from the geometry and the Hessian
that the search has found, and the ends it connects are relaxed there, so that barriers of both
levels compare. The IRC is not followed again: that the saddle connects the same ends is what the
search has shown at its own level, and the distance between both saddles says how far that goes.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import Calculator

from workflows.connectivity import Match, describe_changes, match_bonds
from workflows.endpoints import relax
from workflows.errors import InputError, StageError
from workflows.free_energy import connected_sides
from workflows.records import Minimum, SearchResult, Verification
from workflows.saddle import refine_again
from workflows.settings import SearchSettings, VerdictSettings
from workflows.stage import stage
from workflows.surface import Surface


def verify(
    result: SearchResult, calculator: Calculator, settings: SearchSettings | None = None
) -> Verification:
    """Refine the saddle of a finished search with another ASE calculator.

    Only the ends that the saddle connects with are relaxed. What goes wrong in a stage ends in
    `reason`; the verdict of the search stays what it is. Raises `InputError` when `result` has
    no converged saddle.
    """
    if result.saddle is None or not result.saddle.converged:
        raise InputError(f"'{result.reaction.id}' has no converged transition state to verify")
    reaction = result.reaction
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    verification: Verification = _verify(result, surface, settings or SearchSettings())
    return verification


@stage
def _verify(result: SearchResult, surface: Surface, settings: SearchSettings) -> Verification:
    assert result.saddle is not None
    try:
        saddle = refine_again(result.saddle, surface, settings.saddle)
    except StageError as error:
        return Verification(reason=str(error), log=error.log)
    if not saddle.converged:
        return Verification(saddle, reason=saddle.reason, log=saddle.log)
    ends: dict[str, Minimum] = {}
    reasons, logs = [], [saddle.log]
    for name, connected in zip(
        ("reactant", "product"), connected_sides(result.verdict), strict=True
    ):
        if not connected:
            continue
        before = getattr(result, name)
        try:
            end = relax(before.atoms, surface, settings.endpoints)
            problem = _problem(before.atoms, end, settings.verdict)
        except StageError as error:
            problem = str(error)
            logs.append(error.log)
        else:
            logs.append(end.log)
        if problem:
            reasons.append(f"no barrier from the {name}: {problem}")
        else:
            ends[name] = end
    return Verification(
        saddle,
        rmsd(result.saddle.atoms, saddle.atoms),
        ends.get("reactant"),
        ends.get("product"),
        converged=True,
        reason="; ".join(reasons),
        log="\n".join(logs),
    )


def _problem(before: Atoms, end: Minimum, settings: VerdictSettings) -> str:
    """Why a relaxed end is not the one of the search; bonds in doubt do not count."""
    if not end.converged:
        return f"it did not relax: {end.reason}"
    match, _ = match_bonds(before, end.atoms, settings.bond_factor, settings.margin)
    if match is not Match.NO:
        return ""
    changes = describe_changes(before, end.atoms, settings.bond_factor)
    return f"relaxation changed its bonds: {changes}"


def rmsd(a: Atoms, b: Atoms) -> float:
    """Root mean square distance of the atoms, Å, after the best superposition (no mirroring)."""
    moved = b.copy()
    minimize_rotation_and_translation(a, moved)
    return float(np.sqrt(np.mean(np.sum((moved.positions - a.positions) ** 2, axis=1))))
