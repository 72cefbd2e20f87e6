"""Structures in the files of drawing programs and databases: molfile (V2000, V3000) and SDF."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ase import Atoms
from ase.data import covalent_radii

from horm_calc.structure_files.words import said_in

if TYPE_CHECKING:
    from rdkit.Chem import Mol

#: Unpaired electrons of an atom by its code of `M  RAD`: singlet, doublet, triplet.
_UNPAIRED = {1: 0, 2: 1, 3: 2}
#: Electrons without a partner in a bond, by the same code.
_UNBONDED = {1: 2, 2: 1, 3: 2}

#: A doublet's code in the column of charges in the atom block, which RDKit reads as none.
_DOUBLET = "4"

#: Atoms closer than this times the sum of their covalent radii are bonded.
_BONDED = 1.3

_DRAWING = (
    "is a drawing: all z are 0, and columns 21 and 22 of its second line do not say 3D, as they "
    "would for a flat molecule. Make a structure of it ('obabel FILE -O NEW.sdf --gen3d'), with "
    "the same order of atoms at both ends"
)
_HYDROGENS = (
    "Write them out with their coordinates ('obabel FILE -O NEW.sdf -h'), in the same order at "
    "both ends; a radical or carbene that needs none says so in a line 'M  RAD', or is an xyz file"
)


def read_molfile(text: str) -> list[Atoms]:
    """The structures of a molfile or SDF, with the masses of isotopes.

    `info` has the data fields of an SDF, and what the atoms say: `charge`, the sum of formal
    charges where there are any, and `multiplicity` of a radical or carbene: "2", or "1 or 3" where
    the unpaired electrons of several atoms may couple to either. Raises `ValueError` for what is
    no structure: drawings, hydrogens without places, patterns, damaged files.
    """
    if text.startswith("$RXN"):
        raise ValueError("it is a reaction file; save both ends as 3D structures in one SDF")
    found = []
    first = 1
    for record in re.split(r"(?m)^\$\$\$\$.*\n?", text):
        if record.strip():
            try:
                found.append(_structure(record, first))
            except ValueError as error:
                raise ValueError(f"the molfile that begins in line {first} {error}") from None
        first += record.count("\n") + 1
    return found


def _structure(record: str, first: int) -> Atoms:
    _check_properties(record, first)
    radicals = _radicals(record)
    mol = _parse(record, first, radicals)
    for atom in mol.GetAtoms():
        if not atom.GetAtomicNum() or atom.HasQuery():
            raise ValueError(
                f"has in the place of atom {atom.GetIdx() + 1} a group or a search pattern "
                f"({atom.GetSymbol()}); write the atoms that it stands for"
            )
    conformer = mol.GetConformer()
    if not conformer.Is3D():
        raise ValueError(_DRAWING)
    atoms = Atoms([atom.GetAtomicNum() for atom in mol.GetAtoms()], conformer.GetPositions())
    _check_hydrogens(mol, atoms)
    isotopes = [atom.GetMass() if atom.GetIsotope() else None for atom in mol.GetAtoms()]
    if any(isotopes):
        atoms.set_masses(isotopes)
    atoms.info = _info(mol, list(radicals.values()))
    for name, line in zip(("title", "comment"), record.splitlines()[:3:2], strict=False):
        if said_in(line):  # other programs' comments, as of xyz files
            atoms.info[name] = line.strip()
    return atoms


def _check_properties(record: str, first: int) -> None:
    """Raise `ValueError` for charges, radicals and isotopes that RDKit would not see."""
    for number, line in enumerate(record.split("M  END")[0].splitlines(), first):
        if found := re.match(r"\s*M\s+(CHG|RAD|ISO)", line, re.IGNORECASE):
            kind, words = found[1].upper(), line[found.end() :].split()
            fields = [line[6:9], *(line[i : i + 4] for i in range(9, len(line.rstrip()), 4))]
            whole = words and words[0].isdecimal() and len(words) == 1 + 2 * int(words[0])
            if (
                not whole
                or not line.startswith(f"M  {kind}")
                or [field.strip() for field in fields] != words  # RDKit goes by these
            ):
                raise ValueError(
                    f"has {line[:60]!r} in line {number}; after 'M  {kind}' come the number of "
                    "pairs, in three columns, and these, in four each: '  1   2   3' is the value "
                    "3 of atom 2"
                )


def _radicals(record: str) -> dict[int, int]:
    """Codes of radical centres by index; RDKit does not tell singlets from triplets."""
    ctab = record.split("M  END")[0].replace("-\nM  V30 ", "")
    lines = ctab.splitlines()
    counts = lines[3] if len(lines) > 3 else ""
    if "V3000" in counts:
        order = re.findall(r"(?m)^M  V30 +(\d+) +[A-Za-z]", ctab)
        coded = re.findall(r"(?m)^M  V30 +(\d+) .*\bRAD=([1-3])\b", ctab)
        return {order.index(number): int(code) for number, code in coded}
    if any(line.startswith(("M  RAD", "M  CHG")) for line in lines):  # then the atom block is void
        pairs = [line.split()[3:] for line in lines if line.startswith("M  RAD")]
        numbers = [int(word) for words in pairs for word in words]
        return {
            number - 1: code
            for number, code in zip(numbers[::2], numbers[1::2], strict=True)
            if code in _UNPAIRED  # of others RDKit complains
        }
    block = lines[4 : 4 + int(counts[:3])] if counts[:3].strip().isdecimal() else []
    return {i: 2 for i, line in enumerate(block) if line[36:39].strip() == _DOUBLET}


def _parse(record: str, first: int, radicals: dict[int, int]) -> Mol:
    from rdkit.Chem import SDMolSupplier

    supplier = SDMolSupplier()
    structure, end, fields = record.partition("M  END")
    structure = structure.encode("ascii", "replace").decode()  # RDKit's messages cut characters
    with _rdkit_messages() as messages:
        supplier.SetData(structure + end + fields, sanitize=False, removeHs=False)
        mol = next(iter(supplier), None)
    if mol is None:
        causes = [text for text in messages if re.search(r"line ?\d+$|^Element", text)]
        cause = causes[-1] if causes else "is it one?"
        said = re.sub(r"line ?(\d+)", lambda at: f"line {first - 1 + int(at[1])}", cause)
        raise ValueError(f"cannot be read by RDKit: {said}")
    if not mol.GetNumAtoms():
        raise ValueError("has no atoms")
    for index, code in radicals.items():
        if index >= mol.GetNumAtoms():
            raise ValueError(f"has a radical centre at atom {index + 1}, which is not there")
        mol.GetAtomWithIdx(index).SetNumRadicalElectrons(_UNBONDED[code])
    mol.UpdatePropertyCache(strict=False)
    return mol


@contextmanager
def _rdkit_messages() -> Iterator[list[str]]:
    """What RDKit says of errors: it prints them, and raises none."""
    from rdkit import rdBase

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(re.sub(r"^(\[.*?\])?\s*(ERROR:)?\s*", "", record.getMessage()))

    found: list[str] = []
    logger = logging.getLogger("rdkit")
    handlers, logger.handlers = logger.handlers, [Keep()]
    rdBase.LogToPythonLogger()
    try:
        yield found
    finally:
        rdBase.LogToCppStreams()
        logger.handlers = handlers


def _check_hydrogens(mol: Mol, atoms: Atoms) -> None:
    """Raise `ValueError` where valences ask for hydrogens that have no place in the file.

    None is put anywhere: which hydrogen of the other end it would be, nobody knows.
    """
    lacking = [atom for atom in mol.GetAtoms() if atom.GetTotalNumHs()]
    without_bonds = not mol.GetNumBonds() and _close(atoms)  # ASE writes none at all
    if lacking and not without_bonds:
        count = sum(atom.GetTotalNumHs() for atom in lacking)
        names = [f"{atom.GetSymbol()}{atom.GetIdx() + 1}" for atom in lacking]
        listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise ValueError(
            f"lacks {count} hydrogen(s), for which the valences of {listed} ask. {_HYDROGENS}"
        )


def _close(atoms: Atoms) -> bool:
    """Whether an atom is as close to the nearest one as if they were bonded."""
    from scipy.spatial import KDTree

    if len(atoms) < 2:
        return False
    distances, nearest = KDTree(atoms.positions).query(atoms.positions, k=2)
    radii = covalent_radii[atoms.numbers]
    return bool((distances[:, 1] < _BONDED * (radii + radii[nearest[:, 1]])).any())


def _info(mol: Mol, radicals: list[int]) -> dict[str, object]:
    from rdkit.Chem import GetFormalCharge

    told: dict[str, object] = {}
    if any(atom.GetFormalCharge() for atom in mol.GetAtoms()):
        told["charge"] = GetFormalCharge(mol)
    if radicals:
        possible = _couplings([_UNPAIRED[code] for code in radicals])
        told["multiplicity"] = " or ".join(str(multiplicity) for multiplicity in possible)
    fields: dict[str, object] = {name: mol.GetProp(name).strip() for name in mol.GetPropNames()}
    for name in told.keys() & fields.keys():
        if str(told[name]) != fields[name]:
            raise ValueError(f"has a field '{name}' of {fields[name]}, but atoms of {told[name]}")
    return fields | told


def _couplings(unpaired: list[int]) -> tuple[int, ...]:
    """All multiplicities to which atoms with these numbers of unpaired electrons couple."""
    totals = {0}
    for electrons in unpaired:
        totals = {
            total
            for other in totals
            for total in range(abs(other - electrons), other + electrons + 1, 2)
        }
    return tuple(total + 1 for total in sorted(totals))
