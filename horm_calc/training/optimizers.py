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
    matrices = []
    if settings.name == "muon":
        matrices = [weight for weight in _matrices(network) if weight.requires_grad]
    known = {id(parameter) for parameter in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    parts: list[Optimizer] = []
    if matrices:
        # So scaled, its steps are as long as those of AdamW, and one learning rate serves both.
        parts.append(Muon(matrices, rate, decay, adjust_lr_fn="match_rms_adamw"))
    if rest:
        parts.append(AdamW(rest, rate, weight_decay=decay, amsgrad=settings.amsgrad))
    return parts[0] if len(parts) == 1 else Combined(*parts)


def _matrices(network: nn.Module) -> Iterator[torch.Tensor]:
    """The weights of linear layers but of those with one output.

    Not the tables of embeddings, scales and other products element by element, whose singular
    values mean nothing.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear) and min(module.weight.shape) > 1:
            yield module.weight


class Combined(Optimizer):
    """Two optimisers of different parameters that step together, as one."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        # These are the very groups of the parts, which so see the learning rates set here.
        super().__init__([*first.param_groups, *second.param_groups], {})

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
