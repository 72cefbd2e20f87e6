"""The edge between records and `results.csv`: columns in order, rounded, empty for None."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable
from typing import TextIO

from reactbench_runner.storage.rows import ResultRow
from workflows.stage_names import COSTED, Stage

_FIELDS = tuple(spec for spec in dataclasses.fields(ResultRow) if "doc" in spec.metadata)


def cost_columns(stage: Stage) -> tuple[str, str, str]:
    """The columns of what a stage took: seconds, gradients and Hessians."""
    name = stage.replace(" ", "_")
    return f"{name}_seconds", f"{name}_gradients", f"{name}_hessians"


#: The columns of results.csv in order; the last ones are the cost of each stage.
COLUMNS = (
    *(spec.name for spec in _FIELDS),
    *(column for stage in COSTED for column in cost_columns(stage)),
)

#: Columns of numbers that are not whole.
FRACTIONS = (
    *(spec.name for spec in _FIELDS if spec.metadata.get("digits") is not None),
    *(cost_columns(stage)[0] for stage in COSTED),
)


def cells(row: ResultRow) -> dict[str, object]:
    """A row as `results.csv` shows it, by column."""
    found = {
        spec.name: _cell(getattr(row, spec.name), spec.metadata.get("digits")) for spec in _FIELDS
    }
    for stage in COSTED:
        cost = row.costs.get(stage)
        values: tuple[object, ...] = ("", "", "")
        if cost is not None:
            calls = cost.evaluations
            values = _cell(cost.seconds, 2), calls.gradients, calls.hessians
        found |= dict(zip(cost_columns(stage), values, strict=True))
    return found


def values(row: ResultRow) -> dict[str, object]:
    """As `cells`, with all digits, and None where there is nothing to tell of a number."""
    found: dict[str, object] = {spec.name: _plain(getattr(row, spec.name)) for spec in _FIELDS}
    for stage, cost in row.costs.items():
        calls = cost.evaluations
        numbers = (cost.seconds, calls.gradients, calls.hessians)
        found |= dict(zip(cost_columns(stage), numbers, strict=True))
    return found


def _plain(value: object) -> object:
    """Text of a verdict or a stage as text alone."""
    return str(value) if isinstance(value, str) else value


def write_csv(file: TextIO, rows: Iterable[ResultRow]) -> None:
    """The whole table, a header and one line per reaction."""
    table = csv.DictWriter(file, COLUMNS)
    table.writeheader()
    table.writerows(map(cells, rows))


def _cell(value: object, digits: int | None) -> object:
    if value is None:
        return ""
    return round(value, digits) if digits is not None and isinstance(value, float) else value
