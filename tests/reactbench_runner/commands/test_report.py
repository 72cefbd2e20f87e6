"""`horm-report` as a user calls it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from reactbench_runner.commands import report
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.structures import entries
from tests.reactbench_runner import calling
from tests.reactbench_runner.report.stored_runs import EVIL, failed, mixed, run_of
from tests.reactbench_runner.stored import LEVEL, in_steps, searched
from workflows.records import SearchResult

call = partial(calling.call, main=report.main)
refused = partial(calling.refused, main=report.main)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mixed(tmp_path / "run")


def test_writes_a_page_and_changes_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert call(folder) == 0
    page = folder / "report.html"
    assert capsys.readouterr().out == f"{page}\n"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {**after, **before} == after
    assert after.keys() - before.keys() == {page}


def test_writes_what_is_asked_for(folder: Path, tmp_path: Path) -> None:
    assert call(folder, "--si", tmp_path / "si.md", "--out", tmp_path / "page.html") == 0
    assert call(folder, "--si", tmp_path / "si.tex") == 0
    assert not (folder / "report.html").exists()
    assert {path.name for path in tmp_path.glob("*.*")} == {"page.html", "si.md", "si.tex"}


def test_supporting_information(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "si.md"
    assert call(folder, "--si", file) == 0
    text = file.read_text("utf-8")
    assert "failed" not in re.findall(r"^## (\S+)", text, re.M)
    assert LEVEL in text
    assert "tblite 0.8.0" in text
    assert "Helgaker" in text
    result = searched("plain", 2)
    assert result.saddle
    part = text.split("## plain")[1].split("\n## ")[0]
    saddle = part.split("### Transition state")[1].split("###")[0]
    told = [
        float(one.replace("−", "-"))
        for one in re.findall(r"−?[\d.]+(?=,|\n)", saddle.split("¹:")[1].split("```")[0])
    ]
    assert told == pytest.approx(result.saddle.modes.frequencies, abs=0.06)
    assert told == sorted(told)
    rows = saddle.split("```text\n")[1].split("```")[0].splitlines()
    assert [row.split()[0] for row in rows] == ["H", "C", "N"]
    positions = [float(number) for row in rows for number in row.split()[1:]]
    assert positions == pytest.approx(result.saddle.atoms.positions.ravel().tolist(), abs=1e-8)
    energy = f"{result.saddle.energy:.6f} eV".replace("-", "−")
    assert energy in saddle
    # Of a reaction in steps, each step; the saddle of its row is one of these.
    steps = text.split("## steps")[1].split("\n## ")[0]
    assert steps.count("transition state\n") == 2
    assert "### Transition state" not in steps
    assert "<" not in re.sub(r"\\<|<!--", "", text)


def in_water(name: str) -> SearchResult:
    result = searched(name)
    return dataclasses.replace(
        result, reaction=dataclasses.replace(result.reaction, solvent="water")
    )


def test_the_summary_names_solvents_where_there_are_several(tmp_path: Path) -> None:
    several = run_of(tmp_path / "several", searched("gas"), in_water("wet"))
    one = run_of(tmp_path / "one", in_water("wet"))
    for out, mark in ((several, "md"), (several, "tex"), (one, "md")):
        assert call(out, "--si", tmp_path / f"{out.name}.{mark}") == 0
    text = (tmp_path / "several.md").read_text("utf-8")
    assert "| reaction | solvent | verdict | ΔE‡ |" in text
    assert "| --- | --- | --- | ---: |" in text
    assert "| gas | – | intended |" in text
    assert "| wet | water | intended |" in text
    assert "of reactions in a solvent are those in the implicit solvent" in text
    latex = (tmp_path / "several.tex").read_text("utf-8")
    assert r"\begin{tabular}{lllrrrrr}" in latex
    assert "wet & water & intended" in latex
    assert "solvent | verdict" not in (tmp_path / "one.md").read_text("utf-8")


def test_latex_is_well_formed(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "si.tex"
    assert call(folder, "--si", file) == 0
    text = file.read_text("utf-8")
    assert text.isascii()
    assert r"\textless{}script\textgreater{}" in text
    outside = re.sub(r"\\begin\{verbatim\}.*?\\end\{verbatim\}", "", text, flags=re.S)
    lines = [line for line in outside.splitlines() if not line.startswith("%")]
    plain = re.sub(r"\\[\\{}$&#%_]", "", "\n".join(lines))
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not set("#%~") & set(plain)
    # _ and ^ stand in formulas alone, & in tables.
    assert not re.search(r"[_^]", re.sub(r"\$[^$]*\$", "", re.sub(r"\\[\"'`^~]\{", "", plain)))
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    assert begun[::2] == [("begin", name) for _, name in begun[1::2]]


def test_figures(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    place = tmp_path / "figures"
    assert call(folder, "--figures", place, "--only", "plain", "--only", EVIL) == 0
    names = {path.name for path in place.iterdir()}
    assert names == {f"{name}{end}" for name in ("plain", EVIL) for end in (".png", ".svg")}
    assert (place / "plain.png").read_bytes().startswith(b"\x89PNG")
    barrier = to_row(searched("plain", 2)).barrier_kcal_per_mol
    assert f"ΔE‡ {barrier:.1f} kcal/mol" in (place / "plain.svg").read_text("utf-8")


def test_without_matplotlib(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "reactbench_runner.report.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install '.[train]'" in refused(capsys, folder, "--figures", folder / "figures")
    assert call(folder) == 0


def test_a_run_in_parquet_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from reactbench_runner.storage import shards

    out = tmp_path / "shards"
    out.mkdir()
    (out / "run.json").write_text('{"level_of_theory": "GFN2-xTB (tblite)"}')
    with contextlib.closing(shards.Shards(out)) as store:
        for number, result in enumerate([searched("a"), in_steps(searched("b")), failed("c")]):
            row = dataclasses.replace(to_row(result), level_of_theory=LEVEL)
            store.add(row, entries(result, LEVEL, ""))
            if number == 0:
                store.seal()
    assert call(out, "--out", tmp_path / "page.html", "--si", tmp_path / "si.tex") == 0
    assert "{b (CHN)}" in (tmp_path / "si.tex").read_text()


def test_what_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refused(capsys, tmp_path / "gone")
    assert "holds no run" in refused(capsys, tmp_path)
    assert "no finished reaction 'gone'" in refused(capsys, folder, "--only", "plain,gone")
    assert "has to end with .md or .tex" in refused(capsys, folder, "--si", tmp_path / "si.doc")
    none = run_of(tmp_path / "none", failed("a"))
    assert "no reaction has a converged" in refused(capsys, none, "--si", tmp_path / "si.md")
    assert not (tmp_path / "si.md").exists()
    assert call(folder, "--out", tmp_path / "gone" / "page.html") == 1
    assert "No such file" in capsys.readouterr().err


def test_of_no_reactions_there_is_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    assert call(tmp_path / "run") == 0
