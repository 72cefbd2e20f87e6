"""`--verify NAME`: transition states of one level held against another, as a user does it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from ase.io import read

from reactbench_runner import batch
from reactbench_runner.batch import run_batch
from reactbench_runner.commands import tssearch as cli
from reactbench_runner.execution import workers
from reactbench_runner.execution.workers import RunSpec, search_one
from reactbench_runner.report.table import remarks
from reactbench_runner.storage import store
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.table import COLUMNS
from tests.places import STRUCTURES
from tests.reactbench_runner import lethal
from tests.reactbench_runner.calling import call, refused
from tests.reactbench_runner.test_networks import network
from workflows.records import Reaction, SearchResult
from workflows.settings import from_mapping

FLAGS = ["--path.method", "geodesic", "--attempts", "1"]
FAST = from_mapping({"path": {"method": "geodesic"}, "attempts": 1})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "reactions.csv"
    path.write_text(f"id,reaction\nhcn,{STRUCTURES / 'hcn.xyz'}\n")
    return path


def rows_in(out: Path) -> dict[str, dict[str, str]]:
    with (out / "results.csv").open(newline="") as f:
        return {row["id"]: row for row in csv.DictReader(f)}


@pytest.fixture(scope="module")
def fast(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GFN1-xTB in the place of a network, GFN2-xTB as the level to be trusted."""
    out = tmp_path_factory.mktemp("fast") / "out"
    assert (
        call(table, "--out", out, *FLAGS, "--calculator", "gfn1-xtb", "--verify", "gfn2-xtb") == 0
    )
    return out


