"""`horm-reactbench` as a user calls it, on small stored runs."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from reactbench_runner.commands import reactbench
from reactbench_runner.metrics.outcomes import measure
from reactbench_runner.metrics.rates import report_of
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.reading import SADDLE, open_run
from reactbench_runner.storage.store import Store
from reactbench_runner.storage.structures import entries
from tests.reactbench_runner import calling
from tests.reactbench_runner.stored import LEVEL, searched
from workflows.records import Label, SearchResult, Verdict
from workflows.stage_names import Stage

#: HCN to HNC: two bonds change (H-C breaks, H-N forms).
CHANGED = 2


def failed(name: str, stage: Stage) -> SearchResult:
    """A search that ends in a stage, with what comes before it."""
    whole = searched(name)
    assert whole.saddle
    none: dict[str, object] = {"irc": None, "irc_ends": None}
    if stage is Stage.SADDLE:
        none["saddle"] = dataclasses.replace(whole.saddle, converged=False)
    if stage in (Stage.PATH, Stage.ENDPOINTS):
        none |= {"path": None, "saddle": None}
    if stage is Stage.ENDPOINTS:
        none |= {"reactant": None, "product": None}
    verdict = Verdict(Label.FAILED, "why", stage=stage)
    return dataclasses.replace(whole, verdict=verdict, first_verdict=verdict, **none)


def ended(name: str, label: Label, seed: int = 0, **more: object) -> SearchResult:
    """A search that has come to a verdict."""
    verdict = Verdict(label, at_limit=more.pop("at_limit", None), lost=more.pop("lost", ()))  # type: ignore[arg-type]
    whole = searched(name, seed)
    return dataclasses.replace(whole, verdict=verdict, **{"first_verdict": verdict, **more})


def run(
    folder: Path, *results: SearchResult, total: int | None = None, fingerprints: Mapping = {}
) -> Path:
    """The folder of a run with these."""
    folder.mkdir()
    store = Store(folder, "run-1")
    for result in results:
        name = result.reaction.id
        store.add(result, fingerprints.get(name, f"of {name}"), LEVEL)
    (folder / "run.json").write_text(json.dumps({"level_of_theory": LEVEL}))
    if total is not None:
        (folder / "progress.json").write_text(json.dumps({"total": total}))
    return folder


def funnel_of(folder: Path) -> dict[str, int]:
    report = report_of(measure(open_run(folder)), 1)
    return {key: rate.count for key, rate in report.funnel.items()}


call = partial(calling.call, main=reactbench.main)
refused = partial(calling.refused, main=reactbench.main)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Every kind of ending, once."""
    late = Verdict(Label.PARTLY)
    return run(
        tmp_path / "mixed",
        ended("a", Label.INTENDED),
        ended("b", Label.INTENDED, first_verdict=late, attempts=2),
        ended("c", Label.PARTLY),
        ended("d", Label.AMBIGUOUS, at_limit=Label.INTENDED),
        ended("e", Label.AMBIGUOUS, at_limit=Label.INTENDED, lost=("product",)),
        ended("f", Label.AMBIGUOUS, at_limit=Label.PARTLY),
        ended("g", Label.IN_STEPS),
        failed("h", Stage.IRC),
        failed("i", Stage.SADDLE),
        failed("j", Stage.PATH),
        failed("k", Stage.ENDPOINTS),
    )


def test_the_funnel_counted_by_hand(mixed: Path) -> None:
    """An end that relaxation has changed is not intended by bonds; a bond near the limit is."""
    assert funnel_of(mixed) == {
        "path": 9,
        "path_converged": 9,
        "saddle": 8,
        "irc": 7,
        "by_bonds": 3,
        "first_by_bonds": 2,
        "intended": 2,
        "first": 1,
        "in_steps": 1,
        "found": 0,
    }
    report = report_of(measure(open_run(mixed)), 1)
    assert [(one.name, one.intended.count, one.intended.total) for one in report.by_bonds] == [
        (str(CHANGED), 2, 10),
        ("unknown", 0, 1),
    ]
    assert [(one.name, one.intended.total) for one in report.by_atoms] == [("1-3", 11)]
    assert report.notes == []


def test_rates_of_a_run_that_goes_on_are_of_all_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "one", ended("a", Label.INTENDED), total=4)
    (folder / ".unfinished-b").mkdir()
    assert call(folder, "--json", tmp_path / "all.json") == 0
    out = capsys.readouterr().out
    assert "3 of 4 reactions have not finished" in out
    [found] = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert found["inputs"] == 4
    assert "≥ 1 (25.0%" in out
    # Wilson: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.96, p = 1/4, n = 4. The
    # three others may yet be intended.
    z, p, n = 1.959964, 0.25, 4
    middle, arm = p + z**2 / 2 / n, z * np.sqrt(p * (1 - p) / n + z**2 / 4 / n**2)
    rate = found["funnel"]["intended"]
    assert (rate["count"], rate["total"], rate["unknown"]) == (1, 4, 3)
    assert rate["low"] == pytest.approx((middle - arm) / (1 + z**2 / n))
    assert rate["high"] == 1


