"""Write the pages that follow from the code: python docs/make_reference.py

reference/settings.md, reference/training-settings.md, reference/commands.md, and the table of
columns in reference/results.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import typing
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

from horm_calc.configuration import parts_of
from horm_calc.training.settings import TrainingSettings
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.table import cost_columns
from workflows.settings import SearchSettings
from workflows.stage_names import COSTED

FOLDER = Path(__file__).with_name("reference")

#: Every command and the module that holds its parser.
COMMANDS = {
    "horm-tssearch": "reactbench_runner.commands.tssearch",
    "horm-status": "reactbench_runner.commands.status",
    "horm-merge": "reactbench_runner.commands.merge",
    "horm-reactbench": "reactbench_runner.commands.reactbench",
    "horm-report": "reactbench_runner.commands.report",
    "horm-thermo": "reactbench_runner.commands.thermo",
    "horm-models": "horm_calc.commands.models",
    "horm-label": "horm_calc.commands.label",
    "horm-data": "horm_calc.commands.data",
    "horm-train": "horm_calc.commands.train",
    "horm-eval": "horm_calc.commands.eval",
}

#: Of the help on the page, characters.
WIDTH = 94

SEARCH = """\
# Settings of a search

A setting has the same name everywhere:

- on the command line: `--path.images 9`
- in the YAML file of `--config`: `path: {images: 9}`
- from Python: `SearchSettings(path=PathSettings(images=9))`

This page is written by `python docs/make_reference.py`.
"""

TRAINING = """\
# Settings of a training run

The YAML file of `horm-train` holds the settings that differ from these defaults, such as
`run: {steps: 50000}`. `horm-train --print-config` prints all of them.

This page is written by `python docs/make_reference.py`.
"""

HELP = """\
# Commands

This page shows what `--help` prints. It is written by `python docs/make_reference.py`.
"""


#: Around the table of columns in results.md.
BEGIN = "<!-- made by python docs/make_reference.py -->"
END = "<!-- end of what is made -->"

#: What a column that is no number with a unit holds.
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
    """Write all pages."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """The pages by name."""
    return {
        "settings.md": settings(SEARCH, SearchSettings, "search"),
        "training-settings.md": settings(TRAINING, TrainingSettings, "run as a whole"),
        "commands.md": "\n".join([HELP, *map(command, COMMANDS)]),
        "results.md": with_table((FOLDER / "results.md").read_text("utf-8")),
    }


def settings(head: str, whole: Any, title: str) -> str:
    """A table for each group of settings."""
    lines = [head]
    for group, kind in {"": whole, **parts_of(whole)}.items():
        prefix = f"{group}." if group else ""
        rows = [
            f"| `{prefix}{spec.name}` | `{default(spec)}` | {spec.metadata['doc']} |"
            for spec in dataclasses.fields(kind)
            if "doc" in spec.metadata
        ]
        if rows:
            lines += [f"## {group or title}", "", (kind.__doc__ or "").splitlines()[0], ""]
            lines += ["| setting | default | meaning |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def default(spec: dataclasses.Field[Any]) -> Any:
    """The default of a field; an empty text is written as such."""
    made = spec.default_factory
    value = spec.default if made is dataclasses.MISSING else made()
    return '""' if value == "" else value


def command(name: str) -> str:
    """The help of a command and of its subcommands."""
    parser = importlib.import_module(COMMANDS[name])._parser()
    lines = [f"## {name}", ""]
    for title, one in ((name, parser), *subcommands(name, parser)):
        if title != name:
            lines += [f"### {title}", ""]
        one.formatter_class = partial(one.formatter_class, width=WIDTH)  # of no terminal
        lines += ["```text", one.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def subcommands(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The subcommands of a parser, each with its full name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, one in action.choices.items():
                yield f"{name} {word}", one


def with_table(page: str) -> str:
    """The page with the table that the record makes, between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{columns()}\n{END}{after}"


def columns() -> str:
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


def _kind(spec: dataclasses.Field[Any], kind: Any) -> str:
    """What stands in a column: its unit and how it is rounded, or what else it holds."""
    [one] = [part for part in typing.get_args(kind) or (kind,) if part is not NoneType]
    if one is float:
        unit = next((unit for end, unit in _UNITS.items() if spec.name.endswith(end)), "number")
        return f"{unit}, {spec.metadata['digits']} digits"
    return "text" if issubclass(one, str) else _KINDS[one]


if __name__ == "__main__":
    main()
