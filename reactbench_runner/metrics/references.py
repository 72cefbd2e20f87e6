"""Barriers and transition states with which those of a run are compared."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from horm_calc.structure_files.reading import read_structures
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.metrics.outcomes import measure
from reactbench_runner.storage.reading import SADDLE, open_run
from workflows.errors import InputError
from workflows.records import Label

#: Columns of a table that can hold barriers.
BARRIERS = ("barrier_kcal_per_mol", "barrier_ev")

#: Suffixes of files with structures, and the keys of their comments that can hold an id.
SUFFIXES, KEYS = (".xyz", ".extxyz"), ("id", "reaction", "name")


@dataclass
class References:
    """By the id of the reaction: barriers in kcal/mol, saddles, and digests of what was searched.

    `sources`: the files and folders that they are from.
    """

    sources: list[Path] = field(default_factory=list)
    barriers: dict[str, float] = field(default_factory=dict)
    saddles: dict[str, Atoms] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        """The reactions with a barrier or a saddle."""
        return self.barriers.keys() | self.saddles.keys()

    def take(self, where: Path, known: dict[str, Any], found: Iterable[tuple[str, Any]]) -> None:
        """Add what was found to `known`. Raises `InputError` for what is known already."""
        for name, value in found:
            if name in known:
                raise InputError(f"{where}: reaction '{name}' has a reference already; keep one")
            known[name] = value


def read_references(paths: Iterable[Path]) -> References:
    """Of runs, tables and files of structures. Raises `InputError` for what is none of these."""
    found = References()
    for path in paths:
        before = len(found.barriers) + len(found.saddles)
        if (path / "run.json").exists():
            _take_run(found, path)
        elif path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
            for file in files:
                found.take(file, found.saddles, _structures(file))
        elif not path.exists():
            raise InputError(f"the reference {path} does not exist")
        elif path.suffix in SUFFIXES:
            found.take(path, found.saddles, _structures(path))
        elif path.suffix == ".csv":
            found.take(path, found.barriers, _barriers(path))
        else:
            raise InputError(
                f"{path} is no reference: give the folder of a run, a .csv table, or .xyz files"
            )
        if len(found.barriers) + len(found.saddles) == before:
            raise InputError(f"{path} holds no reference: no barrier and no transition state")
        found.sources.append(path)
    return found


def _take_run(found: References, folder: Path) -> None:
    """The *intended* reactions of a run."""
    measured = measure(open_run(folder))
    good = [one for one in measured.outcomes.values() if one.intended]
    barriers = ((one.id, one.barrier) for one in good if one.barrier is not None)
    found.take(folder, found.barriers, barriers)
    structures = measured.structures.items()
    found.take(
        folder, found.saddles, ((name, one[SADDLE]) for name, one in structures if SADDLE in one)
    )
    found.fingerprints |= {one.id: one.fingerprint for one in good}


def _barriers(table: Path) -> Iterator[tuple[str, float]]:
    """Those of a table; of results.csv only those of *intended* reactions."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        names = rows.fieldnames or []
        column = next((name for name in BARRIERS if name in names), None)
        if "id" not in names or column is None:
            raise InputError(
                f"{table}, line 1: the columns are {', '.join(names) or 'missing'}; a reference "
                f"needs 'id' and one of {' and '.join(map(repr, BARRIERS))}"
            )
        for row in rows:
            where = f"{table}, line {rows.line_num}"
            if row.get("verdict", Label.INTENDED) != Label.INTENDED or not row[column]:
                continue
            try:
                value = float(row[column])
            except ValueError:
                raise InputError(f"{where}: the barrier is {row[column]!r}, no number") from None
            yield row["id"], value if column == BARRIERS[0] else float(to_kcal_per_mol(value))


def _structures(file: Path) -> Iterator[tuple[str, Atoms]]:
    """Transition states by the id in their comments; a single one may have it as its file name."""
    try:
        frames = list(read_structures(file))
    except (ValueError, OSError, IndexError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    for number, atoms in enumerate(frames, 1):
        name = next((str(atoms.info[key]) for key in KEYS if key in atoms.info), None)
        if name is None and len(frames) > 1:
            raise InputError(
                f"{file}, frame {number}: its comment names no reaction; add id=NAME to it"
            )
        yield name or file.stem, atoms
