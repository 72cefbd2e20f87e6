"""The summary that a person reads when a run has ended."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from reactbench_runner.storage.rows import GUESS, ResultRow, levels_of
from workflows.records import Label
from workflows.settings import ThermoSettings

_COLOURS = {
    Label.INTENDED: "green",
    Label.IN_STEPS: "green",
    Label.FOUND: "green",
    Label.BARRIERLESS: "cyan",
    Label.PARTLY: "yellow",
    Label.AMBIGUOUS: "yellow",
    Label.UNINTENDED: "red",
    Label.FAILED: "red",
}

#: Pa.
ATMOSPHERE = 101325.0

#: A terminal shows so many rows; the rest stands in results.csv.
MOST_ROWS = 60


class _Column(NamedTuple):
    """A column of numbers: its title, what stands there, and with how many digits."""

    title: str
    value: Callable[[ResultRow], float | None]
    digits: int


_CURVATURE_ERROR = _Column("δH", lambda row: row.curvature_error_ev_per_a2, 2)
_VERIFIED = (
    _Column("ΔE‡*", lambda row: row.verify_barrier_kcal_per_mol, 1),
    _Column("ΔG‡*", lambda row: row.verify_gibbs_barrier_kcal_per_mol, 1),
    _Column("RMSD", lambda row: row.verify_ts_rmsd_a, 3),
)
_NUMBERS = (
    _Column("ΔE‡", lambda row: row.barrier_kcal_per_mol, 1),
    _Column("ΔG‡", lambda row: row.gibbs_barrier_kcal_per_mol, 1),
    _Column("ΔE", lambda row: row.reaction_energy_kcal_per_mol, 1),
    _Column("ΔG", lambda row: row.reaction_gibbs_kcal_per_mol, 1),
    _Column("ν‡", lambda row: row.imaginary_frequency_cm1, 0),
    _CURVATURE_ERROR,
    *_VERIFIED,
    _Column("s", lambda row: row.seconds, 0),
)


def summary_table(rows: Sequence[ResultRow], thermo: ThermoSettings | None = None) -> Table:
    """One line a reaction: verdict, energies in kcal/mol, imaginary frequency in cm⁻¹.

    thermo: of the run, for which the caption says what free energies are for.

    The error of the curvature has a column only where the calculator has its own Hessian, the
    verification where there was one, and solvents where there are several.
    """
    caption = "energies in kcal/mol, ν‡ in cm⁻¹ (negative: imaginary)"
    if thermo is not None:
        at = f"{thermo.temperature:g} K and {thermo.pressure / ATMOSPHERE:g} atm"
        caption = f"energies in kcal/mol, ΔG‡ and ΔG at {at}, ν‡ in cm⁻¹ (negative: imaginary)"
    if rows:
        caption = f"{escape(levels_of(rows) or rows[0].level_of_theory)}; {caption}"
    in_several = len({row.solvent for row in rows}) > 1
    columns = list(_NUMBERS)
    if any(row.curvature_error_ev_per_a2 is not None for row in rows):
        caption += ", δH: deviation of the Hessian from forces, eV/Å²"
    else:
        columns.remove(_CURVATURE_ERROR)
    if _attempted(rows):
        caption += ", *: verified, RMSD between the two saddles in Å"
    else:
        columns = [column for column in columns if column not in _VERIFIED]
    # Three more columns than fit into 80 characters with room around them.
    table = Table(caption=caption, padding=0 if _attempted(rows) else (0, 1))
    table.add_column("reaction")
    if in_several:
        table.add_column("solvent")
    table.add_column("verdict")
    for column in columns:
        table.add_column(column.title, justify="right")
    for row in rows[:MOST_ROWS]:
        colour = _COLOURS[row.verdict]
        numbers = [_number(column.value(row), column.digits) for column in columns]
        solvent = [row.solvent or "–"] if in_several else []
        table.add_row(row.id, *solvent, f"[{colour}]{verdict_words(row)}[/]", *numbers)
    return table


def counts(rows: Sequence[ResultRow]) -> str:
    """'4 of 6 intended, 1 partly intended, 1 failed' - over all input reactions."""
    starts = {row.start for row in rows if row.start}
    return counted(Counter(str(row.verdict) for row in rows), guesses=starts == {GUESS})


def counted(verdicts: Mapping[str, int], *, guesses: bool = False) -> str:
    """As `counts`, of how many there are of each verdict.

    *found* stands first where nothing but guesses was searched. guesses: whether that is known.
    """
    total = sum(verdicts.values())
    guesses = guesses or (Label.FOUND in verdicts and Label.INTENDED not in verdicts)
    first = Label.FOUND if guesses else Label.INTENDED
    parts = [f"{verdicts.get(first, 0)} of {total} {first}"]
    others = [label for label in Label if label is not first]
    parts += [f"{number} {label}" for label in others if (number := verdicts.get(label))]
    return ", ".join(parts)


def verification(rows: Sequence[ResultRow]) -> str:
    """How far the verified transition states are from those of the search, in one line.

    Counts are of all reactions, the numbers of those that are *intended* or *found*. Empty for a
    run without verification.
    """
    attempted = _attempted(rows)
    if not attempted:
        return ""
    converged = [row for row in attempted if row.verify_converged]
    line = f"verified with {levels_of(attempted, verified=True)}: "
    line += f"{len(converged)} of {len(attempted)} transition states"
    good = [label for label in (Label.INTENDED, Label.FOUND) if label in {r.verdict for r in rows}]
    intended = [row for row in converged if row.verdict in good]
    differences = [
        abs(there - here)
        for row in intended
        if (here := row.barrier_kcal_per_mol) is not None
        and (there := row.verify_barrier_kcal_per_mol) is not None
    ]
    distances = [row.verify_ts_rmsd_a for row in intended if row.verify_ts_rmsd_a is not None]
    if distances:
        distance = statistics.median(distances)
        line += f"; the {' and '.join(good)} ones: median RMSD {distance:.3f} Å"
    if differences:
        line += f", MAE of ΔE‡ between the levels {statistics.mean(differences):.2f} kcal/mol"
    return line


def _attempted(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows with a verification."""
    return [row for row in rows if row.verify_converged is not None]


