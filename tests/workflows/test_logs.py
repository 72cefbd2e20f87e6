"""Logs that keep their beginning and their end."""

from __future__ import annotations

import contextlib
import logging

import pytest
from ase import Atoms

from tests.surfaces import LEPS
from workflows.errors import CalculatorFailed, StageError
from workflows.logs import KEPT, Log, cause_of, log_of
from workflows.settings import PathSettings
from workflows.stages.path import find_path
from workflows.surface import Surface


def test_short_logs_are_whole() -> None:
    log = Log("a\n")
    print("two words", file=log)
    log.write("")
    assert log.getvalue() == "a\ntwo words\n"
    for length in (KEPT, KEPT + 1, 2 * KEPT):
        text = "".join(str(number % 10) for number in range(length))
        assert Log(text).getvalue() == text


@pytest.mark.parametrize("piece", [111, 1000, KEPT - 1, KEPT, KEPT + 1, 3 * KEPT])
def test_of_long_ones_the_middle_is_left_out(piece) -> None:
    log = Log("first line\n")
    pieces = 5 * KEPT // piece + 1
    for _ in range(pieces):
        log.write("x" * piece)
    log.write("\nlast line")
    text = log.getvalue()
    assert text.startswith("first line\nxxx")
    assert text.endswith("xxx\nlast line")
    written = 21 + pieces * piece
    assert f"[... {written - 2 * KEPT:,} characters left out ...]" in text
    assert len(text) < 2 * KEPT + 100


def test_half_characters_become_question_marks() -> None:
    assert Log("caf\udce9").getvalue() == "caf?"


def test_everything_that_prints_can_print_into_it() -> None:
    with log_of("a library") as log, contextlib.redirect_stdout(log):
        print("printed")
        handler = logging.StreamHandler(log)
        handler.emit(logging.LogRecord("name", 20, "", 1, "logged", (), None))
        log.writelines(["many\n", "lines\n"])
    assert log.getvalue() == "printed\nlogged\nmany\nlines\n"


def test_what_breaks_keeps_the_log_and_its_traceback() -> None:
    with (
        pytest.raises(StageError, match="a library: ZeroDivisionError") as error,
        log_of("a library") as log,
    ):
        log.write("step 1")
        1 / 0  # noqa: B018
    assert error.value.log == "step 1"
    assert "1 / 0" in cause_of(error.value)
    assert cause_of(CalculatorFailed("said on purpose")) == ""


class Chatty(LEPS):
    """Prints a megabyte in each call."""

    def calculate(self, *arguments, **options) -> None:
        print("begin" + "x" * 1_000_000)
        super().calculate(*arguments, **options)


def test_a_calculator_that_prints_a_megabyte_a_call() -> None:
    surface = Surface(Chatty(), multiplicity=2)
    ends = [[-2.2, 0, 0], [0, 0, 0], [0.74, 0, 0]], [[-0.74, 0, 0], [0, 0, 0], [2.2, 0, 0]]
    settings = PathSettings(method="gsm", max_steps=5)
    path = find_path(*(Atoms("HHH", end) for end in ends), surface, settings)
    assert surface.evaluations.gradients > 10
    assert len(path.log) < 2 * KEPT + 100
    assert "characters left out" in path.log
    assert "begin" in path.log
