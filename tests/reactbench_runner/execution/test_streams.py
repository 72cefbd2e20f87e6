"""Workers with several tasks under way: what they answer, and what a death costs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from functools import partial

import pytest

from reactbench_runner.execution.streams import AHEAD, in_streams, several


def doubled(task: int) -> int:
    return 2 * task


def in_pairs(tasks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Answers the second of two before the first; task 13 kills the process."""
    waiting: list[tuple[int, int]] = []
    for number, task in tasks:
        if task == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        waiting.append((number, doubled(task)))
        if len(waiting) == 2:
            yield waiting.pop()
            yield waiting.pop()
    yield from waiting


def large(tasks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Results larger than what a connection holds, before the next task is taken."""
    for number, task in tasks:
        time.sleep(0.01)
        yield number, task


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_is_answered_once(workers: int) -> None:
    found = dict(in_streams(in_pairs, iter(range(10)), workers, 2))
    assert found == {task: 2 * task for task in range(10)}


def test_fewer_tasks_than_could_be_under_way() -> None:
    assert list(in_streams(in_pairs, iter([7]), 2, 5)) == [(7, 14)]
    assert list(in_streams(in_pairs, iter([]), 2, 5)) == []


def test_tasks_and_results_larger_than_a_connection_holds() -> None:
    tasks = [bytes([n]) * 300_000 for n in range(12)]
    assert sorted(in_streams(large, iter(tasks), 1, 4)) == [(task, task) for task in tasks]


def test_a_worker_that_dies_costs_what_it_had_not_answered() -> None:
    found = list(in_streams(in_pairs, iter([*range(10, 13), 13, *range(14, 30)]), 2, 2))
    lost = [task for task, result in found if result is None]
    assert 13 in lost
    assert len(lost) <= 2 + AHEAD
    assert sorted(task for task, _ in found) == list(range(10, 30))
    assert all(result == 2 * task for task, result in found if result is not None)


def test_tasks_are_taken_as_there_is_room() -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for task in range(100):
            taken.append(task)
            yield task

    found = in_streams(in_pairs, tasks(), 1, 2)
    next(found)
    assert len(taken) == 2 + AHEAD
    found.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_one_by_one_or_several(in_flight: int) -> None:
    numbered = enumerate(range(5))
    assert sorted(several(partial(doubled), in_flight, numbered)) == [(n, 2 * n) for n in range(5)]
