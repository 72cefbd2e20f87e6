"""What lies on the disk: whole or not there, and mended where something has damaged it."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from ase.io import read

from reactbench_runner.storage import database as databases
from reactbench_runner.storage import store as stores
from reactbench_runner.storage.database import DamagedDatabase, Database, DatabaseError
from reactbench_runner.storage.store import Store, bounded, finished
from tests.reactbench_runner.stored import LEVEL, TRUSTED, in_steps, searched, store, verified
from workflows.errors import InputError

Contents = dict[tuple[str, str], list[np.ndarray]]


def contents(path: Path) -> Contents:
    """All numbers of a database, by reaction and role; nothing may stand in it twice."""
    found: Contents = {}
    with connect(path, use_lock_file=False) as database:
        for row in database.select():
            assert (row.reaction, row.role) not in found
            numbers = [row.numbers, row.positions, np.array(row.energy), row.forces]
            numbers += [np.array(row.data[name], float) for name in sorted(row.data)]
            found[row.reaction, row.role] = numbers
    return found


def same(one: Contents, other: Contents) -> bool:
    """To the last digit."""
    return one.keys() == other.keys() and all(
        np.array_equal(*pair, equal_nan=True)
        for key in one
        for pair in zip(one[key], other[key], strict=True)
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished reactions, one of them verified."""
    out = tmp_path_factory.mktemp("run") / "out"
    store(out, searched("a", 1), searched("7", 2), verified(searched("c", 3)))
    return out


@pytest.fixture
def out(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "out")


def opened_again(out: Path) -> tuple[list[str], list[str], list[str]]:
    """As the next start does it: what is said, put in again, and lost."""
    said: list[str] = []
    again = Store(out, "run-1", say=said.append)
    return said, *again.complete_database(finished(out, said.append).values())


def test_the_database_holds_what_the_folders_hold(out: Path) -> None:
    assert opened_again(out) == ([], [], [])
    found = contents(out / "results.db")
    assert len(found) == 5 + 5 + 8
    saddle = searched("a", 1).saddle
    assert saddle is not None
    with connect(out / "results.db", use_lock_file=False) as database:
        [row] = database.select(reaction="a", role="transition_state")
        [checked] = database.select(reaction="c", role="verify_transition_state")
    assert np.array_equal(row.data["hessian_ev_per_a2"], saddle.hessian)
    assert row.energy == saddle.energy
    assert (row.level_of_theory, checked.level_of_theory) == (LEVEL, TRUSTED)


def test_every_step_of_a_chain_is_stored(tmp_path: Path) -> None:
    result = in_steps(searched("a"))
    out = store(tmp_path / "out", result).out
    roles = {role for _, role in contents(out / "results.db")}
    of_steps = ("reactant", "transition_state", "product")
    assert roles >= {f"step{number}_{role}" for number in (1, 2) for role in of_steps}
    for number, step in enumerate(result.steps, 1):
        [ts] = read(out / "a" / f"step{number}_ts.xyz", ":")
        assert np.allclose(ts.positions, step.saddle.atoms.positions)
        assert len(read(out / "a" / f"step{number}_irc.xyz", ":")) == len(step.irc.images) + 2


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def without_table(path: Path, table: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"DROP TABLE {table}")
    connection.commit()
    connection.close()


def overwritten(path: Path, place: float) -> None:
    """A page full of nonsense, as a bad disk gives it."""
    content = bytearray(path.read_bytes())
    start = int(place * len(content)) // 4096 * 4096
    content[start : start + 4096] = b"\xa5" * 4096
    path.write_bytes(content)


MENDED: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"S"),
    "without rows": lambda path: without_rows(path),
    "of another run": lambda path: of_another_run(path),
}

DAMAGED: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("my notes\n" * 500),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "half": lambda path: cut(path, 0.5),
    "all but the end": lambda path: cut(path, 0.97),
    "the first page": lambda path: cut(path, 0.05),
    "bad first page": lambda path: overwritten(path, 0.0),
    "bad page": lambda path: overwritten(path, 0.5),
    "no systems": lambda path: without_table(path, "systems"),
    "no keys": lambda path: without_table(path, "text_key_values"),
}


