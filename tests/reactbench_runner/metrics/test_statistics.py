"""Rates, intervals and McNemar's test against values known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from reactbench_runner.metrics.statistics import MANY, estimate, mcnemar, rate


def test_bootstrap_is_reproducible_and_depends_on_the_seed() -> None:
    values = np.random.default_rng(0).gamma(2, size=40)
    one = estimate(values, 3)
    assert one == estimate(values, 3)
    assert one != estimate(values, 4)
    assert one
    assert (one.count, one.mean, one.median) == (40, values.mean(), np.median(values))


def test_bootstrap_of_the_mean_is_its_standard_error() -> None:
    """Of many normal numbers: ± 1.96 σ/√n, within a few percent."""
    values = np.random.default_rng(1).normal(5, 2, 2000)
    found = estimate(values, 1)
    assert found
    assert found.mean_interval
    low, high = found.mean_interval
    arm = 1.96 * values.std() / np.sqrt(len(values))
    assert (high - low) / 2 == pytest.approx(arm, rel=0.05)
    assert low < values.mean() < high


def test_few_values() -> None:
    assert estimate([], 1) is None
    alone = estimate([2.0], 1)
    assert alone
    assert (alone.mean, alone.mean_interval) == (2.0, None)
    same = estimate([2.0, 2.0], 1)
    assert same
    assert same.median_interval == (2.0, 2.0)
    many = estimate(range(MANY + 1), 1)
    assert many
    assert (many.median, many.median_interval) == (MANY / 2, None)


def test_mcnemar() -> None:
    """2 Σ C(n, k) / 2ⁿ for k up to the smaller one; twelve against four: 0.0768."""
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert (
        mcnemar(12, 4) == mcnemar(4, 12) == pytest.approx(2 * (1 + 16 + 120 + 560 + 1820) / 2**16)
    )
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)


def test_rates() -> None:
    """Wilson's interval of 81 in 263 from Newcombe, Stat. Med. 1998, 17, 857: 0.2553 to 0.3662."""
    found = rate([True] * 81 + [False] * 182)
    assert (found.low, found.high) == (
        pytest.approx(0.2553, abs=5e-5),
        pytest.approx(0.3662, abs=5e-5),
    )
    some = rate([True, None, False], 7)
    assert (some.count, some.total, some.unknown) == (1, 10, 8)
    assert rate([]).value is None
