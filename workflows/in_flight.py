"""Many calls in one process, whose questions to a calculator are answered together.

Each call runs in a greenlet. When it asks a calculator something, it is put aside and another goes
on; when all wait, everything that was asked is worked out in as few batches as there are
calculators and kinds of questions, and each call goes on with its answers. Stages and libraries
notice nothing: a call computes what it computes alone, but for the rounding of a batch.

What belongs to the whole process (current folder, standard output, NumPy's random state, filters
of warnings) is put back for each call before it goes on. Wall-times count what a call itself has
used, with its share of the batches; they end it where it asks, never in between.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from ase import Atoms
from greenlet import getcurrent, greenlet

from workflows import limits

K = TypeVar("K")
T = TypeVar("T")

#: What is asked of calculators that work out many structures together.
WANTED = ("energy", "forces")

#: Seconds between two questions of a call, or for the answers to all, after which it counts as
#: stuck: twice the longest wall-time that stages have by default.
LONGEST_TURN = 2400.0

#: The call that this code runs in, where there are several.
_current: contextvars.ContextVar[_Call[Any, Any] | None] = contextvars.ContextVar(
    "call", default=None
)


@dataclass(frozen=True)
class Question:
    """Energies and forces of some structures, or the Hessian of one.

    `together`: whether the calculator has `evaluate` for it, which takes many structures at once.
    """

    calculator: Any
    molecules: Sequence[Atoms]
    hessian: bool = False
    together: bool = False

    @property
    def size(self) -> int:
        """Atoms in it."""
        return sum(len(atoms) for atoms in self.molecules)

    def alone(self) -> list[dict[str, Any]]:
        """The answers, one dictionary per structure, as the calculator gives them."""
        own = self.calculator
        if self.hessian:
            return [{"hessian": own.get_hessian(atoms)} for atoms in self.molecules]
        if len(self.molecules) > 1 and self.together:
            return _kept(own.evaluate(self.molecules, WANTED))
        # Forces first: for most calculators they come with the energy.
        return [
            {"forces": copy(own.get_forces(atoms)), "energy": own.get_potential_energy(atoms)}
            for atoms in self.molecules
        ]


def _kept(answers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copies: some calculators write the next answer over the last one."""
    return [deepcopy(answer) for answer in answers]


def ask(question: Question) -> list[dict[str, Any]]:
    """The answers: at once, or together with those to other calls. Raises what a calculator raises.

    One dictionary per structure; of numbers nothing is checked here.
    """
    call = _current.get()
    return question.alone() if call is None else call.wait(question)


class Turns:
    """A lock for libraries that keep something for the whole process, such as their loggers.

    Threads wait for each other, and so do calls of `run_together`, which share a thread. Whoever
    holds it can take it again.
    """

    def __init__(self) -> None:
        self._lock, self._holders = threading.RLock(), list[_Call[Any, Any] | None]()

    def __enter__(self) -> None:
        self._lock.acquire()
        call = _current.get()
        while call is not None and self._holders and self._holders[-1] is not call:
            self._lock.release()
            call.wait(Question(None, []))
            self._lock.acquire()
        self._holders.append(call)

    def __exit__(self, *_: object) -> None:
        self._holders.pop()
        self._lock.release()


def run_together(
    calls: Iterable[tuple[K, Callable[[], T]]], in_flight: int
) -> Iterator[tuple[K, T]]:
    """The results of calls as they finish, each with its key; `in_flight` of them run at a time.

    A call is begun when there is room, and not before. What a call raises is raised here, after
    the others have been ended with a `KeyboardInterrupt`, as they are when this is closed.
    """
    left, running = iter(calls), list[_Call[K, T]]()
    watch = _Watch()
    try:
        while True:
            watch.pause()  # there may be nothing to do until somebody brings the next call
            room = max(1, in_flight) - len(running)
            running += [_Call(key, call) for key, call in itertools.islice(left, room)]
            if not running:
                return
            for call in running:
                watch.turn()
                call.go_on()
            for call in [call for call in running if call.finished]:
                running.remove(call)
                watch.pause()
                yield call.key, call.result
            watch.turn()
            _answer(running)
    finally:
        for call in running:
            call.end()
        watch.end()


class _Watch:
    """Has `limits.when_stuck` called where a turn does not come to its end.

    A loop that never asks a calculator again cannot be interrupted here; a worker process, which
    has nothing else to do, ends itself then.
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def turn(self) -> None:
        """A call goes on, or questions are answered, from now."""
        self._began = time.monotonic()

    def pause(self) -> None:
        """Until the next turn the time is the caller's."""
        self._began = None

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(1.0):
            began = self._began
            if began is not None and time.monotonic() - began > LONGEST_TURN:
                limits.when_stuck(
                    f"exceeded {LONGEST_TURN:g} s without a question to the calculator, and what "
                    "it was in did not come back to be stopped"
                )
                return


