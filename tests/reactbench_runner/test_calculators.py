"""Calculators of other people: files, modules, entry points and factories."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from horm_calc.capabilities import Capabilities, calculator_factory, capabilities_of
from horm_calc.configuration import SettingsError
from reactbench_runner import calculators
from reactbench_runner.batch import run_batch
from reactbench_runner.commands.tssearch import main
from tests.places import EXAMPLES, REPOSITORY, STRUCTURES
from tests.surfaces import EXCHANGE, LEPS, QUICK
from workflows.records import Reaction
from workflows.tssearch import search

FILE = """
from tblite.ase import TBLite
from horm_calc.capabilities import calculator_factory

@calculator_factory(level_of_theory="my xTB", elements="H C N O", charges=[0])
def mine(charge, multiplicity):
    return TBLite(method="GFN1-xTB", charge=charge, multiplicity=multiplicity, verbosity=0)

def undescribed(charge, multiplicity):
    return mine(charge, multiplicity)

def broken(charge, multiplicity):
    return 1 / 0

broken.capabilities = "everything"
"""

FLAGS = ["--path.method", "geodesic", "--attempts", "1", "--lower_path.steps", "0"]


def results(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open(newline="") as f:
        return {row["id"]: row for row in csv.DictReader(f)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a calculator in mine.py."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the folders of files are searched
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path


def test_a_file_from_search_to_resume(here: Path, capsys: pytest.CaptureFixture) -> None:
    """By its relative path, in the worker process too; refused where it says so; found again."""
    (here / "reactions.csv").write_text(
        f"id,reaction,charge\nhcn,{STRUCTURES / 'hcn.xyz'},0\nsn2,{STRUCTURES / 'sn2.xyz'},-1\n"
    )
    command = ["reactions.csv", "--out", "out", *FLAGS, "--calculator", "mine.py:mine"]
    assert main(command) == 3
    assert "2 reactions, my xTB, results in out" in capsys.readouterr().out
    rows = results(here / "out")
    assert rows["hcn"]["verdict"] == "intended"
    assert rows["hcn"]["level_of_theory"] == "my xTB"
    assert "my xTB has no answer for Cl, Br (it knows H, C, N, O)" in rows["sn2"]["reason"]
    before = (here / "out" / "hcn" / "result.json").read_bytes()

    (here / "elsewhere").mkdir()
    (here / "mine.py").rename(here / "elsewhere" / "same.py")
    assert main([*command[:-1], "elsewhere/same.py:mine"]) == 3  # the same code is the same one
    assert (here / "out" / "hcn" / "result.json").read_bytes() == before
    (here / "mine.py").write_text(FILE.replace("GFN1", "GFN2"))
    assert main(command) == 2
    assert "the weights or the code of the calculator have changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.py:ours", "there is no ours to call in mine.py; it has mine, undescribed, broken"),
        ("mine.py:calculator_factory2", "there is no calculator_factory2 to call"),
        ("mine.py", "unknown calculator 'mine.py'"),
        ("mine.py:", "is not MODULE:FACTORY or FILE.py:FACTORY"),
        ("their.py:mine", "there is no file .*their.py"),
        ("mine:mine", "no Python module mine; for the file mine.py here write 'mine.py:FACTORY'"),
        ("no.such:thing", "there is no Python module no"),
        ("mine.py:broken", "'everything', not a horm_calc.Capabilities"),
        ("typo.py:mine", r"typo.py cannot be imported: line 2: SyntaxError"),
        ("lacks.py:mine", r"lacks.py cannot be imported: line 2: ModuleNotFoundError: .*'mace'"),
        ("gfn2_xtb", "did you mean 'gfn2-xtb'"),
    ],
)
def test_what_is_no_calculator(here: Path, name: str, message: str) -> None:
    (here / "typo.py").write_text("x = 1\ndef mine(:\n")
    (here / "lacks.py").write_text("x = 1\nimport mace\n")
    with pytest.raises(SettingsError, match=message):
        calculators.entry(name)


def test_a_file_of_settings_runs_no_code(here: Path, capsys: pytest.CaptureFixture) -> None:
    (here / "settings.yaml").write_text("calculator: mine.py:mine\n")
    command = [str(STRUCTURES / "hcn.xyz"), "--out", "out", "--config", "settings.yaml"]
    assert main(command) == 2
    assert "which a file of settings must not run; write --calculator" in capsys.readouterr().err


def test_a_factory_that_raises_costs_its_reaction(here: Path) -> None:
    def fails(charge: int, multiplicity: int) -> None:
        raise RuntimeError("no licence")

    hcn = Reaction("hcn", *read(STRUCTURES / "hcn.xyz", ":"))
    [row] = run_batch([hcn], here / "out", fails)
    assert row.verdict == "failed"
    assert "no licence" in row.reason


def test_a_factory_without_a_module_in_worker_processes(tmp_path: Path) -> None:
    """As functions of a notebook are; a level that nobody names has the name of its factory."""

    def leps(charge: int, multiplicity: int) -> LEPS:
        return LEPS()

    [row] = run_batch([EXCHANGE], tmp_path / "out", leps, settings=QUICK)
    assert row.level_of_theory.endswith("leps")
    assert row.verdict == "intended"


def test_what_cannot_travel_is_refused(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(SettingsError, match="cannot be sent to the worker processes"):
        run_batch([], tmp_path / "out", lambda charge, multiplicity: lock)
    with pytest.raises(SettingsError, match="a name or a factory"):
        run_batch([], tmp_path / "out", LEPS())  # type: ignore[arg-type]


def test_an_installed_package(tmp_path: Path) -> None:
    """The example package, installed for a Python of its own, offers its calculator by name."""
    target = tmp_path / "site"
    source = tmp_path / "own_calculator"  # building leaves files behind
    shutil.copytree(EXAMPLES / "own_calculator", source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True, capture_output=True)
    path = os.pathsep.join([str(target), str(REPOSITORY)])
    command = [sys.executable, "-m", "reactbench_runner.commands.tssearch"]
    command += [str(STRUCTURES / "hcn.xyz"), "--out", "out", "--calculator", "morse", *FLAGS]
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Morse" in done.stdout, done.stderr
    assert results(tmp_path / "out")["hcn"]["level_of_theory"].startswith("Morse")


def test_capabilities_are_those_of_the_methods() -> None:
    class Plain:
        pass

    class Full:
        capabilities = Capabilities(elements=frozenset({1}), charges=frozenset({0, -1}))

        def get_hessian(self, atoms: Atoms) -> np.ndarray:
            return np.zeros((3, 3))

    assert capabilities_of(Plain()) == Capabilities()
    full = capabilities_of(Full())
    assert (full.hessians, full.batches) == (True, False)
    assert full.refusal([1, 1], 0, 1) == ""
    assert full.refusal([1, 1], -1, 2) == ""
    assert full.refusal([1, 6], 1, 1) == "C (it knows H); charge +1 (it knows -1, 0)"
    with pytest.raises(ValueError, match="no element has the symbol Xx"):
        calculator_factory(elements="H Xx")


def test_a_search_asks_the_calculator_what_it_knows() -> None:
    class Only(LEPS):
        capabilities = Capabilities(elements=frozenset({6}))

    result = search(EXCHANGE, Only())
    assert (result.verdict.stage, result.costs) == ("input", {})
    assert "no answer for H (it knows C)" in result.verdict.reason


def test_a_missing_program_is_named_before_anything_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)  # as if it were not installed
    with pytest.raises(SettingsError, match=r"'wb97x' needs pyscf.*\[label\]"):
        calculators.entry("wb97x")


def test_wb97x_is_an_entry_like_any_other() -> None:
    entry = calculators.entry("wb97x")
    assert entry.level_of_theory == "ωB97X/6-31G(d) (PySCF)"
    assert "no answer for Br" in entry.refusal(Reaction("a", Atoms("HBr"), Atoms("HBr")))
    assert capabilities_of(entry.build(-1, 2)).hessians
