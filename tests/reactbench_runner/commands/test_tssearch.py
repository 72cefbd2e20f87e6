"""The command as a user calls it, right and wrong."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from reactbench_runner.commands import tssearch as cli
from reactbench_runner.execution import cluster
from tests.places import REPOSITORY, STRUCTURES
from tests.reactbench_runner.calling import call, refused


def table(folder: Path, *lines: str) -> Path:
    path = folder / "reactions.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_help_teaches_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        call("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for expected in ("--path.images", "eV/Å", "cm⁻¹", "reactions.csv", "gfn2-xtb", "to resume"):
        assert expected in text


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from reactbench_runner.commands.tssearch import _parser\n"
        "_parser().format_help(); "
        "heavy = {'pysisyphus', 'torch', 'jax', 'sella', 'geometric', 'tblite', 'distributed'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv", "--out", "out"], "nowhere.csv"),
        (["reactions.csv", "--out", "out", "--calculator", "gfn3-xtb"], "did you mean 'gfn"),
        (["reactions.csv", "--out", "out", "--config", "no.yaml"], "no.yaml"),
        (["reactions.csv", "--out", "out", "--config", "typo.yaml"], "did you mean 'path.images'"),
        (["reactions.csv", "--out", "out", "--config", "broken.yaml"], "not valid YAML"),
        (["reactions.csv", "--out", "out", "--config", "list.yaml"], "list.yaml needs a name"),
        (["reactions.csv", "--out", "out", "--config", "name.yaml"], "did you mean 'calculator'?"),
        (["reactions.csv", "--out", "out", "--config", "none.yaml"], "'workers' in none.yaml is 0"),
        (["reactions.csv", "--out", "out", "--saddle.max_force", "-1"], "max_force"),
        (["reactions.csv", "--out", "full"], "not empty"),
        (["reactions.csv", "--out", "typo.yaml"], "typo.yaml is a file; --out needs a folder"),
        (["reactions.csv", "--out", "out", "--dask", "tcp://127.0.0.1:9"], "127.0.0.1:9"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    write(tmp_path / "a.xyz", [molecule("H2O"), molecule("H2O")])
    table(tmp_path, "id,reaction", "a,a.xyz")
    (tmp_path / "typo.yaml").write_text("path: {imagse: 9}\n")
    (tmp_path / "name.yaml").write_text("calculatr: gfn2-xtb\n")
    (tmp_path / "none.yaml").write_text("workers: 0\n")
    (tmp_path / "broken.yaml").write_text("path: {images: 9\n")
    (tmp_path / "list.yaml").write_text("calculator: [gfn2-xtb]\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert message in refused(capsys, *arguments)


def test_wrong_reactions_do_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    water, ammonia = molecule("H2O"), molecule("NH3")
    near = water.copy()
    near.positions[1] = near.positions[2] + 0.01
    structures = {
        "other_atoms": [water, ammonia],
        "other_order": [water, water[[1, 0, 2]]],
        "coinciding": [near, water],
        "one_atom": [molecule("H2O")[:1], molecule("H2O")[:1]],
        "parity": [water, water],
        "one_frame": [water],
    }
    for name, frames in structures.items():
        write(tmp_path / f"{name}.xyz", frames)
    (tmp_path / "nan.xyz").write_text("2\n\nH 0 0 nan\nH 0 0 1\n2\n\nH 0 0 0\nH 0 0 1\n")
    (tmp_path / "element.xyz").write_text("1\n\nXq 0 0 0\n1\n\nXq 0 0 0\n")
    expected = {
        "other_atoms": "same atoms",
        "other_order": "atom order differs",
        "coinciding": "coincide",
        "one_atom": "at least two",
        "parity": "do not go together",
        "one_frame": "frame",
        "nan": "line 3 is 'H 0 0 nan'",
        "element": "element",
        "missing": "missing.xyz",
    }
    lines = [f"{name},{name}.xyz,{1 if name == 'parity' else 0}" for name in expected]
    source = table(tmp_path, "id,reaction,charge", *lines)
    assert call(source, "--out", tmp_path / "out") == 3
    with (tmp_path / "out" / "results.csv").open(newline="") as f:
        rows = {row["id"]: row for row in csv.DictReader(f)}
    assert {row["verdict"] for row in rows.values()} == {"failed"}
    for name, message in expected.items():
        assert rows[name]["stage"] == "input", name
        assert message in rows[name]["reason"], (name, rows[name]["reason"])
    assert "0 of 9 intended, 9 failed" in capsys.readouterr().out


def test_flags_go_before_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        "calculator: gfn1-xtb\nworkers: 3\npath: {method: neb, images: 9}\nattempts: 1\n"
    )
    options = cli._parser().parse_args(
        ["r.csv", "--out", "o", "--config", str(config), "--path.images", "5"]
    )
    run, settings = cli._configuration(options)
    assert run == {"calculator": "gfn1-xtb", "verify": None, "workers": 3, "solvent": ""}
    assert (settings.path.method, settings.path.images, settings.attempts) == ("neb", 5, 1)
    assert settings.saddle.method == "trim"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.xyz", "--out", "o", "--calculater", "x"], "--calculater; did you mean --calculator?"),
        (
            ["a.xyz", "--out", "o", "--path.metod=neb"],
            "--path.metod=neb; did you mean --path.method?",
        ),
        (["a.xyz", "b.xyz", "--out", "o"], "unexpected argument 'b.xyz'"),
        (["a.xyz", "--out", "o", "--zzz"], "unknown option --zzz\n"),
    ],
)
def test_misspelt_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_checks_everything_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "water.xyz", [molecule("H2O"), molecule("H2O")])
    (tmp_path / "empty.xyz").write_text("")
    table(
        tmp_path,
        "id,reaction,charge,multiplicity",
        f"hcn,{STRUCTURES / 'hcn.xyz'},,",
        "odd,water.xyz,0,2",
        "empty,empty.xyz,,",
        f"sn2,{STRUCTURES / 'sn2.xyz'},-1,",
    )
    assert call("reactions.csv", "--out", "out", "--dry-run") == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "odd: charge 0 and multiplicity 2 do not go together" in said
    assert "empty.xyz cannot be read: it is empty" in said
    assert "has no answer for Cl, Br" in said
    assert "1 of 4 would run with MomentNet 'horm-mini'" in said
    assert "per reaction" in said
    assert not (tmp_path / "out").exists()
    write(tmp_path / "one.xyz", read(STRUCTURES / "hcn.xyz", ":"))
    assert call("one.xyz", "--out", "out/below", "--dry-run", "--calculator", "gfn2-xtb") == 0
    assert not (tmp_path / "out").exists()
    assert call("one.xyz", "--out", "empty.xyz/below", "--dry-run") == 2
    assert "empty.xyz/below lies below a file" in capsys.readouterr().err


def test_a_large_molecule_is_told_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chain = Atoms("H102", np.c_[np.arange(102.0), np.zeros((102, 2))])
    write(tmp_path / "chain.xyz", [chain, chain])
    call("chain.xyz", "--out", "out", "--calculator", "gfn2-xtb", "--endpoints.wall_time", "1")
    assert "chain: more than 100 atoms" in capsys.readouterr().out
