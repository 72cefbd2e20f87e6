"""What a run has used, and whom to cite."""

from __future__ import annotations

import re

import pytest

from horm_calc.checkpoints.catalogue import CATALOGUE
from horm_calc.configuration import to_mapping
from reactbench_runner.report.citations import (
    OF_METHODS,
    REFERENCES,
    address,
    calculator_references,
    methods_of,
)
from reactbench_runner.storage.rows import ResultRow
from tests.places import REPOSITORY
from workflows.methods.registry import METHODS
from workflows.records import Label
from workflows.settings import SearchSettings
from workflows.stage_names import Stage


def test_every_method_has_references() -> None:
    known = {(stage, method.name) for stage, group in METHODS.items() for method in group}
    assert OF_METHODS.keys() == known
    assert {name for names in OF_METHODS.values() for name in names} <= REFERENCES.keys()


def test_what_is_cited_here_is_cited_there() -> None:
    """Every DOI of the page on citing that is about searches is one of these."""
    page = (REPOSITORY / "docs/how-to/cite.md").read_text("utf-8")
    page = "\n".join(line for line in page.splitlines() if "horm-thermo" not in line)
    dois = re.findall(r"https://doi\.org/([^)\s]+)\)", page)
    assert dois
    ours = {place.lower() for _, place in REFERENCES.values()}
    for doi in dois:
        assert doi.replace("%28", "(").replace("%29", ")").lower() in ours


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gfn2-xtb", {"gfn2"}),
        ("wb97x", {"wb97x", "pyscf"}),
        ("horm:horm-mini", {"transition1x", "reactbench", "hint"}),
        ("horm:weights/horm-mini-dft.safetensors", {"transition1x", "reactbench", "hint"}),
        ("horm:own.ckpt", set()),
        ("calculator.py:mine", set()),
        *((f"horm:{name}", {"horm"}) for name, entry in CATALOGUE.items() if entry.repository),
    ],
)
def test_calculators(name: str, expected: set[str]) -> None:
    assert set(calculator_references(name)) == expected


def test_methods_of_later_attempts_are_named() -> None:
    row = ResultRow(id="r", verdict=Label.INTENDED, stage=Stage.VERDICT, path_method="neb",
                    irc_method="eulerpc")  # fmt: skip
    record = {"settings": to_mapping(SearchSettings()), "calculator": "gfn2-xtb"}
    found = methods_of(record, [row])
    assert {"string", "climbing", "lqa", "eulerpc", "pysisyphus", "grimme"} <= set(found.references)
    assert "gsm" not in found.references
    text = " ".join(sentence for sentence, _ in found.sentences)
    assert "in later attempts: climbing-image NEB" in text
    assert all(len(found.numbers(names)) == len(set(names)) for _, names in found.sentences)
    numbers = {number for _, names in found.sentences for number in found.numbers(names)}
    assert numbers == set(range(1, len(found.references) + 1))


def test_of_a_record_that_says_nothing() -> None:
    assert methods_of({}, []).references == ("radii",)
    assert address("radii") == "https://doi.org/10.1039/b801115j"
