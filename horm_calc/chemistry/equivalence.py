"""Are the ends of an IRC those of a reaction, with atoms of one kind in each other's places?

Atoms of one element and mass cannot be told apart. Where the bonds of reactant and product are as
before after an exchange of atoms in both, so is the reaction: nothing depends on such an exchange.
Other exchanges make another reaction, perhaps the one that was meant.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np
from ase import Atoms

from horm_calc.chemistry.connectivity import Bonds, bonds, kinds
from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.superposition import SAME, superposition

#: What to ask where an exchange of atoms makes sense of a result.
ORDER = "is the order of the atoms right?"

#: Two structures, the ends of a reaction or of an IRC.
Ends = tuple[Atoms, Atoms]
#: `order[i]` is the atom in whose place atom i is.
Order = tuple[int, ...]

#: Distances in structures that lie upon each other differ by no more, Å.
SAME_DISTANCES = 0.2
#: So many ways to lay structures upon each other are tried; no point group of a molecule that is no
#: rotor has more than 120 operations.
MOST_WAYS = 240

#: Exchanges of up to so many atoms are looked for; so many are tried, and so many are compared of
#: those with which as many bonds break and form as there should.
MOST_EXCHANGED, MOST_TRIED, MOST_COMPARED = 4, 100_000, 500

#: So many relabellings of equivalent atoms are tried: four methyl groups have 6⁴ = 1296.
MOST_RELABELLINGS = 10_000


def lie_upon(ends: Ends, aims: Ends, bond_factor: float) -> bool:
    """Do `ends` lie upon `aims` within `SAME`, the first upon the first?

    Both or neither in the mirror, and both with the same exchange of equivalent atoms, after which
    `aims` have the bonds that they had. Nothing lies upon `aims` that could be either of them.
    """
    if superposition(*aims)[1] < 2 * SAME:
        return False
    unmoved = tuple(range(len(aims[0])))
    if _lie(ends, aims, unmoved):
        return True
    kept = [bonds(aim, bond_factor) for aim in aims]
    return any(
        _lie(ends, aims, order)
        for order in itertools.islice(_ways(ends, aims), MOST_WAYS)
        if all(_renamed(pairs, order) == pairs for pairs in kept)
    )


def _lie(ends: Ends, aims: Ends, order: Order) -> bool:
    def near(end: Atoms, aim: Atoms, mirror: int) -> bool:
        moved = Atoms(aim.numbers, end.positions[list(order)] * (1, 1, mirror))
        return superposition(aim, moved)[1] < SAME

    return any(
        all(near(end, aim, mirror) for end, aim in zip(ends, aims, strict=True))
        for mirror in (1, -1)
    )


def _ways(ends: Ends, aims: Ends) -> Iterator[Order]:
    """Exchanges that keep all distances at both ends."""

    def graph(pair: Ends) -> nx.Graph:
        distances = np.stack([atoms.get_all_distances() for atoms in pair], axis=-1)
        pairs = itertools.combinations(range(len(distances)), 2)
        return _graph(aims[0], {(i, j): distances[i, j] for i, j in pairs})

    def alike(first: np.ndarray, second: np.ndarray) -> bool:
        return bool(np.abs(first - second).max() < SAME_DISTANCES)

    yield from _matches(graph(aims), graph(ends), alike)


def exchanged(ends: Ends, aims: Ends, bond_factor: float) -> Order | None:
    """The smallest exchange of atoms in one of `aims` with which `ends` have the bonds of both.

    In either direction, and atom by atom; if need be with names that are exchanged in both ends,
    then perhaps with nothing else. None where no exchange that was tried does it.
    """
    first, last = (bonds(aim, bond_factor) for aim in aims)
    reached = [bonds(end, bond_factor) for end in ends]
    orders = list(_exchanges(aims[0]))
    for order in orders:
        for one, other in ((first, _renamed(last, order)), (_renamed(first, order), last)):
            if reached in ([one, other], [other, one]):
                return order
    return _up_to_names(orders, aims[0], (first, last), reached)


def _up_to_names(
    orders: Sequence[Order], atoms: Atoms, asked: tuple[Bonds, Bonds], reached: Sequence[Bonds]
) -> Order | None:
    """Of `orders` the first with which the bonds change as they do in `reached`."""
    first, last = asked
    both = list(itertools.permutations(reached))
    found = [_reaction_graph(atoms, *pair) for pair in both]
    counts = [_counts(*pair) for pair in both]
    others: dict[Bonds, Order] = {}
    for order in orders:
        others.setdefault(_renamed(last, order), order)
    alike = [other for other in others if _counts(first, other) in counts]
    for other in alike[:MOST_COMPARED]:
        graph = _reaction_graph(atoms, first, other)
        if any(any(_matches(graph, one, operator.eq)) for one in found):
            return others[other]
    return None


def relabellings(ends: Ends, bond_factor: float) -> Iterator[Order]:
    """Orders of the atoms that leave kinds of atoms and the bonds of both ends what they are.

    Such as those of the hydrogens of a methyl group that takes no part in the reaction.
    """
    graph = _reaction_graph(ends[0], *(bonds(end, bond_factor) for end in ends))
    return _matches(graph, graph, operator.eq)


def distance(one: Atoms, other: Atoms, ends: Ends, bond_factor: float) -> float | None:
    """Root mean square distance, Å, of two transition states of the reaction between `ends`.

    After superposition, and the least of all that are the same chemically: of either mirror image
    and of all `relabellings`. None where these are more than `MOST_RELABELLINGS`.
    """
    orders = list(itertools.islice(relabellings(ends, bond_factor), MOST_RELABELLINGS + 1))
    if len(orders) > MOST_RELABELLINGS:
        return None
    images = [with_positions(other, other.positions * (1, 1, mirror)) for mirror in (1, -1)]
    return min(
        superposition(one, with_positions(image, image.positions[list(order)]))[1]
        for order in orders
        for image in images
    )


def names(atoms: Atoms, order: Order) -> str:
    """The atoms that an exchange moves, in words and counted from 1: 'H6 and H7'."""
    words = [f"{atoms.symbols[i]}{i + 1}" for i, place in enumerate(order) if i != place]
    if not words:
        return ""
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _moved(order: Sequence[int]) -> int:
    return sum(i != place for i, place in enumerate(order))


def _exchanges(atoms: Atoms) -> Iterator[Order]:
    """First none, then all of two atoms of one kind, of three, and so on while tries last."""
    known = kinds(atoms)
    tried = (
        (chosen, places)
        for count in (0, *range(2, MOST_EXCHANGED + 1))
        for chosen in itertools.combinations(range(len(atoms)), count)
        for places in itertools.permutations(chosen)
    )
    for chosen, places in itertools.islice(tried, MOST_TRIED):
        order = list(range(len(atoms)))
        for i, place in zip(chosen, places, strict=True):
            order[i] = place
        if _moved(order) == len(chosen) and all(known[i] == known[order[i]] for i in chosen):
            yield tuple(order)


def _renamed(pairs: Bonds, order: Order) -> Bonds:
    moved = ((order[i], order[j]) for i, j in pairs)
    return frozenset((i, j) if i < j else (j, i) for i, j in moved)


def _counts(first: Bonds, last: Bonds) -> tuple[int, int, int]:
    """Of bonds broken, formed and kept."""
    return len(first - last), len(last - first), len(first & last)


def _reaction_graph(atoms: Atoms, first: Bonds, last: Bonds) -> nx.Graph:
    """Both ends in one; every bond says in which of them it is."""
    return _graph(atoms, {pair: (pair in first, pair in last) for pair in first | last})


def _graph(atoms: Atoms, edges: Mapping[tuple[int, int], Any]) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from((i, {"kind": kind}) for i, kind in enumerate(kinds(atoms)))
    graph.add_edges_from((i, j, {"is": value}) for (i, j), value in edges.items())
    return graph


def _matches(
    first: nx.Graph, second: nx.Graph, alike: Callable[[Any, Any], bool]
) -> Iterator[Order]:
    """The ways to lay one graph upon the other."""
    matcher = nx.isomorphism.GraphMatcher(
        first, second, operator.eq, lambda one, other: alike(one["is"], other["is"])
    )
    for match in matcher.isomorphisms_iter():
        yield tuple(match[i] for i in range(len(first)))
