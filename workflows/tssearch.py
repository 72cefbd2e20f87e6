"""The search: the only file that knows the order of the stages.

endpoints -> path -> saddle -> IRC -> relaxation of the IRC's ends -> verdict -> a look for a
lower way -> thermochemistry. A failed stage ends its attempt with a cause; the next attempt takes
its guess from another path method. The best attempt is the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from ase import Atoms
from ase.calculators.calculator import Calculator

from workflows import remarks
from workflows.account import Account, Progress
from workflows.barrierless import bar, changed_beyond_doubt, fallen_end, is_loose, only_rises, rises
from workflows.connectivity import describe_changes
from workflows.endpoints import descend, relax, settle
from workflows.equivalence import ORDER, fewer_changes, names
from workflows.errors import InputError, NotConverged, StageError
from workflows.free_energy import free_energies
from workflows.geometry import SAME, superposition
from workflows.guesses import Looks, first_guesses, lowest, rest, ways_to_look
from workflows.input_checks import check_reaction
from workflows.irc import follow, turned
from workflows.lower_way import followed
from workflows.masses import with_positions
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
    SeparatedMolecules,
    StringPath,
    Verdict,
)
from workflows.saddle import refine
from workflows.separated import Build, SurfaceOf, in_pieces, separate, surfaces
from workflows.settings import SearchSettings
from workflows.surface import Surface
from workflows.units import to_kcal_per_mol
from workflows.verdict import judge, question_relaxation, runs_backwards

#: The better attempt stands further left; among failures the one that came further wins.
_ORDER = [Label.BARRIERLESS, Label.INTENDED, Label.PARTLY, Label.UNINTENDED, Label.FAILED]

_STAGES = ["input", "endpoints", "path", "saddle", "irc", "irc ends"]


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

    def outcome(self, reactant: Minimum) -> str:
        """Verdict, and how high the saddle is or what went wrong, for people who read the log."""
        words = [str(self.path.method)] if self.path else []
        words.append(self.verdict.label.value)
        if self.verdict.reason:
            words.append(f"{self.verdict.stage}: {self.verdict.reason}".removeprefix(": "))
        if self.saddle and self.saddle.converged:
            barrier = to_kcal_per_mol(self.saddle.energy - reactant.energy)
            words.append(f"saddle {barrier:.1f} kcal/mol above the reactant")
        return ", ".join(words)

    @property
    def rank(self) -> tuple[int, bool, int, float]:
        verdict = self.verdict
        ambiguous = verdict.label is Label.AMBIGUOUS
        label = verdict.at_limit if ambiguous and verdict.at_limit else verdict.label
        came = -_STAGES.index(verdict.stage) if verdict.stage else 0
        energy = self.saddle.energy if self.intended and self.saddle else 0.0
        return _ORDER.index(label), ambiguous, came, energy


@dataclass(frozen=True)
class _Tried:
    """The best of the attempts, and a path that stays below its saddle, if one is known."""

    best: _Attempt
    count: int
    lower_way: StringPath | None
    skipped: dict[str, str]


def search(
    reaction: Reaction,
    calculator: Calculator,
    settings: SearchSettings | None = None,
    progress: Progress = lambda stage: None,
    build: Build | None = None,
) -> SearchResult:
    """Find and verify the transition state of one reaction with any ASE calculator.

    Never raises for what can go wrong in a stage: the verdict is then *failed*, with stage
    and cause. `progress` is called with the name of each stage as it begins. Charge and
    multiplicity of the reaction reach calculators that read ASE's initial charges and
    magnetic moments (tblite does). Where an end is in pieces, `build(charge, multiplicity)` makes
    the calculators of its molecules; without it they share `calculator`, as far as they are like
    the reaction (neutral singlets of a neutral singlet).
    """
    settings = settings or SearchSettings()
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    account = Account(progress)
    try:
        check_reaction(reaction)
        reactant, product = _endpoints(reaction, surface, settings, account)
    except InputError as error:
        return SearchResult(reaction, Verdict(Label.FAILED, str(error), stage="input"))
    except StageError as error:
        verdict = Verdict(Label.FAILED, str(error), stage="endpoints")
        return SearchResult(reaction, verdict, costs=account.costs, log=account.log)

    given = {"reactant": reaction.reactant, "product": reaction.product}
    minima = {"reactant": reactant, "product": product}
    relaxed = {name: minimum.atoms for name, minimum in minima.items()}
    if fallen := fallen_end(given, relaxed, settings.verdict):
        return SearchResult(
            reaction,
            fallen,
            reactant,
            product,
            warnings=tuple(remarks.of_calculator(relaxed.values(), surface, settings)),
            attempts=0,
            costs=account.costs,
            log=account.log,
        )
    limit = settings.verdict.bond_factor
    asked = describe_changes(reactant.atoms, product.atoms, limit) or "no bond changes"
    account.note(f"from reactant to product: {asked}")
    tried = _attempts(reactant, product, surface, settings, account)
    best = tried.best
    verdict = best.verdict
    if verdict.label is not Label.BARRIERLESS:
        verdict = question_relaxation(verdict, given, relaxed, settings.verdict)
    order = _order_of_atoms(verdict, reactant, product, surface, settings, account)
    account.begin("thermochemistry")
    thermochemistry, skipped, cost = free_energies(
        reactant, product, best.saddle, verdict, surface, settings
    )
    account.add(cost, "")
    surface_of = surfaces(reaction, calculator, build)
    separated, not_separated = _separated(reaction, minima, surface_of, settings, account)
    warnings = (
        *remarks.of_structures(reaction, minima, best.saddle, surface, settings),
        *remarks.of_minima(skipped),
        *remarks.of_isomers(best.ends, minima, verdict, settings.verdict),
        *order,
        *remarks.of_lower_way(best.saddle, tried.lower_way),
        *remarks.of_pieces(minima, separated, not_separated, settings.verdict),
    )
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
        skipped | tried.skipped | not_separated,
        warnings,
        tried.count,
        tried.lower_way,
        separated,
        account.costs,
        account.log,
    )


def _separated(
    reaction: Reaction,
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
        account.begin("separated molecules")
        try:
            found[name] = account.run(separate, minimum, reaction, surface_of, settings)
        except StageError as error:
            skipped[f"separated {name}"] = str(error)
            continue
        if reasons := [one.reason for one in found[name].molecules if one.reason]:
            skipped[f"free energy of separated {name}"] = "; ".join(reasons)
    return found, skipped


def _endpoints(
    reaction: Reaction, surface: Surface, settings: SearchSettings, account: Account
) -> tuple[Minimum, Minimum]:
    account.begin("endpoints")
    given = {"reactant": reaction.reactant, "product": reaction.product}
    relaxed, changed = {}, ""
    for name, atoms in given.items():
        relaxed[name] = _minimum(name, atoms, surface, settings, account)
        if words := describe_changes(atoms, relaxed[name].atoms, settings.verdict.bond_factor):
            changed += f"; relaxation changed the {name}: {words}"
    reactant, product = relaxed.values()
    _, apart = superposition(reactant.atoms, product.atoms)
    found = {name: minimum.atoms for name, minimum in relaxed.items()}
    if apart < SAME and not fallen_end(given, found, settings.verdict):
        raise StageError(
            f"reactant and product relax to the same structure, {apart:.3f} Å apart: there is no "
            f"saddle to look for{changed}"
        )
    return reactant, product


def _minimum(
    name: str, given: Atoms, surface: Surface, settings: SearchSettings, account: Account
) -> Minimum:
    """An end relaxed; once more in short steps where long ones have changed its bonds."""

    def settled(atoms: Atoms) -> Minimum:
        threshold = settings.saddle.imaginary_threshold
        minimum: Minimum = account.run(
            settle, atoms, threshold, surface, settings.endpoints, of=f"the {name}"
        )
        if not minimum.converged:
            raise NotConverged(f"the {name} did not relax: {minimum.reason}")
        return minimum

    def kept(atoms: Atoms) -> bool:
        return not changed_beyond_doubt(given, atoms, settings.verdict)

    minimum = settled(given)
    if kept(minimum.atoms):
        return minimum
    with contextlib.suppress(StageError):
        nearer = account.run(descend, given, kept, surface, settings.endpoints)
        if nearer.converged and kept((nearer := settled(nearer.atoms)).atoms):
            return nearer
    return minimum


def _attempts(
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> _Tried:
    """Attempts until one is intended and no lower way is known, `settings.attempts` at most.

    The last guesses, or the next one when it stays below an intended saddle, are the highest points
    of the paths that are made to look for a lower way.
    """
    ends = reactant.atoms, product.atoms
    guesses, looks = first_guesses(ends, surface, settings), ways_to_look(ends, settings)
    attempts: list[_Attempt] = []
    known: StringPath | None = None
    skipped: dict[str, str] = {}
    while guesses and len(attempts) < settings.attempts:
        guess = guesses.pop(next(iter(guesses)))
        attempt = _attempt(guess, reactant, product, surface, settings, account)
        attempts.append(attempt)
        account.note(f"attempt {len(attempts)}: {attempt.outcome(reactant)}")
        if attempt.verdict.label is Label.BARRIERLESS:
            break
        if not attempt.intended or attempt.saddle is None:
            if attempt.ends and attempt.path:
                first, last = (end.atoms for end in attempt.ends)
                guesses = rest(attempt.path, (first, last), ends, surface, settings) | guesses
            continue
        if isinstance(attempt.path, StringPath):
            known = lowest(known, attempt.path)
            looks.pop(attempt.path.method, None)
        if looks and not _lower(known, attempt, settings):
            for path in _look(looks, attempt.saddle, surface, settings, account, skipped):
                known = lowest(known, path)
                again = partial(dataclasses.replace, path, cost=Cost(), log="")
                guesses.pop(path.method, None)
                guesses = {path.method: again} | guesses
                if _lower(known, attempt, settings):
                    break
        if not _lower(known, attempt, settings):
            break
    best = min(attempts, key=lambda attempt: attempt.rank)
    if best.verdict.label not in (Label.INTENDED, Label.BARRIERLESS):
        rising = (_only_rises(one.path, surface, settings, account) for one in attempts)
        best = next(filter(None, rising), best)
    return _Tried(best, len(attempts), _lower(known, best, settings), skipped)


def _look(
    looks: Looks,
    saddle: Saddle,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
    skipped: dict[str, str],
) -> Iterator[StringPath]:
    """The paths of what is left in `looks`, one after the other; `skipped` says what failed."""
    account.begin("lower way")
    while looks:
        look = looks.pop(next(iter(looks)))
        try:
            yield account.run(look, saddle.energy, surface, settings.lower_way)
        except NotConverged as error:  # no path, or none that is lower
            account.note(str(error))
        except StageError as error:
            skipped.setdefault("lower way", str(error))


def _order_of_atoms(
    verdict: Verdict,
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> list[str]:
    """What to ask of the files where it went wrong and two atoms may have changed places in them.

    One more attempt, with the two exchanged in the product, says whether that would be intended.
    """
    wrong = verdict.label in (Label.PARTLY, Label.UNINTENDED, Label.FAILED)
    ends, limit = (reactant.atoms, product.atoms), settings.verdict.bond_factor
    if not wrong or ORDER in verdict.reason or not (found := fewer_changes(ends, limit)):
        return []
    order, then, now = found
    pair = names(product.atoms, order)
    positions = product.atoms.positions[list(order)]
    other = dataclasses.replace(product, atoms=with_positions(product.atoms, positions), modes=None)
    guess = partial(find_path, reactant.atoms, other.atoms, surface, settings.path)
    attempt = _attempt(guess, reactant, other, surface, settings, account)
    account.note(f"with {pair} exchanged: {attempt.outcome(reactant)}")
    if attempt.intended:
        return [f"with {pair} exchanged this is intended: {ORDER}"]
    return [f"with {pair} exchanged in the product {then} bonds change instead of {now}: {ORDER}"]


def _only_rises(
    path: ReactionPath | None, surface: Surface, settings: SearchSettings, account: Account
) -> _Attempt | None:
    """The attempt that ends with a path along which the energy only rises, if this is one."""
    if path is None or not rises(path.energies):
        return None
    account.begin("path")
    with contextlib.suppress(StageError):
        if not isinstance(path, StringPath):
            path = account.run(followed, path, bar(path.energies), surface, settings.lower_way)
        if verdict := only_rises(path, settings.verdict.bond_factor):
            return _Attempt(verdict, path)
    return None


def _lower(
    string: StringPath | None, attempt: _Attempt, settings: SearchSettings
) -> StringPath | None:
    """The string, if it stays below an intended saddle."""
    if string is None or attempt.saddle is None or not attempt.intended:
        return None
    below = attempt.saddle.energy - string.ceiling
    return string if below > settings.lower_way.margin else None


def _attempt(
    guess: Callable[[], ReactionPath],
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> _Attempt:
    """One way from the relaxed ends to a verdict; stops at the first stage that fails."""
    done = _Attempt(Verdict(Label.FAILED))
    higher = max(reactant, product, key=lambda minimum: minimum.energy)
    try:
        account.begin("path")
        path = account.run(guess)
        done = dataclasses.replace(done, path=path)
        # Where nothing holds the higher end together, there may be no saddle to spend hours on.
        loose = is_loose(higher, settings.saddle.imaginary_threshold)
        if loose and (rising := _only_rises(path, surface, settings, account)):
            return rising

        account.begin("saddle")
        saddle = account.run(refine, path.highest, surface, settings.saddle)
        done = dataclasses.replace(done, saddle=saddle)
        if not saddle.converged:
            raise NotConverged(saddle.reason)

        account.begin("irc")
        irc = account.run(follow, saddle, surface, settings.irc)
        done = dataclasses.replace(done, irc=irc)

        account.begin("irc ends")
        first, last = (
            account.run(relax, irc.images[end], surface, settings.endpoints, of=f"the IRC's {name}")
            for end, name in ((0, "first image"), (-1, "last image"))
        )
        done = dataclasses.replace(done, ends=(first, last))
        for end in (first, last):
            if not end.converged:
                raise NotConverged(f"an end of the IRC did not relax: {end.reason}")
    except StageError as error:
        verdict = Verdict(Label.FAILED, str(error), stage=account.stage)
        return dataclasses.replace(done, verdict=verdict)
    ends = reactant.atoms, product.atoms
    if runs_backwards((first.atoms, last.atoms), *ends, settings.verdict):
        first, last = last, first
        done = dataclasses.replace(done, irc=turned(irc), ends=(first, last))
    verdict = judge((first.atoms, last.atoms), *ends, settings.verdict)
    return dataclasses.replace(done, verdict=verdict)
