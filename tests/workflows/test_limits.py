"""Wall-times for code that has none."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from workflows.errors import StageTimeout
from workflows.limits import run_with_limit


def endless() -> None:
    while True:
        time.sleep(0.001)


def stubborn() -> None:
    """Swallows every ordinary exception, as some libraries do."""
    while True:
        try:
            endless()
        except Exception:
            continue


@pytest.mark.parametrize("call", [endless, stubborn])
def test_an_endless_loop_ends(call) -> None:
    start = time.monotonic()
    with pytest.raises(StageTimeout, match=r"wall-time of 0\.2 s"):
        run_with_limit(call, 0.2)
    assert time.monotonic() - start < 5  # a busy machine may be late, but not for ever


def test_in_a_worker_thread_too() -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            run_with_limit(endless, 0.2)
        except StageTimeout as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert len(caught) == 1


def test_a_call_in_time_is_left_alone_for_good() -> None:
    # Calls that end when the limit does: none may be interrupted after it has returned.
    for _ in range(200):
        with contextlib.suppress(StageTimeout):
            run_with_limit(lambda: time.sleep(0.005), 0.005)
        sum(range(1000))
    time.sleep(0.05)


def test_results_and_errors_pass_through() -> None:
    assert run_with_limit(lambda: 42, 10) == 42
    assert run_with_limit(lambda: 42, None) == 42
    with pytest.raises(ZeroDivisionError):
        run_with_limit(lambda: 1 / 0, 10)
