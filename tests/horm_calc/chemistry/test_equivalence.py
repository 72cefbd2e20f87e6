"""Atoms in each other's places: where it makes no difference, and where another reaction."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from horm_calc.chemistry.connectivity import bonds, same_bonds
from horm_calc.chemistry.equivalence import distance, lie_upon, relabellings
from horm_calc.chemistry.mapping import best_mapping
from horm_calc.chemistry.superposition import superposition
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import calculators
from tests.places import STRUCTURES
from tests.workflows.molecules import exchanged, mirrored, numbered
from workflows.account import Account
from workflows.attempts import BRANCHING, Attempt, attempt_from
from workflows.records import Label, Reaction, ReactionPath
from workflows.settings import SearchSettings, VerdictSettings, from_mapping
from workflows.stages.endpoints import settle
from workflows.stages.free_energy import connected_sides
from workflows.tssearch import search
from workflows.verdict import runs_backwards, verdict_of

FACTOR = VerdictSettings().bond_factor
VINYL_ALCOHOL = "[H:4][C:1]([H:5])=[C:2]([H:6])[O:3][H:7]"
ACETALDEHYDE = "[C:1]([H:4])([H:5])([H:7])[C:2]([H:6])=[O:3]"


def square(long: float, short: float) -> Atoms:
    """Cyclobutadiene."""
    carbons = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) * [long / 2, short / 2, 0]
    hydrogens = carbons + 0.76 * np.sign(carbons)
    return Atoms("C4H4", [*carbons, *hydrogens])


def turned(atoms: Atoms, dihedral: tuple[int, ...], angle: float, moved: list[int]) -> Atoms:
    other = atoms.copy()
    other.set_dihedral(*dihedral, angle, indices=moved)
    return other


def inverted(atoms: Atoms) -> Atoms:
    """Through the plane of the hydrogens of ammonia."""
    other = atoms.copy()
    other.positions[0, 2] = 2 * other.positions[1, 2] - other.positions[0, 2]
    return other


AMMONIA = molecule("NH3")
BUTADIENE = numbered("[H:5][C:1]([H:6])=[C:2]([H:7])[C:3]([H:8])=[C:4]([H:9])[H:10]")
REST = [2, 3, 7, 8, 9]
S_TRANS, GAUCHE = (turned(BUTADIENE, (0, 1, 2, 3), angle, REST) for angle in (180, 40))
ETHANE = molecule("C2H6")
THIRD = turned(ETHANE, (2, 0, 1, 5), ETHANE.get_dihedral(2, 0, 1, 5) + 120, [5, 6, 7])
HONO = numbered("[H:4][O:1][N:2]=[O:3]")
CIS, TRANS = (turned(HONO, (3, 0, 1, 2), angle, [2]) for angle in (0, 180))
PAIRS = {
    "bond shift": (square(1.54, 1.36), square(1.36, 1.54)),
    "inversion": (AMMONIA, inverted(AMMONIA)),
    "rotation": (S_TRANS, GAUCHE),
    "nitrous acid": (CIS, TRANS),
    "methyl": (ETHANE, THIRD),
}


def disturbed(atoms: Atoms, seed: int) -> Atoms:
    """As another relaxation leaves it, somewhere else."""
    other = atoms.copy()
    other.rattle(0.01, seed=seed)
    other.rotate(100, (1, 2, 3))
    other.translate((1, 2, 3))
    return other


@pytest.mark.parametrize("name", PAIRS)
def test_ends_that_lie_upon_reactant_and_product_are_these(name: str) -> None:
    aims = PAIRS[name]
    settings = VerdictSettings()
    ends = disturbed(aims[0], 1), disturbed(aims[1], 2)
    for one in (ends, tuple(map(mirrored, ends))):
        assert lie_upon(one, aims, FACTOR)
        assert verdict_of(one, *aims, settings).label is Label.INTENDED
        assert verdict_of(one[::-1], *aims, settings).label is Label.INTENDED
    assert not runs_backwards(ends, *aims, settings)
    assert runs_backwards(ends[::-1], *aims, settings)
    # The same end twice, or one that is somewhere else.
    for wrong in ((ends[0], ends[0]), (ends[1], ends[1]), (ends[0], ends[1].copy())):
        if wrong[0] is not wrong[1]:
            wrong[1].rattle(0.07, seed=3)
        assert not lie_upon(wrong, aims, FACTOR)
        found = verdict_of(wrong, *aims, settings)
        assert found.label is Label.AMBIGUOUS
        # A barrier counts at most from the end that is one of the two.
        assert sum(connected_sides(found)) == 1


@pytest.mark.parametrize("name", ["bond shift", "inversion"])
def test_a_search_between_forms_of_one_molecule_is_decided(name: str) -> None:
    """And at once: the next attempts would come to the same saddle."""
    result = search(Reaction(name, *PAIRS[name]), calculators.build("gfn2-xtb"))
    assert result.verdict.label is Label.INTENDED
    assert result.attempts == 1
    for end, minimum in zip(result.irc_ends, (result.reactant, result.product), strict=True):
        assert superposition(end.atoms, minimum.atoms)[1] < 0.05
    # GFN2-xTB's, kcal/mol.
    barrier = to_kcal_per_mol(result.saddle.energy - result.reactant.energy)
    assert barrier == pytest.approx({"bond shift": 22.5, "inversion": 6.1}[name], abs=0.1)


def test_one_mirror_image_of_two_is_another_reaction() -> None:
    """A centre that stays while another bond turns: the mirror has to hold for both."""
    reactant = numbered("[H:5][C:1]([F:2])([Cl:3])[O:4][H:6]")
    product = turned(reactant, (1, 0, 3, 5), reactant.get_dihedral(1, 0, 3, 5) + 120, [5])
    aims = reactant, product
    assert lie_upon((mirrored(reactant), mirrored(product)), aims, FACTOR)
    assert not lie_upon((reactant, mirrored(product)), aims, FACTOR)


def test_ends_as_near_to_the_one_as_to_the_other_decide_nothing() -> None:
    """0.08 Å between reactant and product: a relaxation that ends 0.04 Å off is both or neither."""
    reactant = square(1.48, 1.40)
    product = square(1.40, 1.48)
    assert not lie_upon((reactant, product), (reactant, product), FACTOR)


def test_another_isotope_is_not_an_equivalent_atom() -> None:
    """The bond shift backwards is the same one, but not where two neighbours are deuterium."""
    aims = tuple(atoms.copy() for atoms in PAIRS["bond shift"])
    assert lie_upon(aims[::-1], aims, FACTOR)
    for atoms in aims:
        masses = atoms.get_masses()
        masses[4:6] = 2.014
        atoms.set_masses(masses)
    assert not lie_upon(aims[::-1], aims, FACTOR)
    assert lie_upon(aims, aims, FACTOR)


EXCHANGED = {
    "tautomer": (VINYL_ALCOHOL, ACETALDEHYDE, [(6, 7)], "H6 and H7"),
    "methyl hydrogens": (ACETALDEHYDE, VINYL_ALCOHOL, [(4, 7)], "H4 and H7"),
    "hydrogen shift": (
        "[H:3][C:1]([H:4])=[O:2]", "[H:3][C:1][O:2][H:4]", [(3, 4)], "H3 and H4"
    ),
    "carbons": (
        "[C:1]1([H:4])([H:5])[C:2]([H:6])([H:7])[C:3]1([H:8])[H:9]",
        "[C:1]([H:4])([H:5])=[C:2]([H:6])[C:3]([H:7])([H:8])[H:9]",
        [(1, 2)],
        "C1 and C2",
    ),
    "oxygens": (
        "[H:5][C:1]([H:6])([H:7])[N+:2](=[O:3])[O-:4]",
        "[H:5][C:1]([H:6])([H:7])[O:3][N:2]=[O:4]",
        [(3, 4)],
        "O3 and O4",
    ),
    "three hydrogens": (
        "[H:4][O:1][C:2]([H:5])=[N:3][H:6]",
        "[H:4][O:1][N:3]([H:6])[C:2][H:5]",
        [(4, 5, 6)],
        "H4, H5 and H6",
    ),
    "two pairs": (
        "[H:5][N:1]([H:6])[C:2]([H:7])=[C:3]([H:8])[O:4][H:9]",
        "[H:5][N:1]=[C:2]([H:7])[C:3]([H:8])([H:6])[O:4][H:9]",
        [(5, 7), (8, 9)],
        "H5, H7, H8 and H9",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXCHANGED)
def test_the_atoms_are_named_whose_exchange_would_be_intended(name: str) -> None:
    """The saddle is that of the reaction, but the product was given with atoms exchanged."""
    before, after, cycles, names = EXCHANGED[name]
    reactant, product = numbered(before), numbered(after)
    given = exchanged(product, *cycles)
    words = f"; with {names} exchanged this is intended: is the order of the atoms right?"
    for ends in ((reactant, product), (product, reactant)):
        found = verdict_of(ends, reactant, given, VerdictSettings())
        assert found.label is Label.PARTLY
        assert found.relabelled is Label.INTENDED
        assert found.reason.endswith(words), found.reason
        # It does not matter in which of the files, unless they are equivalent in that one.
        found = verdict_of(ends, exchanged(reactant, *cycles), product, VerdictSettings())
        assert found.label is Label.INTENDED or found.reason.endswith(words), found.reason
    assert (
        verdict_of((reactant, product), reactant, product, VerdictSettings()).label
        is Label.INTENDED
    )


def test_the_saddle_that_asks_for_the_order_of_the_atoms_is_the_better_one() -> None:
    """Of two that reach one end: the other one's barrier is that of something else."""
    before, after, cycles, _ = EXCHANGED["tautomer"]
    reactant, product = numbered(before), numbered(after)
    given = exchanged(product, *cycles)
    elsewhere = numbered("[H:4][C:1]([H:5])[C:2]([H:6])[O:3][H:7]")
    elsewhere.positions[6] += [9, 0, 0]
    right, wrong = (
        Attempt(verdict_of((reactant, end), reactant, given, VerdictSettings()))
        for end in (product, elsewhere)
    )
    assert right.verdict.label is wrong.verdict.label is Label.PARTLY
    assert min([wrong, right], key=lambda attempt: attempt.rank) is right


