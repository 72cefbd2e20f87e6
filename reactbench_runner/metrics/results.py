"""All that is told of some runs, as records, a table and JSON."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reactbench_runner.metrics.agreement import Deviation, deviations, other_reactions
from reactbench_runner.metrics.comparison import Comparison, compare
from reactbench_runner.metrics.outcomes import FUNNEL, Measured, measure
from reactbench_runner.metrics.published import DIFFERENCES, PUBLISHED
from reactbench_runner.metrics.rates import RunReport, report_of
from reactbench_runner.metrics.references import read_references
from reactbench_runner.metrics.statistics import CONFIDENCE
from reactbench_runner.storage.reading import open_run
from reactbench_runner.storage.store import Say
from workflows.errors import InputError

#: Columns of the table, beside the answers of the funnel.
_COLUMNS = ("run", "id", "atoms", "bonds_changed")
_ERRORS = (
    *("barrier_kcal_per_mol", "reference_barrier_kcal_per_mol", "barrier_error_kcal_per_mol"),
    "ts_rmsd_a",
)
_ANSWERS = tuple((key, ask) for key, _, ask in FUNNEL)


@dataclass(frozen=True)
class Results:
    """Of each run in order; references: what these are, empty for none."""

    measured: list[Measured]
    reports: list[RunReport]
    deviations: list[dict[str, Deviation]]
    comparisons: list[Comparison]
    references: list[Path]
    seed: int


def results_of(
    runs: Sequence[Path], references: Sequence[Path], seed: int, say: Say = lambda text: None
) -> Results:
    """Of the runs in these folders, compared with the first and with references.

    `say` hears of damaged records. Raises `InputError` for what is no run or no reference, and
    where there is nothing to compare.
    """
    opened = [open_run(folder) for folder in runs]
    if len({run.folder.resolve() for run in opened}) < len(opened):
        raise InputError("a run is named twice; name each once")
    if len({run.name for run in opened}) < len(opened):  # as in a/run and b/run
        opened = [dataclasses.replace(run, name=str(run.folder)) for run in opened]
    known = read_references(references)
    measured = [measure(run, say, keep=known.saddles) for run in opened]
    found = [deviations(one, known) for one in measured] if references else []
    reports = [
        report_of(one, seed, found[i] if found else None, other_reactions(one, known))
        for i, one in enumerate(measured)
    ]
    comparisons = [compare(measured[0], other, seed) for other in measured[1:]]
    empty: list[dict[str, Deviation]] = [{} for _ in measured]
    return Results(measured, reports, found or empty, comparisons, known.sources, seed)


def write_csv(path: Path, results: Results) -> Path:
    """Write a row for each finished reaction of each run; empty where something is unknown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*_COLUMNS, *(key for key, _ in _ANSWERS), *_ERRORS])
        table.writerows(_rows(results))
    return path


def write_json(path: Path, results: Results) -> Path:
    """Write all figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "confidence": CONFIDENCE,
        "seed": results.seed,
        "references": [str(one) for one in results.references],
        "runs": [dataclasses.asdict(one) for one in results.reports],
        "comparisons": [dataclasses.asdict(one) for one in results.comparisons],
        "published": [dataclasses.asdict(one) for one in PUBLISHED],
        "differences": list(DIFFERENCES),
    }
    path.write_text(json.dumps(content, indent=1), "utf-8")
    return path


def _rows(results: Results) -> Iterator[list[Any]]:
    nothing = Deviation("", None, None, None)
    for one, found in zip(results.measured, results.deviations, strict=True):
        for name, outcome in one.outcomes.items():
            near = found.get(name, nothing)
            yield [
                *(one.run.name, name, outcome.atoms, outcome.bonds_changed),
                *(ask(outcome) for _, ask in _ANSWERS),
                *(outcome.barrier, near.reference_barrier, near.barrier_error, near.rmsd),
            ]
