"""Whose weights a state_dict holds, by names to which frameworks have added their own.

PyTorch and training frameworks put names of wrappers before those of a network, or between them:
`module.` (DataParallel, running means), `_orig_mod.` (torch.compile), `potential.` or `model.`
(the attribute of a training module), `ema.` (running means beside the weights). The network's own
names are found by one parameter that each architecture has and no other. Where a file holds its
weights twice, none is chosen unless it is clear which one is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from horm_calc.checkpoints.torch_archive import CheckpointError, printable
from horm_calc.models.registry import marks

if TYPE_CHECKING:
    from torch import Tensor

#: The networks by a parameter that each has and no other. LEFTNet and LEFTNet-df share theirs.
MARKS = marks()
#: What our training module calls the network, and HORM's.
POTENTIAL = "potential."
#: Wrappers of the network or of any part of it.
_ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
#: Wrappers of the whole network, and what training modules call it.
_BEFORE = {"potential", "model", "module", "network", "net", "_forward_module"}
#: What running means of the weights are called that stand beside them.
_MEANS = {
    *("ema", "ema_model", "model_ema", "ema_module", "module_ema", "averaged_model"),
    *("average_model", "_average_model", "swa_model", "shadow"),
}
#: Single numbers that running means keep for themselves.
_COUNTERS = {"n_averaged", "num_updates", "initted", "step", "decay"}
_REMEDY = "Save the state_dict of the one network that is meant."

Weights = dict[str, "Tensor"]


def own_weights(path: Path, state: Mapping[str, Tensor]) -> tuple[Weights, list[str]]:
    """The weights under the network's own names, and the prefixes of running means not taken.

    Names that belong to no network stay as they are. Raises `CheckpointError` where it is not
    clear which weights are meant.
    """
    plain: Weights = {}
    for key, value in state.items():
        if not (key.split(".")[-1] in _COUNTERS and value.numel() == 1):
            name = ".".join(part for part in key.split(".") if part not in _ANYWHERE)
            _put(path, plain, name, value)
    copies, rest = _copies(path, plain)
    means = {prefix: copy for prefix, copy in copies.items() if _is_mean(prefix)}
    chosen = _only(path, {key: copies[key] for key in copies if key not in means} or means)
    unused = [prefix for prefix, copy in means.items() if not _same(copy, chosen)]
    for key, value in rest.items():
        if _is_mean(key):  # such as those that have lost the points in their names
            unused.append(f"{key.split('.')[0]}.")
        else:
            _put(path, chosen, key, value)
    return chosen, sorted(set(unused))


def _copies(path: Path, plain: Weights) -> tuple[dict[str, Weights], Weights]:
    """The sets of weights in the file, by what stands before their names, and what is left."""
    prefixes = {
        name.removesuffix(mark)
        for name in plain
        for mark in MARKS
        if name == mark or name.endswith(f".{mark}")
    }
    known = {"", *_BEFORE, *_MEANS}
    if strange := sorted(prefix for prefix in prefixes if not set(prefix.split(".")) <= known):
        names = " and ".join(f"'{printable(prefix)}'" for prefix in sorted(prefixes))
        problem = f"weights under {names}, and {printable(strange[0])} is no wrapper known here"
        raise CheckpointError(path, problem, _REMEDY)
    if not prefixes:
        prefixes = {POTENTIAL if any(name.startswith(POTENTIAL) for name in plain) else ""}
    copies: dict[str, Weights] = {prefix: {} for prefix in sorted(prefixes)}
    rest: Weights = {}
    for name, value in plain.items():
        prefix = max((one for one in prefixes if name.startswith(one)), key=len, default=None)
        if prefix is None:
            rest[name] = value
        else:
            copies[prefix][name.removeprefix(prefix)] = value
    return copies, rest


def _only(path: Path, copies: dict[str, Weights]) -> Weights:
    """The one set of weights, or one of several that are the same."""
    first, *others = copies.items()
    for prefix, copy in others:
        if not _same(copy, first[1]):
            problem = f"two different sets of weights, under '{first[0]}' and '{prefix}'"
            raise CheckpointError(path, problem, _REMEDY)
    return first[1]


def _put(path: Path, weights: Weights, name: str, value: Tensor) -> None:
    if name in weights and not _same({name: weights[name]}, {name: value}):
        raise CheckpointError(path, f"two different tensors for {printable(name)}", _REMEDY)
    weights[name] = value


def _same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(
        value.dtype == other[key].dtype and value.equal(other[key]) for key, value in one.items()
    )


def _is_mean(name: str) -> bool:
    """Whether one of the wrappers before a name is a running mean."""
    for part in name.split("."):
        if part in _MEANS:
            return True
        if part not in _BEFORE:
            return False
    return False
