"""Reading of tables, folders and structure files, good and bad."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from rdkit import Chem
from rdkit.Chem import AllChem

from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from tests.places import SHARED
from workflows.errors import InputError
from workflows.records import Reaction

REACTBENCH = SHARED / "data" / "reactbench"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "two.xyz", [molecule("H2O"), molecule("H2O")])
    write(tmp_path / "one.xyz", molecule("H2O"))
    write(tmp_path / "one.mol.cif", molecule("H2O", cell=[9, 9, 9], pbc=True), format="cif")
    return tmp_path


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_two_frames_in_one_file(folder: Path) -> None:
    [reaction] = read_reactions(table(folder, "id,reaction\na,two.xyz\n"))
    assert isinstance(reaction, Reaction)
    assert (reaction.charge, reaction.multiplicity) == (0, 1)
    np.testing.assert_allclose(reaction.product.positions, molecule("H2O").positions, atol=1e-7)


def test_a_file_without_a_table(folder: Path) -> None:
    """The same as a folder that holds nothing else."""
    [reaction] = read_reactions(folder / "two.xyz")
    assert (reaction.id, reaction.charge, len(reaction.product)) == ("two", 0, 3)
    with pytest.raises(InputError, match=r"no file or folder .*three\.xyz"):
        read_reactions(folder / "three.xyz")


def test_one_file_for_each_end_with_charge(folder: Path) -> None:
    text = "id,reactant,product,charge,multiplicity\na,one.xyz,one.xyz,-1,2\n"
    [reaction] = read_reactions(table(folder, text))
    assert isinstance(reaction, Reaction)
    assert (reaction.charge, reaction.multiplicity) == (-1, 2)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("id,reaction\na,two.xyz\n", "utf-8-sig"),  # Excel
        ("id,reaction\r\na,two.xyz\r\n\r\n", "utf-8"),
        ('"id", "reaction"\n a , "two.xyz"\n', "utf-8"),
        ("id,reaction,comment,#mine\na,two.xyz,slow,\n", "utf-8"),
        ("id,reaction,charge\na,two.xyz,\n", "utf-8"),
    ],
)
def test_tables_as_people_write_them(folder: Path, text: str, encoding: str) -> None:
    [reaction] = read_reactions(table(folder, text, encoding))
    assert isinstance(reaction, Reaction)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("id,reaction\n", "no reactions"),
        ("name,reaction\na,two.xyz\n", "line 1.*unknown column 'name'"),
        ("id,reactoin\na,two.xyz\n", "did you mean 'reaction'"),
        ("id,charge\na,0\n", "line 1.*needs a column 'reaction'"),
        ("id,reactant\na,one.xyz\n", "both 'reactant' and 'product'"),
        ("id,reaction,product\na,two.xyz,one.xyz\n", "either"),
        ("reaction\ntwo.xyz\n", "no column 'id'"),
        ("id,id,reaction\na,a,two.xyz\n", "the same name"),
        ("id,reaction\na,two.xyz\nb,two.xyz\na,two.xyz\n", "line 4.*'a' is taken by line 2"),
        ("id,reaction\nA,two.xyz\na,two.xyz\n", "line 3.*'a' is taken by line 2"),
        ("id,reaction\na,two.xyz\nA,two.xyz\n", "line 3.*'A' is taken by line 2"),
        ("id,reaction\nRun.json,two.xyz\n", "line 2.*a file of every run"),
        ("id,reaction\na,two.xyz,7\n", "line 2: 3 values for 2 columns"),
        ("id,reaction\n../a,two.xyz\n", "line 2.*folder name"),
        ("id,reaction\n.a,two.xyz\n", "folder name"),
        ("id,reaction\n,two.xyz\n", "folder name"),
        ('id,reaction\n"a,two.xyz\n', "not a CSV"),
        ("id,reaction\n\xff\xfe", "not a CSV"),
        ("id|reaction\na|two.xyz\n", "line 1.*commas, semicolons or tabs"),
        ("id reaction\na two.xyz\n", "line 1.*commas, semicolons or tabs"),
    ],
)
def test_unusable_tables_say_where_and_why(folder: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_reactions(table(folder, text, "latin-1"))
    assert "table.csv" in str(error.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder .*nowhere\.csv"):
        read_reactions(tmp_path / "nowhere.csv")


def test_one_bad_row_costs_one_row(folder: Path) -> None:
    (folder / "text.xyz").write_text("this is no structure\nat all\n")
    (folder / "cut.xyz").write_text("3\n\nO 0 0 0\nH 0 0 1\n")
    (folder / "odd.xyz").write_text("1\n\nXq 0 0 0\n1\n\nXq 0 0 0\n")
    (folder / "empty.xyz").write_text("")
    (folder / "noise").write_bytes(bytes(range(256)))
    expected = {
        "missing": ("missing.xyz,", "no file .*missing.xyz"),
        "directory": (".,", "is a folder; name a file in it for reactant and product"),
        "nothing": (",", "no file is named"),
        "count": ("one.xyz,", r"1 frame\(s\), not 2 for"),
        "text": ("text.xyz,", "cannot be read"),
        "cut": ("cut.xyz,", "announces 3 atoms but the file ends at line 4"),
        "odd": ("odd.xyz,", "element"),
        "empty": ("empty.xyz,", "cannot be read|no kind|frame"),
        "noise": ("noise,", "no kind|cannot be read"),
        "charge": ("two.xyz,plus", "'charge' is 'plus'"),
    }
    text = "id,reaction,charge\nfine,two.xyz,\n"
    text += "".join(f"{name},{cells}\n" for name, (cells, _) in expected.items())
    fine, *bad = read_reactions(table(folder, text))
    assert isinstance(fine, Reaction)
    for line, (found, (name, (_, message))) in enumerate(
        zip(bad, expected.items(), strict=True), start=3
    ):
        assert isinstance(found, Unreadable)
        assert found.id == name
        assert f"table.csv, line {line}: " in found.reason
        assert re.search(message, found.reason), found.reason


BAD_FILES = {
    # ASE counts up to the announced number before it looks at the atoms.
    "endless.xyz": ("999999999999\n\nO 0 0 0\n", "line 1 .*999999999999 atoms.*ends at line 3"),
    "second.xyz": ("1\n\nH 0 0 0\n7\n\nH 0 0 0\n", "line 4 .*announces 7 atoms"),
    # An exception of ASE's own, derived from none of Python's usual ones.
    "bad.com": ("%chk=x\n", "cannot be read"),
    "x" * 300 + ".xyz": ("", "name too long"),
    "three.xyz": ("1\n\nH 0 0 0\n" * 3, r"3 frame\(s\), not 2 for"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_files_that_would_hang_or_crash_a_reader(folder: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    if content:
        (folder / name).write_text(content)
    [found] = read_reactions(table(folder, f"id,reaction\nr,{name}\n"))
    assert isinstance(found, Unreadable)
    assert "table.csv, line 2: " in found.reason
    assert re.search(message, found.reason), found.reason


def test_charge_and_multiplicity_in_the_comments_of_an_xyz_file(folder: Path) -> None:
    ion = molecule("H2O")
    ion.info = {"charge": -1, "multiplicity": 2, "step": 7}
    write(folder / "ion.xyz", [ion, ion], format="extxyz")
    [reaction] = read_reactions(folder / "ion.xyz")
    assert (reaction.charge, reaction.multiplicity) == (-1, 2)
    assert reaction.reactant.info == {}
    [same] = read_reactions(table(folder, "id,reaction,charge\na,ion.xyz,-1\n"))
    assert (same.charge, same.multiplicity) == (-1, 2)
    [other] = read_reactions(table(folder, "id,reaction,charge\na,ion.xyz,1\n"))
    assert isinstance(other, Unreadable)
    assert "'charge' is 1 and -1" in other.reason


GAUSSIAN = """%chk=a.chk
#p wb97xd/6-31g(d)

