"""Stereoisomers of real molecules, told apart by their positions alone."""

from __future__ import annotations

import itertools
import operator

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from rdkit import Chem
from rdkit.Chem import AllChem

from horm_calc.chemistry.connectivity import bonds, molecular_graph
from horm_calc.chemistry.stereochemistry import compare
from reactbench_runner import calculators
from workflows import remarks
from workflows.records import Label, Minimum, Reaction, Verdict
from workflows.settings import VerdictSettings
from workflows.stages.free_energy import connected_sides
from workflows.tssearch import search
from workflows.verdict import runs_backwards, verdict_of

FACTOR = VerdictSettings().bond_factor
R_ALCOHOL, S_ALCOHOL = "C[C@H](O)N", "C[C@@H](O)N"
CIS_RING, TRANS_RING = "C1[C@H](C)C[C@@H]1C", "C1[C@H](C)C[C@H]1C"
DIAZENE = "[H]/N=N/[H]", r"[H]/N=N\[H]"


def built(smiles: str, seed: int = 1) -> Atoms:
    """A structure from a force field."""
    graph = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(graph, randomSeed=seed) == 0
    AllChem.MMFFOptimizeMolecule(graph)
    numbers = [atom.GetAtomicNum() for atom in graph.GetAtoms()]
    return Atoms(numbers, graph.GetConformer().GetPositions())


def mirrored(atoms: Atoms) -> Atoms:
    other = atoms.copy()
    other.positions[:, 2] *= -1
    return other


@pytest.mark.parametrize(
    ("before", "after", "same", "mirror", "changes"),
    [
        (R_ALCOHOL, S_ALCOHOL, False, True, "C2 inverted"),
        ("C/C=C/C", r"C/C=C\C", False, False, "C2-C3 Z instead of E"),
        (*DIAZENE, False, False, "N2-N3 Z instead of E"),
        (CIS_RING, TRANS_RING, False, False, "C5 inverted"),
        (CIS_RING, CIS_RING, True, True, ""),
        # Two centres: one inverted is a diastereomer.
        ("C[C@H](O)[C@H](N)C", "C[C@H](O)[C@@H](N)C", False, False, "C4 inverted"),
        # Nothing that stays: bonds that turn, rings too small for E, nitrogen that inverts.
        ("C=CC=C", "C=CC=C", True, True, ""),
        ("C1=CCCC1", "C1=CCCC1", True, True, ""),
        ("CN(CC)O", "CN(CC)O", True, True, ""),
    ],
)
def test_what_tells_two_structures_apart(before, after, same, mirror, changes) -> None:
    for seed in (1, 2):  # another conformer
        found = compare(built(before), built(after, seed), FACTOR)
        assert (found.same, found.mirrored, found.changes) == (same, mirror, changes)


@pytest.mark.parametrize("smiles", [R_ALCOHOL, "C/C=N/C", TRANS_RING, "C[C@H]1O[C@@H]1C"])
def test_neither_labels_nor_rotation_matter(smiles: str) -> None:
    generator = np.random.default_rng(3)
    atoms = built(smiles)
    turned = atoms.copy()
    turned.rattle(0.02, seed=4)
    turned.rotate(100, (1, 2, 3))
    order = generator.permutation(len(atoms))
    found = compare(atoms[order], turned[order], FACTOR)
    assert found.same
    assert found.changes == ""
    assert compare(atoms[order], mirrored(turned)[order], FACTOR).mirrored


def test_hydrogens_of_a_methyl_group_may_change_places() -> None:
    atoms = built(R_ALCOHOL)
    hydrogens = [i for i in range(len(atoms)) if atoms.numbers[i] == 1]
    first, second = (i for i in hydrogens if atoms.get_distance(0, i) < 1.2 and i != hydrogens[0])
    other = atoms.copy()
    other.positions[[first, second]] = other.positions[[second, first]]
    assert compare(atoms, other, FACTOR).same


@pytest.mark.parametrize(
    ("smiles", "bond"),
    [("CNC(C)=O", (0, 1, 2, 4)), ("CNN=O", (0, 1, 2, 3)), ("CNC=O", (0, 1, 2, 3))],
)
def test_rotamers_of_amides_are_conformers(smiles: str, bond: tuple[int, ...]) -> None:
    """At GFN2-xTB's bond lengths, which are shorter than a force field's."""
    start = built(smiles)
    graph = nx.Graph(bonds(start, FACTOR))
    graph.remove_edge(*bond[1:3])
    relaxed = []
    for angle in (0, 180):
        atoms = start.copy()
        moved = sorted(nx.node_connected_component(graph, bond[2]))
        atoms.set_dihedral(*bond, angle, indices=moved)
        atoms.calc = calculators.build("gfn2-xtb")
        BFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
        relaxed.append(atoms)
    one, other = relaxed
    assert abs(one.get_dihedral(*bond) - other.get_dihedral(*bond)) > 120
    assert compare(one, other, FACTOR).same


def test_bridgeheads_do_not_depend_on_the_order_of_atoms() -> None:
    """The four bonds of a carbon of bicyclobutane lie in one half of the space around it."""
    atoms = molecule("bicyclobutane")
    generator = np.random.default_rng(5)
    graph = molecular_graph(atoms, FACTOR)
    alike = nx.isomorphism.GraphMatcher(graph, graph, operator.eq, None).isomorphisms_iter()
    for mapping in itertools.islice(alike, 12):
        order = generator.permutation(len(atoms))
        other = atoms[[mapping[i] for i in range(len(atoms))]]
        found = compare(atoms[order], other[order], FACTOR)
        assert (found.same, found.mirrored) == (True, True)


