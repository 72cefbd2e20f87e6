"""What must be as it was when a run goes on: its settings, its data and its last checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from horm_calc.checkpoints import files as checkpoints
from horm_calc.checkpoints.torch_archive import CheckpointError
from horm_calc.configuration import SettingsError, from_mapping, read_json, to_mapping
from horm_calc.references import training_record
from horm_calc.training.settings import TrainingSettings

LAST, SETTINGS = "last.ckpt", "settings.json"
#: Settings that do not change what a step does, and so may be others when a run goes on.
_FREE = ("run.max_minutes", "run.patience", "run.threads")


def state_of_run(settings: TrainingSettings, out: Path) -> dict[str, Any]:
    """What the last checkpoint in `out` says of its run; nothing where there is none.

    Raises `SettingsError` if the settings were others (but for `_FREE` ones), and for a
    checkpoint that is damaged.
    """
    last, path, now, stands = out / LAST, out / SETTINGS, to_mapping(settings), {}
    if last.exists() and path.exists():
        try:
            before = to_mapping(from_mapping(TrainingSettings, read_json(path)))
        except SettingsError as error:
            raise SettingsError(
                f"{path} does not say how the run began ({error}): restore it, delete {last} to "
                "begin anew, or choose another --out"
            ) from None
        changed = _differences(before, now)
        if changed:
            raise SettingsError(
                f"{out} holds a run with other settings ({', '.join(changed)}): "
                "choose another --out, or the same settings to go on with it"
            )
    if last.exists():
        try:
            stands = _stands(last)
        except (CheckpointError, ValueError) as error:
            problem = error.problem if isinstance(error, CheckpointError) else error
            raise SettingsError(
                f"{last}: {problem}. Delete it to begin anew, or choose another --out."
            ) from None
    return stands


def keep_settings(settings: TrainingSettings, out: Path) -> None:
    """Write them into `out`. Only a run that begins does so: a refused one leaves no folder."""
    out.mkdir(parents=True, exist_ok=True)
    (out / SETTINGS).write_text(json.dumps(to_mapping(settings), indent=2) + "\n", "utf-8")


def _stands(last: Path) -> dict[str, Any]:
    """What the checkpoint says. Raises `ValueError` where no run can go on from that."""
    stands = checkpoints.read(last).metadata
    training_record(stands)
    step = stands.get("global_step")
    if type(step) is not int or step < 0 or not isinstance(stands.get("data"), dict):
        raise ValueError("not a checkpoint of horm-train, as it lacks global_step or data")
    return stands


def require_same_data(stands: Mapping[str, Any], digests: Mapping[str, str], out: Path) -> None:
    """Raises `SettingsError` if frames are others than those that the run began with."""
    names = {"sha256": "trained", "validation_sha256": "validated"}
    for key, digest in digests.items():
        if stands["data"].get(key, digest) != digest:
            raise SettingsError(
                f"{out} holds a run that was {names[key]} on other frames than those in data now: "
                "choose another --out, or restore the files to go on with it"
            )


def _differences(before: Any, now: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in now:
        name, old, new = f"{prefix}{key}", before.get(key), now[key]
        if isinstance(new, dict) and isinstance(old, dict) and key != "config":
            found += _differences(old, new, f"{name}.")
        elif old != new and name not in _FREE:
            found.append(name)
    return found
