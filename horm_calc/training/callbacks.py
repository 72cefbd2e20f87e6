"""What happens beside the steps of a run: checkpoints to resume from, and words for people."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, WeightAveraging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

_ERRORS = {"energy": "E {:.3f} eV", "forces": "F {:.4f} eV/Å", "second": "H {:.4g}"}


def mean_of_weights(decay: float) -> WeightAveraging:
    """The exponential moving average of the weights, which follows fast in the first steps.

    Otherwise the random weights from which a run started would stay in it for 1 / (1 - decay)
    steps.
    """

    def average(mean: Tensor, weights: Tensor, count: Tensor | int) -> Tensor:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        return kept * mean + (1 - kept) * weights

    return WeightAveraging(avg_fn=average)


class KeepLast(Callback):
    """Saves everything a run needs to go on: every `minutes`, at its end, and when interrupted.

    Whole or not at all, so that a run that is killed while it saves still has the one before.
    It must come after the callback that averages weights, whose mean of this step it saves.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.seconds, self._saved = path, 60 * minutes, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if time.monotonic() - self._saved >= self.seconds:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # Not at the end of training, when averaged weights have taken the place of others.
        self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        partial = self.path.with_name(f".{self.path.name}.partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            partial.replace(self.path)
        self._saved = time.monotonic()


class Reporter(Callback):
    """A bar over all steps, and a line for each validation."""

    def __init__(self) -> None:
        self.console = Console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            self._task = self._bar.add_task(
                "training", total=trainer.max_steps, completed=trainer.global_step
            )
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            loss = trainer.callback_metrics.get("train/loss")
            words = "training" if loss is None else f"loss {float(loss):.3g}"
            self._bar.update(self._task, completed=trainer.global_step, description=words)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.is_global_zero:
            found = trainer.callback_metrics
            errors = [
                words.format(float(found[f"val/{name}"]))
                for name, words in _ERRORS.items()
                if f"val/{name}" in found
            ]
            loss = float(found["val/loss"])
            line = f"step {trainer.global_step}: validation {', '.join(errors)}; loss {loss:.4g}"
            self.console.print(line, highlight=False)

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._bar.stop()

    def on_exception(self, trainer: pl.Trainer, *_: Any) -> None:
        self._bar.stop()
