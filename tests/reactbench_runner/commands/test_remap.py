"""Products whose atoms are in another order than the reactants', with and without --remap."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

from reactbench_runner.inputs.large import LargeInput, open_reactions
from tests.places import STRUCTURES
from tests.reactbench_runner.calling import call
from tests.workflows.molecules import exchanged
from workflows.settings import VerdictSettings

QUICK = ("--calculator", "gfn2-xtb", "--lower_path.steps", "0", "--attempts", "1")
EXCHANGED = "H6 and H7 exchanged in the product"
FEWER = "2 bonds change instead of 4"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One reaction as it should be, with two hydrogens exchanged, and with all atoms reversed."""
    reactant, product = read(STRUCTURES / "vinyl_alcohol.xyz", ":")
    folder = tmp_path / "reactions"
    folder.mkdir()
    write(folder / "right.xyz", [reactant, product])
    write(folder / "exchanged.xyz", [reactant, exchanged(product, (6, 7))])
    write(folder / "reversed.xyz", [reactant, product[::-1]])
    return folder


def rows_in(out: Path) -> dict[str, dict[str, str]]:
    with (out / "results.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_it_is_said_before_the_search(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(source, "--out", source.parent / "out", *QUICK, "--dry-run") == 3
    said = " ".join(capsys.readouterr().out.split())
    assert f"(exchanged): with {EXCHANGED} {FEWER}: is the order of the atoms right?" in said
    assert "(right)" not in said
    assert "reversed: the atom order differs" in said
    assert "--remap" in said


def test_the_line_of_the_table_is_named(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source.parent)
    Path("r.csv").write_text("id,reaction\ngood,reactions/right.xyz\nbad,reactions/exchanged.xyz\n")
    assert call("r.csv", "--out", "out", *QUICK, "--dry-run") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"r.csv, line 3 (bad): with {EXCHANGED} {FEWER}" in said


def test_with_remap_all_could_run(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(source, "--out", source.parent / "out", *QUICK, "--dry-run", "--remap") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "is the order of the atoms right?" not in said
    assert f"(exchanged): remapped: {EXCHANGED}; {FEWER}" in said
    assert "(reversed): remapped: the product's atoms in the order 7 6 5 4 3 2 1" in said


def test_large_inputs_are_remapped_as_they_are_read(source: Path) -> None:
    limit = VerdictSettings().bond_factor
    listed = {item.id: item for item in LargeInput(source, limit)}
    as_given = {item.id: item for item in LargeInput(source)}
    products = [item.read().product for item in listed.values()]
    assert all(np.allclose(one.positions, products[0].positions) for one in products)
    assert not listed["right"].read().remapped
    assert listed["exchanged"].read().remapped
    assert not as_given["exchanged"].read().remapped
    # Else a run would believe that it has this reaction already.
    assert listed["exchanged"].stamp() != as_given["exchanged"].stamp()
    assert [item.remapped for item in open_reactions(source)] == ["", "", ""]


@pytest.mark.slow
def test_searches_with_and_without_it(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, remapped = source.parent / "plain", source.parent / "remapped"
    assert call(source, "--out", plain, *QUICK) == 3
    assert f"(exchanged): with {EXCHANGED}" in " ".join(capsys.readouterr().out.split())
    rows = rows_in(plain)
    assert rows["right"]["verdict"] == "intended"
    assert "order of the atoms" not in rows["right"]["warnings"]
    assert rows["exchanged"]["verdict"] != "intended"
    assert EXCHANGED in rows["exchanged"]["warnings"] + rows["exchanged"]["reason"]
    assert rows["reversed"]["stage"] == "input"
    assert "let --remap do it" in rows["reversed"]["reason"]

    assert call(source, "--out", remapped, *QUICK, "--remap") == 0
    rows = rows_in(remapped)
    for row in rows.values():
        assert row["verdict"] == "intended"
        assert row["barrier_kcal_per_mol"] == rows["right"]["barrier_kcal_per_mol"]
    assert f"{EXCHANGED}; {FEWER}" in rows["exchanged"]["warnings"]
    assert "in the order 7 6 5 4 3 2 1" in rows["reversed"]["warnings"]
    assert EXCHANGED in (remapped / "exchanged" / "log.txt").read_text()
    # The same command resumes; without --remap it is another run.
    assert call(source, "--out", remapped, *QUICK, "--remap") == 0
    assert call(source, "--out", remapped, *QUICK) == 2
    assert "--remap" in capsys.readouterr().err
