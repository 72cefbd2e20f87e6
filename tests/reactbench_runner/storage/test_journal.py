"""Stages kept as they end: what is written, what is read back, and what becomes of faults."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from horm_calc.xtb import XTB
from reactbench_runner.resuming import look_at_journals
from reactbench_runner.storage import journal
from reactbench_runner.storage.journal import JOURNAL, MEMORY, Journals, clear_journals
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import SEARCHES
from reactbench_runner.storage.typed import plain, restored
from tests.reactbench_runner.stored import searched
from tests.reactbench_runner.test_batch import hcn
from workflows.errors import IRCFailed, NotConverged, StageError
from workflows.in_flight import run_together
from workflows.journal import digest
from workflows.records import Cost, Reaction, SearchResult
from workflows.settings import from_mapping
from workflows.stage_names import Stage
from workflows.tssearch import search

SETTINGS = from_mapping(
    {"path": {"method": "geodesic"}, "attempts": 1, "irc": {"step_length": 0.4},
     "lower_path": {"steps": 0}}
)  # fmt: skip


class Counting(XTB):
    """GFN2-xTB that counts, and is interrupted after so many calculations."""

    def __init__(self, stop: float = np.inf) -> None:
        super().__init__(method="GFN2-xTB", charge=0, multiplicity=1, verbosity=0)
        self.calls, self.stop = 0, stop

    def calculate(self, *arguments: Any, **named: Any) -> None:
        self.calls += 1
        if self.calls > self.stop:
            raise KeyboardInterrupt
        super().calculate(*arguments, **named)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage is written when it ends, however short it was."""
    monkeypatch.setattr(journal, "WORTH", 0.0)
    monkeypatch.setattr(journal, "REST", 0.0)


def start(
    folder: Path | None,
    stop: float = np.inf,
    reaction: Reaction | None = None,
    *,
    many: bool = False,
) -> tuple[SearchResult | None, int]:
    """A search with the journals in `folder`: its result, None if interrupted, and its calls."""
    calculator, reaction = Counting(stop), reaction or hcn()
    kept = Journals(folder, {"": "GFN2-xTB"}, many).open(reaction) if folder else None
    try:
        return search(reaction, calculator, SETTINGS, journal=kept), calculator.calls
    except KeyboardInterrupt:
        return None, calculator.calls
    finally:
        if kept:
            kept.close()


def told(result: SearchResult | None) -> ResultRow:
    """Its row, without wall-times."""
    assert result is not None
    row = to_row(result)
    costs = {stage: dataclasses.replace(cost, seconds=0) for stage, cost in row.costs.items()}
    return dataclasses.replace(row, seconds=0, costs=costs)


@pytest.fixture(scope="module")
def undisturbed() -> tuple[SearchResult, int]:
    result, calls = start(None)
    assert result
    assert result.verdict.label == "intended"
    return result, calls


def test_a_search_interrupted_again_and_again_is_the_same_to_the_last_digit(
    tmp_path: Path, undisturbed: tuple[SearchResult, int]
) -> None:
    """In every third of the work, so that it is in another stage each time."""
    result, calls = undisturbed
    for _ in range(2):
        assert start(tmp_path, calls // 3)[0] is None
    again, rest = start(tmp_path)
    assert again
    assert rest < 0.7 * calls
    assert told(again) == told(result)
    assert again.irc
    assert result.irc
    for one, other in zip(again.irc.images, result.irc.images, strict=True):
        assert (one.positions == other.positions).all()
    assert "stages are those of an earlier start" in again.log
    # What took longest is taken over too.
    seconds = [cost.seconds for cost in again.costs.values()]
    assert all(seconds)


def test_what_people_see_of_a_search_under_way(tmp_path: Path) -> None:
    start(tmp_path, 60)
    folder = tmp_path / "hcn"
    names = sorted(file.name for file in folder.glob("*.xyz"))
    assert names[:3] == ["01-endpoints.xyz", "02-endpoints.xyz", "03-path.xyz"]
    atoms = read(folder / "01-endpoints.xyz")
    assert {"charge": 0, "multiplicity": 1, "level_of_theory": "GFN2-xTB"}.items() <= (
        atoms.info.items()
    )
    assert atoms.get_potential_energy() < -100
    assert "===== path =====" in (folder / "log.txt").read_text()


def test_of_many_searches_only_long_ones_leave_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, 60, many=True)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(journal, "WORTH_OF_MANY", 0.0)
    start(tmp_path, 60, many=True)
    assert {file.name for file in (tmp_path / "hcn").iterdir()} == {JOURNAL, MEMORY}


