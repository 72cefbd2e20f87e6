"""One training run, from settings to checkpoints; the same call resumes it."""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from ase.data import chemical_symbols
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Sampler

from horm_calc.checkpoints import files as checkpoints
from horm_calc.checkpoints.catalogue import find
from horm_calc.configuration import SettingsError
from horm_calc.data.frames import Frames, chosen, fingerprint
from horm_calc.models.contract import Network
from horm_calc.potential import CheckpointConcern
from horm_calc.references import ELEMENTS, told_by
from horm_calc.training import resuming
from horm_calc.training.atomic_energies import corrected_references, fit_references
from horm_calc.training.batches import Batch, Making, Steps, fixed_batches
from horm_calc.training.callbacks import KeepBest, KeepLast, Patience, Reporter, mean_of_weights
from horm_calc.training.module import TrainingModule
from horm_calc.training.resuming import LAST
from horm_calc.training.sets import load, warn_of_shared
from horm_calc.training.settings import NetworkSettings, TrainingSettings

BEST = "best.ckpt"
#: Frames to which references, or corrections to them, are fitted, at most.
FITTED_FRAMES, CORRECTED_FRAMES = 20_000, 2_000
#: Steps between entries in the logs.
LOG_EVERY = 50


def train(settings: TrainingSettings, out: Path | str) -> Path:
    """Trains as `settings` say and returns the best checkpoint.

    Where `last.ckpt` exists already the run goes on from it.

    Parameters
    ----------
    settings
        Of the whole run.
    out
        A folder: `last.ckpt` (to resume from) and `best.ckpt` (lowest validation loss; none before
        the first validation), both for `HormCalculator`; `settings.json`, the numbers in `logs` and
        `tensorboard`.

    Returns
    -------
    Path
        `best.ckpt`, or `last.ckpt` where there is none.

    Raises
    ------
    SettingsError
        If settings or data of the run that goes on were others, and for settings that do not go
        together.
    DataError
        For data that cannot be used.

    Warns
    -----
    CheckpointConcern
        Of what the user of the checkpoint that is the start should know.
    SharedFrames
        Where frames to validate on are trained on too.
    """
    out = Path(out)
    stands = resuming.stand_of(settings, out)
    pl.seed_everything(settings.run.seed, verbose=False)
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    given = settings.network.init_from
    before = checkpoints.read(find(given)) if given else None
    for concern in before.concerns if before else ():
        warnings.warn(f"{given}: {concern}", CheckpointConcern, stacklevel=2)
    network, config = start(settings, before)
    frames, held = load(settings)
    level = settings.data.level_of_theory or frames.level_of_theory
    digests = {"sha256": fingerprint(frames), "validation_sha256": fingerprint(held)}
    if stands:
        resuming.require_same_data(stands, digests, out)
        references = told_by(stands).references
    else:
        if settings.data.validation:
            warn_of_shared(frames, held)
        references = _references(settings, frames, level, network, before)
    making = Making(
        references,
        settings.loss.probe,
        settings.loss.vectors,
        torch.float64 if settings.run.precision == "64-true" else torch.float32,
    )
    steps = Steps(
        frames,
        settings.data.batch_size,
        making,
        settings.run.seed,
        settings.data.curved_fraction,
    )
    most_before = before.training.most_atoms if before else None
    metadata = {
        "level_of_theory": level,
        "references": {chemical_symbols[z]: energy for z, energy in references.items()},
        "data": {
            "frames": len(frames),
            "with_second_derivatives": int(frames.curved.sum()),
            "reactions": len(set(frames.reactions)),
            "most_atoms": max(int(frames.sizes.max()), most_before or 0),
            **digests,
        },
    }
    module = TrainingModule(network, config, settings, metadata, steps.per_epoch)
    trainer, done = _trainer(settings, out), int(stands.get("global_step", 0))
    trainer.fit(
        module,
        _loader(settings, steps, trainer, done),
        _validation_loader(settings, held, making),
        ckpt_path=out / LAST if stands else None,
        weights_only=True,
    )
    best = out / BEST
    return best if best.exists() else out / LAST


