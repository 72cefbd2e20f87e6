"""Very many reactions: little in memory, nothing lost, nothing read or searched in vain."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from benchmarks.scale import write_table
from benchmarks.stand_in import stand_in
from reactbench_runner import run_batch
from reactbench_runner.commands import merge, status
from reactbench_runner.errors import WorkersLost
from reactbench_runner.execution.workers import RunSpec, Task
from reactbench_runner.inputs import large
from reactbench_runner.inputs.large import LargeInput, open_reactions
from reactbench_runner.inputs.reactions import Listed, Unreadable
from reactbench_runner.large import Counts, run_large
from reactbench_runner.storage import shards
from reactbench_runner.storage.run_folder import SEARCHES
from reactbench_runner.storage.shards import rows_of
from tests.reactbench_runner.calling import call, refused
from workflows.errors import InputError
from workflows.records import SearchResult


@pytest.fixture(autouse=True)
def of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 10)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path, 25)


def run(table: Path | list, out: Path, **options) -> Counts:
    reactions = table if isinstance(table, list) else LargeInput(table)
    return run_large(reactions, out, "gfn2-xtb", **{"search": stand_in} | options)


def never(task: Task, spec: RunSpec) -> SearchResult:
    raise AssertionError("this is finished")


def lethal(task: Task, spec: RunSpec) -> SearchResult:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_the_same_rows_as_with_a_folder_for_each(table: Path, tmp_path: Path) -> None:
    counts = run(table, tmp_path / "out", workers=2)
    assert counts == Counts({"intended": 25}, 0, 0)
    one_by_one = run_batch(open_reactions(table), tmp_path / "folders", "gfn2-xtb", search=stand_in)
    assert merge.main([str(tmp_path / "out"), "--db"]) == 0
    tables = []
    for out in ("out", "folders"):
        with (tmp_path / out / "results.csv").open() as file:
            tables.append({row["id"]: row for row in csv.DictReader(file)})
    assert len(tables[0]) == len(one_by_one) == 25
    for name, row in tables[0].items():
        other = tables[1][name]
        assert {key: (row[key], other[key]) for key in row if row[key] != other[key]} == {}


def test_what_is_finished_is_neither_searched_nor_read_again(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(table, out)

    class Sealed(Listed):
        def read(self):
            raise AssertionError("its files have not changed")

    items = [Sealed(one.id, one.row, one.folder, one.where) for one in LargeInput(table)]
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert run(items, out, search=never) == Counts({"intended": 25}, 0, 0)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


def test_files_that_were_only_touched_are_read_and_the_same(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    os.utime(tmp_path / "structures.xyz", (1, 1))
    assert run(table, tmp_path / "out", search=never).verdicts == {"intended": 25}


@pytest.mark.parametrize("what", ["structures", "charge"])
def test_a_reaction_that_has_changed_is_refused(what: str, table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    if what == "structures":
        shutil.copy(tmp_path / "structures.xyz", tmp_path / "other.xyz")
        text = (tmp_path / "other.xyz").read_text().replace("1.952354", "1.952355")
        (tmp_path / "other.xyz").write_text(text)
        table.write_text(table.read_text().replace("r7,structures", "r7,other"))
    else:
        lines = table.read_text().replace("\n", ",0\n").replace("reaction,0", "reaction,charge")
        table.write_text(lines.replace("r7,structures.xyz,0", "r7,structures.xyz,2"))
    with pytest.raises(InputError, match=r"'r7' is finished .* have changed"):
        run(table, tmp_path / "out", search=never)


def test_another_solvent_is_named_in_the_refusal(table: Path, tmp_path: Path) -> None:
    """Also where the files were written before rows had solvents."""
    import pyarrow.parquet as pq

    out = tmp_path / "out"
    run(table, out)
    for water in (False, True):
        with pytest.raises(InputError, match=r"searched in the gas phase there, and is in water"):
            run_large(LargeInput(table, solvent="water"), out, "gfn2-xtb", search=never)
        for file in [] if water else (out / "results.parquet").glob("[0-9]*.parquet"):
            pq.write_table(pq.read_table(file).drop_columns(["solvent"]), file)
    more = tmp_path / "more"
    run_large(LargeInput(table, solvent="water"), more, "gfn2-xtb", search=stand_in)
    with pytest.raises(InputError, match=r"searched in water there, and is in dmso now"):
        run_large(LargeInput(table, solvent="dmso"), more, "gfn2-xtb", search=never)


def test_searches_that_were_interrupted_are_told(table: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", list[str]()
    run(write_table(tmp_path, 5), out)
    for name in ("r0", "r9", "other"):
        (out / SEARCHES / name).mkdir(parents=True)
    run(write_table(tmp_path, 12), out, say=said.append)
    assert said[0].endswith("start from their beginning: r9 (memory.json is missing)")
    assert "not in this input: other; " in said[1]
    assert not (out / SEARCHES / "r0").exists()


def test_more_reactions_may_be_added(table: Path, tmp_path: Path) -> None:
    run(write_table(tmp_path, 5), tmp_path / "out")
    assert run(write_table(tmp_path, 12), tmp_path / "out").verdicts == {"intended": 12}
    assert len(list(rows_of(tmp_path / "out"))) == 12


def test_an_input_that_was_missing_is_searched_when_it_is_there(tmp_path: Path) -> None:
    table = write_table(tmp_path, 3)
    (tmp_path / "structures.xyz").rename(tmp_path / "away.xyz")
    out = tmp_path / "out"
    for _ in range(2):
        assert run(table, out) == Counts({"failed": 3}, 3, 0)
    assert sum(len(piece) for piece in shards.pieces(out, ["id"])) == 3  # not stored again
    (tmp_path / "away.xyz").rename(tmp_path / "structures.xyz")
    assert run(table, out) == Counts({"intended": 3}, 0, 0)
    assert [row.verdict for row in rows_of(out)] == ["intended"] * 3


def test_structures_are_read_when_their_turn_comes(table: Path, tmp_path: Path) -> None:
    read: list[str] = []

    class Noted(Listed):
        def read(self):
            read.append(self.id)
            return super().read()

    items = [Noted(one.id, one.row, one.folder, one.where) for one in LargeInput(table)]
    ahead: list[int] = []
    done = iter(range(1, 26))
    run(items, tmp_path / "out", on_finished=lambda verdict: ahead.append(len(read) - next(done)))
    assert len(ahead) == 25
    assert max(ahead) <= 1


def test_time_that_is_up(table: Path, tmp_path: Path) -> None:
    assert run(table, tmp_path / "out", seconds=0) == Counts({}, 0, 25)
    assert run(table, tmp_path / "out") == Counts({"intended": 25}, 0, 0)


def test_workers_that_all_die_end_the_run(table: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkersLost, match="3 workers have died one after the other"):
        run(table, tmp_path / "out", search=lethal, most_deaths=3)
    assert run(table, tmp_path / "out").verdicts == {"intended": 25}


def test_files_of_each_reaction_if_they_are_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(write_table(tmp_path, 2), out, files=True)
    assert {path.name for path in (out / "r1").iterdir()} == {
        "path.xyz", "ts.xyz", "irc.xyz", "reactant.xyz", "product.xyz", "log.txt",
        "mode.xyz", "frequencies.txt", "ts.molden",
    }  # fmt: skip
    run(write_table(tmp_path, 4), out)
    assert not (out / "r3").exists()


def test_one_form_for_a_run(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    with pytest.raises(InputError, match="--storage shards"):
        run_batch([Unreadable("a", "no file")], tmp_path / "out", "gfn2-xtb")
    run_batch([Unreadable("a", "no file")], tmp_path / "folders", "gfn2-xtb")
    with pytest.raises(InputError, match="--storage folders"):
        run(table, tmp_path / "folders")


def test_a_verification_cannot_come_later(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path / "out")
    with pytest.raises(InputError, match="begun without verification"):
        run(table, tmp_path / "out", verify="gfn1-xtb")
    assert json.loads((tmp_path / "out" / "run.json").read_text())["verify"] is None


def test_large_inputs_are_told_by_their_number(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", 25)
    assert isinstance(open_reactions(table), list)
    monkeypatch.setattr(large, "LARGE", 24)
    found = open_reactions(table)
    assert isinstance(found, LargeInput)
    assert len(found) == 25
    assert [one.id for one in found] == [one.id for one in found] == [f"r{n}" for n in range(25)]
    table.write_text("id,reaction\na,structures.xyz\n")
    with pytest.raises(InputError, match="has been changed"):
        iter(found)


def test_a_large_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into which its own results go, so that it changes."""
    monkeypatch.setattr(large, "LARGE", 2)
    write_table(tmp_path, 1)
    for number in range(3):
        shutil.copy(tmp_path / "structures.xyz", tmp_path / f"r{number}.xyz")
    (tmp_path / "structures.xyz").unlink()
    found = open_reactions(tmp_path)
    assert isinstance(found, LargeInput)
    out = tmp_path / "out"
    assert run_large(found, out, "gfn2-xtb", search=stand_in).verdicts == {"intended": 3}
    assert run_large(found, out, "gfn2-xtb", search=never).verdicts == {"intended": 3}


