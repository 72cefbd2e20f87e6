"""The summary that a person reads when a run has ended."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from reactbench_runner.storage.rows import Row
from workflows.records import Label

_COLOURS = {
    Label.INTENDED: "green",
    Label.BARRIERLESS: "cyan",
    Label.PARTLY: "yellow",
    Label.AMBIGUOUS: "yellow",
    Label.UNINTENDED: "red",
    Label.FAILED: "red",
}

#: A terminal shows so many rows; the rest stands in results.csv.
MOST_ROWS = 60

_CURVATURE_ERROR = ("δH", "curvature_error_ev_per_a2", "{:.2f}")
_VERIFIED = (
    ("ΔE‡ verified", "verify_barrier_kcal_per_mol", "{:.1f}"),
    ("RMSD", "verify_ts_rmsd_a", "{:.3f}"),
)
_NUMBERS = (
    ("ΔE‡", "barrier_kcal_per_mol", "{:.1f}"),
    ("ΔG‡", "gibbs_barrier_kcal_per_mol", "{:.1f}"),
    ("ΔE", "reaction_energy_kcal_per_mol", "{:.1f}"),
    ("ΔG", "reaction_gibbs_kcal_per_mol", "{:.1f}"),
    ("ν‡", "imaginary_frequency_cm1", "{:.0f}"),
    _CURVATURE_ERROR,
    *_VERIFIED,
    ("s", "seconds", "{:.0f}"),
)


def summary_table(rows: Sequence[Row]) -> Table:
    """One line a reaction: verdict, energies in kcal/mol, imaginary frequency in cm⁻¹.

    The error of the curvature has a column only where the calculator has its own Hessian, and
    the verification where there was one.
    """
    caption = "energies in kcal/mol, ν‡ in cm⁻¹ (negative: imaginary)"
    if rows:
        caption = f"{escape(rows[0]['level_of_theory'])}; {caption}"
    columns = list(_NUMBERS)
    if any(row["curvature_error_ev_per_a2"] != "" for row in rows):
        caption += ", δH: Hessian against forces, eV/Å²"
    else:
        columns.remove(_CURVATURE_ERROR)
    if _attempted(rows):
        caption += ", RMSD of both saddles in Å"
    else:
        columns = [column for column in columns if column not in _VERIFIED]
    # Two more columns than fit into 80 characters with room around them.
    table = Table(caption=caption, padding=0 if _attempted(rows) else (0, 1))
    table.add_column("reaction")
    table.add_column("verdict")
    for title, _, _ in columns:
        table.add_column(title, justify="right")
    for row in rows[:MOST_ROWS]:
        colour = _COLOURS[Label(row["verdict"])]
        numbers = [_number(row[column], form) for _, column, form in columns]
        table.add_row(row["id"], f"[{colour}]{_verdict(row)}[/]", *numbers)
    return table


def counts(rows: Sequence[Row]) -> str:
    """'4 of 6 intended, 1 partly intended, 1 failed' - over all input reactions."""
    number = Counter(row["verdict"] for row in rows)
    parts = [f"{number[Label.INTENDED]} of {len(rows)} intended"]
    parts += [f"{number[label]} {label}" for label in list(Label)[1:] if number[label]]
    return ", ".join(parts)


def verification(rows: Sequence[Row]) -> str:
    """How far the verified transition states are from those of the search, in one line.

    Counts are of all reactions, the numbers of those that are *intended*. Empty for a run
    without verification.
    """
    attempted = _attempted(rows)
    if not attempted:
        return ""
    converged = [row for row in attempted if row["verify_converged"]]
    line = f"verified with {attempted[0]['verify_level']}: "
    line += f"{len(converged)} of {len(attempted)} transition states"
    intended = [row for row in converged if row["verdict"] == Label.INTENDED]
    differences = [
        abs(row["verify_barrier_kcal_per_mol"] - row["barrier_kcal_per_mol"])
        for row in intended
        if row["verify_barrier_kcal_per_mol"] != ""
    ]
    if intended:
        distance = statistics.median(row["verify_ts_rmsd_a"] for row in intended)
        line += f"; the intended ones: median RMSD {distance:.3f} Å"
    if differences:
        line += f", MAE of ΔE‡ between the levels {statistics.mean(differences):.2f} kcal/mol"
    return line


def _attempted(rows: Sequence[Row]) -> list[Row]:
    """The rows with a verification; those of older runs have no such columns."""
    return [row for row in rows if row.get("verify_converged", "") != ""]


def _verdict(row: Row) -> str:
    if row["verdict"] == Label.PARTLY and row["side"]:
        return f"{row['verdict']} ({row['side']})"
    if row["verdict"] == Label.FAILED:
        return f"{row['verdict']} ({row['stage']})"
    return str(row["verdict"])


def remarks(rows: Sequence[Row]) -> list[str]:
    """Why a verdict is not plainly *intended*, and what else a reader should know."""
    lines = []
    for row in rows[:MOST_ROWS]:
        lines += [f"{row['id']}: {text}" for text in (row["reason"], row["warnings"]) if text]
        lines += [f"{row['id']}: {text}" for text in _from_separated(row)]
        if problem := row.get("verify_reason"):
            outcome = "verified, but" if row["verify_converged"] else "not verified:"
            lines.append(f"{row['id']}: {outcome} {problem}")
    return lines


def _from_separated(row: Row) -> Iterator[str]:
    """The barriers from the molecules of an end that is in pieces; older runs have no columns."""
    for way, molecules in (("", "reactant_molecules"), ("reverse_", "product_molecules")):
        energy = row.get(f"separated_{way}barrier_kcal_per_mol", "")
        gibbs = row.get(f"separated_{way}gibbs_barrier_kcal_per_mol", "")
        if energy != "":
            line = f"from separated {row[molecules]}: ΔE‡ {energy:.1f}"
            if gibbs != "":
                concentrated = row[f"separated_{way}gibbs_barrier_1m_kcal_per_mol"]
                line += f", ΔG‡ {gibbs:.1f} ({concentrated:.1f} at 1 mol/L)"
            yield f"{line} kcal/mol"


def _number(value: object, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) else ""