def test_rows_of_older_versions_say_what_they_do_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one attempt it was the first, with none intended the first was not; else unknown."""
    folder = run(
        tmp_path / "old",
        ended("a", Label.INTENDED),
        ended("b", Label.INTENDED, attempts=3),
        ended("c", Label.PARTLY, attempts=3),
    )
    for file in folder.glob("*/result.json"):
        record = json.loads(file.read_text())
        for name in ("verdict_at_first_attempt", "path_converged"):
            del record[name]
        file.write_text(json.dumps(record | {"costs": {}}))
    report = report_of(measure(open_run(folder)), 1)
    first, converged = report.funnel["first"], report.funnel["path_converged"]
    assert (first.count, first.unknown, converged.count, converged.unknown) == (1, 1, 0, 3)
    assert report.funnel["first_by_bonds"] == first
    assert first.high == report.funnel["intended"].high
    assert call(folder) == 0
    out = capsys.readouterr().out
    assert "≥ 0 (0.0%, 0-100)" in out
    assert "≥ 1 (33.3%" in out
    assert "3 rows of an older version have no costs by stage" in out


def test_shards_say_the_same_as_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    from reactbench_runner.storage import shards

    results = [ended("a", Label.INTENDED), ended("b", Label.PARTLY), failed("c", Stage.PATH)]
    folder = run(tmp_path / "folders", *results)
    out = tmp_path / "shards"
    out.mkdir()
    (out / "run.json").write_text((folder / "run.json").read_text())
    with contextlib.closing(shards.Shards(out)) as store:
        for number, result in enumerate(results):
            row = dataclasses.replace(to_row(result), fingerprint=f"of {result.reaction.id}")
            store.add(row, entries(result, LEVEL, ""))
            if number == 0:
                store.seal()
    one, other = (measure(open_run(place)) for place in (folder, out))
    assert funnel_of(folder) == funnel_of(out)
    changed = {name: found.bonds_changed for name, found in other.outcomes.items()}
    assert changed == {"a": 2, "b": 2, "c": 2}
    np.testing.assert_array_equal(
        one.structures["a"][SADDLE].positions, other.structures["a"][SADDLE].positions
    )
    (out / shards.STRUCTURES / "000000.parquet").write_bytes(b"PAR1")
    assert call(out) == 1
    assert "000000.parquet is damaged" in capsys.readouterr().err


def barrier(result: SearchResult) -> float:
    found = to_row(result).barrier_kcal_per_mol
    assert found is not None
    return found


def test_errors_against_a_table_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turned and mirrored saddles are the same; a barrier in eV is a barrier."""
    a, b = ended("a", Label.INTENDED, 1), ended("b", Label.INTENDED, 2)
    folder = run(tmp_path / "run", a, b, ended("c", Label.PARTLY, 3))
    table, frames = tmp_path / "barriers.csv", tmp_path / "saddles.xyz"
    one_ev = 23.060548
    table.write_text(
        f"id,barrier_ev\na,{(barrier(a) - 1) / one_ev}\nb,{(barrier(b) + 3) / one_ev}\nc,1\nz,\n"
    )
    assert a.saddle and b.saddle
    turned, bent = a.saddle.atoms.copy(), b.saddle.atoms.copy()
    turned.rotate(50, (1, 2, 3))
    turned.positions *= (1, 1, -1)
    bent.positions[0] += (0, 1.5, 0)
    turned.info, bent.info = {"id": "a"}, {"id": "b"}
    ase.io.write(frames, [turned, bent], format="extxyz")
    arguments = ("--reference", table, "--reference", frames, "--csv", tmp_path / "rows.csv")
    assert call(folder, *arguments, "--json", tmp_path / "all.json") == 0
    assert "Against the references" in capsys.readouterr().out
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    error = {name: row["barrier_error_kcal_per_mol"] for name, row in rows.items()}
    assert (float(error["a"]), float(error["b"])) == (pytest.approx(1), pytest.approx(-3))
    assert error["c"] == ""
    assert float(rows["a"]["ts_rmsd_a"]) == pytest.approx(0, abs=1e-7)
    assert float(rows["b"]["ts_rmsd_a"]) > 0.3
    [found] = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert found["accuracy"]["barrier_error"]["mean"] == pytest.approx(2)
    assert found["accuracy"]["signed_error"]["mean"] == pytest.approx(-1)
    assert found["accuracy"]["barrier_error"]["count"] == 2


def test_a_folder_of_saddles_is_a_reference(tmp_path: Path) -> None:
    """Named after their reactions, whatever else lies there."""
    from reactbench_runner.metrics.references import read_references

    saddle = searched().saddle
    assert saddle
    (tmp_path / "saddles").mkdir()
    ase.io.write(tmp_path / "saddles" / "a.xyz", saddle.atoms, format="xyz")
    ase.io.write(tmp_path / "saddles" / "b.extxyz", saddle.atoms)
    (tmp_path / "saddles" / "notes.txt").write_text("of 2024")
    assert read_references([tmp_path / "saddles"]).saddles.keys() == {"a", "b"}


