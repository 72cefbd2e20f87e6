"""Hold a transition state of a fast method against a trusted one.

The saddle is refined once more at the other level of theory, from the geometry and the Hessian
that the search has found, and the ends it connects are relaxed there, so that barriers of both
levels compare; each of these gets a Hessian, as the saddle has one, for Gibbs free energies. The
IRC is not followed again: that the saddle connects the same ends is what the search has shown at
its own level, and the distance between both saddles says how far that goes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from horm_calc.chemistry.connectivity import Match, describe_changes, match_bonds
from horm_calc.chemistry.superposition import superposition
from horm_calc.chemistry.thermochemistry import Thermochemistry, ThermochemistryError
from workflows.errors import InputError, StageError, StageTimeout
from workflows.input_checks import other_solvent
from workflows.logs import log_with_cause
from workflows.records import Minimum, Saddle, SearchResult, Verification
from workflows.settings import SaddleSettings, SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import relax, with_modes
from workflows.stages.free_energy import connected_sides, ideal_gas
from workflows.stages.saddle import refine, refine_again
from workflows.stages.stage import stage
from workflows.status import Tell, Watch
from workflows.surface import Surface

#: Saddles whose imaginary modes overlap less belong to different reactions. From GFN1-xTB to
#: GFN2-xTB the overlap was 0.90 or more for 25 of 26 saddles, and 0.05 for the one that the
#: other surface does not have.
SAME_MODE = 0.5

#: Steps between exact Hessians in the second try: they cost a trusted level far more than a step.
EXACT_EVERY = 10


def verify(
    result: SearchResult,
    calculator: Calculator,
    settings: SearchSettings | None = None,
    *,
    on_status: Tell | None = None,
) -> Verification:
    """Refine the saddle of a finished search with another ASE calculator.

    Only the ends that the saddle connects with are relaxed. The verdict of the search stays what it
    is.

    Parameters
    ----------
    result
        With a converged saddle.
    calculator
        Of the other level of theory.
    settings
        Of the search, as a rule.
    on_status
        As for `search`.

    Returns
    -------
    Verification
        What goes wrong in a stage ends in its `reason`.

    Raises
    ------
    InputError
        When `result` has no converged saddle, or `calculator` is not built for the solvent.
    """
    if result.saddle is None or not result.saddle.converged:
        raise InputError(f"'{result.reaction.id}' has no converged transition state to verify")
    reaction = result.reaction
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    if problem := other_solvent(reaction, surface.capabilities):
        raise InputError(problem)
    surface.watch = Watch(on_status, Stage.VERIFICATION)
    surface.watch.begin(Stage.VERIFICATION)
    verification: Verification = _verify(result, surface, settings or SearchSettings())
    surface.watch.end()
    return verification


@stage
def _verify(result: SearchResult, surface: Surface, settings: SearchSettings) -> Verification:
    assert result.saddle is not None
    try:
        saddle = refined(result.saddle, surface, settings.saddle)
    except StageError as error:
        return Verification(reason=str(error), log=error.log)
    if reason := difference(result.saddle, saddle):
        return Verification(saddle, reason=reason, log=saddle.log)
    ends: dict[str, Minimum] = {}
    reasons, logs = [], [saddle.log]
    for name, connected in zip(
        ("reactant", "product"), connected_sides(result.verdict), strict=True
    ):
        if connected:
            end, problem, log = relaxed_end(getattr(result, name).atoms, surface, settings)
            logs.append(log)
            if end is None:
                reasons.append(f"no barrier from the {name}: {problem}")
            else:
                ends[name] = end
    rmsd, overlap = superpose(result.saddle, saddle)
    found = _free_energies(saddle, ends, surface, settings, reasons, logs)
    return Verification(
        saddle,
        rmsd=rmsd,
        overlap=overlap,
        reactant=ends.get("reactant"),
        product=ends.get("product"),
        thermochemistry=found,
        converged=True,
        reason="; ".join(reasons),
        log="\n".join(logs),
    )


def refined(known: Saddle, surface: Surface, settings: SaddleSettings) -> Saddle:
    """From the Hessian of the search, and where that leads nowhere with exact ones.

    A network's Hessian can be wrong where its saddle is right, so that a failure from there
    says nothing against the saddle.
    """
    log = ""
    try:
        saddle = refine_again(known, surface, settings)
        if not difference(known, saddle):
            return saddle
        log = saddle.log
    except StageTimeout:
        raise
    except StageError as error:
        log = error.log
    every = max(settings.hessian_every, EXACT_EVERY)
    saddle = refine(known.atoms, surface, dataclasses.replace(settings, hessian_every=every))
    return dataclasses.replace(saddle, log=f"{log}\nOnce more, with exact Hessians:\n{saddle.log}")


def difference(known: Saddle, saddle: Saddle) -> str:
    """Why a refined saddle is none, or not the one that was known."""
    if not saddle.converged:
        return saddle.reason
    distance, overlap = superpose(known, saddle)
    if overlap >= SAME_MODE:
        return ""
    return (
        f"led to another saddle: its imaginary mode overlaps by {overlap:.2f} with the one of the "
        f"search, RMSD {distance:.2f} Å"
    )


def relaxed_end(
    before: Atoms, surface: Surface, settings: SearchSettings
) -> tuple[Minimum | None, str, str]:
    """An end of the search relaxed once more, or why there is none like it; and the log.

    Bonds in doubt do not count, as in the verdict.
    """
    try:
        end = relax(before, surface, settings.endpoints)
    except StageError as error:
        return None, str(error), error.log
    if not end.converged:
        return None, f"it did not relax: {end.reason}", end.log
    limit, margin = settings.verdict.bond_factor, settings.verdict.margin
    match, _ = match_bonds(before, end.atoms, limit, margin)
    if match is Match.NO:
        changes = describe_changes(before, end.atoms, limit)
        return None, f"relaxation changed its bonds: {changes}", end.log
    return end, "", end.log


def _free_energies(
    saddle: Saddle,
    ends: dict[str, Minimum],
    surface: Surface,
    settings: SearchSettings,
    reasons: list[str],
    logs: list[str],
) -> dict[str, Thermochemistry]:
    """Of the saddle and of the ends, which get their modes; to reasons: why one has none."""
    found: dict[str, Thermochemistry] = {}
    for name, point in ({"saddle": saddle} | ends if ends else {}).items():
        try:
            known = with_modes(point, surface, settings.endpoints)
            if isinstance(known, Minimum):
                ends[name] = known
            found[name] = ideal_gas(known, int(name == "saddle"), surface, settings)
        except ThermochemistryError as error:
            reasons.append(f"no free energy of the {name}: {error}")
        except StageError as error:
            reasons.append(f"no free energy of the {name}: {error}")
            logs.append(log_with_cause(error))
    return found


def superpose(a: Saddle, b: Saddle) -> tuple[float, float]:
    """How far two saddles are from each other, after the best superposition (no mirroring).

    The root mean square distance of the atoms, Å, and the overlap of the imaginary modes: the
    cosine of the angle between their Cartesian displacements, from 0 to 1.
    """
    turn, distance = superposition(a.atoms, b.atoms)
    overlap = np.vdot(a.modes.displacements[0], turn.apply(b.modes.displacements[0]))
    return distance, abs(float(overlap))
