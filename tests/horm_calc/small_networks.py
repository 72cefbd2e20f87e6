"""Networks of all kinds, so small that hundreds of evaluations take no time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from horm_calc.checkpoints.files import save
from horm_calc.models.contract import Network
from horm_calc.models.registry import NETWORKS, network_class
from tests.horm_calc.models.published import fill_by_rule

CONFIGS: dict[str, dict[str, Any]] = {
    name: {"name": name, **architecture.small} for name, architecture in NETWORKS.items()
}


def made(name: str) -> Network:
    """A new one, in float64, its parameters by the rule that the reference values use."""
    return fill_by_rule(network_class(name).fresh(CONFIGS[name]).double())


@cache
def small(name: str, dtype: torch.dtype = torch.float64) -> Network:
    """The same, shared: leave it as it is."""
    return made(name).to(dtype)


def write(folder: Path, name: str) -> Path:
    """A checkpoint of it, with the weights in float64 so that nothing is rounded."""
    path = folder / f"small-{name}.safetensors"
    save(path, small(name).state_dict(), CONFIGS[name], {})
    return path
