"""Chains: reactions that take several elementary steps, saddle by saddle.

Where no saddle connects both ends, the attempts have still found elementary steps: saddles whose
IRCs join two minima. They make a graph whose nodes are molecules. As long as it does not connect
reactant and product, the search goes on between the two nodes that are nearest to each other, one
on either side of the gap. Among several chains, the one whose highest saddle is lowest counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import networkx as nx

from horm_calc.chemistry.connectivity import Match, bonds, describe_changes, match_bonds
from horm_calc.chemistry.superposition import SAME, superposition
from horm_calc.units import to_kcal_per_mol
from workflows.account import Account
from workflows.attempts import Attempt, attempt_from
from workflows.guesses import first_guesses
from workflows.records import ElementaryStep, Label, Minimum, Verdict
from workflows.settings import SearchSettings, VerdictSettings
from workflows.stages.irc import turned
from workflows.surface import Surface

#: So many gaps are searched, with so many attempts each.
MOST_GAPS, MOST_ATTEMPTS = 4, 2


@dataclass(frozen=True)
class Chain:
    """Elementary steps from the reactant to the product, and all attempts of the search."""

    steps: tuple[ElementaryStep, ...]
    attempts: Sequence[Attempt]

    @property
    def highest(self) -> int:
        """Which step has the highest saddle."""
        return max(range(len(self.steps)), key=lambda i: self.steps[i].saddle.energy)

    def best(self, reactant: Minimum, bond_factor: float) -> Attempt:
        """The highest step with the verdict on all of them, for energies above the `reactant`."""
        step = self.steps[self.highest]
        verdict = Verdict(Label.INTENDED, relabelled=Label.INTENDED, at_limit=Label.INTENDED)
        if len(self.steps) > 1:
            verdict = Verdict(Label.IN_STEPS, self._told(reactant, bond_factor))
        return Attempt(verdict, step.path, step.saddle, step.irc, (step.first, step.last))

    def _told(self, reactant: Minimum, bond_factor: float) -> str:
        words = [
            f"{number}. {describe_changes(step.first.atoms, step.last.atoms, bond_factor)}, "
            f"saddle at {to_kcal_per_mol(step.saddle.energy - reactant.energy):.1f} kcal/mol"
            for number, step in enumerate(self.steps, 1)
        ]
        return f"{'; '.join(words)}; saddle {self.highest + 1} is the highest"


@dataclass
class _Known:
    """The graph: molecules that were found, and the elementary steps between them.

    The first two molecules are the reactant and the product.
    """

    molecules: list[Minimum]
    settings: VerdictSettings
    graph: nx.Graph = field(default_factory=nx.Graph)

    def __post_init__(self) -> None:
        self.graph.add_nodes_from(range(len(self.molecules)))

    def learn(self, attempt: Attempt) -> None:
        """What an attempt has found, if its saddle connects two molecules."""
        if attempt.repeated or not (attempt.ends and attempt.saddle and attempt.irc):
            return
        if attempt.path is None or attempt.verdict.label is Label.FAILED:
            return
        first, last = (self._node(end) for end in attempt.ends)
        height = attempt.saddle.energy
        known = self.graph.get_edge_data(first, last)
        if first != last and (known is None or height < known["height"]):
            self.graph.add_edge(first, last, height=height, attempt=attempt, first=first)

    def _node(self, minimum: Minimum) -> int:
        for number, other in enumerate(self.molecules):
            if _same(minimum, other, self.settings):
                return number
        self.molecules.append(minimum)
        self.graph.add_node(len(self.molecules) - 1)
        return len(self.molecules) - 1

    def chain(self) -> tuple[ElementaryStep, ...]:
        """The steps from reactant to product whose highest saddle is lowest; empty if unknown.

        That path runs along the minimum spanning tree of the graph.
        """
        tree = nx.minimum_spanning_tree(self.graph, weight="height")
        if not nx.has_path(tree, 0, 1):
            return ()
        nodes = nx.shortest_path(tree, 0, 1)
        return tuple(itertools.starmap(self._step, itertools.pairwise(nodes)))

    def _step(self, first: int, last: int) -> ElementaryStep:
        edge = self.graph.edges[first, last]
        found: Attempt = edge["attempt"]
        assert found.ends and found.saddle and found.irc and found.path
        ends, irc = found.ends, found.irc
        if edge["first"] != first:
            ends, irc = ends[::-1], turned(irc)
        return ElementaryStep(ends[0], found.saddle, ends[1], irc=irc, path=found.path)

    def gap(self, tried: set[tuple[int, int]]) -> tuple[int, int] | None:
        """The nearest molecules on either side between which nothing was tried.

        That is where fewest bonds change, and of equally near ones those of lowest energy.
        """
        sides = (nx.node_connected_component(self.graph, end) for end in (0, 1))
        pairs = set(itertools.product(*sides)) - tried - {(0, 1)}
        return min(pairs, key=self._distance, default=None)

    def _distance(self, pair: tuple[int, int]) -> tuple[int, float]:
        first, last = (self.molecules[number] for number in pair)
        factor = self.settings.bond_factor
        changes = bonds(first.atoms, factor) ^ bonds(last.atoms, factor)
        return len(changes), first.energy + last.energy


def unconnected(verdict: Verdict) -> bool:
    """Has no saddle been found that connects both ends, though they are what they should be?"""
    label = verdict.at_limit if verdict.label is Label.AMBIGUOUS else verdict.label
    return not verdict.lost and label in (Label.PARTLY, Label.UNINTENDED)


def find_chain(
    attempts: Sequence[Attempt],
    reactant: Minimum,
    product: Minimum,
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> Chain | None:
    """A chain from the steps that `attempts` have found, and from further ones between them.

    It may have a single step, that one of the further attempts has come upon. None where there is
    none of at most `settings.steps` steps, or `attempts` have found no step to start from.
    """
    if settings.steps == 1 or _same(reactant, product, settings.verdict):
        return None
    known = _Known([reactant, product], settings.verdict)
    for attempt in attempts:
        known.learn(attempt)
    everything, tried = list(attempts), set[tuple[int, int]]()
    while not (steps := known.chain()) and len(tried) < MOST_GAPS:
        if (pair := known.gap(tried)) is None:
            return None
        tried.add(pair)
        first, last = (known.molecules[number] for number in pair)
        for attempt in _between(first, last, everything, surface, settings, account):
            everything.append(attempt)
            known.learn(attempt)
            account.note_attempt(len(everything), attempt.outcome(reactant))
    return Chain(steps, everything) if 0 < len(steps) <= settings.steps else None


def _between(
    first: Minimum,
    last: Minimum,
    known: Sequence[Attempt],
    surface: Surface,
    settings: SearchSettings,
    account: Account,
) -> Iterator[Attempt]:
    """A few attempts at a step between two molecules, until one is intended or comes back."""
    factor = settings.verdict.bond_factor
    account.note(f"a further step: {describe_changes(first.atoms, last.atoms, factor)}")
    for guess in first_guesses((first.atoms, last.atoms), surface, settings)[:MOST_ATTEMPTS]:
        attempt = attempt_from(guess.find, first, last, surface, settings, account, known=known)
        yield attempt
        if attempt.intended or attempt.repeated:
            return


def _same(one: Minimum, other: Minimum, settings: VerdictSettings) -> bool:
    """The same molecule: the bonds are the same beyond doubt, or the geometry is."""
    match, _ = match_bonds(one.atoms, other.atoms, settings.bond_factor, settings.margin)
    if match is Match.UNSURE:
        return superposition(one.atoms, other.atoms)[1] < SAME
    return match is Match.YES
