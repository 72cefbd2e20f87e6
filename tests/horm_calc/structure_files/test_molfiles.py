"""Molfiles and SDF: V2000 and V3000, charges, radicals, isotopes, and what is no structure."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem

from horm_calc.structure_files.molfiles import read_molfile
from tests.places import SHARED

CASES = SHARED / "cases"


def in_space(smiles: str) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=1) == 0
    return mol


def block(mol: Chem.Mol, version: int) -> str:
    text = Chem.MolToMolBlock(mol) if version == 2000 else Chem.MolToV3KMolBlock(mol)
    assert f"V{version}" in text
    return text


@pytest.mark.parametrize("version", [2000, 3000])
@pytest.mark.parametrize(
    ("smiles", "told"),
    [
        ("CCO", {}),
        ("c1ccncc1", {}),
        ("c1cc[nH]c1", {}),
        ("C[N+](=O)[O-]", {"charge": 0}),
        ("[C-]#[O+]", {"charge": 0}),
        ("[NH3+]CC(=O)[O-]", {"charge": 0}),
        ("CS(C)(=O)=O", {}),
        ("OP(O)(O)=O", {}),
        ("C[Si](C)(C)Cl", {}),
        ("B", {}),
        ("CC(=O)[O-]", {"charge": -1}),
        ("C[N+](C)(C)C", {"charge": 1}),
        ("[Cl-].CF", {"charge": -1}),
        ("[NH3+]CC[NH3+]", {"charge": 2}),
        ("C[CH2]", {"multiplicity": "2"}),
        ("C[O]", {"multiplicity": "2"}),
        ("[CH2][CH][CH2]", {"multiplicity": "2 or 4"}),
        ("C[O+]=[CH]", {"charge": 1, "multiplicity": "2"}),
    ],
)
def test_molecules_and_what_their_atoms_say(smiles: str, version: int, told: dict) -> None:
    mol = in_space(smiles)
    [atoms] = read_molfile(block(mol, version))
    assert list(atoms.symbols) == [atom.GetSymbol() for atom in mol.GetAtoms()]
    np.testing.assert_allclose(atoms.positions, mol.GetConformer().GetPositions(), atol=1e-4)
    assert atoms.info == told
    assert "masses" not in atoms.arrays


@pytest.mark.parametrize("smiles", ["CCO", "CC(N)=O", "c1ccsc1", "C1CC1", "P", "[O-]C=O"])
@pytest.mark.parametrize("version", [2000, 3000])
def test_hydrogens_without_places_are_asked_for(smiles: str, version: int) -> None:
    mol = Chem.RemoveHs(in_space(smiles))
    with pytest.raises(ValueError, match=r"lacks \d hydrogen.*valences of [A-Z].*obabel.*M  RAD"):
        read_molfile(block(mol, version))


def test_a_single_lacking_hydrogen_is_found() -> None:
    mol = Chem.RWMol(in_space("CC=O"))
    mol.RemoveAtom(mol.GetNumAtoms() - 1)  # that of the aldehyde
    with pytest.raises(ValueError, match=r"lacks 1 hydrogen\(s\), for which the valences of C2"):
        read_molfile(block(mol, 2000))


@pytest.mark.parametrize("hydrogens", [False, True])
@pytest.mark.parametrize("smiles", ["C=CO", "CC=O", "c1ccccc1", "[O-]C=O", "C[CH2]"])
def test_drawings_are_no_structures(smiles: str, hydrogens: bool) -> None:
    mol = Chem.MolFromSmiles(smiles)
    mol = Chem.AddHs(mol) if hydrogens else mol
    AllChem.Compute2DCoords(mol)
    for version in (2000, 3000):
        with pytest.raises(ValueError, match=r"is a drawing.*obabel.*--gen3d"):
            read_molfile(block(mol, version))


@pytest.mark.parametrize("name", ["H2O", "C2H4", "HCN", "C6H6"])
def test_flat_molecules_in_space_are_structures(name: str) -> None:
    flat = molecule(name)
    flat.rotate(np.linalg.svd(flat.positions - flat.positions.mean(0))[2][2], "z")
    file = io.StringIO()
    write(file, flat, format="sdf")
    [atoms] = read_molfile(file.getvalue())
    assert atoms.get_chemical_formula() == flat.get_chemical_formula()
    np.testing.assert_allclose(atoms.positions[:, 2].std(), 0, atol=1e-3)


METHYLENE = """
     TEST           3D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0
    0.0000    0.9000    0.6000 H   0  0  0  0  0  0  0  0  0  0  0  0
    0.0000   -0.9000    0.6000 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0
  1  3  1  0
