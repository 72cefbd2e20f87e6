"""Which frames a run trains on, and on which others it is validated."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from horm_calc.configuration import SettingsError
from horm_calc.data.files import open_frames
from horm_calc.data.frames import DataError, Frames, chosen, iterate
from horm_calc.data.splitting import SplitError, overlaps, split
from horm_calc.errors import HormWarning
from horm_calc.progress import progress
from horm_calc.references import named
from horm_calc.training.settings import DataSettings, TrainingSettings


class SharedFrames(HormWarning):
    """Validation frames that are trained on too."""


def load(
    settings: TrainingSettings, elements: Sequence[int] | None = None
) -> tuple[Frames, Frames, dict[int, int]]:
    """Frames to train on, others, of other reactions, to validate on, and the elements of both.

    elements: atomic numbers that the network knows, if it was trained before; otherwise it will
    know those of the frames to train on. Elements are given with the first frame to train on
    that has them. Raises `SettingsError` or `DataError` for frames that are none, of several
    levels of theory or of elements that the network does not know, and for reactions on both
    sides.
    """
    data = settings.data
    if not data.train:
        raise SettingsError("data.train is empty: name files of frames to train on")
    frames = open_frames(*data.train, level_of_theory=data.level_of_theory)
    if not (data.level_of_theory or frames.level_of_theory):
        problem = "does not say how its labels were computed"
        raise DataError(data.train[0], problem, "Set data.level_of_theory.")
    if data.validation:
        held = _named(data, frames)
    else:
        try:
            parts = split(frames, data.validation_fraction, settings.run.seed)
        except SplitError as error:
            remedy = "Change it, or name other frames in data.validation."
            raise DataError("data.validation_fraction", str(error), remedy) from None
        frames, held = (chosen(frames, part) for part in parts)
    shown = first_frames(frames)
    words = "but the network knows"
    if elements is None:
        elements, words = sorted(shown), "but frames to train on have"
    else:
        _require_known(frames, shown, data.train, elements, words)
    paths, remedy = data.validation or data.train, "Leave such frames out."
    if not data.validation:
        remedy = "Leave such frames out, or draw others: change data.validation_fraction, run.seed."
    _require_known(held, first_frames(held), paths, elements, words, remedy)
    return frames, _drawn(held, data.validation_frames, settings.run.seed), shown


def first_frames(frames: Frames) -> dict[int, int]:
    """The elements of the frames, by atomic number, and the first frame that has each."""
    found: dict[int, int] = {}
    for index, frame in enumerate(progress(iterate(frames), "Looking at elements", len(frames))):
        for number in set(frame.numbers.tolist()) - found.keys():
            found[number] = index
    return found


def warn_of_shared(frames: Frames, held: Frames) -> None:
    """Warns where molecules to validate on are trained on too, under other names.

    Errors on such frames look better than those of other molecules.
    """
    _, pairs = overlaps(held, frames)
    if pairs:
        one, other = held.reactions[pairs[0][0]], frames.reactions[pairs[0][1]]
        warnings.warn(
            f"{len(pairs)} of {len(held)} frames of data.validation are also in data.train (such "
            f"as one of {one}, there of {other}): best.ckpt and validation errors mean less; "
            "horm-data split keeps the two apart",
            SharedFrames,
            stacklevel=3,
        )


def _named(data: DataSettings, frames: Frames) -> Frames:
    """The frames that `data.validation` names."""
    held = open_frames(*data.validation, level_of_theory=data.level_of_theory)
    if not data.level_of_theory and held.level_of_theory != frames.level_of_theory:
        told = held.level_of_theory or "a level of theory that it does not say"
        problem = f"labels of {told}, those of data.train of {frames.level_of_theory}"
        raise DataError(data.validation[0], problem, "If it is the same, set data.level_of_theory.")
    shared = set(frames.reactions) & set(held.reactions)
    if shared:
        problem = f"{len(shared)} reactions also in data.train, such as {min(shared)}"
        raise DataError(data.validation[0], problem, "Split with horm-data split.")
    return held


def _require_known(
    frames: Frames,
    shown: Mapping[int, int],
    paths: Sequence[str],
    elements: Sequence[int],
    words: str,
    remedy: str = "Leave such frames out.",
) -> None:
    """Raises `DataError` for frames of other elements."""
    unknown = sorted(shown.keys() - set(elements))
    if unknown:
        names = ", ".join(chemical_symbols[number] for number in unknown)
        reaction = frames[shown[unknown[0]]].reaction
        problem = f"a frame of {reaction} has {names}, {words} {named(elements)}"
        raise DataError(" ".join(paths), problem, remedy)


def _drawn(frames: Frames, count: int, seed: int) -> Frames:
    """At most `count` frames, half of them with second derivatives where there are enough."""
    rng = np.random.default_rng([seed, 4])
    with_second, plain = (
        rng.permutation(np.flatnonzero(which))
        for which in (frames.has_second_derivatives, ~frames.has_second_derivatives)
    )
    many = max(count // 2, count - len(plain))
    with_second = with_second[:many]
    return chosen(frames, np.sort(np.concatenate([with_second, plain[: count - len(with_second)]])))
