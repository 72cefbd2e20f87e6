"""The record of a reaction: nothing is lost in result.json, and results.csv rounds as ever."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import tempfile
import typing
from pathlib import Path
from types import NoneType

import pytest

from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from reactbench_runner.storage.making import to_row, unreadable_row
from reactbench_runner.storage.result_files import SCHEMA, as_json, read_result
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.store import Store, finished
from reactbench_runner.storage.table import COLUMNS, cells, write_csv
from tests.reactbench_runner.stored import LEVEL, TRUSTED, in_steps, searched, store, verified
from workflows.errors import InputError
from workflows.records import Cost, Label, Reaction, SearchResult, Start, Verdict
from workflows.stage_names import COSTED, Stage
from workflows.starts import BondChanges, SaddleGuess
from workflows.surface import Evaluations

#: A record of the form that had no version, of CH4 and acrolein, and the table made of it then.
BEFORE = Path(__file__).with_name("before_schema")

ALL = {
    "searched": to_row(searched()),
    "verified": to_row(verified(searched())),
    "in steps": to_row(in_steps(searched())),
    "unreadable": unreadable_row(Unreadable("hcn", "reactions.csv, line 3: no file")),
}


def table(*rows: ResultRow) -> bytes:
    written = io.StringIO(newline="")
    write_csv(written, rows)
    return written.getvalue().encode()


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("what", ALL)
def test_what_is_written_is_read(what: str, tmp_path: Path) -> None:
    """To the last digit: nothing is rounded."""
    row = dataclasses.replace(ALL[what], fingerprint="f", structures=("a", "b"))
    file = tmp_path / "result.json"
    file.write_text(as_json(row))
    assert read_result(file, "hcn") == row
    assert json.loads(file.read_text())["schema"] == SCHEMA


def test_a_record_of_before_there_was_a_version(tmp_path: Path) -> None:
    """It is read as it was, and its table is the same, but for names that have changed.

    Also when it is stored anew. Columns that it did not have are empty.
    """
    row = finished(BEFORE)["rxn143"]
    assert row.separated_barrier_kcal_per_mol is None
    assert row.verify_converged is None
    assert row.reactant_molecules == ""
    assert row.verdict is Label.INTENDED
    assert row.costs[Stage.IRC_ENDS] == Cost(Evaluations(54, 0), 2.45)
    assert row.structures is not None
    assert len(row.structures) == 5
    file = tmp_path / "result.json"
    file.write_text(as_json(row))
    [before] = lines((BEFORE / "results.csv").read_bytes().replace(b"lower_way", b"lower_path"))
    for one in (row, read_result(file, "rxn143")):
        [now] = lines(table(one))
        assert [name for name in now if name in before] == list(before)
        assert now == dict.fromkeys(now, "") | before


def test_columns_that_older_versions_did_not_have_are_empty(tmp_path: Path) -> None:
    old = json.loads((BEFORE / "rxn143" / "result.json").read_text())
    new = ("separated", "reactant_molecules", "verify", "structures", "level_of_theory")
    kept = {name: value for name, value in old.items() if not name.startswith(new)}
    file = tmp_path / "result.json"
    file.write_text(json.dumps(kept))
    row = read_result(file, "rxn143")
    assert row.structures is None
    assert Stage.SEPARATED not in row.costs
    shown = cells(row)
    assert {shown[name] for name in COLUMNS if name.startswith(new)} == {""}
    assert shown["separated_molecules_seconds"] == ""


def test_a_younger_version_is_not_taken_for_damage(tmp_path: Path) -> None:
    """Its searches would be made once more, and its records be written over."""
    own = store(tmp_path / "out", searched())
    file = own.out / "hcn" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": SCHEMA + 1}))
    with pytest.raises(InputError, match=f"newer version.*format {SCHEMA + 1}.*another --out"):
        finished(own.out)


@pytest.mark.parametrize("schema", [None, "2", [2], 0])
def test_versions_that_are_none(schema: object, tmp_path: Path) -> None:
    own = store(tmp_path / "out", searched())
    file = own.out / "hcn" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": schema}))
    said: list[str] = []
    assert finished(own.out, said.append) == {}
    assert "'schema'" in said[0]


def test_the_table_rounds_and_the_record_does_not() -> None:
    row = to_row(verified(searched()))
    shown = cells(row)
    some = 0
    for spec in dataclasses.fields(ResultRow):
        value, digits = getattr(row, spec.name), spec.metadata.get("digits")
        if isinstance(value, float) and digits is not None:
            text = str(shown[spec.name])
            assert len(text.partition(".")[2]) <= digits, spec.name
            assert math.isclose(float(text), value, abs_tol=0.5 * 10**-digits), spec.name
            some += float(text) != value
    assert some > 10


def test_every_column_says_what_it_is() -> None:
    kinds = typing.get_type_hints(ResultRow)
    documented = [spec for spec in dataclasses.fields(ResultRow) if "doc" in spec.metadata]
    assert len(documented) == len(COLUMNS) - 3 * len(COSTED)
    for spec in documented:
        assert spec.metadata["doc"].strip()
        [one] = [kind for kind in typing.get_args(kinds[spec.name]) or (kinds[spec.name],)
                 if kind is not NoneType]  # fmt: skip
        assert (spec.metadata.get("digits") is not None) == (one is float), spec.name
        # Texts say nothing by "", numbers by None.
        assert spec.default != "" or one is str, spec.name


def test_records_do_not_change_and_have_names_for_everything() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALL["searched"].reason = "because"  # type: ignore[misc]
    with pytest.raises(TypeError):
        ResultRow("hcn")  # type: ignore[misc]
    with pytest.raises(TypeError):
        SearchResult(searched().reaction, Verdict(Label.FAILED), None)  # type: ignore[misc]


def test_a_reaction_that_could_not_be_read_claims_nothing(tmp_path: Path) -> None:
    """No molecule of no atoms, of charge 0, that was tried once."""
    (tmp_path / "out").mkdir()
    own = Store(tmp_path / "out", "run-1")
    item = Unreadable("gone", "reactions.csv, line 3: no file")
    row = own.add_unreadable(item, "unreadable: no file", LEVEL, TRUSTED)
    assert finished(own.out) == {"gone": row}
    assert own.complete_database([row]) == ([], [])
    [shown] = csv.DictReader(io.StringIO(table(row).decode()))
    filled = {name: value for name, value in shown.items() if value not in ("", "0", "0.0")}
    assert filled == {
        "id": "gone",
        "verdict": "failed",
        "stage": "input",
        "reason": "reactions.csv, line 3: no file",
        "level_of_theory": LEVEL,
        "verify_level": TRUSTED,
    }
    assert {shown[name] for name in ("atoms", "charge", "multiplicity")} == {""}
    log = (own.out / "gone" / "log.txt").read_text()
    assert log == f"{LEVEL}, verified with {TRUSTED}\n"


def test_barriers_stand_only_where_the_saddle_leads() -> None:
    """To both ends, to one of them, or to neither."""
    found = searched()
    for verdict, ends in (
        (Verdict(Label.INTENDED), {"reactant", "product"}),
        (Verdict(Label.IN_STEPS), {"reactant", "product"}),
        (Verdict(Label.PARTLY, side="reactant"), {"reactant"}),
        (Verdict(Label.PARTLY, side="product"), {"product"}),
        (Verdict(Label.UNINTENDED), set()),
        (Verdict(Label.AMBIGUOUS, at_limit=Label.INTENDED), {"reactant", "product"}),
        (Verdict(Label.AMBIGUOUS, at_limit=Label.UNINTENDED), set()),
    ):
        row = to_row(dataclasses.replace(found, verdict=verdict))
        assert (row.barrier_kcal_per_mol is not None) == ("reactant" in ends), verdict
        assert (row.reverse_barrier_kcal_per_mol is not None) == ("product" in ends), verdict
        assert row.reaction_energy_kcal_per_mol is not None
    lost = to_row(dataclasses.replace(found, verdict=Verdict(Label.AMBIGUOUS, lost=("product",))))
    assert lost.reaction_energy_kcal_per_mol is None
    assert lost.product_energy_ev == pytest.approx(found.product.energy)


def test_differences_are_those_of_the_energies() -> None:
    """1 eV is 23.0605 kcal/mol (CODATA)."""
    row = to_row(searched())
    height = 23.060548 * (row.ts_energy_ev - row.reactant_energy_ev)
    assert row.barrier_kcal_per_mol == pytest.approx(height, rel=1e-7)
    between = row.barrier_kcal_per_mol - row.reverse_barrier_kcal_per_mol
    assert row.reaction_energy_kcal_per_mol == pytest.approx(between, rel=1e-9)


def test_energies_along_a_chain_count_from_the_reactant() -> None:
    """The second saddle, the higher one, is that of the row."""
    single, row = to_row(searched()), to_row(in_steps(searched()))
    assert (single.steps, single.step_energies_kcal_per_mol) == (None, "")
    assert row.steps == 2
    first, middle, second = map(float, row.step_energies_kcal_per_mol.split(", "))
    assert first == pytest.approx(single.barrier_kcal_per_mol, abs=1e-3)
    assert middle == pytest.approx(23.0605, abs=1e-3)
    assert second == pytest.approx(first + 0.5 * 23.0605, abs=2e-3)
    assert row.barrier_kcal_per_mol == pytest.approx(second, abs=1e-3)


def test_a_row_says_what_its_search_started_from() -> None:
    result = searched()
    [smiles] = in_table(["id,smiles", "a,C=CO>>CC=O"])
    ends = [result.reaction.reactant, result.reaction.product]
    starts = {
        "ends": Reaction("a", *ends, guess=ends[0]),
        "smiles": smiles,
        "react": BondChanges("a", ends[0], ((0, 1),)),
        "guess": SaddleGuess("a", ends[0]),
    }
    for name, start in starts.items():
        assert isinstance(start, Start)
        assert to_row(dataclasses.replace(result, reaction=start)).start == name
    assert unreadable_row(Unreadable("a", "gone")).start == ""


def in_table(lines: list[str]) -> list[Start | Unreadable]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "reactions.csv"
        file.write_text("\n".join(lines))
        return read_reactions(file)
