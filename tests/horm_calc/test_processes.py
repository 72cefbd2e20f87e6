"""Processes that work on tasks, of which any may be killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from horm_calc.processes import in_processes


def slowly(task: int) -> tuple[int, int, str]:
    time.sleep(0.3)
    return task, os.getpid(), os.environ["PYTHONHASHSEED"]


def children() -> list[int]:
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in map(int, pids) if b"spawn_main" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("name", "pauses", "victims"),
    [
        ("one twice in a moment", [0.0, 0.01], 1),
        ("one again and again", [0.1] * 12, 1),
        ("all at once", [0.5], 9),
        ("all, twice within seconds", [0.5, 1.0], 9),
        ("all while they start", [0.05] * 6, 9),
    ],
)
def test_killed_workers_are_replaced(name: str, pauses: list[float], victims: int) -> None:
    """However often and soon; every task is answered for once, and the end is reached."""
    choose = random.Random(name)

    def kill() -> None:
        for pause in pauses:
            time.sleep(pause)
            there = children()
            for pid in choose.sample(there, min(victims, len(there))):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    results = in_processes(slowly, iter(range(12)), 2)
    first = next(results)
    killer.start()
    found = [first, *results]
    killer.join()
    assert Counter(task for task, _ in found) == Counter(range(12))
    whole = [result for _, result in found if result is not None]
    assert {task for task, _, _ in whole} <= set(range(12))
    assert whole
    assert {seed for _, _, seed in whole} == {"6640"}  # sets of texts have one order in all
    assert children() == []
