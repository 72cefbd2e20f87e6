"""Commands as a user calls them, `horm-tssearch` unless another is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from reactbench_runner.commands import tssearch

#: What the entry point of a command is.
Main = Callable[[Sequence[str]], int]


def call(*arguments: object, main: Main = tssearch.main) -> int:
    return main([str(argument) for argument in arguments])


def refused(
    capsys: pytest.CaptureFixture[str], *arguments: object, main: Main = tssearch.main
) -> str:
    """What is said of a call that cannot be right, and nothing else is."""
    assert call(*arguments, main=main) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in error
    return error
