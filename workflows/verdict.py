"""Does a saddle connect the reactant with the product?

The two relaxed ends of the IRC are compared with reactant and product as molecular graphs.
A bond close to the limit is in doubt; when its answer decides the verdict, the verdict is
ambiguous and names the bond.
"""

from __future__ import annotations

import dataclasses
import itertools

from ase import Atoms

from workflows.connectivity import (
    Match,
    describe_changes,
    match_bonds,
    pair_name,
    same_bonds,
    same_molecule,
)
from workflows.records import Label, Verdict
from workflows.settings import VerdictSettings

#: Does the first end match (reactant, product), and the last end (reactant, product)?
Answers = tuple[bool, bool, bool, bool]


def judge(
    ends: tuple[Atoms, Atoms], reactant: Atoms, product: Atoms, settings: VerdictSettings
) -> Verdict:
    """Compare the relaxed IRC ends with reactant and product.

    *intended*: one end is the reactant and the other the product, atom by atom. *partly
    intended*: one of them is reached. `relabelled` repeats the test on graphs without atom
    labels, where a degenerate rearrangement or an exchange of equivalent hydrogens passes.
    """
    limit = settings.bond_factor
    pairs = list(itertools.product(ends, (reactant, product)))
    label, side = _label(_answers([same_bonds(end, aim, limit) for end, aim in pairs]))
    relabelled, _ = _label(_answers([same_molecule(end, aim, limit) for end, aim in pairs]))
    if same_bonds(reactant, product, limit):
        return Verdict(
            Label.AMBIGUOUS,
            "reactant and product have the same bonds, so bonds cannot tell whether the "
            "saddle connects them; compare the geometries of the IRC's ends",
            relabelled=relabelled,
            at_limit=label,
        )
    doubts = _doubts(pairs, settings)
    if doubts:
        return Verdict(
            Label.AMBIGUOUS,
            f"'{label}' at the bond limit, but too close to it: {'; '.join(doubts)}",
            side=side,
            relabelled=relabelled,
            at_limit=label,
            deciding_bonds=doubts,
        )
    return Verdict(label, _reason(label, side), side, relabelled=relabelled, at_limit=label)


def question_relaxation(
    verdict: Verdict, name: str, given: Atoms, relaxed: Atoms, settings: VerdictSettings
) -> Verdict:
    """Make a verdict ambiguous when relaxation has turned an endpoint into something else.

    The surface then has no minimum like the one that was given, and a saddle that connects
    the relaxed structure answers another question. Bonds in doubt do not count.
    """
    match, _ = match_bonds(given, relaxed, settings.bond_factor, settings.margin)
    if verdict.label not in (Label.INTENDED, Label.PARTLY) or match is not Match.NO:
        return verdict
    changes = describe_changes(given, relaxed, settings.bond_factor)
    return dataclasses.replace(
        verdict,
        label=Label.AMBIGUOUS,
        reason=f"'{verdict.label}' for the relaxed structures, but relaxation changed the "
        f"{name}: {changes}",
    )


def _answers(values: list[bool]) -> Answers:
    first, second, third, fourth = values
    return first, second, third, fourth


def _label(answers: Answers) -> tuple[Label, str]:
    first_r, first_p, last_r, last_p = answers
    if (first_r and last_p) or (first_p and last_r):
        return Label.INTENDED, ""
    if first_r or last_r:
        return Label.PARTLY, "reactant"
    if first_p or last_p:
        return Label.PARTLY, "product"
    return Label.UNINTENDED, ""


def _reason(label: Label, side: str) -> str:
    if label is Label.PARTLY:
        return f"the IRC reaches the {side} but not the other end"
    if label is Label.UNINTENDED:
        return "the IRC reaches neither the reactant nor the product"
    return ""


def _doubts(pairs: list[tuple[Atoms, Atoms]], settings: VerdictSettings) -> tuple[str, ...]:
    """The bonds in doubt, in words, if the verdict depends on them; none if it does not."""
    matches = [match_bonds(end, aim, settings.bond_factor, settings.margin) for end, aim in pairs]
    possible = [
        [True, False] if match is Match.UNSURE else [match is Match.YES] for match, _ in matches
    ]
    if len({_label(_answers(list(answers))) for answers in itertools.product(*possible)}) == 1:
        return ()
    names = ("reactant", "product", "reactant", "product")
    found: dict[str, None] = {}
    for (end, aim), (_, doubtful), name in zip(pairs, matches, names, strict=True):
        for pair in doubtful:
            found[
                f"{pair_name(end, pair)} {end.get_distance(*pair):.2f} Å at an end of the IRC, "
                f"{aim.get_distance(*pair):.2f} Å in the {name}"
            ] = None
    return tuple(found)
