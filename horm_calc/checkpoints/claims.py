"""What a checkpoint claims beside its weights: which network it is, its settings, its training.

Claims are checked before anything is computed with them, by the settings that the networks
themselves have, and what cannot be true is refused with the name and the value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horm_calc.checkpoints.torch_archive import (
    CheckpointError,
    has_tensors,
    mapping,
    parts,
    printable,
)
from horm_calc.checkpoints.weight_names import MARKS
from horm_calc.configuration import SettingsError, shown
from horm_calc.references import LEVEL_OF_THEORY, Training, training_record

if TYPE_CHECKING:
    from horm_calc.models.contract import Network

CORRECT = "Correct it where the file was written, or take another file."
#: What means of weights over the steps of a training are called outside 'state_dict'.
_MEAN = re.compile(r"(^|[^a-zA-Z])(?i:ema|swa)($|[^a-z])|(?i:averag|shadow)")
#: What other trainings call the numbers by which, or the units in which, they learn energies.
_SCALED = re.compile(
    r"(energy|force|target|e|f)?_?(units?|scale|shift|mean|std|scaler|normali[sz]er)", re.IGNORECASE
)
#: Values by which nothing is scaled, and the units of all results here.
_NOT_SCALED = (None, False, 0, 1, "", "ev", "ev/a", "ev/ang", "ev/angstrom", "ev/å")
_DEPTH = 4  # levels of callbacks and the like that are looked through for them


def settings_in(path: Path, told: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """`model_config` and the other hyper-parameters, of which there may be none."""
    if told is None:
        return {}, {}
    if not isinstance(told, dict):
        problem = f"'hyper_parameters' is {shown(told)}, not names and values"
        raise CheckpointError(path, problem, CORRECT)
    others = {key: value for key, value in told.items() if key != "model_config"}
    config = told.get("model_config")
    if not isinstance(config, dict | None):
        problem = f"'model_config' is {shown(config)}, not names and values"
        raise CheckpointError(path, problem, CORRECT)
    return config or {}, others


def network_name(
    path: Path,
    config: Mapping[str, Any],
    metadata: Mapping[str, Any],
    weights: Collection[str],
    known: Collection[str],
) -> str:
    """The network that the configuration names, or which the weights' names show, of `known`."""
    name = config.get("name")
    if name is None:
        name = next((network for mark, network in MARKS.items() if mark in weights), None)
        # The checkpoints of ReactBench name no network, but tell the two LEFTNets apart so.
        if name == "LEFTNet":
            name = {"True": "LEFTNet", "False": "LEFTNet-df"}.get(str(metadata.get("use_autograd")))
        if name is None:
            problem = "does not name its network, and its weights do not show which one it is"
            remedy = "Its hyper_parameters need model_config with a name: " + ", ".join(known)
            raise CheckpointError(path, problem, f"{remedy}.")
    if not isinstance(name, str) or name not in known:
        told = name[:60] if isinstance(name, str) else shown(name)
        names = {network.lower(): network for network in known}
        near = difflib.get_close_matches(told.lower(), names, n=1)
        remedy = f"Did you mean {names[near[0]]}?" if near else f"Known: {', '.join(known)}."
        raise CheckpointError(path, f"of an unknown network {told!r}", remedy)
    return name


def require_possible(path: Path, kind: type[Network], config: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` for settings that no network of that kind has."""
    try:
        kind.Settings.claimed(config)
    except SettingsError as error:
        raise CheckpointError(path, f"model_config: {error}", CORRECT) from None


def training_of(path: Path, metadata: Mapping[str, Any]) -> Training:
    """What it says of its training. Raises `CheckpointError` for what cannot be."""
    try:
        return training_record(metadata)
    except SettingsError as error:
        raise CheckpointError(path, f"hyper_parameters: {error}", CORRECT) from None


def concerns(metadata: Mapping[str, Any], means: Iterable[str]) -> tuple[str, ...]:
    """What a user of the checkpoint should know.

    means: what averaged weights are called that lie in the file and are not used.
    """
    found = []
    if names := ", ".join(f"'{printable(name)}'" for name in means):
        found.append(
            f"averaged weights lie in the file too ({names}) and are not used; they often err less"
        )
    for name, value in metadata.items():
        plain = value.lower() if isinstance(value, str) else value
        if isinstance(name, str) and _SCALED.fullmatch(name) and plain not in _NOT_SCALED:
            found.append(
                f"'{printable(name)}' is {shown(value)}, and is not applied: if the network gives "
                "other energies than eV without it, its results are wrong here"
            )
    level = metadata.get("level_of_theory") or LEVEL_OF_THEORY
    if level != LEVEL_OF_THEORY and metadata.get("references") is None:
        found.append(
            f"no energies of atoms are told, so that those of {LEVEL_OF_THEORY} are added: "
            f"total energies are not those of {level}"
        )
    return tuple(found)


def means_beside(content: Mapping[Any, Any]) -> list[str]:
    """What averaged weights are called outside 'state_dict', as callbacks keep them.

    Lightning's own averaging is none of them: with it, 'state_dict' has the averaged weights.
    """
    found: set[str] = set()
    level: list[Any] = [{key: content[key] for key in content if key != "state_dict"}]
    for _ in range(_DEPTH):
        for one in level:
            names = [key for key in mapping(one) if isinstance(key, str) and _MEAN.search(key)]
            found |= {key for key in names if has_tensors(mapping(one)[key])}
        level = parts(level)
    return sorted(found)
