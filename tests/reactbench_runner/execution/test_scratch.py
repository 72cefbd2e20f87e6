"""Temporary files: gone with the run, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from horm_calc.processes import in_processes
from reactbench_runner.execution.scratch import scratch_folder
from tests.places import REPOSITORY

HELD = """
import sys, tempfile
from reactbench_runner.execution.scratch import scratch_folder
with scratch_folder():
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left(task: str) -> str:
    """As a library leaves a folder behind when it is killed."""
    return tempfile.mkdtemp(prefix=task)


def test_what_workers_leave_behind_goes_with_the_run(temporary: Path) -> None:
    with scratch_folder():
        [(_, folder)] = in_processes(left, iter(["horm-"]), 1)
        assert folder is not None
        assert Path(folder).is_dir()
        assert Path(folder).parent.parent == temporary
    assert os.environ["TMPDIR"] == str(temporary)
    assert not list(temporary.iterdir())


def held() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    return process


def test_the_next_start_clears_up_after_those_that_were_killed(temporary: Path) -> None:
    lives, dies = held(), held()
    for folder in temporary.glob("horm-tssearch-*"):
        (folder / "deep").mkdir()
        (folder / "deep" / "cur.trj").write_text("x")
    dies.kill()
    dies.wait()
    assert len(list(temporary.iterdir())) == 2
    other = temporary / "horm-thesis"
    other.mkdir()
    try:
        with scratch_folder():
            assert len(list(temporary.glob("horm-tssearch-*"))) == 2  # of this one and the living
    finally:
        lives.communicate(b"")
    assert list(temporary.iterdir()) == [other]


@pytest.mark.parametrize("what", ["file", "link", "dangling"])
def test_what_only_has_such_a_name_is_no_leftover(what: str, temporary: Path) -> None:
    mine = temporary / "horm-tssearch-mine"
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("years of work")
    if what == "file":
        mine.write_text("notes")
    else:
        mine.symlink_to(elsewhere if what == "link" else temporary / "nowhere")
    with scratch_folder():
        pass
    assert mine.is_symlink() or mine.read_text() == "notes"
    assert (elsewhere / "thesis.tex").read_text() == "years of work"
