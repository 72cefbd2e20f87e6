"""`--solvent`, as a user calls it: in the results, on resuming, and where there is none."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from ase.db import connect
from ase.io import read

from reactbench_runner import load_run, stored_kinetics
from reactbench_runner.batch import run_batch
from reactbench_runner.commands.report import main as report
from reactbench_runner.inputs.reactions import read_reactions
from reactbench_runner.storage.provenance import fingerprint
from reactbench_runner.storage.xyz_files import _write_frames
from tests.places import STRUCTURES
from tests.reactbench_runner.calling import call, refused
from tests.reactbench_runner.test_networks import network
from workflows.input_checks import solvent_of_files
from workflows.records import Reaction

FLAGS = ["--path.method", "geodesic", "--attempts", "1", "--lower_path.steps", "0"]
GAS, WATER = "GFN1-xTB (tblite)", "GFN1-xTB (tblite), ALPB(water)"

FACTORIES = """
from horm_calc import calculator_factory, gfn1_xtb

def taking(charge, multiplicity, solvent=""):
    return gfn1_xtb(charge, multiplicity, solvent)

@calculator_factory(level_of_theory="few", solvents=["water"], solvation="ALPB")
def few(charge, multiplicity, solvent=""):
    return gfn1_xtb(charge, multiplicity, solvent)

def deaf(charge, multiplicity):
    return gfn1_xtb(charge, multiplicity)

@calculator_factory(solvents=["water"])
def contradictory(charge, multiplicity):
    return gfn1_xtb(charge, multiplicity)
"""


def table(folder: Path, *solvents: str) -> Path:
    path = folder / "reactions.csv"
    lines = [f"r{i},{STRUCTURES / 'hcn.xyz'},{name}" for i, name in enumerate(solvents)]
    path.write_text("\n".join(["id,reaction,solvent", *lines]) + "\n")
    return path


def rows_in(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(newline="") as f:
        return [*csv.DictReader(f)]


def test_every_output_names_the_solvent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell goes before the flag, an empty one is the flag, 'none' is the gas phase."""
    out, source = tmp_path / "out", table(tmp_path, "", "none")
    config = tmp_path / "run.yaml"
    config.write_text("calculator: gfn1-xtb\nsolvent: H2O\n")
    assert call(source, "--out", out, "--config", config, *FLAGS) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "GFN1-xTB (tblite): gas phase, ALPB(water), results in" in printed
    assert "GFN1-xTB (tblite): gas phase, ALPB(water); energies in kcal/mol" in printed
    water, gas = rows_in(out)
    assert (water["verdict"], gas["verdict"]) == ("intended", "intended")
    assert (water["solvent"], gas["solvent"]) == ("water", "")
    assert (water["level_of_theory"], gas["level_of_theory"]) == (WATER, GAS)
    assert float(water["ts_energy_ev"]) < float(gas["ts_energy_ev"]) - 0.1
    for file in ("ts.xyz", "path.xyz", "irc.xyz", "reactant.xyz"):
        assert read(out / "r0" / file, 0).info["level_of_theory"] == WATER
        assert read(out / "r1" / file, 0).info["level_of_theory"] == GAS
        assert read(out / "r0" / file, 0).info["solvent"] == "water"
        assert "solvent" not in read(out / "r1" / file, 0).info
    assert (out / "r0" / "log.txt").read_text().startswith(WATER)
    with connect(out / "results.db") as database:
        levels = {row.reaction: row.level_of_theory for row in database.select()}
    assert set(levels.values()) == {WATER, GAS}
    record = json.loads((out / "run.json").read_text())
    assert record["solvents"] == ["", "water"]
    assert record["level_of_theory"] == "GFN1-xTB (tblite): gas phase, ALPB(water)"
    assert load_run(out).level_of_theory == record["level_of_theory"]
    in_water, in_gas = stored_kinetics(out)
    assert (in_water.level_of_theory, in_gas.level_of_theory) == (WATER, GAS)
    assert any(note.startswith("in water: ") for note in in_water.notes)
    assert not any("solvation" in note for note in in_gas.notes)

    si = tmp_path / "si.md"
    assert call(out, "--si", si, main=report) == 0
    text = si.read_text()
    assert f"Level of theory: {WATER}." in text
    assert f"Level of theory: {GAS}." in text
    assert "free energy of solvation" in text
    assert "2021, 17, 4250" in text

    capsys.readouterr()
    # The same table with another solvent, or with none, is another set of reactions.
    for flags, now in (([], "in the gas phase now"), (["--solvent", "dmso"], "in dmso now")):
        error = refused(capsys, source, "--out", out, "--calculator", "gfn1-xtb", *FLAGS, *flags)
        assert f"it was searched in water there, and is {now}" in error
    # A verification has the solvents too.
    verified = ["--calculator", "gfn1-xtb", "--solvent", "water", "--verify", "gfn2-xtb"]
    assert call(source, "--out", out, *FLAGS, *verified) == 0
    water, gas = rows_in(out)
    assert water["verify_level"] == "GFN2-xTB (tblite), ALPB(water)"
    assert gas["verify_level"] == "GFN2-xTB (tblite)"
    for row in (water, gas):
        assert row["verify_reason"] == ""
        # GFN1 to GFN2: some kcal/mol for barriers; 2.5 of zero-point energy and entropy.
        lower = float(row["verify_barrier_kcal_per_mol"]) - float(
            row["verify_gibbs_barrier_kcal_per_mol"]
        )
        assert lower == pytest.approx(
            float(row["barrier_kcal_per_mol"]) - float(row["gibbs_barrier_kcal_per_mol"]), abs=1
        )
    assert "ΔG‡" in capsys.readouterr().out