def test_a_torsion_is_no_exchange_of_atoms() -> None:
    """In a degenerate rearrangement both ends of a wrong saddle are the reactant's molecule."""
    malonaldehyde = numbered("[O:1]=[C:2]([H:6])[C:3]([H:7])=[C:4]([H:8])[O:5][H:9]")
    product = exchanged(malonaldehyde, (1, 5), (2, 4), (6, 8))
    end = turned(malonaldehyde, (2, 3, 4, 8), 120, [8])
    found = verdict_of((malonaldehyde, end), malonaldehyde, product, VerdictSettings())
    assert found.label is Label.PARTLY
    assert found.reason == "both ends of the IRC are the reactant"


def test_more_atoms_than_can_be_tried_are_not_named() -> None:
    """All hydrogens of a chain have moved on by one; and it does not take long to see."""
    chain = numbered("[C:1]([H:6])([H:7])([H:8])[C:2]([H:9])([H:10])[C:3]([H:11])([H:12])[O:4]"
                     "[C:5]([H:13])([H:14])[H:15]")  # fmt: skip
    moved = chain.copy()
    moved.positions[14] = moved.positions[3] + (0.3, 0.5, 0.75)
    given = exchanged(moved, tuple(range(6, 16)), (1, 2, 3))
    start = time.process_time()
    found = verdict_of((chain, moved), chain, given, VerdictSettings())
    assert time.process_time() - start < 5
    assert found.reason.endswith("with more than a few atoms exchanged this is intended: "
                                 "is the order of the atoms right?")  # fmt: skip


