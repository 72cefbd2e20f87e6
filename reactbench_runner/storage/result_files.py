"""Records in `result.json`: everything they hold in full, with the version of their form."""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType
from typing import Any

from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import read_record
from reactbench_runner.storage.table import cost_columns
from workflows.errors import InputError
from workflows.records import Cost
from workflows.stage_names import COSTED, Stage
from workflows.surface import Evaluations

#: The form of result.json: null where there is no such number, all digits, costs by stage. Files
#: without a version are rows of the table: "" where there is nothing, and rounded.
SCHEMA = 2

_REQUIRED = ("id", "fingerprint", "verdict", "stage")


def as_json(row: ResultRow) -> str:
    """What is written to `result.json`."""
    return json.dumps(as_record(row), indent=1)


def as_record(row: ResultRow) -> dict[str, Any]:
    """The row in the types of JSON, with the version of its form."""
    record = {spec.name: getattr(row, spec.name) for spec in dataclasses.fields(row)}
    record["costs"] = {
        stage: {
            "seconds": cost.seconds,
            "gradients": cost.evaluations.gradients,
            "hessians": cost.evaluations.hessians,
        }
        for stage, cost in row.costs.items()
    }
    return {"schema": SCHEMA, **record}


def read_result(file: Path, identifier: str) -> ResultRow:
    """The record of the reaction `identifier` in a `result.json`, of this form or of an older one.

    Raises `ValueError` where it cannot be one, and `InputError` where a younger version of this
    program has written it.
    """
    record = read_record(file)
    schema = _checked("schema", record.get("schema", 1), int)
    if schema < 1:
        raise ValueError(f"'schema' is {schema}")
    if schema > SCHEMA:
        raise InputError(
            f"{file} was written by a newer version of horm-tssearch (format {schema}; this one "
            f"reads {SCHEMA} and older); use that version, or another --out"
        )
    if record.get("id") != identifier or not all(name in record for name in _REQUIRED):
        raise ValueError(f"it is no record of reaction '{identifier}'")
    return row_of(_from_table(record) if schema == 1 else record)


def row_of(record: Mapping[str, Any]) -> ResultRow:
    """The row of a record of this form. Raises `ValueError` where it cannot be one."""
    kinds = _kinds()
    values = {name: value for name, value in record.items() if name in kinds and name != "costs"}
    costs = record.get("costs", {})
    if not isinstance(costs, dict):
        raise ValueError(f"'costs' is {costs!r}")
    return ResultRow(
        **{name: _checked(name, value, kinds[name]) for name, value in values.items()},
        costs={Stage(stage): _cost(stage, cost) for stage, cost in costs.items()},
    )


@functools.cache
def _kinds() -> dict[str, Any]:
    return typing.get_type_hints(ResultRow)


def _from_table(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record of the older form, which was a row of the table, in the present one."""
    kinds = _kinds()
    row = {name.replace("lower_way", "lower_path"): value for name, value in row.items()}
    if row["stage"] == "lower way":
        row["stage"] = Stage.LOWER_PATH
    record: dict[str, Any] = {
        name: None if value == "" and NoneType in typing.get_args(kinds.get(name)) else value
        for name, value in row.items()
    }
    costs = {}
    for stage in COSTED:
        values = [row.get(column, "") for column in cost_columns(stage)]
        if values != ["", "", ""]:
            costs[stage] = dict(zip(("seconds", "gradients", "hessians"), values, strict=True))
    return record | {"costs": costs}


def _cost(stage: str, record: Any) -> Cost:
    """What a stage took. Raises `ValueError`."""
    try:
        seconds = _checked("seconds", record["seconds"], float)
        calls = (_checked(name, record[name], int) for name in ("gradients", "hessians"))
        return Cost(Evaluations(*calls), seconds)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the cost of '{stage}' is {record!r}") from None


def _checked(name: str, value: Any, kind: Any) -> Any:
    """`value`, if it is of one of the types that `kind` allows. Raises `ValueError`."""
    for one in typing.get_args(kind) or (kind,):
        if typing.get_origin(one) is tuple:
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif issubclass(one, StrEnum):
            if isinstance(value, str):
                return one(value)
        elif isinstance(value, bool):
            if one is bool:
                return value
        elif isinstance(value, int | float if one is float else one):
            return value
    raise ValueError(f"'{name}' is {value!r}")
