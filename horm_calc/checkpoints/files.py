"""Checkpoints: reads them without executing anything, loads them strictly, writes safetensors.

Two formats are read, told apart by their first bytes: the files that PyTorch Lightning writes
(`.ckpt`), and safetensors files that `save` wrote. The latter hold configuration and metadata
as JSON in their own header, so that weights are never parted from what they are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from horm_calc.checkpoints import claims
from horm_calc.checkpoints.safe_pickle import Malformed
from horm_calc.checkpoints.torch_archive import (
    AGAIN,
    CheckpointError,
    diagnosis,
    mapping,
    open_archive,
    plain,
    printable,
)
from horm_calc.checkpoints.weight_names import own_weights
from horm_calc.configuration import SettingsError
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.references import Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from horm_calc.models.contract import Network

_TOLD = ("epoch", "global_step", "pytorch-lightning_version")
_FORMAT = "horm_calc 1"
_MOST_LISTED = 8
_MOST_TOLD = 4_000_000  # characters of configuration and of metadata in a header
#: Types of numbers that weights and buffers have. PyTorch cannot add up some of the others.
_DTYPES = {
    *("float64", "float32", "float16", "bfloat16"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
}
# Buffers in files were computed and kept as float32, ours in float64. Rounding and the order of
# sums make up to 1e-6 of the largest element; another cut-off or basis makes more than 1e-3.
_BUFFER_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file holds.

    state: weights and buffers on the CPU, under the network's own names. config: the
    network's `model_config`, always with its `name`. metadata: everything else that was said
    of the training, as JSON has it. sha256: of the file. concerns: what a user should know.
    """

    path: Path
    state: dict[str, Tensor]
    config: dict[str, Any]
    metadata: dict[str, Any]
    sha256: str
    concerns: tuple[str, ...] = ()

    @property
    def training(self) -> Training:
        """What it says of its training. Raises `CheckpointError` for what cannot be."""
        return claims.training_of(self.path, self.metadata)


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a `.ckpt` of PyTorch Lightning or a `.safetensors` of ours; executes nothing.

    Raises `CheckpointError` for files that are damaged, hold no weights, weights that are not
    finite, those of two networks or of an unknown one, and for claims that cannot be true.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            head = file.read(512)
            if head[8:9] == b"{":
                state, config, metadata, means = *_read_safetensors(path), list[str]()
            elif head.startswith(b"PK\x03\x04"):
                state, config, metadata, means = _read_lightning(path, file)
            else:
                raise CheckpointError(path, *diagnosis(head))
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise CheckpointError(path, problem, "Give the path of a checkpoint.") from None
    _require_numbers(path, state)
    state, more = own_weights(path, state)
    name = claims.network_name(path, config, metadata, state, NETWORKS)
    claims.require_possible(path, network_class(name), config)
    claims.training_of(path, metadata)
    concerns = claims.concerns(metadata, means + more)
    return Checkpoint(path, state, config | {"name": name}, metadata, sha256, concerns)


