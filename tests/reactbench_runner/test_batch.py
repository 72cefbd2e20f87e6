"""Many reactions: nothing finished is lost, whatever happens."""

from __future__ import annotations

import csv
import errno
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from ase.io import read

from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.configuration import SettingsError
from reactbench_runner import batch
from reactbench_runner.batch import run_batch
from reactbench_runner.errors import StorageError
from reactbench_runner.execution import workers
from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.storage import database, run_folder, store
from reactbench_runner.storage.database import database_name
from reactbench_runner.storage.rows import ResultRow
from tests.places import REPOSITORY
from tests.reactbench_runner import lethal
from workflows.errors import InputError
from workflows.records import Reaction
from workflows.settings import SearchSettings, from_mapping
from workflows.stage_names import Stage

#: Cheap and still real: HCN has one small saddle that all methods find.
FAST = from_mapping(
    {
        "path": {"method": "neb", "images": 5},
        "saddle": {"hessian_every": 3},
        "irc": {"step_length": 0.8},
        "lower_path": {"steps": 0},
        "attempts": 1,
    }
)


def hcn(identifier: str = "hcn", **more: int) -> Reaction:
    reactant = Atoms("HCN", [[-1.07, 0, 0], [0, 0, 0], [1.15, 0, 0]])
    product = Atoms("HCN", [[2.15, 0, 0], [0, 0, 0], [1.17, 0, 0]])
    # A bent start, so that the path does not run through the linear maximum.
    reactant.positions[0, 1] = product.positions[0, 1] = 0.3
    return Reaction(identifier, reactant, product, **more)


