"""Are two structures with the same bonds the same stereoisomer?

Bonds cannot tell R from S or E from Z. RDKit can, from a graph and positions: it knows which atoms
and bonds are stereogenic and which labels may be exchanged, so two structures are the same
stereoisomer when they have the same isomeric SMILES. The graph needs no Lewis structure for that,
only the bonds about which nothing turns, and these are known by their lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
from ase import Atoms
from rdkit import Chem

from horm_calc.chemistry.connectivity import Bonds, bonds, pair_name
from horm_calc.chemistry.masses import isotope_kinds

#: The shortest and the longest bond about which nothing turns, Å. Of carbon halfway to triple and
#: to single bonds (radii of Pyykkö and Atsumi, Chem. Eur. J. 2009, 186 and 12770). With nitrogen
#: the longest is below the bonds of amides (1.35) and nitrosamines (1.30), which do turn, and above
#: those of nitrones (1.29) and azo compounds (1.25), as GFN2-xTB has them.
_DOUBLE = {(6, 6): (1.27, 1.42), (6, 7): (1.205, 1.325), (7, 7): (1.14, 1.28)}
#: Degrees. Bonds of an atom that are straighter have no sides.
_STRAIGHT = 160.0


@dataclass(frozen=True)
class Stereochemistry:
    """How the configuration of a structure compares with that of another.

    `mirrored`: it is that of its mirror image; both hold where there is none. `changes` names what
    differs, in words and with atoms counted from 1.
    """

    same: bool
    mirrored: bool
    changes: str


def compare(before: Atoms, after: Atoms, bond_factor: float) -> Stereochemistry:
    """Compare two structures that have the same bonds, those of `before`.

    Centres have four neighbours, so inversion of an amine does not count; double bonds are C=C, C=N
    and N=N outside of small rings.
    """
    pairs = bonds(before, bond_factor)
    double = _double(before, pairs) & _double(after, pairs)
    mirror = after.copy()
    mirror.positions[:, 0] *= -1
    first, second, other = (_molecule(atoms, pairs, double) for atoms in (before, after, mirror))
    aim, *found = (Chem.MolToSmiles(molecule) for molecule in (first, second, other))
    return Stereochemistry(found[0] == aim, found[1] == aim, _changes(after, first, second))


def isomer(atoms: Atoms, bond_factor: float) -> str:
    """A SMILES that all structures of one stereoisomer share, whatever the order of the atoms.

    It has no bond orders and is of use for comparisons only.
    """
    pairs = bonds(atoms, bond_factor)
    smiles: str = Chem.MolToSmiles(_molecule(atoms, pairs, _double(atoms, pairs)))
    return smiles


def inversions(before: Atoms, after: Atoms, bond_factor: float) -> frozenset[int]:
    """The atoms whose neighbours are arranged otherwise although they are the same atoms.

    Centres with four neighbours, and both atoms of a double bond. Every atom counts as itself: a
    methylene group of which two hydrogens are exchanged is inverted too.
    """
    ends = before, after
    pairs = [bonds(end, bond_factor) for end in ends]
    graphs = [nx.Graph(pairs[0]), nx.Graph(pairs[1])]
    same = {
        i: sorted(graphs[0][i])
        for i in graphs[0]
        if i in graphs[1] and graphs[0][i].keys() == graphs[1][i].keys()
    }
    found = {
        i
        for i, others in same.items()
        if len(others) == 4
        and _volume(before.positions, others) * _volume(after.positions, others) < 0
    }
    for pair in _double(before, pairs[0]) & _double(after, pairs[1]):
        sides = [[k for k in same.get(i, ()) if k not in pair] for i in pair]
        if all(sides):
            turns = [end.get_dihedral(sides[0][0], *pair, sides[1][0]) for end in ends]
            if np.prod(np.cos(np.radians(turns))) < 0:
                found.update(pair)
    return frozenset(found)


def _volume(positions: np.ndarray, four: Sequence[int]) -> float:
    """Six times that of the tetrahedron of four atoms, signed, Å³."""
    first, *others = positions[list(four)]
    return float(np.linalg.det(np.array(others) - first))


def _double(atoms: Atoms, pairs: Bonds) -> Bonds:
    """The bonds about which nothing turns and that have sides."""
    neighbours = nx.Graph(pairs)

    def straight(i: int, j: int) -> bool:
        return any(atoms.get_angle(i, j, k) > _STRAIGHT for k in neighbours[j] if k != i)

    def double(i: int, j: int) -> bool:
        elements = int(min(atoms.numbers[[i, j]])), int(max(atoms.numbers[[i, j]]))
        shortest, longest = _DOUBLE.get(elements, (np.inf, 0.0))
        return bool(shortest < atoms.get_distance(i, j) < longest)

    return frozenset(
        (i, j) for i, j in pairs if double(i, j) and not straight(i, j) and not straight(j, i)
    )


def _molecule(atoms: Atoms, pairs: Bonds, double: Bonds) -> Chem.Mol:
    molecule = Chem.RWMol()
    for number, isotope in zip(atoms.numbers, isotope_kinds(atoms), strict=True):
        atom = Chem.Atom(int(number))
        atom.SetIsotope(isotope)  # a carbon with H, D and two others is a centre
        atom.SetNoImplicit(True)  # all hydrogens are there, whatever valences they leave
        molecule.AddAtom(atom)
    for pair in sorted(pairs):  # chirality is stored relative to the order of bonds
        kind = Chem.BondType.DOUBLE if pair in double else Chem.BondType.SINGLE
        molecule.AddBond(*pair, kind)
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(atoms.positions)
    molecule.AddConformer(conformer)
    molecule.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(molecule)
    Chem.DetectBondStereochemistry(molecule)
    for atom in molecule.GetAtoms():
        atom.SetChiralTag(_chirality(atom, atoms.positions))
    Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)  # drops what is no centre
    return molecule


def _chirality(atom: Chem.Atom, positions: np.ndarray) -> Chem.ChiralType:
    """On which side of the first neighbour the others lie.

    From all four: RDKit's own look at three of them, seen from the centre, depends on their order
    where the centre lies outside of them, as in bicyclobutane.
    """
    neighbours = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
    if len(neighbours) != 4:
        return Chem.ChiralType.CHI_UNSPECIFIED
    if _volume(positions, neighbours) > 0:
        return Chem.ChiralType.CHI_TETRAHEDRAL_CCW
    return Chem.ChiralType.CHI_TETRAHEDRAL_CW


def _changes(atoms: Atoms, first: Chem.Mol, second: Chem.Mol) -> str:
    words = [
        f"{atoms.symbols[a.GetIdx()]}{a.GetIdx() + 1} inverted"
        for a, b in zip(first.GetAtoms(), second.GetAtoms(), strict=True)
        if a.GetChiralTag() != b.GetChiralTag()
    ]
    for a, b in zip(first.GetBonds(), second.GetBonds(), strict=True):
        if a.GetStereo() != b.GetStereo():
            pair = a.GetBeginAtomIdx(), a.GetEndAtomIdx()
            old, new = (bond.GetStereo().name[-1] for bond in (a, b))  # STEREOE, STEREOZ
            words.append(f"{pair_name(atoms, pair)} {new} instead of {old}")
    return ", ".join(words)
