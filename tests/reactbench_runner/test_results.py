"""A stored run in Python."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from horm_calc.configuration import SettingsError
from reactbench_runner import StorageError, load_run
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.structures import entries
from tests.places import REPOSITORY
from tests.reactbench_runner.report.stored_runs import run_of
from tests.reactbench_runner.stored import LEVEL, in_steps, searched
from workflows.errors import InputError
from workflows.records import Label, SearchResult


@pytest.fixture
def result() -> SearchResult:
    return searched("hcn", 3)


def test_what_was_stored_comes_back(tmp_path: Path, result: SearchResult) -> None:
    run = load_run(run_of(tmp_path / "run", result, searched("other", 4)))
    assert [one.id for one in run] == ["hcn", "other"]
    assert (len(run), "hcn" in run, "gone" in run) == (2, True, False)
    assert run.level_of_theory == LEVEL
    assert run.record["calculator"] == "gfn2-xtb"
    one = run["hcn"]
    assert one.verdict is Label.INTENDED
    assert result.saddle and result.reactant and result.irc
    saddle, reactant, irc = one.transition_state, one.reactant, one.profile()
    assert saddle and reactant and irc and one.product
    np.testing.assert_array_equal(saddle.hessian, result.saddle.hessian)
    np.testing.assert_allclose(saddle.modes.frequencies, result.saddle.modes.frequencies)
    assert saddle.converged
    assert reactant.energy == result.reactant.energy
    # From relaxed end to relaxed end.
    np.testing.assert_array_equal(irc.energies[1:-1], result.irc.energies)
    assert irc.coordinate[irc.top] == 0
    assert (np.diff(irc.coordinate) >= 0).all()
    assert one.profile("lower_path") is None


def test_profiles_of_versions_without_a_coordinate(tmp_path: Path, result: SearchResult) -> None:
    """It is computed: the saddle, the highest point, is at zero, and lengths are the same."""
    folder = run_of(tmp_path / "run", result)
    new = load_run(folder)["hcn"].profile()
    text = (folder / "hcn" / "irc.xyz").read_text()
    lines = [line.split(" irc_coordinate")[0] for line in text.splitlines()]
    (folder / "hcn" / "irc.xyz").write_text("\n".join(lines) + "\n")
    old = load_run(folder)["hcn"].profile()
    assert new and old
    assert old.top == int(new.energies.argmax())
    np.testing.assert_allclose(np.diff(old.coordinate), np.diff(new.coordinate), atol=1e-4)


def test_steps_have_profiles_of_their_own(tmp_path: Path, result: SearchResult) -> None:
    run = load_run(run_of(tmp_path / "run", in_steps(result)))
    first, second = (run["hcn"].profile(f"step{number}_irc") for number in (1, 2))
    assert first and second
    assert len(first.frames) == len(second.frames) == 5


def test_a_saddle_that_did_not_converge_says_so(tmp_path: Path, result: SearchResult) -> None:
    assert result.saddle
    half = dataclasses.replace(result.saddle, converged=False)
    run = load_run(run_of(tmp_path / "run", dataclasses.replace(result, saddle=half)))
    saddle = run["hcn"].transition_state
    assert saddle and not saddle.converged


def test_shards_give_the_same(tmp_path: Path, result: SearchResult) -> None:
    pytest.importorskip("pyarrow")
    from reactbench_runner.storage import shards

    folder, out = run_of(tmp_path / "folders", result, searched("b")), tmp_path / "shards"
    out.mkdir()
    (out / "run.json").write_text((folder / "run.json").read_text())
    with contextlib.closing(shards.Shards(out)) as store:
        for number, search in enumerate((result, searched("b"))):
            row = dataclasses.replace(to_row(search), level_of_theory=LEVEL)
            store.add(row, entries(search, LEVEL, ""))
            if number == 0:
                store.seal()
    one, other = load_run(folder)["hcn"], load_run(out)["hcn"]
    assert one.transition_state and other.transition_state and other.reactant
    np.testing.assert_array_equal(one.transition_state.hessian, other.transition_state.hessian)
    assert one.points.keys() == other.points.keys()
    assert other.profile() is None
    found = dict(load_run(out).stored.stationary_points({"hcn", "b"}))
    assert found.keys() == {"hcn", "b"}
    np.testing.assert_array_equal(
        found["hcn"]["transition_state"][1]["frequencies_cm1"],
        one.points["transition_state"][1]["frequencies_cm1"],
    )


def test_the_table_has_all_digits_and_missing_numbers(tmp_path: Path, result: SearchResult) -> None:
    pandas = pytest.importorskip("pandas")
    failed = dataclasses.replace(searched("none"), saddle=None, path=None, irc=None, irc_ends=None)
    table = load_run(run_of(tmp_path / "run", result, failed)).table()
    assert list(table.index) == ["hcn", "none"]
    assert table.loc["hcn", "barrier_kcal_per_mol"] == to_row(result).barrier_kcal_per_mol
    assert pandas.isna(table.loc["none", "barrier_kcal_per_mol"])
    assert table["gibbs_barrier_kcal_per_mol"].dtype == float
    assert table.loc["hcn", "verdict"] == "intended"
    assert table.loc["hcn", "saddle_gradients"] == 0


def test_what_cannot_be_read_is_named(
    tmp_path: Path, result: SearchResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_of(tmp_path / "run", result, searched("b"))
    (folder / "b" / "result.json").write_text("{")
    (folder / "hcn" / "irc.xyz").write_text("3\n\nC 0 0\n")
    (folder / "hcn" / "structures.json").write_text("{")
    said: list[str] = []
    run = load_run(folder, say=said.append)
    assert len(run) == 1
    assert "reaction 'b' counts as not finished" in said[0]
    with pytest.raises(StorageError, match=r"irc\.xyz is damaged"):
        run["hcn"].profile()
    with pytest.raises(StorageError, match="structures of reaction 'hcn'"):
        _ = run["hcn"].reactant
    with pytest.raises(KeyError):
        _ = run["b"]
    with pytest.raises(InputError, match="holds no run"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="cannot be a folder name"):
        run.stored.folder_of("../hcn")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SettingsError, match="pip install pandas"):
        run.table()


def test_the_example_of_the_guide(
    tmp_path: Path, result: SearchResult, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("pandas")
    text = (REPOSITORY / "docs" / "how-to" / "report.md").read_text("utf-8")
    [example] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    run_of(tmp_path / "runs" / "first", result)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out.startswith("hcn ")
