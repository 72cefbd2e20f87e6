"""Rate constants in files: one reaction after the other, so that few are in memory."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from reactbench_runner.kinetics.records import (
    COLUMNS,
    about,
    fit_record,
    fits,
    of_molecules,
    record,
)
from reactbench_runner.kinetics.results import ReactionKinetics
from reactbench_runner.storage.run_folder import replacing


@contextlib.contextmanager
def writing(table: Path | None, whole: Path | None) -> Iterator[Callable[[ReactionKinetics], None]]:
    """`with writing(csv, json) as add:` writes what is added to the files that are named.

    They are there when the block has ended, and not if it fails.
    """
    with ExitStack() as files:
        rows = _csv(_opened(table, files)) if table else None
        text = _opened(whole, files) if whole else None
        between = "["

        def add(found: ReactionKinetics) -> None:
            nonlocal between
            if rows:
                rows.writerows(_rows(found))
            if text:
                text.write(f"{between}\n{json.dumps(_whole(found), indent=1)}")
                between = ","

        yield add
        if text:
            text.write("\n]\n" if between == "," else "[]\n")


def _opened(path: Path, files: ExitStack) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = files.enter_context(replacing(path))
    return files.enter_context(temporary.open("w", newline="", encoding="utf-8"))


def _csv(file: TextIO) -> csv.DictWriter[str]:
    rows = csv.DictWriter(file, COLUMNS)
    rows.writeheader()
    return rows


def _rows(found: ReactionKinetics) -> list[dict[str, Any]]:
    """A row for each temperature; one alone where there are no numbers."""
    head = about(found)
    return [head | record(found, place) for place in range(len(found.at))] or [head]


def _whole(found: ReactionKinetics) -> dict[str, Any]:
    made: dict[str, Any] = {**about(found), "notes": list(found.notes)}
    if not found.at:
        return made
    first = found.at[0]
    sides = {"reactants": first.reactants, "transition_state": first.saddle}
    made["thermochemistry_assumptions"] = {
        name: [gas.assumptions() for gas, _ in side.parts]
        for name, side in {**sides, "products": first.products}.items()
    }
    made["temperatures"] = [
        record(found, place) | of_molecules(found, place) for place in range(len(found.at))
    ]
    made["fits"] = {
        name: fit_record(fit, first.reactants.molecules) for name, fit in fits(found).items()
    }
    return made