M  END
"""


def with_line(*lines: str) -> str:
    return METHYLENE.replace("M  END", "\n".join([*lines, "M  END"]))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["M  RAD  1   1   1"], {"multiplicity": "1"}),  # a singlet carbene
        (["M  RAD  1   1   3"], {"multiplicity": "3"}),
        (["M  RAD  1   1   3", "M  CHG  1   1   0"], {"multiplicity": "3"}),
        (["M  RAD  1   1   2", "M  CHG  1   1   1"], {"charge": 1, "multiplicity": "2"}),
        (["M  CHG  1   1  -2", "M  RAD  1   1   0"], {"charge": -2}),
    ],
)
def test_radical_centres_as_the_file_codes_them(lines: list[str], told: dict) -> None:
    try:
        [atoms] = read_molfile(with_line(*lines))
    except ValueError as error:  # CH2+ with one electron unpaired lacks none; CH2-- neither
        raise AssertionError(error) from None
    assert atoms.info == told


def test_two_carbenes_couple_to_any_spin() -> None:
    carbene = "    {x}    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0\n"
    text = (
        "\n     TEST           3D\n\n  3  2  0  0  0  0  0  0  0  0999 V2000\n"
        + "".join(carbene.format(x=x) for x in ("0.0000", "1.3000", "2.6000"))
        + "  1  2  2  0\n  2  3  2  0\nM  RAD  2   1   3   3   3\nM  END\n"
    )
    [atoms] = read_molfile(text)
    assert atoms.info == {"multiplicity": "1 or 3 or 5"}


def test_a_doublet_in_the_atom_block() -> None:
    """Code 4 of the column of charges, which files before `M  RAD` have."""
    methyl = METHYLENE.replace("  3  2  0", "  4  3  0").replace(
        "  1  2  1  0\n",
        "    1.0000    0.0000    0.0000 H   0  0  0  0\n  1  2  1  0\n  1  4  1  0\n",
    )
    with pytest.raises(ValueError, match="lacks 1 hydrogen"):
        read_molfile(methyl)
    [atoms] = read_molfile(methyl.replace("C   0  0", "C   0  4"))
    assert atoms.info == {"multiplicity": "2"}
    [cation] = read_molfile(methyl.replace("C   0  0", "C   0  3"))
    assert cation.info == {"charge": 1}


@pytest.mark.parametrize("version", [2000, 3000])
@pytest.mark.parametrize(
    ("smiles", "masses"),
    [
        ("[2H]C#N", {0: 2.0141}),
        ("[13CH4]", {0: 13.0034}),
        ("C[18OH]", {1: 17.9992}),
        ("[3H]O[2H]", {0: 3.0160, 2: 2.0141}),
        ("[15N]#[15N]", {0: 15.0001, 1: 15.0001}),
        ("[35Cl]C", {0: 34.9689}),
    ],
)
def test_isotopes_have_their_masses(smiles: str, masses: dict, version: int) -> None:
    params = Chem.SmilesParserParams()
    params.removeHs = False
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles, params))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    [atoms] = read_molfile(block(mol, version))
    usual = type(atoms)(atoms.numbers).get_masses()
    usual[list(masses)] = list(masses.values())
    np.testing.assert_allclose(atoms.get_masses(), usual, atol=1e-4)


def test_deuterium_and_tritium_as_symbols() -> None:
    text = METHYLENE.replace(" H ", " D ", 1).replace(" H ", " T ", 1)
    [atoms] = read_molfile(text.replace("M  END", "M  RAD  1   1   1\nM  END"))
    assert str(atoms.symbols) == "CH2"
    np.testing.assert_allclose(atoms.get_masses(), [12.011, 2.0141, 3.0160], atol=1e-3)


def test_all_structures_of_an_sdf_with_their_fields() -> None:
    ends = [
        block(in_space(smiles), version) for smiles, version in [("C=CO", 2000), ("CC=O", 3000)]
    ]
    text = f"{ends[0]}> <energy>\n-1.5\n\n>  <Name> (1)\nenol\n\n$$$$\n{ends[1]}$$$$\n\n"
    enol, keto = read_molfile(text)
    assert enol.info == {"energy": "-1.5", "Name": "enol"}
    assert str(enol.symbols) == "C2OH4" == str(keto.symbols).replace("CCO", "C2O")
    assert read_molfile(text.replace("\n", "\r\n"))[0].info["Name"] == "enol"


def test_a_field_that_contradicts_the_atoms() -> None:
    formate = block(in_space("[O-]C=O"), 2000)
    assert read_molfile(f"{formate}> <charge>\n-1\n\n$$$$\n")[0].info == {"charge": -1}
    with pytest.raises(ValueError, match="a field 'charge' of 0, but atoms of -1"):
        read_molfile(f"{formate}> <charge>\n0\n\n$$$$\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (METHYLENE.replace("0.9000", "0.9x00"), "line 6"),
        (METHYLENE.replace("0.9000", "   nan"), "line 6"),
        (METHYLENE.replace("M  END\n", ""), "cannot be read by RDKit"),
        (METHYLENE[1:], "line 4"),
        (METHYLENE.replace("  3  2", "  0  0"), "line 5"),
        (with_line("M  CHG  1   9   1"), "line 10"),
        (with_line("M  CHG  1   1  \N{MINUS SIGN}1"), "line 10"),
        (METHYLENE.replace("0.9000", "0.9\N{MINUS SIGN}00"), "line 6"),
        (with_line("M  RAD  1   1   7"), "radical value 7.*line 10"),
        (with_line("M  CHG  1   1"), r"'M  CHG  1   1' in line 10.*the number of pairs"),
        (with_line("M CHG  1   1  -1"), "'M CHG  1   1  -1' in line 10"),
        (with_line("M  CHG 1 1 -1"), "'M  CHG 1 1 -1' in line 10.*in four each"),
        (with_line("M  RAD  1   7   3"), "radical centre at atom 7|line 10"),
        (with_line("M  RAD999   1   2"), "'M  RAD999   1   2' in line 10"),
        (with_line("m  chg  1   1  -1"), "line 10"),
        (METHYLENE.replace(" C ", " R#"), r"in the place of atom 1 a group.*\(R#\)"),
        (METHYLENE.replace(" C ", " A "), "in the place of atom 1"),
        (METHYLENE.replace(" C ", " Xx"), "Element 'Xx' not found"),
        (f"{with_line('M  RAD  1   1   1')}$$$$\n{METHYLENE}$$$$\n", "begins in line 13 lacks 2"),
        ("$RXN\n\n\n\n  1  1\n", "a reaction file.*SDF"),
        ("nothing\n", "line 4"),
    ],
)
def test_damaged_files_say_where(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_molfile(text)


def test_twelve_thousand_atoms_without_bonds() -> None:
    rows = "".join(f"M  V30 {i + 1} C {3 * i} 0.1 {i % 7} 0\n" for i in range(12_000))
    text = (
        "\n     RDKit          3D\n\n  0  0  0  0  0  0  0  0  0  0999 V3000\nM  V30 BEGIN CTAB\n"
        f"M  V30 COUNTS 12000 0 0 0 0\nM  V30 BEGIN ATOM\n{rows}M  V30 END ATOM\nM  V30 END CTAB\n"
        "M  END\n"
    )
    start = time.process_time()
    with pytest.raises(ValueError, match="lacks 48000 hydrogen"):
        read_molfile(text)
    assert time.process_time() - start < 10
    with pytest.raises(ValueError, match="cannot be read by RDKit"):
        read_molfile(text.replace("COUNTS 12000", "COUNTS 999999999"))


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_files_of_the_shared_cases() -> None:
    for name in ("propene_t", "propene_t_v3", "trimethylene", "trimethylene_v3"):
        [atoms] = read_molfile((CASES / "molfiles" / f"{name}.mol").read_text())
        assert str(atoms.symbols) == "C3H6"
        assert atoms.info == {"multiplicity": "1 or 3"}
    for name in ("acetaldehyde", "vinyl_alcohol"):
        with pytest.raises(ValueError, match="is a drawing"):
            read_molfile((CASES / "molfiles" / f"{name}.mol").read_text())
    both = read_molfile((CASES / "files" / "both.sdf").read_text())
    assert [str(atoms.symbols) for atoms in both] == ["C2H4", "C2H4"]
