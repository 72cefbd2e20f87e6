"""Reactions without a barrier: there is no saddle to look for, and none must be made up.

Either an end is no minimum of the surface and relaxes into the other one, or the energy only rises
from the one to the other, as when a bond breaks and the pieces go apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms

from horm_calc.chemistry.connectivity import (
    Match,
    bonds,
    match_bonds,
    pair_name,
    same_bonds,
)
from horm_calc.chemistry.stereochemistry import compare
from horm_calc.chemistry.superposition import SAME, superposition
from horm_calc.units import KCAL_PER_MOL, to_kcal_per_mol
from workflows.records import Label, Minimum, StringPath, Verdict
from workflows.settings import VerdictSettings

#: A path that dips no deeper and tops its higher end by no more than this only rises, eV: less than
#: kT at room temperature. Methyl radicals repel each other by 0.1 kcal/mol on their way to ethane
#: in GFN2-xTB.
FLAT = 0.5 * KCAL_PER_MOL
#: And it rises by this at least, eV: between ends as high as each other a path may be flat.
LEAST_RISE = 2 * FLAT


def changed_beyond_doubt(given: Atoms, relaxed: Atoms, settings: VerdictSettings) -> bool:
    """Has relaxation made another molecule of an end?"""
    match, _ = match_bonds(given, relaxed, settings.bond_factor, settings.margin)
    return match is Match.NO


def fallen_end(
    given: Mapping[str, Atoms], relaxed: Mapping[str, Atoms], settings: VerdictSettings
) -> Verdict | None:
    """The verdict where one end has relaxed into the other one, else None.

    given, relaxed: the structures of "reactant" and "product".
    """
    for name, other in (("reactant", "product"), ("product", "reactant")):
        if into := _into(name, other, given, relaxed, settings):
            words = f"the {name} relaxes into {into}"
            return Verdict(Label.BARRIERLESS, words, lost=(name,))
    return None


def _into(
    name: str,
    other: str,
    given: Mapping[str, Atoms],
    relaxed: Mapping[str, Atoms],
    settings: VerdictSettings,
) -> str:
    """What of the end `other` the end `name` has become, and by which bonds; "" if nothing of it.

    A bond in doubt counts where both ends are one structure now, so that nothing else is left.
    """
    limit = settings.bond_factor
    before, after, aim = given[name], relaxed[name], relaxed[other]
    same = superposition(after, aim)[1] < SAME
    differed = not (same_bonds(before, after, limit) or same_bonds(before, given[other], limit))
    left = changed_beyond_doubt(before, after, settings) or (same and differed)
    stayed = not changed_beyond_doubt(given[other], aim, settings)
    if not (left and stayed and same_bonds(after, aim, limit)):
        return ""
    conformer = "a conformer of" if compare(aim, after, limit).same else "another stereoisomer of"
    changed = _names(before, after, limit)
    return f"{'' if same else f'{conformer} '}the {other}: no barrier for {changed} on this surface"


def _names(before: Atoms, after: Atoms, limit: float) -> str:
    """The bonds that are not the same: 'C1-C4, O2-H5'."""
    changed = sorted(bonds(before, limit) ^ bonds(after, limit))
    return ", ".join(pair_name(before, pair) for pair in changed)


def is_loose(minimum: Minimum, threshold: float) -> bool:
    """Has it a vibration below `threshold`, cm⁻¹, as pieces far from each other have?"""
    modes = minimum.modes
    return modes is not None and bool((modes.frequencies < threshold).any())


def rises(energies: np.ndarray) -> bool:
    """Do they (eV) go up all the way from the lower end to the higher one?"""
    upwards = energies if energies[-1] > energies[0] else energies[::-1]
    dips = np.maximum.accumulate(upwards) - upwards
    return bool(upwards[-1] - upwards[0] > LEAST_RISE and dips.max() < FLAT)


def bar(energies: np.ndarray) -> float:
    """What a path must stay below to show that there is no barrier, eV."""
    return float(max(energies[0], energies[-1])) + FLAT


def only_rises(path: StringPath, bond_factor: float) -> Verdict | None:
    """The verdict where the energy along `path` rises all the way to its higher end, else None.

    No way between the ends then has to climb further, see `workflows.stages.lower_path`: this is
    sound whether or not the path is the best one.
    """
    rise = path.energies[-1] - path.energies[0]
    if not rises(path.energies) or path.ceiling > bar(path.energies):
        return None
    names = _names(path.images[0], path.images[-1], bond_factor)
    moves, beyond = ("rises", " beyond that") if rise > 0 else ("falls", "")
    return Verdict(
        Label.BARRIERLESS,
        f"the energy only {moves} from the reactant to the product, by "
        f"{to_kcal_per_mol(abs(rise)):.1f} kcal/mol: no barrier{beyond}"
        f"{f' for {names}' if names else ''} on this surface (to within "
        f"{to_kcal_per_mol(FLAT):.1f} kcal/mol, along the path of {path.method})",
    )
