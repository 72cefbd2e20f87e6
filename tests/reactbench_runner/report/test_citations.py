"""What a run has used, and whom to cite."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from horm_calc.checkpoints.catalogue import CATALOGUE
from horm_calc.configuration import to_mapping
from reactbench_runner.report.citations import calculator_references, methods_of
from reactbench_runner.report.references import OF_METHODS, REFERENCES, address
from reactbench_runner.storage.rows import ENDS, GUESS, REACT, SMILES, ResultRow
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
        assert unquote(doi).lower() in ours


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gfn2-xtb", {"gfn2"}),
        ("wb97x", {"wb97x", "pyscf"}),
        ("horm:horm-mini", {"wb97x", "gfn2", "delta", "transition1x", "reactbench", "hint"}),
        ("horm:weights/horm-mini-xtb.safetensors", {"gfn2", "transition1x", "reactbench", "hint"}),
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
    assert "in other attempts: climbing-image NEB" in text
    assert all(len(found.numbers(names)) == len(set(names)) for _, names in found.sentences)
    numbers = {number for _, names in found.sentences for number in found.numbers(names)}
    assert numbers == set(range(1, len(found.references) + 1))


def told(*rows: ResultRow, **settings: object) -> tuple[str, set[str]]:
    """The paragraph on a run with the default settings, and what it cites."""
    record = {"settings": to_mapping(SearchSettings()) | settings, "calculator": "gfn2-xtb"}
    found = methods_of(record, rows)
    return ". ".join(text for text, _ in found.sentences), set(found.references)


def row(start: str, path: str = "", verdict: Label = Label.INTENDED, **more: object) -> ResultRow:
    more = {"attempts": 1, "stage": Stage.VERDICT} | more
    return ResultRow(id="r", start=start, path_method=path, verdict=verdict, **more)  # type: ignore[arg-type]


def test_guesses_alone() -> None:
    """No path was found, and nothing could be intended."""
    failed = row(GUESS, verdict=Label.FAILED, stage=Stage.SADDLE)
    for rows in ([row(GUESS, verdict=Label.FOUND)], [failed]):
        text, cited = told(*rows)
        assert "Guesses of transition states were refined to saddle points (trust-region" in text
        assert "is called found" in text
        for wrong in ("Paths", "paths", "highest point", "is called intended"):
            assert wrong not in text
        assert not cited & {"string", "geodesic", "radii"}
    old = row("", verdict=Label.FOUND)  # of a version that did not store the start
    assert told(old) == told(row(GUESS, verdict=Label.FOUND))


def test_guesses_and_ends_in_one_run() -> None:
    text, cited = told(row(GUESS, verdict=Label.FOUND), row(ENDS, "string"))
    assert "The highest points of the paths and guesses of transition states were refined" in text
    assert "is called found" in text
    assert "is called intended" in text
    assert "Paths between reactants and products were found (preconditioned string" in text
    assert {"string", "radii"} <= cited


def test_a_guess_beside_both_ends() -> None:
    """The string was not asked where the guess had led to the saddle."""
    text, cited = told(row(ENDS, "guess"))
    assert "the first path led from the one over the guess to the other" in text
    assert "string" not in text
    assert "string" not in cited
    text, cited = told(row(ENDS, "guess"), row(ENDS, "string", attempts=2))
    assert "Other paths between reactants and products were found (preconditioned string" in text
    assert "string" in cited


def test_products_that_were_driven() -> None:
    text, cited = told(row(REACT, "driven"))
    assert "the product was made from the relaxed reactant by driving these bonds" in text
    assert "paths between" not in text.lower()
    assert "string" not in cited
    assert "is called intended" in text
    text, _ = told(row(REACT, "driven"), row(ENDS, "string"))
    assert "preconditioned string" in text
    assert "in other attempts" not in text
    text, _ = told(row(ENDS, "driven", attempts=3))
    assert "in other attempts: paths along which bonds are driven" in text
    assert "the product was made" not in text


def test_structures_of_smiles() -> None:
    text, cited = told(row(SMILES, "string"), row(ENDS, "string"))
    assert "ETKDGv3" in text
    assert "up to 3 conformers of each side were then relaxed" in text
    assert {"rdkit", "etkdg", "etkdg3", "mmff", "uff"} <= cited
    alone, _ = told(row(SMILES, "string"), conformers=1)
    assert "MMFF94" in alone
    assert "conformers of each side" not in alone
    assert "RDKit" not in told(row(ENDS, "string"))[0]


def test_only_some_are_in_a_solvent() -> None:
    every, _ = told(row(ENDS, "string", solvent="water"))
    assert "energies are those in the implicit solvent; the electronic energy" in every
    some, _ = told(row(ENDS, "string", solvent="water"), row(ENDS, "string"))
    assert "energies of reactions in a solvent are those in the implicit solvent; their" in some
    assert "implicit" not in told(row(ENDS, "string"))[0]


def test_of_a_record_that_says_nothing() -> None:
    assert methods_of({}, []).references == ("radii",)
    assert address("radii") == "https://doi.org/10.1039/b801115j"
    assert address("mmff").endswith("(SICI)1096-987X(199604)17:5/6%3C490::AID-JCC1%3E3.0.CO;2-P")
