"""What a person reads when a run has ended."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.report import table
from reactbench_runner.report.expectations import PAGE, expectations
from reactbench_runner.storage.making import to_row, unreadable_row
from reactbench_runner.storage.rows import ResultRow
from tests.places import REPOSITORY
from tests.reactbench_runner.stored import LEVEL, searched, verified
from workflows.records import Label
from workflows.settings import ThermoSettings
from workflows.stage_names import Stage

PLAIN = dataclasses.replace(to_row(searched()), level_of_theory=LEVEL)
VERIFIED = dataclasses.replace(
    to_row(verified(searched())), level_of_theory=LEVEL, verify_level="DFT"
)


def row(verdict: Label = Label.INTENDED, stage: Stage = Stage.VERDICT, **more: object) -> ResultRow:
    return ResultRow(id="r", verdict=verdict, stage=stage, **more)  # type: ignore[arg-type]


def printed(*rows: ResultRow, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table.summary_table(rows))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_shows_the_numbers_of_the_record() -> None:
    text = printed(PLAIN)
    [line] = [line for line in text.splitlines() if "hcn" in line]
    shown = [cell.strip() for cell in line.split("│")[1:-1]]
    assert shown == [
        "hcn",
        "intended",
        f"{PLAIN.barrier_kcal_per_mol:.1f}",
        "",  # there are no free energies
        f"{PLAIN.reaction_energy_kcal_per_mol:.1f}",
        "",
        f"{PLAIN.imaginary_frequency_cm1:.0f}",
        "0",
    ]
    assert LEVEL in text


def test_the_caption_says_for_which_temperature_free_energies_are() -> None:
    console = Console(file=io.StringIO(), width=120)
    thermo = ThermoSettings(temperature=350.0, pressure=202650.0)
    console.print(table.summary_table([PLAIN], thermo))
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "ΔG‡ and ΔG at 350 K and 2 atm" in text


def test_what_to_expect_of_a_level_is_said_once() -> None:
    water = dataclasses.replace(PLAIN, level_of_theory=f"{LEVEL}, ALPB(water)")
    [line] = expectations([PLAIN, PLAIN, water])
    assert line.startswith(f"{LEVEL}: barriers deviate from ωB97X/6-31G(d) by ")
    assert (REPOSITORY / PAGE).is_file()
    assert not [*expectations([water])]


def test_columns_are_there_where_they_say_something() -> None:
    assert "δH" not in printed(PLAIN)
    assert "RMSD" not in printed(PLAIN)
    assert "δH" in printed(PLAIN, dataclasses.replace(PLAIN, curvature_error_ev_per_a2=0.031))
    text = printed(PLAIN, VERIFIED)
    assert "RMSD" in text
    assert f"{VERIFIED.verify_barrier_kcal_per_mol:.1f}" in text
    assert "0.010" in text


def test_short_times_have_a_decimal_so_that_they_add_up_with_those_of_the_stages() -> None:
    row = to_row(searched())
    for seconds, told in ((0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (17.4, "17 s")):
        line = table.finished_line(dataclasses.replace(row, seconds=seconds))
        assert line.endswith(f", {told}"), line


def test_a_zero_is_a_number() -> None:
    """Where a number is missing nothing stands, and only there."""
    text = printed(row(barrier_kcal_per_mol=0.0))
    assert text.count("0.0 ") == 1


@pytest.mark.parametrize("width", [80, 60])
def test_every_reaction_is_seen_in_a_narrow_terminal(width: int) -> None:
    rows = [dataclasses.replace(VERIFIED, id=name) for name in "abc"]
    text = printed(*rows, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert all(any(f"│{name}" in line for line in text.splitlines()) for name in "abc")


def test_long_runs_show_their_beginning() -> None:
    rows = [row(reason=f"why {number}") for number in range(table.MOST_ROWS + 5)]
    assert len(table.remarks(rows)) == table.MOST_ROWS
    assert table.counts(rows).startswith(f"{len(rows)} of {len(rows)} ")


def test_of_no_reactions_there_is_a_table_too() -> None:
    assert "reaction" in printed()
    assert table.counts([]) == "0 of 0 intended"
    assert table.remarks([]) == []


def test_verdicts_say_the_end_or_the_stage() -> None:
    text = printed(
        row(Label.PARTLY, side="reactant"),
        row(Label.PARTLY),
        row(Label.FAILED, Stage.IRC_ENDS),
        unreadable_row(Unreadable("gone", "no file")),
    )
    for words in ("partly intended (reactant)", "partly intended  ", "failed (irc ends)",
                  "failed (input)"):  # fmt: skip
        assert words in text


def test_counts_name_every_verdict_that_there_is() -> None:
    labels = [Label.FAILED, Label.INTENDED, Label.INTENDED, Label.BARRIERLESS, Label.FAILED]
    assert table.counts([row(label) for label in labels]) == (
        "2 of 5 intended, 1 barrierless, 2 failed"
    )


def test_guesses_alone_count_as_found() -> None:
    """None of them can be *intended*, also where all have failed."""
    failed = row(Label.FAILED, start="guess")
    unread = unreadable_row(Unreadable("gone", "no file"))
    assert table.counts([failed]) == "0 of 1 found, 1 failed"
    assert table.counts([failed, unread]) == "0 of 2 found, 2 failed"
    assert table.counts([failed, row(Label.FOUND, start="guess")]) == "1 of 2 found, 1 failed"
    assert table.counts([failed, row(Label.FAILED, start="ends")]) == "0 of 2 intended, 2 failed"
    assert table.counted({"failed": 2}, guesses=True) == "0 of 2 found, 2 failed"


def test_ids_and_levels_are_not_taken_for_markup() -> None:
    text = printed(dataclasses.replace(PLAIN, level_of_theory="[bold]B3LYP[/]"))
    assert "[bold]B3LYP[/]" in text


def test_remarks_tell_reasons_warnings_molecules_and_verification() -> None:
    one = row(
        reason="why",
        warnings="read this",
        reactant_molecules="CH3Br + Cl-",
        separated_barrier_kcal_per_mol=-9.96,
        separated_gibbs_barrier_kcal_per_mol=1.25,
        separated_gibbs_barrier_1m_kcal_per_mol=-0.64,
        product_molecules="CO + H2",
        separated_reverse_barrier_kcal_per_mol=0.0,
        verify_converged=True,
        verify_reason="the product did not relax",
    )
    assert table.remarks([one]) == [
        "r: why",
        "r: read this",
        "r: from separated CH3Br + Cl-: ΔE‡ -10.0, ΔG‡ 1.2 (-0.6 at 1 mol/L) kcal/mol",
        "r: from separated CO + H2: ΔE‡ 0.0 kcal/mol",
        "r: verified, but the product did not relax",
    ]
    [line] = table.remarks([row(verify_converged=False, verify_reason="no such saddle")])
    assert line == "r: not verified: no such saddle"


def test_the_summary_counts_all_and_measures_the_intended() -> None:
    def compared(
        verdict: Label, converged: bool | None, rmsd: float | None,
        here: float | None, there: float | None,
    ) -> ResultRow:  # fmt: skip
        return row(
            verdict, verify_level="DFT", verify_converged=converged, verify_ts_rmsd_a=rmsd,
            barrier_kcal_per_mol=here, verify_barrier_kcal_per_mol=there,
        )  # fmt: skip

    rows = [
        compared(Label.INTENDED, True, 0.01, 20.0, 21.0),
        compared(Label.INTENDED, True, 0.03, 30.0, 27.0),
        compared(Label.INTENDED, True, 0.08, 40.0, None),  # the end has failed
        compared(Label.INTENDED, False, None, 40.0, None),
        compared(Label.UNINTENDED, True, 5.0, None, None),
        compared(Label.FAILED, None, None, None, None),
    ]
    assert table.verification(rows) == (
        "verified with DFT: 4 of 5 transition states; the intended ones: median RMSD 0.030 Å, "
        "MAE of ΔE‡ between the levels 2.00 kcal/mol"
    )
    assert table.verification(rows[3:4]) == "verified with DFT: 0 of 1 transition states"
    assert table.verification(rows[5:]) == ""


def test_steps_are_counted_and_not_mixed_with_one_step() -> None:
    rows = [PLAIN, row(Label.IN_STEPS, steps=3)]
    assert "intended in 3 steps" in printed(*rows)
    assert table.counts(rows) == "1 of 2 intended, 1 intended in steps"


def test_nothing_is_minus_zero() -> None:
    assert "-0.0" not in printed(dataclasses.replace(PLAIN, reaction_energy_kcal_per_mol=-0.04))


def test_further_energies_are_those_of_the_record() -> None:
    [line] = table.further_energies(VERIFIED)
    barrier, frequency = (
        VERIFIED.verify_barrier_kcal_per_mol,
        VERIFIED.verify_imaginary_frequency_cm1,
    )
    assert line.startswith(f"refined with DFT: ΔE‡ {barrier:.1f} kcal/mol, ΔE ")
    assert f"ν‡ {frequency:.0f} cm⁻¹, RMSD of the two saddles 0.010 Å" in line
    assert table.further_energies(PLAIN) == []
