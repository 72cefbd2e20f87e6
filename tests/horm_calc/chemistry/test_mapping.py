"""The order of the product's atoms with which the fewest bonds change."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from horm_calc.chemistry.connectivity import bonds
from horm_calc.chemistry.mapping import best_mapping, in_words, nearest_hydrogens
from horm_calc.chemistry.stereochemistry import compare, inversions
from horm_calc.chemistry.superposition import superposition
from tests.places import SHARED, STRUCTURES
from tests.workflows.molecules import exchanged, mirrored, numbered
from workflows.settings import VerdictSettings

FACTOR = VerdictSettings().bond_factor
REACTIONS = SHARED / "data" / "reactbench"


def ends(name: str) -> tuple[Atoms, Atoms]:
    reactant, product = read(STRUCTURES / f"{name}.xyz", ":")
    return reactant, product


def changes(reactant: Atoms, product: Atoms) -> int:
    return len(bonds(reactant, FACTOR) ^ bonds(product, FACTOR))


def shuffled(atoms: Atoms, seed: int) -> list[int]:
    """A random order that leaves every element where it was."""
    order = np.arange(len(atoms))
    for number in set(atoms.numbers):
        places = np.nonzero(atoms.numbers == number)[0]
        order[places] = np.random.default_rng(seed).permutation(places)
    return order.tolist()


def fewest(reactant: Atoms, product: Atoms) -> int:
    """By trying all orders."""
    first, last = bonds(reactant, FACTOR), bonds(product, FACTOR)
    places = [np.nonzero(product.numbers == number)[0] for number in sorted(set(product.numbers))]
    there = [np.nonzero(reactant.numbers == number)[0] for number in sorted(set(product.numbers))]
    best = len(first) + len(last)
    for permuted in itertools.product(*(itertools.permutations(some) for some in there)):
        to = dict(zip(np.concatenate(places), np.concatenate(permuted), strict=True))
        moved = {(min(to[i], to[j]), max(to[i], to[j])) for i, j in last}
        best = min(best, len(first ^ moved))
    return best


@pytest.mark.parametrize("path", sorted(STRUCTURES.glob("*.xyz")), ids=lambda path: path.stem)
def test_examples_are_in_the_best_order(path) -> None:
    reactant, product = ends(path.stem)
    found = best_mapping(reactant, product, FACTOR)
    assert not found.unproven
    if path.stem == "pentadiene":  # is degenerate: in another order nothing happens at all
        assert found.changes == 0
        return
    assert found.order == tuple(range(len(product)))
    assert found.changes == found.changes_given == changes(reactant, product)
    assert not found.fewer


@pytest.mark.parametrize(
    ("name", "cycles", "words"),
    [
        ("vinyl_alcohol", [(6, 7)], "H6 and H7 exchanged in the product"),
        ("vinyl_alcohol", [(1, 2)], "C1 and C2 exchanged in the product"),
        ("claisen", [(1, 2)], "C1 and C2 exchanged in the product"),
        ("claisen", [(4, 5, 6)], "the product's C6 as atom 4, C4 as atom 5 and C5 as atom 6"),
    ],
)
def test_exchanged_atoms_are_found(name: str, cycles: list[tuple[int, ...]], words: str) -> None:
    reactant, product = ends(name)
    given = exchanged(product, *cycles)
    found = best_mapping(reactant, given, FACTOR)
    assert in_words(given, found.order) == words
    assert found.fewer
    assert found.changes == changes(reactant, product) < found.changes_given
    assert np.allclose(given[list(found.order)].positions, product.positions)


def test_a_methyl_group_comes_back_turned_but_not_inverted() -> None:
    """With one of its hydrogens elsewhere: all three back, the nearest turn, and no mirror."""
    reactant = numbered("[C:1]([H:4])([H:5])([H:6])[C:2](=[O:3])[H:7]")
    for angle in (0, 50, 100, 150):
        product = reactant.copy()
        product.rotate_dihedral(2, 1, 0, 3, angle, indices=[3, 4, 5])
        given = exchanged(product, (4, 7, 5))
        found = best_mapping(reactant, given, FACTOR)
        assert found.changes == 0
        mapped = given[list(found.order)]
        assert not inversions(reactant, mapped, FACTOR)
        turns = [product, exchanged(product, (4, 5, 6)), exchanged(product, (4, 6, 5))]
        nearest = min(superposition(reactant, turn)[1] for turn in turns)
        assert superposition(reactant, mapped)[1] == pytest.approx(nearest, abs=1e-6)


SMALL = [
    ("[H:1][C:2]#[N:3]", "[C:2]#[N+:3][H:1]"),
    ("[H:4][C:1]([H:5])=[O:2]", "[H:4][C:1][O:2][H:5]"),
    ("[H:3][C:1]([H:4])=[C:2]([H:5])[H:6]", "[H:3][C:1]([H:4])([H:5])[C:2][H:6]"),
    ("[H:4][O:1][C:2]([H:5])=[O:3]", "[O:1]=[C:2]=[O:3].[H:4][H:5]"),
    ("[H:4][N:1]=[C:2]([H:5])[O:3][H:6]", "[H:4][N:1]([H:5])[C:2](=[O:3])[H:6]"),
    ("[O:1]([H:2])[H:3].[O:4]([H:5])[H:6]", "[O:1]([H:2])[O:4][H:5].[H:3][H:6]"),
    ("[H:1][H:2].[H:3][H:4]", "[H:1][H:3].[H:2][H:4]"),
    ("[C:1]([H:4])([H:5])=[C:2]=[C:3]([H:6])[H:7]", "[C:1]([H:4])([H:5])([H:6])[C:2]#[C:3][H:7]"),
]


@pytest.mark.parametrize("pair", SMALL, ids=lambda pair: pair[0])
def test_no_order_of_all_has_fewer_changes(pair: tuple[str, str]) -> None:
    reactant, product = (numbered(smiles) for smiles in pair)
    least = fewest(reactant, product)
    for seed in range(4):
        found = best_mapping(reactant, product[shuffled(product, seed)], FACTOR)
        assert found.changes == least
        assert not found.unproven


@pytest.mark.parametrize("seed", range(12))
def test_clusters_of_atoms_in_random_places(seed: int) -> None:
    """With bridging hydrogens, rings and molecules of hydrogen, as no chemist draws them."""
    random = np.random.default_rng(seed)
    symbols = random.choice(["C2H4", "COH4", "H6", "B2H4", "N2OH3", "O3H3"])
    one, other = (Atoms(symbols, random.uniform(0, 2.2, (len(Atoms(symbols)), 3))) for _ in "ab")
    assert best_mapping(one, other, FACTOR).changes == fewest(one, other)


def test_isotopes_are_not_exchanged() -> None:
    reactant, product = ends("vinyl_alcohol")
    for atoms in (reactant, product):
        masses = atoms.get_masses()
        masses[5] = 2.014
        atoms.set_masses(masses)
    given = exchanged(product, (6, 7))  # that changes the places, but not the masses
    found = best_mapping(reactant, given, FACTOR)
    assert found.order[5] == 5
    masses[5] = 2.0151
    product.set_masses(masses)
    reactant.set_masses(masses - 0.0002 * (np.arange(7) == 5))  # rounded otherwise, to 2.01
    assert not best_mapping(reactant, product, FACTOR).fewer
    reactant.set_masses()
    with pytest.raises(ValueError, match="isotopes"):
        best_mapping(reactant, product, FACTOR)


def test_centres_are_not_inverted() -> None:
    """Two carbons of a chiral alcohol exchanged, hydrogens anyhow: it comes back as it was."""
    butanol = numbered(
        "[C:1]([H:6])([H:7])([H:8])[C@:2]([H:9])([O:5][H:15])[C:3]([H:10])([H:11])"
        "[C:4]([H:12])([H:13])[H:14]"
    )
    for seed in range(5):
        given = butanol[shuffled(butanol, seed)]
        found = best_mapping(butanol, given, FACTOR)
        assert found.changes == 0
        assert not inversions(butanol, given[list(found.order)], FACTOR)
        given = butanol[np.random.default_rng(seed).permutation(len(butanol)).tolist()]
        again = given[list(best_mapping(butanol, given, FACTOR).order)]
        assert superposition(butanol, again)[1] < 1e-6


def test_double_bonds_keep_their_sides() -> None:
    """The methyl groups of isobutene's relative, E and Z: the carbons could be mapped both ways."""
    butene = numbered(
        "[C:1]([H:5])([H:6])([H:7])/[C:2]([H:8])=[C:3](/[C:4]([H:9])([H:10])[H:11])[H:12]"
    )
    for seed in range(5):
        given = butene[shuffled(butene, seed)]
        again = given[list(best_mapping(butene, given, FACTOR).order)]
        assert compare(butene, again, FACTOR).same
        assert not inversions(butene, again, FACTOR)


