"""Rates, means and medians with their intervals of confidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, bootstrap

#: Of all intervals.
CONFIDENCE = 0.95

#: Bootstrap samples.
RESAMPLES = 1999

#: Of more numbers there is no interval: that of the mean is narrower than 4% of their standard
#: deviation, and drawing takes minutes.
MANY = 10_000

#: Numbers that are drawn at once, so that they fit into memory.
_BATCH = 5_000_000


@dataclass(frozen=True)
class Rate:
    """How many of how many, with the Wilson interval of the proportion.

    unknown: how many have not finished, or have a row that does not say. The interval then reaches
    from the lower end of `count` to the upper end of `count + unknown`.
    """

    count: int
    total: int
    unknown: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def value(self) -> float | None:
        """The proportion; the least that it can be where something is unknown."""
        return self.count / self.total if self.total else None


@dataclass(frozen=True)
class Estimate:
    """Mean and median of some numbers with bootstrap intervals; None for one, or very many."""

    count: int
    mean: float
    median: float
    mean_interval: tuple[float, float] | None = None
    median_interval: tuple[float, float] | None = None


def rate(answers: Iterable[bool | None], unanswered: int = 0) -> Rate:
    """Of all answers and of inputs without one; None is unknown, too."""
    answers = list(answers)
    total = len(answers) + unanswered
    count, unknown = answers.count(True), answers.count(None) + unanswered
    if not total:
        return Rate(0, 0)
    low = binomtest(count, total).proportion_ci(CONFIDENCE, "wilson").low
    high = binomtest(count + unknown, total).proportion_ci(CONFIDENCE, "wilson").high
    return Rate(count, total, unknown, float(low), float(high))


def estimate(values: Iterable[float], seed: int) -> Estimate | None:
    """Mean, median and percentile bootstrap of both; None where there are no values.

    The same values and `seed` give the same intervals (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993).
    """
    array = np.asarray(list(values), dtype=float)
    if not array.size:
        return None
    mean, median = float(array.mean()), float(np.median(array))
    if array.size == 1 or array.size > MANY:
        return Estimate(1, mean, median)
    found = bootstrap(
        (array,),
        _mean_and_median,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH // array.size),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    of_mean, of_median = ((float(found.low[i]), float(found.high[i])) for i in (0, 1))
    return Estimate(array.size, mean, median, of_mean, of_median)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test (Psychometrika 1947, 12, 153).

    How likely a difference like this one is if both runs are equally good: of the reactions that
    only one of them has found, each would be as likely to be found by either.
    """
    if not gained + lost:
        return 1.0
    return float(binomtest(gained, gained + lost).pvalue)


def _mean_and_median(values: np.ndarray, axis: int) -> np.ndarray:
    return np.stack([values.mean(axis), np.median(values, axis)])


def known(values: Iterable[float | None]) -> Sequence[float]:
    """Without those that are None."""
    return [value for value in values if value is not None]
