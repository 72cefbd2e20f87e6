"""Attempts: each a way from the relaxed ends over a saddle to a verdict, and the best of them.

A failed stage ends its attempt with a cause; the next attempt takes its guess from another path
method.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from ase import Atoms

from horm_calc.chemistry.connectivity import same_bonds
from horm_calc.chemistry.equivalence import ORDER
from horm_calc.chemistry.mapping import best_mapping, in_words
from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.superposition import SAME, superposition
from horm_calc.units import to_kcal_per_mol
from workflows.account import Account
from workflows.atom_order import remark
from workflows.barrierless import bar, is_loose, only_rises, rises
from workflows.errors import CalculatorFailed, NotConverged, StageError
from workflows.guesses import (
    Guess,
    LowerPathSearch,
    along,
    first_guesses,
    lower_path_searches,
    rest_of,
)
from workflows.records import (
    IRC,
    Cost,
    Label,
    Minimum,
    ReactionPath,
    Saddle,
    StringPath,
    Verdict,
)
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import relax, settle
from workflows.stages.irc import follow, turned
from workflows.stages.lower_path import followed
from workflows.stages.path import find_path
from workflows.stages.saddle import refine
from workflows.surface import Surface
from workflows.verdict import runs_backwards, verdict_of

#: The better attempt stands further left; among failures the one that came further wins.
_ORDER = [Label.BARRIERLESS, Label.INTENDED, Label.PARTLY, Label.UNINTENDED, Label.FAILED]

#: So many attempts that come back to a known saddle show that the other paths lead there too: of
#: 160 reactions none was saved by a further one.
ENOUGH = 2

#: Saddles closer than this, eV, and `SAME` Å, are one and the same.
SAME_ENERGY = 1e-3

#: Said where symmetry keeps an IRC in place at its end.
BRANCHING = "the IRC ends at a saddle point, where it bifurcates; its ends are the minima below"


@dataclass(frozen=True)
class Attempt:
    """What one guess has led to; None for stages that were not reached.

    `repeated`: to the saddle of an earlier attempt, whose IRC and verdict these are. `last`: of a
    stage that broke, see `SearchResult.last_structures`.
    """

    verdict: Verdict
    path: ReactionPath | None = None
    saddle: Saddle | None = None
    irc: IRC | None = None
    ends: tuple[Minimum, Minimum] | None = None
    repeated: bool = False
    last: tuple[tuple[Atoms, float | None], ...] = ()

    @property
    def intended(self) -> bool:
        """Whether it is what was looked for."""
        return self.verdict.label is Label.INTENDED

    def outcome(self, reactant: Minimum) -> str:
        """Verdict, and how high the saddle is or what went wrong, for people who read the log."""
        words = [str(self.path.method)] if self.path else []
        words.append(self.verdict.label.value)
        if self.verdict.reason:
            stage = f"{self.verdict.stage}: " if self.verdict.stage else ""
            words.append(stage + self.verdict.reason)
        if self.saddle and self.saddle.converged:
            barrier = to_kcal_per_mol(self.saddle.energy - reactant.energy)
            words.append(f"saddle {barrier:.1f} kcal/mol above the reactant")
        return ", ".join(words)

    @property
    def rank(self) -> tuple[int, bool, bool, int, float]:
        """Sort key: the best attempt has the lowest."""
        verdict = self.verdict
        ambiguous = verdict.label is Label.AMBIGUOUS
        label = verdict.at_limit if ambiguous and verdict.at_limit else verdict.label
        other = ORDER not in verdict.reason  # than what is intended but for the order of atoms
        came = -list(Stage).index(verdict.stage) if verdict.stage else 0
        energy = self.saddle.energy if self.intended and self.saddle else 0.0
        # Doubt is worse than *intended*, and better than the certainty that it is not.
        doubt = ambiguous if label is Label.INTENDED else not ambiguous
        return _ORDER.index(label), doubt, other, came, energy


@dataclass(frozen=True)
class Tried:
    """The best of the attempts, and a path that stays below its saddle, if one is known."""

    best: Attempt
    attempts: Sequence[Attempt]
    lower_path: StringPath | None
    skipped: dict[str, str]


@dataclass
class _Plan:
    """What is left to try and the lowest string that is known; attempts change both."""

    guesses: list[Guess]
    searches: list[LowerPathSearch]
    known: StringPath | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def learn(self, path: StringPath) -> None:
        """The string with the lower ceiling is kept."""
        if self.known is None or path.ceiling < self.known.ceiling:
            self.known = path

    def reuse(self, path: ReactionPath | None) -> None:
        """What was relaxed to start an attempt is not relaxed again to look below its saddle."""
        if path is not None and not isinstance(path, StringPath):
            self.searches = [
                along(path) if search.method == path.method else search for search in self.searches
            ]

    def try_next(self, path: StringPath) -> None:
        """A path that was found is the next guess, and is not looked for again."""
        again = partial(dataclasses.replace, path, cost=Cost(), log="")
        others = [guess for guess in self.guesses if guess.method != path.method]
        self.guesses = [Guess(path.method, again), *others]


def try_guesses(
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
    *,
    given: Guess | None = None,
) -> Tried:
    """Attempts until one is intended with no lower-energy path, `settings.attempts` at most.

    The first starts from the guess that was `given`, if there is one. They end, too, when the
    guesses lead to the same saddles again and again.

    The last guesses, or the next one when it stays below an intended saddle, are the highest points
    of the paths that are made to look for a lower-energy path.
    """
    ends = reactant.atoms, product.atoms
    guesses = first_guesses(ends, surface, settings)
    plan = _Plan([given, *guesses] if given else guesses, lower_path_searches(ends, settings))
    attempts: list[Attempt] = []
    while plan.guesses and len(attempts) < settings.attempts and not _circling(attempts):
        guess = plan.guesses.pop(0)
        attempt = attempt_from(
            guess.find, reactant, product, surface, settings, account, known=attempts
        )
        attempts.append(attempt)
        plan.reuse(attempt.path)
        account.note_attempt(len(attempts), attempt.outcome(reactant))
        if attempt.verdict.label is Label.BARRIERLESS:
            break
        if attempt.intended and attempt.saddle is not None:
            _look_below(attempt, attempt.saddle, plan, surface, settings, account)
            if not _lower(plan.known, attempt, settings):
                break
        elif attempt.ends and attempt.path:
            first, last = (end.atoms for end in attempt.ends)
            if rest := rest_of(attempt.path, (first, last), ends, surface, settings):
                plan.guesses.insert(0, rest)
    best = _best(attempts, surface, settings, account)
    return Tried(best, attempts, _lower(plan.known, best, settings), plan.skipped)


def _circling(attempts: Sequence[Attempt]) -> bool:
    return sum(attempt.repeated for attempt in attempts) >= ENOUGH


def _best(
    attempts: list[Attempt], surface: Surface, settings: SearchSettings, account: Account
) -> Attempt:
    """The best attempt; where none is intended, perhaps one whose path only rises."""
    best = min(attempts, key=lambda attempt: attempt.rank)
    if best.verdict.label in (Label.INTENDED, Label.BARRIERLESS):
        return best
    rising = (_only_rises(one.path, surface, settings, account) for one in attempts)
    return next(filter(None, rising), best)


def _look_below(
    attempt: Attempt,
    saddle: Saddle,
    plan: _Plan,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> None:
    """Look for paths below the `saddle` of an intended attempt until one is known.

    What is found on the way is guessed next, the last one first.
    """
    if isinstance(attempt.path, StringPath):
        done = attempt.path.method
        plan.learn(attempt.path)
        plan.searches = [search for search in plan.searches if search.method != done]
    if not plan.searches or _lower(plan.known, attempt, settings):
        return
    for path in _searched(plan, saddle, surface, settings, account):
        plan.learn(path)
        plan.try_next(path)
        if _lower(plan.known, attempt, settings):
            return


def _searched(
    plan: _Plan, saddle: Saddle, surface: Surface, settings: SearchSettings, account: Account
) -> Iterator[StringPath]:
    """What the searches of the plan find, one after the other; it is noted why one fails."""
    account.begin(Stage.LOWER_PATH)
    while plan.searches:
        search = plan.searches.pop(0)
        try:
            yield account.run(search.find, saddle.energy, surface, settings.lower_path)
        except NotConverged as error:  # no path, or none that is lower
            account.note(str(error))
        except StageError as error:
            plan.skipped.setdefault(Stage.LOWER_PATH, str(error))


def order_of_atoms(
    verdict: Verdict,
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> list[str]:
    """What to ask of the files where no single step was found and fewer bonds could have changed.

    One more attempt, with the product's atoms in that order, says whether that would be intended.
    Nothing to ask where no bonds would change at all.
    """
    wrong = verdict.label in (Label.PARTLY, Label.UNINTENDED, Label.FAILED, Label.IN_STEPS)
    ends, limit = (reactant.atoms, product.atoms), settings.verdict.bond_factor
    if not wrong or ORDER in verdict.reason:
        return []
    mapping = best_mapping(*ends, limit)
    if not mapping.fewer or not mapping.changes:
        return []
    words = in_words(product.atoms, mapping.order)
    positions = product.atoms.positions[list(mapping.order)]
    moved = with_positions(product.atoms, positions)
    other = dataclasses.replace(product, atoms=moved, hessian=None, modes=None)
    guess = partial(find_path, reactant.atoms, other.atoms, surface, settings.path)
    attempt = attempt_from(guess, reactant, other, surface, settings, account)
    account.note(f"with {words}: {attempt.outcome(reactant)}")
    if attempt.intended:
        return [f"with {words} this is intended: {ORDER}"]
    return [remark(product.atoms, mapping)]


def _only_rises(
    path: ReactionPath | None, surface: Surface, settings: SearchSettings, account: Account
) -> Attempt | None:
    """The attempt that ends with a path along which the energy only rises, if this is one."""
    if path is None or not rises(path.energies):
        return None
    account.begin(Stage.PATH)
    with contextlib.suppress(StageError):
        if not isinstance(path, StringPath):
            path = account.run(followed, path, bar(path.energies), surface, settings.lower_path)
        if verdict := only_rises(path, settings.verdict.bond_factor):
            return Attempt(verdict, path)
    return None


def _lower(
    string: StringPath | None, attempt: Attempt, settings: SearchSettings
) -> StringPath | None:
    """The string, if it stays below an intended saddle."""
    if string is None or attempt.saddle is None or not attempt.intended:
        return None
    below = attempt.saddle.energy - string.ceiling
    return string if below > settings.lower_path.margin else None


def attempt_from(
    guess: Callable[[], ReactionPath],
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
    *,
    known: Sequence[Attempt] = (),
) -> Attempt:
    """One way from the relaxed ends to a verdict; stops at the first stage that fails.

    A saddle that an attempt in `known` has come to is not followed a second time.
    """
    done = Attempt(Verdict(Label.FAILED))
    higher = max(reactant, product, key=lambda minimum: minimum.energy)
    account.watch.begin_attempt()
    try:
        account.begin(Stage.PATH)
        path = account.run(guess)
        done = dataclasses.replace(done, path=path)
        # Where nothing holds the higher end together, there may be no saddle to spend hours on.
        loose = is_loose(higher, settings.saddle.imaginary_threshold)
        if loose and (rising := _only_rises(path, surface, settings, account)):
            return rising

        for state in from_structure(done, path.highest, surface, settings, account):
            done = state
            if again := next((one for one in known if _same_saddle(one, done.saddle)), None):
                account.note("the saddle of an earlier attempt again")
                return dataclasses.replace(again, path=path, repeated=True)
    except StageError as error:
        return ended_by(error, done, account)
    aims = reactant.atoms, product.atoms
    found = _judged(done, aims, surface, settings)
    if found.verdict.label is Label.AMBIGUOUS and same_bonds(*aims, settings.verdict.bond_factor):
        return _below_branching(done, aims, surface, settings, account) or found
    return found


def ended_by(error: StageError, done: Attempt, account: Account) -> Attempt:
    """The attempt `done`, *failed* in the stage that the search is in, with what that leaves.

    That is as much of the IRC as there is, and the structures that the stage asked for last.
    """
    verdict = Verdict(Label.FAILED, str(error), stage=account.stage)
    if isinstance(error.partial, IRC):
        done = dataclasses.replace(done, irc=error.partial)
    return dataclasses.replace(done, verdict=verdict, last=error.last)


def from_structure(
    done: Attempt,
    guess: Atoms,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> Iterator[Attempt]:
    """The attempt with the saddle near `guess`, then with its IRC, then with its relaxed ends.

    Raises `StageError` where one of them cannot be had.
    """
    account.begin(Stage.SADDLE)
    saddle = account.run(refine, guess, surface, settings.saddle)
    done = dataclasses.replace(done, saddle=saddle)
    yield done
    if not saddle.converged:
        raise NotConverged(saddle.reason)

    account.begin(Stage.IRC)
    irc = account.run(follow, saddle, surface, settings.irc)
    done = dataclasses.replace(done, irc=irc)
    yield done

    account.begin(Stage.IRC_ENDS)
    first, last = (
        account.run(relax, irc.images[end], surface, settings.endpoints, of=f"the IRC's {name}")
        for end, name in ((0, "first image"), (-1, "last image"))
    )
    yield dataclasses.replace(done, ends=(first, last))
    for end in (first, last):
        if not end.converged:
            raise NotConverged(f"an end of the IRC did not relax: {end.reason}")


def _below_branching(
    done: Attempt,
    aims: tuple[Atoms, Atoms],
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> Attempt | None:
    """The attempt with the minima below the ends of its IRC, if it is intended with these."""
    assert done.ends
    threshold = settings.saddle.imaginary_threshold
    with contextlib.suppress(StageError):
        first, last = (
            account.run(settle, end.atoms, threshold, surface, settings.endpoints)
            for end in done.ends
        )
        changed = dataclasses.replace(done, ends=(first, last))
        descended = _judged(changed, aims, surface, settings)
        if descended.intended:
            verdict = dataclasses.replace(descended.verdict, reason=BRANCHING)
            return dataclasses.replace(descended, verdict=verdict)
    return None


def _same_saddle(attempt: Attempt, saddle: Saddle | None) -> bool:
    """Has an attempt that came to a verdict this saddle, atom by atom?"""
    other = attempt.saddle
    if saddle is None or not saddle.converged or other is None:
        return False
    if attempt.ends is None or attempt.verdict.label is Label.FAILED:
        return False
    near = abs(other.energy - saddle.energy) < SAME_ENERGY
    return near and superposition(other.atoms, saddle.atoms)[1] < SAME


def _judged(
    done: Attempt, aims: tuple[Atoms, Atoms], surface: Surface, settings: SearchSettings
) -> Attempt:
    """With the verdict, and the IRC in the direction of the reaction."""
    assert done.irc and done.ends
    first, last = done.ends
    if runs_backwards((first.atoms, last.atoms), *aims, settings.verdict):
        first, last = last, first
        done = dataclasses.replace(done, irc=turned(done.irc), ends=(first, last))

    def orders(atoms: Atoms) -> np.ndarray | None:
        with contextlib.suppress(CalculatorFailed):  # the verdict can do without
            return surface.bond_orders(atoms)
        return None

    verdict = verdict_of((first.atoms, last.atoms), *aims, settings.verdict, orders)
    return dataclasses.replace(done, verdict=verdict)
