"""Structures of the same atoms in the same order, from SMILES with numbered atoms."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import AllChem


def numbered(smiles: str, seed: int = 1) -> Atoms:
    """A structure from a force field; '[H:4][C:1]...' puts the atoms into the order of the numbers.

    All hydrogens are in the SMILES.
    """
    parameters = Chem.SmilesParserParams()
    parameters.removeHs = False
    read = Chem.MolFromSmiles(smiles, parameters)
    order = np.argsort([atom.GetAtomMapNum() for atom in read.GetAtoms()]).tolist()
    graph = Chem.RenumberAtoms(read, order)
    assert AllChem.EmbedMolecule(graph, randomSeed=seed) == 0
    AllChem.UFFOptimizeMolecule(graph)
    numbers = [atom.GetAtomicNum() for atom in graph.GetAtoms()]
    return Atoms(numbers, graph.GetConformer().GetPositions())


def mirrored(atoms: Atoms) -> Atoms:
    """Its mirror image, turned about."""
    other = atoms.copy()
    other.positions[:, 2] *= -1
    other.rotate(70, (1, 2, 3))
    return other


def exchanged(atoms: Atoms, *cycles: tuple[int, ...]) -> Atoms:
    """With each atom of a cycle, counted from 1, in the place of the next."""
    other = atoms.copy()
    for cycle in cycles:
        places = [i - 1 for i in cycle]
        other.positions[places] = atoms.positions[[*places[1:], places[0]]]
    return other
