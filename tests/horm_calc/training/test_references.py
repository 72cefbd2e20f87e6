from __future__ import annotations

import numpy as np
import pytest

from horm_calc.references import ATOMIC_ENERGIES
from horm_calc.training.ase_frames import Listed
from horm_calc.training.frames import Frame, open_frames
from horm_calc.training.references import fit_references
from tests.horm_calc.training.frame_sets import real


def atoms(numbers: list[int], energy: float) -> Frame:
    zeros = np.zeros((len(numbers), 3))
    return Frame(np.array(numbers), zeros, energy, zeros)


def test_exact_where_energies_are_sums() -> None:
    """H2 -2, H2O -12, CH4 -34: H -1, O -10, C -30."""
    frames = [atoms([1, 1], -2), atoms([8, 1, 1], -12), atoms([1, 1, 6, 1, 1], -34)]
    assert fit_references(Listed(frames)) == pytest.approx({1: -1, 6: -30, 8: -10})


def test_least_squares_by_hand() -> None:
    """H -1 and -2 and H2 -6: minimal (x+1)² + (x+2)² + (2x+6)² at 6x = -15."""
    frames = [atoms([1], -1), atoms([1], -2), atoms([1, 1], -6)]
    assert fit_references(Listed(frames)) == pytest.approx({1: -2.5})


def test_minimum_norm_where_compositions_do_not_tell() -> None:
    """2 h + o = -10 has its shortest solution along (2, 1)."""
    frames = [atoms([8, 1, 1], -10)] * 3
    assert fit_references(Listed(frames)) == pytest.approx({1: -4, 8: -2})


def test_like_one_fit_to_all_frames() -> None:
    """Grouping frames by composition changes nothing, minimum norm included."""
    chance = np.random.default_rng(0)
    frames = []
    for _ in range(200):
        carbon = int(chance.integers(1, 4))
        numbers = [6] * carbon + [1] * (2 * carbon) + [8] * int(chance.integers(0, 3))
        frames.append(atoms(numbers, float(chance.normal(-1000 * carbon))))
    counts = [[np.sum(frame.numbers == z) for z in (1, 6, 8)] for frame in frames]
    expected, _, rank, _ = np.linalg.lstsq(counts, [one.energy for one in frames])
    assert rank == 2
    fitted = fit_references(Listed(frames))
    np.testing.assert_allclose(list(fitted.values()), expected, rtol=1e-9)


def test_published_sample() -> None:
    """Near the energies by which the published differences are defined, bond energies aside."""
    fitted = fit_references(open_frames(real("horm_sample_100.lmdb")))
    for number, energy in ATOMIC_ENERGIES.items():
        assert fitted[number] == pytest.approx(energy, abs=1.0)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="no frames"):
        fit_references(Listed([]))
