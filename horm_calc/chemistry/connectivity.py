"""Molecular graphs from geometry, compared atom by atom or up to relabelling.

Two atoms are bonded when their distance is below `bond_factor` times the sum of their
covalent radii: those of Cordero et al. (Dalton Trans. 2008, 2832, as tabulated in ASE),
except hydrogen's, which is half the bond length of H2. Cordero's 0.31 Å is made for bonds
to heavier atoms and puts H2 itself at 1.2 times the sum, among the atoms that do not bond.
"""

from __future__ import annotations

from enum import Enum

import networkx as nx
import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from horm_calc.chemistry.masses import isotope_kinds

Bonds = frozenset[tuple[int, int]]
Pair = tuple[int, int]

RADII: np.ndarray = covalent_radii.copy()
RADII[1] = 0.37

#: Atoms are bonded if their Wiberg bond order (Tetrahedron 1968, 24, 1083) is above this; so near
#: to it nothing is said. In GFN2-xTB a hydride bridge between boron atoms has 0.50 and 0.50, and
#: 0.37 and 0.62 where it leans to one of them.
HALF, UNCLEAR = 0.5, 0.05

#: Two distances that differ by less than this part of the bond limit are the same bond in
#: two relaxations, not two states of it.
SAME_DISTANCE = 0.02


class Match(Enum):
    """Do two structures have the same bonds?"""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


def bond_ratios(atoms: Atoms) -> np.ndarray:
    """Distances over sums of covalent radii, (N, N); infinite on and below the diagonal."""
    radii = RADII[atoms.numbers]
    ratios = atoms.get_all_distances() / (radii[:, None] + radii[None, :])
    ratios[np.tril_indices(len(atoms))] = np.inf
    return ratios


def bonds(atoms: Atoms, bond_factor: float) -> Bonds:
    """The bonded pairs (i, j), i < j, of a structure."""
    first, second = np.nonzero(bond_ratios(atoms) < bond_factor)
    return frozenset(zip(first.tolist(), second.tolist(), strict=True))


def same_bonds(a: Atoms, b: Atoms, bond_factor: float) -> bool:
    """Are the same atoms bonded to each other?"""
    return bonds(a, bond_factor) == bonds(b, bond_factor)


def same_molecule(a: Atoms, b: Atoms, bond_factor: float) -> bool:
    """Are the graphs equal up to a relabelling of atoms of the same element and isotope?"""
    return nx.is_isomorphic(
        molecular_graph(a, bond_factor),
        molecular_graph(b, bond_factor),
        node_match=lambda left, right: left["kind"] == right["kind"],
    )


def match_bonds(
    a: Atoms,
    b: Atoms,
    bond_factor: float,
    margin: float,
    orders: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Match, tuple[Pair, ...]]:
    """Compare the bonds of two structures, with room for doubt at the limit.

    A pair is in doubt when one of its two distances lies within `margin` of the limit and
    the distances differ, so that another limit would answer otherwise; and when its bond orders
    (N, N) in both structures, if they are known, do not answer either. Returns NO when a
    pair differs beyond doubt, UNSURE with the doubtful pairs when only such pairs could
    make a difference, and YES.
    """
    first, second = bond_ratios(a), bond_ratios(b)
    different = (first < bond_factor) != (second < bond_factor)
    with np.errstate(invalid="ignore"):  # infinity minus infinity below the diagonal
        apart = np.abs(first - second) > SAME_DISTANCE * bond_factor
    close = np.minimum(abs(first - bond_factor), abs(second - bond_factor)) < margin * bond_factor
    if (different & apart & ~close).any():
        return Match.NO, ()
    doubtful = [(int(i), int(j)) for i, j in zip(*np.nonzero(close & apart), strict=True)]
    if orders is not None:
        said = {pair: [_bonded(own[pair]) for own in orders] for pair in doubtful}
        if any({True, False} <= set(answers) for answers in said.values()):
            return Match.NO, ()
        doubtful = [pair for pair, answers in said.items() if None in answers]
    return (Match.UNSURE, tuple(doubtful)) if doubtful else (Match.YES, ())


def _bonded(order: float) -> bool | None:
    """What a bond order says, None where it is close to that of half a bond."""
    return None if abs(order - HALF) < UNCLEAR else bool(order > HALF)


def describe_changes(before: Atoms, after: Atoms, bond_factor: float) -> str:
    """The bonds that differ, in words: 'C1-H5 broken, O2-H5 formed' (atoms from 1)."""
    return changes_in_words(bonds(before, bond_factor), bonds(after, bond_factor), after)


def changes_in_words(before: Bonds, after: Bonds, atoms: Atoms) -> str:
    """As `describe_changes`, of bonds between the `atoms`."""
    words = [f"{pair_name(atoms, pair)} broken" for pair in sorted(before - after)]
    words += [f"{pair_name(atoms, pair)} formed" for pair in sorted(after - before)]
    return ", ".join(words)


def pieces(atoms: Atoms, bond_factor: float) -> list[list[int]]:
    """The indices of each molecule, of the one with the first atom first."""
    graph = molecular_graph(atoms, bond_factor)
    return sorted(sorted(piece) for piece in nx.connected_components(graph))


def pair_name(atoms: Atoms, pair: Pair) -> str:
    """A bond as people write it, counting atoms from 1: 'C1-H5'."""
    return "-".join(f"{atoms.symbols[index]}{index + 1}" for index in pair)


def kinds(atoms: Atoms) -> list[tuple[int, int]]:
    """Element and isotope of each atom: atoms of one kind cannot be told apart."""
    return list(zip(atoms.numbers.tolist(), isotope_kinds(atoms), strict=True))


def molecular_graph(atoms: Atoms, bond_factor: float) -> nx.Graph:
    """Atoms as nodes, with their `kind`, and bonds as edges."""
    graph = nx.Graph()
    graph.add_nodes_from((i, {"kind": kind}) for i, kind in enumerate(kinds(atoms)))
    graph.add_edges_from(bonds(atoms, bond_factor))
    return graph
