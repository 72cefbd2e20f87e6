"""Wall-times for code that has none."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time

import pytest

from workflows import limits
from workflows.errors import StageTimeout
from workflows.limits import check_time, run_with_limit


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


def sleeping() -> None:
    time.sleep(60)


def waiting() -> None:
    threading.Event().wait(60)


def locked() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def in_a_process() -> None:
    subprocess.run(["sleep", "60"], check=True)


def in_a_shell() -> None:
    """The grandchild holds the pipe, so that killing the shell alone would not do."""
    subprocess.run("sleep 60; echo done", shell=True, capture_output=True)


def in_a_shell_of_c() -> None:
    os.system("sleep 60")


def swallowing() -> None:
    """Catches whatever interrupts it, and goes on."""
    for _ in range(3):
        try:
            time.sleep(60)
        except BaseException:
            continue
    check_time()  # as before each call of a calculator


@pytest.mark.parametrize(
    "call",
    [sleeping, waiting, locked, in_a_process, in_a_shell, in_a_shell_of_c, swallowing],
)
def test_what_waits_ends_too(call) -> None:
    start = time.monotonic()
    with pytest.raises(StageTimeout):
        run_with_limit(call, 0.2)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("call", [in_a_process, in_a_shell, in_a_shell_of_c])
def test_processes_end_in_worker_threads_too(call) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            run_with_limit(call, 0.2)
        except BaseException as error:
            caught.append(error)

    others = subprocess.Popen(["sleep", "30"])  # of another thread: they are left alone
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert others.poll() is None
    others.kill()
    others.wait()
    assert [type(error) for error in caught] == [StageTimeout]


def test_a_process_that_was_there_before_is_left_alone() -> None:
    server = subprocess.Popen(["sleep", "30"])
    with pytest.raises(StageTimeout):
        run_with_limit(in_a_shell_of_c, 0.1)
    assert server.poll() is None
    server.kill()
    server.wait()


def test_what_cannot_be_ended_is_said(monkeypatch) -> None:
    """Sleep in a worker thread; the process could end itself."""
    said: list[str] = []
    monkeypatch.setattr(limits, "when_stuck", said.append)

    def work() -> None:
        with contextlib.suppress(StageTimeout):
            run_with_limit(lambda: time.sleep(7), 0.2)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    [words] = said
    assert "wall-time of 0.2 s" in words
    assert "did not return" in words


def test_of_two_limits_the_one_that_is_over_says_so() -> None:
    with pytest.raises(StageTimeout, match=r"0\.2 s"):
        run_with_limit(lambda: run_with_limit(endless, 50), 0.2)
    with pytest.raises(StageTimeout, match=r"0\.2 s"):
        run_with_limit(lambda: run_with_limit(endless, 0.2), 50)
