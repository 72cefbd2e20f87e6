"""Reactant and product as chemists draw them, from their structures in space.

The bonds are those that the verdict counts. Where no bond orders are found for them there is no
drawing: a wrong one would be worse than a formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Geometry import Point3D

from horm_calc.chemistry.connectivity import Bonds, bonds
from horm_calc.chemistry.perception import molecule_of, quiet

#: Pixels of a drawing, and what the colours of its bonds say.
WIDTH, HEIGHT = 230, 150
BROKEN, FORMED, OTHER_ORDER = (0.97, 0.68, 0.45), (0.52, 0.74, 0.95), (0.85, 0.85, 0.85)


def draw(
    reactant: Atoms, product: Atoms, charge: int, multiplicity: int, bond_factor: float
) -> tuple[str, str]:
    """Two SVG pictures, "" for one whose bond orders are not found.

    Bonds that break, form or change their order are coloured. Hydrogens are drawn where a bond of
    theirs changes.
    """
    ends = (reactant, product)
    graphs = [bonds(atoms, bond_factor) for atoms in ends]
    with quiet():
        found = [
            molecule_of(atoms, graph, charge, multiplicity)
            for atoms, graph in zip(ends, graphs, strict=True)
        ]
        changed = graphs[0] ^ graphs[1]
        shown = {index for pair in changed for index in pair}
        orders = [_orders(one) if one else {} for one in found]
        marked = [
            _colours(graph, changed, first, second, colour)
            for graph, first, second, colour in zip(
                graphs, orders, reversed(orders), (BROKEN, FORMED), strict=True
            )
        ]
        flat = [_flattened(one, shown) if one else None for one in found]
        if flat[0] and flat[1]:
            _turned(flat[1], flat[0])
        first, last = (
            _svg(one, colours) if one else "" for one, colours in zip(flat, marked, strict=True)
        )
    return first, last


def _orders(molecule: Chem.Mol) -> dict[tuple[int, int], float]:
    """Bond orders, those of aromatic rings 1.5, so that Kekulé structures are alike."""
    return {_pair(bond): bond.GetBondTypeAsDouble() for bond in molecule.GetBonds()}


def _pair(bond: Chem.Bond) -> tuple[int, int]:
    ends = [atom.GetIntProp("place") for atom in (bond.GetBeginAtom(), bond.GetEndAtom())]
    return min(ends), max(ends)


def _colours(
    graph: Bonds,
    changed: Bonds,
    own: dict[tuple[int, int], float],
    other: dict[tuple[int, int], float],
    colour: tuple[float, float, float],
) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Of the bonds of one end that the other has not, or has with another order."""
    found = dict.fromkeys(graph & changed, colour)
    if own and other:
        for pair in graph - changed:
            if own[pair] != other[pair]:
                found[pair] = OTHER_ORDER
    return found


def _flattened(molecule: Chem.Mol, shown: set[int]) -> Chem.Mol:
    """In the plane, with the hydrogens whose places are in `shown` and without the others."""
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() == 1 and atom.GetIntProp("place") in shown:
            atom.SetAtomMapNum(1)
    removal: Any = Chem.RemoveHsParameters()
    removal.removeMapped = False
    flat = Chem.RemoveHs(molecule, removal)
    for atom in flat.GetAtoms():
        atom.SetAtomMapNum(0)
    rdDepictor.Compute2DCoords(flat)
    rdDepictor.StraightenDepiction(flat)
    return flat


def _turned(molecule: Chem.Mol, onto: Chem.Mol) -> None:
    """Turn and mirror a flat molecule so that common atoms lie where they lie in the other one."""
    places = [
        {atom.GetIntProp("place"): atom.GetIdx() for atom in one.GetAtoms()}
        for one in (molecule, onto)
    ]
    common = sorted(places[0].keys() & places[1].keys())
    if len(common) < 2:
        return
    points, targets = (
        one.GetConformer().GetPositions()[[place[key] for key in common], :2]
        for one, place in zip((molecule, onto), places, strict=True)
    )
    middle = points.mean(0)
    left, _, right = np.linalg.svd((points - middle).T @ (targets - targets.mean(0)))
    turn = left @ right  # a reflection too: wedges are drawn afterwards
    conformer = molecule.GetConformer()
    for index, place in enumerate(conformer.GetPositions()):
        x, y = (place[:2] - middle) @ turn
        conformer.SetAtomPosition(index, Point3D(float(x), float(y), 0.0))


def _svg(molecule: Chem.Mol, colours: dict[tuple[int, int], tuple[float, float, float]]) -> str:
    drawer = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.fixedBondLength = 28
    options.bondLineWidth = 1.4
    options.additionalAtomLabelPadding = 0.08
    options.padding = 0.06
    options.highlightBondWidthMultiplier = 12
    options.continuousHighlight = True
    options.fillHighlights = True
    found = {
        bond.GetIdx(): colours[pair]
        for bond in molecule.GetBonds()
        if (pair := _pair(bond)) in colours
    }
    prepared = rdMolDraw2D.PrepareMolForDrawing(molecule, kekulize=True, addChiralHs=False)
    drawer.DrawMolecule(
        prepared,
        highlightAtoms=[],
        highlightBonds=[*found],
        highlightBondColors=found,
        highlightAtomColors={},
    )
    drawer.FinishDrawing()
    text: str = drawer.GetDrawingText()
    return text