def test_a_results_table_is_a_reference_for_what_is_intended(tmp_path: Path) -> None:
    from reactbench_runner.metrics.references import read_references

    good, bad = ended("a", Label.INTENDED), ended("b", Label.PARTLY)
    folder = run(tmp_path / "run", good, bad)
    store = Store(folder, "run-1")
    store.write_table([to_row(good), to_row(bad)])
    assert read_references([folder / "results.csv"]).barriers.keys() == {"a"}
    assert read_references([folder]).barriers == {"a": barrier(good)}


def test_two_runs_reaction_by_reaction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight gained and one lost: p = 2 (1 + 9) / 2⁹."""
    better = [ended(f"g{i}", Label.INTENDED) for i in range(8)]
    worse = [ended(f"g{i}", Label.PARTLY) for i in range(8)]
    first = run(
        tmp_path / "first", *worse, ended("l", Label.INTENDED), ended("s", Label.INTENDED, 1),
        ended("o", Label.INTENDED), ended("m", Label.INTENDED),
    )  # fmt: skip
    second = run(
        tmp_path / "second", *better, ended("l", Label.PARTLY), ended("s", Label.INTENDED, 2),
        ended("o", Label.PARTLY), fingerprints={"o": "other structures"},
    )  # fmt: skip
    assert call(first, second, "--json", tmp_path / "all.json") == 0
    [found] = json.loads((tmp_path / "all.json").read_text())["comparisons"]
    assert (found["common"], found["both"], found["neither"]) == (10, 1, 0)
    assert (found["gained"], found["lost"]) == ([f"g{i}" for i in range(8)], ["l"])
    assert (found["unlike"], found["missing"]) == (["o"], 1)
    assert found["p_value"] == pytest.approx(2 * (1 + 9) / 2**9)
    difference = barrier(ended("s", Label.INTENDED, 2)) - barrier(ended("s", Label.INTENDED, 1))
    assert found["difference"]["mean"] == pytest.approx(difference)
    out = " ".join(capsys.readouterr().out.split())
    assert "gained 8, lost 1; McNemar's exact test p = 0.0391" in out
    assert "lost: l" in out


def test_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = run(tmp_path / "first", *(ended(f"r{i}", Label.INTENDED, i) for i in range(3)))
    second = run(tmp_path / "second", *(ended(f"r{i}", Label.INTENDED, i + 9) for i in range(3)))
    assert call(second, "--reference", first, "--figures", tmp_path / "figures") == 0
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    stems = ("funnel", "success_by_size", "barrier_error", "ts_rmsd")
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")}
    assert "second (3)" in (tmp_path / "figures" / "funnel.svg").read_text()


def test_without_matplotlib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(tmp_path / "run", ended("a", Label.INTENDED))
    monkeypatch.delitem(sys.modules, "reactbench_runner.metrics.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refused(capsys, folder, "--figures", tmp_path / "figures")
    assert "pip install '.[train]'" in said
    assert call(folder) == 0


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "run", ended("a", Label.INTENDED))
    other = run(tmp_path / "other", ended("b", Label.INTENDED))
    (tmp_path / "empty").mkdir()
    table, text = tmp_path / "table.csv", tmp_path / "text.txt"
    table.write_text("id,barrier\na,1\n")
    text.write_text("a 1")
    assert "missing does not exist" in refused(capsys, tmp_path / "missing")
    assert "empty holds no run" in refused(capsys, tmp_path / "empty")
    assert "is a file" in refused(capsys, table)
    assert "named twice" in refused(capsys, folder, folder)
    assert "have no reaction in common" in refused(capsys, folder, other)
    assert "no reaction of" in refused(capsys, folder, "--reference", other)
    assert "table.csv, line 1" in refused(capsys, folder, "--reference", table)
    assert "no reference" in refused(capsys, folder, "--reference", text)
    assert "does not exist" in refused(capsys, folder, "--reference", tmp_path / "missing")
    table.write_text("id,barrier_kcal_per_mol\na,1\na,high\n")
    assert "has a reference already" in refused(
        capsys, folder, "--reference", folder, "--reference", folder
    )
    table.write_text("id,barrier_kcal_per_mol\na,high\n")
    assert "line 2: the barrier is 'high'" in refused(capsys, folder, "--reference", table)
    wrong = tmp_path / "a.xyz"
    ase.io.write(wrong, Atoms("CHN", np.eye(3)))
    assert "the same atoms in the same order" in refused(capsys, folder, "--reference", wrong)
    ase.io.write(wrong, [Atoms("HCN", np.eye(3))] * 2, format="xyz")
    assert "frame 1: its comment names no reaction" in refused(capsys, folder, "--reference", wrong)


def test_a_damaged_record_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "run", ended("a", Label.INTENDED), ended("b", Label.INTENDED))
    (folder / "b" / "result.json").write_text("{")
    assert call(folder) == 0
    out, error = capsys.readouterr()
    assert "reaction 'b' counts as not finished" in error
    assert "1 (100.0%" in out
