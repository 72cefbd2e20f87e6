"""Who becomes whom, as an integer programme: what `chemistry.mapping` asks, and how it is answered.

Hydrogens with one neighbour need no variables. Once the other atoms have their places, a pair of
atoms with m and n such hydrogens keeps min(m, n) of these bonds, whatever the rest does; that
number is linear in who becomes whom, so the programme stays exact without them.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.optimize import Bounds, LinearConstraint, linear_sum_assignment, milp
from scipy.sparse import csr_array

from horm_calc.chemistry.connectivity import Bonds, bonds, kinds
from horm_calc.chemistry.stereochemistry import inversions
from horm_calc.chemistry.superposition import superposition

#: `order[i]` is the product's atom that comes to place i: `product[list(order)]` is the product in
#: the order of the reactant.
Order = tuple[int, ...]
#: The same of some atoms: place and the product's atom.
Core = dict[int, int]
#: Element and isotope.
Kind = tuple[int, int]

#: Variables of the programme. More take longer than a few seconds only to set up and relax.
MOST_VARIABLES = 20_000
#: Of mappings with equally few changes so many are compared.
MOST_COMPARED = 30
#: Å². More than atoms of molecules lie apart: what leaves an atom in its place goes before what
#: moves it less, and what keeps a bond before both.
_MOVED, _KEPT = 1e3, 1e9


@dataclass(frozen=True)
class End:
    """A structure with what the programme asks of it."""

    atoms: Atoms
    kinds: list[Kind]
    bonds: Bonds
    neighbours: dict[int, set[int]]

    @classmethod
    def of(cls, atoms: Atoms, bond_factor: float) -> End:
        """With its bonds and the neighbours of each atom."""
        pairs = bonds(atoms, bond_factor)
        neighbours: dict[int, set[int]] = {i: set() for i in range(len(atoms))}
        for i, j in pairs:
            neighbours[i].add(j)
            neighbours[j].add(i)
        return cls(atoms, kinds(atoms), pairs, neighbours)


class Programme:
    """Who becomes whom, of all atoms but hydrogens with one neighbour; and which bond which.

    Binary x(i, p): atom i of the reactant is p of the product. y(ij, pq): the bond i-j is p-q, i
    being p; at most x(i, p) and x(j, q). The sums of y over all that exclude each other stay below
    x too, which leaves the solver little to search.

    loyal: of orders with as many changes, those that leave more atoms in their places go before.
    """

    def __init__(self, first: End, last: End, bond_factor: float, *, loyal: bool) -> None:
        self.first, self.last, self.bond_factor, self.loyal = first, last, bond_factor, loyal
        self.ends = first, last
        many = {
            end.kinds[i]
            for end in self.ends
            for i, others in end.neighbours.items()
            if end.kinds[i][0] == 1 and len(others) > 1
        }
        self.hydrogens = {kind for kind in first.kinds if kind[0] == 1} - many
        self.core = [
            [i for i, kind in enumerate(end.kinds) if kind not in self.hydrogens]
            for end in self.ends
        ]
        pairs = [self._within(core, end) for end, core in zip(self.ends, self.core, strict=True)]
        alike = Counter(first.kinds[i] for i in self.core[0])
        most = sum(count**2 for count in alike.values()) + 2 * len(pairs[0]) * len(pairs[1])
        self.too_large = most > MOST_VARIABLES
        if not self.too_large:
            self._set_up(pairs)

    @staticmethod
    def _within(core: Sequence[int], end: End) -> list[tuple[int, int]]:
        inside = set(core)
        return [pair for pair in sorted(end.bonds) if inside.issuperset(pair)]

    def _set_up(self, pairs: Sequence[Sequence[tuple[int, int]]]) -> None:
        kinds_of = [end.kinds for end in self.ends]
        self.places = [
            (i, p) for i, p in itertools.product(*self.core) if kinds_of[0][i] == kinds_of[1][p]
        ]
        columns = self.columns = {place: column for column, place in enumerate(self.places)}
        below: dict[tuple[int, tuple[int, int], int, int], list[int]] = defaultdict(list)
        ways = [(p, q) for p, q in pairs[1]] + [(q, p) for p, q in pairs[1]]
        count = len(self.places)
        for i, j in pairs[0]:
            for p, q in ways:
                if (i, p) in columns and (j, q) in columns:
                    for end, bond in ((0, (i, j)), (1, (min(p, q), max(p, q)))):
                        below[end, bond, i, p].append(count)
                        below[end, bond, j, q].append(count)
                    count += 1
        self.count = count
        rows = [
            [(column, 1.0) for column in ys] + [(columns[i, p], -1.0)]
            for (*_, i, p), ys in below.items()
        ]
        once: dict[tuple[int, int], list[int]] = defaultdict(list)
        for (i, p), column in columns.items():
            once[0, i].append(column)
            once[1, p].append(column)
        each = [[(column, 1.0) for column in xs] for xs in once.values()]
        self.rules = [LinearConstraint(self._matrix(each), 1, 1)]
        if rows:
            self.rules.append(LinearConstraint(self._matrix(rows), -np.inf, 0))
        self.kept = np.ones(count)
        on = [
            {i: Counter(end.kinds[j] for j in end.neighbours[i]) for i in core}
            for end, core in zip(self.ends, self.core, strict=True)
        ]
        for (i, p), column in columns.items():
            self.kept[column] = sum(min(on[0][i][kind], on[1][p][kind]) for kind in self.hydrogens)
        diatomic = [self._diatomic(end) for end in self.ends]
        self.kept_anyway = sum(
            min(len(diatomic[0][one]), len(diatomic[1][one])) for one in diatomic[0]
        )

    def _matrix(self, rows: Sequence[Sequence[tuple[int, float]]]) -> csr_array:
        entries = [(row, *term) for row, terms in enumerate(rows) for term in terms]
        i, j, values = zip(*entries, strict=True) if entries else ((), (), ())
        return csr_array((values, (i, j)), shape=(len(rows), self.count))

    def _diatomic(self, end: End) -> dict[tuple[Kind, ...], list[tuple[int, int]]]:
        """H2, HD and so on."""
        found: dict[tuple[Kind, ...], list[tuple[int, int]]] = defaultdict(list)
        for pair in sorted(end.bonds):
            i, j = sorted(pair, key=lambda atom: end.kinds[atom])
            if {end.kinds[i], end.kinds[j]} <= self.hydrogens:
                found[end.kinds[i], end.kinds[j]].append((i, j))
        return found

    def _solve(
        self, cost: np.ndarray, more: Sequence[LinearConstraint], end: float
    ) -> tuple[Core | None, bool]:
        """A solution of least cost, if there is any; and whether that is proven."""
        left = end - time.monotonic()
        if left <= 0:
            return None, False
        found = milp(
            cost,
            integrality=np.ones(self.count),
            bounds=Bounds(0, 1),
            constraints=[*self.rules, *more],
            options={"time_limit": left},
        )
        core = None
        if found.x is not None:
            core = {
                i: p
                for (i, p), x in zip(self.places, found.x[: len(self.places)], strict=True)
                if x > 0.5
            }
        return core, found.status in (0, 2)

    def most_kept(self, least: int | None, end: float) -> tuple[Core | None, bool]:
        """Places of the core with which the most bonds are kept, at least so many.

        None where there are none; and whether either is proven.
        """
        if not self.places:
            kept = self.kept_anyway
            return (None if least is not None and kept < least else {}), True
        more = []
        if least is not None:
            more = [LinearConstraint(self.kept, least - self.kept_anyway, np.inf)]
        return self._solve(-self.kept, more, end)

    def least_moved(self, core: Core, end: float) -> Order:
        """Of the orders that keep as many bonds, the best by `score` of those looked at.

        In turn: that which moves the core least from where the best so far has it.
        """
        best = self.complete(core)
        if not self.places:
            return best
        as_many = self._kept(core)
        rules = [LinearConstraint(self.kept, as_many - 0.5, np.inf)]
        cores = [core]
        for _ in range(MOST_COMPARED):
            apart = self._apart(best)
            cost = np.zeros(self.count)
            cost[: len(self.places)] = [apart[place] for place in self.places]
            rules.append(self._other_than(cores[-1]))
            other, _ = self._solve(cost, [*rules, *self._no_worse_than(best)], end)
            if other is None:
                break
            cores.append(other)
            best = min(best, self.complete(other), key=self.score)
        return best

    def equals(self, core: Core, end: float) -> list[Order]:
        """Orders that keep as many bonds as `core` does, of different cores; the first is its own.

        No more than `MOST_COMPARED`.
        """
        found, rules = [self.complete(core)], []
        if self.places:
            rules = [LinearConstraint(self.kept, self._kept(core) - 0.5, np.inf)]
        while self.places and len(found) < MOST_COMPARED:
            rules.append(self._other_than(core))
            other, _ = self._solve(np.zeros(self.count), rules, end)
            if other is None:
                break
            core = other
            found.append(self.complete(core))
        return found

    def _no_worse_than(self, best: Order) -> list[LinearConstraint]:
        """What others must meet to go before the best so far, as far as it is linear."""
        inverted, places, _ = self.score(best)
        if inverted or not self.loyal:
            return []
        stay = [(column, 1.0) for (i, p), column in self.columns.items() if i == p]
        if all(best[i] == i for i in self.core[0]):  # a tie would move the core for nothing
            places -= 1
        return [LinearConstraint(self._matrix([stay]), len(self.core[0]) - places, np.inf)]

    def _kept(self, core: Core) -> float:
        """Of the bonds that the programme counts."""
        last = self.last.neighbours
        return sum(self.kept[self.columns[place]] for place in core.items()) + sum(
            i in core and j in core and core[j] in last[core[i]] for i, j in self.first.bonds
        )

    def _other_than(self, core: Core) -> LinearConstraint:
        row = [(self.columns[place], 1.0) for place in core.items()]
        return LinearConstraint(self._matrix([row]), -np.inf, len(core) - 1)

    def _apart(self, order: Sequence[int], chosen: Sequence[int] | None = None) -> np.ndarray:
        """What it costs to put atoms into places, (n, n), Å², when `chosen` lie upon each other.

        The squares of distances, and `_MOVED` for other places where these matter.
        """
        first, last = self.first.atoms, self.last.atoms
        chosen = range(len(first)) if chosen is None else chosen
        one, other = first[list(chosen)], last[[order[i] for i in chosen]]
        turn, _ = superposition(one, other)
        moved = turn.apply(last.positions - other.positions.mean(0)) + one.positions.mean(0)
        squares: np.ndarray = ((first.positions[:, None] - moved[None]) ** 2).sum(-1)
        return squares + _MOVED * self.loyal * ~np.eye(len(squares), dtype=bool)

    def complete(self, core: Core) -> Order:
        """The order with hydrogens: as many bonds kept as can be, then moved as little."""
        order = [core.get(i, -1) for i in range(len(self.first.atoms))]
        hydrogens = [
            [i for i, kind in enumerate(end.kinds) if kind in self.hydrogens] for end in self.ends
        ]
        if not hydrogens[0]:
            return tuple(order)
        back = {p: i for i, p in core.items()}
        groups = [self._groups(self.first), self._groups(self.last)]
        there = [back.get(one, one) if isinstance(one := groups[1][p], int) else one
                 for p in hydrogens[1]]  # fmt: skip
        keeps = np.array([[groups[0][i] == one for one in there] for i in hydrogens[0]])
        alike = np.array(
            [[self.first.kinds[i] == self.last.kinds[p] for p in hydrogens[1]]
             for i in hydrogens[0]]
        )  # fmt: skip
        known: list[int] | None = sorted(core) or None
        before: list[list[int]] = []
        for _ in range(10):
            if known or before:
                apart = self._apart(order, None if before else known)
                cost = apart[np.ix_(*hydrogens)]
            else:
                cost = np.zeros(keeps.shape)  # without anything to lay upon each other
            cost = np.where(alike, cost - _KEPT * keeps, _KEPT * len(order))
            for i, column in zip(*linear_sum_assignment(cost), strict=True):
                order[hydrogens[0][i]] = hydrogens[1][column]
            if order in before:
                break
            before.append(list(order))
        return self._mended(tuple(order))

    def _groups(self, end: End) -> dict[int, object]:
        """Of each hydrogen the neighbour; of H2 which of these it is; of an atom itself."""
        groups: dict[int, object] = {}
        for i, kind in enumerate(end.kinds):
            if kind in self.hydrogens:
                others = end.neighbours[i]
                groups[i] = min(others) if others else ("alone", kind)
        for pair_of_kinds, pairs in self._diatomic(end).items():
            for number, pair in enumerate(pairs):
                groups.update(dict.fromkeys(pair, (pair_of_kinds, number)))
        return groups

    def _mended(self, order: Order) -> Order:
        """Without the inversions that an exchange of two hydrogens of one atom undoes."""
        for centre in sorted(self._inverted(order)):
            on = [i for i in sorted(self.first.neighbours[centre])
                  if self.first.kinds[i] in self.hydrogens]  # fmt: skip
            swaps = [
                _swapped(order, i, j)
                for i, j in itertools.combinations(on, 2)
                if self.first.kinds[i] == self.first.kinds[j]
            ]
            order = min([order, *swaps], key=self.score)
        return order

    def _inverted(self, order: Order) -> frozenset[int]:
        return inversions(self.first.atoms, self.last.atoms[list(order)], self.bond_factor)

    def score(self, order: Order) -> tuple[int, int, float]:
        """Atoms with another configuration, atoms in other places, and Å that atoms move.

        The second is 0 where places do not matter, the third a root mean square.
        """
        places = sum(i != p for i, p in enumerate(order)) if self.loyal else 0
        _, apart = superposition(self.first.atoms, self.last.atoms[list(order)])
        return len(self._inverted(order)), places, apart


def _swapped(order: Order, i: int, j: int) -> Order:
    other = list(order)
    other[i], other[j] = other[j], other[i]
    return tuple(other)
