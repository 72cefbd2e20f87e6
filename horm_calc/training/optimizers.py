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
        parts.append(PreciseMuon(matrices, rate, decay))
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


class PreciseMuon(Muon):
    """Muon that orthogonalises in the precision of the weights.

    PyTorch's Muon always converts to bfloat16, which is fast on tensor cores and slow on CPUs
    without such instructions (https://github.com/pytorch/pytorch/pull/160213): it took nine tenths
    of a training step of horm-mini, 1.6 s of CPU, instead of 0.06 s in float32. Steps are those of
    `Muon(..., nesterov=True, adjust_lr_fn="match_rms_adamw")`: as long as those of AdamW, so that
    one learning rate serves both.
    """

    def __init__(self, weights: list[torch.Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(weights, lr, weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = _evaluated(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                mean = state["momentum_buffer"]
                mean.lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(mean, group["momentum"])
                direction = orthogonalised(
                    update, group["ns_coefficients"], group["ns_steps"], group["eps"]
                )
                rate = group["lr"] * 0.2 * max(weight.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-rate)
        return loss


def orthogonalised(
    matrix: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """The matrix (m, n) with its singular values brought near 1, by Newton-Schulz iterations.

    Quintic, as in Muon (arXiv:2502.16982, eq. 2): X ← aX + b(XXᵀ)X + c(XXᵀ)²X.
    """
    a, b, c = coefficients
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    found = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = found @ found.T
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found if wide is matrix else found.T


def _evaluated(closure: Callable[[], float] | None) -> Any:
    """The loss, where a step is to compute it and its gradients."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class Combined(Optimizer):
    """Two optimisers of different parameters that step together, as one."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        # These are the very groups of the parts, which so see the learning rates set here.
        super().__init__([*first.param_groups, *second.param_groups], {})

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = _evaluated(closure)
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
