"""One training run, from settings to checkpoints; the same call resumes it."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from ase.data import chemical_symbols
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    ModelCheckpoint,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, Sampler

from horm_calc import checkpoints
from horm_calc.catalogue import find
from horm_calc.configuration import SettingsError, from_mapping, to_mapping
from horm_calc.models.contract import Network
from horm_calc.references import ELEMENTS
from horm_calc.training.batches import Batch, Making, Steps, fixed_batches
from horm_calc.training.callbacks import KeepLast, Reporter, mean_of_weights
from horm_calc.training.frames import DataError, Frames, chosen, fingerprint, open_frames
from horm_calc.training.module import TrainingModule
from horm_calc.training.references import fit_references
from horm_calc.training.settings import TrainingSettings

LAST, BEST, SETTINGS = "last.ckpt", "best.ckpt", "settings.json"
#: Frames to which references are fitted, at most.
FITTED_FRAMES = 20_000
#: Steps between entries in the logs.
LOG_EVERY = 50
#: Settings that do not change what a step does, and so may be others when a run goes on.
_FREE = ("run.max_minutes", "run.patience", "run.threads")


def train(settings: TrainingSettings, out: Path) -> Path:
    """Trains as `settings` say, writes into `out`, and returns the best checkpoint.

    out: `last.ckpt` (to resume from) and `best.ckpt` (lowest validation loss; none before the
    first validation), both for `HormCalculator`; `settings.json`, the numbers in `logs` and
    `tensorboard`. Where `last.ckpt` exists already the run goes on from it; raises
    `SettingsError` if its settings were others, `DataError` for data that cannot be used.
    """
    _same_settings(settings, out)
    pl.seed_everything(settings.run.seed, verbose=False)
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    frames, held = load(settings)
    network, config = start(settings)
    making = Making(
        _references(settings, frames),
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
    metadata = {
        "level_of_theory": settings.data.level_of_theory or frames.level_of_theory,
        "references": {chemical_symbols[z]: energy for z, energy in making.references.items()},
        "data": {
            "frames": len(frames),
            "with_second_derivatives": int(frames.curved.sum()),
            "reactions": len(set(frames.reactions)),
            "most_atoms": max(int(frames.sizes.max()), _most_atoms_before(settings)),
            "sha256": fingerprint(frames),
        },
    }
    module = TrainingModule(network, config, settings, metadata, steps.per_epoch)
    trainer, last = _trainer(settings, out), out / LAST
    done = 0
    if last.exists():
        done = int(torch.load(last, weights_only=True, mmap=True)["global_step"])
    trainer.fit(
        module,
        _loader(settings, steps, trainer, done),
        _validation_loader(settings, held, making),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    best = out / BEST
    return best if best.exists() else last


def _most_atoms_before(settings: TrainingSettings) -> int:
    """Of a molecule of the training that this one goes on from; 0 where none is known."""
    if not settings.network.init_from:
        return 0
    told = checkpoints.read(find(settings.network.init_from)).metadata
    return int(told.get("data", {}).get("most_atoms", 0))


def load(settings: TrainingSettings) -> tuple[Frames, Frames]:
    """Frames to train on, and others, of other reactions, to validate on."""
    if not settings.data.train:
        raise SettingsError("data.train is empty: name files of frames to train on")
    frames = open_frames(*settings.data.train)
    if not (settings.data.level_of_theory or frames.level_of_theory):
        problem = "does not say how its labels were computed"
        raise DataError(settings.data.train[0], problem, "Set data.level_of_theory.")
    rng = np.random.default_rng([settings.run.seed, 4])
    if settings.data.validation:
        held = open_frames(*settings.data.validation)
        shared = set(frames.reactions) & set(held.reactions)
        if shared:
            problem = f"{len(shared)} reactions also in data.train, such as {min(shared)}"
            raise DataError(settings.data.validation[0], problem, "Split with horm-data split.")
    else:
        names = sorted(set(frames.reactions))
        count = round(settings.data.validation_fraction * len(names))
        if not 0 < count < len(names):
            problem = f"{len(names)} reactions, too few to hold some out"
            raise DataError(settings.data.train[0], problem, "Name others in data.validation.")
        out = set(rng.choice(names, count, replace=False))
        inside = np.array([name in out for name in frames.reactions])
        frames, held = (
            chosen(frames, np.flatnonzero(~inside)),
            chosen(frames, np.flatnonzero(inside)),
        )
    return frames, _drawn(held, settings.data.validation_frames, rng)


def _drawn(frames: Frames, count: int, rng: np.random.Generator) -> Frames:
    """At most `count` frames, half of them with second derivatives where there are enough."""
    curved, plain = (
        rng.permutation(np.flatnonzero(which)) for which in (frames.curved, ~frames.curved)
    )
    many = max(count // 2, count - len(plain))
    curved = curved[:many]
    return chosen(frames, np.sort(np.concatenate([curved, plain[: count - len(curved)]])))


def _references(settings: TrainingSettings, frames: Frames) -> dict[int, float]:
    """Energies of atoms, eV, fitted to at most `FITTED_FRAMES` of the frames."""
    if len(frames) > FITTED_FRAMES:
        rng = np.random.default_rng([settings.run.seed, 5])
        frames = chosen(frames, np.sort(rng.choice(len(frames), FITTED_FRAMES, replace=False)))
    fitted = fit_references(frames)
    unknown = [chemical_symbols[number] for number in fitted.keys() - set(ELEMENTS)]
    if unknown:
        problem = f"has {', '.join(unknown)}, which the networks do not know"
        raise DataError(settings.data.train[0], problem, "Leave these frames out.")
    # Of an element that no frame has nothing is learned; any energy will do.
    return dict.fromkeys(ELEMENTS, 0.0) | fitted


def start(settings: TrainingSettings) -> tuple[Network, dict[str, Any]]:
    """The network before the first step, and the `model_config` of its checkpoints."""
    given = settings.network
    if given.init_from:
        checkpoint = checkpoints.read(find(given.init_from))
        network = checkpoints.load_network(checkpoint, torch.float32).requires_grad_(True)
        config = checkpoint.config
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
    callbacks: list[Callback] = [
        ModelCheckpoint(out, Path(BEST).stem, monitor="val/loss", enable_version_counter=False),
        Reporter(),
    ]
    if settings.optimizer.ema_decay:
        callbacks.append(mean_of_weights(settings.optimizer.ema_decay))
    callbacks.append(KeepLast(out / LAST, run.checkpoint_minutes))
    if run.patience:
        callbacks.append(EarlyStopping("val/loss", patience=run.patience))
    if run.max_minutes:
        callbacks.append(Timer(timedelta(minutes=run.max_minutes)))
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


def _same_settings(settings: TrainingSettings, out: Path) -> None:
    """Refuses to go on with a run that other settings began; `_FREE` ones may change."""
    out.mkdir(parents=True, exist_ok=True)
    path, now = out / SETTINGS, to_mapping(settings)
    if (out / LAST).exists() and path.exists():
        before = to_mapping(from_mapping(TrainingSettings, json.loads(path.read_text("utf-8"))))
        changed = _differences(before, now)
        if changed:
            raise SettingsError(
                f"{out} holds a run with other settings ({', '.join(changed)}): "
                "choose another --out, or the same settings to go on with it"
            )
    path.write_text(json.dumps(now, indent=2) + "\n", "utf-8")


def _differences(before: Any, now: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in now:
        name, old, new = f"{prefix}{key}", before.get(key), now[key]
        if isinstance(new, dict) and isinstance(old, dict) and key != "config":
            found += _differences(old, new, f"{name}.")
        elif old != new and name not in _FREE:
            found.append(name)
    return found
