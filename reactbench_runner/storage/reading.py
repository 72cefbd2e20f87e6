"""A stored run as it is read by commands that change nothing, also while it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from reactbench_runner.storage import shards
from reactbench_runner.storage.database import Entry, read_entries
from reactbench_runner.storage.progress import NAME
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import SEARCHES, read_record
from reactbench_runner.storage.store import STRUCTURES, Say, stored_rows
from reactbench_runner.storage.structures import Point
from workflows.errors import InputError
from workflows.settings import VerdictSettings

#: Roles of the structures that are read.
REACTANT, PRODUCT, SADDLE = "reactant", "product", "transition_state"

#: Structures of a reaction by their role.
Points = dict[str, Atoms]


@dataclass(frozen=True)
class StoredRun:
    """A run in a folder.

    Attributes
    ----------
    folder
        That of `--out`.
    name
        Of the folder, for tables and figures.
    level_of_theory
        Of its energies and structures.
    total
        How many reactions it was given; None where that is not known.
    bond_factor
        Of its verdicts.
    record
        The content of run.json: calculator, settings, versions.
    """

    folder: Path
    name: str
    level_of_theory: str
    total: int | None
    bond_factor: float
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of its searches that are stored, by stage."""
        stored: Mapping[str, Any] = self.record.get("settings", {})
        return stored

    @property
    def sharded(self) -> bool:
        """Whether it is stored in Parquet files."""
        return shards.is_sharded(self.folder)

    def folder_of(self, reaction: str) -> Path:
        """Where the files of a reaction are. Raises `InputError` for an id that leads elsewhere."""
        if Path(reaction).name != reaction:
            raise InputError(f"{self.folder}: the id {reaction!r} cannot be a folder name")
        return self.folder / reaction

    def rows(self, say: Say = lambda text: None) -> Iterator[ResultRow]:
        """Its finished reactions, one after the other; `say` hears of damaged records."""
        if shards.is_sharded(self.folder):
            shards.check_installed()
            return shards.rows_of(self.folder)
        return stored_rows(self.folder, say)

    def searches(
        self, needed: Callable[[ResultRow], bool], say: Say = lambda text: None
    ) -> Iterator[tuple[ResultRow, dict[str, Entry]]]:
        """Its finished reactions, with all structures by role of those that are `needed`.

        They come with forces, Hessians and keys, as far as these are stored. `say` hears of
        damaged records.
        """
        if shards.is_sharded(self.folder):
            shards.check_installed()
            for row, found in shards.searches_of(self.folder, needed):
                yield row, {keys["role"]: (atoms, keys, data) for atoms, keys, data in found}
            return
        for row in stored_rows(self.folder, say):
            yield row, _entries(self.folder / row.id, say) if needed(row) else {}

    def stationary_points(self, wanted: Container[str]) -> Iterator[tuple[str, dict[str, Point]]]:
        """Every stored structure by its role, with energies and Hessians, of reactions `wanted`.

        Raises `ValueError` where the structures in a folder are damaged, `StorageError` where a
        Parquet file is.
        """
        if not self.sharded:
            for folder in sorted(self.folder.glob("*/")):
                if folder.name in wanted and not folder.name.startswith(SEARCHES):
                    yield folder.name, stationary_points_in(folder)
            return
        shards.check_installed()
        for row, entries in shards.searches_of(self.folder, lambda row: row.id in wanted):
            if row.id in wanted:
                yield row.id, {keys["role"]: (atoms, data) for atoms, keys, data in entries}

    def stationary_points_of(self, reaction: str) -> dict[str, Point]:
        """Those of one reaction."""
        if not self.sharded:
            return stationary_points_in(self.folder_of(reaction))
        return next((points for _, points in self.stationary_points({reaction})), {})

    def points(self) -> Iterator[tuple[str, Points]]:
        """Of each reaction its id, relaxed ends and saddle, as far as they are stored.

        The saddle may be one that has not converged. Of a reaction that comes twice, the last
        counts.
        """
        if not shards.is_sharded(self.folder):
            for folder in sorted(self.folder.glob("*/")):
                if not folder.name.startswith(SEARCHES):
                    yield folder.name, points_in(folder)
            return
        shards.check_installed()
        stored = shards.positions_of(self.folder, (REACTANT, PRODUCT, SADDLE))
        for reaction, found in groupby(stored, key=lambda one: one[0]):
            yield reaction, {role: atoms for _, role, atoms in found}


def open_run(folder: Path) -> StoredRun:
    """The run in a folder. Raises `InputError` where there is none."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}; give the folder of a run, that of --out")
    try:
        record = read_record(folder / "run.json")
    except ValueError as error:
        raise InputError(
            f"{folder} holds no run of horm-tssearch (run.json: {error}); give the folder of --out"
        ) from None
    settings = record.get("settings", {})
    return StoredRun(
        folder,
        folder.resolve().name,
        str(record.get("level_of_theory", "")),
        _total(folder),
        float(settings.get("verdict", {}).get("bond_factor", VerdictSettings().bond_factor)),
        record,
    )


def points_in(folder: Path) -> Points:
    """Relaxed ends and saddle in the folder of a reaction; from xyz files in older runs."""
    with contextlib.suppress(ValueError):
        return {
            keys["role"]: row.toatoms()
            for row, keys, _ in read_entries(folder / STRUCTURES)
            if keys.get("role") in (REACTANT, PRODUCT, SADDLE)
        }
    found: Points = {}
    if (folder / "path.xyz").exists():
        found[REACTANT], *_, found[PRODUCT] = ase.io.read(folder / "path.xyz", ":", format="extxyz")
    if (folder / "ts.xyz").exists():
        [found[SADDLE]] = ase.io.read(folder / "ts.xyz", ":", format="extxyz")
    return found


def stationary_points_in(folder: Path) -> dict[str, Point]:
    """Those in the folder of a reaction; from xyz files where there are no others."""
    if (folder / STRUCTURES).exists():
        entries = read_entries(folder / STRUCTURES)
        return {
            keys["role"]: (row.toatoms(), data) for row, keys, data in entries if "role" in keys
        }
    return {role: (atoms, {}) for role, atoms in points_in(folder).items()}


def _entries(folder: Path, say: Say) -> dict[str, Entry]:
    """The structures in the folder of a reaction by role; none where the file is unusable."""
    try:
        return {
            keys["role"]: (row.toatoms(), keys, data)
            for row, keys, data in read_entries(folder / STRUCTURES)
        }
    except ValueError as error:
        say(str(error))
        return {}


def _total(folder: Path) -> int | None:
    """How many reactions the run was given, as it tells itself; older runs tell nothing."""
    with contextlib.suppress(ValueError):
        total = read_record(folder / NAME).get("total")
        return total if isinstance(total, int) else None
    return None
