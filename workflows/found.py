"""From a guess of a transition state alone: the saddle, and the ends that it connects.

Nobody has said what these should be, so there is nothing to compare them with. The reactant is the
end of higher energy, so that the reaction goes downhill.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from horm_calc.chemistry.connectivity import describe_changes
from horm_calc.chemistry.superposition import SAME, superposition
from horm_calc.units import to_kcal_per_mol
from workflows.account import Account
from workflows.attempts import Attempt, ended_by, from_structure
from workflows.errors import NotConverged, StageError
from workflows.records import Label, Minimum, Verdict
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import settle
from workflows.stages.irc import turned
from workflows.starts import SaddleGuess
from workflows.surface import Surface

#: A saddle further from its guess is worth a word: root mean square distance of the atoms, Å.
FAR = 0.5

#: Ends closer than this, kcal/mol, may change places at another level: chemical accuracy.
EQUAL = 1.0


@dataclass(frozen=True)
class Found:
    """What a guess has led to, and both ends if it has led to them."""

    attempt: Attempt
    reactant: Minimum | None = None
    product: Minimum | None = None
    warnings: tuple[str, ...] = ()


def find_ends(
    start: SaddleGuess, surface: Surface, settings: SearchSettings, account: Account
) -> Found:
    """The saddle near a guess, and the minima on both sides of it; *failed* where there are none.

    The ends come with their modes. Where an end of the IRC is a saddle point itself, it is the
    minimum below.
    """
    done = Attempt(Verdict(Label.FAILED))
    try:
        for state in from_structure(done, start.guess, surface, settings, account):
            done = state
        assert done.saddle and done.irc and done.ends
        saddle, irc, ends = done.saddle, done.irc, done.ends
        account.begin(Stage.ENDPOINTS)
        minima = [_minimum(end, surface, settings, account) for end in ends]
    except StageError as error:
        return Found(ended_by(error, done, account))
    first, last = ends
    if minima[1].energy > minima[0].energy:
        minima.reverse()
        first, last = last, first
        done = dataclasses.replace(done, irc=turned(irc), ends=(first, last))
    limit = settings.verdict.bond_factor
    warnings = []
    if (far := superposition(start.guess, saddle.atoms)[1]) > FAR:
        warnings.append(f"the saddle is {far:.2f} Å (RMSD) from the guess: is it the one meant?")
    for name, end, minimum in zip(("reactant", "product"), (first, last), minima, strict=True):
        if changes := describe_changes(end.atoms, minimum.atoms, limit):
            warnings.append(
                f"the end of the IRC at the {name} is a saddle point, where it bifurcates; below "
                f"it bonds change once more: {changes}"
            )
    reactant, product = minima
    apart = to_kcal_per_mol(reactant.energy - product.energy)
    if apart < EQUAL and superposition(reactant.atoms, product.atoms)[1] > SAME:
        warnings.append(
            f"the ends differ by only {apart:.1f} kcal/mol: at another level, or in free energy, "
            "the reactant may be the lower one, so compare both barriers"
        )
    verdict = Verdict(Label.FOUND, _told(reactant, product, limit))
    done = dataclasses.replace(done, verdict=verdict)
    return Found(done, reactant, product, tuple(warnings))


def _minimum(end: Minimum, surface: Surface, settings: SearchSettings, account: Account) -> Minimum:
    minimum: Minimum = account.run(
        settle, end.atoms, settings.saddle.imaginary_threshold, surface, settings.endpoints
    )
    if not minimum.converged:
        raise NotConverged(f"an end of the IRC did not relax: {minimum.reason}")
    return minimum


def _told(reactant: Minimum, product: Minimum, bond_factor: float) -> str:
    """What happens between the ends, in words."""
    if changes := describe_changes(reactant.atoms, product.atoms, bond_factor):
        return changes
    if superposition(reactant.atoms, product.atoms)[1] < SAME:
        return "both ends are one structure"
    return "no bonds change: both ends are conformers or stereoisomers of one molecule"
