"""The search: the only file that knows the order of the stages.

endpoints -> path -> saddle -> IRC -> relaxation of the IRC's ends -> verdict -> a look for a
lower way -> thermochemistry. A failed stage ends its attempt with a cause; the next attempt takes
its guess from another path method. The best attempt is the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from ase import Atoms
from ase.calculators.calculator import Calculator

from workflows import connectivity
from workflows.endpoints import relax
from workflows.errors import InputError, NotConverged, StageError
from workflows.free_energy import free_energies
from workflows.input_checks import check_reaction
from workflows.irc import follow
from workflows.lower_way import relaxed_string
from workflows.path import find_path
from workflows.records import (
    IRC,
    Cost,
    Label,
    Minimum,
    Reaction,
    ReactionPath,
    Saddle,
    SearchResult,
    Verdict,
)
from workflows.saddle import refine
from workflows.settings import SearchSettings
from workflows.surface import Evaluations, Surface
from workflows.units import to_kcal_per_mol
from workflows.verdict import judge, question_relaxation

#: Path methods in the order in which attempts go through them, after the chosen one.
PATH_ORDER = ("gsm", "neb", "geodesic")

#: The better attempt stands further left; among failures the one that came further wins.
_ORDER = [Label.INTENDED, Label.AMBIGUOUS, Label.PARTLY, Label.UNINTENDED, Label.FAILED]
_STAGES = ["input", "endpoints", "path", "saddle", "irc", "irc ends"]

Progress = Callable[[str], None]


@dataclass
class _Account:
    """What the whole search has cost and printed so far, by stage."""

    costs: dict[str, Cost] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def add(self, stage: str, cost: Cost, log: str) -> None:
        known = self.costs.get(stage, Cost())
        self.costs[stage] = Cost(
            Evaluations(
                known.evaluations.gradients + cost.evaluations.gradients,
                known.evaluations.hessians + cost.evaluations.hessians,
            ),
            known.seconds + cost.seconds,
        )
        self.log.append(f"===== {stage} =====\n{log.strip()}\n")


@dataclass(frozen=True)
class _Attempt:
    verdict: Verdict
    path: ReactionPath | None = None
    saddle: Saddle | None = None
    irc: IRC | None = None
    ends: tuple[Minimum, Minimum] | None = None

    @property
    def intended(self) -> bool:
        return self.verdict.label is Label.INTENDED

    @property
    def rank(self) -> tuple[int, int, float]:
        stage = self.verdict.stage
        energy = self.saddle.energy if self.intended and self.saddle else 0.0
        return _ORDER.index(self.verdict.label), -_STAGES.index(stage) if stage else 0, energy


def search(
    reaction: Reaction,
    calculator: Calculator,
    settings: SearchSettings | None = None,
    progress: Progress = lambda stage: None,
) -> SearchResult:
    """Find and verify the transition state of one reaction with any ASE calculator.

    Never raises for what can go wrong in a stage: the verdict is then *failed*, with stage
    and cause. `progress` is called with the name of each stage as it begins. Charge and
    multiplicity of the reaction reach calculators that read ASE's initial charges and
    magnetic moments (tblite does).
    """
    settings = settings or SearchSettings()
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    account = _Account()
    try:
        check_reaction(reaction)
        progress("endpoints")
        reactant, product = _endpoints(reaction, surface, settings, account)
    except InputError as error:
        return SearchResult(reaction, Verdict(Label.FAILED, str(error), stage="input"))
    except StageError as error:
        account.add("endpoints", error.cost or Cost(), error.log)
        return SearchResult(
            reaction,
            Verdict(Label.FAILED, str(error), stage="endpoints"),
            costs=account.costs,
            log="\n".join(account.log),
        )

    best, tried, lower = _attempts(reactant, product, surface, settings, account, progress)
    verdict = best.verdict
    for name, given, relaxed in (
        ("reactant", reaction.reactant, reactant.atoms),
        ("product", reaction.product, product.atoms),
    ):
        verdict = question_relaxation(verdict, name, given, relaxed, settings.verdict)
    progress("thermochemistry")
    thermochemistry, skipped, cost = free_energies(
        reaction, reactant, product, best.saddle, verdict, surface, settings
    )
    account.add("thermochemistry", cost, "")
    return SearchResult(
        reaction,
        verdict,
        reactant,
        product,
        best.path,
        best.saddle,
        best.irc,
        best.ends,
        thermochemistry,
        skipped,
        _warnings(reaction, reactant, product, best.saddle, lower, settings),
        tried,
        lower,
        account.costs,
        "\n".join(account.log),
    )


def _endpoints(
    reaction: Reaction, surface: Surface, settings: SearchSettings, account: _Account
) -> tuple[Minimum, Minimum]:
    relaxed = []
    for name, atoms in (("reactant", reaction.reactant), ("product", reaction.product)):
        minimum = relax(atoms, surface, settings.endpoints)
        account.add("endpoints", minimum.cost, minimum.log)
        if not minimum.converged:
            raise NotConverged(f"the {name} did not relax: {minimum.reason}")
        relaxed.append(minimum)
    return relaxed[0], relaxed[1]


def _attempts(
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: _Account,
    progress: Progress,
) -> tuple[_Attempt, int, ReactionPath | None]:
    """The best attempt, how many there were, and a path that stays below its saddle, if known."""
    chosen = settings.path.method
    methods = [chosen, *(name for name in PATH_ORDER if name != chosen)][: settings.attempts]
    attempts: list[_Attempt] = []
    string: ReactionPath | None = None
    ends = reactant.atoms, product.atoms
    for method in methods:
        path_settings = dataclasses.replace(settings.path, method=method)
        once = dataclasses.replace(settings, path=path_settings)
        attempts.append(_attempt(*ends, surface, once, account, progress))
        if attempts[-1].intended:
            if string is None and settings.lower_way.steps > 0:
                string = _string(*ends, surface, settings, account, progress)
            if not _lower(string, attempts[-1], settings):
                break
    best = min(attempts, key=lambda attempt: attempt.rank)
    return best, len(attempts), _lower(string, best, settings)


def _string(
    reactant: Atoms,
    product: Atoms,
    surface: Surface,
    settings: SearchSettings,
    account: _Account,
    progress: Progress,
) -> ReactionPath | None:
    """A path that bounds the lowest way from above. Without one the search is not worse."""
    progress("lower way")
    try:
        string = relaxed_string(reactant, product, surface, settings.lower_way)
    except StageError as error:
        account.add("lower way", error.cost or Cost(), str(error))
        return None
    account.add("lower way", string.cost, string.log)
    return string


def _lower(
    string: ReactionPath | None, attempt: _Attempt, settings: SearchSettings
) -> ReactionPath | None:
    """The string, if it stays below an intended saddle."""
    if string is None or attempt.saddle is None or not attempt.intended:
        return None
    below = attempt.saddle.energy - string.energies.max()
    return string if below > settings.lower_way.margin else None


def _attempt(
    reactant: Atoms,
    product: Atoms,
    surface: Surface,
    settings: SearchSettings,
    account: _Account,
    progress: Progress,
) -> _Attempt:
    """One way from the relaxed ends to a verdict; stops at the first stage that fails."""
    done = _Attempt(Verdict(Label.FAILED))
    stage = "path"
    try:
        progress(stage)
        path = find_path(reactant, product, surface, settings.path)
        account.add(stage, path.cost, path.log)
        done = dataclasses.replace(done, path=path)

        stage = "saddle"
        progress(stage)
        saddle = refine(path.highest, surface, settings.saddle)
        account.add(stage, saddle.cost, saddle.log)
        done = dataclasses.replace(done, saddle=saddle)
        if not saddle.converged:
            raise NotConverged(saddle.reason)

        stage = "irc"
        progress(stage)
        irc = follow(saddle, surface, settings.irc)
        account.add(stage, irc.cost, irc.log)
        done = dataclasses.replace(done, irc=irc)

        stage = "irc ends"
        progress(stage)
        first, last = (
            relax(image, surface, settings.endpoints) for image in (irc.images[0], irc.images[-1])
        )
        for end in (first, last):
            account.add(stage, end.cost, end.log)
        done = dataclasses.replace(done, ends=(first, last))
        for end in (first, last):
            if not end.converged:
                raise NotConverged(f"an end of the IRC did not relax: {end.reason}")
    except StageError as error:
        if error.cost is not None:
            account.add(stage, error.cost, error.log)
        return dataclasses.replace(done, verdict=Verdict(Label.FAILED, str(error), stage=stage))
    verdict = judge((first.atoms, last.atoms), reactant, product, settings.verdict)
    return dataclasses.replace(done, verdict=verdict)


def _warnings(
    reaction: Reaction,
    reactant: Minimum,
    product: Minimum,
    saddle: Saddle | None,
    lower: ReactionPath | None,
    settings: SearchSettings,
) -> tuple[str, ...]:
    found = []
    for name, before, after in (
        ("reactant", reaction.reactant, reactant.atoms),
        ("product", reaction.product, product.atoms),
    ):
        changes = connectivity.describe_changes(before, after, settings.verdict.bond_factor)
        if changes:
            found.append(f"relaxation changed the bonds of the {name}: {changes}")
    error = saddle.curvature_error if saddle else None
    if error is not None and error > settings.saddle.max_curvature_error:
        found.append(
            f"the calculator's Hessian differs from its forces by {error:.2g} eV/Å² at the "
            "saddle: modes, IRC and free energies are in doubt"
        )
    if saddle and lower:
        below = to_kcal_per_mol(saddle.energy - lower.energies.max())
        found.append(
            f"a lower way exists: a path between the ends (lower_way.xyz) stays {below:.1f} "
            "kcal/mol below this saddle; it may have more than one step"
        )
    return tuple(found)