def cut_off(folder: Path) -> None:
    lines = (folder / JOURNAL).read_bytes()
    (folder / JOURNAL).write_bytes(lines[: len(lines) // 2])


def flip(folder: Path) -> None:
    """One character of a number in the middle."""
    data = bytearray((folder / JOURNAL).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / JOURNAL).write_bytes(data)


def of_other_versions(folder: Path) -> None:
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    form, digest_, versions = json.loads(lines[0].partition(b" ")[2])
    lines[0] = journal._line([form, digest_, versions | {"tblite": "0.1"}])
    (folder / JOURNAL).write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_off, "has been cut off"),
        (flip, "is damaged"),
        (lambda folder: (folder / MEMORY).write_bytes(b""), "is damaged"),
        (lambda folder: (folder / MEMORY).unlink(), "No such file"),
        (lambda folder: (folder / JOURNAL).write_bytes(os.urandom(1000)), "cut off|damaged"),
        (of_other_versions, "other versions"),
    ],
)
def test_a_damaged_journal_is_written_anew(
    damage: Callable[[Path], Any],
    words: str,
    tmp_path: Path,
) -> None:
    start(tmp_path, 60)
    damage(tmp_path / "hcn")
    kept = Journals(tmp_path, {"": "GFN2-xTB"}).open(hcn())
    assert kept
    kept.close()
    assert "of no use" in kept.remark
    assert re.search(words, kept.remark)
    assert kept.recall(0, "") is None


def test_a_damaged_journal_costs_time_and_nothing_else(
    tmp_path: Path, undisturbed: tuple[SearchResult, int]
) -> None:
    start(tmp_path, 60)
    flip(tmp_path / "hcn")
    again, calls = start(tmp_path)
    assert calls == undisturbed[1]
    assert told(again) == told(undisturbed[0])
    assert again
    assert "the journal of an earlier start is of no use: journal.jsonl is damaged" in again.log


def test_the_journal_of_another_reaction_is_not_used(tmp_path: Path) -> None:
    start(tmp_path, 60)
    moved = hcn()
    moved.reactant.positions[0, 1] += 0.01
    kept = Journals(tmp_path, {"": "GFN2-xTB"}).open(moved)
    assert kept
    kept.close()
    assert "another reaction" in kept.remark


def test_a_stage_that_is_another_one_is_computed(tmp_path: Path) -> None:
    """As when a bug of the search has been mended since."""
    start(tmp_path, 60)
    file = tmp_path / "hcn" / JOURNAL
    lines = file.read_bytes().splitlines(keepends=True)
    key, stage, ended = json.loads(lines[2].partition(b" ")[2])
    lines[2] = journal._line([key[::-1], stage, ended])
    file.write_bytes(b"".join(lines))
    again, _ = start(tmp_path)
    assert again
    assert again.verdict.label == "intended"
    assert "stage 2 of an earlier start was another one; resumed: 1 stages" in again.log


def test_a_full_disk_ends_the_journal_and_not_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: tuple[SearchResult, int]
) -> None:
    real, written = os.write, 0

    def full(file: int, data: Any) -> int:
        nonlocal written
        written += 1
        if written > 2:
            real(file, bytes(data)[:100])  # as much as there is room for
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    with monkeypatch.context() as patched:
        patched.setattr(journal.os, "write", full)
        result, _ = start(tmp_path)
    assert told(result) == told(undisturbed[0])
    assert result
    assert "not kept any more (No space left on device)" in result.log
    assert "goes on behind the first 2" in result.log
    again, calls = start(tmp_path)  # and it does
    assert calls < undisturbed[1]
    assert told(again) == told(undisturbed[0])


def test_several_searches_under_way_in_one_process(tmp_path: Path) -> None:
    other = hcn("other")
    other.reactant.positions[0, 1] += 0.05
    calls = [(one.id, partial(start, tmp_path, reaction=one)) for one in (hcn(), other)]
    found = dict(run_together(calls, 2))
    assert {name for name, _ in found.items()} == {"hcn", "other"}
    for one in (hcn(), other):
        again, rest = start(tmp_path, reaction=one)
        assert rest == 0
        assert told(again) == told(found[one.id][0])


def test_two_processes_do_not_write_to_one_journal(tmp_path: Path) -> None:
    start(tmp_path, 60)
    first = Journals(tmp_path, {}).open(hcn())
    assert first
    assert Journals(tmp_path, {}).open(hcn()) is None
    first.close()


