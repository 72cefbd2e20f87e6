"""The training of one network, as a Lightning module."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from horm_calc.configuration import to_mapping
from horm_calc.models.contract import Network
from horm_calc.training import losses, schedule
from horm_calc.training.batches import Batch
from horm_calc.training.optimizers import optimizer_of
from horm_calc.training.settings import TrainingSettings

_HISTORY = "gradient_norms"


class TrainingModule(pl.LightningModule):
    """Makes the losses of `settings` small.

    Its checkpoints have the form of HORM's: weights under `potential.`, the configuration under
    `model_config`, so that `HormCalculator` reads them. metadata: what goes into them beside
    (references, level of theory, data). per_epoch: steps in an epoch.
    """

    def __init__(
        self,
        network: Network,
        config: dict[str, Any],
        settings: TrainingSettings,
        metadata: dict[str, Any],
        per_epoch: int,
    ) -> None:
        super().__init__()
        self.potential, self.settings, self.per_epoch = network, settings, per_epoch
        self.config, self.metadata = config, metadata
        self._norms = schedule.NormHistory()

    def configure_optimizers(self) -> Any:
        settings, steps = self.settings.optimizer, self.settings.run.steps
        optimizer = optimizer_of(self.potential, settings)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: schedule.learning_rate(step, steps, self.per_epoch, settings),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def training_step(self, batch: Batch, index: int) -> Tensor:
        weight = schedule.second_weight(self.global_step / self.per_epoch, self.settings.loss)
        total, errors = self._loss(batch, weight)
        if not math.isfinite(errors["loss"]):
            raise FloatingPointError(
                f"the loss is not finite at step {self.global_step}: lower "
                "optimizer.learning_rate, or look for absurd labels with horm-data info"
            )
        for name, value in (errors | {"second_weight": weight}).items():
            self.log(f"train/{name}", value, batch_size=len(batch))
        return total

    def validation_step(self, batch: Batch, index: int) -> None:
        _, errors = self._loss(batch, self.settings.loss.second)
        counts = {"second": sum(len(p.energies) for p in batch.parts if p.vectors is not None)}
        for name, value in errors.items():
            size = counts.get(name, len(batch))
            if size:
                self.log(f"val/{name}", value, batch_size=size)

    def _loss(self, batch: Batch, second_weight: float) -> tuple[Tensor, dict[str, float]]:
        """The weighted sum, and the errors that it is made of.

        Energies in eV, forces in eV/Å, second derivatives as `losses.product_errors` has them.
        """
        settings, sums = self.settings.loss, dict.fromkeys(("energy", "forces", "second"), 0.0)
        terms: list[Tensor] = []
        molecules = len(batch)
        atoms = sum(len(part.forces) for part in batch.parts)
        with_second = sum(len(part.energies) for part in batch.parts if part.vectors is not None)
        for part in batch.parts:
            found = losses.predict(self.potential, part, second=second_weight > 0)
            energy = losses.energy_errors(found, part, settings.energy_form).sum() / molecules
            forces = losses.force_errors(found, part, settings.force_form).sum() / atoms
            share = settings.curved_weight if part.vectors is not None else 1.0
            terms.append(share * (settings.energy * energy + settings.forces * forces))
            sums["energy"] += float(energy.detach())
            sums["forces"] += float(forces.detach())
            if found.products is not None:
                second = (
                    losses.product_errors(found, part, settings.second_form).sum() / with_second
                )
                terms.append(second_weight * second)
                sums["second"] += float(second.detach())
        total = torch.stack(terms).sum()
        return total, sums | {"loss": float(total.detach())}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        settings = self.settings.optimizer
        limit = {
            "history": self._norms.limit(),
            "norm": settings.clip_norm,
            "none": math.inf,
        }[settings.clip]
        norm = torch.nn.utils.clip_grad_norm_(self.potential.parameters(), limit)
        self._norms.add(float(norm))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[_HISTORY] = list(self._norms.norms)
        checkpoint["hyper_parameters"] = {
            "model_config": self.config,
            "training_config": to_mapping(self.settings),
            **self.metadata,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._norms = schedule.NormHistory(checkpoint[_HISTORY])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, index: int) -> Batch:
        return batch.to(device)
