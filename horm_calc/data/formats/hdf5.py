"""The file of frames of this project: HDF5, one group per reaction.

Each group is named by its reaction. Where that cannot be, because the name is none for HDF5
(with a slash) or another group has it already (a reaction's frames with other atoms, or in
another order), the group's attribute `reaction` has the name. A group holds

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

The last five may be absent, and other datasets are let be; links are refused. The file's attribute
`level_of_theory` says by what the labels were computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from horm_calc.data.formats.hdf5_contents import datasets_of, groups_of, require_room, text_of
from horm_calc.data.frames import DataError, Frame, sound

LEVEL = "level_of_theory"
REACTION = "reaction"
_NEEDED = ("numbers", "positions", "energy", "forces")
_OPTIONAL = ("hessian_frame", "hessian", "product_frame", "vectors", "products")
_WHOLE = ("numbers", "hessian_frame", "product_frame")  # whole numbers, as whatever they are kept

# What h5py raises, depending on the place of the damage.
_H5PY_ERRORS = (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError)


class HDF5Frames:
    """All frames of a file, held in memory (Hessians as packed float32). See `frames.Frames`.

    Raises `DataError` for files that are damaged or not of this form.
    """

    def __init__(self, path: Path) -> None:
        try:
            with h5py.File(path) as file:
                self.level_of_theory = text_of(path, file, LEVEL, "")
                groups = groups_of(path, file)
                names = [text_of(path, group, REACTION, key) for key, group in groups.items()]
                found = {key: _datasets(path, key, group) for key, group in groups.items()}
                everything = [one for group in found.values() for one in group.values()]
                require_room(path, ((one.shape, one.dtype) for one in everything))
                self._groups = [_read(path, key, group) for key, group in found.items()]
        except DataError:
            raise
        except _H5PY_ERRORS as error:
            remedy = "It is damaged or another kind of file: copy or make it again."
            raise DataError(path, f"cannot be read as HDF5 ({error})", remedy) from None
        if not self._groups:
            raise DataError(path, "holds no groups of frames")
        counts = [len(group["energy"]) for group in self._groups]
        self._group = np.repeat(np.arange(len(names)), counts)
        self._place = np.concatenate([np.arange(count) for count in counts])
        self.sizes = np.repeat([len(group["numbers"]) for group in self._groups], counts)
        self.reactions = [names[group] for group in self._group]
        self._hessian = _rows_of(self._groups, "hessian_frame")
        self._product = _rows_of(self._groups, "product_frame")
        self.has_second_derivatives = np.maximum(self._hessian, self._product) >= 0

    def __len__(self) -> int:
        return len(self._group)

    def __getitem__(self, index: int) -> Frame:
        group, place = self._groups[self._group[index]], self._place[index]
        row, product = self._hessian[index], self._product[index]
        return Frame(
            group["numbers"],
            group["positions"][place],
            float(group["energy"][place]),
            group["forces"][place],
            hessian=unpacked(group["hessian"][row]) if row >= 0 else None,
            vectors=group["vectors"][product] if product >= 0 else None,
            products=group["products"][product] if product >= 0 else None,
            reaction=self.reactions[index],
        )


def write_hdf5(path: Path, frames: Iterable[Frame], level_of_theory: str) -> None:
    """Writes frames, grouped by reaction, into a new file; all of them are in memory at once.

    Raises `DataError` where the file exists.
    """
    reactions: dict[str, list[Frame]] = {}
    for frame in frames:
        reactions.setdefault(frame.reaction, []).append(frame)
    write_reactions(path, reactions.values(), level_of_theory)


def write_reactions(path: Path, reactions: Iterable[list[Frame]], level_of_theory: str) -> None:
    """The same for the frames of one reaction after the other, one reaction in memory at once."""
    if path.exists():
        raise DataError(path, "exists already", "Move it away or choose another name.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with h5py.File(partial, "w") as file:
            file.attrs[LEVEL] = level_of_theory
            for members in reactions:
                reaction = members[0].reaction or "frames"
                for kind in _kinds(members):
                    group = file.create_group(_free_name(file, reaction))
                    if group.name != f"/{reaction}":
                        group.attrs[REACTION] = reaction
                    _write(group, kind)
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


def _datasets(path: Path, name: str, group: h5py.Group) -> dict[str, h5py.Dataset]:
    """A group's datasets, once it is known that their types and shapes fit one another."""
    found = datasets_of(path, group, (*_NEEDED, *_OPTIONAL))
    missing = [key for key in _NEEDED if key not in found]
    problem = f"lacks {', '.join(missing)}" if missing else _misshapen(found)
    if problem:
        raise DataError(path, f"group '{name}': {problem}")
    return found