def verdict_words(row: ResultRow) -> str:
    """The verdict with the end, the steps or the stage that it is about."""
    if row.verdict is Label.IN_STEPS:
        return f"intended in {row.steps} steps"
    if row.verdict is Label.PARTLY and row.side:
        return f"{row.verdict} ({row.side})"
    if row.verdict is Label.FAILED:
        return f"{row.verdict} ({row.stage})"
    return row.verdict


def finished_line(row: ResultRow) -> str:
    """'hcn: intended, ΔE‡ 73.2 kcal/mol, ΔG‡ 68.3 kcal/mol, 1.2 s', or with the reason.

    Of a *found* one the barrier back as well.
    """
    words = [f"{row.id}: {verdict_words(row)}"]
    back = row.reverse_barrier_kcal_per_mol if row.verdict is Label.FOUND else None
    for name, value in (
        ("ΔE‡", row.barrier_kcal_per_mol),
        ("back", back),
        ("ΔG‡", row.gibbs_barrier_kcal_per_mol),
    ):
        if value is not None:
            words.append(f"{name} {_with_unit(value, 1, 'kcal/mol')}")
    if row.seconds:
        words.append(f"{row.seconds:.{int(row.seconds < 9.95)}f} s")  # as its stages have it
    return ", ".join(words) + (f": {row.reason}" if row.reason else "")


def remarks(rows: Sequence[ResultRow]) -> list[str]:
    """Why a verdict is not plainly *intended*, and what else a reader should know."""
    lines = []
    for row in rows[:MOST_ROWS]:
        lines += [f"{row.id}: {text}" for text in (found_words(row), row.warnings) if text]
        lines += [f"{row.id}: {text}" for text in from_separated(row)]
        if row.verify_reason:
            outcome = "verified, but" if row.verify_converged else "not verified:"
            lines.append(f"{row.id}: {outcome} {row.verify_reason}")
    return lines


def found_words(row: ResultRow) -> str:
    """The reason of a verdict; before that of a *found* one, what it leads from and to, how high.

    Nobody has said which end is the reactant, so both barriers are of interest.
    """
    if row.verdict is not Label.FOUND:
        return row.reason
    ends = [row.reactant_smiles, row.product_smiles]
    known = " -> ".join(ends) if all(ends) else ""
    there, back = row.barrier_kcal_per_mol, row.reverse_barrier_kcal_per_mol
    heights = ""
    if there is not None and back is not None:
        heights = f"ΔE‡ {there:.1f}, back {back:.1f} kcal/mol (from the higher end)"
    return "; ".join(filter(None, (": ".join(filter(None, (known, heights))), row.reason)))


def further_energies(row: ResultRow) -> list[str]:
    """Barriers from separate molecules, and those at the level of a verification."""
    lines = [*from_separated(row)]
    if row.verify_converged:
        told = {
            "ΔE‡": _with_unit(row.verify_barrier_kcal_per_mol, 1, "kcal/mol"),
            "ΔG‡": _with_unit(row.verify_gibbs_barrier_kcal_per_mol, 1, "kcal/mol"),
            "ΔE": _with_unit(row.verify_reaction_energy_kcal_per_mol, 1, "kcal/mol"),
            "ΔG": _with_unit(row.verify_reaction_gibbs_kcal_per_mol, 1, "kcal/mol"),
            "ν‡": _with_unit(row.verify_imaginary_frequency_cm1, 0, "cm⁻¹"),
            "RMSD of the two saddles": _with_unit(row.verify_ts_rmsd_a, 3, "Å"),
        }
        found = ", ".join(f"{name} {text}" for name, text in told.items() if text)
        lines.append(f"refined with {row.verify_level}: {found}")
    return lines


def _with_unit(value: float | None, digits: int, unit: str) -> str:
    return f"{_number(value, digits)} {unit}" if value is not None else ""


def from_separated(row: ResultRow) -> Iterator[str]:
    """The barriers from the molecules of an end that is in pieces."""
    for molecules, energy, gibbs, concentrated in (
        (
            row.reactant_molecules,
            row.separated_barrier_kcal_per_mol,
            row.separated_gibbs_barrier_kcal_per_mol,
            row.separated_gibbs_barrier_1m_kcal_per_mol,
        ),
        (
            row.product_molecules,
            row.separated_reverse_barrier_kcal_per_mol,
            row.separated_reverse_gibbs_barrier_kcal_per_mol,
            row.separated_reverse_gibbs_barrier_1m_kcal_per_mol,
        ),
    ):
        if energy is not None:
            line = f"from separated {molecules}: ΔE‡ {energy:.1f}"
            if gibbs is not None:
                line += f", ΔG‡ {gibbs:.1f} ({concentrated:.1f} at 1 mol/L)"
            yield f"{line} kcal/mol"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.0
