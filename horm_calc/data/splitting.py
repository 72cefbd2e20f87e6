"""Training and test sets that have nothing in common.

Frames of one reaction resemble each other: those in the test set say nothing about a network
that has seen the others. Two reactions can share a molecule too, say the reactant. So sets are
disjoint if no reaction and no geometry is in both. Geometries are the same if their interatomic
distances are, whatever their place, orientation, handedness and order of atoms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from horm_calc.data.frames import Frame, Frames, iterate
from horm_calc.errors import HormError
from horm_calc.progress import progress

#: Geometries whose distances, sorted, differ by less (Å) are the same.
SAME = 1e-3
_FAR = 1e5  # Å, more than any two atoms of a molecule are apart


class SplitError(HormError, ValueError):
    """Frames that cannot be split as asked."""


def split(frames: Frames, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test frames, with about `fraction` of the reactions in the test.

    Reactions that share a geometry stay together, so the test set can come out smaller. Raises
    `SplitError` where no set of at least one reaction is left on each side.
    """
    if not 0 < fraction < 1:
        raise SplitError(f"the fraction must be between 0 and 1, not {fraction}")
    names, reaction = np.unique(frames.reactions, return_inverse=True)
    _, family = connected_components(_shared_graph(frames, reaction, len(names)), directed=False)
    sizes = np.bincount(family)
    wanted = max(1, round(fraction * len(names)))
    chosen: list[int] = []
    for candidate in np.random.default_rng(seed).permutation(len(sizes)):
        if sizes[chosen].sum() + sizes[candidate] <= wanted:
            chosen.append(int(candidate))
    test = np.isin(family[reaction], chosen)
    if not test.any() or test.all():
        remedy = "; in xyz files, 'reaction=NAME' in the comment line says which one a frame is of"
        raise SplitError(
            f"{wanted} of {len(names)} reaction(s) cannot be the test set, as those that share "
            f"geometries stay together ({len(sizes)} group(s))"
            + (remedy if len(names) == 1 else "")
        )
    return np.flatnonzero(~test), np.flatnonzero(test)


def split_by_names(frames: Frames, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test frames, the latter those of the reactions that are named.

    Raises `SplitError` for names that are unknown, if nothing is left to train on, and where a
    geometry would be on both sides.
    """
    unknown = sorted(set(names) - set(frames.reactions))
    if unknown:
        raise SplitError(f"no frames of {_few(unknown)}")
    test = np.isin(frames.reactions, list(names))
    if not test.any() or test.all():
        raise SplitError("all frames would be on one side")
    known, reaction = np.unique(frames.reactions, return_inverse=True)
    graph = _shared_graph(frames, reaction, len(known))
    named = np.isin(known, list(names))
    across = [
        f"{known[i]} and {known[j]}"
        for i, j in zip(graph.row, graph.col, strict=True)
        if named[i] != named[j]
    ]
    if across:
        raise SplitError(f"the same geometry on both sides, in {_few(sorted(across))}")
    return np.flatnonzero(~test), np.flatnonzero(test)


def overlaps(first: Frames, second: Frames) -> tuple[list[str], list[tuple[int, int]]]:
    """What two sets have in common: names of reactions, and the same geometries.

    The latter as index in the first and in the second set, one pair at most for each frame of
    the first.
    """
    names = sorted(set(first.reactions) & set(second.reactions))
    ours = {atoms: (places, rows) for atoms, places, rows in _fingerprints(first)}
    pairs: list[tuple[int, int]] = []
    for atoms, there, others in _fingerprints(second):
        if atoms in ours:
            (places, rows), tree = ours[atoms], cKDTree(others)
            distance, nearest = tree.query(rows, p=np.inf, distance_upper_bound=SAME)
            found = np.isfinite(distance)
            pairs += zip(places[found].tolist(), there[nearest[found]].tolist(), strict=True)
    return names, sorted(pairs)


def _shared_graph(frames: Frames, reaction: np.ndarray, count: int) -> coo_array:
    """(count, count): which reactions share a geometry, each pair once."""
    pairs = {(0, 0)}
    for _, places, rows in _fingerprints(frames):
        here = reaction[places]
        if len(set(here.tolist())) > 1:
            near = cKDTree(rows).query_pairs(SAME, p=np.inf, output_type="ndarray")
            linked = np.sort(here[near], axis=1)
            pairs |= set(map(tuple, np.unique(linked, axis=0).tolist()))
    row, column = np.array([pair for pair in sorted(pairs) if pair[0] != pair[1]] or [(0, 0)]).T
    return coo_array((np.ones(len(row)), (row, column)), shape=(count, count))


def _fingerprints(frames: Frames) -> Iterator[tuple[bytes, np.ndarray, np.ndarray]]:
    """For each sum formula: itself, the indices of its frames, and their sorted distances (Å)."""
    kinds: dict[bytes, tuple[list[int], list[np.ndarray]]] = {}
    for index, frame in enumerate(progress(iterate(frames), "Comparing geometries", len(frames))):
        places, rows = kinds.setdefault(np.sort(frame.numbers).astype("u1").tobytes(), ([], []))
        places.append(index)
        rows.append(_distances(frame))
    for atoms, (places, rows) in kinds.items():
        yield atoms, np.array(places), np.stack(rows)


def _distances(frame: Frame) -> np.ndarray:
    """Interatomic distances (Å), for each pair of elements from small to large; 0 in front."""
    order = np.argsort(frame.numbers)
    first, second, apart = _pairs(frame.numbers[order].astype("u1").tobytes())
    between = frame.positions[order][first] - frame.positions[order][second]
    distances = np.sqrt(np.einsum("ij,ij->i", between, between))
    return np.concatenate([[0.0], np.sort(distances + apart) - np.sort(apart)]).astype(np.float32)


@lru_cache(maxsize=10_000)
def _pairs(numbers: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of sorted atoms, and numbers by which distances of other elements stay apart."""
    elements = np.frombuffer(numbers, "u1").astype(int)
    first, second = np.triu_indices(len(elements), 1)
    _, kind = np.unique(119 * elements[first] + elements[second], return_inverse=True)
    return first, second, _FAR * kind


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest
