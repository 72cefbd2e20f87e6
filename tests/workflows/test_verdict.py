"""Every label, on structures made for it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from workflows.records import Label, Verdict
from workflows.settings import VerdictSettings
from workflows.verdict import runs_backwards, verdict_of

# One hydrogen on a row of three heavy atoms: on C1, on C2, on O3, or far from all.
HEAVY = [[0, 0, 0], [1.4, 0, 0], [2.8, 0, 0]]
ON_FIRST, ON_SECOND, ON_THIRD, AWAY = (0, 1.05), (1.4, 1.05), (2.8, 0.97), (1.4, 4.0)


def hydrogen_at(place: tuple[float, float]) -> Atoms:
    return Atoms("CCOH", [*HEAVY, [*place, 0.0]])


def verdict(first: tuple, last: tuple, reactant=ON_FIRST, product=ON_SECOND) -> Verdict:
    ends = hydrogen_at(first), hydrogen_at(last)
    return verdict_of(ends, hydrogen_at(reactant), hydrogen_at(product), VerdictSettings())


def test_intended_in_either_direction() -> None:
    for ends in ((ON_FIRST, ON_SECOND), (ON_SECOND, ON_FIRST)):
        found = verdict(*ends)
        assert found.label is Label.INTENDED
        assert found.relabelled is Label.INTENDED
        assert found.deciding_bonds == ()


@pytest.mark.parametrize(
    ("ends", "side"),
    [
        ((ON_FIRST, ON_THIRD), "reactant"),
        ((ON_THIRD, ON_SECOND), "product"),
        ((ON_FIRST, ON_FIRST), "reactant"),
    ],
)
def test_partly_intended_names_the_side(ends: tuple, side: str) -> None:
    found = verdict(*ends)
    assert found.label is Label.PARTLY
    assert found.side == side
    assert side in found.reason


def test_unintended() -> None:
    assert verdict(ON_THIRD, AWAY).label is Label.UNINTENDED


def test_another_hydrogen_is_intended_only_up_to_relabelling() -> None:
    reactant = Atoms("CCHH", [[0, 0, 0], [1.4, 0, 0], [0, 1.05, 0], [0, -1.05, 0]])
    product = Atoms("CCHH", [[0, 0, 0], [1.4, 0, 0], [1.4, 1.05, 0], [0, -1.05, 0]])
    other = product[[0, 1, 3, 2]]  # the other hydrogen moved
    found = verdict_of((reactant, other), reactant, product, VerdictSettings())
    assert found.label is Label.PARTLY
    assert found.relabelled is Label.INTENDED


def test_a_bond_near_the_limit_that_decides_is_named() -> None:
    limit = 1.2 * (0.76 + 0.37)
    found = verdict(ON_FIRST, (1.4, 0.98 * limit))
    assert found.label is Label.AMBIGUOUS
    assert found.at_limit is Label.INTENDED
    assert "C2-H4 1.33 Å" in found.deciding_bonds[0]
    assert "C2-H4" in found.reason
    beyond = verdict(ON_FIRST, (1.4, 1.02 * limit))
    assert beyond.label is Label.AMBIGUOUS
    assert beyond.at_limit is Label.PARTLY


@pytest.mark.parametrize(
    ("order", "label"),
    [(0.8, Label.INTENDED), (0.2, Label.PARTLY), (0.5, Label.AMBIGUOUS), (None, Label.AMBIGUOUS)],
)
@pytest.mark.parametrize("part", [0.98, 1.02])
def test_a_bond_order_decides_where_the_distance_does_not(part, order, label) -> None:
    """Whether the distance is a little below or above the limit."""
    ends = hydrogen_at(ON_FIRST), hydrogen_at((1.4, part * 1.2 * (0.76 + 0.37)))
    aims = hydrogen_at(ON_FIRST), hydrogen_at(ON_SECOND)

    def orders(atoms: Atoms) -> np.ndarray | None:
        if order is None:
            return None
        found = (atoms.get_all_distances() < 1.2).astype(float)
        if atoms is ends[1]:
            found[1, 3] = found[3, 1] = order
        return found

    found = verdict_of(ends, *aims, VerdictSettings(), orders)
    assert found.label is label
    decided = label is not Label.AMBIGUOUS
    assert ("bond orders decide: C2-H4" in found.reason) == decided
    assert (found.deciding_bonds == ()) == decided


def test_a_bond_near_the_limit_that_decides_nothing_is_not_mentioned() -> None:
    limit = 1.2 * (0.76 + 0.37)
    # Close to the limit at both ends and in the references alike.
    ends = [hydrogen_at(ON_FIRST), hydrogen_at((1.4, 0.99 * limit))]
    found = verdict_of((ends[0], ends[1]), ends[0], ends[1], VerdictSettings())
    assert found.label is Label.INTENDED
    # In doubt whether it is bonded, but wrong either way.
    assert verdict((2.8, 1.2 * (0.66 + 0.37) * 0.98), AWAY).label is Label.UNINTENDED


def test_the_same_bond_at_both_sides_of_the_limit_is_one_bond() -> None:
    """Two relaxations of one structure differ by a hundredth of an Å, and verdicts must not."""
    limit = 1.2 * (0.76 + 0.37)
    found = verdict(ON_FIRST, (1.4, 1.001 * limit), product=(1.4, 0.999 * limit))
    assert found.label is Label.INTENDED
    assert found.at_limit is Label.INTENDED
    assert found.deciding_bonds == ()


def test_where_both_ends_have_the_same_bonds_other_ones_still_tell() -> None:
    conformers = {"reactant": ON_FIRST, "product": (0, -1.05)}
    neither = verdict(ON_THIRD, AWAY, **conformers)
    assert neither.label is Label.UNINTENDED
    one = verdict(ON_FIRST, ON_THIRD, **conformers)
    assert one.label is Label.PARTLY
    assert one.side == ""  # reactant or product: bonds cannot tell


def test_the_direction_of_an_irc() -> None:
    def backwards(first: tuple, last: tuple) -> bool:
        ends = hydrogen_at(first), hydrogen_at(last)
        aims = hydrogen_at(ON_FIRST), hydrogen_at(ON_SECOND)
        return runs_backwards(ends, *aims, VerdictSettings())

    assert backwards(ON_SECOND, ON_FIRST)
    assert backwards(ON_SECOND, AWAY)
    assert backwards(AWAY, ON_FIRST)
    assert not backwards(ON_FIRST, ON_SECOND)
    assert not backwards(ON_FIRST, AWAY)
    assert not backwards(AWAY, ON_THIRD)


def test_two_conformers_cannot_be_told_apart() -> None:
    found = verdict(ON_FIRST, ON_FIRST, reactant=ON_FIRST, product=(0, -1.05))
    assert found.label is Label.AMBIGUOUS
    assert "same bonds" in found.reason


def test_permutation_rotation_and_translation_change_nothing() -> None:
    rng = np.random.default_rng(1)
    for places in ((ON_FIRST, ON_SECOND), (ON_FIRST, ON_THIRD), (ON_THIRD, AWAY)):
        expected = verdict(*places)
        order = rng.permutation(4)
        structures = [hydrogen_at(p)[order] for p in (*places, ON_FIRST, ON_SECOND)]
        for atoms in structures:
            atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
            atoms.translate(rng.normal(size=3))
        first, last, reactant, product = structures
        found = verdict_of((first, last), reactant, product, VerdictSettings())
        assert (found.label, found.side) == (expected.label, expected.side)
