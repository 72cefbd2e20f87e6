"""Reaction SMILES, in a table and on the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from horm_calc.chemistry.connectivity import describe_changes
from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from tests.reactbench_runner.calling import call, refused
from workflows.records import Reaction

SHIFT = "[CH2:1]=[CH:2][CH:3]=[CH:4][CH2:5][H:6]>>[H:6][CH2:1][CH:2]=[CH:3][CH:4]=[CH2:5]"


def table(folder: Path, *lines: str) -> Path:
    path = folder / "reactions.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_of_smiles(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "id,smiles,charge,multiplicity",
        "enol,C=CO>>CC=O,,",
        "sn2,[F-].CCl>>CF.[Cl-],-1,1",
        "radical,[CH3:2].[CH3:1][H:3]>>[CH3:2][H:3].[CH3:1],,",
        "triplet,[O][O]>>[O].[O],,3",
    )
    enol, sn2, radical, _ = found = read_reactions(path)
    assert all(isinstance(one, Reaction) for one in found[:3])
    assert describe_changes(enol.reactant, enol.product, 1.2) == "O3-H7 broken, C1-H7 formed"
    assert enol.remapped.startswith("atoms mapped as [CH2:1]")
    assert [(one.charge, one.multiplicity) for one in (enol, sn2, radical)] == [
        (0, 1),
        (-1, 1),
        (0, 2),
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,,,", "line 2: no SMILES"),
        ("a,C=C>>CC,,", "line 2: the sides have different atoms"),
        ("a,[F-].CCl>>CF.[Cl-],0,", "'charge' is 0, and the SMILES has -1"),
        ("a,[CH3].[CH3]>>CC,,", "2 unpaired electrons; say in a column 'multiplicity'"),
        ("a,C=CO>>CC=O,,x", "'multiplicity' is 'x'"),
    ],
)
def test_a_wrong_row_costs_itself(row: str, words: str, tmp_path: Path) -> None:
    path = table(tmp_path, "id,smiles,charge,multiplicity", row, "b,C=CO>>CC=O,,")
    bad, good = read_reactions(path)
    assert isinstance(bad, Unreadable)
    assert words in bad.reason
    assert isinstance(good, Reaction)


def test_files_and_smiles_do_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "id,smiles,reaction", "a,C=CO>>CC=O,a.xyz")
    said = refused(capsys, path, "--out", tmp_path / "out")
    assert "either a column 'reaction', or 'smiles'" in said


def test_a_wrong_smiles_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a failed reaction, with its reason, as it would be in a table."""
    assert call("C=C>>CC", "--out", tmp_path / "out", "--calculator", "gfn2-xtb") == 3
    assert "different atoms, C2H4 and C2H6" in capsys.readouterr().out


@pytest.mark.slow
def test_from_a_smiles_to_the_barrier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The 1,5-shift of (Z)-pentadiene, whose barrier from good structures is 26.4 kcal/mol."""
    out = tmp_path / "out"
    assert call(SHIFT, "--out", out, "--calculator", "gfn2-xtb") == 0
    assert "atoms mapped as" in capsys.readouterr().out
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert (row["id"], row["verdict"]) == ("reaction", "intended")
    assert float(row["barrier_kcal_per_mol"]) == pytest.approx(26.4, abs=0.1)