def without_rows(path: Path) -> None:
    with connect(path, use_lock_file=False) as database:
        database.delete([row.id for row in database.select()])


def of_another_run(path: Path) -> None:
    """Copied over it by mistake."""
    other = path.parent.with_name("other")
    other.mkdir()
    Store(other, "run-2").complete_database([Store(other, "run-2").add(searched("a"), "f", LEVEL)])
    (other / "results.db").replace(path)


@pytest.mark.parametrize("what", MENDED)
def test_a_database_that_has_lost_structures_gets_them_again(
    what: str, out: Path, original: Path
) -> None:
    MENDED[what](out / "results.db")
    said, filled, lost = opened_again(out)
    assert (said, sorted(filled), lost) == ([], ["7", "a", "c"], [])
    if what != "of another run":
        assert same(contents(out / "results.db"), contents(original / "results.db"))
    with connect(out / "results.db", use_lock_file=False) as database:
        assert database.count(run="run-1") == 18
    assert opened_again(out) == ([], [], [])


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_database_is_kept_and_made_anew(what: str, out: Path, original: Path) -> None:
    DAMAGED[what](out / "results.db")
    size = (out / "results.db").stat().st_size
    [said], filled, lost = opened_again(out)
    assert "results.db.damaged now" in said
    assert (sorted(filled), lost) == (["7", "a", "c"], [])
    assert (out / "results.db.damaged").stat().st_size == size
    assert same(contents(out / "results.db"), contents(original / "results.db"))


def test_each_damaged_database_is_kept(out: Path) -> None:
    for _ in range(2):
        (out / "results.db").write_text("notes")
        opened_again(out)
    assert sorted(path.name for path in out.glob("*.damaged*")) == [
        "results.db.damaged",
        "results.db.damaged1",
    ]


def test_one_reaction_that_did_not_reach_the_database(out: Path, original: Path) -> None:
    """As after a kill between the two writings."""
    with connect(out / "results.db", use_lock_file=False) as database:
        database.delete([row.id for row in database.select(reaction="a")])
    assert opened_again(out) == ([], ["a"], [])
    assert same(contents(out / "results.db"), contents(original / "results.db"))


def test_structures_of_an_earlier_search_are_replaced(out: Path) -> None:
    """Whose folder somebody has deleted, to have it searched anew."""
    shutil.rmtree(out / "a")
    again = Store(out, "run-1")
    again.add(searched("a", 5), "f", LEVEL)  # and killed here
    assert opened_again(out)[1] == ["a"]
    with connect(out / "results.db", use_lock_file=False) as database:
        [row] = database.select(reaction="a", role="reactant")
    assert row.energy == pytest.approx(searched("a", 5).reactant.energy)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "null", "no json"])
def test_structures_that_nobody_has_are_named(content: str | None, out: Path) -> None:
    file = out / "a" / "structures.json"
    file.unlink()
    if content is not None:
        file.write_text(content)
    (out / "results.db").unlink()
    said, filled, lost = opened_again(out)
    assert (said, sorted(filled), lost) == ([], ["7", "c"], ["a"])


def test_a_folder_of_before_there_were_structures_in_it(out: Path) -> None:
    """Their database is all there is of them."""
    for name in "a", "c", "7":
        (out / name / "structures.json").unlink()
        file = out / name / "result.json"
        row = json.loads(file.read_text())
        del row["structures"]
        file.write_text(json.dumps(row))
    assert opened_again(out) == ([], [], [])
    (out / "results.db").unlink()
    assert sorted(opened_again(out)[2]) == ["7", "a", "c"]


def test_a_shared_database_that_is_damaged_is_left_alone(tmp_path: Path) -> None:
    shared = tmp_path / "all.db"
    store(tmp_path / "out", searched(), database=str(shared))
    cut(shared, 0.5)
    content = shared.read_bytes()
    with pytest.raises(DamagedDatabase, match=r"all\.db.*Move it away"):
        Store(tmp_path / "out", "run-1", str(shared))
    assert shared.read_bytes() == content
    shared.unlink()  # what the message says
    again = Store(tmp_path / "out", "run-1", str(shared))
    assert again.complete_database(finished(tmp_path / "out").values()) == (["hcn"], [])
    assert len(contents(shared)) == 5