def load_network(
    checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Network:
    """The network with the checkpoint's weights, for evaluation only.

    Names and shapes must match exactly, and buffers in the file must be those that the
    architecture defines. Raises `CheckpointError` where they do not.
    """
    import torch

    network = _fitting(checkpoint, checkpoint.config["name"])
    if isinstance(network, str):
        raise CheckpointError(checkpoint.path, network, _where_it_fits(checkpoint))
    # As `to_empty` does, by which PyTorch would load sympy: 0.5 s.
    network.to(dtype=dtype)._apply(lambda t: torch.empty(t.shape, dtype=t.dtype, device=device))
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            parameter.copy_(checkpoint.state[key])
    return network.requires_grad_(False).eval()


def save(
    path: str | os.PathLike[str],
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    metadata: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Writes one safetensors file with weights, configuration and metadata; whole or not at all.

    `config` needs the network's `name`; both must be JSON. Raises `CheckpointError` where the
    file exists (unless `overwrite`) or its name does not end in .safetensors, `OSError` where
    it cannot be written.
    """
    from safetensors.torch import save as serialize

    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(path, "not a name for safetensors", "Let it end in .safetensors.")
    if path.exists() and not overwrite:
        raise CheckpointError(path, "exists already", "Move it away or choose another name.")
    told = {"format": _FORMAT, "config": json.dumps(config), "metadata": json.dumps(metadata)}
    # Copies, as safetensors refuses tensors that share memory.
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    # Beside its goal, as files can only be renamed within one file system.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(serialize(tensors, told))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _read_lightning(
    path: Path, file: BinaryIO
) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any], list[str]]:
    archive = open_archive(path, file)
    content = mapping(archive.content)
    weights = mapping(content.get("state_dict"))
    if not weights:
        found = ", ".join(printable(key) for key in list(content)[:8]) or "nothing named"
        remedy = "Give a checkpoint that PyTorch Lightning wrote."
        raise CheckpointError(path, f"no weights under 'state_dict', only {found}", remedy)
    try:
        settings = plain(content.get("hyper_parameters"))
        metadata = {key: plain(content[key]) for key in _TOLD if key in content}
    except Malformed as error:
        raise CheckpointError(path, f"not a plausible checkpoint: {error}", AGAIN) from None
    config, settings = claims.settings_in(path, settings)
    means = claims.means_beside(content)
    return archive.tensors(weights), config, metadata | settings, means


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if max(len(told.get(key, "")) for key in ("config", "metadata")) > _MOST_TOLD:
            raise CheckpointError(path, "too much beside the weights", AGAIN)
        config, metadata = json.loads(told["config"]), json.loads(told["metadata"])
    except SafetensorError as error:
        raise CheckpointError(path, f"damaged ({error})", AGAIN) from None
    except CheckpointError:
        raise
    except (KeyError, ValueError, RecursionError):
        config = metadata = None
    if told.get("format") != _FORMAT or not (
        isinstance(config, dict) and isinstance(metadata, dict)
    ):
        problem = f"does not say what its weights are (no header of format '{_FORMAT}')"
        raise CheckpointError(path, problem, "Write it with 'horm-models convert' from a .ckpt.")
    return state, config, metadata


def _require_numbers(path: Path, state: dict[str, Tensor]) -> None:
    """Raises `CheckpointError` for numbers that are not finite or of unusual types."""
    odd = {key: str(value.dtype).removeprefix("torch.") for key, value in state.items()}
    odd = {key: dtype for key, dtype in odd.items() if dtype not in _DTYPES}
    if odd:
        problem = _counted(f"tensors of type {', '.join(sorted(set(odd.values())))}", list(odd))
        raise CheckpointError(path, problem, "Convert them to float32 first.")
    # The sum shows it at a quarter of the cost; a sum can also overflow, hence the second look.
    suspect = [key for key, value in state.items() if not value.sum().isfinite()]
    bad = [key for key in suspect if not state[key].isfinite().all()]
    if bad:
        remedy = "The training diverged or the file is damaged; take an earlier checkpoint."
        raise CheckpointError(path, _counted("tensors that are not finite", bad), remedy)


def _fitting(checkpoint: Checkpoint, name: str) -> Network | str:
    """The network of that name, on the device "meta", or what does not fit."""
    shapes = {key: tuple(value.shape) for key, value in checkpoint.state.items()}
    # Networks take their depth from the numbers in names: no invitation to build a million layers.
    numbers = [int(part[:9]) for key in shapes for part in key.split(".") if part.isdecimal()]
    if max(numbers, default=0) > len(shapes) + 100:
        return f"its weights are not those of {name}: more layers than weights"
    try:
        network = network_class(name).from_shapes(
            shapes, checkpoint.config | {"name": name}, checkpoint.training.domain.elements
        )
        problems = _mismatches(network, checkpoint.state)
    except SettingsError as error:
        if name == checkpoint.config["name"]:
            raise CheckpointError(
                checkpoint.path, f"model_config: {error}", claims.CORRECT
            ) from None
        return str(error)
    # ArchitectureMismatch is a ValueError; absurd shapes also end in these others.
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return f"its weights are not those of {name}: {' '.join(str(error).split())[:300]}"
    return f"its weights are not those of {name}: {'; '.join(problems)}" if problems else network


def _mismatches(network: Network, state: Mapping[str, Tensor]) -> list[str]:
    parameters = dict(network.named_parameters())
    constants = {key: network.constant(key) for key in state if key not in parameters}
    found = {
        "missing": [key for key in parameters if key not in state],
        "surplus": [key for key, value in constants.items() if value is None],
        "misshapen": [
            f"{key} {_form(state[key])} instead of {_form(value)}"
            for key, value in parameters.items()
            if key in state and _form(state[key]) != _form(value)
        ],
        "other than the architecture's constants": [
            key
            for key, value in constants.items()
            if value is not None and not _agree(state[key], value)
        ],
    }
    return [_counted(title, keys) for title, keys in found.items() if keys]


def _form(value: Tensor) -> str:
    shape = f"({', '.join(map(str, value.shape))})"
    return shape if value.is_floating_point() else f"{shape} of {value.dtype}"


def _agree(value: Tensor, constant: Tensor) -> bool:
    """Whether a buffer is the constant: whole numbers exactly, others but for rounding."""
    if _form(value) != _form(constant):
        return False
    if not constant.is_floating_point() or not constant.numel():
        return value.equal(constant.to(value))
    difference = (value.double() - constant.double()).abs().max()
    return bool(difference <= _BUFFER_TOLERANCE * constant.abs().max())


def _where_it_fits(checkpoint: Checkpoint) -> str:
    """The remedy for weights that do not fit the network that the file names."""
    others = [
        name
        for name in NETWORKS
        if name != checkpoint.config["name"] and not isinstance(_fitting(checkpoint, name), str)
    ]
    if others:
        return f"They fit {' and '.join(others)}: correct the name in its model_config."
    return "They fit no other known network either; was it trained with other code?"


def _counted(title: str, keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_LISTED} more" if len(keys) > _MOST_LISTED else ""
    return f"{len(keys)} {title}: {', '.join(map(printable, keys[:_MOST_LISTED]))}{more}"