def test_after_a_slow_writing_the_next_one_comes_within_half_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took a second would otherwise be followed by two and a half minutes without."""
    monkeypatch.setattr(journal, "WORTH", 3.0)
    monkeypatch.setattr(journal, "REST", 150.0)
    kept = Journals(tmp_path, {}).open(hcn())
    assert kept
    kept._spent = 1.0
    error = NotConverged("stopped")
    written = []
    for number in range(4):
        error.cost = Cost(seconds=9.9)
        kept.keep(str(number), Stage.PATH, error, log=str, memory=lambda: None)  # type: ignore
        written.append((tmp_path / "hcn" / JOURNAL).exists())
    kept.close()
    assert written == [False, False, False, True]


def test_where_the_folder_of_the_run_is_not_there_is_no_journal(tmp_path: Path) -> None:
    assert Journals(tmp_path / "elsewhere", {}).open(hcn()) is None
    assert start(tmp_path / "elsewhere", 20)[0] is None
    assert list(tmp_path.iterdir()) == []


def test_journals_of_finished_reactions_go(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / SEARCHES / name).mkdir(parents=True)
    assert clear_journals(tmp_path, {"a"}) == ["b"]
    assert clear_journals(tmp_path, {"b"}) == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_which_searches_go_on_and_which_do_not(tmp_path: Path) -> None:
    folder = tmp_path / SEARCHES
    folder.mkdir()
    start(folder, 60)
    for name in ("moved", "damaged", "empty", "elsewhere", "done"):
        shutil.copytree(folder / "hcn", folder / name)
    (folder / "empty" / MEMORY).unlink()
    with (folder / "damaged" / JOURNAL).open("r+b") as file:
        file.seek(20)
        file.write(b"?")
    reactions = [dataclasses.replace(hcn(), id=name) for name in ("moved", "damaged", "empty")]
    reactions[0].reactant.positions[0] += 0.1
    said: list[str] = []
    look_at_journals(tmp_path, {"done"}, [hcn(), *reactions], said.append)
    going_on, anew, elsewhere = said
    assert going_on == "searches that go on where they were interrupted: hcn"
    assert anew == (
        "interrupted searches that start from their beginning: damaged (journal.jsonl is damaged), "
        "empty (memory.json is missing), moved (it is of another reaction, or of another "
        "version of horm-tssearch)"
    )
    assert "not in this input: elsewhere; " in elsewhere
    assert str(folder) in elsewhere
    assert not (folder / "done").exists()
    assert (folder / "elsewhere").exists()
    # As told: the one search computes less than the other.
    assert start(folder)[1] < start(folder, reaction=reactions[0])[1]


def test_records_come_back_as_they_were() -> None:
    result = searched()
    isotopes = Atoms("HH", [[0, 0, 0], [0, 0, 1 / 3]], masses=[1.008, 2.014], info={"a": (1, "b")})
    error = IRCFailed("did not descend")
    error.partial, error.last, error.log = result.irc, ((isotopes, None),), "Å"
    for record in (result.reactant, result.path, result.saddle, result.irc, isotopes, error):
        text = json.dumps(plain(record))
        back = restored(json.loads(text))
        assert type(back) is type(record)
        assert json.dumps(plain(back)) == text
        if not isinstance(record, StageError):
            assert digest(back) == digest(record)
    back = restored(json.loads(json.dumps(plain(isotopes))))
    assert (back.get_masses() == isotopes.get_masses()).all()
    assert (back.positions == isotopes.positions).all()


def test_only_records_are_kept_and_read() -> None:
    with pytest.raises(TypeError, match="a set cannot be kept"):
        plain({1})
    for wrong in ({"record": ["Path", {}]}, {"array": ["O", [1], ""]}, {"run": "me"}, {}):
        with pytest.raises(ValueError, match=": "):
            restored(wrong)


def test_an_error_that_gets_more_words_later_is_kept_without_them(tmp_path: Path) -> None:
    kept = Journals(tmp_path, {}).open(hcn())
    assert kept
    error = NotConverged("stopped")
    kept.keep("key", "path", error, log=str, memory=lambda: None)  # type: ignore[arg-type]
    error.args = ("the reactant: stopped",)
    kept.close()
    again = Journals(tmp_path, {}).open(hcn())
    assert again
    again.close()
    assert str(again.recall(0, "key")) == "stopped"