@pytest.mark.parametrize(
    ("line", "message"),
    [("r3,b.xyz\n", "line 27: the id 'r3' is taken by line 5"), ("c,d,e\n", "line 27: 3 values")],
)
def test_the_whole_table_is_checked_before(
    line: str, message: str, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "LARGE", 10)
    table.write_text(table.read_text() + line)
    with pytest.raises(InputError, match=message):
        open_reactions(table)


def test_the_command(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With reactions that cannot be read, so that nothing is searched."""
    (tmp_path / "structures.xyz").unlink()
    out = tmp_path / "out"
    command = [table, "--out", out, "--calculator", "gfn2-xtb"]
    assert call(*command, "--storage", "shards", "--walltime", "0:00:00") == 4
    assert "25 reactions left" in capsys.readouterr().err
    assert call(*command, "--storage", "shards") == 3
    assert "0 of 25 intended, 25 failed" in capsys.readouterr().out
    assert call(*command) == 3  # it stays in shards
    assert not (out / "results.csv").exists()
    capsys.readouterr()
    assert "--storage shards" in refused(capsys, *command, "--storage", "folders")
    assert "horm-merge" in refused(capsys, *command, "--db", "a.db")
    assert "--files" in refused(capsys, table, "--out", tmp_path / "other", "--files")
    assert merge.main([str(out)]) == 0
    assert len((out / "results.csv").read_text().splitlines()) == 26
    assert merge.main([str(tmp_path)]) == 2
    capsys.readouterr()
    assert status.main([str(out)]) == 0
    assert "there is no file ..." in capsys.readouterr().out


def test_a_refused_run_leaves_no_folder(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert call(table, "--out", out, "--storage", "shards", "--calculator", "gfn2-xtb",
                "--dask", "nonsense") == 2  # fmt: skip
    assert not out.exists()


def test_status_while_it_runs(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reactbench_runner.storage import progress

    monkeypatch.setattr(progress, "_EVERY", 0.01)
    told: list[dict] = []

    def look(verdict: str) -> None:
        time.sleep(0.05)
        assert status.main([str(tmp_path / "out"), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))

    run(table, tmp_path / "out", on_finished=look)
    assert {one["state"] for one in told} == {"running"}
    assert [one["finished"] for one in told] == list(range(1, 26))
    assert told[10]["total"] == 25
    assert told[10]["verdicts"] == {"intended": 11}
    assert told[10]["per_hour"] > 0
    assert told[10]["seconds_left"] == pytest.approx(14 / told[10]["per_hour"] * 3600)
    assert status.main([str(tmp_path / "out")]) == 0
    assert "ended: 25 of 25 (100.0%) finished" in capsys.readouterr().out


def test_status_of_a_killed_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        "state": "running", "total": 100, "finished": 50, "finished_before": 10,
        "verdicts": {"intended": 49, "failed": 1}, "failures": {"saddle: it has # modes": 1},
        "under_way": 2, "oldest": {"r7": 1000.0}, "recent": [40, 900.0], "started": 0.0,
        "written": 1100.0,
    }  # fmt: skip
    (tmp_path / "progress.json").write_text(json.dumps(told))
    assert status.main([str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("killed: 50 of 100 (50.0%) finished, 10 of them before")
    assert "720 an hour" in said
    assert "1  saddle: it has # modes" in said
    assert "under way" not in said
    alive = told | status.measured(told, 1100.0, alive=True)
    assert status.lines(alive, 1100.0)[-4:-1] == [
        "250 s left at this rate".replace("250 s", "4 min"),
        "2 under way; the oldest, r7, for 100 s",
        "failures:",
    ]


@pytest.mark.parametrize("there", [True, False])
def test_status_where_there_is_no_run(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main([str(tmp_path if there else tmp_path / "out")]) == 2
    assert "there is no folder" in capsys.readouterr().err or there


def test_a_generator_of_reactions(table: Path, tmp_path: Path) -> None:
    """Whose number is not known: what is left is not either."""

    class Endless:
        def __iter__(self) -> Iterator[Listed]:
            return iter(LargeInput(table))

    assert run_large(Endless(), tmp_path / "out", "gfn2-xtb", search=stand_in).left == 0
