"""Files that a table names: one frame of many, outputs, trajectories, SDF, and what is none."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from reactbench_runner.inputs import files as structure_files
from reactbench_runner.inputs.files import UnusableFile, read_frames
from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from tests.places import SHARED
from workflows.errors import InputError
from workflows.records import Reaction

CASES = SHARED / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")

#: Four geometries of an optimisation of water, the last with the shortest bonds.
STEPS = [molecule("H2O") for _ in range(4)]
for number, step in enumerate(STEPS):
    step.positions *= 1.2 - 0.05 * number


def one(folder: Path, name: str) -> Atoms:
    [atoms] = read_frames(folder, name, 1, "the reactant")
    return atoms


def refusal(folder: Path, name: str, number: int = 1) -> str:
    with pytest.raises(UnusableFile) as error:
        read_frames(folder, name, number, {1: "the reactant", 2: "reactant and product"}[number])
    return str(error.value)


def table(title: str, atoms: Atoms) -> str:
    line = "-" * 69
    rows = "".join(
        f"{i:7}{z:11}{0:12}    {x:12.6f}{y:12.6f}{z_:12.6f}\n"
        for i, (z, (x, y, z_)) in enumerate(zip(atoms.numbers, atoms.positions, strict=True), 1)
    )
    head = " Center     Atomic      Atomic             Coordinates (Angstroms)\n"
    head += " Number     Number       Type             X           Y           Z\n"
    return f"{title:>43}:\n {line}\n{head} {line}\n{rows} {line}\n"


def gaussian(
    steps: list[Atoms], energy: str = " SCF Done:  E(RB3LYP) =  -76.4     A.U. after    9\n"
) -> str:
    """As Gaussian prints an optimisation: each geometry as given, and turned."""
    text = " Entering Gaussian System, Link 0=g16\n Charge =  0 Multiplicity = 1\n"
    for atoms in steps:
        turned = atoms.copy()
        turned.rotate(90, "x")
        text += table("Input orientation", atoms) + table("Standard orientation", turned) + energy
    return text + " Normal termination of Gaussian 16\n"


def orca(steps: list[Atoms]) -> str:
    text = f"{'* O   R   C   A *':>50}\n Total Charge           Charge          ....    0\n"
    text += " Multiplicity           Mult            ....    1\n"
    for atoms in steps:
        text += f"Number of atoms                             ...      {len(atoms)}\n"
        text += "-" * 33 + "\nCARTESIAN COORDINATES (ANGSTROEM)\n" + "-" * 33 + "\n"
        for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True):
            text += f"  {symbol:2}{x:14.6f}{y:12.6f}{z:12.6f}\n"
        text += "\nFINAL SINGLE POINT ENERGY       -76.4\n"
        text += "ORCA SCF GRADIENT CALCULATION\n" + (
            "ORCA GEOMETRY RELAXATION STEP\n" if atoms is not steps[-1] else ""
        )
    return text + "THE OPTIMIZATION HAS CONVERGED\n****ORCA TERMINATED NORMALLY****\n"


def xtb(steps: list[Atoms]) -> str:
    """As xtb's xtbopt.log."""
    text = ""
    for atoms in steps:
        text += f"{len(atoms)}\n energy: -5.07 gnorm: 0.03 xtb: 6.4.1\n"
        for symbol, place in zip(atoms.symbols, atoms.positions, strict=True):
            text += f"{symbol} " + " ".join(f"{x:.8f}" for x in place) + "\n"
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "g.log").write_text(gaussian(STEPS))
    (tmp_path / "o.out").write_text(orca(STEPS))
    (tmp_path / "xtbopt.log").write_text(xtb(STEPS))
    (tmp_path / "g.log.gz").write_bytes(gzip.compress(gaussian(STEPS).encode()))
    for atoms in STEPS:
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    write(tmp_path / "t.traj", STEPS)
    write(tmp_path / "x.xyz", STEPS)
    write(tmp_path / "p.pdb", STEPS)
    sdf = []
    for atoms in STEPS:
        write(tmp_path / "one.sdf", atoms)
        sdf.append((tmp_path / "one.sdf").read_text())
    (tmp_path / "s.sdf").write_text("".join(sdf))
    return tmp_path


FILES = ["g.log", "o.out", "xtbopt.log", "g.log.gz", "t.traj", "x.xyz", "p.pdb", "s.sdf"]


@pytest.mark.parametrize("name", FILES)
def test_one_frame_of_many(folder: Path, name: str) -> None:
    for index, expected in ((-1, 3), (0, 0), (3, 3), (-4, 0), (1, 1), (-2, 2)):
        atoms = one(folder, f"{name}@{index}")
        assert str(atoms.symbols) == "OH2"
        np.testing.assert_allclose(
            atoms.get_distance(0, 1), STEPS[expected].get_distance(0, 1), atol=2e-3
        )
        assert atoms.calc is None