def test_names_of_equivalent_atoms_in_both_ends() -> None:
    """The right saddle, but with two hydrogens in each other's places at both of its ends."""
    first, last = numbered(ACETALDEHYDE), numbered(VINYL_ALCOHOL)
    ends = [exchanged(atoms, (4, 6)) for atoms in (first, last)]
    found = verdict_of((ends[0], ends[1]), first, last, VerdictSettings())
    assert found.label is Label.UNINTENDED
    assert found.reason.endswith("; up to the numbering of equivalent atoms this is intended")


def test_an_exchange_that_changes_fewer_bonds() -> None:
    for name, (before, after, cycles, _) in EXCHANGED.items():
        reactant, product = numbered(before), numbered(after)
        given = exchanged(product, *cycles)
        asked = len(bonds(reactant, FACTOR) ^ bonds(product, FACTOR))
        found = best_mapping(reactant, given, FACTOR)
        assert found.changes <= asked, name
        if name in ("methyl hydrogens", "hydrogen shift", "oxygens"):  # equivalent in the reactant
            assert not found.fewer
        elif name in ("tautomer", "carbons"):
            moved = [i + 1 for i, place in enumerate(found.order) if i != place]
            assert moved == sorted(cycles[0])
            assert found.changes == asked < found.changes_given


