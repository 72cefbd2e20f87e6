"""Networks of all kinds, so small that hundreds of evaluations take no time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from horm_calc.checkpoints.files import save
from horm_calc.models.alphanet import layers as alphanet_layers
from horm_calc.models.alphanet import network as alphanet
from horm_calc.models.contract import Network
from horm_calc.models.equiformer_v2 import layers as equiformer_v2_layers
from horm_calc.models.equiformer_v2 import network as equiformer_v2
from horm_calc.models.leftnet.network import LEFTNet, LEFTNetDirect
from horm_calc.models.momentnet import network as momentnet
from tests.horm_calc.models.published import fill_by_rule

ALPHANET = alphanet_layers.Sizes(
    layers=2, channels=8, chi=4, radial=8, scalar=6, phases=6, gate=5, kernel=(3, 4, 5)
)
EQUIFORMER = equiformer_v2_layers.Sizes(
    **{"elements": 10, "layers": 1, "channels": 8, "lmax": 2, "mmax": 1, "heads": 2},
    **{"alpha_channels": 4, "value_channels": 4, "hidden_channels": 8, "ffn_channels": 8},
    **{"edge_channels": 8, "gaussians": 24},
)
MOMENTNET = momentnet.Sizes(layers=2, channels=8, heads=4, radial=8, hidden=8)
CONFIGS: dict[str, dict[str, Any]] = {
    "LEFTNet": {"name": "LEFTNet"},
    "LEFTNet-df": {"name": "LEFTNet-df"},
    "AlphaNet": {"name": "AlphaNet", "cutoff": 5.0, "eps": 1e-6},
    "EquiformerV2": {"name": "EquiformerV2"},
    "MomentNet": {"name": "MomentNet", "cutoff": 6.0},
}


def made(name: str) -> Network:
    """A new one, in float64, its parameters by the rule that the reference values use."""
    network: Network
    if name == "AlphaNet":
        network = alphanet.AlphaNet(ALPHANET, cutoff=5.0, eps=1e-6)
    elif name == "EquiformerV2":
        network = equiformer_v2.EquiformerV2(EQUIFORMER)
    elif name == "MomentNet":
        network = momentnet.MomentNet(MOMENTNET, cutoff=6.0)
    else:
        kind = {"LEFTNet": LEFTNet, "LEFTNet-df": LEFTNetDirect}[name]
        network = kind(layers=2, channels=8, radial=8)
    return fill_by_rule(network.double())


@cache
def small(name: str, dtype: torch.dtype = torch.float64) -> Network:
    """The same, shared: leave it as it is."""
    return made(name).to(dtype)


def write(folder: Path, name: str) -> Path:
    """A checkpoint of it, with the weights in float64 so that nothing is rounded."""
    path = folder / f"small-{name}.safetensors"
    save(path, small(name).state_dict(), CONFIGS[name], {})
    return path
