from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from horm_calc.data.files import open_frames
from horm_calc.data.formats.ase_files import Listed
from horm_calc.data.frames import Frame, chosen
from horm_calc.data.splitting import SplitError, overlaps, split, split_by_names
from tests.horm_calc.data.frame_sets import frame, real

PEROXIDE = (8, 1, 8, 1)


def moved(one: Frame, seed: int = 0, *, noise: float = 0.0, mirror: bool = False) -> Frame:
    """The same molecule elsewhere, turned, its atoms in another order."""
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(one.numbers))
    positions = one.positions @ Rotation.random(rng=seed).as_matrix().T + chance.normal(size=3)
    positions = positions + noise * np.eye(*positions.shape)
    if mirror:
        positions[:, 0] *= -1
    return replace(one, numbers=one.numbers[order], positions=positions[order])


def ten_reactions() -> Listed:
    """Three frames each; b3 has a frame of b4, b4 one of b5."""
    frames = [frame(10 * r + i, PEROXIDE, f"b{r}") for r in range(10) for i in range(3)]
    frames.append(replace(moved(frame(41, PEROXIDE)), reaction="b3"))
    frames.append(replace(moved(frame(52, PEROXIDE), mirror=True), reaction="b4"))
    return Listed(frames)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.5])
def test_split_is_disjoint_and_complete(seed: int, fraction: float) -> None:
    frames = ten_reactions()
    train, test = split(frames, fraction, seed)
    assert sorted([*train, *test]) == list(range(32))
    names = {frames.reactions[i] for i in test}
    assert len(names) == 10 * fraction  # seven of eight families are single reactions
    assert not names & {frames.reactions[i] for i in train}
    assert len(names & {"b3", "b4", "b5"}) in (0, 3)
    assert overlaps(chosen(frames, train), chosen(frames, test)) == ([], [])


def test_split_is_the_seeds() -> None:
    frames = ten_reactions()
    tests = [tuple(split(frames, 0.3, seed)[1]) for seed in range(8)]
    assert tests == [tuple(split(frames, 0.3, seed)[1]) for seed in range(8)]
    assert len(set(tests)) > 4


def test_what_cannot_be_split() -> None:
    one = Listed([frame(0), frame(1)])
    with pytest.raises(SplitError, match=r"1 of 1 reaction\(s\) .*1 group"):
        split(one, 0.5, 0)
    linked = Listed([frame(0), replace(moved(frame(0)), reaction="b")])
    with pytest.raises(SplitError, match=r"1 of 2 reaction\(s\) .*1 group"):
        split(linked, 0.5, 0)
    for fraction in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SplitError, match="between 0 and 1"):
            split(ten_reactions(), fraction, 0)


def test_split_by_names() -> None:
    frames = ten_reactions()
    train, test = split_by_names(frames, ["b9", "b0"])
    assert {frames.reactions[i] for i in test} == {"b0", "b9"}
    assert sorted([*train, *test]) == list(range(32))
    split_by_names(frames, ["b3", "b4", "b5"])
    with pytest.raises(SplitError, match=r"the same geometry on both sides, in b3 and b4"):
        split_by_names(frames, ["b3"])
    with pytest.raises(SplitError, match="no frames of c0, c1, c2, c3, c4 and 1 more"):
        split_by_names(frames, ["b1", *(f"c{i}" for i in range(6))])
    with pytest.raises(SplitError, match="one side"):
        split_by_names(frames, sorted(set(frames.reactions)))
    with pytest.raises(SplitError, match="one side"):
        split_by_names(frames, [])


def test_geometries_are_told_by_distances() -> None:
    first = Listed([frame(i, PEROXIDE, "a") for i in range(4)])
    second = Listed(
        [
            replace(frame(9, PEROXIDE), reaction="z"),
            replace(moved(frame(2, PEROXIDE), 5), reaction="z"),
            replace(moved(frame(0, PEROXIDE), 6, mirror=True), reaction="z"),
            replace(moved(frame(1, PEROXIDE), 7, noise=0.01), reaction="z"),
            replace(moved(frame(3, PEROXIDE), 8, noise=1e-5), reaction="z"),
        ]
    )
    assert overlaps(first, second) == ([], [(0, 2), (2, 1), (3, 4)])


def test_elements_tell_geometries_apart() -> None:
    """HCN and HNC with the same places of atoms; also the same formula with others swapped."""
    one = frame(0, (1, 6, 7))
    swapped = replace(one, numbers=np.array([1, 7, 6]), reaction="z")
    other = replace(one, numbers=np.array([1, 6, 8]), reaction="z")
    assert overlaps(Listed([one]), Listed([swapped, other])) == ([], [])


def test_shared_names() -> None:
    first = Listed([frame(0), frame(1, reaction="b")])
    second = Listed([frame(2, reaction="b"), frame(3, reaction="c")])
    assert overlaps(first, second) == (["b"], [])


def test_single_atoms() -> None:
    """They have no distances, and all of an element are the same."""
    first, second = Listed([frame(0, (1,))]), Listed([frame(1, (6,), "z"), frame(2, (1,), "z")])
    assert overlaps(first, second) == ([], [(0, 1)])


def test_real_labels() -> None:
    frames = open_frames(real("xtb_dev.h5"))
    train, test = split(frames, 0.1, 0)
    assert len({frames.reactions[i] for i in test}) == 16  # of 157
    assert overlaps(chosen(frames, train[::20]), chosen(frames, test)) == ([], [])
