"""The folder that --out names: whose it is, what a refused run leaves, what is damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactbench_runner.batch import run_batch
from reactbench_runner.errors import StorageError
from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from reactbench_runner.storage import run_folder
from reactbench_runner.storage.run_folder import claimed
from tests.reactbench_runner.calling import call
from workflows.errors import InputError

UNREADABLE = [Unreadable("a", "no file")]


def run(out: Path, **options: object) -> None:
    run_batch(UNREADABLE, out, "gfn2-xtb", **options)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield
    os.close(descriptor)


def test_who_comes_second_changes_nothing(tmp_path: Path) -> None:
    """Not the run.json either, which would say that it had taken over."""
    out = tmp_path / "out"
    run(out)
    file = out / "run.json"
    older = json.loads(file.read_text())
    older["versions"]["tblite"] = "0.1"  # which a second run would note
    file.write_text(json.dumps(older))
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with locked(out), pytest.raises(InputError, match="another horm-tssearch is writing"):
        run(out)
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_an_empty_folder_that_another_process_has_taken_stays_empty(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InputError, match="another horm-tssearch"):
        run(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "flags",
    [
        ["--dask", "nonsense"],
        ["--dask", "tcp://host:port"],
        ["--dask", "http://127.0.0.1:8787"],
        ["--dask", ""],
        ["--db", "nowhere/all.db"],
        ["--db", "all.json"],
        ["--db", "postgresql://me:secret@127.0.0.1:1/none"],
        ["--verify", "gfn2-xtb"],
        ["--calculator", "gfn3-xtb"],
    ],
)
def test_refused_runs_leave_no_folder(
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from ase.build import molecule
    from ase.io import write

    monkeypatch.chdir(tmp_path)
    (tmp_path / "reactions.csv").write_text("id,reaction\nb,a.xyz\n")
    write("a.xyz", [molecule("H2O"), molecule("H2O")])
    calculator = [] if "--calculator" in flags else ["--calculator", "gfn2-xtb"]
    code = call("reactions.csv", "--out", "runs/deep/first", *calculator, *flags)
    error = capsys.readouterr().err
    assert code in (1, 2), error
    assert "Traceback" not in error
    assert "secret" not in error
    assert error.startswith("horm-tssearch: ")
    if "--dask" in flags:
        assert "as in tcp://host:8786" in error
    assert not Path("runs").exists()


def test_a_folder_that_was_there_before_stays(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        run(tmp_path, database=str(tmp_path / "nowhere" / "all.db"))
    assert tmp_path.is_dir()


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        ("file", InputError, "is a file"),
        ("file/below", InputError, "lies below a file"),
        ("file/far/below", InputError, "lies below a file"),
        ("dangling", InputError, "a link to nowhere"),
        ("circle", InputError, "a link to nowhere"),
        ("/proc/results", StorageError, "choose another --out"),
        ("/proc/self/deep/results", StorageError, "choose another --out"),
        ("/dev/null/results", InputError, "lies below a file"),
        ("n" * 300, StorageError, "File name too long"),
        ("new/" + "n" * 300, StorageError, "File name too long"),
    ],
)
def test_places_where_no_folder_can_be(
    out: str, error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=words):
        run(tmp_path / out)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("method", ["mkdir", "write_text", "replace"])
def test_places_where_nobody_may_write(
    method: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read-only file systems and missing rights, which do not stop the administrator."""

    def refuse(self: Path, *arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, method, refuse)
        with pytest.raises(StorageError, match=os.strerror(code)):
            run(tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_a_finished_run_can_be_shown_from_a_disk_that_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.reactbench_runner.test_batch import hcn

    out, reaction = tmp_path / "out", hcn(multiplicity=2)
    run_batch([reaction], out, "gfn2-xtb")  # refused at once, but stored

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    row = json.loads((out / "hcn" / "result.json").read_text())
    row["stage"] = "verdict"
    (out / "hcn" / "result.json").write_text(json.dumps(row))
    monkeypatch.setattr(run_folder.replacing, "__enter__", full)
    assert [row.id for row in run_batch([reaction], out, "gfn2-xtb")] == ["hcn"]


@pytest.mark.parametrize(
    "left",
    [".unfinished-run.json", ".unfinished-results.csv", ".unfinished-a", ".unfinished-log.txt"],
)
def test_what_a_killed_process_left_is_cleared(left: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if left == ".unfinished-run.json":
        out.mkdir()  # it was killed before anything else was there
    else:
        run(out)
    if left == ".unfinished-a":
        (out / left).mkdir()
        (out / left / "ts.xyz").write_text("half")
    else:
        (out / left).write_text("{")
    run(out)
    names = {"a", "progress.json", "results.csv", "results.db", "run.json"}
    assert {path.name for path in out.iterdir()} == names


@pytest.mark.parametrize("mine", [".unfinished-novel", "a", "thesis.tex", ".hidden", "results.csv"])
def test_a_folder_that_is_no_run_is_left_alone(mine: str, tmp_path: Path) -> None:
    (tmp_path / mine).write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        run(tmp_path)
    assert (tmp_path / mine).read_text() == "years of work"
    assert len(list(tmp_path.iterdir())) == 1


BEFORE = {"calculator": "gfn2-xtb", "settings": {}, "network": {}, "verify": None}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '"gfn2-xtb"',
        "[" * 100_000,
        "{}",
        json.dumps(BEFORE | {"settings": "none"}),
        json.dumps(BEFORE | {"calculator": 2}),
        json.dumps(BEFORE | {"network": "left"}),
        json.dumps(BEFORE | {"verify": []}),
        json.dumps(BEFORE | {"run": 5}),
        json.dumps(BEFORE | {"resumed": 5}),
        json.dumps(BEFORE | {"resumed": [5]}),
        json.dumps(BEFORE | {"versions": "all"}),
        b"\xff\xfe{".decode("latin-1"),
    ],
)
def test_a_damaged_run_json(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content, "latin-1")
    with pytest.raises(InputError, match=r"run\.json is damaged .* another --out"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "name",
    ["results.db", "results.db.lock", "Results.DB-journal", "results.db-wal", "results.db7",
     "results.csv", "results.csv.old", "run.json", "RUN.JSON.bak", "results.parquet",
     "progress.json"],
)  # fmt: skip
def test_ids_that_are_files_of_every_run(name: str, tmp_path: Path) -> None:
    table = tmp_path / "reactions.csv"
    table.write_text(f"id,reaction\n{name},a.xyz\n")
    with pytest.raises(InputError, match=r"line 2.*name of a file of every run"):
        read_reactions(table)


@pytest.mark.parametrize("name", ["results", "result.json", "run", "db.lock", "my.results.db"])
def test_ids_that_only_resemble_them(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_batch([Unreadable(name, "no file")], out, "gfn2-xtb")
    assert (out / name / "result.json").exists()


def test_a_folder_that_is_taken_away_while_it_is_claimed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claimed(tmp_path / "a" / "b"):
        raise KeyError
    assert not (tmp_path / "a").exists()
    with claimed(tmp_path / "a" / "b"):
        pass
    assert (tmp_path / "a" / "b").is_dir()
