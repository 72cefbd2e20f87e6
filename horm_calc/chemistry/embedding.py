"""Structures from a reaction SMILES: both ends with one order of atoms, pieces placed to react.

RDKit makes the conformers (ETKDGv3, Wang et al., J. Chem. Inf. Model. 2020, 60, 2044) and relaxes
them with a force field (MMFF94, or UFF where that has no parameters). Which atom becomes which is
taken from atom maps, and where there are none from the fewest bond changes (`chemistry.mapping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.data.vdw_alvarez import vdw_radii
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions
from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from rdkit.DistanceGeometry import DoTriangleSmoothing
from rdkit.ForceField.rdForceField import ForceField
from rdkit.rdBase import BlockLogs

from horm_calc.chemistry.connectivity import bonds, same_bonds
from horm_calc.chemistry.facing import moves
from horm_calc.chemistry.mapping import equal_mappings
from horm_calc.chemistry.mapping_programme import Order
from horm_calc.chemistry.placement import REACTING, placed
from horm_calc.chemistry.stereochemistry import compare
from horm_calc.chemistry.superposition import superposition
from horm_calc.errors import HormError

#: Between the two sides of a reaction SMILES.
ARROW = ">>"
#: Masses by which mapped atoms are told from all others while the mapping is looked for, amu.
_MARK = 1000.0
#: Configurations that are tried of a molecule whose SMILES leaves them open.
MOST_ISOMERS = 8
#: Conformers that lie upon each other within this are the same, Å.
_SAME = 0.1
#: Conformers of which no more than this many are handed on differ by more than this, Å.
MOST_CONFORMERS, _DIFFERENT = 10, 0.3
#: Pieces are this far apart before they are placed, Å.
_APART = 30.0


class SmilesError(HormError, ValueError):
    """A reaction SMILES from which no structures can be made; says why."""


@dataclass(frozen=True)
class Embedded:
    """Both ends of a reaction.

    Attributes
    ----------
    reactant, product
        Positions in Å; atoms in the order of the reactant's SMILES, hydrogens last.
    charge
        Total charge.
    radicals
        Unpaired electrons that the SMILES shows.
    mapping
        The reaction with a map number for each atom that is written, as it was understood.
    others
        Further conformers of reactant and product, the nearest to the other end first.
    """

    reactant: Atoms
    product: Atoms
    charge: int
    radicals: int
    mapping: str
    others: tuple[tuple[Atoms, ...], tuple[Atoms, ...]] = ((), ())


def embedded(smiles: str, bond_factor: float, conformers: int = 10, seed: int = 1) -> Embedded:
    """The ends of a reaction that is written as a SMILES, 'C=CC=C.C=C>>C1=CCCCC1'.

    Parameters
    ----------
    smiles
        Molecules before and after `>>`, separated by dots. Atom maps ([CH2:1]) are used.
    bond_factor
        Atoms are bonded below this times the sum of their covalent radii.
    conformers
        How many of each molecule are made at most. Of all pairs of conformers of both ends, the
        one is taken between which the reaction moves least.
    seed
        Of the conformers; the same seed makes the same structures.

    Raises
    ------
    SmilesError
        For what is no reaction SMILES, for sides of different atoms or charges, for maps that
        contradict each other, and where several mappings change as few bonds: the message lists
        these as SMILES with maps.
    """
    sides = [_side(text) for text in _two_sides(smiles)]
    _check_sides(*sides)
    first, last = (_embed(side, conformers, seed) for side in sides)
    order = list(_order(sides, (first[0], last[0]), bond_factor))
    back = np.argsort(order)
    before, after = (bonds(end, bond_factor) for end in (first[0], last[0][order]))
    # Ready to react: what will bond is near, or all is as at the other end (butadiene is s-cis).
    first += _embed(sides[0], conformers, seed, near=sorted(after - before))
    broken = [(order[i], order[j]) for i, j in sorted(before - after)]
    last += _embed(sides[1], conformers, seed, near=broken)
    like_last = [_relaxed(sides[0], end.positions[order]) for end in last]
    like_first = [_relaxed(sides[1], end.positions[back]) for end in first]
    ends = [*first, *like_last], [end[order] for end in [*last, *like_first]]
    reactants, products = _nearest_first(_facing(ends, bond_factor, seed), bond_factor)
    return Embedded(
        reactants[0],
        products[0],
        Chem.GetFormalCharge(sides[0]),
        sum(atom.GetNumRadicalElectrons() for atom in sides[0].GetAtoms()),
        _mapped(sides, order),
        (tuple(reactants[1:]), tuple(products[1:])),
    )


def _two_sides(smiles: str) -> list[str]:
    parts = smiles.strip().split(">")
    if len(parts) != 3:
        raise SmilesError(f"{smiles!r} is no reaction SMILES: reactants, '>>', products")
    if parts[1].strip():
        raise SmilesError(
            f"{parts[1]!r} between the arrows takes no part; write what reacts on both sides"
        )
    if not parts[0].strip() or not parts[2].strip():
        raise SmilesError(f"{smiles!r} has nothing on one side of '>>'")
    return [parts[0].strip(), parts[2].strip()]


def _side(text: str) -> Chem.Mol:
    """One side with all hydrogens. Raises `SmilesError`."""
    options = Chem.SmilesParserParams()
    options.removeHs = False  # type: ignore[assignment]  # RDKit's stubs call it a class
    why = ""
    with BlockLogs():  # to stderr it writes what the message below says
        molecule = Chem.MolFromSmiles(text, options)
        if molecule is None and (loose := Chem.MolFromSmiles(text, sanitize=False)):
            problems = Chem.DetectChemistryProblems(loose)
            why = f" ({problems[0].Message()})" if problems else ""
    if molecule is None:
        raise SmilesError(f"RDKit cannot read the SMILES {text!r}{why}")
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise SmilesError(f"{text!r} has an atom without an element")
    return Chem.AddHs(molecule)


def _check_sides(first: Chem.Mol, last: Chem.Mol) -> None:
    counts = [sorted(map(_kind, side.GetAtoms())) for side in (first, last)]
    if counts[0] != counts[1]:
        formulas = " and ".join(CalcMolFormula(side, True, False) for side in (first, last))
        raise SmilesError(
            f"the sides have different atoms, {formulas}; write every molecule that reacts or forms"
        )
    charges = [Chem.GetFormalCharge(side) for side in (first, last)]
    if charges[0] != charges[1]:
        raise SmilesError(f"the sides have charges {charges[0]:+d} and {charges[1]:+d}")
    maps = [_maps(side) for side in (first, last)]
    for number in sorted(maps[0].keys() ^ maps[1].keys()):
        raise SmilesError(f"map number {number} is on one side only")
    for number, atom in maps[0].items():
        if _kind(atom) != _kind(maps[1][number]):
            raise SmilesError(f"map number {number} is a different element on each side")


def _kind(atom: Chem.Atom) -> tuple[int, int]:
    return atom.GetAtomicNum(), atom.GetIsotope()


def _maps(side: Chem.Mol) -> dict[int, Chem.Atom]:
    found: dict[int, Chem.Atom] = {}
    for atom in side.GetAtoms():
        if number := atom.GetAtomMapNum():
            if number in found:
                raise SmilesError(f"map number {number} stands twice on one side")
            found[number] = atom
    return found


def _embed(
    side: Chem.Mol, conformers: int, seed: int, near: Sequence[tuple[int, int]] = ()
) -> list[Atoms]:
    """Conformers of the molecules of one side, far apart from each other.

    near: pairs of atoms that touch, where they are in one molecule; without such a pair no
    conformers are made.
    """
    places = Chem.GetMolFrags(side)
    made, found = [], []
    for indices, piece in zip(places, Chem.GetMolFrags(side, asMols=True), strict=True):
        own = [
            (indices.index(i), indices.index(j)) for i, j in near if i in indices and j in indices
        ]
        made.append(_conformers(piece, conformers, seed, own))
    if near and not any(set(pair) <= set(indices) for pair in near for indices in places):
        return []
    for number in range(max(len(one) for one in made)):
        positions = np.zeros((side.GetNumAtoms(), 3))
        for column, (indices, one) in enumerate(zip(places, made, strict=True)):
            positions[list(indices)] = one[number % len(one)] + [_APART * column, 0, 0]
        found.append(_atoms(side, positions))
    return found


def _relaxed(side: Chem.Mol, positions: np.ndarray) -> Atoms:
    """The molecules of one side, relaxed from `positions` (n, 3), Å, and far apart."""
    relaxed = np.zeros_like(positions)
    pieces = Chem.GetMolFrags(side, asMols=True)
    for column, (indices, piece) in enumerate(zip(Chem.GetMolFrags(side), pieces, strict=True)):
        conformer = Chem.Conformer(len(indices))
        for number, place in enumerate(positions[list(indices)].tolist()):
            conformer.SetAtomPosition(number, place)
        piece.RemoveAllConformers()
        piece.AddConformer(conformer)
        [(own, _)] = _minimised(piece)
        relaxed[list(indices)] = own - own.mean(0) + [_APART * column, 0, 0]
    return _atoms(side, relaxed)


def _conformers(
    molecule: Chem.Mol, count: int, seed: int, near: Sequence[tuple[int, int]] = ()
) -> list[np.ndarray]:
    """Positions of conformers, each (n, 3), Å, the lowest in energy first."""
    if molecule.GetNumAtoms() == 1:
        return [np.zeros((1, 3))]
    # Where the SMILES leaves centres and double bonds open, all configurations are candidates.
    choice = StereoEnumerationOptions(onlyUnassigned=True, maxIsomers=MOST_ISOMERS)
    isomers = list(EnumerateStereoisomers(molecule, options=choice))
    each = -(-count // len(isomers))
    made = [one for isomer in isomers for one in _of_isomer(isomer, each, seed, near)]
    if not made and near:  # where they cannot touch
        return _conformers(molecule, count, seed)
    if not made:
        name = Chem.MolToSmiles(Chem.RemoveHs(molecule))
        raise SmilesError(f"RDKit makes no structure of {name}; give one as a file")
    different: list[np.ndarray] = []
    for positions, _ in sorted(made, key=lambda one: one[1]):
        if all(_apart(positions, other) > _SAME for other in different):
            different.append(positions - positions.mean(0))
    return different


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Root mean square distance after superposition, Å."""
    number = len(one)
    return superposition(Atoms(f"H{number}", one), Atoms(f"H{number}", other))[1]


