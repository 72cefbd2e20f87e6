"""`horm-tssearch` as a user calls it."""

from __future__ import annotations

import pytest

from reactbench_runner.commands import tssearch as cli


def call(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is said of a call that cannot be right, and nothing else is."""
    assert call(*arguments) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in error
    return error