an anion

-1 1
O 0.0 0.0 0.0
H 0.0 0.0 0.97

"""


def test_charge_and_multiplicity_in_the_input_of_gaussian(tmp_path: Path) -> None:
    (tmp_path / "a.gjf").write_text(GAUSSIAN)
    (tmp_path / "b.com").write_text(GAUSSIAN.replace("-1 1", "0 2"))
    rows = ["a,a.gjf,a.gjf,", "b,b.com,b.com,0", "c,a.gjf,b.com,", "d,a.gjf,a.gjf,0"]
    text = "\n".join(["id,reactant,product,charge", *rows])
    anion, radical, both, denied = read_reactions(table(tmp_path, text))
    assert isinstance(anion, Reaction) and isinstance(radical, Reaction)
    assert (anion.charge, anion.multiplicity, anion.reactant.calc) == (-1, 1, None)
    assert (radical.charge, radical.multiplicity) == (0, 2)
    assert isinstance(both, Unreadable) and "'charge' is -1 and 0" in both.reason
    assert isinstance(denied, Unreadable) and "'charge' is 0 and -1" in denied.reason


@pytest.mark.parametrize("name", ["a.mol", "a.sdf"])
def test_formal_charges_in_a_molfile(tmp_path: Path, name: str) -> None:
    formate = Chem.AddHs(Chem.MolFromSmiles("[O-]C=O"))
    AllChem.EmbedMolecule(formate, randomSeed=1)
    (tmp_path / name).write_text(Chem.MolToMolBlock(formate) + "$$$$\n" * name.endswith("sdf"))
    text = f"id,reactant,product\na,{name},{name}\n"
    [reaction] = read_reactions(table(tmp_path, text))
    assert isinstance(reaction, Reaction)
    assert (reaction.charge, str(reaction.reactant.symbols)) == (-1, "OCOH")


def test_a_molfile_without_charges_says_nothing_of_them(tmp_path: Path) -> None:
    write(tmp_path / "a.sdf", molecule("OH"))
    [reaction] = read_reactions(table(tmp_path, "id,reactant,product,charge\na,a.sdf,a.sdf,-1\n"))
    assert isinstance(reaction, Reaction)
    assert reaction.charge == -1


def test_the_case_of_these_words_does_not_matter(folder: Path) -> None:
    frame = "3\nCharge=1 MULTIPLICITY=1\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"
    (folder / "case.xyz").write_text(2 * frame)
    [reaction] = read_reactions(folder / "case.xyz")
    assert (reaction.charge, reaction.multiplicity) == (1, 1)


def test_charge_and_multiplicity_in_prose(folder: Path) -> None:
    frame = "1\nH, charge 1, multiplicity is 2\nH 0 0 0\n"
    (folder / "prose.xyz").write_text(2 * frame)
    [reaction] = read_reactions(folder / "prose.xyz")
    assert isinstance(reaction, Reaction), reaction.reason
    assert (reaction.charge, reaction.multiplicity) == (1, 2)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (",1.5", "'multiplicity' is '1.5'; it must be a whole number"),
        (",0", "'multiplicity' is 0; it is 1 for a singlet"),
        (",-3", "'multiplicity' is -3"),
        ("1_0,", "'charge' is '1_0'"),
    ],
)
def test_charge_and_multiplicity_are_whole_numbers(folder: Path, cells: str, message: str) -> None:
    text = f"id,reaction,charge,multiplicity\na,two.xyz,{cells}\n"
    [found] = read_reactions(table(folder, text))
    assert isinstance(found, Unreadable)
    assert f"line 2: {message}" in found.reason


def test_names_with_signs_that_mean_something_to_ase(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patterns, frame numbers and database addresses are nothing but names here."""
    names = ["s*.xyz", "g[1].xyz", "at@0.xyz", "postgres.xyz", "mysql.xyz"]
    for name in names:
        (folder / name).write_bytes((folder / "two.xyz").read_bytes())
    monkeypatch.chdir(folder)  # relative, so that ASE could see the bare name
    table(folder, "id,reaction\n" + "".join(f"r{i},{name}\n" for i, name in enumerate(names)))
    found = read_reactions(Path("table.csv"))
    assert [type(item) for item in found] == [Reaction] * len(names)