def _of_isomer(
    molecule: Chem.Mol, count: int, seed: int, near: Sequence[tuple[int, int]]
) -> list[tuple[np.ndarray, float]]:
    """As `_minimised`, of so many conformers; none where RDKit finds none."""
    options = rdDistGeom.ETKDGv3()
    options.randomSeed = seed  # type: ignore[assignment]  # as above
    options.pruneRmsThresh = 0.2  # type: ignore[assignment]
    if near:
        limits = rdDistGeom.GetMoleculeBoundsMatrix(molecule)
        for pair in near:
            i, j = sorted(pair)  # upper limits are above the diagonal, lower ones below
            limits[i, j] = min(limits[i, j], _touch(molecule, pair))
            limits[j, i] = min(limits[j, i], limits[i, j])
        if not DoTriangleSmoothing(limits):
            return []
        options.SetBoundsMat(limits)
        options.useExpTorsionAnglePrefs = False  # type: ignore[assignment]  # these keep them apart
    if not list(rdDistGeom.EmbedMultipleConfs(molecule, count, options)):
        options.useRandomCoords = True  # type: ignore[assignment]
        if not list(rdDistGeom.EmbedMultipleConfs(molecule, count, options)):
            return []
    return _minimised(molecule, near)


def _touch(molecule: Chem.Mol, pair: Sequence[int]) -> float:
    """How far two atoms are apart that will react, Å."""
    numbers = [molecule.GetAtomWithIdx(index).GetAtomicNum() for index in pair]
    return float(REACTING * vdw_radii[numbers].sum())


