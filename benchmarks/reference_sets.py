"""How good the search is on reactions and transition states that others have collected.

    python -m benchmarks.reference_sets --workers 2

searches the reactions of all sets of `benchmarks.reference_data` (or of those that are named) with
the default settings. The transition states of the literature are refined at the same level, and
their IRCs followed, to compare with what the search finds. Of a set of guesses alone, this is all.
The tables are printed as Markdown and written as CSV. A run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks.reference_data import MEANT, SETS, Known, read_set
from benchmarks.reference_saddles import from_known_saddle
from benchmarks.reference_scores import Nearness, Score, score
from horm_calc.configuration import SettingsError
from reactbench_runner.batch import run_batch
from reactbench_runner.storage.rows import ResultRow
from workflows.errors import WorkflowError
from workflows.records import Label, Reaction


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.reference_sets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these reactions of the sets")
    parser.add_argument("--calculator", default="gfn2-xtb")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/reference-sets"))
    options = parser.parse_args(arguments)
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"{', '.join(sorted(unknown))}: the sets are {', '.join(SETS)}")

    names = options.sets or list(SETS)
    ids = {one.id for name in names for one in read_set(name)}
    if unknown := set(options.only or ()) - ids:
        parser.error(f"{', '.join(sorted(unknown))}: not in {', '.join(names)}")

    summary = []
    for name in names:
        known = [one for one in read_set(name) if not options.only or one.id in options.only]
        if not known:
            continue
        run = partial(run_batch, calculator=options.calculator, workers=options.workers)
        try:
            if len(known[0].frames) == 1:
                summary.append(guesses(name, known, options.out, run))
            else:
                summary.append(reactions(name, known, options.out, run))
        except (WorkflowError, SettingsError) as error:
            sys.exit(str(error))
    print("\n".join(["## All sets", "", *SUMMARY, *summary]))


SUMMARY = [
    "| set | number | *intended* | aim | *intended in steps* | *barrierless* | same saddle | lower "
    "| higher | *intended* or the same saddle | saddle of the literature: exists | *intended* |",
    f"|{' --- |' * 12}",
]

#: `run_batch` with the calculator and the workers.
Run = Callable[..., list[ResultRow]]


def reactions(name: str, known: Sequence[Known], out: Path, run: Run) -> str:
    """Search a set, print its table, and return its line of the summary."""
    tasks, tell = _tasks(known), partial(_tell, name)
    references = run(
        tasks, out / f"{name}-literature", search=partial(from_known_saddle, name), on_finished=tell
    )
    rows = run(tasks, out / name, on_finished=tell)
    scores = [
        score(row, reference, out / name / row.id, out / f"{name}-literature" / row.id)
        for row, reference in zip(rows, references, strict=True)
    ]
    write_csv(out / f"{name}.csv", [asdict(one) for one in scores])
    print(markdown(name, scores))
    return summarised(name, scores, references)


def guesses(name: str, known: Sequence[Known], out: Path, run: Run) -> str:
    """Refine the guesses of a set, print their table, and return its line of the summary."""
    tasks = _tasks(known)
    search = partial(from_known_saddle, name)
    rows = run(tasks, out / name, search=search, on_finished=partial(_tell, name))
    columns = ("guess", "reaction", "electrons", "verdict", "frequency", "gradients", "reason")
    table = [
        (
            row.id,
            MEANT[row.id].reaction,
            f"{row.charge}, {row.multiplicity}",
            row.verdict.value,
            _number(row.imaginary_frequency_cm1, ".0f"),
            row.gradients,
            row.reason,
        )
        for row in rows
    ]
    write_csv(out / f"{name}.csv", [dict(zip(columns, line, strict=True)) for line in table])
    heads = "| guess | meant for | charge, multiplicity | verdict | ν‡, cm⁻¹ | gradients | reason |"
    lines = [f"## {name}", "", heads, "| --- | --- | --- | --- | --- | --- | --- |"]
    print("\n".join([*lines, *(_line(*cells) for cells in table), ""]))
    intended = sum(row.verdict is Label.INTENDED for row in rows)
    exist = sum(row.ts_energy_ev is not None for row in rows)
    return _line(
        name, len(rows), *_part(intended, len(rows), SETS[name].aim), *[""] * 6, exist, intended
    )


def markdown(name: str, scores: Sequence[Score]) -> str:
    """The table of a set: a row for each reaction."""
    return "\n".join(
        [
            f"## {name}",
            "",
            "| reaction | | verdict | saddle | RMSD, Å | E − E(literature), kcal/mol "
            "| IRC of the literature's saddle | attempts | gradients | s | reason |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *(
                _line(
                    one.reaction,
                    f"{one.formula}{_charge(one.charge)}",
                    one.verdict.value,
                    one.saddle.value,
                    _number(one.rmsd, ".2f"),
                    _number(one.above, ".1f"),
                    one.reference.value,
                    one.attempts,
                    one.gradients,
                    f"{one.seconds:.0f}",
                    one.reason,
                )
                for one in scores
            ),
            "",
        ]
    )


def summarised(name: str, scores: Sequence[Score], references: Sequence[ResultRow]) -> str:
    """The line of a set in the summary."""
    kinds = [one.saddle for one in scores]
    verdicts = [one.verdict for one in scores]
    intended = verdicts.count(Label.INTENDED)
    either = sum(one.verdict is Label.INTENDED or one.saddle is Nearness.SAME for one in scores)
    return _line(
        name,
        len(scores),
        *_part(intended, len(scores), SETS[name].aim),
        *(verdicts.count(label) for label in (Label.IN_STEPS, Label.BARRIERLESS)),
        *(kinds.count(kind) for kind in (Nearness.SAME, Nearness.LOWER, Nearness.HIGHER)),
        either,
        sum(row.ts_energy_ev is not None for row in references),
        sum(row.verdict is Label.INTENDED for row in references),
    )


def write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """A table with all digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _tasks(known: Sequence[Known]) -> list[Reaction]:
    return [
        Reaction(
            one.id,
            one.frames[0],
            one.frames[-1],
            charge=one.charge,
            multiplicity=one.multiplicity,
        )
        for one in known
    ]


def _tell(name: str, row: ResultRow) -> None:
    print(f"{name} {row.id}: {row.verdict}", file=sys.stderr, flush=True)


def _part(count: int, number: int, aim: float) -> tuple[str, str]:
    return f"{count}, {count / number:.0%}", f"{aim:.0%}"


def _charge(charge: int) -> str:
    return {0: "", 1: "⁺", -1: "⁻"}[charge]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, f"z{form}")  # no -0.0


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
