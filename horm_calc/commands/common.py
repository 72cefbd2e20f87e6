"""What all commands of this package have in common."""

from __future__ import annotations

import argparse
import codecs
import contextlib
import difflib
import functools
import io
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, ParamSpec

from horm_calc.lazy_imports import version

_Arguments = ParamSpec("_Arguments")

#: Signs of ours that Unicode does not decompose into such as every terminal has. As wide as they
#: are where they can stand in tables.
_LOOKALIKES = str.maketrans(
    {
        "Δ": "D", "‡": "#", "δ": "d", "ν": "v", "ω": "w", "−": "-", "–": "-", "—": "-", "‖": "|",
        "≥": ">", "≤": "<", "×": "x", "·": ".", "→": ">", "’": "'", "‘": "'", "“": '"', "”": '"',
    }
)  # fmt: skip

#: What ends a process from outside and leaves it time to tidy up: batch systems and terminals.
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class Parser(argparse.ArgumentParser):
    """A parser that names the option which was probably meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; ends the process with a message for an unknown option."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            # Of a misspelt option with its value, the option is what is wrong.
            options_first = sorted(unknown, key=lambda word: not word.startswith("-"))
            self.error(self._explained(options_first[0]))
        return options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; keeps the words for the message of an error."""
        self._words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End the process; a misspelt option is named rather than those that are missing."""
        known = {name for action in self._actions for name in action.option_strings}
        words = [word for word in self._words if word.startswith("--") and word != "--"]
        unknown = [word for word in words if word.split("=")[0] not in known]
        if unknown and message.startswith("the following arguments are required"):
            message = self._explained(unknown[0])
        super().error(message)

    def _explained(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument '{word}'"
        known = [name for action in self._actions for name in action.option_strings]
        near = difflib.get_close_matches(word.split("=")[0], known, n=1)
        return f"unknown option {word}" + (f"; did you mean {near[0]}?" if near else "")


def parser_of(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser that shows description and epilog as they are, and takes no abbreviations."""
    parser = Parser(
        command,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{command} {version()}")
    return parser


def entry_point(main: Callable[_Arguments, int]) -> Callable[_Arguments, int]:
    """Makes a command at home in every terminal.

    Signs that the terminal does not have are replaced by similar ones. SIGTERM and SIGHUP end the
    command as Ctrl-C does, so that it tidies up. When what reads its output, such as `head`, has
    ended, it ends without a word.
    """

    @functools.wraps(main)
    def command(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=_replace_signs.__name__)
        with _endings_as_interrupts() as received:
            try:
                code = main(*arguments, **named)
                sys.stdout.flush()
            except KeyboardInterrupt:
                code = 128 + signal.SIGINT
            except BrokenPipeError:
                # What is still to be written goes nowhere, or Python complains at its end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 128 + signal.SIGPIPE
            except OSError as error:  # what is to be printed does not go onto a full disk, say
                print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                code = 1
        return 128 + received[0] if received else code

    return command


def _replace_signs(error: UnicodeError) -> tuple[str, int]:
    """For the errors of an encoding: '#' for '‡', 'A' for 'Å', '?' for what looks like nothing."""
    if not isinstance(error, UnicodeEncodeError):
        raise error

    def replaced(sign: str) -> str:
        similar = unicodedata.normalize("NFKD", sign).translate(_LOOKALIKES)
        return similar.encode("ascii", "ignore").decode("ascii") or "?"

    return "".join(map(replaced, error.object[error.start : error.end])), error.end


codecs.register_error(_replace_signs.__name__, _replace_signs)


@contextlib.contextmanager
def _endings_as_interrupts() -> Iterator[list[int]]:
    """The signals of `_ENDINGS` that came, the first of which was a `KeyboardInterrupt`.

    One that the caller ignores, as `nohup` does, stays ignored.
    """
    received: list[int] = []
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # forked from here, as the loaders of training data are
            os._exit(128 + number)
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        heeded = [name for name in _ENDINGS if signal.getsignal(name) == signal.SIG_DFL]
        before = {name: signal.signal(name, end) for name in heeded}
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
