"""Do both ends list their atoms in the same order? What to say, and what to do about it."""

from __future__ import annotations

import dataclasses

from ase import Atoms

from horm_calc.chemistry.equivalence import ORDER
from horm_calc.chemistry.mapping import Mapping, best_mapping, in_words, nearest_hydrogens
from horm_calc.chemistry.stereochemistry import inversions
from horm_calc.chemistry.superposition import SAME, superposition
from workflows.records import Reaction

#: What is said where no bonds would change at all. That is no doubt about a saddle that connects
#: the ends as they are.
DEGENERATE = "this is a degenerate rearrangement or no reaction"


def remark(product: Atoms, mapping: Mapping) -> str:
    """The warning that fewer bonds could change; "" if they cannot."""
    if not mapping.fewer:
        return ""
    text = f"with {in_words(product, mapping.order)} {_changes(mapping)}"
    if mapping.changes == 0:
        text += f", so that {DEGENERATE}"
    return f"{text}: {ORDER}"


def check_order(reaction: Reaction, bond_factor: float) -> tuple[str, str]:
    """The `remark` on a reaction that a search can use, and why it is not certain; "" for none."""
    mapping = best_mapping(reaction.reactant, reaction.product, bond_factor)
    uncertain = ""
    if mapping.unproven:
        uncertain = f"whether fewer bonds could change is not certain: {mapping.unproven}"
    return remark(reaction.product, mapping), uncertain


def proposal(reactant: Atoms, product: Atoms, bond_factor: float) -> str:
    """The order that `remapped` would use for a product with its elements in another order."""
    mapping = best_mapping(reactant, product, bond_factor)
    return f"{in_words(product, mapping.order)}, with which {_changes(mapping)}"


def remapped(reaction: Reaction, bond_factor: float) -> Reaction:
    """The reaction with the product's atoms in the order with which the fewest bonds change.

    Where the order that was given has as few changes, only equivalent hydrogens change places, and
    only so that they move less. A reaction in which no bonds would change any more stays as it is:
    it is meant as it was given, or is none. The result says in `remapped` what was done.

    Parameters
    ----------
    reaction
        Both ends, perhaps with the elements in different orders; n atoms, positions in Å.
    bond_factor
        Atoms are bonded below this times the sum of their covalent radii.

    Raises
    ------
    ValueError
        Where the ends do not have the same elements and isotopes.
    """
    reactant, product = reaction.reactant, reaction.product
    mapping = best_mapping(reactant, product, bond_factor)
    if mapping.changes_given is not None and mapping.changes == 0:
        return reaction
    order = mapping.order
    nearest = nearest_hydrogens(reactant, product[list(order)], bond_factor)
    closer = tuple(order[i] for i in nearest)
    if _nearer(reactant, product[list(order)], product[list(closer)], bond_factor):
        order = closer
    if order == tuple(range(len(order))):
        return reaction
    what = _changes(mapping)
    if mapping.changes_given == mapping.changes:
        what = "as many bonds change, and equivalent hydrogens move less"
    words = f"remapped: {in_words(product, order)}; {what}"
    reactants, products = reaction.conformers
    return dataclasses.replace(
        reaction,
        product=product[list(order)],
        remapped=words,
        conformers=(reactants, tuple(one[list(order)] for one in products)),
    )


def _nearer(reactant: Atoms, given: Atoms, other: Atoms, bond_factor: float) -> bool:
    """Does another order of the product keep a configuration, or move atoms by less?"""
    inverted, less_inverted = (
        len(inversions(reactant, end, bond_factor)) for end in (given, other)
    )
    apart, less_apart = (superposition(reactant, end)[1] for end in (given, other))
    return less_inverted < inverted or (less_inverted == inverted and less_apart < apart - SAME)


def _changes(mapping: Mapping) -> str:
    """'2 bonds change instead of 4'."""
    text = "1 bond changes" if mapping.changes == 1 else f"{mapping.changes or 'no'} bonds change"
    if mapping.unproven:
        text += " (perhaps even fewer with another order)"
    if mapping.changes_given is not None:
        text += f" instead of {mapping.changes_given}"
    return text
