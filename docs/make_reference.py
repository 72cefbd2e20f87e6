"""Write the pages that follow from the code: python docs/make_reference.py

reference/settings.md, reference/training-settings.md and reference/commands.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from horm_calc.configuration import parts_of
from horm_calc.training.settings import TrainingSettings
from workflows.settings import SearchSettings

FOLDER = Path(__file__).with_name("reference")

#: Every command and the module that holds its parser.
COMMANDS = {
    "horm-tssearch": "reactbench_runner.commands.tssearch",
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


if __name__ == "__main__":
    main()
