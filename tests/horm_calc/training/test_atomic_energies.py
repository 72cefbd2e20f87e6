from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from horm_calc.data.files import open_frames
from horm_calc.data.formats.ase_files import Listed
from horm_calc.data.frames import Frame
from horm_calc.references import ATOMIC_ENERGIES
from horm_calc.training.atomic_energies import corrected_references, fit_references
from horm_calc.training.batches import BatchOptions, batch_of
from horm_calc.training.losses import predict
from tests.horm_calc.data import labelled
from tests.horm_calc.data.frame_sets import real


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


def test_another_level_moves_the_references_as_far_as_frames_show() -> None:
    made, shift = labelled.network(1), {1: -0.5, 6: 12.0, 8: 3.0}
    references = {1: -13.0, 6: -100.0, 7: -200.0, 8: -300.0}
    some = [one for one in labelled.frames() if 7 not in one.numbers]
    nothing = BatchOptions(dict.fromkeys(references, 0.0), "none", 1, torch.float64)
    [part] = batch_of(some, nothing, np.random.default_rng(0)).parts
    energies = predict(made, part, second=False).energies.tolist()
    told = [
        replace(one, energy=energy + sum(references[z] + shift[z] for z in one.numbers.tolist()))
        for one, energy in zip(some, energies, strict=True)
    ]
    found = corrected_references(Listed(told), made, references)
    # Water and methanol alone: of all corrections that fit, the one of minimum norm.
    assert found.keys() == {1, 6, 8}
    for atoms in ({1: 2, 8: 1}, {1: 4, 6: 1, 8: 1}):
        expected = sum(n * (references[z] + shift[z]) for z, n in atoms.items())
        assert sum(n * found[z] for z, n in atoms.items()) == pytest.approx(expected, abs=1e-6)
