"""Searches that take their process down, for workers, which import them."""

from __future__ import annotations

import os
import signal
import time

from reactbench_runner.execution import workers
from reactbench_runner.execution.live import telling
from reactbench_runner.execution.workers import RunSpec
from workflows.records import Reaction, SearchResult
from workflows.stage_names import Stage
from workflows.status import Status


def search_unless_lethal(spec: RunSpec, reaction: Reaction) -> SearchResult:
    """As the system does when memory runs out."""
    if reaction.id == "lethal":
        os.kill(os.getpid(), signal.SIGKILL)
    return workers.search_one(reaction, spec)


def verify_never(spec: RunSpec, reaction: Reaction) -> SearchResult:
    """The search is fine; the verification needs too much memory."""
    if spec.verify is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return workers.search_one(reaction, spec)


def tell_and_die(spec: RunSpec, reaction: Reaction) -> SearchResult:
    """Each tells where it is; 'lethal' dies then, the others find nothing."""
    with telling(reaction.id) as tell:
        assert tell is not None
        tell(Status(Stage.PATH, 1, 3, 20, 55.0, 1.0))
        time.sleep(1.0)  # until that has been seen
        if reaction.id == "lethal":
            os.kill(os.getpid(), signal.SIGKILL)
    return workers.failed(reaction, Stage.PATH, "there is none")
