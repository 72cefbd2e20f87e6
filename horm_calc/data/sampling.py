"""Which frames to train on, or to label: choices of a few from many.

Second derivatives are expensive, and which geometries get them matters: HINT (Yin et al.,
arXiv:2603.25373) counts the sampling of configurations among what makes a few Hessians go a long
way. All functions return indices, sorted and without repetitions, for `frames.chosen`; the same
input and seed give the same ones.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Literal

import numpy as np
from ase import Atoms

from horm_calc.data.frames import Frames, iterate

# Frames whose descriptors or neighbours are computed at a time: tens of MB, and a second or two.
_CHUNK = 1000

# Å. Beyond two bonds and most of a small molecule; the width tells bonds from contacts.
_CUTOFF, _WIDTH = 5.0, 0.5

# Between descriptors, whose length is about 20: what is nearer than float32 resolves are copies.
# They weigh this little, instead of rounding errors or of nothing, and so come last, not never.
_SMALLEST_WEIGHT = 1e-4


def energy_based(
    frames: Frames, fraction: float, end: Literal["bottom", "top"] = "bottom"
) -> np.ndarray:
    """The frames of lowest (`bottom`) or highest (`top`) energy among their isomers.

    Total energies compare only between geometries of the same atoms, so frames are grouped by
    composition. Of each group the fraction (0 < fraction <= 1) is taken, rounded to the nearest
    whole number (halves to the even one) but at least one frame. Of equal energies the frame
    that comes first is taken. Returns indices (m,). Raises `ValueError` for no frames and for
    another fraction or end.
    """
    _require_frames(frames)
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction must be above 0 and at most 1, not {fraction}")
    if end not in ("bottom", "top"):
        raise ValueError(f"end must be 'bottom' or 'top', not {end!r}")
    sign = 1 if end == "bottom" else -1
    isomers: dict[bytes, list[tuple[float, int]]] = defaultdict(list)
    for index, frame in enumerate(iterate(frames)):
        composition = np.sort(frame.numbers).astype("<i8").tobytes()
        isomers[composition].append((sign * float(frame.energy), index))
    taken = [
        index
        for group in isomers.values()
        for _, index in sorted(group)[: max(1, round(fraction * len(group)))]
    ]
    return np.sort(taken)


def density_weighted(frames: Frames, count: int, seed: int, neighbours: int = 10) -> np.ndarray:
    """Frames drawn the more often, the fewer others are like them.

    The weight wᵢ of a frame is its `sparseness`, its mean distance to its nearest neighbours, an
    inverse local density. Frames are drawn one after the other without replacement, each among
    the set R of those not yet drawn with the probability

        pᵢ = wᵢ / Σ_{j∈R} wⱼ        (weights below 1e-4 are raised to it)

    Time grows with the square of the number of frames, see `sparseness`; of millions, draw some
    1e5 by `random_choice` first. Returns indices (count,). Raises `ValueError` for a count or a
    number of neighbours that the frames do not allow.
    """
    _require_count(count, len(frames), "frames")
    weights = np.maximum(sparseness(frames, neighbours), _SMALLEST_WEIGHT)
    generator = np.random.default_rng(seed)
    chances = weights / weights.sum()
    return np.sort(generator.choice(len(frames), count, replace=False, p=chances))


def random_choice(
    frames: Frames, count: int | None, seed: int, per_reaction: int | None = None
) -> np.ndarray:
    """Frames drawn with equal chances, without replacement.

    per_reaction: first draws at most that many frames of each reaction, so that reactions of
    many frames do not outweigh the others, and then `count` of these. count: None for all of
    them. Returns indices (count,). Raises `ValueError` for no frames, and for numbers below one
    or above what there is.
    """
    _require_frames(frames)
    generator = np.random.default_rng(seed)
    pool = np.arange(len(frames))
    if per_reaction is not None:
        _require_count(per_reaction, None, "frames of each reaction")
        pool = _few_of_each(frames.reactions, per_reaction, generator)
    if count is None:
        return np.sort(pool)
    where = "frames" if per_reaction is None else f"frames at {per_reaction} per reaction"
    _require_count(count, len(pool), where)
    return np.sort(generator.choice(pool, count, replace=False))


def sparseness(frames: Frames, neighbours: int = 10) -> np.ndarray:
    """Mean distance of each frame to its k nearest neighbours, (frames,), dimensionless.

        wᵢ = (1/k) Σ_{j∈Nₖ(i)} |dᵢ − dⱼ|        with the `descriptors` dᵢ

    By brute force, which no search tree beats in so many dimensions. For molecules of four
    elements and 13 atoms, 5,000 frames take 2 s of one core, 100,000 some 6 minutes and 300 MB.
    Raises `ValueError` unless 1 <= k < number of frames.
    """
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= neighbours < len(frames):
        raise ValueError(
            f"{neighbours} nearest neighbours among {len(frames)} frames: "
            "ask for at least one and fewer than there are frames"
        )
    points = descriptors(frames)
    search = NearestNeighbors(n_neighbors=neighbours + 1, algorithm="brute").fit(points)
    # One more than asked, as each is its own neighbour, at distance zero, and adds nothing.
    sums = [
        search.kneighbors(points[start : start + _CHUNK])[0].sum(axis=1)
        for start in _progress(len(points), "neighbours")
    ]
    return np.concatenate(sums) / neighbours


def descriptors(frames: Frames) -> np.ndarray:
    """What geometries are compared by: SOAP averaged over the atoms, (frames, features), float32.

    Invariant to translation, rotation, reflection and the order of the atoms. The power spectrum
    of A. P. Bartók, R. Kondor, G. Csányi (arXiv:1209.3140) with cut-off 5 Å, Gaussians of 0.5 Å,
    6 radial functions and l up to 4, from `dscribe`, for the elements that occur in the frames.
    Of its pairs of elements the second is summed over ("mu1nu1" of J. P. Darby, J. R. Kermode,
    G. Csányi, npj Comput. Mater. 2022, 8, 166), which leaves 180 features for each element.
    """
    from dscribe.descriptors import SOAP

    _require_frames(frames)
    species = sorted({int(number) for frame in iterate(frames) for number in frame.numbers})
    soap = SOAP(
        species=species,
        periodic=False,
        r_cut=_CUTOFF,
        sigma=_WIDTH,
        n_max=6,
        l_max=4,
        average="outer",
        compression={"mode": "mu1nu1", "species_weighting": None},
        dtype="float32",
    )
    points = np.empty((len(frames), soap.get_number_of_features()), np.float32)
    for start in _progress(len(frames), "descriptors"):
        some = [frames[i] for i in range(start, min(start + _CHUNK, len(frames)))]
        points[start : start + _CHUNK] = soap.create(
            [Atoms(frame.numbers, frame.positions) for frame in some]
        )
    return points


def _few_of_each(reactions: list[str], most: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of at most so many frames of each reaction, in no particular order."""
    seen: Counter[str] = Counter()
    pool = []
    for index in generator.permutation(len(reactions)).tolist():
        if seen[reactions[index]] < most:
            seen[reactions[index]] += 1
            pool.append(index)
    return np.array(pool)


def _progress(total: int, what: str) -> Iterable[int]:
    """Where chunks start, with a bar on a terminal if there is more than one."""
    from rich.console import Console
    from rich.progress import track

    starts = range(0, total, _CHUNK)
    silent = len(starts) < 2 or not sys.stderr.isatty()
    return track(starts, what, console=Console(stderr=True), disable=silent)


def _require_frames(frames: Frames) -> None:
    if len(frames) == 0:
        raise ValueError("no frames to choose from")


def _require_count(count: int, available: int | None, what: str) -> None:
    if count < 1:
        raise ValueError(f"ask for at least one of the {what}, not {count}")
    if available is not None and count > available:
        raise ValueError(f"cannot take {count} of {available} {what}: ask for fewer")
