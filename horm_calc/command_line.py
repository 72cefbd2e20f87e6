"""What all commands of this package have in common."""

from __future__ import annotations

import argparse
import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

_Arguments = ParamSpec("_Arguments")


def parser_of(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser that shows description and epilog as they are, and takes no abbreviations."""
    return argparse.ArgumentParser(
        command,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def quiet_pipes(main: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Lets a command end without a word when what reads its output, such as `head`, has ended."""

    @functools.wraps(main)
    def command(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> int:
        try:
            code = main(*arguments, **named)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            # What is still to be written goes nowhere, or Python complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return command