@pytest.mark.parametrize("name", ["all.json", "all", "all.sqlite", "all.lmdb", "db"])
def test_names_that_are_no_databases(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.db"):
        Database(str(tmp_path / name), "run-1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["nowhere/all.db", "folder.db", "file/all.db"])
def test_databases_that_cannot_be_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match=name) as told:
        Database(str(tmp_path / name), "run-1")
    assert not isinstance(told.value, DamagedDatabase)


LOCKS = ["results.db.lock", "results.csv.lock", "run.json.lock", "a.lock", ".lock"]


def test_lock_files_of_killed_processes_are_not_waited_for(out: Path) -> None:
    """ASE leaves such a file behind, and would wait for it for ever."""
    for name in LOCKS:
        (out / name).touch()
    (out / "results.db").unlink()
    done = threading.Thread(target=opened_again, args=[out], daemon=True)
    done.start()
    done.join(60)
    assert not done.is_alive()
    assert len(contents(out / "results.db")) == 18


def test_runs_that_share_a_database_wait_for_each_other(tmp_path: Path) -> None:
    """Both begin it, and both write to it at the same time."""
    shared, problems = str(tmp_path / "all.db"), []

    def write(run: str) -> None:
        try:
            (tmp_path / run).mkdir()
            own = Store(tmp_path / run, run, shared)
            for seed in range(8):
                own.complete_database([own.add(searched(f"r{seed}", seed), "f", LEVEL)])
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=[run]) for run in ("one", "two", "three")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with connect(shared) as database:
        for run in ("one", "two", "three"):
            assert database.count(run=run) == 8 * 5