def test_a_search_between_files_in_another_order() -> None:
    """Four bonds were to change; an attempt with two atoms exchanged shows what was meant."""
    reactant, product = read(STRUCTURES / "vinyl_alcohol.xyz", ":")
    settings = from_mapping({"attempts": 1, "steps": 1, "lower_path": {"steps": 0}})
    reaction = Reaction("tautomers", reactant, exchanged(product, (6, 7)))
    result = search(reaction, calculators.build("gfn2-xtb"), settings)
    assert result.verdict.label is not Label.INTENDED
    asks = "this is intended: is the order of the atoms right?"
    warning = f"with H6 and H7 exchanged in the product {asks}"
    assert f"with H6 and H7 exchanged {asks}" in result.verdict.reason or warning in result.warnings
    assert result.attempts == 1


def ring(radii: tuple[float, float], turn: float, tub: float) -> Atoms:
    """Eight carbons with hydrogens; turn: degrees by which bonds shift, tub: Å out of plane."""
    places = np.arange(8)
    angles = np.radians(45 * places + turn * (-1) ** places)
    heights = tub * np.array([1, 1, -1, -1] * 2)
    return Atoms(
        "C8H8",
        np.concatenate([np.c_[r * np.cos(angles), r * np.sin(angles), heights] for r in radii]),
    )


def test_ends_of_an_irc_that_are_saddle_points_are_not_the_last_word(gfn2) -> None:
    """Bond shift of cyclooctatetraene: the IRC leads to flat rings, and not to tubs."""
    settings = SearchSettings()
    tub = ring((1.76, 2.85), 1.2, 0.38)
    reactant = settle(tub, 20.0, gfn2, settings.endpoints)
    product = dataclasses.replace(
        reactant,
        atoms=exchanged(reactant.atoms, (1, 2, 3, 4, 5, 6, 7, 8), (9, 10, 11, 12, 13, 14, 15, 16)),
    )
    assert same_bonds(reactant.atoms, product.atoms, FACTOR)
    images = reactant.atoms, ring((1.823, 2.91), 0.0, 0.0), product.atoms
    path = ReactionPath(images, np.array([0.0, 1.0, 0.0]), method="given", converged=True)
    account = Account(lambda stage: None)
    found = attempt_from(lambda: path, reactant, product, gfn2, settings, account)
    assert found.intended, found.verdict
    assert found.verdict.reason == BRANCHING
    assert found.saddle and found.ends
    barrier = to_kcal_per_mol(found.saddle.energy - reactant.energy)
    assert barrier == pytest.approx(23.6, abs=0.2)  # the ring turns over at 11.2
    for end in found.ends:
        assert end.energy == pytest.approx(reactant.energy, abs=1e-3)


def test_labels_that_may_be_exchanged() -> None:
    """The three hydrogens of a methyl group, until one of them has left it: 3! and 2! orders."""
    methanol = molecule("CH3OH")
    assert methanol.get_chemical_symbols() == ["C", "O", "H", "H", "H", "H"]
    methyl = {i for i in range(2, 6) if methanol.get_distance(0, i) < 1.2}
    orders = list(relabellings((methanol, methanol), 1.2))
    assert len(orders) == 6
    assert {i for order in orders for i in range(6) if order[i] != i} == methyl
    left = methanol.copy()
    left.positions[max(methyl)] += 5
    assert len(list(relabellings((methanol, left), 1.2))) == 2


def test_distance_of_saddles_is_that_of_the_nearest_equivalent_one() -> None:
    """Turned, mirrored and with two hydrogens of its methyl group exchanged it is the same."""
    methanol = molecule("CH3OH")
    methyl = [i for i in range(2, 6) if methanol.get_distance(0, i) < 1.2]
    saddle = methanol.copy()
    saddle.positions += np.random.default_rng(0).normal(0, 0.1, (6, 3))
    order = list(range(6))
    order[methyl[0]], order[methyl[1]] = methyl[1], methyl[0]
    other = Atoms(saddle.numbers, saddle.positions[order] * (1, -1, 1))
    other.rotate(80, (3, 1, 2))
    ends = methanol, methanol
    assert distance(saddle, other, ends, 1.2) == pytest.approx(0, abs=1e-7)
    assert superposition(saddle, other)[1] > 0.1
    moved = saddle.copy()
    moved.positions[0] += (0, 0, 0.3)
    assert distance(saddle, moved, ends, 1.2) == pytest.approx(superposition(saddle, moved)[1])


def test_too_many_equivalent_atoms_are_refused() -> None:
    """Ten lone hydrogens can be exchanged in 10! ways."""
    gas = Atoms("H10", [[10.0 * i, 0, 0] for i in range(10)])
    assert distance(gas, gas, (gas, gas), 1.2) is None