@dataclass
class _Process:
    """What belongs to the whole process, as it is now."""

    folder: str = field(default_factory=os.getcwd)
    stdout: Any = field(default_factory=lambda: sys.stdout)
    stderr: Any = field(default_factory=lambda: sys.stderr)
    random: Any = field(default_factory=np.random.get_state)
    filters: Any = field(default_factory=lambda: warnings.filters)
    when_stuck: Callable[[str], None] = field(default_factory=lambda: limits.when_stuck)

    def restore(self) -> None:
        """Make it so again."""
        limits.when_stuck = self.when_stuck
        if os.getcwd() != self.folder:
            os.chdir(self.folder)
        sys.stdout, sys.stderr = self.stdout, self.stderr
        np.random.set_state(self.random)  # noqa: NPY002 - libraries draw from the global state
        warnings.filters = self.filters


class _Call(Generic[K, T]):
    """A call with its greenlet, the question that it waits with, and what it has used."""

    result: T

    def __init__(self, key: K, call: Callable[[], T]) -> None:
        self.key = key
        self.seconds, self._since = 0.0, 0.0
        self.question: Question | None = None
        self._answer: list[dict[str, Any]] | BaseException = []
        self._process: _Process | None = None
        self._greenlet = greenlet(lambda: self._run(call))

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return bool(self._greenlet.dead)

    def used(self) -> float:
        """Seconds that it has used so far; called from within it."""
        return self.seconds + time.perf_counter() - self._since

    def wait(self, question: Question) -> list[dict[str, Any]]:
        """Put the call aside until there is an answer; called from within it."""
        self.question = question
        getcurrent().parent.switch()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def answer(self, found: list[dict[str, Any]] | BaseException, seconds: float) -> None:
        """What it goes on with, and what its share of the work took."""
        self._answer = found
        self.seconds += seconds

    def go_on(self) -> None:
        """Until it asks again or ends."""
        outer, self._since = _Process(), time.perf_counter()
        if self._process is not None:
            self._process.restore()
        self._greenlet.parent = getcurrent()
        try:
            self._greenlet.switch()
        finally:
            self.seconds += time.perf_counter() - self._since
            self._process = _Process()
            outer.restore()

    @contextlib.contextmanager
    def to_blame(self) -> Iterator[None]:
        """If the calculator does not come back within, it is for this call."""
        before = limits.when_stuck
        if self._process is not None:
            limits.when_stuck = self._process.when_stuck
        try:
            yield
        finally:
            limits.when_stuck = before

    def end(self) -> None:
        """Have it clean up after itself, as after Ctrl-C."""
        if self._process is not None and not self.finished:
            self.answer(KeyboardInterrupt(), 0.0)
            with contextlib.suppress(KeyboardInterrupt):
                self.go_on()

    def _run(self, call: Callable[[], T]) -> None:
        _current.set(self)
        limits.count_with(self.used)
        self.result = call()


def _answer(calls: Sequence[_Call[Any, Any]]) -> None:
    """Work out what they wait for, in one batch for each calculator and kind of question."""
    groups: dict[tuple[int, bool], list[_Call[Any, Any]]] = {}
    for call in calls:
        assert call.question is not None
        groups.setdefault((id(call.question.calculator), call.question.hessian), []).append(call)
    for group in groups.values():
        questions = [call.question for call in group if call.question is not None]
        start = time.perf_counter()
        found = _answers_together(questions)
        spent, atoms = time.perf_counter() - start, sum(question.size for question in questions)
        for call, question, answer in zip(group, questions, found, strict=True):
            if answer is None:
                _answer_alone(call, question)
            else:
                call.answer(answer, spent * question.size / atoms)


def _answers_together(questions: Sequence[Question]) -> list[list[dict[str, Any]] | None]:
    """The answers to all questions in one batch; None where each must be asked alone.

    That is so where the calculator takes no batches, and where the batch fails: then one of them is
    to blame, and only its call may hear of it.
    """
    nothing: list[list[dict[str, Any]] | None] = [None] * len(questions)
    molecules = [atoms for question in questions for atoms in question.molecules]
    if len(questions) == 1 or not questions[0].together:
        return nothing
    properties = ("hessian",) if questions[0].hessian else WANTED
    try:
        found = _kept(questions[0].calculator.evaluate(molecules, properties))
    except Exception:  # whatever a calculator raises
        return nothing
    if len(found) != len(molecules):
        return nothing
    answers = iter(found)
    return [[next(answers) for _ in question.molecules] for question in questions]


def _answer_alone(call: _Call[Any, Any], question: Question) -> None:
    start = time.perf_counter()
    try:
        with call.to_blame():
            found: list[dict[str, Any]] | BaseException = question.alone()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it ends the call that asked, as it would alone
        found = error
    call.answer(found, time.perf_counter() - start)
