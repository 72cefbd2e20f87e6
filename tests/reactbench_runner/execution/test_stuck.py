"""A calculator that never comes back costs its reaction, which says so, and nothing else."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from reactbench_runner.execution import stuck, workers
from tests.reactbench_runner import hanging
from tests.reactbench_runner.test_batch import FAST, hcn, run


def short(settings, **stages: float):
    parts = {
        name: dataclasses.replace(getattr(settings, name), wall_time=seconds)
        for name, seconds in stages.items()
    }
    return dataclasses.replace(settings, **parts)


def test_a_search_that_hangs_ends_with_its_stage_and_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_work", hanging.search_hanging)
    start = time.monotonic()
    rows = run([hcn("hangs"), hcn("b")], tmp_path / "out", settings=short(FAST, endpoints=10.0))
    assert (rows[0].verdict, rows[0].stage) == ("failed", "endpoints")
    assert "wall-time of 10 s" in rows[0].reason
    assert "did not return" in rows[0].reason
    assert rows[1].verdict == "intended"
    assert time.monotonic() - start < 200


def test_a_verification_that_hangs_costs_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_work", hanging.search_hanging)
    settings = short(FAST, saddle=8.0)
    [row] = run([hcn("a")], tmp_path / "out", settings=settings, verify="gfn1-xtb")
    assert row.verdict == "intended"
    assert "wall-time of 8 s" in row.verify_reason


def test_word_is_left_once_and_for_one_reaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in ("a", "b/../c", "Ü 7", "x" * 500, "caf\udce9"):
        place = stuck._place(str(tmp_path), name)
        place.write_text('{"stage": "path", "reason": "because"}')
        assert stuck.last_words("another") is None
        assert stuck.last_words(name) == ("path", "because")
        assert stuck.last_words(name) is None
    for damaged in ("", "{", "[]", "7", '{"stage": "path"}'):
        stuck._place(str(tmp_path), "damaged").write_text(damaged)
        assert stuck.last_words("damaged") is None