def _read(path: Path, name: str, found: Mapping[str, h5py.Dataset]) -> dict[str, np.ndarray]:
    """A group's numbers, once they are known to be sound."""
    read = {key: _usable(dataset[()]) for key, dataset in found.items()}
    if problem := _implausible(read):
        raise DataError(path, f"group '{name}': {problem}")
    return read | {key: read[key].astype(np.int64) for key in _WHOLE if key in read}


def _usable(values: np.ndarray) -> np.ndarray:
    """In the byte order and the precision of this machine, which PyTorch needs."""
    if values.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # they become infinite, and that is refused
            return values.astype(float)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _misshapen(found: Mapping[str, Any]) -> str:
    """What of the datasets is no array of numbers, or one that fits no other; "" if all do."""
    for key, dataset in found.items():
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf":
            return f"{key} holds no numbers"
    shapes = {key: dataset.shape or () for key, dataset in found.items()}
    for key, shape in _wanted(shapes).items():
        if shapes.get(key) != shape:
            return f"{key} is {shapes.get(key, 'absent')}, not {shape}"
    return ""


def _implausible(read: Mapping[str, np.ndarray]) -> str:
    """What the numbers cannot mean; "" if they can."""
    for key, values in read.items():
        if not sound(values):
            return f"{key} holds numbers that are not finite, or beyond 1e18"
    frames = range(len(read["energy"]))
    for key in ("hessian_frame", "product_frame"):
        places = read.get(key, np.zeros(0, int)).tolist()
        if len(set(places)) < len(places) or not all(place in frames for place in places):
            return f"{key} does not name frames, each once, of the {len(frames)} there are"
    if not set(read["numbers"].tolist()) <= set(range(1, 119)) or not read["numbers"].size:
        return "numbers are not atomic numbers"
    return ""


def _wanted(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that the datasets must have, from those that they have."""
    atoms, count, whole, partly = (
        (*shapes.get(key, ()), 0)[0]
        for key in ("numbers", "energy", "hessian_frame", "product_frame")
    )
    wanted: dict[str, tuple[int, ...]] = {"numbers": (atoms,), "energy": (count,)}
    wanted |= dict.fromkeys(("positions", "forces"), (count, atoms, 3))
    if not shapes.keys().isdisjoint(("hessian_frame", "hessian")):
        wanted |= {"hessian_frame": (whole,), "hessian": (whole, 3 * atoms * (3 * atoms + 1) // 2)}
    if not shapes.keys().isdisjoint(("product_frame", "vectors", "products")):
        width = (*shapes.get("vectors", ()), 0, 0)[1]
        wanted["product_frame"] = (partly,)
        wanted |= dict.fromkeys(("vectors", "products"), (partly, width, atoms, 3))
    return wanted


def _rows_of(groups: Iterable[Mapping[str, np.ndarray]], key: str) -> np.ndarray:
    """For each frame of all groups, its place in `key`; -1 where it is not there."""
    places = []
    for group in groups:
        place = np.full(len(group["energy"]), -1)
        if key in group:
            place[group[key]] = np.arange(len(group[key]))
        places.append(place)
    return np.concatenate(places)


def _kinds(members: list[Frame]) -> list[list[Frame]]:
    """The frames that fit into one group each: the same atoms and as many vectors, if any."""
    widths = [0 if frame.vectors is None else len(frame.vectors) for frame in members]
    usual = next(filter(None, widths), 0)
    kinds: dict[tuple[Any, ...], list[Frame]] = {}
    for frame, width in zip(members, widths, strict=True):
        kinds.setdefault((width or usual, *frame.numbers.tolist()), []).append(frame)
    return list(kinds.values())


def _free_name(file: Any, reaction: str) -> str:
    """A name for a group, the reaction's where that is possible."""
    name = plain = "_" if reaction == "." else reaction.replace("/", "_")
    for number in count(2):
        if name not in file:
            break
        name = f"{plain} ({number})"
    return name


def _write(group: Any, members: list[Frame]) -> None:
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
