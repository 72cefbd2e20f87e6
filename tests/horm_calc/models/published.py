"""The published architectures, filled by a rule, and what the published code made of them.

The reference values in `tests/goldens` are energies (eV), forces (eV/Å) and Hessians (eV/Å²)
of three molecules, computed in float64 by the published implementations with parameters that
follow from their names alone (`tests.goldens.weights`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from horm_calc.checkpoints.files import Checkpoint, load_network
from horm_calc.checkpoints.torch_archive import CheckpointError
from horm_calc.derivatives.hessian import hessians
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network
from horm_calc.models.registry import network_class
from tests.goldens.weights import fill
from tests.places import GOLDENS

PREFIX = "potential."
PUBLISHED = ("LEFTNet", "LEFTNet-df", "AlphaNet", "EquiformerV2")
#: Those of which there are no reference values, as they are this project's own, too.
NAMES = (*PUBLISHED, "MomentNet")


@cache
def reference(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)


def golden(name: str, index: int) -> Atoms:
    """The molecule number `index`: 17 atoms, 17 atoms, 12 atoms."""
    values = reference(name if name in PUBLISHED else PUBLISHED[0])
    return Atoms(values[f"m{index}_numbers"], values[f"m{index}_positions"])


@cache
def config(name: str) -> dict[str, Any]:
    if name not in PUBLISHED:
        return {"name": name}
    return json.loads((GOLDENS / f"{name}.json").read_text())["model_config"]


@cache
def state(name: str) -> dict[str, dict[str, Any]]:
    """Shape, dtype and kind of each tensor of the checkpoint, by its name without prefix."""
    if name not in PUBLISHED:
        parameters = network_class(name).fresh({}).state_dict()
        return {key: {"shape": x.shape, "parameter": True} for key, x in parameters.items()}
    published = json.loads((GOLDENS / f"{name}.json").read_text())["state"]
    return {key.removeprefix(PREFIX): entry for key, entry in published.items()}


def shapes(name: str, buffers: bool = True) -> dict[str, tuple[int, ...]]:
    return {
        key: tuple(entry["shape"])
        for key, entry in state(name).items()
        if buffers or entry["parameter"]
    }


def fill_by_rule(network: Network) -> Network:
    """The network with all of its parameters as the rule gives them, for evaluation."""
    values = {
        key: torch.from_numpy(fill(PREFIX + key, tuple(value.shape)))
        for key, value in network.named_parameters()
    }
    network.load_state_dict(values, strict=True)
    return network.requires_grad_(False).eval()


def refusal(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What is said of a checkpoint of the network that has tensors of these shapes."""
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    with pytest.raises(CheckpointError) as caught:
        load_network(Checkpoint(Path(name), state, config(name), {}, ""), torch.float64)
    return str(caught.value)


def made(name: str) -> Network:
    """A new network of the published size, in float64."""
    network = network_class(name).from_shapes(shapes(name), config(name))
    return fill_by_rule(network.to_empty(device="cpu").double())


@cache
def network(name: str, dtype: torch.dtype = torch.float64) -> Network:
    """The same, shared: leave it as it is."""
    return made(name).to(dtype)


@cache
def hessian_of_golden(name: str) -> np.ndarray:
    """Of molecule 2, by `hessians` in float64; seconds, so once for all tests."""
    molecules = Molecules.from_atoms([golden(name, 2)])
    [found] = hessians(network(name), molecules)
    return found.numpy()
