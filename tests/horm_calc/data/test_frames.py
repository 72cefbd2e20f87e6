from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Chosen, DataError, chosen, fingerprint, iterate
from tests.horm_calc.data.frame_sets import assert_same, frame


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three frames of water in two reactions, two of HCN."""
    first = [frame(0), frame(1, reaction="b", whole=True), frame(2, reaction="b")]
    second = [frame(3, (1, 6, 7), "c"), frame(4, (1, 6, 7), "c", vectors=2)]
    paths = [tmp_path / "one.h5", tmp_path / "two.hdf5"]
    for path, frames in zip(paths, (first, second), strict=True):
        write_hdf5(path, frames, "GFN2-xTB")
    return paths


def test_several_files_follow_each_other(files: list[Path], tmp_path: Path) -> None:
    frames = open_frames(*files)
    assert len(frames) == 5
    assert frames.reactions == ["a", "b", "b", "c", "c"]
    assert frames.has_second_derivatives.tolist() == [False, True, False, False, True]
    assert frames.sizes.tolist() == [3] * 5
    assert frames.level_of_theory == "GFN2-xTB"
    for i, seed in enumerate(range(5)):
        assert frames[i].energy == frame(seed, (8, 1, 1) if seed < 3 else (1, 6, 7)).energy
    for one, other in zip(iterate(frames), iterate(open_frames(tmp_path)), strict=True):
        assert_same(one, other)


def test_chosen_keep_their_order_and_their_facts(files: list[Path]) -> None:
    everything = open_frames(*files)
    some = chosen(everything, [4, 0, 1])
    assert some.reactions == ["c", "a", "b"]
    assert some.has_second_derivatives.tolist() == [True, False, True]
    for place, index in enumerate([4, 0, 1]):
        assert_same(some[place], everything[index])
    again = Chosen([some, chosen(everything, [])], [2, 2])
    assert [one.reaction for one in iterate(again)] == ["b", "b"]
    assert len(chosen(everything, [])) == 0
    with pytest.raises(IndexError):
        some[3]


def test_levels_do_not_mix(files: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other.h5"
    write_hdf5(other, [frame(0)], "B3LYP/6-31G*")
    with pytest.raises(DataError, match=r"B3LYP/6-31G\* and GFN2-xTB together"):
        open_frames(files[0], other)
    unknown = tmp_path / "unknown.h5"
    write_hdf5(unknown, [frame(0)], "")
    with pytest.raises(DataError, match=r"unknown\.h5: does not say .* others are of GFN2-xTB"):
        open_frames(files[0], unknown)
    both = open_frames(files[0], unknown, level_of_theory="GFN2-xTB")
    assert both.level_of_theory == "GFN2-xTB"
    with pytest.raises(DataError, match=r"one\.h5: labels of GFN2-xTB, not of HF"):
        open_frames(files[0], unknown, level_of_theory="HF")


def test_nothing_to_open(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for paths, problem in (
        ([], "no file given"),
        ([tmp_path / "absent.h5"], r"absent\.h5: does not exist"),
        ([tmp_path], "a folder without frames"),
    ):
        with pytest.raises(DataError, match=problem):
            open_frames(*paths)


def test_errors_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("x.h5", "empty", "Make it again.")))
    assert str(error) == "x.h5: empty. Make it again."
    assert str(DataError("x.h5", "empty")) == "x.h5: empty"


def test_fingerprint_tells_data_apart(files: list[Path]) -> None:
    frames = list(iterate(open_frames(files[0])))

    class Changed:
        sizes = has_second_derivatives = np.zeros(3)
        reactions = ["a"] * 3
        level_of_theory = ""

        def __init__(self, **changes: object) -> None:
            self.frames = [replace(frames[0], **changes), *frames[1:]]

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> object:
            return self.frames[index]

    same = fingerprint(open_frames(files[0]))
    assert fingerprint(Changed()) == same
    assert fingerprint(Changed(reaction="z", forces=frames[0].forces + 1)) == same
    moved = frames[0].positions.copy()
    moved[2, 1] += 1e-5
    assert fingerprint(Changed(positions=moved)) != same
    assert fingerprint(Changed(energy=frames[0].energy + 1e-5)) != same
    assert fingerprint(Changed(numbers=np.array([8, 1, 9]))) != same
    assert fingerprint(chosen(open_frames(files[0]), [1, 0, 2])) != same
