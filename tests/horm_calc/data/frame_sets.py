"""Made-up labelled frames, and the real ones where they are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from horm_calc.data.frames import Frame
from tests.places import SHARED

DATA = SHARED / "data"
WATER = (8, 1, 1)


def real(name: str) -> Path:
    """A file of real labels; the test is left out where there are none."""
    if not (DATA / name).exists():
        pytest.skip(f"needs {name} in the folder shared/data beside the repository")
    return DATA / name


def frame(
    seed: int,
    numbers: Sequence[int] = WATER,
    reaction: str = "a",
    *,
    whole: bool = False,
    vectors: int = 0,
) -> Frame:
    """Random numbers that float32 holds exactly, as files keep no more."""
    chance = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return chance.normal(size=shape).astype(np.float32).astype(float)

    atoms = len(numbers)
    square = draw(3 * atoms, 3 * atoms)
    return Frame(
        np.array(numbers),
        draw(atoms, 3),
        float(draw()),
        draw(atoms, 3),
        hessian=(np.triu(square) + np.triu(square, 1).T) if whole else None,
        vectors=draw(vectors, atoms, 3) if vectors else None,
        products=draw(vectors, atoms, 3) if vectors else None,
        reaction=reaction,
    )


def assert_same(first: Frame, second: Frame) -> None:
    assert (first.reaction, first.energy) == (second.reaction, second.energy)
    for key in ("numbers", "positions", "forces", "hessian", "vectors", "products"):
        one, other = getattr(first, key), getattr(second, key)
        assert (one is None) == (other is None), key
        if one is not None:
            np.testing.assert_array_equal(one, other, err_msg=key)
