"""The optimisers that training can choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from horm_calc.training.settings import OptimizerSettings


def optimizer_of(network: nn.Module, settings: OptimizerSettings) -> Optimizer:
    """AdamW, or Muon for matrices and AdamW for the rest, of all parameters that are trained."""
    rate, decay = settings.learning_rate, settings.weight_decay
    matrices = list(_matrices(network)) if settings.name == "muon" else []
    known = {id(parameter) for parameter in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    parts: list[Optimizer] = []
    if matrices:
        # So scaled, its steps are as long as those of AdamW, and one learning rate serves both.
        parts.append(Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw"))
    if rest:
        parts.append(AdamW(rest, rate, weight_decay=decay, amsgrad=settings.amsgrad))
    return parts[0] if len(parts) == 1 else Both(*parts)


def _matrices(network: nn.Module) -> Iterator[nn.Parameter]:
    """Weights that map vectors to vectors: tables of embeddings and last rows are none."""
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    for parameter in network.parameters():
        matrix = parameter.ndim == 2 and min(parameter.shape) > 1 and id(parameter) not in tables
        if matrix and parameter.requires_grad:
            yield parameter


class Both(Optimizer):
    """Two optimisers of different parameters that step together, as one."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        super().__init__([*first.param_groups, *second.param_groups], {})
        self._share()

    def _share(self) -> None:
        """The parts read the learning rates that are set in this one's groups."""
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = [next(groups) for _ in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
