"""Searches that take their process down, for workers, which import them."""

from __future__ import annotations

import os
import signal

from reactbench_runner.execution import workers
from reactbench_runner.execution.workers import RunSpec
from workflows.records import Reaction, SearchResult


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
