"""Stored runs that a report can be made of."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from horm_calc.configuration import to_mapping
from reactbench_runner import load_run
from reactbench_runner.report.html import write_html
from tests.reactbench_runner.stored import LEVEL, in_steps, searched, store
from workflows.records import Label, SearchResult, Verdict
from workflows.settings import SearchSettings
from workflows.stage_names import Stage

#: An id that is code, where it is taken for markup.
EVIL = "<script>document.title='broken'<!--"


def run_of(folder: Path, *results: SearchResult, total: int | None = None) -> Path:
    """The folder of a run with these."""
    folder.parent.mkdir(exist_ok=True)
    store(folder, *results)
    record = {
        "calculator": "gfn2-xtb",
        "level_of_theory": LEVEL,
        "settings": to_mapping(SearchSettings()),
        "versions": {"horm-tssearch": "0.1.0", "tblite": "0.8.0"},
        "command": "horm-tssearch </script><script>document.title='broken'</script>",
    }
    (folder / "run.json").write_text(json.dumps(record))
    if total is not None:
        (folder / "progress.json").write_text(json.dumps({"total": total}))
    return folder


def failed(name: str) -> SearchResult:
    """A search that has found nothing."""
    verdict = Verdict(Label.FAILED, "no <b>path</b> was found", stage=Stage.PATH)
    none = dict.fromkeys(("reactant", "product", "path", "saddle", "irc", "irc_ends"))
    return dataclasses.replace(searched(name), verdict=verdict, first_verdict=verdict, **none)


def mixed(folder: Path) -> Path:
    """A run that goes on, with endings of several kinds."""
    warned = dataclasses.replace(searched("warned", 1), warnings=("a lower path <i>exists</i>",))
    chain, evil = in_steps(searched("steps", 3)), searched(EVIL, 4)
    return run_of(folder, searched("plain", 2), warned, failed("failed"), chain, evil, total=7)


def page_of(folder: Path) -> Path:
    """Its report."""
    run = load_run(folder)
    return write_html(run.stored, run.rows, folder / "report.html")
