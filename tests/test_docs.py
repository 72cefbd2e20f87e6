"""The pages of docs/ say what the programs do: their examples run, their tables are complete."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from reactbench_runner.batch import run_batch
from reactbench_runner.storage.store import finished
from reactbench_runner.storage.table import COLUMNS, cost_columns
from tests.places import REPOSITORY
from workflows.records import Reaction
from workflows.settings import from_mapping
from workflows.stage_names import COSTED

DOCS = REPOSITORY / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


def test_free_energies_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = examples("methods.md")
    found: dict = {}
    exec(example, found)
    # Of water from experiment (NIST): 1595, 3657 and 3756 cm⁻¹; the method is within 10%.
    assert found["modes"].frequencies == pytest.approx([1595, 3657, 3756], rel=0.1)
    assert str(found["values"].gibbs) in capsys.readouterr().out


def test_every_column_is_explained() -> None:
    """By the table that docs/make_columns.py makes; run it where this fails."""
    made = runpy.run_path(str(DOCS / "make_columns.py"))
    text = (DOCS / "results.md").read_text("utf-8")
    assert made["with_table"](text) == text
    named = set(re.findall(r"`([a-z_0-9]+)`", text.split("## The folder")[0]))
    of_stages = {column for stage in COSTED for column in cost_columns(stage)}
    assert {stage.replace(" ", "_") for stage in COSTED} <= named
    assert set(COLUMNS) - of_stages <= named


def test_the_profile_and_the_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ase.db import connect

    reactant = Atoms("HCN", [[-1.07, 0.3, 0], [0, 0, 0], [1.15, 0, 0]])
    product = Atoms("HCN", [[2.15, 0.3, 0], [0, 0, 0], [1.17, 0, 0]])
    settings = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 1})
    monkeypatch.chdir(tmp_path)
    out = Path("runs/first")
    run_batch([Reaction("hcn", reactant, product)], out, "gfn2-xtb", settings, verify="gfn1-xtb")
    [example] = examples("results.md")
    found: dict = {}
    exec(example, found)
    top = int(np.argmax(found["energies"]))
    assert 0 < top < len(found["energies"]) - 1
    saddle = read(out / "hcn" / "ts.xyz")
    assert found["energies"][top] == pytest.approx(saddle.get_potential_energy())
    text = (DOCS / "results.md").read_text("utf-8").split("## results.db")[1]
    with connect(out / "results.db") as database:
        rows = list(database.select())
        assert database.count(role="transition_state", run=rows[0].run) == 1
    for row in rows:
        for name in (row.role, *row.key_value_pairs, *row.data):
            assert f"`{name}`" in text, name
    assert finished(out)["hcn"].verify_converged
