"""Wherever a calculator breaks, the log says where in it; the words for people stay one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from reactbench_runner.batch import run_batch
from reactbench_runner.storage.store import finished
from tests.surfaces import EXCHANGE, LEPS, QUICK
from workflows.records import Label, Reaction, SearchResult
from workflows.stage_names import Stage
from workflows.surface import Surface
from workflows.tssearch import search

LINE = 'raise KeyError("a bug of mine")'


class Breaking(LEPS):
    """LEPS, until it is asked the question `where`, or for the `after`th energy."""

    def __init__(self, where: str = "", after: float = float("inf")) -> None:
        super().__init__()
        self.where, self.after = where, after

    def calculate(self, *arguments: object, **options: object) -> None:
        self.after -= 1
        self._break("calculate" if self.after < 0 else "")
        super().calculate(*arguments, **options)

    def get_hessian(self, atoms: Atoms) -> object:
        self._break("get_hessian")
        return Surface(LEPS()).get_hessian(atoms)

    def concerns(self, atoms: Atoms) -> list[str]:
        self._break("concerns")
        return []

    def evaluate(self, structures: list[Atoms], properties: tuple[str, ...]) -> list[dict]:
        self._break("evaluate")
        found = (Surface(LEPS()).at(atoms) for atoms in structures)
        return [{"energy": energy, "forces": forces} for energy, forces in found]

    def _break(self, name: str) -> None:
        if name and name in (self.where, "calculate"):
            raise KeyError("a bug of mine")


def told(result: SearchResult) -> str:
    """The log, and that nobody is shown more than a line."""
    said = [result.verdict.reason, *result.warnings, *result.skipped.values()]
    assert any("a bug of mine" in text for text in said), said
    assert not any("\n" in text for text in said)
    return result.log


@pytest.mark.parametrize("after", [0, 5, 20, 40, 60])
def test_in_every_stage(after: int) -> None:
    result = search(EXCHANGE, Breaking(after=after), QUICK)
    assert result.verdict.label is Label.FAILED
    assert LINE in told(result)


@pytest.mark.parametrize("where", ["get_hessian", "concerns"])
def test_in_every_question(where: str) -> None:
    assert LINE in told(search(EXCHANGE, Breaking(where), QUICK))


def test_in_what_it_can_do() -> None:
    class Unsure(LEPS):
        @property
        def get_hessian(self) -> object:
            raise KeyError("a bug of mine")

    result = search(EXCHANGE, Unsure(), QUICK)
    assert result.verdict.label is Label.FAILED
    assert LINE in told(result)


def test_in_molecules_of_an_end_in_pieces() -> None:
    """H and H2 alone: the search itself is done, and its verdict stays."""
    apart = Reaction("apart", *(end.copy() for end in (EXCHANGE.reactant, EXCHANGE.product)),
                     multiplicity=2)  # fmt: skip

    def build(charge: int, multiplicity: int) -> Calculator:
        raise KeyError("a bug of mine")

    result = search(apart, LEPS(), QUICK, build=build)
    assert result.verdict.label is Label.INTENDED
    log = told(result)
    assert LINE in log
    assert f"===== {Stage.SEPARATED} =====" in log


def test_in_the_file_of_a_batch(tmp_path: Path) -> None:
    """As a user finds it: a line in the table, the traceback in log.txt."""

    def broken(charge: int, multiplicity: int) -> Breaking:
        return Breaking(after=20)

    run_batch([EXCHANGE], tmp_path / "out", broken, settings=QUICK)
    row = finished(tmp_path / "out")["exchange"]
    assert row.verdict is Label.FAILED
    assert "a bug of mine" in row.reason
    assert "\n" not in row.reason
    log = (tmp_path / "out" / "exchange" / "log.txt").read_text()
    assert LINE in log
