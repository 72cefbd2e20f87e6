"""Guesses and bond changes in tables and on the command line, and what is stored of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import read, write

from horm_calc.chemistry.perception import smiles_of
from reactbench_runner import load_run
from reactbench_runner.batch import run_batch
from reactbench_runner.commands import thermo
from reactbench_runner.inputs.reactions import Unreadable, guesses_in, read_reactions
from reactbench_runner.large import run_large
from reactbench_runner.report.table import finished_line
from reactbench_runner.storage.provenance import fingerprint
from reactbench_runner.storage.xyz_files import write_search
from tests.reactbench_runner.calling import call, refused
from tests.surfaces import LEPS, QUICK
from workflows.errors import InputError
from workflows.records import Label, Minimum, Reaction, SearchResult, Verdict
from workflows.settings import VerdictSettings
from workflows.starts import BondChanges, SaddleGuess

GUESS = Atoms("HCN", [[0.3, 1.15, 0.1], [0, 0, 0], [1.19, 0, 0]])
HCN = Atoms("HCN", [[-1.07, 0, 0], [0, 0, 0], [1.16, 0, 0]])
HNC = Atoms("HCN", [[2.18, 0, 0], [0, 0, 0], [1.18, 0, 0]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("guess.xyz", GUESS)
    write("two.xyz", [GUESS, GUESS])
    write("hcn.xyz", HCN)
    write("hnc.xyz", HNC)
    return tmp_path


def table(*lines: str) -> Path:
    Path("table.csv").write_text("\n".join(lines) + "\n")
    return Path("table.csv")


def test_guesses_in_tables(folder: Path) -> None:
    [alone, last, missing] = read_reactions(
        table("id,guess,charge", "a,guess.xyz,-1", "b,two.xyz@-1,", "c,,")
    )
    assert isinstance(alone, SaddleGuess)
    assert isinstance(last, SaddleGuess)
    assert alone.charge == -1
    assert isinstance(missing, Unreadable)
    assert missing.reason == "table.csv, line 4: no file is named for the guess"
    both, without = read_reactions(
        table("id,reactant,product,guess", "a,hcn.xyz,hnc.xyz,guess.xyz", "b,hcn.xyz,hnc.xyz,")
    )
    assert isinstance(both, Reaction)
    assert both.guess is not None
    assert isinstance(without, Reaction)
    assert without.guess is None
    assert fingerprint(both) != fingerprint(without)
    [of_smiles] = read_reactions(table("id,smiles,guess", "a,C#N>>[C-]#[NH+],guess.xyz"))
    assert isinstance(of_smiles, Reaction)
    assert of_smiles.guess is not None
    [mixed] = read_reactions(table("id,reaction,guess", "a,two.xyz,two.xyz"))
    assert isinstance(mixed, Unreadable)
    assert "2 frame(s), not 1 for the guess" in mixed.reason


def test_isotopes_of_one_file_hold_for_all(folder: Path) -> None:
    Path("heavy.xyz").write_text("3\n\nD -1.07 0 0\nC 0 0 0\nN 1.16 0 0\n")
    [found] = read_reactions(table("id,reactant,product,guess", "a,heavy.xyz,hnc.xyz,guess.xyz"))
    assert isinstance(found, Reaction)
    assert found.guess is not None
    for atoms in (found.reactant, found.product, found.guess):
        assert atoms.get_masses()[0] == pytest.approx(2.014, abs=1e-3)
    [changed] = read_reactions(table("id,reactant,react", "a,heavy.xyz,break 1-2"))
    assert changed.atoms.get_masses()[0] == pytest.approx(2.014, abs=1e-3)


def test_bond_changes_in_tables(folder: Path) -> None:
    rows = 'a,hcn.xyz,"break H1-C2, form 1-3"', "b,hcn.xyz,brake 1-2", "c,hcn.xyz,", "d,no.xyz,x"
    good, *bad = read_reactions(table("id,reactant,react", *rows))
    assert isinstance(good, BondChanges)
    assert (good.breaking, good.forming) == (((0, 1),), ((0, 2),))
    words = (
        "line 3: 'brake' in 'brake 1-2' is not understood",
        "line 4: the cell 'react' is empty; write what happens, as in 'break 3-7",
        "line 5: there is no",
    )
    for item, text in zip(bad, words, strict=True):
        assert isinstance(item, Unreadable)
        assert f"table.csv, {text}" in item.reason
    [twice, impossible, far] = read_reactions(
        table(
            "id,reactant,react",
            'a,hcn.xyz,"break 1-2, form 2-1"',
            "b,hcn.xyz,break 1-3",
            "c,hcn.xyz,form 2-3",
        )
    )
    for item, text in (
        (twice, "line 2: H1-C2 stands twice in 'break H1-C2, form C2-H1'; name each bond once"),
        (impossible, "line 3: H1-N3 cannot break: its atoms are 2.23 Å apart and not bonded."),
        (far, "line 4: C2-N3 cannot form: its atoms are 1.16 Å apart and already bonded."),
    ):
        assert isinstance(item, Unreadable)
        assert f"table.csv, {text}" in item.reason
    [_, wider, _] = read_reactions(Path("table.csv"), verdict=VerdictSettings(bond_factor=2.5))
    assert isinstance(wider, BondChanges)
    with pytest.raises(InputError, match=r"line 2: 4 values for 3 columns .*quotation marks"):
        read_reactions(table("id,reactant,react", "a,hcn.xyz,break 1-2, form 1-3"))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("id,react", "needs a column"),
        ("id,reactant,product,react", "no column 'product' or 'guess' beside it"),
        ("id,reactant,react,guess", "no column 'product' or 'guess' beside it"),
        ("id,smiles,react", "either a column 'reaction', or 'smiles'"),
        ("id,reactant,guess", "or both 'reactant' and 'react', or 'guess'"),
        ("id,gues", "did you mean 'guess'"),
    ],
)
def test_headers_that_do_not_go_together(header: str, words: str, folder: Path) -> None:
    with pytest.raises(InputError, match=f"table.csv, line 1.*{words}"):
        read_reactions(table(header, "a" + "," * header.count(",")))


def test_files_of_guesses(folder: Path) -> None:
    assert [item.id for item in guesses_in(Path("guess.xyz"))] == ["guess"]
    assert [item.id for item in guesses_in(Path("two.xyz"))] == ["two-1", "two-2"]
    assert [item.id for item in guesses_in(Path("two.xyz@-1"))] == ["two"]
    Path("ion.xyz").write_text("2\ncharge=1 multiplicity=2\nH 0 0 0\nHe 0 0 0.8\n")
    [ion] = guesses_in(Path("ion.xyz"))
    assert isinstance(ion, SaddleGuess)
    assert (ion.charge, ion.multiplicity) == (1, 2)
    for name, words in (("none.xyz", "there is no file"), (".", "is a folder")):
        with pytest.raises(InputError, match=words):
            guesses_in(Path(name))


def test_wrong_calls(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["table.csv", "--from", "guess.xyz"]):
        assert "either REACTIONS or --from GUESSES" in refused(capsys, *given, "--out", "out")
    told = refused(capsys, "--from", "none.xyz", "--out", "out")
    assert told.strip() == "horm-tssearch: there is no file none.xyz"
    listed = table("id,guess", "a,guess.xyz")
    told = refused(capsys, "--from", str(listed), "--out", "out")
    assert "table.csv is a table, not a file of structures; it goes in the place of REA" in told
    assert not Path("out").exists()


def test_a_dry_run_checks_bonds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table("id,reactant,react", "a,hcn.xyz,break 1-2", "b,hcn.xyz,break 1-3")
    flags = ("--calculator", "gfn2-xtb", "--dry-run", "--out", "out")
    assert call(source, *flags) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "b: table.csv, line 3: H1-N3 cannot break: its atoms are 2.23 Å apart" in said
    assert "1 of 2 would run" in said
    assert "for 700 energies" in said
    # What is a bond is a matter of the settings.
    Path("table.csv").write_text("id,reactant,react\nb,hcn.xyz,break 1-3\n")
    assert call(source, *flags, "--verdict.bond_factor", "2.5") == 0
    assert call("--from", "guess.xyz", *flags) == 0
    assert "for 330 energies" in " ".join(capsys.readouterr().out.split())


def test_a_guess_from_the_file_to_rate_constants(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--from", "guess.xyz", "--out", "out", "--calculator", "gfn2-xtb")
    assert call(*flags) == 0
    said = " ".join(capsys.readouterr().out.split())
    told = r"guess: \[C-\]#\[NH\+\] -> C#N: ΔE‡ (\S+), back (\S+) kcal/mol"
    there, back = map(float, re.search(told, said).groups())
    assert "(from the higher end); H1-N3 broken, H1-C2 formed" in said
    assert there < back
    assert "1 of 1 found" in said
    before = Path("out/guess/result.json").read_bytes()
    assert call(*flags) == 0  # resumed, and not searched again
    assert Path("out/guess/result.json").read_bytes() == before
    Path("out/report.html").mkdir()
    assert call(*flags, "--report") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "report.html cannot be written: Is a directory. The results in out are safe" in told
    assert "'horm-report out --out PAGE.html' writes the page elsewhere" in told
    assert call(*flags, "--verify", "gfn1-xtb") == 0
    assert "the found ones: median RMSD" in " ".join(capsys.readouterr().out.split())
    result = load_run("out")["guess"]
    assert result.verdict is Label.FOUND
    assert result.row.verify_converged
    assert result.row.barrier_kcal_per_mol == pytest.approx(there, abs=0.051)  # one digit is told
    assert result.row.reverse_barrier_kcal_per_mol == pytest.approx(back, abs=0.051)
    assert f"ΔE‡ {there} kcal/mol, back {back} kcal/mol, ΔG‡" in finished_line(result.row)
    assert (result.row.reactant_smiles, result.row.product_smiles) == ("[C-]#[NH+]", "C#N")
    assert result.reactant.energy > result.product.energy
    assert result.profile("irc") is not None
    assert call("out", main=thermo.main) == 0
    assert "1 of 1 finished reactions have rate constants" in capsys.readouterr().out
    ends = "id,reactant,product", "a,out/guess/reactant.xyz,out/guess/product.xyz"
    [again] = read_reactions(table(*ends))  # what is written can be read
    assert isinstance(again, Reaction)
    write("guess.xyz", HCN)
    error = refused(capsys, *flags, "--verify", "gfn1-xtb")
    assert "bond changes (column 'react'), isotopes, charge or multiplicity have changed" in error


def test_one_structure_in_the_place_of_a_reaction_may_be_a_guess(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("guess.xyz", "--out", "out", "--calculator", "gfn2-xtb", "--dry-run") == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "has 1 frame(s), not 2 for reactant and product" in said
    assert "if it is a guess of the transition state, that alone: --from guess.xyz" in said


def leps(charge: int, multiplicity: int) -> LEPS:
    return LEPS()


def test_shards_hold_guesses_and_bond_changes_too(folder: Path) -> None:
    three = Atoms("HHH", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]])
    apart = Atoms("HHH", [[-2.2, 0, 0], [0, 0, 0], [0.74, 0, 0]])
    starts = [
        SaddleGuess("guess", three, multiplicity=2),
        BondChanges("changes", apart, ((1, 2),), ((0, 1),), multiplicity=2),
    ]
    for _ in range(2):  # the second time nothing is searched again
        counts = run_large(starts, Path("out"), leps, settings=QUICK)
        assert counts.verdicts[Label.FOUND] == 1
        assert counts.not_searched == 0
    assert {row.id for row in load_run("out").rows.values()} == {"guess", "changes"}
    other = BondChanges("changes", apart, ((1, 2),), multiplicity=2)
    with pytest.raises(InputError, match="'changes' is finished in out but"):
        run_large([other], Path("out"), leps, settings=QUICK)


def test_runs_from_before_there_were_conformers_go_on(folder: Path) -> None:
    """Unless a reaction has them: what is left would be searched otherwise than the rest."""
    missing = [Unreadable("a", "no file")]
    run_batch(missing, Path("out"), "gfn2-xtb")
    file = Path("out/run.json")
    run = json.loads(file.read_text())
    del run["settings"]["conformers"]
    file.write_text(json.dumps(run))
    run_batch(missing, Path("out"), "gfn2-xtb")
    of_smiles = Reaction("b", HCN, HNC, conformers=((HCN,), (HNC,)))
    with pytest.raises(InputError, match="conformers: 1 there, 3 now"):
        run_batch([of_smiles], Path("out"), "gfn2-xtb")
    assert fingerprint(of_smiles) == fingerprint(Reaction("b", HCN, HNC))


@pytest.mark.parametrize(
    ("atoms", "charge", "multiplicity", "smiles"),
    [
        (Atoms("OH", [[0, 0, 0], [0.96, 0, 0]]), -1, 1, "[OH-]"),
        (Atoms("OH", [[0, 0, 0], [0.96, 0, 0]]), 0, 2, "[OH]"),
        (Atoms("FHCl", [[0, 0, 0], [0.92, 0, 0], [3.2, 0, 0]]), -1, 1, "F.[Cl-]"),
        (Atoms("NN", [[0, 0, 0], [1.1, 0, 0]]), 0, 1, "N#N"),
        (Atoms("CO", [[0, 0, 0], [1.13, 0, 0]]), 0, 1, "[C-]#[O+]"),
        (Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]]), 0, 1, "O=C=O"),
    ],
)
def test_smiles_in_comments_are_no_word_of_charges(
    atoms: Atoms, charge: int, multiplicity: int, smiles: str, folder: Path
) -> None:
    assert smiles_of(atoms, charge, multiplicity, 1.2) == smiles
    point = Minimum(atoms, energy=0.0, forces=0.0 * atoms.positions, method="", converged=True)
    start = SaddleGuess("a", atoms, charge=charge, multiplicity=multiplicity)
    result = SearchResult(start, Verdict(Label.FOUND), reactant=point, smiles={"reactant": smiles})
    write_search(result, folder, "none")
    [again] = guesses_in(Path("reactant.xyz"))
    assert (again.charge, again.multiplicity) == (charge, multiplicity)
    assert read("reactant.xyz", format="extxyz").info["smiles"] == smiles
