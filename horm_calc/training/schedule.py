"""What changes over a run: the learning rate, the weight of second derivatives, the clipping."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

import numpy as np

from horm_calc.training.settings import LossSettings, OptimizerSettings

#: HORM's: how many gradients are remembered, the norm that stands for them at first, and how
#: far above them the next may be.
HISTORY = 50
FIRST_NORM = 3000.0
MEANS, SPREADS = 2.0, 3.0


def learning_rate(step: int, steps: int, per_epoch: int, settings: OptimizerSettings) -> float:
    """The factor on the highest rate at `step` of `steps`."""
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.schedule == "constant":
        return warm
    if settings.schedule == "step":
        return warm * settings.gamma ** math.floor(step / per_epoch / settings.step_epochs)
    least = settings.final_fraction
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return warm * (least + (1 - least) * cosine)


def second_weight(epoch: float, settings: LossSettings) -> float:
    """The weight of second derivatives at a time in epochs: it grows linearly."""
    if epoch >= settings.curriculum_end:
        return settings.second
    begin, end = settings.curriculum_begin, settings.curriculum_end
    return settings.second * (epoch - begin) / (end - begin) if epoch > begin else 0.0


class NormHistory:
    """The norms of recent gradients, and the longest that the next one may have."""

    def __init__(self, norms: Iterable[float] = (FIRST_NORM,)) -> None:
        self.norms = deque(norms, maxlen=HISTORY)

    def limit(self) -> float:
        """The largest norm that is not clipped, from those of before."""
        return float(MEANS * np.mean(self.norms) + SPREADS * np.std(self.norms))

    def add(self, norm: float) -> None:
        """Remembers the norm of a gradient, after clipping."""
        self.norms.append(min(norm, self.limit()))