def _minimised(
    molecule: Chem.Mol, near: Sequence[tuple[int, int]] = ()
) -> list[tuple[np.ndarray, float]]:
    """Its conformers in the minima of a force field, (n, 3), Å, with their energies, kcal/mol.

    near: pairs of atoms that are held no further apart than they touch.
    """
    found = []
    for conformer in molecule.GetConformers():
        field = _force_field(molecule, conformer.GetId())
        energy = 0.0
        if field:
            for i, j in near:  # kcal/mol/Å²; both force fields take the same kind of constraint
                field.MMFFAddDistanceConstraint(i, j, False, 0.0, _touch(molecule, (i, j)), 200.0)
            field.Initialize()
            field.Minimize(maxIts=1000)
            energy = field.CalcEnergy()
        found.append((conformer.GetPositions(), energy))
    return found


def _force_field(molecule: Chem.Mol, conformer: int) -> ForceField | None:
    """MMFF94, or UFF, or None where neither has parameters for all atoms."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
        return rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties, confId=conformer)
    if rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        return rdForceFieldHelpers.UFFGetMoleculeForceField(molecule, confId=conformer)
    return None


def _atoms(side: Chem.Mol, positions: np.ndarray) -> Atoms:
    """One side at `positions`, (n, 3), Å, with isotopes."""
    atoms = Atoms([atom.GetAtomicNum() for atom in side.GetAtoms()], positions)
    table = Chem.GetPeriodicTable()
    isotopes = {
        atom.GetIdx(): table.GetMassForIsotope(*_kind(atom))
        for atom in side.GetAtoms()
        if atom.GetIsotope()
    }
    if isotopes:
        masses = atomic_masses[atoms.numbers]
        masses[list(isotopes)] = list(isotopes.values())
        atoms.set_masses(masses)
    return atoms


def _order(sides: Sequence[Chem.Mol], ends: tuple[Atoms, Atoms], bond_factor: float) -> Order:
    """The order of the product's atoms, by maps and the fewest changes."""
    first, last = (end.copy() for end in ends)
    for side, end in zip(sides, (first, last), strict=True):
        masses = end.get_masses()
        for number, atom in _maps(side).items():
            masses[atom.GetIdx()] = _MARK + number
        end.set_masses(masses)
    orders = equal_mappings(first, last, bond_factor)
    if same_bonds(first, last[list(orders[0])], bond_factor):
        raise SmilesError(
            "no bonds have to change: both sides are the same molecules. If atoms of one kind "
            "change places, say which by atom maps, hydrogens included: "
            "[H:1][CH2:2][CH:3]=[CH2:4]>>[CH2:2]=[CH:3][CH2:4][H:1]"
        )
    if len(orders) > 1:
        candidates = "\n  ".join(_mapped(sides, order) for order in orders)
        raise SmilesError(
            f"{len(orders)} different reactions change as few bonds; choose one by its atom maps:"
            f"\n  {candidates}"
        )
    return orders[0]