@pytest.fixture(scope="module")
def direct(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The search at the trusted level itself."""
    out = tmp_path_factory.mktemp("direct") / "out"
    assert call(table, "--out", out, *FLAGS, "--calculator", "gfn2-xtb") == 0
    return out


def test_it_is_what_a_search_at_that_level_finds(fast: Path, direct: Path) -> None:
    row, other = rows_in(fast)["hcn"], rows_in(direct)["hcn"]
    assert row["verdict"] == "intended"
    assert row["verify_level"] == "GFN2-xTB (tblite)"
    assert row["verify_converged"] == "True"
    assert row["verify_reason"] == ""
    verified, found = (read(out / "hcn" / name) for out, name in (
        (fast, "ts_verified.xyz"), (direct, "ts.xyz"),
    ))  # fmt: skip
    # Distances do not know how a molecule lies. 0.01 Å, as forces of 0.02 eV/Å leave less.
    distances = verified.get_all_distances() - found.get_all_distances()
    assert np.abs(distances).max() < 0.01
    # To the square of the forces, kcal/mol.
    for column in ("barrier", "reverse_barrier", "reaction_energy"):
        assert float(row[f"verify_{column}_kcal_per_mol"]) == pytest.approx(
            float(other[f"{column}_kcal_per_mol"]), abs=0.05
        )
    assert float(row["verify_imaginary_frequency_cm1"]) == pytest.approx(
        float(other["imaginary_frequency_cm1"]), abs=5
    )
    assert row["verify_imaginary_modes"] == "1"
    # And not what it was at the other level, from which it started.
    assert abs(float(row["barrier_kcal_per_mol"]) - float(other["barrier_kcal_per_mol"])) > 5
    assert 0.01 < float(row["verify_ts_rmsd_a"]) < 0.1
    assert float(row["verify_mode_overlap"]) > 0.9


def test_it_costs_less_than_the_search_and_is_not_part_of_its_cost(fast: Path) -> None:
    row = rows_in(fast)["hcn"]
    assert 18 < int(row["verify_gradients"]) < int(row["gradients"])
    stages = [name for name in COLUMNS if name.endswith("_gradients") and "verify" not in name]
    assert int(row["gradients"]) == sum(int(row[name]) for name in stages)


def test_structures_and_log_are_kept(fast: Path, direct: Path) -> None:
    with connect(fast / "results.db") as database:
        roles = {row.role: row for row in database.select(reaction="hcn")}
    assert {role for role in roles if role.startswith("verify")} == {
        "verify_reactant",
        "verify_transition_state",
        "verify_product",
    }
    saddle = roles["verify_transition_state"]
    assert np.sum(np.asarray(saddle.data["frequencies_cm1"]) < -20) == 1
    row = rows_in(fast)["hcn"]
    assert saddle.energy == pytest.approx(float(row["verify_ts_energy_ev"]), abs=1e-6)
    log = (fast / "hcn" / "log.txt").read_text()
    assert "===== verification =====" in log
    # Which level of theory a file is of can be seen in the file itself.
    level, verified = (rows_in(fast)["hcn"][name] for name in ("level_of_theory", "verify_level"))
    assert level != verified
    assert log.startswith(f"{level}, verified with {verified}\n")
    for name, expected in (
        ("path", level),
        ("ts", level),
        ("irc", level),
        ("ts_verified", verified),
    ):
        assert read(fast / "hcn" / f"{name}.xyz").info["level_of_theory"] == expected
    assert {role: row.level_of_theory for role, row in roles.items()} == {
        role: verified if role.startswith("verify") else level for role in roles
    }
    assert not (direct / "hcn" / "ts_verified.xyz").exists()
    assert {rows_in(direct)["hcn"][name] for name in COLUMNS if name.startswith("verify")} == {""}


def test_the_same_command_goes_on_and_prints_the_comparison(
    fast: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch, "workers_of", lambda *_: pytest.fail("nothing is left to run"))
    again = [table, "--out", fast, *FLAGS, "--calculator", "gfn1-xtb"]
    assert call(*again, "--verify", "gfn2-xtb") == 0
    text = " ".join(capsys.readouterr().out.split())
    row = rows_in(fast)["hcn"]
    barriers = [float(row[f"{prefix}barrier_kcal_per_mol"]) for prefix in ("", "verify_")]
    assert "GFN1-xTB (tblite) verified with GFN2-xTB (tblite)" in text
    assert "ΔE‡*" in text
    assert "ΔG‡*" in text
    assert f"{barriers[1]:.1f}" in text
    assert f"median RMSD {float(row['verify_ts_rmsd_a']):.3f} Å" in text
    assert f"{abs(barriers[1] - barriers[0]):.2f} kcal/mol" in text
    # A run that is verified stays so, and at one level.
    assert "verify: gfn2-xtb there, None now" in refused(capsys, *again)
    assert "verify: gfn2-xtb there, horm:" in refused(capsys, *again, "--verify", "horm:horm-mini")


@pytest.fixture(scope="module")
def unverified(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unverified") / "out"
    assert call(table, "--out", out, *FLAGS, "--calculator", "gfn1-xtb") == 0
    return out


def to_verify(unverified: Path, table: Path, folder: Path) -> tuple[Path, list[object]]:
    """A copy of the run, and the command that verifies it."""
    out = folder / "out"
    shutil.copytree(unverified, out)
    flags = [*FLAGS, "--calculator", "gfn1-xtb", "--verify", "gfn2-xtb"]
    return out, [table, "--out", out, *flags]


def test_a_finished_run_is_verified_later(
    unverified: Path, fast: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new search, and as if it had been asked for from the beginning."""
    out, again = to_verify(unverified, table, tmp_path)
    assert call(*again) == 0
    before, now, both = (rows_in(path)["hcn"] for path in (unverified, out, fast))
    searched = [name for name in COLUMNS if not name.startswith("verify")]
    assert {name: now[name] for name in searched} == {name: before[name] for name in searched}
    assert now["verify_converged"] == "True"
    for name in COLUMNS:
        if name.startswith("verify") and name != "verify_seconds":
            assert now[name] == both[name], name
    for name in ("ts.xyz", "path.xyz", "irc.xyz"):
        assert (out / "hcn" / name).read_bytes() == (unverified / "hcn" / name).read_bytes()
    assert read(out / "hcn" / "ts_verified.xyz").info["level_of_theory"] == now["verify_level"]
    log, first = ((path / "hcn" / "log.txt").read_text() for path in (out, unverified))
    assert log.startswith(first)
    assert "===== verification =====" in log.removeprefix(first)
    # The run of the copy has the name of the original, and each database one set of structures.
    with connect(out / "results.db") as database, connect(fast / "results.db") as other:
        levels = [
            sorted((row.role, row.level_of_theory) for row in one.select())
            for one in (database, other)
        ]
    assert levels[0] == levels[1]
    described = json.loads((out / "run.json").read_text())
    assert described["verify"] == "gfn2-xtb"
    assert described["verify_level_of_theory"] == now["verify_level"]
    # And now it is finished.
    monkeypatch.setattr(batch, "workers_of", lambda *_: pytest.fail("nothing is left to run"))
    assert call(*again) == 0
    assert rows_in(out)["hcn"] == now


def test_a_disk_that_fills_up_while_verifying_later_loses_nothing(
    unverified: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, again = to_verify(unverified, table, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write_verification", full)
        assert call(*again) == 1
    row = rows_in(out)["hcn"]
    assert row["verdict"] == "intended"
    assert row["verify_converged"] == ""
    assert call(*again) == 0
    assert rows_in(out)["hcn"]["verify_converged"] == "True"


def test_what_a_later_verification_needs_is_named(
    unverified: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = to_verify(unverified, table, tmp_path)
    (out / "results.db").unlink()
    (out / "hcn" / "structures.json").unlink()
    said = refused(capsys, *again)
    assert "neither its folder nor the database holds its 'reactant'" in said
    assert "--db" in said
    assert call(*again, "--db", unverified / "results.db") == 0
    assert rows_in(out)["hcn"]["verify_converged"] == "True"


def test_a_run_of_before_there_was_verification_goes_on(
    direct: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run.json and its rows have no such entries."""
    out = tmp_path / "old"
    shutil.copytree(direct, out)
    for path in (out / "run.json", out / "hcn" / "result.json"):
        old = json.loads(path.read_text())
        kept = {key: value for key, value in old.items() if not key.startswith("verify")}
        if path.name == "result.json":
            del kept["level_of_theory"]
        path.write_text(json.dumps(kept))
    assert call(table, "--out", out, *FLAGS, "--calculator", "gfn2-xtb") == 0
    printed = capsys.readouterr().out
    assert "1 of 1 intended" in printed
    assert "GFN2-xTB (tblite); energies in" in " ".join(printed.split())
    assert rows_in(out)["hcn"]["level_of_theory"] == "GFN2-xTB (tblite)"


def test_wrong_levels_are_known_before_anything_runs(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tiny, copy = network(tmp_path / "tiny.safetensors"), tmp_path / "copy.safetensors"
    shutil.copy(tiny, copy)
    charged = tmp_path / "charged.csv"
    charged.write_text(f"id,reaction,charge\nsn2,{STRUCTURES / 'sn2.xyz'},-1\n")
    cases = [
        (table, "gfn2-xtb", "gfn2-xtb", "calculator of the search itself"),
        (table, f"horm:{tiny}", f"horm:{copy}", "calculator of the search itself"),
        (table, "gfn1-xtb", "gfn2xtb", "did you mean 'gfn2-xtb'"),
        (table, "gfn1-xtb", "horm:nowhere.ckpt", "neither a file nor a published"),
        (
            charged,
            "gfn1-xtb",
            f"horm:{tiny}",
            "cannot verify sn2 (Cl, Br (it knows",
        ),
    ]
    for reactions, calculator, level, message in cases:
        error = refused(
            capsys, reactions, "--out", out, "--calculator", calculator, "--verify", level
        )
        assert message in error, error
        assert not out.exists()


def test_what_the_search_cannot_do_either_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """The reaction fails at its own level, as it does without verification."""
    levels = [f"horm:{network(tmp_path / f'{seed}.safetensors', seed)}" for seed in (0, 1)]
    sn2 = Reaction("sn2", *read(STRUCTURES / "sn2.xyz", ":"), charge=-1)
    [row] = run_batch([sn2], tmp_path / "out", levels[0], settings=FAST, verify=levels[1])
    assert row.stage == "input"
    assert row.verify_converged is None


@pytest.fixture(scope="module")
def searched() -> SearchResult:
    hcn = Reaction("hcn", *read(STRUCTURES / "hcn.xyz", ":"))
    return search_one(hcn, RunSpec("gfn2-xtb", FAST))


def test_a_network_that_knows_nothing_does_not_change_the_verdict(
    searched: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are random, so that it has no such saddle."""
    monkeypatch.setattr(workers, "search", lambda *_, **__: searched)  # not once more
    level = f"horm:{network(tmp_path / 'tiny.safetensors')}"
    row = to_row(search_one(searched.reaction, RunSpec("gfn2-xtb", FAST, level)))
    assert row.verdict == "intended"
    assert row.reason == ""
    assert row.verify_converged is False
    assert row.verify_reason
    assert row.verify_barrier_kcal_per_mol is None
    assert row.verify_ts_rmsd_a is None
    assert row.verify_gradients > 0
    assert remarks([row]) == [f"hcn: not verified: {row.verify_reason}"]


def test_a_bug_in_a_verification_costs_that_alone(
    searched: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "search", lambda *_, **__: searched)
    monkeypatch.setattr(workers, "verify_saddle", lambda *_, **__: 1 / 0)
    row = to_row(search_one(searched.reaction, RunSpec("gfn2-xtb", FAST, "gfn1-xtb")))
    assert row.verdict == "intended"
    assert "unexpected ZeroDivisionError" in row.verify_reason


def test_a_worker_that_dies_while_it_verifies_does_not_take_the_search_along(
    searched: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_work", lethal.verify_never)
    reactions = [searched.reaction]
    [row] = run_batch(reactions, tmp_path / "out", "gfn2-xtb", settings=FAST, verify="gfn1-xtb")
    assert row.verdict == "intended"
    assert row.verify_converged is False
    assert "worker process died twice while it verified" in row.verify_reason
    assert not (tmp_path / "out" / "hcn" / "ts_verified.xyz").exists()


def test_the_flag_goes_before_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("calculator: horm:eqv2\nverify: gfn1-xtb\n")
    command = ["r.csv", "--out", "o", "--config", str(config)]
    for flags, level in ([], "gfn1-xtb"), (["--verify", "gfn2-xtb"], "gfn2-xtb"):
        run, _ = cli._configuration(cli._parser().parse_args([*command, *flags]))
        assert (run["calculator"], run["verify"]) == ("horm:eqv2", level)
