"""The table of networks: everything that is known of an architecture by its name.

To add one, write its class (see `contract`) and enter it here. Checkpoints, `horm-train`, the
benchmarks and the tests of the contract take their networks from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from horm_calc.lazy_imports import load

if TYPE_CHECKING:
    from horm_calc.models.contract import Network


@dataclass(frozen=True)
class Architecture:
    """A kind of network.

    where: its class, as "package.module:Class"; it is imported when needed, as PyTorch takes a
    second. mark: a parameter that no other architecture has, by which weights are recognised that
    come without a name; "" if they never do. small: a `model_config` without the name, of a
    network for tests, with which hundreds of evaluations take no time.
    """

    where: str
    mark: str = ""
    small: Mapping[str, Any] = field(default_factory=dict)


_LEFTNET_MARK = "model.gcl_layers.0.edge_mlp.mlp.0.linear.weight"
_SMALL_LEFTNET = {"num_layers": 2, "hidden_channels": 8, "num_radial": 8}

#: The networks by their names in checkpoints. LEFTNet and LEFTNet-df have the same parameters:
#: of two networks with the same mark, weights without a name are taken for the first.
NETWORKS: dict[str, Architecture] = {
    "LEFTNet": Architecture(
        "horm_calc.models.leftnet.network:LEFTNet", _LEFTNET_MARK, _SMALL_LEFTNET
    ),
    "LEFTNet-df": Architecture(
        "horm_calc.models.leftnet.network:LEFTNetDirect", _LEFTNET_MARK, _SMALL_LEFTNET
    ),
    "AlphaNet": Architecture(
        "horm_calc.models.alphanet.network:AlphaNet",
        "kernels_real",
        {
            **{"num_layers": 2, "hidden_channels": 8, "num_radial": 8, "head": 2, "chi2": 5},
            **{"main_chi1": 4, "mp_chi1": 6, "hidden_channels_chi": 8},
        },
    ),
    "EquiformerV2": Architecture(
        "horm_calc.models.equiformer_v2.network:EquiformerV2",
        "sphere_embedding.weight",
        {
            **{"max_num_elements": 10, "num_layers": 1, "sphere_channels": 8, "lmax": 2},
            **{"mmax": 1, "num_heads": 2, "attn_alpha_channels": 4, "attn_value_channels": 4},
            **{"attn_hidden_channels": 8, "ffn_hidden_channels": 8, "edge_channels": 8},
            **{"num_gaussians": 24},
        },
    ),
    "MomentNet": Architecture(
        "horm_calc.models.momentnet.network:MomentNet",
        "layers.0.of_scalars.weight",
        {"layers": 2, "channels": 8, "heads": 4, "radial": 8, "hidden": 8},
    ),
}


def network_class(name: str) -> type[Network]:
    """The class of the networks of that name, one of `NETWORKS`."""
    kind: type[Network] = load(NETWORKS[name].where)
    return kind


def marks() -> dict[str, str]:
    """The networks by their marks."""
    found: dict[str, str] = {}
    for name, architecture in NETWORKS.items():
        if architecture.mark:
            found.setdefault(architecture.mark, name)
    return found
