"""A worker in which a call never comes back ends itself, and leaves word of why.

The word lies in the folder for temporary files that a run shares with its own workers. Those of a
cluster end too, but on another machine, where nobody reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from workflows import limits
from workflows.stage_names import Stage


def end_when_stuck(identifier: str) -> Callable[[Stage], None]:
    """Ends this process, if it is a worker, when a call of this reaction never comes back.

    Returns what has to be told of each stage as it begins.
    """
    current = [Stage.WORKER]

    def leave(words: str) -> None:
        with contextlib.suppress(OSError):
            word = json.dumps({"stage": current[0], "reason": words})
            _place(tempfile.gettempdir(), identifier).write_text(word, "utf-8")
        os._exit(1)

    if multiprocessing.parent_process() is not None:
        limits.when_stuck = leave

    def begin(stage: Stage) -> None:
        current[0] = stage

    return begin


def last_words(identifier: str) -> tuple[Stage, str] | None:
    """Stage and reason that a worker of this run has left when it ended itself; only once."""
    place = _place(os.environ.get("TMPDIR") or tempfile.gettempdir(), identifier)
    try:
        word = json.loads(place.read_text("utf-8"))
        place.unlink()
        return Stage(word["stage"]), str(word["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(folder: str, identifier: str) -> Path:
    name = hashlib.sha256(identifier.encode("utf-8", "surrogatepass")).hexdigest()
    return Path(folder) / f"stuck-{name}.json"
