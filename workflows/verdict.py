"""Does a saddle connect the reactant with the product?

The two relaxed ends of the IRC are compared with reactant and product as molecular graphs, and
where these have the same bonds as stereoisomers.
A bond close to the limit is in doubt; when its answer decides the verdict, the verdict is
ambiguous and names the bond.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ase import Atoms

from horm_calc.chemistry.connectivity import (
    Match,
    Pair,
    bonds,
    describe_changes,
    match_bonds,
    pair_name,
    same_bonds,
    same_molecule,
)
from horm_calc.chemistry.equivalence import ORDER, exchanged, lie_upon, names
from horm_calc.chemistry.stereochemistry import Stereochemistry, compare
from horm_calc.chemistry.superposition import SAME, superposition
from workflows.barrierless import changed_beyond_doubt
from workflows.records import Label, Verdict
from workflows.settings import VerdictSettings

#: What gives the bond orders (n, n) of a structure, or None.
BondOrders = Callable[[Atoms], np.ndarray | None]


def verdict_of(
    ends: tuple[Atoms, Atoms],
    reactant: Atoms,
    product: Atoms,
    settings: VerdictSettings,
    orders: BondOrders = lambda atoms: None,
) -> Verdict:
    """Compare the relaxed IRC ends with reactant and product.

    *intended*: one end is the reactant and the other the product, atom by atom; where bonds cannot
    tell, the ends coincide with them. *partly intended*: one of them is reached.
    `relabelled` repeats the test on graphs without atom labels, where a degenerate rearrangement
    or an exchange of equivalent hydrogens passes. `orders` are asked for where distances leave the
    verdict open.
    """
    verdict = _by_bonds(ends, reactant, product, settings, orders)
    if verdict.label is Label.INTENDED:
        return verdict
    aims, limit = (reactant, product), settings.bond_factor
    if any(lie_upon(pair, aims, limit) for pair in (ends, ends[::-1])):
        return Verdict(Label.INTENDED, relabelled=Label.INTENDED, at_limit=Label.INTENDED)
    if verdict.label in (Label.PARTLY, Label.UNINTENDED) and verdict.relabelled is Label.INTENDED:
        words = _with_exchanged_atoms(ends, aims, limit)
        return dataclasses.replace(verdict, reason=f"{verdict.reason}{words}")
    return verdict


def _with_exchanged_atoms(
    ends: tuple[Atoms, Atoms], aims: tuple[Atoms, Atoms], limit: float
) -> str:
    """Which exchange would make a verdict *intended*, to go on with in its reason."""
    if same_bonds(*ends, limit):
        return ""
    order = exchanged(ends, aims, limit)
    atoms = "more than a few atoms" if order is None else names(aims[0], order)
    if not atoms:
        return "; up to the numbering of equivalent atoms this is intended"
    return f"; with {atoms} exchanged this is intended: {ORDER}"


def _by_bonds(
    ends: tuple[Atoms, Atoms],
    reactant: Atoms,
    product: Atoms,
    settings: VerdictSettings,
    orders: BondOrders,
) -> Verdict:
    """The verdict of bonds and, where those do not tell, of configurations."""
    limit = settings.bond_factor
    pairs = list(itertools.product(ends, (reactant, product)))
    relabelled, _ = _label([same_molecule(end, aim, limit) for end, aim in pairs])
    label, side = _label([same_bonds(end, aim, limit) for end, aim in pairs])
    matches = [match_bonds(end, aim, limit, settings.margin) for end, aim in pairs]
    possible = _possible([match for match, _ in matches])
    doubts: tuple[str, ...] = ()
    told = ""
    if len(possible) > 1:
        doubts = _doubts(pairs, [doubtful for _, doubtful in matches])
        if decided := _by_orders(ends, (reactant, product), settings, orders):
            possible, doubts, told = decided, (), f"bond orders decide: {'; '.join(doubts)}"
    if len(possible) == 1:
        label, side = possible.pop()  # where a bond in doubt makes no difference
    reason = _reason(label, side, ends, {"reactant": reactant, "product": product}, limit)
    reason = "; ".join(filter(None, (reason, told)))
    verdict = Verdict(label, reason, side, relabelled=relabelled, at_limit=label)
    if doubts:
        reason = f"'{label}' at the bond limit, but too close to it: {'; '.join(doubts)}"
        verdict = dataclasses.replace(
            verdict, label=Label.AMBIGUOUS, reason=reason, deciding_bonds=doubts
        )
    if same_bonds(reactant, product, limit):
        return _by_configuration(verdict, ends, reactant, product, limit)
    return verdict


def _by_orders(
    ends: tuple[Atoms, Atoms],
    aims: tuple[Atoms, Atoms],
    settings: VerdictSettings,
    orders: BondOrders,
) -> set[tuple[Label, str]]:
    """The only label and side that bond orders leave, as a set; empty where they leave more."""
    of_ends, of_aims = ([(one, orders(one)) for one in pair] for pair in (ends, aims))
    matches = []
    for (end, here), (aim, there) in itertools.product(of_ends, of_aims):
        if here is None or there is None:
            return set()
        match, _ = match_bonds(end, aim, settings.bond_factor, settings.margin, (here, there))
        matches.append(match)
    possible = _possible(matches)
    return possible if len(possible) == 1 else set()


def _by_configuration(
    verdict: Verdict, ends: tuple[Atoms, Atoms], reactant: Atoms, product: Atoms, limit: float
) -> Verdict:
    """The verdict where reactant and product have the same bonds.

    That an end of the IRC has other ones is certain; which of the two it is, is not. Where both
    ends have them, stereoisomers can still be told apart. Of conformers an end is known for what it
    is only where it lies upon it.
    """
    if verdict.at_limit is not Label.INTENDED:
        reason = "only one end of the IRC has the bonds that reactant and product share"
        partly = verdict.label is Label.PARTLY
        return dataclasses.replace(verdict, reason=reason if partly else verdict.reason, side="")
    between = compare(reactant, product, limit)
    doubts = verdict.reason.partition("' ")[2]  # what follows the label of an ambiguous one
    if between.same:
        apart = _apart(ends, (reactant, product))
        first, last = (distance < SAME for distance in apart)
        label, side = _label([first, False, False, last])
        reason = (
            "reactant and product are conformers with the same bonds, which cannot tell whether "
            "the saddle connects them, and the ends of the IRC do not coincide with them (RMSD "
            f"{apart[0]:.2f} and {apart[1]:.2f} Å): compare the geometries"
        )
        if verdict.label is Label.AMBIGUOUS:
            reason = f"'{label}' {doubts}"
        return dataclasses.replace(
            verdict, label=Label.AMBIGUOUS, reason=reason, side=side, at_limit=label
        )
    found = [compare(aim, end, limit) for end in ends for aim in (reactant, product)]
    label, side = _isomers_reached(found, between)
    if verdict.label is Label.AMBIGUOUS:
        reason = f"'{label}' {doubts}"
        return dataclasses.replace(verdict, reason=reason, side=side, at_limit=label)
    other = "product" if side == "reactant" else "reactant"
    reasons = {
        Label.PARTLY: f"neither end of the IRC is the stereoisomer of the {other}",
        Label.UNINTENDED: "both ends of the IRC are stereoisomers other than reactant and product",
    }
    return dataclasses.replace(
        verdict, label=label, side=side, reason=reasons.get(label, ""), at_limit=label
    )


def _isomers_reached(
    found: Sequence[Stereochemistry], between: Stereochemistry
) -> tuple[Label, str]:
    """As `_label`, of stereoisomers; a saddle and its mirror image are one reaction.

    between: of reactant and product.
    """
    label, side = _label([one.same for one in found])
    # Where reactant and product are mirror images, which of them an end is, is the question.
    if label is Label.INTENDED or between.mirrored:
        return label, side
    mirrored, other = _label([one.mirrored for one in found])
    better = list(Label).index(mirrored) < list(Label).index(label)
    return (mirrored, other) if better else (label, side)


def runs_backwards(
    ends: tuple[Atoms, Atoms], reactant: Atoms, product: Atoms, settings: VerdictSettings
) -> bool:
    """Are more ends of the IRC the right ones when it is read from its last image?"""
    limit, aims = settings.bond_factor, (reactant, product)
    here, there = (lie_upon(pair, aims, limit) for pair in (ends, ends[::-1]))
    if here or there:  # both where equivalent atoms make of one end the other
        return there and not (here and max(_apart(ends, aims)) <= max(_apart(ends[::-1], aims)))
    isomers = same_bonds(reactant, product, limit)

    def right(pair: tuple[Atoms, Atoms]) -> tuple[bool, bool]:
        """Of an end and an aim: is the one the other, or its mirror image?"""
        end, aim = pair
        if not same_bonds(aim, end, limit):
            return False, False
        found = compare(aim, end, limit) if isomers else None
        return (found.same, found.mirrored) if found else (True, True)

    def count(ends: tuple[Atoms, Atoms]) -> int:
        found = [right(pair) for pair in zip(ends, aims, strict=True)]
        return max(sum(same for same, _ in found), sum(mirrored for _, mirrored in found))

    return count((ends[1], ends[0])) > count(ends)


def _apart(ends: tuple[Atoms, Atoms], aims: tuple[Atoms, Atoms]) -> tuple[float, float]:
    """How far the ends are from the aims, atom by atom, Å."""
    first, last = (superposition(*pair)[1] for pair in zip(ends, aims, strict=True))
    return first, last


def check_relaxation(
    verdict: Verdict,
    given: Mapping[str, Atoms],
    relaxed: Mapping[str, Atoms],
    settings: VerdictSettings,
) -> Verdict:
    """Make a verdict ambiguous when relaxation has turned an end into something else.

    The surface then has no minimum like the one that was given, and a saddle that connects
    the relaxed structure answers another question. Bonds in doubt do not count. given, relaxed: the
    structures of "reactant" and "product".
    """
    lost = tuple(
        name for name in given if changed_beyond_doubt(given[name], relaxed[name], settings)
    )
    verdict = dataclasses.replace(verdict, lost=lost)
    if not lost or verdict.label in (Label.UNINTENDED, Label.FAILED):
        return verdict
    changes = "; ".join(
        f"relaxation changed the {name}: "
        f"{describe_changes(given[name], relaxed[name], settings.bond_factor)}"
        for name in lost
    )
    known = f"'{verdict.label}' for the relaxed structures, but "
    if verdict.label is Label.AMBIGUOUS:
        known = f"{verdict.reason}; "
    return dataclasses.replace(verdict, label=Label.AMBIGUOUS, reason=f"{known}{changes}")


def _label(answers: Sequence[bool]) -> tuple[Label, str]:
    """From: does the first end match (reactant, product), and the last end (reactant, product)?"""
    first_r, first_p, last_r, last_p = answers
    if (first_r and last_p) or (first_p and last_r):
        return Label.INTENDED, ""
    if first_r or last_r:
        return Label.PARTLY, "reactant"
    if first_p or last_p:
        return Label.PARTLY, "product"
    return Label.UNINTENDED, ""


def _reason(
    label: Label,
    side: str,
    ends: tuple[Atoms, Atoms],
    aims: Mapping[str, Atoms],
    limit: float,
) -> str:
    """What the IRC does not reach, and which bonds its end has instead: it may be another step."""
    if label is Label.UNINTENDED:
        words = [
            f"its {place} end differs from the {name} by {describe_changes(aims[name], end, limit)}"
            for place, name, end in zip(("first", "last"), aims, ends, strict=True)
        ]
        return f"the IRC reaches neither the reactant nor the product: {'; '.join(words)}"
    if label is not Label.PARTLY:
        return ""
    other = "product" if side == "reactant" else "reactant"
    # Fewer bonds in common with the side that is reached: the end that should be the other side.
    wrong = max(ends, key=lambda end: len(bonds(end, limit) ^ bonds(aims[side], limit)))
    if same_bonds(wrong, aims[side], limit):
        return f"both ends of the IRC are the {side}"
    return (
        f"the IRC reaches the {side} but not the {other}, from which its other end differs by "
        f"{describe_changes(aims[other], wrong, limit)}"
    )


def _possible(matches: Sequence[Match]) -> set[tuple[Label, str]]:
    """The labels and sides that the bonds allow, those in doubt counted both ways."""
    either = [[True, False] if match is Match.UNSURE else [match is Match.YES] for match in matches]
    return {_label(answers) for answers in itertools.product(*either)}


def _doubts(
    pairs: Sequence[tuple[Atoms, Atoms]], doubtful: Sequence[Sequence[Pair]]
) -> tuple[str, ...]:
    """The bonds in doubt between each of `pairs`, in words."""
    names = ("reactant", "product", "reactant", "product")
    found: dict[str, None] = {}
    for (end, aim), name, bonds_in_doubt in zip(pairs, names, doubtful, strict=True):
        for pair in bonds_in_doubt:
            found[
                f"{pair_name(end, pair)} {end.get_distance(*pair):.2f} Å at an end of the IRC, "
                f"{aim.get_distance(*pair):.2f} Å in the {name}"
            ] = None
    return tuple(found)
