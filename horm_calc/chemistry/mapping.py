"""Which atom of the reactant is which of the product? The mapping that changes the fewest bonds.

Atoms of one element and isotope cannot be told apart, so that the order in which a file lists them
is a claim: that of the mechanism. The mapping with the fewest broken and formed bonds is found as
by First, Gounaris and Floudas (J. Chem. Inf. Model. 2012, 52, 84): an integer programme over who
becomes whom and which bond becomes which. It is a sound guess and no proof of a mechanism
(Jaworski et al., Nat. Commun. 2019, 10, 1434).
"""

from __future__ import annotations

import dataclasses
import operator
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from ase import Atoms

from horm_calc.chemistry.mapping_programme import End, Order, Programme
from horm_calc.chemistry.masses import different_masses

#: Seconds after which a mapping is not proven to be the best.
SECONDS = 2.0
#: Atoms whose places are named one by one.
_FEW = 6


@dataclass(frozen=True)
class Mapping:
    """An order of the product's atoms, and how many bonds break and form with it.

    Attributes
    ----------
    order
        `product[list(order)]` has the order of the reactant.
    changes
        Bonds broken and formed.
    changes_given
        As many with the order that was given; None where that has other elements or isotopes.
    unproven
        Why there may be a mapping with fewer changes still; "" where there is none.
    """

    order: Order
    changes: int
    changes_given: int | None
    unproven: str = ""

    @property
    def fewer(self) -> bool:
        """Does it change fewer bonds than the order that was given?"""
        return self.changes_given is not None and self.changes < self.changes_given


def best_mapping(
    reactant: Atoms, product: Atoms, bond_factor: float, seconds: float = SECONDS
) -> Mapping:
    """The order of the product's atoms with which the fewest bonds break and form.

    The order that was given, where none has fewer changes. Else, of those with the fewest, the one
    that inverts the fewest centres and double bonds, then that in which the fewest atoms leave the
    places that were given to them (if the elements are in the same order), then that which moves
    the atoms least after superposition. Of more than `MOST_COMPARED` such orders
    not all are looked at. The number of changes is exact unless `unproven` says otherwise.

    Parameters
    ----------
    reactant, product
        n atoms each, positions in Å.
    bond_factor
        Atoms are bonded below this times the sum of their covalent radii.
    seconds
        For the proof; the choice among equals takes as long again at most.

    Raises
    ------
    ValueError
        Where the two do not have the same elements and isotopes.
    """
    first, last = _ends(reactant, product, bond_factor)
    if Counter(first.kinds) != Counter(last.kinds):
        raise ValueError("reactant and product have different elements or isotopes")
    given = tuple(range(len(reactant)))
    now = len(first.bonds ^ last.bonds) if first.kinds == last.kinds else None
    if now is not None and now == _fewest_by_types(first, last):
        return Mapping(given, now, now)
    programme = Programme(first, last, bond_factor, loyal=now is not None)
    if programme.too_large:
        order = given if now is not None else _by_kinds(first, last)
        reason = f"{len(given)} atoms are too many to compare all orders"
        return Mapping(order, _changes(first, last, order), now, reason)
    end = time.monotonic() + seconds
    most = len(first.bonds) + len(last.bonds)
    more = None if now is None else (most - now) // 2 + 1
    core, proven = programme.most_kept(more, end)
    unproven = "" if proven else f"not all orders could be compared within {seconds:g} s"
    if core is None:
        order = given if now is not None else _by_kinds(first, last)
        return Mapping(order, _changes(first, last, order), now, unproven)
    order = programme.least_moved(core, time.monotonic() + seconds)
    return Mapping(order, _changes(first, last, order), now, unproven)