def test_a_file_of_several_frames_is_no_single_structure(folder: Path) -> None:
    [found] = read_reactions(table(folder, "id,reactant,product\na,two.xyz,one.xyz\n"))
    assert isinstance(found, Unreadable)
    assert re.search(r"two\.xyz has 2 frame\(s\), not 1 for the reactant", found.reason)


def test_only_elements_and_positions_are_taken(folder: Path) -> None:
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_velocities(np.ones((3, 3)))
    atoms.set_initial_charges([1, 0, 0])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((3, 3)))
    write(folder / "rich.traj", [atoms, atoms])
    [reaction] = read_reactions(table(folder, "id,reaction\na,rich.traj\n"))
    assert isinstance(reaction, Reaction)
    for frame in (reaction.reactant, reaction.product):
        assert set(frame.arrays) == {"numbers", "positions"}
        assert frame.calc is None
        assert not frame.constraints
        assert not frame.info


def test_a_file_without_a_final_newline(folder: Path) -> None:
    (folder / "open.xyz").write_text((folder / "two.xyz").read_text().rstrip())
    [reaction] = read_reactions(table(folder, "id,reaction\na,open.xyz\n"))
    assert isinstance(reaction, Reaction)


def test_no_program_is_started_by_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASE asks the castep binary for its keywords when it reads a .cell."""
    castep = folder / "castep"
    castep.write_text(f"#!/bin/sh\ntouch '{folder / 'proof'}'\n")
    castep.chmod(0o755)
    monkeypatch.setenv("CASTEP_COMMAND", str(castep))
    monkeypatch.chdir(folder)
    (folder / "trap.cell").write_text("%BLOCK POSITIONS_ABS\nH 0 0 0\n%ENDBLOCK POSITIONS_ABS\n")
    [found] = read_reactions(table(folder, "id,reaction\na,trap.cell\n"))
    assert isinstance(found, Unreadable)
    assert "castep-cell" in found.reason
    assert not (folder / "proof").exists()


def test_no_code_of_a_file_is_ever_run(folder: Path) -> None:
    """Formats that ASE unpickles are refused before they are opened."""
    proof = folder / "proof"

    class Evil:
        def __reduce__(self) -> tuple:
            return (proof.write_text, ("run",))

    payload = pickle.dumps(Evil())
    bundle = folder / "trap.bundle"
    bundle.mkdir()
    (bundle / "metadata").write_bytes(payload)
    names = ["trap.bundle", *(f"trap.{end}" for end in ("pckl", "pkl", "py", "gpw", "traj", "xyz"))]
    for name in names[1:]:
        (folder / name).write_bytes(payload)
    text = "id,reaction\n" + "".join(f"r{i},{name}\n" for i, name in enumerate(names))
    text += "url,postgresql://nobody@nowhere/db\n"
    found = read_reactions(table(folder, text))
    assert all(isinstance(item, Unreadable) for item in found)
    assert not proof.exists()


def test_periodic_structures_stay_periodic_so_that_the_search_can_refuse_them(
    folder: Path,
) -> None:
    text = "id,reactant,product\na,one.mol.cif,one.mol.cif\n"
    [reaction] = read_reactions(table(folder, text))
    assert isinstance(reaction, Reaction)
    assert reaction.reactant.pbc.all()


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("rxn10", "rxn9", "rxn100"):
        write(tmp_path / f"{name}.xyz", [molecule("H2O"), molecule("H2O")])
    write(tmp_path / "rxn11.xyz", molecule("H2O"))
    found = read_reactions(tmp_path)
    assert [item.id for item in found] == ["rxn9", "rxn10", "rxn11", "rxn100"]
    assert isinstance(found[2], Unreadable)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no \.xyz or \.sdf"):
        read_reactions(tmp_path / "none")


def test_a_folder_with_a_name_that_is_no_id(tmp_path: Path) -> None:
    write(tmp_path / "².xyz", [molecule("H2O"), molecule("H2O")])  # a digit, but no number
    with pytest.raises(InputError, match=r"\.xyz: the id '²' cannot be a folder name"):
        read_reactions(tmp_path)


def test_the_reactbench_files() -> None:
    if not REACTBENCH.is_dir():
        pytest.skip("needs ../shared")
    found = read_reactions(REACTBENCH)
    assert len(found) == 760
    for item in found:
        assert isinstance(item, Reaction)
        assert 5 <= len(item.reactant) <= 21
        assert (item.reactant.numbers == item.product.numbers).all()
