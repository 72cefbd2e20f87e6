"""Bond orders, and from them SMILES, of structures in space.

RDKit finds the orders for bonds that are known (Kim and Kim, Bull. Korean Chem. Soc. 2015, 36,
1769, in `rdDetermineBonds`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ase import Atoms
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds
from rdkit.Geometry import Point3D

from horm_calc.chemistry.connectivity import Bonds, bonds
from horm_calc.chemistry.masses import isotope_kinds

#: The search for bond orders is exponential in what is unsaturated; larger structures have none.
_MOST_ATOMS, _MOST_TRIES = 150, 50_000


def smiles_of(atoms: Atoms, charge: int, multiplicity: int, bond_factor: float) -> str:
    """The molecules of a structure as a SMILES with isotopes; "" where no bond orders are found.

    Atoms are bonded below `bond_factor` times the sum of their covalent radii.
    """
    with quiet():
        molecule = molecule_of(atoms, bonds(atoms, bond_factor), charge, multiplicity)
        if molecule is None:
            return ""
        for index, kind in enumerate(isotope_kinds(atoms)):
            molecule.GetAtomWithIdx(index).SetIsotope(round(kind / 100))  # amu
        text: str = Chem.MolToSmiles(Chem.RemoveHs(molecule))
        return text


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """RDKit prints what it also raises."""
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    try:
        yield
    finally:
        RDLogger.EnableLog("rdApp.*")  # type: ignore[attr-defined]


def molecule_of(atoms: Atoms, graph: Bonds, charge: int, multiplicity: int) -> Chem.Mol | None:
    """A structure with bond orders for the bonds `graph`; None where none are found that fit.

    The place of each atom is in its property `place`. RDKit complains on stderr outside `quiet`.
    """
    if len(atoms) > _MOST_ATOMS:
        return None
    molecule = Chem.RWMol()
    conformer = Chem.Conformer(len(atoms))
    for index, (symbol, place) in enumerate(zip(atoms.symbols, atoms.positions, strict=True)):
        atom = Chem.Atom(symbol)
        atom.SetNoImplicit(True)
        atom.SetIntProp("place", index)
        molecule.AddAtom(atom)
        conformer.SetAtomPosition(index, Point3D(*place.tolist()))
    for pair in sorted(graph):
        molecule.AddBond(*pair, Chem.BondType.SINGLE)
    molecule.AddConformer(conformer)
    try:
        rdDetermineBonds.DetermineBondOrders(
            molecule,
            charge=charge,
            allowChargedFragments=multiplicity == 1,
            embedChiral=False,
            maxIterations=_MOST_TRIES,
        )
        Chem.SanitizeMol(molecule)
        Chem.AssignStereochemistryFrom3D(molecule)
    except (ValueError, RuntimeError):  # no orders that fit, or too many to try
        return None
    return molecule.GetMol()