def test_what_is_stored_does_not_make_storing_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in instructions of SQLite, which do not depend on what else the machine does."""
    counted = [0]

    def count() -> None:
        counted[0] += 1

    def counting(*arguments: object, **options: object):
        database = connect(*arguments, **options)
        if "type" not in options:  # a folder's has none
            plain = database._connect

            def watched() -> sqlite3.Connection:
                connection = plain()
                connection.set_progress_handler(count, 100)
                return connection

            database._connect = watched
        return database

    monkeypatch.setattr(databases, "connect", counting)
    own, steps = store(tmp_path / "out"), []
    rows = []
    for number in range(120):
        counted[0] = 0
        rows.append(own.add(searched(f"r{number}", number), "f", LEVEL))
        own.complete_database(rows[-1:])
        steps.append(counted[0])
    assert 0 < max(steps[100:]) <= 1.2 * max(steps[5:15])


DAMAGED_RECORDS: dict[str, Callable[[dict], object]] = {
    "list": lambda row: [],
    "null": lambda row: None,
    "number": lambda row: 3,
    "another id": lambda row: row | {"id": "b"},
    "no fingerprint": lambda row: {k: v for k, v in row.items() if k != "fingerprint"},
    "no stage": lambda row: {k: v for k, v in row.items() if k != "stage"},
    "no verdict": lambda row: {k: v for k, v in row.items() if k != "verdict"},
    "unknown verdict": lambda row: row | {"verdict": "perhaps"},
    "verdict at limit": lambda row: row | {"verdict_at_limit": 7},
    "list for a text": lambda row: row | {"warnings": ["a"]},
    "text for a number": lambda row: row | {"barrier_kcal_per_mol": "high"},
    "object for a number": lambda row: row | {"verify_ts_rmsd_a": {}},
    "null for a number": lambda row: row | {"seconds": None},
    "structures": lambda row: row | {"structures": "all"},
    "number in structures": lambda row: row | {"structures": [1]},
    "truth for a number": lambda row: row | {"attempts": True},
    "unknown stage": lambda row: row | {"stage": "breakfast"},
    "costs": lambda row: row | {"costs": []},
    "cost of an unknown stage": lambda row: row | {"costs": {"breakfast": {}}},
    "cost without seconds": lambda row: row | {"costs": {"path": {"gradients": 1}}},
}


@pytest.mark.parametrize("what", DAMAGED_RECORDS)
def test_damaged_records_are_told_and_the_others_stay(what: str, out: Path) -> None:
    file = out / "a" / "result.json"
    file.write_text(json.dumps(DAMAGED_RECORDS[what](json.loads(file.read_text()))))
    said: list[str] = []
    assert sorted(finished(out, said.append)) == ["7", "c"]
    [told] = said
    assert told.startswith(f"{file} is damaged")
    assert "'a' counts as not finished" in told


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"id": "a"', b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"\x00" * 900]
)
def test_records_that_are_no_json(content: bytes, out: Path) -> None:
    (out / "a" / "result.json").write_bytes(content)
    said: list[str] = []
    assert sorted(finished(out, said.append)) == ["7", "c"]
    assert len(said) == 1


def test_a_folder_in_the_place_of_a_record(out: Path) -> None:
    (out / "a" / "result.json").unlink()
    (out / "a" / "result.json").mkdir()
    said: list[str] = []
    assert sorted(finished(out, said.append)) == ["7", "c"]
    assert "directory" in said[0]


def test_a_verification_that_was_interrupted_leaves_nothing_of_itself(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the last file was written; then made again."""
    result, rows = verified(searched("a", 1)), finished(out)
    own = Store(out, "run-1")
    read = own.read(result.reaction, rows["a"])
    assert read.saddle is not None
    assert result.saddle is not None
    assert np.array_equal(read.saddle.hessian, result.saddle.hessian)
    later = result.__class__(**{**vars(result), "log": "\n===== verification =====\n\n"})
    with monkeypatch.context() as patched:
        plain = stores._write_text

        def full(path: Path, text: str) -> None:
            if path.name.endswith("result.json"):
                raise OSError(errno.ENOSPC, "No space left on device")
            plain(path, text)

        patched.setattr(stores, "_write_text", full)
        with pytest.raises(OSError, match="No space"):
            own.add_verification(later, rows["a"], TRUSTED)
    assert finished(out)["a"].verify_converged is None
    assert opened_again(out)[2] == []
    own = Store(out, "run-1")
    row = own.add_verification(later, rows["a"], TRUSTED)
    own.complete_database([row])
    log = (out / "a" / "log.txt").read_text()
    assert log.count("===== verification =====") == 1
    assert log.startswith((original / "a" / "log.txt").read_text())
    assert {role for name, role in contents(out / "results.db") if name == "a"} == {
        *(role for name, role in contents(out / "results.db") if name == "c")
    }
    assert opened_again(out) == ([], [], [])


@pytest.mark.parametrize("size", [0, 1, 999_999, 1_000_000, 1_000_001, 50_000_000])
def test_a_log_keeps_its_beginning_and_its_end(size: int) -> None:
    log = "first line\n" + "x" * size + "\nlast line"
    kept = bounded(log)
    assert kept.startswith("first line\n")
    assert kept.endswith("\nlast line")
    assert len(kept) < 1_000_100
    assert ("left out" in kept) == (len(log) > 1_000_000)


def test_a_calculator_that_prints_does_not_fill_the_disk(tmp_path: Path) -> None:
    result = searched()
    loud = result.__class__(**{**vars(result), "log": "SCF cycle\n" * 20_000_000})
    store(tmp_path / "out", loud)
    assert (tmp_path / "out" / "hcn" / "log.txt").stat().st_size < 1_100_000


def test_bytes_of_a_file_name_that_are_no_text(tmp_path: Path) -> None:
    """As the name of a file on a disk of another time has them."""
    result = searched()
    odd = result.__class__(**{**vars(result), "log": "read \udcff.xyz\n"})
    own = store(tmp_path / "out", odd)
    rows = finished(tmp_path / "out")
    own.write_table([dataclasses.replace(rows["hcn"], reason="no \udcff.xyz")])
    assert "no \\udcff.xyz" in (tmp_path / "out" / "results.csv").read_text("utf-8")
