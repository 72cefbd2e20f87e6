"""The search, from two structures to a verdict and free energies.

endpoints -> attempts (path -> saddle -> IRC -> relaxation of the IRC's ends -> verdict, with a look
for a lower-energy path) -> thermochemistry. The best attempt is the result.
"""

from __future__ import annotations

import contextlib
from typing import Any, overload

from ase import Atoms
from ase.calculators.calculator import Calculator

from horm_calc.chemistry.connectivity import describe_changes
from horm_calc.chemistry.superposition import SAME, superposition
from workflows import remarks
from workflows.account import Account, Progress
from workflows.atom_order import DEGENERATE, check_order
from workflows.attempts import order_of_atoms, try_guesses
from workflows.barrierless import changed_beyond_doubt, fallen_end
from workflows.chains import find_chain, unconnected
from workflows.errors import InputError, NotConverged, StageError
from workflows.input_checks import check_calculator, check_reaction
from workflows.logs import log_with_cause
from workflows.records import (
    Cost,
    ElementaryStep,
    Label,
    Minimum,
    Reaction,
    SearchResult,
    SeparatedMolecules,
    Verdict,
)
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import descend, settle
from workflows.stages.free_energy import free_energies
from workflows.stages.separated import Build, SurfaceOf, in_pieces, separate, surfaces
from workflows.status import Tell, Watch
from workflows.surface import Surface
from workflows.verdict import check_relaxation


@overload
def search(
    reaction: Reaction,
    calculator: Calculator,
    settings: SearchSettings | None = None,
    *,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
) -> SearchResult: ...
@overload
def search(
    reactant: Atoms,
    product: Atoms,
    calculator: Calculator,
    *,
    settings: SearchSettings | None = None,
    charge: int = 0,
    multiplicity: int = 1,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
) -> SearchResult: ...
def search(  # type: ignore[misc]  # by place, a calculator stands where a product does
    reactant: Atoms | Reaction | None = None,
    product: Atoms | Calculator | None = None,
    calculator: Calculator | SearchSettings | None = None,
    *,
    reaction: Reaction | None = None,
    settings: SearchSettings | None = None,
    charge: int | None = None,
    multiplicity: int | None = None,
    progress: Progress | None = None,
    on_status: Tell | None = None,
    build: Build | None = None,
) -> SearchResult:
    """Find and verify the transition state of one reaction with any ASE calculator.

    Called as ``search(reactant, product, calculator, settings=settings)``, or as
    ``search(reaction, calculator, settings)``: a `Reaction` is both ends, with an id, charge and
    multiplicity of its own. All arguments may be named.

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
    reaction : Reaction
        Instead of the two ends.
    settings : SearchSettings, optional
        Of all stages.
    charge, multiplicity : int, optional
        Of the two ends: total charge and spin multiplicity (2S + 1); 0 and 1 unless given.
    progress : callable, optional
        Called with the name of each stage as it begins.
    on_status : callable, optional
        Called with a `Status` as each stage begins and ends and some five times a second between,
        as far as the calculator answers so often: ``on_status=print`` shows how the search goes on.
    build : callable, optional
        ``build(charge, multiplicity)`` makes the calculators of the molecules of an end that is in
        pieces. Without it they share `calculator`, as far as they are like the reaction (neutral
        singlets of a neutral singlet).

    Returns
    -------
    SearchResult
        The verdict, and what each stage that was reached has found. Energies in eV.

    Raises
    ------
    InputError
        When `calculator` is no calculator, but the name of one, say.
    TypeError
        When there are neither two ends nor a reaction, or a reaction and what it has itself.
    """
    if isinstance(reactant, Reaction) and reaction is None:
        reaction, reactant = reactant, None
        calculator, settings = _after_reaction(product, calculator, settings)
        product = None
    if reaction is None:
        reaction = _reaction_of(reactant, product, charge, multiplicity)
    elif any(one is not None for one in (reactant, product, charge, multiplicity)):
        raise TypeError(f"{_FORMS}: a Reaction has ends, charge and multiplicity of its own")
    if calculator is None or isinstance(calculator, str | type | Atoms | SearchSettings):
        raise InputError(
            f"the calculator is {calculator!r}; give an ASE calculator, such as "
            "horm_calc.HormCalculator() or horm_calc.gfn2_xtb(charge, multiplicity)"
        )
    if not isinstance(settings, SearchSettings | None):
        raise TypeError(f"the settings are {settings!r}; give SearchSettings")
    account = Account(progress or (lambda stage: None), watch=Watch(on_status))
    result = _search(reaction, calculator, settings or SearchSettings(), account, build)
    account.watch.end()
    return result


