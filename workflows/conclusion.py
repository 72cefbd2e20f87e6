"""The end of every search: free energies, separate molecules, and what a reader should know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms

from horm_calc.chemistry.perception import smiles_of
from workflows import remarks
from workflows.account import Account
from workflows.attempts import Attempt, Tried
from workflows.errors import StageError
from workflows.records import Minimum, SearchResult, SeparatedMolecules, Start
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.free_energy import free_energies
from workflows.stages.separated import SurfaceOf, in_pieces, separate
from workflows.surface import Surface


def concluded(
    start: Start,
    surface: Surface,
    surface_of: SurfaceOf,
    settings: SearchSettings,
    account: Account,
    best: Attempt,
    reactant: Minimum | None,
    product: Minimum | None,
    given: Mapping[str, Atoms] | None = None,
    *,
    warnings: Sequence[str] = (),
    on_order: Sequence[str] = (),
    tried: Tried | None = None,
    **more: Any,
) -> SearchResult:
    """The result with free energies, separate molecules and remarks, as far as there are ends.

    Without ends there are only the remarks of the calculator, on the saddle or what was given.
    given: the ends as they were given, if they were. on_order: what to say of the order of atoms.
    more: of the `SearchResult`.
    """
    verdict = best.verdict
    result = SearchResult(
        start,
        verdict,
        path=best.path,
        saddle=best.saddle,
        irc=best.irc,
        irc_ends=best.ends,
        last_structures=best.last,
        **({"first_verdict": verdict} | more),
    )
    if reactant is None or product is None:
        known = [best.saddle.atoms] if best.saddle else start.structures.values()
        doubts = remarks.of_calculator(known, surface, settings, account.traceback)
        return dataclasses.replace(
            result, warnings=(*warnings, *doubts), costs=account.costs, log=account.log
        )
    minima = {"reactant": reactant, "product": product}
    account.begin(Stage.THERMOCHEMISTRY)
    free = account.run(free_energies, reactant, product, best.saddle, verdict, surface, settings)
    separated, not_separated = _separated(start, minima, surface_of, settings, account)
    lower = tried.lower_path if tried else None
    said = (
        *remarks.of_structures(
            given or {}, minima, best.saddle, surface, settings, account.traceback
        ),
        *warnings,
        *remarks.of_minima(free.skipped),
        *remarks.of_isomers(best.ends, minima, verdict, settings.verdict),
        *on_order,
        *remarks.of_lower_path(best.saddle, lower),
        *remarks.of_pieces(minima, separated, not_separated, settings.verdict),
    )
    return dataclasses.replace(
        result,
        reactant=reactant,
        product=product,
        smiles=_smiles(minima, start, settings),
        thermochemistry=free.found,
        skipped=free.skipped | (tried.skipped if tried else {}) | not_separated,
        warnings=tuple(dict.fromkeys(said)),
        lower_path=lower,
        separated=separated,
        costs=account.costs,
        log=account.log,
    )


def _smiles(
    minima: Mapping[str, Minimum], start: Start, settings: SearchSettings
) -> dict[str, str]:
    """Of the ends, where they have any."""
    factor = settings.verdict.bond_factor
    found = {
        name: smiles_of(minimum.atoms, start.charge, start.multiplicity, factor)
        for name, minimum in minima.items()
    }
    return {name: text for name, text in found.items() if text}


def _separated(
    reaction: Start,
    minima: dict[str, Minimum],
    surface_of: SurfaceOf,
    settings: SearchSettings,
    account: Account,
) -> tuple[dict[str, SeparatedMolecules], dict[str, str]]:
    """The molecules of each end that is in pieces, and why something is missing there."""
    found: dict[str, SeparatedMolecules] = {}
    skipped: dict[str, str] = {}
    for name, minimum in minima.items():
        if len(in_pieces(minimum.atoms, settings.verdict)) == 1:
            continue
        account.begin(Stage.SEPARATED)
        try:
            found[name] = account.run(separate, minimum, reaction, surface_of, settings)
        except StageError as error:
            skipped[f"separated {name}"] = str(error)
            continue
        if reasons := [one.reason for one in found[name].molecules if one.reason]:
            skipped[f"free energy of separated {name}"] = "; ".join(reasons)
    return found, skipped
