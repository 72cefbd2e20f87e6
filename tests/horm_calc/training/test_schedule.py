"""Learning rates, curriculum and clipping."""

from __future__ import annotations

import numpy as np
import pytest

from horm_calc.configuration import SettingsError
from horm_calc.training.schedule import (
    FIRST_NORM,
    NormHistory,
    learning_rate,
    second_weight,
)
from horm_calc.training.settings import LossSettings, OptimizerSettings


def test_cosine() -> None:
    settings = OptimizerSettings(final_fraction=0.1)
    rates = [learning_rate(step, 100, 10, settings) for step in (0, 50, 100, 120)]
    assert rates == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_warm_up_reaches_the_whole_rate() -> None:
    settings = OptimizerSettings(schedule="constant", warmup_steps=4)
    rates = [learning_rate(step, 100, 10, settings) for step in range(6)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_steps() -> None:
    settings = OptimizerSettings(schedule="step", step_epochs=2, gamma=0.5)
    rates = [learning_rate(step, 100, 10, settings) for step in (0, 19, 20, 39, 40)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_curriculum_grows_linearly() -> None:
    settings = LossSettings(second=4.0, curriculum_begin=1, curriculum_end=3)
    assert [second_weight(t, settings) for t in (0, 1, 2, 3, 9)] == [0.0, 0.0, 2.0, 4.0, 4.0]
    assert second_weight(0, LossSettings(second=4.0)) == 4.0
    sudden = LossSettings(second=4.0, curriculum_begin=2, curriculum_end=2)
    assert [second_weight(t, sudden) for t in (0, 1.9, 2, 3)] == [0.0, 0.0, 4.0, 4.0]
    with pytest.raises(SettingsError, match=r"curriculum_end' is 0, before .* \(3\)"):
        LossSettings(curriculum_begin=3)


def test_clipping_follows_recent_gradients() -> None:
    """Two means and three spreads of the last 50, as HORM's training code."""
    history = NormHistory()
    assert history.limit() == 2 * FIRST_NORM
    norms = np.random.default_rng(0).uniform(1, 2, 60)
    for norm in norms:
        history.add(norm)
    last = norms[-50:]
    assert history.limit() == pytest.approx(2 * last.mean() + 3 * last.std())
    limit = history.limit()
    history.add(1e9)
    assert max(history.norms) == limit