_FORMS = "search() takes (reactant, product, calculator) or (reaction, calculator)"


def _after_reaction(product: Any, calculator: Any, settings: Any) -> tuple[Any, Any]:
    """Calculator and settings where a reaction stands for both ends.

    By place, they stand where `search` has the product and the calculator.
    """
    if product is None:
        return calculator, settings
    if calculator is not None and settings is not None:
        raise TypeError(f"{_FORMS}, and settings; there is one argument more")
    return product, settings if calculator is None else calculator


def _reaction_of(
    reactant: object, product: object, charge: int | None, multiplicity: int | None
) -> Reaction:
    if not isinstance(reactant, Atoms) or not isinstance(product, Atoms):
        kinds = " and ".join(type(one).__name__ for one in (reactant, product))
        raise TypeError(f"{_FORMS}: two Atoms or a Reaction, not {kinds}")
    return Reaction(
        reactant.get_chemical_formula(),
        reactant,
        product,
        charge=0 if charge is None else charge,
        multiplicity=1 if multiplicity is None else multiplicity,
    )


def _search(
    reaction: Reaction,
    calculator: Calculator,
    settings: SearchSettings,
    account: Account,
    build: Build | None,
) -> SearchResult:
    surface = Surface(calculator, reaction.charge, reaction.multiplicity)
    surface.watch = account.watch
    doubts: list[str] = []
    try:
        check_reaction(reaction)
        check_calculator(reaction, surface.capabilities)
        doubts = _order_of_atoms(reaction, settings, account)
        reactant, product = _endpoints(reaction, surface, settings, account)
    except InputError as error:
        return SearchResult(reaction, Verdict(Label.FAILED, str(error), stage=Stage.INPUT))
    except StageError as error:
        if account.stage is Stage.INPUT:  # the calculator broke before any stage had begun
            account.add(Cost(), log_with_cause(error))
        verdict = Verdict(Label.FAILED, str(error), stage=Stage.ENDPOINTS)
        return SearchResult(
            reaction, verdict, warnings=tuple(doubts), costs=account.costs, log=account.log
        )

    given = {"reactant": reaction.reactant, "product": reaction.product}
    minima = {"reactant": reactant, "product": product}
    relaxed = {name: minimum.atoms for name, minimum in minima.items()}
    if fallen := fallen_end(given, relaxed, settings.verdict):
        return SearchResult(
            reaction,
            fallen,
            reactant=reactant,
            product=product,
            warnings=(
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
    tried = try_guesses(reactant, product, surface, settings, account)
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
    order = order_of_atoms(verdict, reactant, product, surface, settings, account)
    account.begin(Stage.THERMOCHEMISTRY)
    free = account.run(free_energies, reactant, product, best.saddle, verdict, surface, settings)
    surface_of = surfaces(reaction, calculator, build, account.watch)
    separated, not_separated = _separated(reaction, minima, surface_of, settings, account)
    if verdict.label is Label.INTENDED:
        doubts = [text for text in doubts if DEGENERATE not in text]
    warnings = (
        *remarks.of_structures(reaction, minima, best.saddle, surface, settings, account.traceback),
        *remarks.of_minima(free.skipped),
        *remarks.of_isomers(best.ends, minima, verdict, settings.verdict),
        *(doubts + order if reaction.remapped else order or doubts),
        *remarks.of_lower_path(best.saddle, tried.lower_path),
        *remarks.of_pieces(minima, separated, not_separated, settings.verdict),
    )
    return SearchResult(
        reaction,
        verdict,
        reactant=reactant,
        product=product,
        path=best.path,
        saddle=best.saddle,
        irc=best.irc,
        irc_ends=best.ends,
        steps=steps if len(steps) > 1 else (),
        thermochemistry=free.found,
        skipped=free.skipped | tried.skipped | not_separated,
        warnings=tuple(dict.fromkeys(warnings)),
        attempts=len(attempts),
        first_verdict=first,
        lower_path=tried.lower_path,
        separated=separated,
        costs=account.costs,
        log=account.log,
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
        account.begin(Stage.SEPARATED)
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
    account.begin(Stage.ENDPOINTS)
    given = {"reactant": reaction.reactant, "product": reaction.product}
    relaxed, changed = {}, ""
    for name, atoms in given.items():
        relaxed[name] = _minimum(name, atoms, surface, settings, account)
        account.watch.reference = relaxed["reactant"].energy
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
