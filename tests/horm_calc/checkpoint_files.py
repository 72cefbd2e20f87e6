"""A tiny network, and checkpoint files good and bad."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from horm_calc.configuration import setting
from horm_calc.graphs import Molecules
from horm_calc.models.contract import ArchitectureMismatch, Graph, Network
from horm_calc.models.settings import ModelSettings

CENTERS = torch.linspace(0, 5, 8, dtype=torch.float64)
ORDERS = torch.arange(4)


@dataclass(frozen=True)
class ToySettings(ModelSettings):
    cutoff: float = setting(5.0, "Å", least=1, most=100)


class Toy(Network):
    """As many linear layers as the names say, and two published buffers."""

    name: ClassVar[str] = "Toy"
    conservative: ClassVar[bool] = True
    cutoff = 5.0
    Settings = ToySettings

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, width) for _ in range(depth))

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = (1, 6, 7, 8),
    ) -> Self:
        if "layers.0.weight" not in shapes:
            raise ArchitectureMismatch("layers.0.weight is missing")
        numbers = [int(key.split(".")[1]) for key in shapes if key.startswith("layers.")]
        return cls.unfilled(1 + max(numbers), shapes["layers.0.weight"][0])

    def prepare(self, molecules: Molecules) -> Graph:
        raise NotImplementedError

    def forward(self, graph: Graph, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        raise NotImplementedError

    def constant(self, key: str) -> Tensor | None:
        return {"basis.centers": CENTERS, "basis.orders": ORDERS}.get(key)


class Other(Toy):
    """The same with another name of its one layer."""

    name: ClassVar[str] = "Other"

    def __init__(self, depth: int, width: int) -> None:
        super().__init__(0, 0)
        self.readout = torch.nn.Linear(2, width)

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, tuple[int, ...]],
        config: Mapping[str, Any],
        elements: tuple[int, ...] = (1, 6, 7, 8),
    ) -> Self:
        if "readout.weight" not in shapes:
            raise ArchitectureMismatch("readout.weight is missing")
        return cls.unfilled(1, shapes["readout.weight"][0])


def toy_state(depth: int = 2, width: int = 3) -> dict[str, Tensor]:
    """The tensors of a `Toy`, float32, as they stand in a state_dict."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer in range(depth):
        state[f"potential.layers.{layer}.weight"] = torch.randn(width, 2, generator=generator)
        state[f"potential.layers.{layer}.bias"] = torch.randn(width, generator=generator)
    return state | {"potential.basis.centers": CENTERS.float(), "potential.basis.orders": ORDERS}


def write(path: Path, state: Mapping[str, Any], name: str | None = "Toy", **more: Any) -> Path:
    """A file as PyTorch Lightning writes it."""
    config = {"cutoff": 5.0} if name is None else {"name": name, "cutoff": 5.0}
    settings = {"model_config": config, "training_config": {"bz": 2}}
    content = {"epoch": 7, "state_dict": dict(state), "hyper_parameters": settings}
    torch.save(content | more, path)
    return path


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, program: bytes, kind: int = zipfile.ZIP_STORED) -> Path:
    """The same file with another pickle in it."""
    content = entries(path)
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in content.items():
            archive.writestr(name, program if name.endswith("/data.pkl") else data)
    return path


def program_of(path: Path) -> bytes:
    [program] = [data for name, data in entries(path).items() if name.endswith("/data.pkl")]
    return program


def inject(path: Path, payload: bytes) -> Path:
    """The same file with one more item, what `payload` makes, in its outermost dictionary."""
    program = program_of(path)
    assert program.endswith(b".")
    return rewrite(path, program[:-1] + b"X\x05\x00\x00\x00extra" + payload + b"s.")


def text(value: str) -> bytes:
    """The instruction that pushes a text."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def run_by_pickle(path: Path) -> None:
    """What the unsafe way of reading does with a file: the control of every attack."""
    with contextlib.suppress(Exception):  # after its work is done
        torch.load(path, weights_only=False)
