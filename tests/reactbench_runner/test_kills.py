"""Runs that are killed, or told to end, and go on: a little of `python -m benchmarks.kills`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks import kills
from benchmarks.kills import Arena, kill_and_resume


def test_random_kills(tmp_path: Path) -> None:
    assert kill_and_resume(tmp_path, kills=2, reactions=2) == []


def test_what_is_wrong_would_be_seen(tmp_path: Path) -> None:
    """The comparison itself, with a run of which a little has been changed."""
    from tests.reactbench_runner.stored import searched, store, verified

    out, reference = tmp_path / "out", tmp_path / "reference"
    run = '{"calculator": "", "verify": null, "settings": {}, "versions": {}}'
    for folder, result in ((reference, searched("a")), (out, verified(searched("a")))):
        own = store(folder, result)
        own.write_table([])
        (folder / "run.json").write_text(run)
    assert kills.differences(reference, reference) == []
    found = "\n".join(kills.differences(reference, out))
    for words in ("a/ts_verified.xyz is there", "results.db holds"):
        assert words in found
    (out / "a" / "irc.xyz").unlink()
    (out / "a" / "ts.xyz").write_text("1\n\nH 0 0 0\n")
    (out / "run.json").write_text(run.replace("{}", '{"attempts": 2}', 1))
    found = "\n".join(kills.differences(reference, out))
    for words in ("a/irc.xyz is missing", "a/ts.xyz differs", "run.json differs"):
        assert words in found


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return Arena(tmp_path_factory.mktemp("arena"), reactions=2)


@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGTERM, "command"), (signal.SIGTERM, "group"), (signal.SIGHUP, "group")],
)
def test_a_batch_system_that_ends_the_run(number: int, whom: str, arena: Arena) -> None:
    """It has time to tidy up, and uses it: no process and no temporary file stays."""
    out = arena.folder / f"{whom}-{number}"
    with arena.started("search", out) as process:
        while not list(arena.temporary.glob("horm-tssearch-*")):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(1.0)  # its workers start, or search
        (os.killpg if whom == "group" else os.kill)(process.pid, number)
        assert process.wait(60) == 128 + number
        kills.wait_until_gone(process.pid)
    assert arena.left_behind() == []
    said = out.with_name(f"{out.name}.log").read_text()
    assert "Interrupted. Finished reactions are safe" in said
    assert "Traceback" not in said
