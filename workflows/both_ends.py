"""Reactant and product at rest, with the bonds that they were given with if that can be."""

from __future__ import annotations

import contextlib
import dataclasses

from ase import Atoms

from horm_calc.chemistry.connectivity import describe_changes
from horm_calc.chemistry.superposition import SAME, superposition
from workflows.account import Account
from workflows.barrierless import changed_beyond_doubt, fallen_end
from workflows.errors import NotConverged, StageError
from workflows.records import Minimum, Reaction
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import descend, settle
from workflows.surface import Surface


def relax_both(
    minima: dict[str, Minimum],
    reaction: Reaction,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> None:
    """Put both ends into `minima`, relaxed; what is there when that fails shows why."""
    account.begin(Stage.ENDPOINTS)
    limit = settings.verdict.bond_factor
    given = {"reactant": reaction.reactant, "product": reaction.product}
    for name, atoms in given.items():
        minimum = _minimum(name, atoms, surface, settings, account)
        words = describe_changes(atoms, minimum.atoms, limit)
        minima[name] = dataclasses.replace(minimum, changed=words)
        if not minimum.converged:
            raise NotConverged(f"the {name} did not relax: {minimum.reason}")
        account.watch.reference = minima["reactant"].energy
    changed = "".join(
        f"; relaxation changed the {name}: {minimum.changed}"
        for name, minimum in minima.items()
        if minimum.changed
    )
    found = {name: minimum.atoms for name, minimum in minima.items()}
    _, apart = superposition(*found.values())
    if apart < SAME and not fallen_end(given, found, settings.verdict):
        raise StageError(
            f"reactant and product relax to the same structure, {apart:.3f} Å apart: there is no "
            f"saddle to look for{changed}"
        )


def _minimum(
    name: str, given: Atoms, surface: Surface, settings: SearchSettings, account: Account
) -> Minimum:
    """An end relaxed; once more in short steps where long ones have changed its bonds."""

    def settled(atoms: Atoms) -> Minimum:
        threshold = settings.saddle.imaginary_threshold
        minimum: Minimum = account.run(
            settle, atoms, threshold, surface, settings.endpoints, of=f"the {name}"
        )
        return minimum

    def kept(atoms: Atoms) -> bool:
        return not changed_beyond_doubt(given, atoms, settings.verdict)

    minimum = settled(given)
    if not minimum.converged or kept(minimum.atoms):
        return minimum
    with contextlib.suppress(StageError):
        nearer = account.run(descend, given, kept, surface, settings.endpoints)
        if nearer.converged and (nearer := settled(nearer.atoms)).converged and kept(nearer.atoms):
            return nearer
    return minimum


def is_lost(name: str, end: Minimum, reaction: Reaction, settings: SearchSettings) -> bool:
    """Has relaxation made another molecule of the reactant, or of the product?"""
    given = reaction.reactant if name == "reactant" else reaction.product
    return changed_beyond_doubt(given, end.atoms, settings.verdict)
