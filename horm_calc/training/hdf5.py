"""This project's own file of frames: HDF5, one group a reaction.

Each group, named by its reaction, holds

| dataset | shape | |
| --- | --- | --- |
| `numbers` | (N) | atomic numbers |
| `positions` | (M, N, 3) | Å |
| `energy` | (M) | total energy, eV |
| `forces` | (M, N, 3) | eV/Å |
| `hessian_frame` | (K) | which of the M frames the Hessians belong to |
| `hessian` | (K, 3N(3N+1)/2) | eV/Å², upper triangle row by row |
| `product_frame` | (L) | which of the M frames the products belong to |
| `vectors`, `products` | (L, k, N, 3) | vectors, and the Hessian times each, eV/Å² |

The last five may be absent, and other datasets are let be. The file's attribute
`level_of_theory` says by what the labels were computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from horm_calc.training.frames import DataError, Frame

LEVEL = "level_of_theory"
_NEEDED = ("numbers", "positions", "energy", "forces")
_OPTIONAL = ("hessian_frame", "hessian", "product_frame", "vectors", "products")


class HDF5Frames:
    """All frames of a file, held in memory (Hessians as packed float32). See `frames.Frames`.

    Raises `DataError` for files that are damaged or not of this form.
    """

    def __init__(self, path: Path) -> None:
        try:
            with h5py.File(path) as file:
                self.level_of_theory = str(file.attrs.get(LEVEL, ""))
                self._groups = {
                    name: _read(path, name, file[name])
                    for name in file
                    if isinstance(file[name], h5py.Group)
                }
        except OSError as error:
            raise DataError(path, f"cannot be read as HDF5 ({error})") from None
        if not self._groups:
            raise DataError(path, "holds no groups of frames")
        names, counts = list(self._groups), [len(g["energy"]) for g in self._groups.values()]
        self._names = names
        self._group = np.repeat(np.arange(len(names)), counts)
        self._place = np.concatenate([np.arange(count) for count in counts])
        sizes = [len(group["numbers"]) for group in self._groups.values()]
        self.sizes = np.repeat(sizes, counts)
        self.reactions = [names[group] for group in self._group]
        self._hessian = _rows_of(self._groups, "hessian_frame")
        self._product = _rows_of(self._groups, "product_frame")
        self.curved = np.concatenate([self._hessian, self._product]).reshape(2, -1).max(0) >= 0

    def __len__(self) -> int:
        return len(self._group)

    def __getitem__(self, index: int) -> Frame:
        name, place = self._names[self._group[index]], self._place[index]
        group, row, product = self._groups[name], self._hessian[index], self._product[index]
        return Frame(
            group["numbers"],
            group["positions"][place],
            float(group["energy"][place]),
            group["forces"][place],
            hessian=unpacked(group["hessian"][row]) if row >= 0 else None,
            vectors=group["vectors"][product] if product >= 0 else None,
            products=group["products"][product] if product >= 0 else None,
            reaction=name,
        )


def write_hdf5(path: Path, frames: Iterable[Frame], level_of_theory: str) -> None:
    """Writes frames, grouped by reaction, into a new file.

    Frames of one reaction must have the same atoms. Raises `DataError` where they do not, or
    where the file exists.
    """
    groups: dict[str, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(frame.reaction or "frames", []).append(frame)
    if path.exists():
        raise DataError(path, "exists already", "Move it away or choose another name.")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs[LEVEL] = level_of_theory
            for name, members in groups.items():
                _write(path, file.create_group(name), name, members)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def packed(hessian: np.ndarray) -> np.ndarray:
    """The upper triangle of the symmetric part of (3n, 3n), row by row."""
    return (0.5 * (hessian + hessian.T))[_triangle(len(hessian))]


def unpacked(triangle: np.ndarray) -> np.ndarray:
    """The symmetric matrix (3n, 3n) of an upper triangle."""
    size = int(np.sqrt(2 * len(triangle)))
    hessian = np.zeros((size, size), triangle.dtype)
    hessian[_triangle(size)] = triangle
    return hessian + np.triu(hessian, 1).T


@cache
def _triangle(size: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.triu_indices(size)
    return rows, columns


def _read(path: Path, name: str, group: Any) -> dict[str, np.ndarray]:
    missing = [key for key in _NEEDED if key not in group]
    if missing:
        raise DataError(path, f"group '{name}' lacks {', '.join(missing)}")
    read = {key: group[key][()] for key in (*_NEEDED, *_OPTIONAL) if key in group}
    atoms, count = len(read["numbers"]), len(read["energy"])
    triangle = 3 * atoms * (3 * atoms + 1) // 2
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("positions", "forces"), (count, atoms, 3))
    if "hessian" in read:
        wanted["hessian"] = (len(read.get("hessian_frame", ())), triangle)
    if "products" in read:
        chosen = len(read.get("product_frame", ()))
        wanted["products"] = (chosen, *read["products"].shape[1:2], atoms, 3)
        wanted["vectors"] = wanted["products"]
    for key, shape in wanted.items():
        if key not in read or read[key].shape != shape:
            found = read[key].shape if key in read else "absent"
            raise DataError(path, f"group '{name}': {key} is {found}, not {shape}")
    for key, value in read.items():
        if not np.isfinite(value).all():
            raise DataError(path, f"group '{name}': {key} holds numbers that are not finite")
    return read


def _rows_of(groups: Mapping[str, Mapping[str, np.ndarray]], key: str) -> np.ndarray:
    """For each frame of all groups, its place in `key`; -1 where it is not there."""
    places = []
    for group in groups.values():
        place = np.full(len(group["energy"]), -1)
        if key in group:
            place[group[key]] = np.arange(len(group[key]))
        places.append(place)
    return np.concatenate(places)


def _write(path: Path, group: Any, name: str, members: list[Frame]) -> None:
    if any(not np.array_equal(frame.numbers, members[0].numbers) for frame in members):
        raise DataError(path, f"frames of reaction '{name}' have different atoms")
    group["numbers"] = members[0].numbers
    group["positions"] = np.stack([frame.positions for frame in members])
    group["energy"] = [frame.energy for frame in members]
    group["forces"] = np.stack([frame.forces for frame in members])
    whole = [i for i, frame in enumerate(members) if frame.hessian is not None]
    if whole:
        group["hessian_frame"] = whole
        triangles = [packed(np.asarray(members[i].hessian)) for i in whole]
        group.create_dataset("hessian", data=np.stack(triangles), dtype="f4", compression="gzip")
    partly = [i for i, frame in enumerate(members) if frame.products is not None]
    if partly:
        group["product_frame"] = partly
        for key in ("vectors", "products"):
            group[key] = np.stack([getattr(members[i], key) for i in partly])
