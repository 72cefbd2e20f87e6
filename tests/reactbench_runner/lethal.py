"""Searches that take their process down, for workers, which import them."""

from __future__ import annotations

import os
import signal
from typing import Any

from reactbench_runner.execution import workers
from workflows.records import Reaction, SearchResult


def search_unless_lethal(how: Any, reaction: Reaction) -> SearchResult:
    """As the system does when memory runs out."""
    if reaction.id == "lethal":
        os.kill(os.getpid(), signal.SIGKILL)
    return workers.search_one(reaction, *how)


def verify_never(how: Any, reaction: Reaction) -> SearchResult:
    """The search is fine; the verification needs too much memory."""
    calculator, settings, trusted = how
    if trusted is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return workers.search_one(reaction, calculator, settings)