def equal_mappings(
    reactant: Atoms, product: Atoms, bond_factor: float, seconds: float = SECONDS
) -> list[Order]:
    """Orders of the product's atoms with the fewest changes that are different reactions.

    Those that exchange equivalent atoms are one reaction: the same kinds of atoms keep, break and
    form bonds. Of more than `MOST_COMPARED` orders not all are looked at.

    Parameters
    ----------
    reactant, product, bond_factor, seconds
        As for `best_mapping`, whose order comes first.

    Raises
    ------
    ValueError
        Where the two do not have the same elements and isotopes.
    """
    best = best_mapping(reactant, product, bond_factor, seconds)
    first, last = _ends(reactant, product, bond_factor)
    programme = Programme(first, last, bond_factor, loyal=False)
    different = [best.order]
    if programme.too_large:
        return different
    place = {i: p for i, p in enumerate(best.order) if i in set(programme.core[0])}
    graphs = [_reaction(first, last, best.order)]
    for order in programme.equals(place, time.monotonic() + seconds):
        graph = _reaction(first, last, order)
        if _changes(first, last, order) == best.changes and not any(
            nx.is_isomorphic(graph, known, operator.eq, operator.eq) for known in graphs
        ):
            different.append(order)
            graphs.append(graph)
    return different


def _reaction(first: End, last: End, order: Sequence[int]) -> nx.Graph:
    """Atoms with their kinds, and bonds with what they have been and will be."""
    place = {p: i for i, p in enumerate(order)}
    after = {frozenset((place[p], place[q])) for p, q in last.bonds}
    before = {frozenset(pair) for pair in first.bonds}
    graph = nx.Graph()
    graph.add_nodes_from((i, {"kind": kind}) for i, kind in enumerate(first.kinds))
    for pair in before | after:
        graph.add_edge(*pair, was=pair in before, will=pair in after)
    return graph


def nearest_hydrogens(reactant: Atoms, product: Atoms, bond_factor: float) -> Order:
    """Of the orders that differ in equivalent hydrogens only, that which moves them least.

    As many bonds change with it as before, and no more centres are inverted. Both structures have
    the same elements and isotopes in the same order.
    """
    first, last = _ends(reactant, product, bond_factor)
    programme = Programme(first, last, bond_factor, loyal=False)
    given = tuple(range(len(reactant)))
    order = programme.complete({i: i for i in programme.core[0]})
    if _changes(first, last, order) != len(first.bonds ^ last.bonds):
        return given
    return min(given, order, key=programme.score)


def in_words(atoms: Atoms, order: Sequence[int]) -> str:
    """An order of the product's `atoms`, counted from 1: 'H6 and H7 exchanged in the product'."""
    moved = [i for i, p in enumerate(order) if i != p]
    name = [f"{atoms.symbols[p]}{p + 1}" for p in range(len(atoms))]
    same = all(atoms.numbers[i] == atoms.numbers[order[i]] for i in moved)
    if same and all(order[order[i]] == i for i in moved):
        pairs = [(name[i], name[order[i]]) for i in moved if i < order[i]]
        word = " and " if len(pairs) == 1 else " with "
        return f"{', '.join(word.join(pair) for pair in pairs)} exchanged in the product"
    if same and len(moved) <= _FEW:
        places = [f"{name[order[i]]} as atom {i + 1}" for i in moved]
        return f"the product's {', '.join(places[:-1])} and {places[-1]}"
    return f"the product's atoms in the order {' '.join(str(p + 1) for p in order)}"


def _ends(reactant: Atoms, product: Atoms, bond_factor: float) -> tuple[End, End]:
    """Of isotopes in the same order those of the reactant; masses in files are rounded."""
    first, last = (End.of(atoms, bond_factor) for atoms in (reactant, product))
    same = np.array_equal(reactant.numbers, product.numbers)
    if same and not different_masses(reactant, product):
        last = dataclasses.replace(last, kinds=first.kinds)
    return first, last


def _changes(first: End, last: End, order: Sequence[int]) -> int:
    place = {p: i for i, p in enumerate(order)}
    moved = {(min(place[p], place[q]), max(place[p], place[q])) for p, q in last.bonds}
    return len(first.bonds ^ moved)


def _fewest_by_types(first: End, last: End) -> int:
    """No order has fewer changes: bonds between other kinds of atoms are other bonds."""
    types = [
        Counter(tuple(sorted((end.kinds[i], end.kinds[j]))) for i, j in end.bonds)
        for end in (first, last)
    ]
    return sum(abs(types[0][one] - types[1][one]) for one in types[0] | types[1])


def _by_kinds(first: End, last: End) -> Order:
    """The first atom of a kind is the first of that kind, and so on."""
    there = defaultdict(list)
    for p, kind in reversed(list(enumerate(last.kinds))):
        there[kind].append(p)
    return tuple(there[kind].pop() for kind in first.kinds)
