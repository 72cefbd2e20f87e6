"""The page as a file."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from reactbench_runner import load_run
from reactbench_runner.report import html
from reactbench_runner.report.payload import details_of, ladder
from reactbench_runner.storage.rows import ResultRow
from tests.places import REPOSITORY
from tests.reactbench_runner.report.stored_runs import failed, mixed, page_of, run_of
from tests.reactbench_runner.stored import searched
from workflows.records import Label
from workflows.stage_names import Stage

ASSETS = REPOSITORY / "reactbench_runner" / "report" / "assets"


def unpacked(page: Path, element: str) -> list[Any]:
    """The JSON in the lines of an element."""
    found = re.search(
        rf'<script type="text/plain" id="{element}">(.*?)</script>', page.read_text(), re.S
    )
    assert found
    return [json.loads(gzip.decompress(base64.b64decode(line))) for line in found[1].split("\n")]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return page_of(mixed(tmp_path / "run"))


def test_nothing_in_the_file_leads_out_of_it(report: Path) -> None:
    page = report.read_text("utf-8")
    assert "default-src 'none'" in page
    assert not re.findall(
        r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page.split("</style>")[1]
    )
    assert page.count("<script") == page.count("</script>") == 5
    assert "document.title" not in page


def test_libraries_are_those_that_were_published() -> None:
    told = dict(re.findall(r"([0-9a-f]{64})  (\S+)", (ASSETS / "README.md").read_text("utf-8")))
    assert len(told) == 3
    for digest, name in told.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest


def test_every_reaction_has_its_details(report: Path) -> None:
    [summary] = unpacked(report, "summary")
    details = dict(
        zip((row["id"] for row in summary["rows"]), unpacked(report, "details"), strict=True)
    )
    assert len(details) == 5
    assert details["plain"]["cells"]["verdict"] == "intended"
    assert [film["name"] for film in details["plain"]["films"]] == ["IRC", "Path"]
    assert details["plain"]["changing"] == [[0, 1], [0, 2]]
    assert all(drawing.lstrip().startswith("<?xml") for drawing in details["plain"]["drawings"])
    assert details["failed"]["films"] == []
    assert details["failed"]["missing"] == []
    assert summary["costs"][-1][0] == "all"


def test_a_run_without_files_shows_its_stationary_points(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", searched())
    for file in (folder / "hcn").glob("*.xyz"):
        file.unlink()
    [details] = unpacked(page_of(folder), "details")
    [film] = details["films"]
    assert (film["name"], len(film["frames"]), film["top"]) == ("Stationary points", 3, 1)
    assert details["missing"] == ["IRC: irc.xyz is not stored", "Path: path.xyz is not stored"]
    (folder / "hcn" / "structures.json").unlink()
    [details] = unpacked(page_of(folder), "details")
    assert (details["films"], details["drawings"]) == ([], ["", ""])


def test_a_damaged_file_is_told_of(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", searched())
    (folder / "hcn" / "irc.xyz").write_text("3\n\nC nan 0 0\n")
    said: list[str] = []
    run = load_run(folder)
    page = html.write_html(run.stored, run.rows, folder / "report.html", said.append)
    [details] = unpacked(page, "details")
    assert [film["name"] for film in details["films"]] == ["Path"]
    assert "irc.xyz is damaged" in details["missing"][0]
    assert said == details["missing"]


def test_more_reactions_than_a_page_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MOST_REACTIONS", 1)
    folder = run_of(tmp_path / "run", searched("a"), failed("b"))
    page = page_of(folder)
    [summary] = unpacked(page, "summary")
    assert [row["id"] for row in summary["rows"]] == ["a"]
    assert summary["counts"] == "1 of 2 intended, 1 failed"
    assert "first 1 of 2 reactions" in summary["notes"][0]
    assert summary["failures"][0]["count"] == 1


def row(**more: Any) -> ResultRow:
    return ResultRow(id="r", verdict=Label.PARTLY, stage=Stage.VERDICT, **more)


def test_levels_count_from_the_end_that_the_saddle_is_connected_with() -> None:
    both = row(barrier_kcal_per_mol=20.0, gibbs_barrier_kcal_per_mol=21.0,
               reaction_energy_kcal_per_mol=-9.0, reaction_gibbs_kcal_per_mol=-8.0)  # fmt: skip
    assert ladder(both) == [
        {"name": "R", "e": 0.0, "g": 0.0},
        {"name": "TS", "e": 20.0, "g": 21.0},
        {"name": "P", "e": -9.0, "g": -8.0},
    ]
    back = row(reverse_barrier_kcal_per_mol=29.0, reaction_energy_kcal_per_mol=-9.0)
    assert ladder(back) == [{"name": "TS", "e": 29.0}, {"name": "P", "e": 0.0}]
    assert ladder(row()) == []
    steps = row(steps=2, step_energies_kcal_per_mol="10.0, 5.0, 30.0",
                reaction_energy_kcal_per_mol=-1.0, gibbs_barrier_kcal_per_mol=31.0)  # fmt: skip
    assert [(one["name"], one["e"], one.get("g")) for one in ladder(steps)] == [
        ("R", 0.0, 0.0), ("TS1", 10.0, None), ("I1", 5.0, None), ("TS2", 30.0, 31.0),
        ("P", -1.0, None),
    ]  # fmt: skip


def test_cells_are_those_of_the_table(tmp_path: Path) -> None:
    one = dataclasses.replace(row(), seconds=1.234)
    found = details_of(one, {}, tmp_path, 1.2)
    assert found["cells"]["seconds"] == "1.23"
    assert "barrier_kcal_per_mol" not in found["cells"]
