"""What happens beside the steps of a run: checkpoints to resume from, and words for people."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
    WeightAveraging,
)
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")  # of ModelCheckpoint
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


class KeepBest(ModelCheckpoint):
    """Keeps the network with the lowest validation loss, wherever the run's folder is moved."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent, path.stem, monitor="val/loss", enable_version_counter=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Of another folder Lightning would take no score, and the next network for the best.
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        moved: dict[str, Any] = {key: here(state_dict[key]) for key in _PATHS}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved |= {"dirpath": self.dirpath, "best_k_models": scores}
        super().load_state_dict(state_dict | moved)


class Patience(EarlyStopping):
    """Ends a run that gets no better, after as many validations as the settings say now."""

    def __init__(self, validations: int) -> None:
        super().__init__("val/loss", patience=validations)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})


class KeepLast(Checkpoint):
    """Saves everything that a run needs to go on.

    It does so every `minutes`, after each validation, at the end, and when interrupted.
    Whole or not at all, so that a run that is killed while it saves still has the one before.
    Nothing is saved between a change of the weights and the end of the step, nor between a step
    and its validation, in which the mean of the weights has taken their place, and which would
    be left out when the run goes on. As interruptions often fall into validations, the step
    before is saved too. Of Lightning's checkpoints it must be the last, to save their state.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path, self.seconds, self._saved = path, 60 * minutes, time.monotonic()
        self._whole = False

    def on_before_optimizer_step(self, *_: Any) -> None:
        self._whole = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        interval = int(trainer.val_check_batch or 1)
        if trainer.global_step % interval == 0:
            return
        self._whole = True
        late = time.monotonic() - self._saved >= self.seconds
        if late or (trainer.global_step + 1) % interval == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING:  # of the starting point, before the first step
            return
        self._whole = True
        self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        # Not at the end of training, when averaged weights have taken the place of others.
        self._save(trainer)

    def on_exception(self, trainer: pl.Trainer, module: Any, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and self._whole:
            batches: Any = trainer.fit_loop.epoch_loop.batch_progress.total
            if batches.processed < batches.ready:
                # A batch that is begun anew must not count twice, or validations come too early.
                batches.reset_on_restart()
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
