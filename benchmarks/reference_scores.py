"""What a search has found beside what the literature has, at the same level of theory."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import ase.io
import networkx as nx
from ase import Atoms
from ase.units import kcal, mol

from horm_calc.chemistry.connectivity import bonds
from horm_calc.chemistry.equivalence import relabellings
from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.superposition import superposition
from reactbench_runner.storage.rows import ResultRow
from workflows.records import Label
from workflows.settings import VerdictSettings

#: Saddles within this RMSD, Å, and this energy, eV, are the same.
SAME, SAME_ENERGY = 0.1, 0.05

#: Labels of equivalent atoms are exchanged in so many ways at most; methyl groups have millions. So
#: those come first with which no distance of two atoms is another by more than this, Å.
MOST_LABELS, SAME_DISTANCES = 1000, 0.5


class Nearness(StrEnum):
    """A saddle of the search beside that of the literature, at the same level of theory."""

    SAME = "same"
    LOWER = "lower"
    HIGHER = "higher"
    AS_HIGH = "other, as high"
    OTHER = "other"
    NO_SADDLE = "none found"
    NO_REFERENCE = "no reference"


@dataclass(frozen=True)
class Score:
    """A reaction: what the search made of it, and how this compares with the literature.

    Attributes
    ----------
    verdict, reference
        Of the search, and of the IRC from the saddle of the literature.
    saddle
        *lower*, *higher* and *other, as high* are said only of saddles that connect reactant and
        product, alone or as the highest of several steps.
    rmsd, above
        Of the two saddles: Å, and the energy of the one that was found minus the other, kcal/mol.
    reason
        Why the verdict is not *intended*, or why there is no saddle to compare with.
    """

    reaction: str
    formula: str
    charge: int
    verdict: Label
    saddle: Nearness
    rmsd: float | None
    above: float | None
    reference: Label
    attempts: int
    gradients: int
    seconds: float
    reason: str


def score(row: ResultRow, reference: ResultRow, found: Path, literature: Path) -> Score:
    """Compare a search with the saddle of the literature.

    row, reference: their records; found, literature: the folders of their structures.
    """
    saddle, rmsd, above = Nearness.NO_SADDLE, None, None
    reason = row.reason
    if reference.ts_energy_ev is None:
        saddle = Nearness.NO_REFERENCE
        reason = "; ".join(filter(None, (reason, f"saddle of the literature: {reference.reason}")))
    elif row.ts_energy_ev is not None:
        files = found / "ts.xyz", *sorted(found.glob("step*_ts.xyz"))
        [known], *saddles = (ase.io.read(file, ":") for file in (literature / "ts.xyz", *files))
        reactant, _, product = ase.io.read(literature / "path.xyz", ":")
        connects = row.verdict in (Label.INTENDED, Label.IN_STEPS)
        saddle, rmsd, difference = near(
            [one for [one] in saddles], known, (reactant, product), connects=connects
        )
        above = difference / (kcal / mol)
    return Score(
        row.id,
        row.formula,
        row.charge or 0,
        row.verdict,
        saddle,
        rmsd,
        above,
        reference.verdict,
        row.attempts,
        row.gradients,
        row.seconds,
        reason,
    )


def near(
    saddles: Sequence[Atoms], known: Atoms, ends: tuple[Atoms, Atoms], *, connects: bool
) -> tuple[Nearness, float, float]:
    """Hold saddles, the highest first, against a known one; all have their energies, eV.

    Returns which they are, and RMSD (Å) and energy (eV) of the one that is the same, or else of the
    first. `ends` have the bonds after which atoms are equivalent.
    """
    energies = [one.get_potential_energy() - known.get_potential_energy() for one in saddles]
    distances = []
    for atoms, above in zip(saddles, energies, strict=True):
        distances.append(_distance(known, atoms, ends))
        if distances[-1] < SAME and abs(above) < SAME_ENERGY:
            return Nearness.SAME, distances[-1], above
    kind = Nearness.OTHER
    if connects:
        kind = Nearness.LOWER if energies[0] < 0 else Nearness.HIGHER
        if abs(energies[0]) < SAME_ENERGY:
            kind = Nearness.AS_HIGH
    return kind, distances[0], energies[0]


def _distance(known: Atoms, other: Atoms, ends: tuple[Atoms, Atoms]) -> float:
    """Least RMSD, Å, of the two or of their mirror images; the first below `SAME` is enough."""
    least = math.inf
    images = [with_positions(other, other.positions * (1, 1, mirror)) for mirror in (1, -1)]
    for order, image in itertools.product(_orders(known, other, ends), images):
        least = min(least, superposition(known, image[order])[1])
        if least < SAME:
            break
    return least


def _orders(known: Atoms, other: Atoms, ends: tuple[Atoms, Atoms]) -> Iterator[list[int]]:
    """Orders of the atoms of `other` to compare it with `known`, the most promising first.

    All leave the bonds of both ends what they are, or make those of the one end of the other: in a
    degenerate rearrangement, this is the same saddle on the way back.
    """
    matchers = [
        nx.isomorphism.GraphMatcher(_graph(known, ends), _graph(other, aims), operator.eq, _alike)
        for aims in (ends, ends[::-1])
    ]
    matches = itertools.chain.from_iterable(one.isomorphisms_iter() for one in matchers)
    for match in itertools.islice(matches, MOST_LABELS):
        yield [match[i] for i in range(len(known))]
    limit = VerdictSettings().bond_factor
    yield from map(list, itertools.islice(relabellings(ends, limit), MOST_LABELS))


def _graph(saddle: Atoms, ends: tuple[Atoms, Atoms]) -> nx.Graph:
    """All pairs of atoms, with their distance and whether they are bonded at each end."""
    bonded = [bonds(end, VerdictSettings().bond_factor) for end in ends]
    distances = saddle.get_all_distances()
    graph = nx.complete_graph(len(saddle))
    nx.set_node_attributes(graph, dict(enumerate(saddle.numbers)), "number")
    for i, j, pair in graph.edges(data=True):
        pair.update(far=distances[i, j], bonded=[(i, j) in pairs for pairs in bonded])
    return graph


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["bonded"] == other["bonded"] and abs(one["far"] - other["far"]) < SAME_DISTANCES