def run(reactions: list, out: Path, **options):
    return run_batch(reactions, out, "gfn2-xtb", **{"settings": FAST} | options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """One run with a good, an unreadable and an impossible reaction."""
    out = tmp_path_factory.mktemp("run") / "out"
    impossible = hcn("radical", multiplicity=2)
    rows = run([hcn(), Unreadable("gone", "reactions.csv, line 3: no file"), impossible], out)
    return out, {row.id: row for row in rows}


def test_the_good_one_is_intended_and_the_others_say_why(finished) -> None:
    _, rows = finished
    assert rows["hcn"].verdict == "intended"
    assert rows["hcn"].imaginary_modes == 1
    assert rows["hcn"].ts_max_force_ev_per_a <= FAST.saddle.max_force
    assert rows["gone"].verdict == "failed"
    assert rows["gone"].stage == "input"
    assert "line 3" in rows["gone"].reason
    assert rows["radical"].stage == "input"
    assert "multiplicity" in rows["radical"].reason


def test_energies_are_consistent(finished) -> None:
    row = finished[1]["hcn"]
    for forward, reverse, total in (
        (row.barrier_kcal_per_mol, row.reverse_barrier_kcal_per_mol,
         row.reaction_energy_kcal_per_mol),
        (row.gibbs_barrier_kcal_per_mol, row.reverse_gibbs_barrier_kcal_per_mol,
         row.reaction_gibbs_kcal_per_mol),
    ):  # fmt: skip
        assert forward - reverse == pytest.approx(total, abs=1e-9)
    assert 40 < row.barrier_kcal_per_mol < 100
    assert "298.15 K" in row.ts_thermochemistry


def test_the_irc_reuses_the_hessian_of_the_saddle(finished) -> None:
    assert finished[1]["hcn"].costs[Stage.IRC].evaluations.hessians == 0


def test_files_and_database(finished) -> None:
    out, _ = finished
    names = {path.name for path in (out / "hcn").iterdir()}
    assert names == {
        "path.xyz",
        "ts.xyz",
        "irc.xyz",
        "mode.xyz",
        "frequencies.txt",
        *(f"{name}.molden" for name in ("reactant", "ts", "product")),
        *(f"{name}.xyz" for name in ("reactant", "product")),
        "log.txt",
        "result.json",
        "structures.json",
    }
    log = (out / "hcn" / "log.txt").read_text()
    assert all(f"===== {stage} =====" in log for stage in ("endpoints", "saddle", "irc"))
    run_file = json.loads((out / "run.json").read_text())
    assert run_file["versions"]["pysisyphus"] == "1.0.0"
    assert run_file["settings"]["path"]["images"] == 5
    profile = read(out / "hcn" / "irc.xyz", ":")
    energies = [image.get_potential_energy() for image in profile]
    assert max(energies) == pytest.approx(read(out / "hcn" / "ts.xyz").get_potential_energy())
    assert max(energies) - energies[0] > 1  # eV
    assert profile[0].info["level_of_theory"] == "GFN2-xTB (tblite)"
    along = [image.info["irc_coordinate"] for image in profile]
    assert along == sorted(along)
    assert along[int(np.argmax(energies))] == 0
    for end, name in ((profile[0], "reactant"), (profile[-1], "product")):  # both are relaxed
        relaxed = read(out / "hcn" / f"{name}.xyz")
        assert end.get_potential_energy() == pytest.approx(relaxed.get_potential_energy(), abs=1e-3)
    with connect(out / "results.db") as opened:
        roles = {row.role: row for row in opened.select(reaction="hcn")}
    assert set(roles) == {"reactant", "transition_state", "product", "irc_first", "irc_last"}
    saddle = roles["transition_state"]
    assert np.abs(saddle.forces).max() <= FAST.saddle.max_force
    assert np.asarray(saddle.data["hessian_ev_per_a2"]).shape == (9, 9)
    assert np.sum(np.asarray(saddle.data["frequencies_cm1"]) < -20) == 1
    for name in ("reactant", "product"):
        hessian = np.asarray(roles[name].data["hessian_ev_per_a2"])
        modes = normal_modes(roles[name].toatoms(), hessian)
        assert modes.frequencies == pytest.approx(roles[name].data["frequencies_cm1"], abs=0.01)


def test_a_second_run_computes_nothing_anew(finished, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rows = finished
    before = (out / "hcn" / "result.json").stat().st_mtime_ns
    monkeypatch.setattr(batch, "workers_of", lambda *_: pytest.fail("nothing is left to run"))
    again = run([hcn()], out)
    assert again[0] == rows["hcn"]
    assert (out / "hcn" / "result.json").stat().st_mtime_ns == before


def test_other_settings_or_calculators_are_refused(finished) -> None:
    out, _ = finished
    with pytest.raises(InputError, match="images: 5 there, 7 now"):
        run([hcn()], out, settings=SearchSettings())
    with pytest.raises(InputError, match="gfn2-xtb there, gfn1-xtb now"):
        run_batch([hcn()], out, "gfn1-xtb", settings=FAST)


@pytest.mark.parametrize(
    "name", ["7", "007", "-1", "1e5", "1_0", "True", "false", "nan", "-inf", "a7", "#"]
)
def test_ids_that_look_like_numbers_are_found_in_the_database(name, tmp_path: Path) -> None:
    with connect(tmp_path / "some.db") as opened:
        opened.write(Atoms("H"), reaction=database_name(name))
        [row] = opened.select(reaction=database_name(name))
        assert row.reaction.removeprefix("#") == name.removeprefix("#")


def test_a_table_numbered_from_one(tmp_path: Path) -> None:
    assert run([hcn("1")], tmp_path / "out")[0].verdict == "intended"
    with connect(tmp_path / "out" / "results.db") as opened:
        assert opened.count(reaction="#1", role="transition_state") == 1


def test_two_runs_in_one_database_keep_their_structures(tmp_path: Path) -> None:
    shared = str(tmp_path / "all.db")
    for out, calculator in (("one", "gfn2-xtb"), ("two", "gfn1-xtb"), ("one", "gfn2-xtb")):
        run_batch([hcn()], tmp_path / out, calculator, settings=FAST, database=shared)
        (tmp_path / out / "hcn" / "result.json").unlink()  # as if it had not come so far
    with connect(shared) as opened:
        rows = list(opened.select(role="transition_state"))
    assert sorted(row.level_of_theory for row in rows) == [
        "GFN1-xTB (tblite)",
        "GFN2-xTB (tblite)",
    ]
    assert {row.run for row in rows} == {
        json.loads((tmp_path / out / "run.json").read_text())["run"] for out in ("one", "two")
    }


def test_two_processes_do_not_write_to_one_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([Unreadable("a", "no file")], out)
    code = (
        "import sys, pathlib, reactbench_runner.storage.run_folder as s\n"
        "with s.exclusive_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(InputError, match="another horm-tssearch is writing"):
            run([Unreadable("a", "no file")], out)
        other.kill()
    assert len(run([Unreadable("a", "no file")], out)) == 1


def test_what_an_earlier_input_found_stays_in_the_table(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([hcn(), Unreadable("a", "no file")], out)
    rows = run([Unreadable("b", "no file")], out)
    assert [row.id for row in rows] == ["b"]
    with (out / "results.csv").open() as f:
        table = {row["id"]: row["verdict"] for row in csv.DictReader(f)}
    assert table == {"b": "failed", "hcn": "intended", "a": "failed"}


def test_other_versions_are_noted_when_a_run_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    item = [Unreadable("a", "no file")]
    for _ in range(2):
        run(item, out)
    file = out / "run.json"
    before = json.loads(file.read_text())
    assert "resumed" not in before
    older = before["versions"] | {"tblite": "0.1"}
    file.write_text(json.dumps(before | {"versions": older}))
    for _ in range(2):
        run(item, out)
        after = json.loads(file.read_text())
        assert after["versions"]["tblite"] == "0.1"
        assert [again["versions"] for again in after["resumed"]] == [before["versions"]]


def test_a_reaction_that_changed_under_its_id_is_refused(finished) -> None:
    out, _ = finished
    changed = hcn()
    changed.reactant.positions[0, 1] += 0.1
    with pytest.raises(InputError, match=r"'hcn'.*changed"):
        run([changed], out)


def test_a_mended_input_is_computed(tmp_path: Path) -> None:
    rows = run([Unreadable("hcn", "no file")], tmp_path / "out")
    assert rows[0].verdict == "failed"
    assert run([hcn()], tmp_path / "out")[0].verdict == "intended"


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        run([hcn()], tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_unknown_calculator_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'gfn2-xtb'"):
        run_batch([hcn()], tmp_path / "out", "gfn2xtb")


def test_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run([hcn("first")], out)
    real = Path.write_text

    def full(self: Path, *arguments: str, **named: str) -> int:
        if self.name == "result.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments, **named)

    monkeypatch.setattr(store.Path, "write_text", full)
    with pytest.raises(StorageError, match=r"'second'.*No space left.*same command"):
        run([hcn("first"), hcn("second")], out)
    monkeypatch.undo()
    assert not (out / "second").exists()
    rows = run([hcn("first"), hcn("second")], out)
    assert [row.verdict for row in rows] == ["intended", "intended"]
    assert not list(out.glob(".unfinished*"))
    with connect(out / "results.db") as opened:  # nothing stands in it twice
        assert opened.count(reaction="second", role="transition_state") == 1


def test_a_killed_worker_costs_one_reaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_work", lethal.search_unless_lethal)
    others = [hcn(name) for name in ("b", "c")]
    rows = run([hcn("lethal"), *others], tmp_path / "out")
    assert rows[0].stage == "worker"
    assert "process died" in rows[0].reason
    assert [row.reason for row in rows[1:] if row.verdict != "intended"] == []
    monkeypatch.undo()
    # It was no fault of the reaction, so the next run tries it again.
    assert run([hcn("lethal")], tmp_path / "out")[0].verdict == "intended"


def test_a_database_that_fails_is_an_error_and_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, **options: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(database, "connect", full)
    with pytest.raises(StorageError, match="database or disk is full"):
        run([Unreadable("a", "no file")], tmp_path / "out")
    assert not (tmp_path / "out" / "a").exists()
    monkeypatch.undo()
    url = "postgresql://me:secret@127.0.0.1:1/none"
    with pytest.raises(StorageError, match=r"postgresql://me:\*\*\*@") as error:
        run([Unreadable("a", "no file")], tmp_path / "out", database=url)
    assert "secret" not in str(error.value)


def test_on_a_dask_cluster_that_already_runs(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as own:
        rows = run([hcn("a")], tmp_path / "out", dask_address=own.scheduler_address)
        assert rows[0].verdict == "intended"
        assert own.workers  # it is the user's: nobody has shut it down


def test_dask_workers_with_several_threads_are_refused(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0") as own,
        pytest.raises(InputError, match="--nthreads 1"),
    ):
        run([hcn("a")], tmp_path / "out", dask_address=own.scheduler_address)


def test_the_table_grows_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TABLE_EVERY", 0.0)
    monkeypatch.setattr(store, "TABLE_REST", 0.0)
    lines: list[int] = []

    def look(row: ResultRow) -> None:
        table = tmp_path / "out" / "results.csv"
        lines.append(len(table.read_text().splitlines()) if table.exists() else 0)

    run([Unreadable(name, "no file") for name in "abc"], tmp_path / "out", on_finished=look)
    assert lines == [2, 3, 4]  # a header and the rows


def test_a_bug_in_a_search_costs_one_reaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "search", lambda *_, **__: 1 / 0)
    result = workers.search_one(hcn(), workers.RunSpec("gfn2-xtb", FAST))
    assert result.verdict.stage == "worker"
    assert "ZeroDivisionError" in result.verdict.reason


def test_a_table_half_written_when_the_power_failed_is_written_over(tmp_path: Path) -> None:
    half = run_folder.replacing(tmp_path / "results.csv").temporary
    half.write_text("ha")
    store.Store(tmp_path, "run-1").write_table([])
    assert {path.name for path in tmp_path.iterdir()} <= {"results.csv", "results.db"}
