"""A stored run in Python: `load_run`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase import Atoms

from horm_calc.configuration import SettingsError
from reactbench_runner.errors import StorageError
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE, StoredRun, open_run
from reactbench_runner.storage.rows import ResultRow, levels_of
from reactbench_runner.storage.store import Say, to_stderr
from reactbench_runner.storage.structures import Point, minimum_of, saddle_of
from reactbench_runner.storage.table import COLUMNS, FRACTIONS, values
from workflows.records import Label, Minimum, Saddle

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Profile:
    """Structures along a path, with their energies.

    Attributes
    ----------
    frames
        Structures in the order of the file: from reactant to product. Positions in Å.
    energies
        (frames,), eV.
    coordinate
        (frames,): the distance along the path in mass-weighted coordinates, amu½ Å. Along an IRC
        it is 0 at the saddle, along a path 0 at the reactant.
    top
        Index of the saddle along an IRC, of the highest frame along a path.
    """

    frames: tuple[Atoms, ...]
    energies: np.ndarray
    coordinate: np.ndarray
    top: int


@dataclass(frozen=True)
class ReactionResult:
    """One finished reaction of a run.

    Attributes
    ----------
    row
        All its numbers and words: the row of `results.csv`, with all digits.
    folder
        Where its files are. They may be missing in a run of very many reactions.
    read
        Reads its stationary points on first use.
    """

    row: ResultRow
    folder: Path
    read: Callable[[], Mapping[str, Point]]

    @property
    def id(self) -> str:
        """Its name."""
        return self.row.id

    @property
    def verdict(self) -> Label:
        """Whether its transition state connects what it should."""
        return self.row.verdict

    @cached_property
    def points(self) -> Mapping[str, Point]:
        """All stored stationary points by their role: structure with energy, and data (Hessian)."""
        return self.read()

    @property
    def reactant(self) -> Minimum | None:
        """The relaxed reactant; None if it is not stored."""
        return self._minimum(REACTANT)

    @property
    def product(self) -> Minimum | None:
        """The relaxed product; None if it is not stored."""
        return self._minimum(PRODUCT)

    @property
    def transition_state(self) -> Saddle | None:
        """The saddle, which may not have converged; None if it is not stored with its Hessian."""
        point = self.points.get(SADDLE)
        if point is None or "hessian_ev_per_a2" not in point[1]:
            return None
        return dataclasses.replace(saddle_of(point), converged=self.row.ts_energy_ev is not None)

    def profile(self, name: str = "irc") -> Profile | None:
        """The structures in `<name>.xyz`: "irc", "path", "lower_path", "step1_irc" and so on.

        None if there is no such file. Raises `StorageError` if it is damaged.
        """
        return read_profile(self.folder / f"{name}.xyz")

    def _minimum(self, role: str) -> Minimum | None:
        point = self.points.get(role)
        return None if point is None or point[0].calc is None else minimum_of(point)


@dataclass(frozen=True)
class Run:
    """The finished reactions of a run, by id or one after the other.

    Attributes
    ----------
    stored
        Where and how they are stored.
    rows
        The row of each finished reaction by its id.
    """

    stored: StoredRun
    rows: Mapping[str, ResultRow]

    @property
    def level_of_theory(self) -> str:
        """Of its energies and structures; with all solvents where there are several."""
        return levels_of(self.rows.values()) or self.stored.level_of_theory

    @property
    def record(self) -> Mapping[str, Any]:
        """The content of `run.json`: calculator, settings, versions."""
        return self.stored.record

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ReactionResult]:
        return map(self._result, self.rows.values())

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def __getitem__(self, name: str) -> ReactionResult:
        """The reaction with this id; raises `KeyError` if it has not finished."""
        return self._result(self.rows[name])

    def table(self) -> pd.DataFrame:
        """The columns of `results.csv` with all digits, as a pandas DataFrame indexed by id.

        Raises `SettingsError` if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise SettingsError("table() needs pandas: pip install pandas") from None
        table = pd.DataFrame(map(values, self.rows.values()), columns=[*COLUMNS])
        return table.astype(dict.fromkeys(FRACTIONS, float)).set_index("id")

    def _result(self, row: ResultRow) -> ReactionResult:
        def read() -> Mapping[str, Point]:
            try:
                return self.stored.stationary_points_of(row.id)
            except ValueError as error:
                raise StorageError(f"the structures of reaction '{row.id}': {error}") from None

        return ReactionResult(row, self.stored.folder_of(row.id), read)


def load_run(folder: str | os.PathLike[str], *, say: Say = to_stderr) -> Run:
    """The results of a run, finished or not. Nothing in the folder is changed.

    Rows are read at once, about 6 kB of memory for each reaction; structures when they are asked
    for.

    Parameters
    ----------
    folder
        That of `--out`.
    say
        Hears of damaged records, which are left out; by default they are told on stderr.

    Returns
    -------
    Run
        Its finished reactions.

    Raises
    ------
    InputError
        The folder holds no run.
    """
    stored = open_run(Path(folder))
    return Run(stored, {row.id: row for row in stored.rows(say)})


def read_profile(path: Path) -> Profile | None:
    """The structures of an xyz file that a search has written; None if there is no file.

    Raises `StorageError` if it is damaged.
    """
    if not path.exists():
        return None
    try:
        frames: Any = ase.io.read(path, ":", format="extxyz")
        energies = np.array([float(frame.calc.results["energy"]) for frame in frames])
        if not np.isfinite(energies).all():
            raise ValueError("an energy is not a number")
        if "irc_coordinate" in frames[0].info:
            along = np.array([float(frame.info["irc_coordinate"]) for frame in frames])
            return Profile(tuple(frames), energies, along, int(np.abs(along).argmin()))
    except Exception as error:  # whatever ASE stumbles over
        raise StorageError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    along, top = _distances(frames), int(energies.argmax())
    if path.stem.endswith("irc"):  # of a version that did not write the coordinate
        along = along - along[top]
    return Profile(tuple(frames), energies, along, top)


def _distances(frames: list[Atoms]) -> np.ndarray:
    """Along a path from its beginning, amu½ Å."""
    weights = np.sqrt(frames[0].get_masses())[:, None]
    steps = [
        np.linalg.norm(weights * (after.positions - before.positions))
        for before, after in pairwise(frames)
    ]
    return np.concatenate([[0.0], np.cumsum(steps)])