def test_exchanged_hydrogens_of_one_atom_are_inversions() -> None:
    butane = numbered("[C:1]([H:3])([H:4])([H:5])[C:2]([H:6])([H:7])[Cl:8]")
    assert inversions(butane, butane, FACTOR) == frozenset()
    assert inversions(butane, exchanged(butane, (6, 7)), FACTOR) == {1}
    assert inversions(butane, exchanged(butane, (3, 4, 5)), FACTOR) == frozenset()
    assert inversions(butane, mirrored(butane), FACTOR) == {0, 1}


def test_the_nearest_hydrogens() -> None:
    """Of a methyl group turned by names alone; as many bonds change, so nothing else says so."""
    reactant, product = ends("pentadiene")
    ordered = nearest_hydrogens(reactant, product, FACTOR)
    near = superposition(reactant, product[list(ordered)])[1]
    assert near <= superposition(reactant, product)[1] + 1e-9
    given = product[shuffled(product, 1)]
    kept = [i if product.numbers[i] != 1 else -1 for i in range(len(product))]
    order = nearest_hydrogens(reactant, given, FACTOR)
    assert all(order[i] == i for i in kept if i >= 0)
    assert changes(reactant, given[list(order)]) <= changes(reactant, given)


def test_too_many_atoms_are_said_to_be_too_many() -> None:
    """250 carbons in a ring, and in one with two of them exchanged."""
    angles = np.linspace(0, 2 * np.pi, 250, endpoint=False)
    radius = 0.7 / np.sin(np.pi / 250)
    ring = Atoms("C250", radius * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
    found = best_mapping(ring, exchanged(ring, (1, 5)), FACTOR)
    assert found.order == tuple(range(250))
    assert found.unproven == "250 atoms are too many to compare all orders"


def test_without_time_nothing_is_proven() -> None:
    reactant, product = ends("vinyl_alcohol")
    found = best_mapping(reactant, exchanged(product, (6, 7)), FACTOR, seconds=0)
    assert found.unproven == "not all orders could be compared within 0 s"
    assert found.changes == found.changes_given
    other = best_mapping(reactant, product[::-1], FACTOR, seconds=0)
    assert other.changes_given is None
    assert other.unproven
    assert (product[::-1][list(other.order)].numbers == reactant.numbers).all()


def test_elements_in_another_order() -> None:
    reactant, product = ends("claisen")
    order = np.random.default_rng(2).permutation(len(product)).tolist()
    found = best_mapping(reactant, product[order], FACTOR)
    assert found.changes_given is None
    assert found.changes == changes(reactant, product)
    assert changes(reactant, product[order][list(found.order)]) == found.changes
    assert in_words(product[order], found.order).startswith("the product's atoms in the order ")


@pytest.mark.skipif(not REACTIONS.exists(), reason="needs ../shared/data/reactbench")
def test_real_reactions_in_any_order_of_atoms() -> None:
    names = (REACTIONS / "dev.txt").read_text().split()[:10]
    for seed, name in enumerate(names):
        reactant, product, *_ = read(REACTIONS / name, ":")
        given = product[shuffled(product, seed)]
        found = best_mapping(reactant, given, FACTOR)
        assert found.changes <= changes(reactant, product)
        assert found.changes == changes(reactant, given[list(found.order)])
        assert found.changes == best_mapping(reactant, product, FACTOR).changes
        assert not found.unproven
