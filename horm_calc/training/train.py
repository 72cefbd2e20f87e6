"""One training run, from settings to checkpoints; the same call resumes it."""

from __future__ import annotations

import fnmatch
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from ase.data import chemical_symbols
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from horm_calc.checkpoints import files as checkpoints
from horm_calc.checkpoints.catalogue import find
from horm_calc.configuration import SettingsError
from horm_calc.data.frames import Frames, chosen, fingerprint
from horm_calc.errors import HormWarning
from horm_calc.models.contract import Network
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.potential import CheckpointConcern
from horm_calc.references import ELEMENTS, Domain, training_record
from horm_calc.training import resuming
from horm_calc.training.atomic_energies import corrected_references, fit_references
from horm_calc.training.batches import BatchOptions, Steps
from horm_calc.training.callbacks import KeepBest, KeepLast, Patience, Reporter, mean_of_weights
from horm_calc.training.loaders import training_loader, validation_loader
from horm_calc.training.module import TrainingModule
from horm_calc.training.resuming import LAST
from horm_calc.training.sets import load, warn_of_shared
from horm_calc.training.settings import NetworkSettings, TrainingSettings

BEST = "best.ckpt"
#: Under which a checkpoint's metadata keep the validation loss of the start of a fine-tuning.
START = "validation_loss_at_start"
#: Frames to which references, or corrections to them, are fitted, at most.
FITTED_FRAMES, CORRECTED_FRAMES = 20_000, 2_000
#: Steps between entries in the logs.
LOG_EVERY = 50


class WorseThanStart(HormWarning):
    """A fine-tuning after which the network errs more than before."""


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
    WorseThanStart
        Where no step of a fine-tuning has a lower validation loss than its start.
    SharedFrames
        Where frames to validate on are trained on too.
    """
    out = Path(out)
    stands = resuming.state_of_run(settings, out)
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    before = _starting_point(settings.network.init_from)
    _require_start(settings, before)
    told = training_record(stands) if stands else before.training if before else None
    frames, held, shown = load(settings, told.domain.elements if told else None)
    domain = told.domain if told else Domain(tuple(sorted(shown)))
    level = settings.data.level_of_theory or frames.level_of_theory
    digests = {"sha256": fingerprint(frames), "validation_sha256": fingerprint(held)}
    if stands:
        resuming.require_same_data(stands, digests, out)
    elif settings.data.validation:
        warn_of_shared(frames, held)
    pl.seed_everything(settings.run.seed, verbose=False)
    network, config = start(settings, before, domain.elements)
    if told and stands:
        references = dict(told.references)
    else:
        references = _references(settings, frames, list(shown.values()), level, network, before)
    resuming.keep_settings(settings, out)
    making = BatchOptions(
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
        **domain.record,
        "level_of_theory": level,
        "references": {chemical_symbols[z]: energy for z, energy in references.items()},
        "data": _about(frames, most_before or 0) | digests,
    }
    module = TrainingModule(network, config, settings, metadata, steps.per_epoch)
    trainer, done = _trainer(settings, out), int(stands.get("global_step", 0))
    validation = validation_loader(settings, held, making)
    if before and not stands:
        [errors] = trainer.validate(module, validation, verbose=False)
        metadata[START] = errors["val/loss"]
    elif START in stands:
        metadata[START] = stands[START]
    trainer.fit(
        module,
        training_loader(settings, steps, trainer, done),
        validation,
        ckpt_path=out / LAST if stands else None,
        weights_only=True,
    )
    best = out / BEST
    _warn_if_worse(trainer, metadata.get(START), settings.network.init_from)
    return best if best.exists() else out / LAST


def _starting_point(given: str) -> checkpoints.Checkpoint | None:
    """The checkpoint that `network.init_from` names, if it does; warns of its concerns."""
    if not given:
        return None
    before = checkpoints.read(find(given))
    for concern in before.concerns:
        warnings.warn(f"{given}: {concern}", CheckpointConcern, stacklevel=3)
    return before


def _require_start(settings: TrainingSettings, before: checkpoints.Checkpoint | None) -> None:
    """Raises what `start` raises of the settings, before the data are read, which can be long."""
    if before:
        start(settings, before)
    else:
        with torch.device("meta"):  # no memory, and no random numbers
            start(settings, None)


def _about(frames: Frames, most_before: int) -> dict[str, Any]:
    """What checkpoints say of the data; most_before: atoms of a molecule in earlier data."""
    return {
        "frames": len(frames),
        "with_second_derivatives": int(frames.has_second_derivatives.sum()),
        "reactions": len(set(frames.reactions)),
        "most_atoms": max(int(frames.sizes.max()), most_before),
    }


def _warn_if_worse(trainer: pl.Trainer, start: Any, given: str) -> None:
    """Warns where no step of a fine-tuning has a lower validation loss than its start."""
    [kept] = [one for one in trainer.callbacks if isinstance(one, KeepBest)]  # type: ignore[attr-defined]
    if isinstance(start, float) and kept.best_model_score is not None:
        lowest = float(kept.best_model_score)
        if not lowest < start:
            warnings.warn(
                f"this training made {given} worse: its validation loss was {start:.4g} at the "
                f"start and is {lowest:.4g} at best; use {given} as it was, or lower "
                "optimizer.learning_rate",
                WorseThanStart,
                stacklevel=2,
            )


def _references(
    settings: TrainingSettings,
    frames: Frames,
    needed: list[int],
    level: str,
    network: Network,
    before: checkpoints.Checkpoint | None,
) -> dict[int, float]:
    """Energies of atoms, eV: fitted, or those of the training that this one goes on from.

    needed: frames that show all elements between them, which a few at random may not.
    """
    if before is None:
        return fit_references(_some(frames, FITTED_FRAMES, settings, needed))
    told = before.training
    energies = dict(told.references)
    if told.level_of_theory == level:
        return energies
    some = _some(frames, CORRECTED_FRAMES, settings, needed)
    return energies | corrected_references(some, network, energies)


def _some(frames: Frames, count: int, settings: TrainingSettings, needed: list[int]) -> Frames:
    if len(frames) <= count:
        return frames
    rng = np.random.default_rng([settings.run.seed, 5])
    return chosen(frames, np.union1d(rng.choice(len(frames), count, replace=False), needed))


def start(
    settings: TrainingSettings,
    before: checkpoints.Checkpoint | None,
    elements: tuple[int, ...] = ELEMENTS,
) -> tuple[Network, dict[str, Any]]:
    """The network before the first step, and the `model_config` of its checkpoints.

    before: the checkpoint that `network.init_from` names, whose elements are its own; another
    network is to know `elements`.
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
        if given.name not in NETWORKS:
            known = ", ".join(NETWORKS)
            raise SettingsError(f"network.name is '{given.name}'; known: {known}")
        try:
            network = network_class(given.name).fresh(given.config, elements)
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
    try:
        return _lightning(settings, out, callbacks)
    except MisconfigurationException as error:
        raise SettingsError(f"run.accelerator, run.devices: {error}") from None


def _lightning(settings: TrainingSettings, out: Path, callbacks: list[Callback]) -> pl.Trainer:
    run = settings.run
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