def _mapped(sides: Sequence[Chem.Mol], order: Sequence[int]) -> str:
    """The reaction SMILES with map numbers, except for hydrogens that stay where they are."""
    first, last = (Chem.Mol(side) for side in sides)
    place = {p: i for i, p in enumerate(order)}
    on = [
        {atom.GetIdx(): [n.GetIdx() for n in atom.GetNeighbors()] for atom in side.GetAtoms()}
        for side in (first, last)
    ]
    for i, p in enumerate(order):
        moves = {place[q] for q in on[1][p]} != set(on[0][i])
        shown = first.GetAtomWithIdx(i).GetAtomicNum() > 1 or moves
        first.GetAtomWithIdx(i).SetAtomMapNum(i + 1 if shown else 0)
        last.GetAtomWithIdx(p).SetAtomMapNum(i + 1 if shown else 0)
    keep = Chem.RemoveHsParameters()
    keep.removeMapped = False  # type: ignore[assignment]  # RDKit's stubs call it a class
    texts = [Chem.MolToSmiles(Chem.RemoveHs(side, keep)) for side in (first, last)]
    return ARROW.join(texts)


def _facing(
    ends: tuple[list[Atoms], list[Atoms]], bond_factor: float, seed: int
) -> tuple[list[Atoms], list[Atoms]]:
    """All conformers, of several molecules those placed with the atoms that react together."""
    first, last = ends
    before, after = (bonds(end[0], bond_factor) for end in ends)
    return (
        [placed(one, after - before, before - after, bond_factor, seed) for one in first],
        [placed(one, before - after, after - before, bond_factor, seed) for one in last],
    )


def _nearest_first(
    ends: tuple[list[Atoms], list[Atoms]], bond_factor: float
) -> tuple[list[Atoms], list[Atoms]]:
    """Different conformers of each end, those of the pair first between which least moves.

    All are the same stereoisomers. The others follow by how much moves between them and the nearest
    one of the other end: in a good conformer, what reacts is near.
    """
    before, after = (bonds(end[0], bond_factor) for end in ends)
    table = np.array([[moves(one, other, before ^ after) for other in ends[1]] for one in ends[0]])
    best = np.unravel_index(table.argmin(), table.shape)
    found: list[list[Atoms]] = []
    for end, nearest, first in zip(ends, (table.min(1), table.min(0)), best, strict=True):
        places = [int(first), *np.argsort(nearest, kind="stable").tolist()]
        kept: list[Atoms] = []
        for atoms in (end[place] for place in places):
            if all(superposition(atoms, other)[1] > _DIFFERENT for other in kept) and (
                not kept or compare(kept[0], atoms, bond_factor).same
            ):
                kept.append(atoms)
        found.append(kept[:MOST_CONFORMERS])
    return found[0], found[1]
