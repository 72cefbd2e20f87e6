"""What a run would do, without doing it: every input checked, and a rough guess of the time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from horm_calc.chemistry.masses import with_positions
from horm_calc.wording import counted
from reactbench_runner import calculators
from reactbench_runner.calculators import Entry
from reactbench_runner.inputs.large import solvents_of
from reactbench_runner.inputs.reactions import Unreadable
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Start
from workflows.settings import SearchSettings, VerdictSettings
from workflows.starts import SaddleGuess
from workflows.surface import Surface

#: Energies with forces that a search asks for (median), and what the search takes beside each of
#: them, s: of the first 40 reactions of `benchmarks.reactions` with GFN2-xTB on one core.
EVALUATIONS, BESIDE = 700, 0.0012

#: The same from a guess alone: of five saddles of examples/xyz, moved at random by 0.05 Å.
OF_GUESS = 330

#: Energies with forces for each saddle and end that `--verify` refines, beside a Hessian. For HCN,
#: vinyl alcohol and cyclobutene from GFN1-xTB to GFN2-xTB they were 3, 5 and 6.
TO_REFINE = 6

#: Reactions that are told one by one.
_EACH = 5


def rehearse(
    reactions: Sequence[Start | Unreadable],
    calculator: str,
    verify: str | None,
    workers: int,
    settings: SearchSettings,
    console: Console,
) -> int:
    """Print what would run; returns the exit code that tells whether all of it could.

    Raises `SettingsError` for a calculator that cannot be had.
    """
    entry = calculators.entry(calculator)
    trusted = calculators.entry(verify) if verify is not None else None
    problems = {item.id: _problem(item, entry, trusted, settings.verdict) for item in reactions}
    table = Table("reaction", "formula", "atoms", "charge", "multiplicity", "solvent", "would run")
    for item in reactions:
        cells = ["", "", "", "", ""]
        if isinstance(item, Start):
            formula = item.atoms.get_chemical_formula()
            cells = [formula, *map(str, (len(item.atoms), item.charge, item.multiplicity))]
            cells.append(item.solvent or "–")
        table.add_row(item.id, *cells, "no" if problems[item.id] else "yes")
    console.print(table)
    for name, problem in problems.items():
        if problem:
            console.print(f"{name}: {problem}", markup=False, highlight=False)
    fine = [one for one in reactions if isinstance(one, Start) and not problems[one.id]]
    level = entry.level_in_all(solvents_of(fine))
    console.print(f"{len(fine)} of {len(reactions)} would run with {level}")
    if fine:
        console.print(_estimate(fine, calculator, workers), markup=False)
        if verify is not None and (line := of_verification(fine, verify, workers, settings)):
            console.print(line, markup=False, highlight=False)
    return 0 if len(fine) == len(reactions) else 3


def of_verification(
    reactions: Sequence[Start | Unreadable],
    verify: str,
    workers: int,
    settings: SearchSettings,
) -> str:
    """How long the verification of each reaction takes, if the calculator can say; else "".

    A calculator says it by a method `expected_seconds` of its factory, see `WB97X`. Names the
    reactions for which the time limits are too short.
    """
    entry = calculators.entry(verify)
    expected = getattr(entry.build, "expected_seconds", None)
    found = [one for one in reactions if isinstance(one, Start) and not entry.refusal(one)]
    if expected is None or not found:
        return ""
    each, late = {}, []
    for one in found:
        gradient, hessian = expected(one.atoms.numbers)
        each[one.id] = 3 * (TO_REFINE * gradient + hessian)
        relaxing, second = TO_REFINE * gradient, hessian
        if (
            relaxing + second > settings.saddle.wall_time
            or max(relaxing, second) > settings.endpoints.wall_time
        ):
            late.append(one.id)
    total = sum(each.values()) / min(workers, len(each))
    words = (
        f"Each verification with {entry.level_of_theory} takes roughly {_told(each)} on one core, "
        f"and all of them {_span(total)} with {counted(workers, 'worker')}."
    )
    if late:
        more = ", ..." if len(late) > _EACH else ""
        words += (
            f" That is too long for the time limits of {', '.join(late[:_EACH])}{more}: raise "
            "--saddle.wall_time and --endpoints.wall_time (s)."
        )
    return words


def _told(seconds: Mapping[str, float]) -> str:
    """Each of a few, or the range of many."""
    if len(seconds) == 1:
        return _span(*seconds.values())
    if len(seconds) <= _EACH:
        return ", ".join(f"{_span(value)} ({name})" for name, value in seconds.items())
    shortest, longest = (pick(seconds, key=seconds.__getitem__) for pick in (min, max))
    return f"{_span(seconds[shortest])} ({shortest}) to {_span(seconds[longest])} ({longest})"


def _problem(
    item: Start | Unreadable,
    entry: Entry,
    trusted: Entry | None,
    settings: VerdictSettings,
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
    asked = [OF_GUESS if isinstance(one, SaddleGuess) else EVALUATIONS for one in reactions]
    each = statistics.mean(asked) * (sum(seconds) / 2 + BESIDE)
    told = " or ".join(map(str, sorted(set(asked))))
    total = each * len(reactions) / min(workers, len(reactions))
    return (
        f"Roughly {_span(each)} per reaction and {_span(total)} in all with "
        f"{counted(workers, 'worker')}, for {told} energies with forces per search; some "
        "searches need several times that."
    )


def _seconds(reaction: Start, calculator: str) -> float:
    """Of an energy with forces, when the calculator is warm."""
    built = calculators.build(calculator, reaction.charge, reaction.multiplicity, reaction.solvent)
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
