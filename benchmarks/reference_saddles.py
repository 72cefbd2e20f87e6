"""What a worker does with a transition state of the literature, in the place of a search.

It refines the structure to a saddle, follows the IRC and relaxes its ends. Of a module of its own,
so that workers find it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ase import Atoms

from benchmarks.reference_data import MEANT, Known, Meant, read_set
from horm_calc.chemistry.connectivity import Pair, bonds
from reactbench_runner import calculators
from reactbench_runner.execution.workers import RunSpec, Task
from workflows.account import Account
from workflows.errors import NotConverged, StageError
from workflows.records import Label, Reaction, ReactionPath, SearchResult, Verdict
from workflows.settings import SearchSettings
from workflows.stage_names import Stage
from workflows.stages.endpoints import relax, settle
from workflows.stages.irc import follow, turned
from workflows.stages.saddle import refine
from workflows.surface import Surface
from workflows.verdict import runs_backwards, verdict_of

#: What turns by less between the ends of an IRC, degrees, has not turned.
LEAST_TURN = 60.0


def from_known_saddle(name: str, task: Task, spec: RunSpec) -> SearchResult:
    """From the transition state that the set `name` has of a reaction, or from its guess."""
    assert isinstance(task, Reaction)
    [known] = [one for one in read_set(name) if one.id == task.id]
    calculator = calculators.build(spec.calculator, task.charge, task.multiplicity)
    surface = Surface(calculator, task.charge, task.multiplicity)
    account = Account(lambda stage: None)
    found = SearchResult(task, Verdict(Label.FAILED))
    try:
        if len(known.frames) > 1:
            found = _with_endpoints(found, known, surface, spec.settings, account)
        found = _with_saddle(found, known.saddle, surface, spec.settings, account)
        found = _with_ends(found, surface, spec.settings, account)
        found = _judged(found, MEANT.get(known.id), spec.settings)
    except StageError as error:
        verdict = Verdict(Label.FAILED, str(error), stage=account.stage)
        found = dataclasses.replace(found, verdict=verdict)
    return dataclasses.replace(found, costs=account.costs, log=account.log)


def _with_endpoints(
    found: SearchResult,
    known: Known,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> SearchResult:
    """Reactant and product relaxed, and as a path these with the transition state between them."""
    account.begin(Stage.ENDPOINTS)
    threshold = settings.saddle.imaginary_threshold
    reactant, product = (
        account.run(settle, atoms, threshold, surface, settings.endpoints, of=f"the {name}")
        for name, atoms in (("reactant", known.frames[0]), ("product", known.frames[-1]))
    )
    images = (reactant.atoms, known.saddle, product.atoms)
    energies = np.array([surface.at(image)[0] for image in images])
    path = ReactionPath(images, energies, method="literature", converged=True)
    return dataclasses.replace(found, reactant=reactant, product=product, path=path)


def _with_saddle(
    found: SearchResult, guess: Atoms, surface: Surface, settings: SearchSettings, account: Account
) -> SearchResult:
    account.begin(Stage.SADDLE)
    saddle = account.run(refine, guess, surface, settings.saddle)
    return dataclasses.replace(found, saddle=saddle)


def _with_ends(
    found: SearchResult, surface: Surface, settings: SearchSettings, account: Account
) -> SearchResult:
    """The IRC and its ends, relaxed. Raises `NotConverged` where the saddle is none."""
    saddle = found.saddle
    assert saddle
    if not saddle.converged:
        raise NotConverged(saddle.reason)
    account.begin(Stage.IRC)
    irc = account.run(follow, saddle, surface, settings.irc)
    account.begin(Stage.IRC_ENDS)
    first, last = (
        account.run(relax, irc.images[end], surface, settings.endpoints, of="an end of the IRC")
        for end in (0, -1)
    )
    return dataclasses.replace(found, irc=irc, irc_ends=(first, last))


def _judged(found: SearchResult, meant: Meant | None, settings: SearchSettings) -> SearchResult:
    """With the verdict: on what the reaction has as ends, or on what the guess was meant for."""
    assert found.irc
    assert found.irc_ends
    first, last = found.irc_ends
    if meant is not None:
        verdict = as_meant((first.atoms, last.atoms), meant, settings.verdict.bond_factor)
        return dataclasses.replace(found, verdict=verdict)
    assert found.reactant
    assert found.product
    aims = found.reactant.atoms, found.product.atoms
    if runs_backwards((first.atoms, last.atoms), *aims, settings.verdict):
        first, last = last, first
        found = dataclasses.replace(found, irc=turned(found.irc), irc_ends=(first, last))
    verdict = verdict_of((first.atoms, last.atoms), *aims, settings.verdict)
    return dataclasses.replace(found, verdict=verdict)


def as_meant(ends: tuple[Atoms, Atoms], meant: Meant, bond_factor: float) -> Verdict:
    """*intended* where between the ends of an IRC, in either direction, happens what was meant.

    That is bonds between the elements that the reaction names, broken and formed, and no others; or
    without any a turn about the dihedral that it names.
    """
    first, last = (bonds(end, bond_factor) for end in ends)
    broken, formed = (_elements(ends[0], pairs) for pairs in (first - last, last - first))
    if (meant.broken, meant.formed) in ((broken, formed), (formed, broken)):
        if meant.dihedral is None:
            return Verdict(Label.INTENDED)
        one, other = (end.get_dihedral(*meant.dihedral) for end in ends)
        turn = abs((other - one + 180) % 360 - 180)
        if turn >= LEAST_TURN:
            return Verdict(Label.INTENDED)
        return Verdict(Label.UNINTENDED, f"the molecule turns by {turn:.0f}° only")
    words = [f"{' '.join(pairs)} {what}" for pairs, what in ((broken, "broken"), (formed, "formed"))
             if pairs]  # fmt: skip
    change = ", ".join(words) or "no bonds change"
    return Verdict(Label.UNINTENDED, f"between the ends of its IRC: {change}")


def _elements(atoms: Atoms, pairs: frozenset[Pair]) -> tuple[str, ...]:
    symbols = atoms.symbols
    return tuple(sorted("-".join(sorted((symbols[i], symbols[j]))) for i, j in pairs))
