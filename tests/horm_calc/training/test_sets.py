"""Which frames are trained on and which are held out, and which are refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from horm_calc.configuration import from_mapping
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import DataError, Frames
from horm_calc.training.sets import SharedFrames, load, warn_of_shared
from horm_calc.training.settings import TrainingSettings
from tests.horm_calc.data.frame_sets import frame


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With five reactions of two frames each; r0 and r1 begin with the same molecule."""
    monkeypatch.chdir(tmp_path)
    made = [frame(10 * r + i, reaction=f"r{r}") for r in range(5) for i in range(2)]
    made.append(replace(made[0], reaction="r1"))
    write_hdf5(tmp_path / "train.h5", made, "HF")
    write_hdf5(tmp_path / "unknown.h5", [frame(100, reaction="u")], "")
    write_hdf5(tmp_path / "other.h5", [frame(101, reaction="o")], "PBE")
    return tmp_path


def loaded(elements: Sequence[int] | None = None, **data: Any) -> tuple[Frames, Frames]:
    values = {"data": {"train": ["train.h5"]} | data}
    return load(from_mapping(TrainingSettings, values), elements)[:2]


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.4, 0.6])
def test_reactions_with_a_common_molecule_are_held_out_together(fraction) -> None:
    frames, held = loaded(validation_fraction=fraction)
    names = set(held.reactions)
    assert 1 <= len(names) <= max(1, round(5 * fraction))
    assert not names & set(frames.reactions)
    assert len(names & {"r0", "r1"}) in (0, 2)
    assert len(frames) + len(held) == 11


def test_what_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match=r"data\.validation_fraction: .* not 1"):
        loaded(validation_fraction=1)
    with pytest.raises(DataError, match=r"data\.validation_fraction: 1 of 1 reaction"):
        loaded(train=["other.h5"])


def test_named_frames_that_are_trained_on_too_are_told(folder: Path) -> None:
    copies = [frame(10, reaction="x"), frame(20, reaction="x"), frame(200, reaction="y")]
    write_hdf5(folder / "held.h5", copies, "HF")
    with pytest.warns(SharedFrames, match="2 of 3 frames .* of x, there of r1"):
        warn_of_shared(*loaded(validation=["held.h5"]))
    write_hdf5(folder / "new.h5", copies[2:], "HF")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shared(*loaded(validation=["new.h5"]))


def test_unknown_elements_are_found_wherever_they_are(folder: Path) -> None:
    write_hdf5(folder / "cl.h5", [frame(1, (17, 1), "salt"), frame(2, reaction="w")], "HF")
    for files in ({"validation": ["cl.h5"]}, {"train": ["train.h5", "cl.h5"]}):
        with pytest.raises(DataError, match=r"cl\.h5: a frame of salt has Cl"):
            loaded((1, 6, 7, 8), validation_frames=1, **files)


def test_a_new_network_knows_the_elements_that_it_is_shown(folder: Path) -> None:
    write_hdf5(folder / "cl.h5", [frame(1, (17, 1), "salt"), frame(2, reaction="w")], "HF")
    write_hdf5(folder / "held.h5", [frame(3, (1, 1), "h")], "HF")
    values = {"data": {"train": ["train.h5", "cl.h5"], "validation": ["held.h5"]}}
    frames, _, shown = load(from_mapping(TrainingSettings, values))
    assert set(shown) == {1, 8, 17}
    for number, index in shown.items():
        assert number in frames[index].numbers
    problem = r"cl\.h5: a frame of salt has Cl, but frames to train on have H and O"
    with pytest.raises(DataError, match=problem):
        loaded(validation=["cl.h5"])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"train": ["unknown.h5"]}, "unknown.h5: does not say .* data.level_of_theory"),
        ({"train": ["train.h5", "unknown.h5"]}, "unknown.h5: does not say .* others are of HF"),
        ({"train": ["train.h5", "other.h5"]}, "HF and PBE together"),
        ({"level_of_theory": "PBE"}, "train.h5: labels of HF, not of PBE"),
        ({"validation": ["other.h5"]}, "other.h5: labels of PBE, those of data.train of HF"),
        (
            {"validation": ["unknown.h5"]},
            "unknown.h5: labels of a level of theory that it",
        ),
        ({"validation": ["other.h5"], "level_of_theory": "HF"}, "labels of PBE, not of HF"),
    ],
)
def test_levels_of_theory_are_not_mixed(data, problem) -> None:
    with pytest.raises(DataError, match=problem):
        loaded(**data)


def test_what_files_do_not_say_the_settings_may() -> None:
    frames, held = loaded(
        train=["train.h5", "unknown.h5"], validation_fraction=0.3, level_of_theory="HF"
    )
    assert len(frames) + len(held) == 12