def _references(
    settings: TrainingSettings,
    frames: Frames,
    level: str,
    network: Network,
    before: checkpoints.Checkpoint | None,
) -> dict[int, float]:
    """Energies of atoms, eV: fitted, or those of the training that this one goes on from."""
    if before is None:
        # Of an element that no frame has nothing is learned; any energy will do.
        fitted = fit_references(_some(frames, FITTED_FRAMES, settings))
        return dict.fromkeys(ELEMENTS, 0.0) | fitted
    told = before.training
    energies = dict(told.references)
    if told.level_of_theory == level:
        return energies
    some = _some(frames, CORRECTED_FRAMES, settings)
    return energies | corrected_references(some, network, energies)


def _some(frames: Frames, count: int, settings: TrainingSettings) -> Frames:
    if len(frames) <= count:
        return frames
    rng = np.random.default_rng([settings.run.seed, 5])
    return chosen(frames, np.sort(rng.choice(len(frames), count, replace=False)))


def start(
    settings: TrainingSettings, before: checkpoints.Checkpoint | None
) -> tuple[Network, dict[str, Any]]:
    """The network before the first step, and the `model_config` of its checkpoints.

    before: the checkpoint that `network.init_from` names.
    """
    given = settings.network
    if before is not None:
        config = before.config
        other = [f"config.{key}" for key, value in given.config.items() if config.get(key) != value]
        if given.name not in (config["name"], NetworkSettings().name):
            other.insert(0, "name")
        if other:
            raise SettingsError(
                f"network.{', '.join(other)} is not that of network.init_from, "
                f"{before.path}: leave it out, as weights fit no other network than theirs"
            )
        network = checkpoints.load_network(before, torch.float32).requires_grad_(True)
    else:
        if given.name not in checkpoints.NETWORKS:
            known = ", ".join(checkpoints.NETWORKS)
            raise SettingsError(f"network.name is '{given.name}'; known: {known}")
        try:
            network = checkpoints.network_class(given.name).fresh(given.config)
        except ValueError as error:
            raise SettingsError(f"network.config: {error}") from None
        config = given.config | {"name": given.name}
    for pattern in given.frozen:
        names = fnmatch.filter([name for name, _ in network.named_parameters()], pattern)
        if not names:
            raise SettingsError(f"network.frozen: no parameter is called '{pattern}'")
        for name in names:
            network.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise SettingsError("network.frozen: leaves no parameter to train")
    direct_only = settings.loss.probe == "none" and not network.conservative
    if settings.run.precision == "bf16-mixed" and not direct_only:
        raise SettingsError(
            "run.precision bf16-mixed loses the digits that derivatives need: "
            f"use 32-true with {network.name} and loss.probe {settings.loss.probe}"
        )
    return network.train(), config


def _trainer(settings: TrainingSettings, out: Path) -> pl.Trainer:
    run = settings.run
    callbacks: list[Callback] = [Reporter()]
    if settings.optimizer.ema_decay:
        callbacks.append(mean_of_weights(settings.optimizer.ema_decay))
    if run.patience:
        callbacks.append(Patience(run.patience))
    if run.max_minutes:
        callbacks.append(Timer(timedelta(minutes=run.max_minutes)))
    callbacks += [KeepBest(out / BEST), KeepLast(out / LAST, run.checkpoint_minutes)]
    return pl.Trainer(
        default_root_dir=out,
        accelerator=run.accelerator,
        devices=run.devices,
        precision=run.precision,  # type: ignore[arg-type]
        max_steps=run.steps,
        val_check_interval=min(run.validate_every, run.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        inference_mode=False,
        callbacks=callbacks,
        logger=[CSVLogger(out, "logs"), TensorBoardLogger(out, "tensorboard")],
        log_every_n_steps=min(LOG_EVERY, run.validate_every),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _StepsToDo(Sampler[int]):
    """The numbers of the steps that this process has still to do.

    Its length is that of the whole run, as Lightning counts the steps already done too.
    """

    def __init__(self, steps: int, done: int, world: int, rank: int) -> None:
        self.steps, self.numbers = steps, range(done * world + rank, steps * world, world)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)


def _loader(
    settings: TrainingSettings, steps: Steps, trainer: pl.Trainer, done: int
) -> DataLoader[Batch]:
    workers = settings.data.workers
    return DataLoader(
        steps,
        batch_size=None,
        sampler=_StepsToDo(settings.run.steps, done, trainer.world_size, trainer.global_rank),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _validation_loader(
    settings: TrainingSettings, held: Frames, making: Making
) -> DataLoader[Batch]:
    batches: Any = fixed_batches(held, settings.data.batch_size, making, settings.run.seed)
    return DataLoader(batches, batch_size=None)
