"""Structures from reaction SMILES."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data.vdw_alvarez import vdw_radii
from rdkit import Chem

from horm_calc.chemistry.connectivity import bonds, describe_changes, pieces, same_bonds
from horm_calc.chemistry.embedding import Embedded, SmilesError, embedded
from horm_calc.chemistry.placement import OTHERS, REACTING

FACTOR = 1.2
DIELS_ALDER = "C=CC=C.C=C>>C1=CCCCC1"
SHIFT = "[CH2:1]=[CH:2][CH:3]=[CH:4][CH2:5][H:6]>>[H:6][CH2:1][CH:2]=[CH:3][CH:4]=[CH2:5]"


@pytest.fixture(scope="module")
def diels_alder() -> Embedded:
    return embedded(DIELS_ALDER, FACTOR)


def test_both_ends_are_what_the_smiles_says(diels_alder) -> None:
    changes = describe_changes(diels_alder.reactant, diels_alder.product, FACTOR)
    assert changes == "C1-C6 formed, C4-C5 formed"
    assert len(pieces(diels_alder.reactant, FACTOR)) == 2
    assert len(pieces(diels_alder.product, FACTOR)) == 1
    assert diels_alder.reactant.get_chemical_formula() == "C6H10"
    assert (diels_alder.charge, diels_alder.radicals) == (0, 0)


def test_molecules_touch_where_bonds_form_and_nowhere_overlap(diels_alder) -> None:
    atoms = diels_alder.reactant
    one, other = pieces(atoms, FACTOR)
    touch = vdw_radii[atoms.numbers][:, None] + vdw_radii[atoms.numbers][None]
    parts = atoms.get_all_distances() / touch
    for pair in ((0, 5), (3, 4)):
        assert parts[pair] == pytest.approx(REACTING, abs=0.1)
    assert parts[np.ix_(one, other)].min() > min(OTHERS, REACTING) - 0.1


def test_a_diene_that_closes_a_ring_is_s_cis(diels_alder) -> None:
    angle = diels_alder.reactant.get_dihedral(0, 1, 2, 3)
    assert min(angle, 360 - angle) < 60


def test_the_same_seed_makes_the_same_structures(diels_alder) -> None:
    again = embedded(DIELS_ALDER, FACTOR)
    assert np.array_equal(again.reactant.positions, diels_alder.reactant.positions)
    assert np.array_equal(again.product.positions, diels_alder.product.positions)


def test_what_moves_is_near_its_goal() -> None:
    """A hydrogen that goes to the other end of a chain: Z, and bent to it."""
    found = embedded(SHIFT, FACTOR)
    assert describe_changes(found.reactant, found.product, FACTOR) == "C5-H6 broken, C1-H6 formed"
    assert found.reactant.get_distance(0, 5) < 3.0
    assert found.product.get_distance(4, 5) < 3.0


def test_a_saturated_atom_is_attacked_from_behind() -> None:
    found = embedded("[F-].CCl>>CF.[Cl-]", FACTOR)
    assert found.charge == -1
    fluorine, carbon, chlorine = (list(found.reactant.symbols).index(x) for x in ("F", "C", "Cl"))
    for end in (found.reactant, found.product):
        assert end.get_angle(fluorine, carbon, chlorine) > 150


def test_maps_decide_and_the_mapping_is_told() -> None:
    """Claisen: without maps a [1,3] shift changes as few bonds."""
    claisen = "[CH2:1]=[CH:2][CH2:3]OC=C>>[CH2:3]=[CH:2][CH2:1]CC=O"
    found = embedded(claisen, FACTOR)
    assert describe_changes(found.reactant, found.product, FACTOR) == "C3-O4 broken, C1-C6 formed"
    again = embedded(found.mapping, FACTOR)
    assert describe_changes(again.reactant, again.product, FACTOR).count("formed") == 1
    with pytest.raises(SmilesError, match="2 different reactions") as told:
        embedded("C=CCOC=C>>C=CCCC=O", FACTOR)
    candidates = [line.strip() for line in str(told.value).splitlines()[1:]]
    changes = set()
    for candidate in candidates:  # each can be given back
        one = embedded(candidate, FACTOR)
        graph = bonds(one.reactant, FACTOR) ^ bonds(one.product, FACTOR)
        changes.add(frozenset(graph))
    assert len(changes) == 2


def test_configurations_that_are_written_stay() -> None:
    found = embedded("C/C=C\\CO>>C=C[C@H](C)O", FACTOR)
    assert not same_bonds(found.reactant, found.product, FACTOR)
    angle = found.reactant.get_dihedral(0, 1, 2, 3)
    assert min(angle, 360 - angle) < 20


def test_isotopes_have_their_masses() -> None:
    found = embedded("C=C.[2H][2H]>>[2H]CC[2H]", FACTOR)
    for end in (found.reactant, found.product):
        heavy = end.get_masses()[end.numbers == 1]
        assert sorted(np.round(heavy, 3))[-2:] == [2.014, 2.014]
    assert np.array_equal(found.reactant.get_masses(), found.product.get_masses())


def test_radicals_are_counted() -> None:
    exchange = "[CH3:2].[CH3:1][H:3]>>[CH3:2][H:3].[CH3:1]"
    assert embedded(exchange, FACTOR).radicals == 1


@pytest.mark.parametrize(
    ("smiles", "words"),
    [
        ("C1CC", "no reaction SMILES"),
        ("C=C>>", "nothing on one side"),
        ("C=C>>CC", "different atoms, C2H4 and C2H6"),
        ("C[N>>CN", "cannot read the SMILES 'C\\[N'"),
        ("C(C)(C)(C)(C)C>>CC", "valence"),
        ("CC>[Pd]>CC", "takes no part"),
        ("[CH3:1]O>>[CH3:2]O", "map number 1 is on one side only"),
        ("[CH3:1][OH:1]>>[CH3:1]O", "stands twice"),
        ("[CH3:1]O>>C[OH:1]", "different element"),
        ("C[O-]>>C[O]", r"charges -1 and \+0"),
        ("C=CC=CC>>CC=CC=C", "no bonds have to change"),
        ("*C>>*C", "without an element"),
    ],
)
def test_what_is_no_reaction_is_told(smiles: str, words: str) -> None:
    with pytest.raises(SmilesError, match=words):
        embedded(smiles, FACTOR)


def test_rdkit_says_nothing_itself(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SmilesError):
        embedded("C(C)(C)(C)(C)C>>CC", FACTOR)
    assert capfd.readouterr() == ("", "")
    assert Chem.MolFromSmiles("C") is not None
