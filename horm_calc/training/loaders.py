"""Which batches a run is given, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, Sampler

from horm_calc.data.frames import Frames
from horm_calc.training.batches import Batch, BatchOptions, Steps, fixed_batches
from horm_calc.training.settings import TrainingSettings


class StepsToDo(Sampler[int]):
    """The numbers of the steps that this process has still to do.

    Its length is that of the whole run, as Lightning counts the steps already done too.
    """

    def __init__(self, steps: int, done: int, world: int, rank: int) -> None:
        self.steps, self.numbers = steps, range(done * world + rank, steps * world, world)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)


def training_loader(
    settings: TrainingSettings, steps: Steps, trainer: pl.Trainer, done: int
) -> DataLoader[Batch]:
    """The batches of the steps after the first `done`."""
    workers = settings.data.workers
    return DataLoader(
        steps,
        batch_size=None,
        sampler=StepsToDo(settings.run.steps, done, trainer.world_size, trainer.global_rank),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def validation_loader(
    settings: TrainingSettings, held: Frames, making: BatchOptions
) -> DataLoader[Batch]:
    """The frames held out, in batches that are always the same."""
    batches: Any = fixed_batches(held, settings.data.batch_size, making, settings.run.seed)
    return DataLoader(batches, batch_size=None)