@pytest.mark.parametrize("name", FILES)
def test_many_frames_where_one_belongs_name_the_remedy(folder: Path, name: str) -> None:
    said = refusal(folder, name)
    assert re.search(rf"{re.escape(name)} has 4 frame\(s\), not 1 for the reactant", said)
    assert f"{name}@0 is the first, {name}@-1 the last" in said
    [found] = read_reactions(_csv(folder, f"id,reactant,product\na,{name},{name}@-1\n"))
    assert isinstance(found, Unreadable)
    assert "line 2: " in found.reason and f"{name}@-1 the last" in found.reason


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("index", [4, -5, 99])
def test_a_frame_that_is_not_there(folder: Path, name: str, index: int) -> None:
    said = refusal(folder, f"{name}@{index}")
    assert (
        f"has 4 frame(s), from @0 to @3, or from the last, @-1, to @-4; there is no @{index}"
        in said
    )


def _csv(folder: Path, text: str) -> Path:
    (folder / "in.csv").write_text(text)
    return folder / "in.csv"


def test_a_path_from_its_first_to_its_last_frame(folder: Path) -> None:
    [found] = read_reactions(_csv(folder, "id,reactant,product\na,t.traj@0,t.traj@-1\n"))
    assert isinstance(found, Reaction)
    np.testing.assert_allclose(found.reactant.positions, STEPS[0].positions)
    np.testing.assert_allclose(found.product.positions, STEPS[3].positions)


@pytest.mark.parametrize("name", ["t.traj", "x.xyz", "s.sdf"])
def test_many_frames_where_two_belong(folder: Path, name: str) -> None:
    said = refusal(folder, name, 2)
    assert "4 frame(s), not 2 for reactant and product" in said
    assert f"'reactant' and 'product', as in {name}@0 and {name}@-1" in said


@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(("name", "written"), [("a.log", gaussian), ("a.out", orca)])
def test_an_output_is_no_reaction(tmp_path: Path, steps: int, name: str, written) -> None:
    """Two geometries of an optimisation are no reactant and product."""
    (tmp_path / name).write_text(written(STEPS[:steps]))
    assert re.search(r"is an output \(.*\), of one molecule; .*@-1", refusal(tmp_path, name, 2))


def test_an_output_of_gaussian_without_energies_that_ase_knows(tmp_path: Path) -> None:
    """ASE keeps the first geometry of a CASSCF optimisation and says nothing."""
    casscf = " ( 1)     EIGENVALUE    -154.93\n"
    (tmp_path / "a.log").write_text(gaussian(STEPS, casscf))
    for name in ("a.log", "a.log@-1", "a.log@0"):
        assert "its last geometry is not where ASE finds it" in refusal(tmp_path, name)
    (tmp_path / "b.log").write_text(gaussian(STEPS[:1], casscf))
    np.testing.assert_allclose(one(tmp_path, "b.log").positions, STEPS[0].positions, atol=1e-6)


ARCHIVE = " 1\\1\\GINC-A\\FOpt\\RB3LYP\\6-31G(d)\\H2O1\n\n"


def test_an_optimisation_with_frequencies_after_it(tmp_path: Path) -> None:
    """The second job prints the same geometry, turned; ASE reads the first."""
    turned = STEPS[3].copy()
    turned.rotate(70, (1, 2, 3))
    (tmp_path / "a.log").write_text(gaussian(STEPS) + ARCHIVE + gaussian([turned]))
    np.testing.assert_allclose(one(tmp_path, "a.log@-1").positions, STEPS[3].positions, atol=1e-6)


