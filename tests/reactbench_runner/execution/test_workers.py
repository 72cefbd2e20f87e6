"""What a worker hands back, whatever a calculator does, and runs without one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactbench_runner.batch import run_batch
from reactbench_runner.errors import WorkersLost
from reactbench_runner.execution import workers
from reactbench_runner.storage.store import finished
from tests.reactbench_runner.stored import searched, verified
from workflows.records import SearchResult
from workflows.settings import SearchSettings

SPEC = workers.RunSpec("gfn2-xtb", SearchSettings(), "gfn1-xtb")


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Timeout(BaseException):
    """As libraries have them for their own ends."""


ERRORS = [ZeroDivisionError("division by zero"), SystemExit(3), KeyboardInterrupt(), Mute(),
          GeneratorExit(), Timeout("a\nb"), MemoryError(), RecursionError("too deep")]  # fmt: skip


def raising(error: BaseException):
    def search(*_: object, **__: object) -> SearchResult:
        raise error

    return search


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_breaks_a_search_costs_one_reaction(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "search", raising(error))
    result = workers._work(SPEC, searched().reaction)
    assert result.verdict.stage == "worker"
    assert f"{type(error).__name__}" in result.verdict.reason
    assert "\n" not in result.verdict.reason
    assert "in search\n" in result.log  # where it was raised


#: That of a search that has just been made, and that of one that was stored before.
VERIFIED = [(error, True) for error in ERRORS]
VERIFIED += [(error, False) for error in ERRORS if isinstance(error, (Exception, SystemExit))]


@pytest.mark.parametrize(("error", "later"), VERIFIED)
def test_what_breaks_a_verification_costs_that_alone(
    error: BaseException, later: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = searched()
    monkeypatch.setattr(workers, "search", lambda *_, **__: found)
    monkeypatch.setattr(workers, "verify_saddle", raising(error))
    result = workers._work(SPEC, found if later else found.reaction)
    assert result.verdict == found.verdict
    assert result.verification is not None
    assert not result.verification.converged
    assert workers.not_verified(result.verification.reason)
    assert type(error).__name__ in result.verification.reason
    assert "\n" not in result.verification.reason
    assert result.log.startswith(found.log)
    assert "in search\n" in result.log  # where it was raised


def answers(monkeypatch: pytest.MonkeyPatch, answer) -> None:
    """Of workers that search nothing."""

    def in_processes(work, tasks: Iterator, number: int) -> Iterator:
        for task in tasks:
            yield task, answer(task)

    monkeypatch.setattr(workers, "in_processes", in_processes)


def test_a_verification_whose_worker_died_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a search is; one that came to an end is not."""
    found = searched()
    before = iter([found, None, None, found])  # with verification twice, then without it
    answers(monkeypatch, lambda task: next(before))
    run_batch([found.reaction], tmp_path / "out", "gfn2-xtb")

    def run() -> str:
        run_batch([found.reaction], tmp_path / "out", "gfn2-xtb", verify="gfn1-xtb")
        return finished(tmp_path / "out")["hcn"].verify_reason

    assert run().startswith("the worker process died twice while it verified")
    answers(monkeypatch, lambda task: verified(found))
    assert run() == ""
    answers(monkeypatch, lambda task: pytest.fail("nothing is left to do"))
    assert run() == ""


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_machine_that_can_start_no_process(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(task: object) -> None:
        raise OSError(code, os.strerror(code))

    answers(monkeypatch, refuse)
    with pytest.raises(WorkersLost, match=f"{os.strerror(code)}.*fewer --workers"):
        run_batch([searched().reaction], tmp_path / "out", "gfn2-xtb")
    assert not (tmp_path / "out").exists()
