"""What a run would do, without doing it: every input checked, and a rough guess of the time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from horm_calc.chemistry.masses import with_positions
from horm_calc.wording import counted
from reactbench_runner import calculators
from reactbench_runner.calculators import Entry
from reactbench_runner.inputs.reactions import Unreadable
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Start
from workflows.settings import VerdictSettings
from workflows.surface import Surface

#: Energies with forces that a search asks for (median), and what the search takes beside each of
#: them, s: of the first 40 reactions of `benchmarks.reactions` with GFN2-xTB on one core.
EVALUATIONS, BESIDE = 1400, 0.0012


def rehearse(
    reactions: Sequence[Start | Unreadable],
    calculator: str,
    verify: str | None,
    workers: int,
    console: Console,
    settings: VerdictSettings | None = None,
) -> int:
    """Print what would run; returns the exit code that tells whether all of it could.

    Raises `SettingsError` for a calculator that cannot be had.
    """
    entry = calculators.entry(calculator)
    trusted = calculators.entry(verify) if verify is not None else None
    problems = {item.id: _problem(item, entry, trusted, settings) for item in reactions}
    table = Table("reaction", "formula", "atoms", "charge", "multiplicity", "would run")
    for item in reactions:
        cells = ["", "", "", ""]
        if isinstance(item, Start):
            formula = item.atoms.get_chemical_formula()
            cells = [formula, *map(str, (len(item.atoms), item.charge, item.multiplicity))]
        table.add_row(item.id, *cells, "no" if problems[item.id] else "yes")
    console.print(table)
    for name, problem in problems.items():
        if problem:
            console.print(f"{name}: {problem}", markup=False, highlight=False)
    fine = [one for one in reactions if isinstance(one, Start) and not problems[one.id]]
    console.print(f"{len(fine)} of {len(reactions)} would run with {entry.level_of_theory}")
    if fine:
        console.print(_estimate(fine, calculator, workers), markup=False)
    return 0 if len(fine) == len(reactions) else 3


def _problem(
    item: Start | Unreadable,
    entry: Entry,
    trusted: Entry | None,
    settings: VerdictSettings | None,
) -> str:
    """Why a reaction would not be searched, or not be verified; "" where it would."""
    if isinstance(item, Unreadable):
        return item.reason
    try:
        check_reaction(item, settings)
    except InputError as error:
        return str(error)
    return entry.refusal(item) or (trusted.refusal(item) if trusted else "")


def _estimate(reactions: Sequence[Start], calculator: str, workers: int) -> str:
    """From how long the smallest and the largest molecule take, once each."""
    by_size = sorted(reactions, key=lambda one: len(one.atoms))
    seconds = [_seconds(one, calculator) for one in (by_size[0], by_size[-1])]
    each = EVALUATIONS * (sum(seconds) / 2 + BESIDE)
    total = each * len(reactions) / min(workers, len(reactions))
    return (
        f"Roughly {_span(each)} per reaction and {_span(total)} in all with "
        f"{counted(workers, 'worker')}, for {EVALUATIONS} energies with forces per search; some "
        "searches need several times that."
    )


def _seconds(reaction: Start, calculator: str) -> float:
    """Of an energy with forces, when the calculator is warm."""
    built = calculators.build(calculator, reaction.charge, reaction.multiplicity)
    surface = Surface(built, reaction.charge, reaction.multiplicity)
    surface.at(reaction.atoms)
    start = time.perf_counter()
    surface.at(with_positions(reaction.atoms, 1.001 * reaction.atoms.positions))
    return time.perf_counter() - start


def _span(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