def test_a_structure_of_another_solvent_is_not_taken_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of a run in water, searched where --solvent was forgotten."""
    ends = read(STRUCTURES / "hcn.xyz", ":")
    reaction = Reaction("hcn", *ends, solvent="water")
    guess = tmp_path / "ts.xyz"
    _write_frames(guess, [(ends[0], {})], WATER, reaction)
    both = tmp_path / "both.xyz"
    _write_frames(both, [(end, {}) for end in ends], WATER, reaction)
    named = ["--out", tmp_path / "out", "--calculator", "gfn1-xtb", *FLAGS]
    words = "says solvent=water, and this search is in the gas phase; for water give --solvent"
    for source, whose in ((["--from", guess], "guess"), ([both], "reactant and product")):
        for flags, told in (([], True), (["--solvent", "H2O"], False)):
            call(*source, *named, *flags, "--dry-run")
            printed = " ".join(capsys.readouterr().out.split())
            assert (f"the file of the {whose} {words}" in printed) is told, printed
    assert call(both, *named) == 0
    [row] = rows_in(tmp_path / "out")
    assert words in row["warnings"]
    # Files of the gas phase say nothing, and a solvent for them is given on purpose.
    assert solvent_of_files(Reaction("hcn", *ends, solvent="water")) == ""


def test_what_has_no_solvents_is_refused_before_anything_is_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, tiny = tmp_path / "out", f"horm:{network(tmp_path / 'tiny.safetensors')}"
    plain, water = STRUCTURES / "hcn.xyz", table(tmp_path, "water")
    gfn2, named = ["--calculator", "gfn2-xtb"], ["--solvent", "water"]
    cases = [
        ([plain, *gfn2, "--solvent", "watr"], "did you mean water? (it knows acetone, "),
        ([plain, "--calculator", tiny, *named], "'water' (it knows the gas phase only)"),
        ([plain, *gfn2, *named, "--verify", tiny], "--solvent water: "),
        ([water, *gfn2, "--verify", tiny], "cannot verify r0 (the solvent 'water'"),
    ]
    for arguments, words in cases:
        error = refused(capsys, *arguments, "--out", out)
        assert words in error, error
        assert not out.exists()
    source = table(tmp_path, "water", "watr")
    assert call(source, "--out", out, "--calculator", tiny) == 3
    assert all("gas phase only" in row["reason"] for row in rows_in(out))
    assert call(source, "--out", out, "--calculator", tiny, "--dry-run") == 3
    assert "gas phase only" in capsys.readouterr().out


def test_calculators_of_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the folders of files are searched
    file = tmp_path / "in_solvents.py"
    file.write_text(FACTORIES)
    hcn, named = STRUCTURES / "hcn.xyz", ["--solvent", "water"]
    out = tmp_path / "taking"
    assert call(hcn, "--out", out, "--calculator", f"{file}:taking", *named, *FLAGS) == 0
    [row] = rows_in(out)
    assert row["verdict"] == "intended"
    assert row["level_of_theory"].endswith("taking, solvent(water)")
    capsys.readouterr()
    for factory, words in (
        ("few", ""),
        ("deaf", "it knows the gas phase only"),
        ("contradictory", "takes no argument 'solvent'"),
    ):
        arguments = [hcn, "--out", tmp_path / factory, "--calculator", f"{file}:{factory}"]
        if words:
            assert words in refused(capsys, *arguments, *named)
        else:
            error = refused(capsys, *arguments, "--solvent", "thf")
            assert "the solvent 'thf' (it knows water)" in error


def test_a_level_that_forgets_the_solvent_gives_no_numbers(tmp_path: Path) -> None:
    """From Python: what says that it computes in another solvent than it is asked for."""

    def stubborn(charge: int, multiplicity: int, solvent: str = "") -> object:
        from horm_calc import gfn1_xtb

        return gfn1_xtb(charge, multiplicity, "dmso")

    reaction = Reaction("hcn", *read(STRUCTURES / "hcn.xyz", ":"), solvent="water")
    [row] = run_batch([reaction], tmp_path / "out", stubborn)
    assert row.verdict == "failed"
    assert "asked for the solvent 'water'" in row.reason
    assert "computes in 'dmso'" in row.reason


def test_fingerprints_of_the_gas_phase_are_what_they_were() -> None:
    """So that runs of older versions go on."""
    ends = read(STRUCTURES / "sn2.xyz", ":")
    gas = fingerprint(Reaction("sn2", *ends, charge=-1))
    assert gas == "7888d15855ff4d44"
    assert fingerprint(Reaction("sn2", *ends, charge=-1, solvent="gas")) == gas
    assert len({gas, *(fingerprint(Reaction("sn2", *ends, charge=-1, solvent=name))
                       for name in ("water", "h2o", "dmso"))}) == 3  # fmt: skip


def test_cells_of_a_table(tmp_path: Path) -> None:
    source = table(tmp_path, "", "None", "nan", "Diethyl ether", "gas", "N/A")
    found = read_reactions(source, solvent="water")
    assert [one.solvent for one in found] == ["water", "", "water", "ether", "", "water"]
    assert [one.solvent for one in read_reactions(source)] == ["", "", "", "ether", "", ""]
