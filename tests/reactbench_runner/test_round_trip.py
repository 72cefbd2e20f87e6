"""From a reaction as a chemist writes it to the page, in one command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reactbench_runner import load_run
from tests.places import REPOSITORY
from tests.reactbench_runner.calling import call
from workflows.records import Label

pytestmark = pytest.mark.slow

#: SMILES, verdict, and where GFN2-xTB's ΔE‡ must lie, kcal/mol: what it gives, give or take the
#: conformers that a search may start from.
REACTIONS = {
    "Diels-Alder": ("C=CC=C.C=C>>C1=CCCCC1", Label.INTENDED, (3, 10)),
    "SN2": ("[F-].CCl>>[Cl-].CF", Label.BARRIERLESS, None),
    "keto-enol": ("CC(=O)CC(C)=O>>CC(O)=CC(C)=O", Label.INTENDED, (52, 65)),
    "1,5-shift": (
        "[CH2:1]=[CH:2][CH:3]=[CH:4][CH2:5][H:6]>>[H:6][CH2:1][CH:2]=[CH:3][CH:4]=[CH2:5]",
        Label.INTENDED,
        (22, 31),
    ),
}


@pytest.mark.parametrize("name", REACTIONS)
def test_from_smiles_to_the_page(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smiles, verdict, barriers = REACTIONS[name]
    out = tmp_path / "run"
    assert call(smiles, "--out", out, "--calculator", "gfn2-xtb", "--report") == 0
    assert capsys.readouterr().out.rstrip().endswith(f"{out}/report.html")
    row = load_run(out).rows["reaction"]
    assert row.verdict is verdict
    if barriers:
        low, high = barriers
        assert row.barrier_kcal_per_mol is not None
        assert low < row.barrier_kcal_per_mol < high
        assert row.gibbs_barrier_kcal_per_mol is not None
    else:
        assert row.barrier_kcal_per_mol is None
    assert _page_of(out).count("<script") > 1


def test_the_examples_have_a_page(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert call(REPOSITORY / "examples" / "reactions.csv", "--out", out, "--report") == 0
    run = load_run(out)
    assert [row.verdict for row in run.rows.values()] == [Label.INTENDED] * 5
    page = _page_of(out)
    assert all(f"{name}" in page for name in ("3Dmol", "uPlot"))


def _page_of(out: Path) -> str:
    """The text of the page, which must not load anything."""
    page = (out / "report.html").read_text("utf-8")
    assert "default-src 'none'" in page
    assert not re.findall(r"""<(?:script|link|img)[^>]+(?:src|href)\s*=\s*["']?https?:""", page)
    return page