def test_straight_chains_have_no_sides() -> None:
    """A bend of a degree either way is no other isomer, though C-C is short in a diyne."""
    for name in ("C2H2", "CH3CN", "C3H4_C3v", "C2H6CHOH"):
        atoms = molecule(name)
        for seed in range(5):
            bent = atoms.copy()
            bent.rattle(0.03, seed=seed)
            assert compare(atoms, bent, FACTOR).same, name


def test_e_and_z_decide_where_bonds_cannot() -> None:
    """trans-HNNH to cis-HNNH: the same bonds."""
    trans, cis = map(built, DIAZENE)
    settings = VerdictSettings()
    assert verdict_of((trans, cis), trans, cis, settings).label is Label.INTENDED
    assert verdict_of((cis, trans), trans, cis, settings).label is Label.INTENDED
    assert runs_backwards((cis, trans), trans, cis, settings)
    assert not runs_backwards((trans, cis), trans, cis, settings)
    one = verdict_of((trans, trans), trans, cis, settings)
    assert (one.label, one.side) == (Label.PARTLY, "reactant")
    assert "the stereoisomer of the product" in one.reason


def test_the_mirror_image_of_both_ends_is_intended() -> None:
    e_isomer, z_isomer = built("C/C=C/[C@H](O)N"), built(r"C/C=C\[C@H](O)N")
    settings = VerdictSettings()
    ends = mirrored(e_isomer), mirrored(z_isomer)
    assert verdict_of(ends, e_isomer, z_isomer, settings).label is Label.INTENDED
    assert runs_backwards(ends[::-1], e_isomer, z_isomer, settings)
    # But where they are mirror images of each other, that would be any saddle.
    right, left = built(R_ALCOHOL), built(S_ALCOHOL)
    assert verdict_of((right, left), right, left, settings).label is Label.INTENDED
    assert verdict_of((right, right), right, left, settings).label is Label.PARTLY
    assert verdict_of((left, left), right, left, settings).side == "product"


def test_configuration_counts_where_a_bond_is_in_doubt() -> None:
    reactant, product = built("C/C=C/O"), built(r"C/C=C\O")
    doubtful = reactant.copy()
    [pair] = [p for p in bonds(reactant, FACTOR) if set(reactant.numbers[[*p]]) == {1, 8}]
    doubtful.set_distance(*pair, 1.20, fix=0)  # the limit is 1.24 Å
    found = verdict_of((doubtful, reactant), reactant, product, VerdictSettings())
    assert found.label is Label.AMBIGUOUS
    assert (found.at_limit, found.side) == (Label.PARTLY, "reactant")
    assert found.reason.startswith("'partly intended' at the bond limit")
    assert connected_sides(found) == (True, False)


def test_a_search_between_stereoisomers_is_intended() -> None:
    """trans-HNNH to cis-HNNH: one hydrogen swings round in the plane."""
    reactant, product = map(built, DIAZENE)
    result = search(Reaction("diazene", reactant, product), calculators.build("gfn2-xtb"))
    assert result.verdict.label is Label.INTENDED, result.verdict
    assert compare(result.reactant.atoms, result.irc_ends[0].atoms, FACTOR).same
    assert compare(result.product.atoms, result.irc_ends[1].atoms, FACTOR).same
    assert result.warnings == ()


def minima(*structures: Atoms, energies: tuple[float, float] = (0.0, 0.0)) -> tuple[Minimum, ...]:
    return tuple(
        Minimum(
            atoms,
            energy=energy,
            forces=np.zeros((len(atoms), 3)),
            method="by hand",
            converged=True,
        )
        for atoms, energy in zip(structures, energies, strict=True)
    )


def remarks_of(ends: tuple[Atoms, Atoms], reactant: Atoms, product: Atoms) -> list[str]:
    known = dict(zip(("reactant", "product"), minima(reactant, product), strict=True))
    # 1 eV, 23.06 kcal/mol, between the end and the product.
    found = minima(*ends, energies=(0.0, -1.0))
    return list(remarks.of_isomers(found, known, Verdict(Label.INTENDED), VerdictSettings()))


def test_the_wrong_stereoisomer_at_an_end_is_remarked_upon() -> None:
    right, wrong = built("C[C@H](O)[C@H](N)C"), built("C[C@H](O)[C@@H](N)C")
    apart = right.copy()  # the other side of a reaction: a hydrogen taken away
    apart.positions[-1] += 5.0
    [text] = remarks_of((apart, wrong), apart, right)
    assert "another stereoisomer (C4 inverted) of the product, 23.1 kcal/mol below" in text
    [text] = remarks_of((apart, right), apart, right)
    assert "another conformer of the product" in text


def test_the_mirror_image_of_a_reaction_is_the_same_reaction() -> None:
    right = built("C[C@H](O)[C@H](N)C")
    apart = right.copy()
    apart.positions[-1] += 5.0
    [text] = remarks_of((mirrored(apart), mirrored(right)), apart, right)
    assert "stereoisomer" not in text
    # But not where one end alone is mirrored and is not its own mirror image.
    texts = remarks_of((apart, mirrored(right)), apart, right)
    assert "another stereoisomer (C2 inverted, C4 inverted) of the product" in " ".join(texts)
