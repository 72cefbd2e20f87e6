"""Read the reactions of a run from a CSV or a folder of two-frame xyz files."""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from workflows.errors import InputError
from workflows.records import Reaction

COLUMNS = ("id", "reaction", "reactant", "product", "charge", "multiplicity")


@dataclass(frozen=True)
class Unreadable:
    """A row from which no reaction could be made; it becomes a 'failed (input)' result."""

    id: str
    reason: str


def read_reactions(source: Path) -> list[Reaction | Unreadable]:
    """All reactions of a CSV or a folder, in order."""
    if source.is_dir():
        files = sorted(source.glob("*.xyz"))
        return [_reaction(file.stem, {"reaction": file.name}, source, str(file)) for file in files]
    out: list[Reaction | Unreadable] = []
    with source.open(newline="", encoding="utf-8-sig") as f:
        for number, row in enumerate(csv.DictReader(f), 2):
            out.append(_reaction(row["id"], row, source.parent, f"{source}, line {number}"))
    return out


def _reaction(
    identifier: str, row: dict[str, str], folder: Path, where: str
) -> Reaction | Unreadable:
    from ase.io import read

    try:
        if row.get("reaction"):
            reactant, product = read(folder / row["reaction"], ":")
        else:
            reactant, product = read(folder / row["reactant"]), read(folder / row["product"])
        return Reaction(
            identifier,
            reactant,
            product,
            int(row.get("charge") or 0),
            int(row.get("multiplicity") or 1),
        )
    except Exception as e:
        return Unreadable(identifier, f"{where}: {e}")
