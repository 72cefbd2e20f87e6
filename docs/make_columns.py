"""Write the table of columns in reference/results.md: python docs/make_columns.py"""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path
from types import NoneType

from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.table import cost_columns
from workflows.stage_names import COSTED

PAGE = Path(__file__).parent / "reference" / "results.md"
BEGIN = "<!-- made by python docs/make_columns.py -->"
END = "<!-- end of what is made -->"

_KINDS = {bool: "True or False", int: "whole number"}

#: What the names of columns end with, the longest first.
_UNITS = {
    "_kcal_per_mol": "kcal/mol",
    "_ev_per_a2": "eV/Å²",
    "_ev_per_a": "eV/Å",
    "_cm1": "cm⁻¹",
    "_ev": "eV",
    "_a": "Å",
    "seconds": "s",
}


def main() -> None:
    """Write the table into the page beside this file."""
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")


def with_table(page: str) -> str:
    """The page with the table that the record makes, between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def table() -> str:
    """A line per column; one for the columns of all stages."""
    kinds = typing.get_type_hints(ResultRow)
    lines = ["| column | kind | meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{spec.name}` | {_kind(spec, kinds[spec.name])} | {spec.metadata['doc']} |"
        for spec in dataclasses.fields(ResultRow)
        if "doc" in spec.metadata
    ]
    names = ", ".join(f"`{cost_columns(stage)[0].removesuffix('_seconds')}`" for stage in COSTED)
    first = ", ".join(f"`{column}`" for column in cost_columns(COSTED[0]))
    meaning = f"the same of each stage: {names}"
    return "\n".join([*lines, f"| {first} and so on | as above | {meaning} |"])


def _kind(spec: dataclasses.Field[typing.Any], kind: typing.Any) -> str:
    """What stands in a column: its unit and how it is rounded, or what else it holds."""
    [one] = [part for part in typing.get_args(kind) or (kind,) if part is not NoneType]
    if one is float:
        unit = next((unit for end, unit in _UNITS.items() if spec.name.endswith(end)), "number")
        return f"{unit}, {spec.metadata['digits']} digits"
    return "text" if issubclass(one, str) else _KINDS[one]


if __name__ == "__main__":
    main()
