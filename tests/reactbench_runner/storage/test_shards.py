"""Results of very many reactions: whole after any end, read back as they were, and never twice."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect

pytest.importorskip("pyarrow")

from reactbench_runner.errors import StorageError
from reactbench_runner.storage import shards
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.shards import Shards, index, rows_of, write_database
from reactbench_runner.storage.structures import entries
from tests.reactbench_runner.stored import LEVEL, TRUSTED, searched, verified
from workflows.records import Label, SearchResult, SeparatedMolecule, SeparatedMolecules
from workflows.stage_names import Stage


@pytest.fixture(autouse=True)
def of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SIZE", 3)


def row_of(result: SearchResult, **more: object) -> ResultRow:
    return dataclasses.replace(
        to_row(result), fingerprint="f", level_of_theory=LEVEL, verify_level=TRUSTED, **more
    )


def add(store: Shards, *names: str, **more: object) -> None:
    for seed, name in enumerate(names):
        result = verified(searched(name, seed))
        store.add(row_of(result, **more), entries(result, LEVEL, TRUSTED), f"stamp of {name}")


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """From Parquet files and from the journal alike."""
    store = Shards(tmp_path)
    add(store, *"abcd")
    store.close()
    assert sorted(path.name for path in (tmp_path / shards.ROWS).iterdir()) == [
        "000000.parquet",
        "_000001.jsonl",
    ]
    expected = [row_of(verified(searched(name, seed))) for seed, name in enumerate("abcd")]
    assert list(rows_of(tmp_path)) == expected
    assert index(tmp_path)["d"].stamp == "stamp of d"


def test_structures_come_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"run": "run-1"}')
    store = Shards(tmp_path)
    add(store, "1", "b", "c", "d")
    store.close()
    write_database(tmp_path)
    with connect(tmp_path / "results.db", use_lock_file=False) as database:
        assert len(database) == 4 * 8
        [found] = database.select(reaction="#1", role="transition_state")
        result = verified(searched("1", 0))
        assert result.saddle is not None
        assert found.run == "run-1"
        assert found.verdict == "intended"
        assert found.energy == result.saddle.energy
        np.testing.assert_array_equal(found.forces, result.saddle.forces)
        np.testing.assert_array_equal(found.data["hessian_ev_per_a2"], result.saddle.hessian)
        expected = dict(entries(result, LEVEL, TRUSTED)[2][2])
        assert found.data.keys() == expected.keys()
        np.testing.assert_array_equal(found.data["imaginary_mode"], expected["imaginary_mode"])


def test_minima_with_hessians_and_separate_molecules_come_back_too(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    store = Shards(tmp_path)
    result = searched("a")
    assert result.reactant and result.saddle
    curved = dataclasses.replace(
        result.reactant, hessian=result.saddle.hessian, modes=result.saddle.modes
    )
    alone = SeparatedMolecule(
        curved, charge=-1, multiplicity=2, name="HCN-", count=2, indices=(2, 0, 1)
    )
    result = dataclasses.replace(
        result, reactant=curved, separated={"reactant": SeparatedMolecules((alone,))}
    )
    store.add(row_of(result), entries(result, LEVEL, TRUSTED))
    store.close()
    for _ in ("journal", "parquet"):
        with connect(write_database(tmp_path), use_lock_file=False) as database:
            [reactant] = database.select(role="reactant")
            [molecule] = database.select(role="reactant_molecule1")
        assert reactant.data.keys() == {"hessian_ev_per_a2", "frequencies_cm1"}
        np.testing.assert_array_equal(molecule.data["hessian_ev_per_a2"], curved.hessian)
        assert molecule.data["atom_indices"].tolist() == [2, 0, 1]
        assert (molecule.total_charge, molecule.multiplicity, molecule.count) == (-1, 2, 2)
        assert "count" not in reactant.key_value_pairs
        with contextlib.closing(Shards(tmp_path)) as again:
            again.seal()


def test_a_column_that_an_older_version_did_not_fill(tmp_path: Path) -> None:
    """As in a journal of one without the column, of which this one makes a Parquet file."""
    with contextlib.closing(Shards(tmp_path)) as store:
        store.add(dataclasses.replace(row_of(searched("a")), start=None), [])  # type: ignore[arg-type]
        store.seal()
    [row] = rows_of(tmp_path)
    assert (row.id, row.start) == ("a", "")


def test_a_journal_becomes_a_parquet_file_while_it_is_read(tmp_path: Path) -> None:
    """What was finished when reading began is read, whatever happens meanwhile."""
    store = Shards(tmp_path)
    add(store, *"abcd")
    rows = rows_of(tmp_path)
    assert next(rows).id == "a"
    add(store, *"ef")
    assert not (tmp_path / shards.ROWS / "_000001.jsonl").exists()
    assert [row.id for row in rows] == ["b", "c", "d"]
    store.close()


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_line_that_was_cut_off_is_no_line(cut: int, tmp_path: Path) -> None:
    store = Shards(tmp_path)
    add(store, "a", "b")
    store.close()
    journal = tmp_path / shards.ROWS / "_000000.jsonl"
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size - cut)
    assert list(index(tmp_path)) == ["a"]
    store = Shards(tmp_path)
    add(store, "b", "c")
    store.close()
    assert [row.id for row in rows_of(tmp_path)] == ["a", "b", "c"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store = Shards(tmp_path)
    add(store, "a", "b")
    store.close()
    journal = tmp_path / shards.ROWS / "_000000.jsonl"
    journal.write_bytes(b"{" + journal.read_bytes())
    with pytest.raises(StorageError, match=r"line 1 of .*_000000\.jsonl is damaged"):
        index(tmp_path)


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.mark.parametrize("where", ["structures", "rows", "journal"])
def test_killed_while_it_makes_parquet_files(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the structures, before the rows, or before the journal is taken away."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    import pyarrow.parquet as pq

    store = Shards(tmp_path)
    add(store, "a", "b")
    with monkeypatch.context() as patched:
        if where == "structures":
            patched.setattr(pq, "write_table", killed)
        elif where == "rows":
            patched.setattr(shards, "flush", killed)  # between both
        else:
            patched.setattr(Path, "unlink", lambda self, **_: self.suffix != ".jsonl" or killed())
        with pytest.raises(Killed):
            add(store, "c")
    assert [row.id for row in rows_of(tmp_path)] == ["a", "b", "c"]
    store = Shards(tmp_path)
    add(store, "d", "e")
    store.close()
    assert [row.id for row in rows_of(tmp_path)] == ["a", "b", "c", "d", "e"]
    (tmp_path / "run.json").write_text("{}")
    with connect(write_database(tmp_path), use_lock_file=False) as database:
        assert len(database) == 5 * 8


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> None:
        os.write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    store = Shards(tmp_path)
    add(store, "a")
    with monkeypatch.context() as patched:
        patched.setattr(shards, "_write_all", full)
        with pytest.raises(OSError, match="No space"):
            add(store, "b")
    add(store, "b")
    store.close()
    assert [row.id for row in rows_of(tmp_path)] == ["a", "b"]


def test_the_last_row_of_a_reaction_counts(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    store = Shards(tmp_path)
    add(store, "a", verdict=Label.FAILED, stage=Stage.WORKER)
    add(store, "b", "c", "a")
    store.close()
    assert [(row.id, row.verdict) for row in rows_of(tmp_path)] == [
        ("b", "intended"),
        ("c", "intended"),
        ("a", "intended"),
    ]
    with connect(write_database(tmp_path), use_lock_file=False) as database:
        assert {row.verdict for row in database.select(reaction="a")} == {"intended"}
        assert len(database) == 3 * 8


def test_pandas_reads_the_folder(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    store = Shards(tmp_path)
    add(store, *"abc")
    store.close()
    table = pandas.read_parquet(tmp_path / shards.ROWS)
    assert list(table["id"]) == ["a", "b", "c"]
    assert table["barrier_kcal_per_mol"].dtype == float
    points = pandas.read_parquet(tmp_path / shards.STRUCTURES)
    assert len(points) == 3 * 8
    assert [len(hessian) for hessian in points["hessian_ev_per_a2"].dropna()] == [81] * 6


def test_nothing_of_what_is_stored_is_written_again(tmp_path: Path) -> None:
    store = Shards(tmp_path)
    add(store, *"abc")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/0*.parquet")}
    assert len(before) == 2
    add(store, *"defghi")
    store.close()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/0*.parquet")}
    assert len(files) == 6
    assert before.items() <= files.items()
