"""What the page shows of one reaction when it is opened: small, and unpacked by the browser."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from horm_calc.chemistry.connectivity import bonds
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.errors import StorageError
from reactbench_runner.report.drawings import draw
from reactbench_runner.report.table import further_energies
from reactbench_runner.results import Profile, read_profile
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.structures import Point
from reactbench_runner.storage.table import cells

#: Positions are whole numbers of this, Å: finer than a picture shows.
GRID = 1e-3

Points = Mapping[str, Point]


def packed(value: Any) -> str:
    """JSON in gzip in base64."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def details_of(row: ResultRow, points: Points, folder: Path, bond_factor: float) -> dict[str, Any]:
    """Drawings, films, frequencies and every cell of the table, as far as they are stored."""
    films, missing = _films(row, points, folder)
    structure = next((atoms for atoms, _ in points.values()), None)
    if structure is None and films:
        structure = films[0][1].frames[0]
    found: dict[str, Any] = {
        "drawings": _drawings(row, points, bond_factor),
        "changing": _changing(points, bond_factor),
        "symbols": [] if structure is None else structure.get_chemical_symbols(),
        "films": [_film(name, film, row.reactant_energy_ev) for name, film in films],
        "ladder": ladder(row),
        "further": further_energies(row),
        "frequencies": _frequencies(points),
        "missing": missing,
        "cells": {name: str(value) for name, value in cells(row).items() if value != ""},
    }
    if SADDLE in points and "imaginary_mode" in points[SADDLE][1]:
        atoms, data = points[SADDLE]
        mode = np.asarray(data["imaginary_mode"])
        found["saddle"] = _whole(atoms.positions - atoms.positions.mean(0))
        found["mode"] = _whole(mode / np.linalg.norm(mode, axis=1).max())
    return found


def ladder(row: ResultRow) -> list[dict[str, Any]]:
    """The levels of a reaction in kcal/mol from left to right: `e`, and `g` where it is known.

    They count from the reactant, or from the product where the saddle is connected with it alone.
    """
    if row.steps and row.step_energies_kcal_per_mol:
        return _chain(row)
    forward = (row.barrier_kcal_per_mol, row.gibbs_barrier_kcal_per_mol)
    reverse = (row.reverse_barrier_kcal_per_mol, row.reverse_gibbs_barrier_kcal_per_mol)
    end = (row.reaction_energy_kcal_per_mol, row.reaction_gibbs_kcal_per_mol)
    if forward[0] is None and reverse[0] is not None:
        return [_level("TS", *reverse), _level("P", 0.0, 0.0 if reverse[1] is not None else None)]
    if forward[0] is None:
        return []
    levels = [_level("R", 0.0, 0.0 if forward[1] is not None else None), _level("TS", *forward)]
    return [*levels, _level("P", *end)] if end[0] is not None else levels


def _chain(row: ResultRow) -> list[dict[str, Any]]:
    """Of a reaction in steps: electronic energies, and ΔG of the ends and of the highest saddle."""
    heights = [float(text) for text in row.step_energies_kcal_per_mol.split(",")]
    top = max(range(len(heights)), key=heights.__getitem__)
    free = row.gibbs_barrier_kcal_per_mol
    levels = [_level("R", 0.0, None if free is None else 0.0)]
    for i, height in enumerate(heights):
        name = f"{'I' if i % 2 else 'TS'}{i // 2 + 1}"
        levels.append(_level(name, height, free if i == top else None))
    if row.reaction_energy_kcal_per_mol is not None:
        end = None if free is None else row.reaction_gibbs_kcal_per_mol
        levels.append(_level("P", row.reaction_energy_kcal_per_mol, end))
    return levels


def _level(name: str, e: float | None, g: float | None) -> dict[str, Any]:
    return {"name": name, "e": e} | ({} if g is None else {"g": g})


def _drawings(row: ResultRow, points: Points, bond_factor: float) -> list[str]:
    if REACTANT not in points or PRODUCT not in points:
        return ["", ""]
    ends = (points[REACTANT][0], points[PRODUCT][0])
    return [*draw(*ends, row.charge or 0, row.multiplicity or 1, bond_factor)]


def _changing(points: Points, bond_factor: float) -> list[tuple[int, int]]:
    """The bonds that break or form."""
    if REACTANT not in points or PRODUCT not in points:
        return []
    first, last = (bonds(points[role][0], bond_factor) for role in (REACTANT, PRODUCT))
    return sorted(first ^ last)


def _films(
    row: ResultRow, points: Points, folder: Path
) -> tuple[list[tuple[str, Profile]], list[str]]:
    """The profiles that are stored, by their names for people, and what is missing in words."""
    names = {"irc": "IRC", "path": "Path"}
    if row.steps:
        steps = {f"step{i}_irc": f"IRC of step {i}" for i in range(1, row.steps + 1)}
        names = steps | {"path": "Path of the highest step"}
    films, missing = [], []
    for file, title in (names | {"lower_path": "Lower-energy path"}).items():
        try:
            profile = read_profile(folder / f"{file}.xyz")
        except StorageError as error:
            missing.append(str(error))
            continue
        if profile is not None:
            films.append((title, profile))
        elif (row.irc_method if file.endswith("irc") else row.path_method) and file in names:
            missing.append(f"{title}: {file}.xyz is not stored")
    if not films and (profile := _of_points(points)):
        films.append(("Stationary points", profile))
    return films, missing


def _of_points(points: Points) -> Profile | None:
    """Reactant, saddle and product in the place of a path."""
    stored = [(role, points[role][0]) for role in (REACTANT, SADDLE, PRODUCT) if role in points]
    frames = [atoms for _, atoms in stored if atoms.calc is not None]
    if not frames:
        return None
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    roles = [role for role, atoms in stored if atoms.calc is not None]
    top = roles.index(SADDLE) if SADDLE in roles else int(energies.argmax())
    return Profile(tuple(frames), energies, np.arange(len(frames), dtype=float), top)


def _film(name: str, film: Profile, reference: float | None) -> dict[str, Any]:
    """Energies in kcal/mol from the reactant, or from the first frame; frames as differences."""
    zero = film.energies[0] if reference is None else reference
    places = np.array([frame.positions for frame in film.frames])
    grid = np.round((places - places[0].mean(0)) / GRID).astype(int).reshape(len(places), -1)
    return {
        "name": name,
        "top": film.top,
        "x": [round(float(x), 3) for x in film.coordinate],
        "e": [round(float(to_kcal_per_mol(e - zero)), 2) for e in film.energies],
        "frames": [grid[0].tolist(), *np.diff(grid, axis=0).tolist()],
    }


def _frequencies(points: Points) -> dict[str, list[float]]:
    """Of each stationary point whose Hessian was computed, cm⁻¹."""
    return {
        role: [round(float(value), 1) for value in data["frequencies_cm1"]]
        for role, data in _stored(points)
        if data.get("frequencies_cm1") is not None
    }


def _stored(points: Points) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Data of the three points of a reaction."""
    for role in (REACTANT, SADDLE, PRODUCT):
        if role in points:
            yield role, points[role][1]


def _whole(values: np.ndarray) -> list[int]:
    numbers: list[int] = np.round(values / GRID).astype(int).ravel().tolist()
    return numbers
