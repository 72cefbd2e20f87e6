"""Molecular graphs of real and of made-up geometries."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.collections import g2

from horm_calc.chemistry.connectivity import (
    Match,
    bonds,
    describe_changes,
    match_bonds,
    same_bonds,
    same_molecule,
)

FACTOR, MARGIN = 1.2, 0.05


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("H2", 1), ("N2", 1), ("H2O", 2), ("CH4", 4), ("C6H6", 12), ("cyclobutane", 12),
        ("bicyclobutane", 11), ("CH3NO2", 6), ("N2H4", 5), ("H2O2", 3), ("O3", 2), ("CO2", 2),
    ],
)  # fmt: skip
def test_bonds_of_known_molecules(name: str, number: int) -> None:
    assert len(bonds(molecule(name), FACTOR)) == number


def test_no_molecule_of_g2_with_c_h_n_o_falls_apart() -> None:
    for name in g2.names:
        atoms = molecule(name)
        if len(atoms) > 1 and set(atoms.numbers) <= {1, 6, 7, 8}:
            bonded = {i for pair in bonds(atoms, FACTOR) for i in pair}
            assert bonded == set(range(len(atoms))), name


def test_graphs_do_not_depend_on_place_or_orientation() -> None:
    atoms = molecule("CH3CH2OH")
    moved = atoms.copy()
    moved.rotate(77, (1, 2, 3))
    moved.translate((5, -3, 2))
    assert bonds(moved, FACTOR) == bonds(atoms, FACTOR)


def test_relabelled_hydrogens_are_the_same_molecule_but_not_the_same_bonds() -> None:
    methanol = molecule("CH3OH")
    hydroxyl = next(
        h for h in range(6) if methanol.numbers[h] == 1 and methanol.get_distance(h, 1) < 1.1
    )
    methyl = next(
        h for h in range(6) if methanol.numbers[h] == 1 and methanol.get_distance(h, 0) < 1.2
    )
    swapped = methanol.copy()
    swapped.positions[[hydroxyl, methyl]] = swapped.positions[[methyl, hydroxyl]]
    assert not same_bonds(methanol, swapped, FACTOR)
    assert same_molecule(methanol, swapped, FACTOR)
    assert not same_molecule(methanol, molecule("CH3OH")[::-1][1:], FACTOR)


def test_changes_are_named_from_one() -> None:
    near, far = Atoms("OH", [[0, 0, 0], [0.97, 0, 0]]), Atoms("OH", [[0, 0, 0], [2.0, 0, 0]])
    assert describe_changes(near, far, FACTOR) == "O1-H2 broken"
    assert describe_changes(far, near, FACTOR) == "O1-H2 formed"
    assert describe_changes(near, near, FACTOR) == ""


def carbons(distance: float) -> Atoms:
    return Atoms("CC", [[0, 0, 0], [distance, 0, 0]])


LIMIT = 2 * 0.76 * FACTOR  # Å, between two carbon atoms


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.8, 0.8, Match.YES),
        (0.8, 1.3, Match.NO),
        (0.8, 1.03, Match.UNSURE),  # just not bonded
        (0.8, 0.97, Match.UNSURE),  # just bonded
        (0.97, 0.972, Match.YES),  # close, but the same in both
        (0.999, 1.001, Match.YES),  # on two sides of the limit, but the same distance
        (1.03, 1.4, Match.UNSURE),
        (1.3, 2.0, Match.YES),
    ],
)
def test_doubt_near_the_limit(first: float, second: float, expected: Match) -> None:
    pair = carbons(first * LIMIT), carbons(second * LIMIT)
    for a, b in (pair, pair[::-1]):
        match, doubtful = match_bonds(a, b, FACTOR, MARGIN)
        assert match is expected
        assert doubtful == (((0, 1),) if expected is Match.UNSURE else ())


def test_permuting_all_structures_alike_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    b.positions[-1] += 0.6
    expected = match_bonds(a, b, FACTOR, MARGIN)[0]
    for _ in range(5):
        order = rng.permutation(len(a))
        assert match_bonds(a[order], b[order], FACTOR, MARGIN)[0] is expected
