"""The search, from two structures to a verdict and free energies.

(preparation ->) endpoints -> attempts (path -> saddle -> IRC -> relaxation of the IRC's ends ->
verdict, with a look for a lower-energy path) -> thermochemistry. The best attempt is the result.
From a guess of the saddle alone: saddle -> IRC -> its ends -> thermochemistry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, overload

from ase import Atoms
from ase.calculators.calculator import Calculator

from horm_calc.capabilities import capabilities_of
from horm_calc.chemistry.connectivity import describe_changes
from workflows import remarks
from workflows.account import Account, Progress
from workflows.atom_order import DEGENERATE, check_order
from workflows.attempts import order_of_atoms, try_guesses
from workflows.barrierless import fallen_end
from workflows.both_ends import is_lost, relax_both
from workflows.chains import find_chain, unconnected
from workflows.conclusion import concluded
from workflows.end_modes import ends_with_modes
from workflows.errors import InputError, StageError
from workflows.found import find_ends
from workflows.guesses import over
from workflows.input_checks import check_calculator, check_reaction, solvent_of_files
from workflows.journal import Journal, Recorder
from workflows.logs import log_with_cause
from workflows.preparation import Prepared, prepare
from workflows.records import (
    Cost,
    ElementaryStep,
    Label,
    Minimum,
    Reaction,
    SearchResult,
    Start,
    Verdict,
)
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.separated import Build, SurfaceOf, surfaces
from workflows.starts import FORMS, SaddleGuess, start_of
from workflows.status import Tell, Watch
from workflows.surface import Surface
from workflows.verdict import check_relaxation


@overload
def search(
    reaction: Start,
    calculator: Calculator,
    settings: SearchSettings | None = None,
    *,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
    journal: Journal | None = None,
) -> SearchResult: ...
@overload
def search(
    reactant: Atoms,
    product: Atoms,
    calculator: Calculator,
    *,
    guess: Atoms | None = None,
    settings: SearchSettings | None = None,
    charge: int = 0,
    multiplicity: int = 1,
    solvent: str | None = None,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
    journal: Journal | None = None,
) -> SearchResult: ...
@overload
def search(
    *,
    calculator: Calculator,
    guess: Atoms,
    settings: SearchSettings | None = None,
    charge: int = 0,
    multiplicity: int = 1,
    solvent: str | None = None,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
    journal: Journal | None = None,
) -> SearchResult: ...
@overload
def search(
    reactant: Atoms,
    *,
    calculator: Calculator,
    react: str,
    settings: SearchSettings | None = None,
    charge: int = 0,
    multiplicity: int = 1,
    solvent: str | None = None,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
    journal: Journal | None = None,
) -> SearchResult: ...
def search(  # type: ignore[misc]  # by place, a calculator stands where a product does
    reactant: Atoms | Start | None = None,
    product: Atoms | Calculator | None = None,
    calculator: Calculator | SearchSettings | None = None,
    *,
    reaction: Start | None = None,
    guess: Atoms | None = None,
    react: str | None = None,
    settings: SearchSettings | None = None,
    charge: int | None = None,
    multiplicity: int | None = None,
    solvent: str | None = None,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
    journal: Journal | None = None,
) -> SearchResult:
    """Find and verify the transition state of one reaction with any ASE calculator.

    Called as ``search(reactant, product, calculator, settings=settings)``, or as
    ``search(reaction, calculator, settings)``: a `Reaction` is both ends, with an id, charge and
    multiplicity of its own. All arguments may be named. Where not both ends are known,
    ``search(guess=guess, calculator=calculator)`` starts from a guess of the transition state and
    ``search(reactant, react="break 3-7, form 3-9", calculator=calculator)`` makes the product; so
    do a `SaddleGuess` and `BondChanges` in the place of the reaction.

    Nothing that goes wrong in a stage is raised: the verdict is then *failed*, with stage and
    cause. Charge and multiplicity reach calculators that read ASE's initial charges and magnetic
    moments (tblite does).

    Parameters
    ----------
    reactant, product : Atoms
        The two ends, with the same atoms in the same order, positions in Å. Their sum formula
        becomes the id.
    calculator : Calculator
        Any ASE calculator.
    reaction : Start
        Instead of the two ends: a `Reaction`, `SaddleGuess` or `BondChanges`.
    guess : Atoms, optional
        A guess of the transition state, in the same order of atoms. Beside two ends the first
        attempt starts from it; alone, the verdict is *found* and the ends are those of its IRC.
    react : str, optional
        What happens to the reactant, atoms counted from 1; it stands in the place of a product.
    settings : SearchSettings, optional
        Of all stages.
    charge, multiplicity : int, optional
        Of the two ends: total charge and spin multiplicity (2S + 1); 0 and 1 unless given.
    solvent : str, optional
        Of the two ends; by default that of the calculator. The calculator must compute in it.
    progress : callable, optional
        Called with the name of each stage as it begins.
    on_status : callable, optional
        Called with a `Status` as each stage begins and ends and some five times a second between,
        as far as the calculator answers so often: ``on_status=print`` shows how the search goes on.
    build : callable, optional
        ``build(charge, multiplicity)`` makes the calculators of the molecules of an end that is in
        pieces, in the solvent of the reaction. Without it they share `calculator`, as far as they
        are like the reaction (neutral singlets of a neutral singlet).
    journal : Journal, optional
        Keeps every stage as it ends, and has those of an earlier start that was interrupted.

    Returns
    -------
    SearchResult
        The verdict, and what each stage that was reached has found. Energies in eV.

    Raises
    ------
    InputError
        When `calculator` is no calculator, but the name of one, say, or `react` is not understood.
    TypeError
        When there are neither two ends nor a reaction, or a reaction and what it has itself.
    """
    if isinstance(reactant, Start) and reaction is None:
        reaction, reactant = reactant, None
        calculator, settings = _after_reaction(product, calculator, settings)
        product = None
    if reaction is None:
        if solvent is None and isinstance(calculator, Calculator):
            solvent = capabilities_of(calculator).solvent
        more = charge, multiplicity, solvent
        reaction = start_of(reactant, product, guess, react, *more)
    else:
        _check_alone(
            reaction,
            reactant=reactant,
            product=product,
            guess=guess,
            react=react,
            charge=charge,
            multiplicity=multiplicity,
            solvent=solvent,
        )
    if calculator is None or isinstance(calculator, str | type | Atoms | SearchSettings):
        raise InputError(
            f"the calculator is {calculator!r}; give an ASE calculator, such as "
            "horm_calc.HormCalculator() or horm_calc.gfn2_xtb(charge, multiplicity)"
        )
    if not isinstance(settings, SearchSettings | None):
        raise TypeError(f"the settings are {settings!r}; give SearchSettings")
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    surface.watch = Watch(on_status)
    recorder = Recorder(journal, surface) if journal else None
    account = Account(progress or (lambda stage: None), watch=surface.watch, recorder=recorder)
    made = surfaces(reaction, calculator, build, surface.watch)
    result = _search(reaction, surface, made, settings or SearchSettings(), account)
    account.watch.end()
    if doubt := solvent_of_files(reaction):
        result = dataclasses.replace(result, warnings=(doubt, *result.warnings))
    return result


def _check_alone(reaction: Start, **beside: object) -> None:
    """Raise `TypeError` where a `Start` is none, or something stands beside it that it has."""
    if not isinstance(reaction, Start):
        raise TypeError(
            f"the reaction is {reaction!r:.80}; give a Reaction, SaddleGuess or BondChanges"
        )
    if given := [name for name, value in beside.items() if value is not None]:
        raise TypeError(
            f"a {type(reaction).__name__} has structures, charge, multiplicity and solvent of its "
            f"own; leave out {', '.join(given)}, or give it to the {type(reaction).__name__}"
        )


def _after_reaction(product: Any, calculator: Any, settings: Any) -> tuple[Any, Any]:
    """Calculator and settings where a reaction stands for both ends.

    By place, they stand where `search` has the product and the calculator.
    """
    if product is None:
        return calculator, settings
    if calculator is not None and settings is not None:
        raise TypeError(f"{FORMS}, and settings; there is one argument more")
    return product, settings if calculator is None else calculator


def _search(
    start: Start,
    surface: Surface,
    surface_of: SurfaceOf,
    settings: SearchSettings,
    account: Account,
) -> SearchResult:
    finish = partial(concluded, start, surface, surface_of, settings, account)
    doubts: list[str] = []
    minima: dict[str, Minimum] = {}
    try:
        check_reaction(start, settings.verdict)
        check_calculator(start, surface.capabilities)
        if not isinstance(start, SaddleGuess):
            prepared = prepare(start, surface, settings, account)
            if isinstance(start, Reaction):  # else the product has the reactant's own order
                doubts = _order_of_atoms(start, settings, account)
            relax_both(minima, prepared.reaction, surface, settings, account)
    except InputError as error:
        return SearchResult(start, Verdict(Label.FAILED, str(error), stage=Stage.INPUT))
    except StageError as error:
        if account.stage is Stage.INPUT:  # the calculator broke before any stage had begun
            account.add(Cost(), log_with_cause(error))
        stage = Stage.PREPARATION if account.stage is Stage.PREPARATION else Stage.ENDPOINTS
        lost = tuple(
            name for name, end in minima.items() if is_lost(name, end, prepared.reaction, settings)
        )
        verdict = Verdict(Label.FAILED, str(error), stage=stage, lost=lost)
        return SearchResult(
            start,
            verdict,
            reactant=minima.get("reactant"),
            product=minima.get("product"),
            warnings=tuple(doubts),
            costs=account.costs,
            log=account.log,
            last_structures=error.last,
        )

    if isinstance(start, SaddleGuess):
        found = find_ends(start, surface, settings, account)
        return finish(found.attempt, found.reactant, found.product, warnings=found.warnings)
    return _between(start, prepared, minima, doubts, surface, settings, account, finish)


def _between(
    start: Start,
    prepared: Prepared,
    minima: dict[str, Minimum],
    doubts: list[str],
    surface: Surface,
    settings: SearchSettings,
    account: Account,
    finish: Callable[..., SearchResult],
) -> SearchResult:
    """The result of a search between the relaxed ends.

    doubts: on the order of the atoms. finish: `concluded`, but for what is found here.
    """
    reaction = prepared.reaction
    given = {"reactant": reaction.reactant, "product": reaction.product}
    reactant, product = minima["reactant"], minima["product"]
    relaxed = {name: minimum.atoms for name, minimum in minima.items()}
    if fallen := fallen_end(given, relaxed, settings.verdict):
        return SearchResult(
            start,
            fallen,
            reactant=reactant,
            product=product,
            warnings=(
                *prepared.warnings,
                *doubts,
                *remarks.of_calculator(relaxed.values(), surface, settings, account.traceback),
            ),
            attempts=0,
            costs=account.costs,
            log=account.log,
        )
    limit = settings.verdict.bond_factor
    asked = describe_changes(reactant.atoms, product.atoms, limit) or "no bond changes"
    account.note(f"from reactant to product: {asked}")
    ends = reactant.atoms, product.atoms
    guess = over(prepared.inner, prepared.method, ends, surface) if prepared.inner else None
    tried = try_guesses(reactant, product, surface, settings, account, given=guess)
    best, attempts = tried.best, tried.attempts
    steps: tuple[ElementaryStep, ...] = ()
    first, verdict = (
        one.verdict
        if one.verdict.label is Label.BARRIERLESS
        else check_relaxation(one.verdict, given, relaxed, settings.verdict)
        for one in (attempts[0], best)
    )
    if unconnected(verdict) and (
        chain := find_chain(attempts, reactant, product, surface, settings, account)
    ):
        best, attempts, steps = chain.best(reactant, limit), chain.attempts, chain.steps
        verdict = best.verdict
    order: list[str] = []
    if isinstance(start, Reaction):
        order = order_of_atoms(verdict, reactant, product, surface, settings, account)
    best, steps = ends_with_modes(best, steps, minima, surface, settings, account)
    if verdict.label is Label.INTENDED:
        doubts = [text for text in doubts if DEGENERATE not in text]
    return finish(
        dataclasses.replace(best, verdict=verdict),
        reactant,
        product,
        given,
        warnings=prepared.warnings,
        on_order=doubts + order if reaction.remapped else order or doubts,
        tried=tried,
        steps=steps if len(steps) > 1 else (),
        attempts=len(attempts),
        first_verdict=first,
    )


def _order_of_atoms(reaction: Reaction, settings: SearchSettings, account: Account) -> list[str]:
    """What to know of the order of the atoms before the search, as warnings."""
    if reaction.remapped:
        account.note(reaction.remapped)
        return [reaction.remapped]
    doubt, uncertain = check_order(reaction, settings.verdict.bond_factor)
    if uncertain:
        account.note(uncertain)
    return [doubt] if doubt else []
