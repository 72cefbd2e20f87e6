"""The networks in their published or default sizes, and molecules, for measurements.

Trained weights are not needed to measure time, memory or rounding, and may not be at hand;
without a checkpoint the parameters have the values that tests/goldens/weights.py gives them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read as read_atoms

from horm_calc.checkpoints.catalogue import find
from horm_calc.checkpoints.files import Checkpoint, load_network, read
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network
from horm_calc.models.registry import NETWORKS, network_class
from tests.goldens.weights import fill

GOLDENS = Path(__file__).parents[1] / "tests" / "goldens"
SADDLES = Path(__file__).with_name("saddles.xyz")
PREFIX = "potential."
RULE = "by rule, not trained"


@dataclass(frozen=True)
class Source:
    """Where a network's parameters come from: a checkpoint's file, or the rule."""

    name: str
    checkpoint: str | None = None

    @property
    def label(self) -> str:
        return self.checkpoint or RULE

    def build(self, dtype: torch.dtype, device: str = "cpu") -> Network:
        """The network, for evaluation only."""
        contents = read(find(self.checkpoint)) if self.checkpoint else _by_rule(self.name)
        return load_network(contents, dtype, device)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which networks are measured, and with how many threads."""
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--checkpoint", help="measure this file's (or catalogue name's) network")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")


def sources(options: argparse.Namespace) -> list[Source]:
    """The networks that the options ask for."""
    if options.checkpoint:
        return [Source(read(find(options.checkpoint)).config["name"], options.checkpoint)]
    return [Source(name) for name in options.networks]


def environment(device: str, threads: int) -> dict[str, str | int]:
    """What a figure depends on beside the code."""
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else ""
    return {
        "device": gpu or device,
        "threads": threads,
        "cores": os.cpu_count() or 0,
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def saddle(atoms: int) -> Atoms:
    """The saddle point with so many atoms: 8, 14 or 19."""
    return _saddles()[atoms]


def sizes() -> list[int]:
    """Atoms of the saddle points there are."""
    return list(_saddles())


def rattled(atoms: Atoms, count: int, width: float = 0.02) -> list[Atoms]:
    """Molecules of the same size that differ; displacements of `width` Å."""
    random = np.random.default_rng(0)
    moves = width * random.standard_normal((count, len(atoms), 3))
    return [Atoms(atoms.numbers, atoms.positions + move) for move in moves]


def alkane(carbons: int) -> Atoms:
    """A stretched chain, C_n H_(2n+2), with ideal bond lengths (Å) and angles."""
    half = math.radians(109.47) / 2
    along, up, aside = 1.54 * math.sin(half), 1.54 * math.cos(half), 1.09 * math.sin(half)
    numbers, positions = [], []
    for i in range(carbons):
        side = 1 if i % 2 else -1
        x, z = i * along, side * up / 2
        hydrogens = [(x, y, z + side * 1.09 * math.cos(half)) for y in (aside, -aside)]
        # Where the chain ends, hydrogens stand in for the next carbons.
        ends = [step for step, last in ((-1, 0), (1, carbons - 1)) if i == last]
        reach = 1.09 / 1.54
        hydrogens += [(x + step * reach * along, 0.0, z - side * reach * up) for step in ends]
        numbers += [6] + [1] * len(hydrogens)
        positions += [(x, 0.0, z), *hydrogens]
    return Atoms(numbers, positions)


def batch(molecules: Sequence[Atoms], network: Network) -> Molecules:
    """Molecules, each about its centre, in the network's precision and on its device."""
    parameter = next(network.parameters())
    centred = [Atoms(m.numbers, m.positions - m.positions.mean(0)) for m in molecules]
    return Molecules.from_atoms(centred, parameter.dtype, parameter.device)


@cache
def _saddles() -> dict[int, Atoms]:
    return {len(atoms): atoms for atoms in read_atoms(SADDLES, ":")}


def _by_rule(name: str) -> Checkpoint:
    """As a file would hold it: in float32, so that networks in either precision are the same."""
    path = GOLDENS / f"{name}.json"
    if path.exists():
        record = json.loads(path.read_text("utf-8"))
        config, tensors = record["model_config"], record["state"]
        shapes = {key: value["shape"] for key, value in tensors.items() if value["parameter"]}
    else:
        config = {"name": name}
        shapes = {key: x.shape for key, x in network_class(name).fresh({}).named_parameters()}
    state = {
        key.removeprefix(PREFIX): torch.as_tensor(fill(key, tuple(shape))).float()
        for key, shape in shapes.items()
    }
    return Checkpoint(path, state, config, {}, "")
