"""What workers tell of their searches, and what is left of one that dies: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from reactbench_runner.batch import run_batch
from reactbench_runner.execution import live, workers
from reactbench_runner.execution.live import Running, running, telling
from reactbench_runner.storage import progress
from tests.reactbench_runner import lethal
from tests.reactbench_runner.test_batch import hcn
from workflows.stage_names import Stage
from workflows.status import Status

SADDLE = Status(Stage.SADDLE, 1, 12, 40, 19.8, 0.012, 3.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As that which a run shares with its workers."""
    place = tmp_path / "horm-tssearch-abc"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def test_outside_of_a_run_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with telling("a") as tell:
        assert tell is None
    monkeypatch.delenv("TMPDIR")
    assert running() == []
    assert list(tmp_path.iterdir()) == []


def test_stages_and_attempts_that_have_ended(folder: Path) -> None:
    begun = time.time()
    with telling("caf\udce9") as tell, telling("b"):
        assert tell is not None
        tell(Status(Stage.PATH, 1))
        path = Status(Stage.PATH, 1, 7, 50, 21.0, 1.5, 2.0)
        tell(path)
        tell(Status(Stage.SADDLE, 1))
        tell(SADDLE)
        time.sleep(3 * live.EVERY)
        first, second = running()
        assert second == Running("b", second.since)
        tell(Status(Stage.THERMOCHEMISTRY, 1, outcome="attempt 1: intended"))
    assert (first.id, first.status, first.over) == ("caf\udce9", SADDLE, False)
    assert first.since == pytest.approx(begun, abs=0.5)
    assert [one[0] for one in first.ended] == [path]
    last = running()[0]  # at once: before the result of the search arrives
    assert last.over
    assert [one if isinstance(one, str) else one[0].stage for one in last.ended] == [
        Stage.PATH, Stage.SADDLE, "attempt 1: intended", Stage.THERMOCHEMISTRY,
    ]  # fmt: skip
    assert sum(one[1] for one in last.ended if not isinstance(one, str)) >= 3 * live.EVERY
    assert Running.read(json.loads(json.dumps(first.told()))).status == first.status


def test_the_dead_and_the_damaged_tell_nothing(folder: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    told = json.dumps([Running("a", 0.0, SADDLE).told()])
    place = folder / f"live-{dead}.json"
    place.write_text(told)
    assert running() == []
    assert not place.exists()
    own = folder / f"live-{os.getpid()}.json"
    own.write_text(told)
    assert running() == [Running("a", 0.0, SADDLE)]
    for text in ("", "[", "7", "[{}]", told.replace("saddle", "nowhere")):
        own.write_text(text)
        assert running() == []
    own.rename(folder / "live-x.json")
    assert running() == []


def test_a_killed_worker_leaves_no_ghost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one worker, nothing else is seen while another reaction is at work."""
    monkeypatch.setattr(workers, "_work", lethal.tell_and_die)
    monkeypatch.setattr(progress, "_LOOK_EVERY", 0.05)
    looks: list[list[Running]] = []

    def look(found: Sequence[Running]) -> None:
        looks.append([one for one in found if not one.over])

    rows = run_batch([hcn("lethal"), hcn("b")], tmp_path / "out", "gfn2-xtb", on_running=look)
    assert "process died" in rows[0].reason
    seen = [[one.id for one in found] for found in looks if any(one.status for one in found)]
    assert ["lethal"] in seen
    assert ["b"] in seen
    assert ["lethal", "b"] not in seen
    assert ["b", "lethal"] not in seen