def test_an_optimisation_that_a_second_job_goes_on_with(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(gaussian(STEPS[:2]) + ARCHIVE + gaussian(STEPS[2:]))
    said = refusal(tmp_path, "a.log@-1")
    assert "its last geometry is not where ASE finds it" in said and "first job" in said


def test_an_output_of_orca_that_announces_an_abyss(tmp_path: Path) -> None:
    (tmp_path / "a.out").write_text(orca(STEPS).replace("...      3\n", "...      999999999\n"))
    assert "it announces 999999999 atoms, more than it has lines" in refusal(tmp_path, "a.out")


def test_an_output_that_ends_amid_a_step(tmp_path: Path) -> None:
    whole = gaussian(STEPS)
    (tmp_path / "a.log").write_text(whole[: whole.rindex(" SCF Done")])
    np.testing.assert_allclose(one(tmp_path, "a.log@-1").positions, STEPS[3].positions, atol=1e-6)


def test_an_at_in_the_name_of_a_file(folder: Path) -> None:
    (folder / "x.xyz@1").write_bytes((folder / "xtbopt.log").read_bytes())
    assert "xyz@1 has 4 frame(s)" in refusal(folder, "x.xyz@1")
    assert one(folder, "x.xyz@1@-1").get_distance(0, 1) < one(folder, "x.xyz@0").get_distance(0, 1)
    assert "there is no file" in refusal(folder, "x.xyz@1:2")
    assert "there is no file" in refusal(folder, "x.xyz@last")
    assert "there is no file" in refusal(folder, "nothing.xyz@-1")


@pytest.mark.parametrize("name", ["sub", "sub/", ".", "sub@-1", "sub\\"])
def test_a_folder_in_the_place_of_a_file(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    assert re.search("is a folder; name a file in it for the reactant", refusal(folder, name))


def test_a_table_from_windows(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "x.xyz").rename(folder / "sub" / "x.xyz")
    assert len(one(folder, "sub\\x.xyz@-1")) == 3
    assert len(one(folder, ".\\sub\\x.xyz@0")) == 3


def test_frames_and_bytes_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "big.log").open("wb") as file:
        file.write(gaussian(STEPS).encode())
        file.truncate(200_000_001)
    assert "has more than 200000000 bytes; save" in refusal(folder, "big.log")
    monkeypatch.setattr(structure_files, "_MOST", 3)
    assert "x.xyz has more than 3 frames; cut out" in refusal(folder, "x.xyz@-1")


def test_an_sdf_is_a_reaction(tmp_path: Path) -> None:
    for name, text in (("a.sdf", "ab"), ("b.SDF", "ba")):
        blocks = {}
        for key, atoms in (("a", STEPS[0]), ("b", STEPS[3])):
            write(tmp_path / "one.sdf", atoms)
            blocks[key] = (tmp_path / "one.sdf").read_text()
        (tmp_path / name).write_text("".join(blocks[key] for key in text))
    (tmp_path / "one.sdf").unlink()
    (tmp_path / "._a.sdf").write_text("left by a Macintosh")
    write(tmp_path / "c.XYZ", STEPS[:2], format="extxyz")
    forward, backward, third = read_reactions(tmp_path)
    assert isinstance(forward, Reaction) and isinstance(backward, Reaction)
    assert isinstance(third, Reaction)
    np.testing.assert_allclose(forward.reactant.positions, backward.product.positions)
    [alone] = read_reactions(tmp_path / "b.SDF")
    assert isinstance(alone, Reaction) and alone.id == "b"


def test_two_files_of_one_name_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.xyz", "a.extxyz"):
        write(tmp_path / name, STEPS[:2], format="extxyz")
    with pytest.raises(InputError, match=r"a\.extxyz and a\.xyz would be one id; rename one"):
        read_reactions(tmp_path)


@pytest.mark.parametrize("ending", ["mol", "sdf", "sd", "mdl", "txt"])
@needs_cases
def test_a_molfile_under_any_name(tmp_path: Path, ending: str) -> None:
    text = (CASES / "molfiles" / "trimethylene.mol").read_bytes()
    (tmp_path / f"a.{ending}").write_bytes(text)
    assert str(one(tmp_path, f"a.{ending}").symbols) == "C3H6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "it is empty"),
        (b"no structure\n", "no kind that ASE knows; use xyz"),
        (bytes(range(256)), "no kind that ASE knows; use xyz"),
    ],
)
def test_files_of_no_kind(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(text)
    assert message in refusal(tmp_path, "a.bin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.xyz")
    assert "it is a device or a pipe; save it as a file" in refusal(tmp_path, "a.xyz")


def test_an_input_in_which_ase_finds_no_atom(tmp_path: Path) -> None:
    """Q-Chem's, which ASE takes for one of FHI-aims."""
    (tmp_path / "a.in").write_text("$molecule\n0 3\nO 0.0 0.0 0.0\nO 0.0 0.0 1.2\n$end\n")
    assert "holds no readable structure; save it as xyz" in refusal(tmp_path, "a.in")


@needs_cases
def test_drawings_are_refused_with_line_and_remedy() -> None:
    [found] = read_reactions(CASES / "molfiles" / "drawn.csv")
    assert isinstance(found, Unreadable)
    assert re.search(r"drawn\.csv, line 2: .*vinyl_alcohol\.mol .*drawing.*obabel", found.reason)


@needs_cases
@pytest.mark.parametrize("name", ["between_blank", "numbers", "D", "masses"])
def test_the_xyz_files_of_the_shared_cases(name: str) -> None:
    [found] = read_reactions(CASES / "files" / f"{name}.xyz")
    assert isinstance(found, Reaction)
    assert str(found.reactant.symbols) == str(found.product.symbols) == "CNH"
    mass = 2.014 if name in ("D", "masses") else 1.008
    for atoms in (found.reactant, found.product):
        np.testing.assert_allclose(atoms.get_masses()[2], mass, atol=2e-4)


@needs_cases
def test_the_outputs_of_the_shared_cases(tmp_path: Path) -> None:
    files = CASES / "files"
    rows = [
        f"one,{files}/g1_r.log,{files}/g1_p.log",
        f"last,{files}/g3_r.log@-1,{files}/g3_p.log@-1",
        f"orca,{files}/o1_r.out,{files}/o1_p.out",
        f"many,{files}/g3_r.log,{files}/g3_p.log",
    ]
    *found, many = read_reactions(_csv(tmp_path, "\n".join(["id,reactant,product", *rows])))
    for item in found:
        assert isinstance(item, Reaction)
        assert (item.charge, item.multiplicity) == (0, 3)
        assert item.reactant.positions[1, 0] == 1.31 and item.product.positions[1, 0] == 1.21
    assert isinstance(many, Unreadable) and "g3_r.log@-1 the last" in many.reason
    [both] = read_reactions(files / "both.sdf")
    assert isinstance(both, Reaction) and str(both.product.symbols) == "C2H4"
