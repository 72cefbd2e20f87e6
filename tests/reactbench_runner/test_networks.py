"""Networks as `--calculator horm:...`."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from ase.io import write

from horm_calc.checkpoints.files import save
from horm_calc.configuration import SettingsError
from horm_calc.models.leftnet.network import LEFTNet
from reactbench_runner import calculators
from reactbench_runner.batch import run_batch
from reactbench_runner.calculators import networks
from reactbench_runner.execution.workers import RunSpec, search_one, workers_of
from tests.places import STRUCTURES
from tests.reactbench_runner.calling import call, refused
from workflows.records import Reaction
from workflows.settings import SearchSettings

FAST_FLAGS = ["--path.method", "geodesic", "--attempts", "1"]

#: Loose, because random weights make no chemistry: what counts is that the stages run.
LOOSE = [
    *("--path.method", "geodesic", "--attempts", "1", "--irc.max_steps", "5"),
    *("--endpoints.max_force", "2", "--saddle.max_force", "2"),
]


def network(path: Path, seed: int = 0) -> Path:
    """A checkpoint of a tiny network with random weights."""
    torch.manual_seed(seed)
    made = LEFTNet(layers=1, channels=8, radial=8)
    save(path, made.state_dict(), {"name": "LEFTNet"}, {})
    return path


def test_a_run_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    network(tmp_path / "tiny.safetensors")
    chloride = molecule("CH3Cl")
    other = chloride.copy()
    other.positions[0] += 0.1
    write(tmp_path / "chloride.xyz", [chloride, other])
    (tmp_path / "reactions.csv").write_text(
        "id,reaction,charge\n"
        f"hcn,{STRUCTURES / 'hcn.xyz'},0\n"
        f"sn2,{STRUCTURES / 'sn2.xyz'},-1\n"
        "chloride,chloride.xyz,0\n"
    )
    command = ["reactions.csv", "--out", "out", *LOOSE, "--calculator"]
    assert call(*command, "horm:tiny.safetensors") == 3  # networks cannot search two of them
    assert "LEFTNet 'tiny' trained on ωB97X/6-31G(d)" in capsys.readouterr().out

    with (tmp_path / "out" / "results.csv").open(newline="") as f:
        rows = {row["id"]: row for row in csv.DictReader(f)}
    assert rows["hcn"]["verdict"] != "intended"
    assert rows["hcn"]["stage"] in ("saddle", "irc", "irc ends", "verdict")
    assert rows["hcn"]["reason"]
    # In single precision and along other directions, but these are its forces' derivatives.
    assert float(rows["hcn"]["curvature_error_ev_per_a2"]) < 0.1
    assert "Hessian" not in rows["hcn"]["warnings"]
    assert rows["sn2"]["stage"] == "input"
    assert (
        "has no answer for Cl, Br (it knows H, C, N, O); charge -1 (it knows 0); search"
        in rows["sn2"]["reason"]
    )
    assert rows["chloride"]["stage"] == "input"
    assert "no answer for Cl (it knows H, C, N, O); search" in rows["chloride"]["reason"]

    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["calculator"] == f"horm:{tmp_path / 'tiny.safetensors'}"
    assert run["identity"]["architecture"] == "LEFTNet"
    assert run["identity"]["hessian"] == "exact"
    assert len(run["identity"]["sha256"]) == 64

    # The same weights elsewhere go on with the run; others do not.
    (tmp_path / "moved").mkdir()
    (tmp_path / "tiny.safetensors").rename(tmp_path / "moved" / "same.safetensors")
    assert call(*command, "horm:moved/same.safetensors") == 3
    network(tmp_path / "tiny.safetensors", seed=1)
    networks.network_entry.cache_clear()  # as in a new process
    assert call(*command, "horm:tiny.safetensors") == 2
    assert (
        "the weights or the code of the calculator have changed (SHA-256 "
        in capsys.readouterr().err
    )


def test_without_a_calculator_it_is_the_network_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "reactions.csv", tmp_path / "out"
    source.write_text(f"id,reaction\nhcn,{STRUCTURES / 'hcn.xyz'}\n")
    assert call(source, "--out", out, *FAST_FLAGS) == 0
    level = "MomentNet 'horm-mini' trained on ωB97X/6-31G(d)"
    run = json.loads((out / "run.json").read_text("utf-8"))
    assert (run["level_of_theory"], run["identity"]["architecture"]) == (level, "MomentNet")
    with (out / "results.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["verdict"], row["level_of_theory"]) == ("intended", level)
    printed = " ".join(capsys.readouterr().out.split())
    # Before the search, below the table, and with how far it is from DFT.
    assert printed.count(level) == 3
    assert f"{level}: barriers deviate from" in printed
    # A folder that another calculator has begun says how to go on with it.
    error = refused(capsys, source, "--out", out, "--calculator", "gfn2-xtb", *FAST_FLAGS)
    assert "calculator: horm:horm-mini there, gfn2-xtb now" in error
    assert "go on with --calculator horm:horm-mini\n" in f"{error}\n"
    assert "sha256" not in error


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("horm:", "eqv2"),
        ("horm:eqv3", "did you mean eqv2"),
        ("eqv2", "did you mean 'horm:eqv2'"),
        ("horm-eqv2", "did you mean 'horm:eqv2'"),
        ("horm:nowhere/my.ckpt", "no file nowhere/my.ckpt"),
        ("horm:damaged.ckpt", "a web page"),
    ],
)
def test_what_cannot_be_had_is_known_before_anything_runs(
    name: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("damaged.ckpt").write_text("<html>Not found</html>")
    Path("reactions.csv").write_text(f"id,reaction\nhcn,{STRUCTURES / 'hcn.xyz'}\n")
    error = refused(capsys, "reactions.csv", "--out", "out", "--calculator", name)
    assert message in error
    assert len(error.splitlines()) == 1
    assert not Path("out").exists()
    with pytest.raises(SettingsError):
        run_batch([], tmp_path / "out", name)


def test_a_published_name_is_found_once_and_travels_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = network(tmp_path / "left.safetensors")
    monkeypatch.setenv("HORM_CHECKPOINTS", str(tmp_path))
    assert calculators.entry("horm:left").name == f"horm:{file}"
    monkeypatch.setenv("HORM_CHECKPOINTS", str(file))
    with pytest.raises(SettingsError, match="HORM_CHECKPOINTS"):
        calculators.entry("horm:left")


@pytest.mark.parametrize(
    ("formula", "charge", "multiplicity", "message"),
    [
        ("OH", -1, 1, "no answer for charge -1 (it knows 0); search"),
        ("O2", 0, 3, "no answer for multiplicity 3 (it knows 1); search"),
        ("SiH4", 0, 1, "no answer for Si (it knows H, C, N, O); search this reaction with another"),
        ("H2O", 1, 1, "do not go together"),
    ],
)
def test_what_networks_do_not_know_is_told_before_the_search(
    tmp_path: Path, formula: str, charge: int, multiplicity: int, message: str
) -> None:
    name = f"horm:{network(tmp_path / 'tiny.safetensors')}"
    ends = molecule(formula), molecule(formula)
    for atoms in ends:
        atoms.set_initial_magnetic_moments(None)  # which say something of the multiplicity too
    result = search_one(
        Reaction("a", *ends, charge=charge, multiplicity=multiplicity),
        RunSpec(name, SearchSettings()),
    )
    assert (result.verdict.stage, result.costs) == ("input", {})
    assert message in result.verdict.reason


def test_weights_are_loaded_once_for_all_threads(tmp_path: Path) -> None:
    """They share the calculator, which keeps what each has computed apart."""
    name = f"horm:{network(tmp_path / 'tiny.safetensors')}"
    first = calculators.build(name)
    assert calculators.build(name) is first
    found = []
    thread = threading.Thread(target=lambda: found.append(calculators.build(name)))
    thread.start()
    thread.join()
    assert found[0] is first


def threads(task: str) -> int:
    return torch.get_num_threads()


def test_a_worker_uses_one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    spec = RunSpec("gfn2-xtb", SearchSettings())
    with workers_of(1, None, spec, print) as pool:
        assert list(pool(threads, ["a"])) == [("a", 1)]


def test_several_searches_under_way_in_a_worker(tmp_path: Path) -> None:
    """With a reaction among them that the network refuses; alone the barriers are the same."""
    names = ("hcn", "vinyl_alcohol", "sn2")
    table = tmp_path / "reactions.csv"
    rows = [f"{name},{STRUCTURES / name}.xyz,{-1 if name == 'sn2' else 0}" for name in names]
    table.write_text("\n".join(["id,reaction,charge", *rows]))
    barriers = []
    for out, flags in (("alone", []), ("together", ["--in-flight", "3"])):
        command = [str(table), "--out", str(tmp_path / out), *flags]
        assert call(*command) == 3  # one has a charge
        with (tmp_path / out / "results.csv").open() as f:
            found = {row["id"]: row for row in csv.DictReader(f)}
        assert [found[name]["verdict"] for name in names] == ["intended", "intended", "failed"]
        assert "charge -1" in found["sn2"]["reason"]
        barriers.append([float(found[name]["barrier_kcal_per_mol"]) for name in names[:2]])
    assert barriers[1] == pytest.approx(barriers[0], abs=0.02)
