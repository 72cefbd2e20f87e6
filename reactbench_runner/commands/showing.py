"""What `horm-tssearch` shows while a run goes on: in a terminal, in a log, or not at all.

A terminal gets a bar, and below it a line for each reaction that is under way. What is no terminal,
such as the log of a batch system, gets a line with the time for each reaction that has finished,
or, of a large run, now and then a line with counts.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.text import Text

from horm_calc.wording import counted
from reactbench_runner.execution.live import Running
from reactbench_runner.report import running as under_way
from reactbench_runner.report.table import counted as verdicts_counted
from reactbench_runner.report.table import finished_line
from reactbench_runner.storage.rows import NOT_SEARCHED, ResultRow
from workflows.records import Label
from workflows.stage_names import COSTED, Stage

#: Columns of what is no terminal: nothing is cut there.
_ENDLESS = 10_000

#: How often a terminal is drawn anew in a second: more is seen by nobody, and takes time from
#: searches.
_DRAWN = 2

#: Lines of a terminal that the rows leave free: for the bar, the titles, and the next prompt.
_FREE = 4

#: Seconds between two lines with counts.
_COUNTS_EVERY = 60.0


def console_of() -> Console:
    """As wide as its terminal; in a file or a pipe lines have any length."""
    return Console(width=None if sys.stdout.isatty() else _ENDLESS)


def _can_draw(console: Console) -> bool:
    """Whether lines can be drawn anew: colours alone can be forced on a pipe too."""
    return console.file.isatty() and not console.is_dumb_terminal


@contextlib.contextmanager
def reading(console: Console, *, quiet: bool) -> Iterator[None]:
    """Says in a terminal that something goes on, until there is something else to say."""
    if quiet or not _can_draw(console):
        yield
    else:
        with console.status("reading"):
            yield


class Shown:
    """What is told to a person; of this class nothing, for --quiet.

    `started`, `running` and `finished`, or `counted` for large runs, are for `run_batch` and
    `run_large`. Reactions of before have finished before it starts.
    """

    def __init__(self, console: Console, total: int, head: str, *, verbose: bool = False) -> None:
        self.console, self.total, self.head, self.verbose = console, total, head, verbose
        self.verdicts: Counter[str] = Counter()

    def started(self) -> None:
        """Nothing is refused any more."""

    def running(self, found: Sequence[Running]) -> None:
        """What is under way, and what has ended just now."""

    def finished(self, row: ResultRow) -> None:
        """A reaction is stored."""
        self.verdicts[str(row.verdict)] += 1

    def counted(self, verdict: str) -> None:
        """A reaction of a large run is stored."""
        self.verdicts[str(verdict)] += 1

    def end(self) -> None:
        """Nothing is under way any more."""

    @property
    def done(self) -> int:
        """How many have finished."""
        return self.verdicts.total()


class Lines(Shown):
    """Lines with date and time, for a log."""

    def __init__(self, console: Console, total: int, head: str, *, verbose: bool) -> None:
        super().__init__(console, total, head, verbose=verbose)
        self._running, self._unreadable = False, list[ResultRow]()
        self._said: dict[tuple[str, float | None], int] = {}
        self._large, self._counts_said = False, time.monotonic()

    def started(self) -> None:
        """The heading, and what has finished before."""
        self.console.print(self.head, markup=False)
        self._running = True
        if before := self.done - len(self._unreadable):
            self.event(f"{counted(before, 'reaction')} had finished before")
        for row in self._unreadable:
            self.event(finished_line(row))

    def running(self, found: Sequence[Running]) -> None:
        """With --verbose what has ended; of large runs now and then counts."""
        if self.verbose:
            self._said = {(one.id, one.since): self._told_of(one) for one in found if one.status}
        if self._large and time.monotonic() - self._counts_said > _COUNTS_EVERY:
            self._counts_said = time.monotonic()
            self.event(verdicts_counted(self.verdicts))

    def _told_of(self, one: Running) -> int:
        """How many stages it has been through, of which those since the last look are told now."""
        key = one.id, one.since
        if key not in self._said:
            self.event(f"{one.id}: begun")
        for ended in one.ended[self._said.get(key, 0) :]:
            self.event(f"{one.id}: {under_way.ended(ended)}")
        return len(one.ended)

    def finished(self, row: ResultRow) -> None:
        """A line of its own, unless it had finished before."""
        super().finished(row)
        if self._running:
            self.event(finished_line(row))
        elif row.stage in NOT_SEARCHED:
            self._unreadable.append(row)

    def counted(self, verdict: str) -> None:
        """No line of its own."""
        super().counted(verdict)
        self._large = True

    def event(self, words: str) -> None:
        """A line with the time, and how many have finished."""
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"{now} [{self.done}/{self.total}] {words}"
        self.console.print(line, markup=False, highlight=False)


class Screen(Lines):
    """A bar, with what is under way below it, and with --verbose the lines of a log above."""

    def __init__(self, console: Console, total: int, head: str, *, verbose: bool) -> None:
        super().__init__(console, total, head, verbose=verbose)
        self._found: Sequence[Running] = ()
        self._part = 0.0
        self._bar = Progress(
            "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console,
        )  # fmt: skip
        self._task = self._bar.add_task("searching", start=False, total=total)
        self._live = Live(get_renderable=self._drawing, console=console, refresh_per_second=_DRAWN)

    def started(self) -> None:
        """The heading, and the bar from here on."""
        super().started()
        self._bar.start_task(self._task)
        self._live.start()

    def running(self, found: Sequence[Running]) -> None:
        """To be drawn."""
        self._found = found
        if self.total == 1:  # its bar fills with the stages, and stays where another attempt begins
            self._part = max([self._part, *(_part(one) for one in found)])
        super().running(found)

    def finished(self, row: ResultRow) -> None:
        """It is drawn no more."""
        self._found = [one for one in self._found if one.id != row.id]
        super().finished(row)

    def event(self, words: str) -> None:
        """A line above the bar, with --verbose."""
        if self.verbose:
            super().event(words)

    def end(self) -> None:
        """The bar stays as it is."""
        self._found = ()
        self._live.stop()

    @property
    def _words(self) -> str:
        if not self.done:
            return "searching"
        told = [label for label in (Label.INTENDED, Label.FOUND) if self.verdicts[label]]
        return ", ".join(f"{self.verdicts[one]} {one}" for one in told or [Label.INTENDED])

    def _drawing(self) -> RenderableType:
        done = self.done or self._part
        self._bar.update(self._task, completed=done, description=self._words)
        found = [one for one in self._found if not one.over]
        if not found:
            return self._bar.get_renderable()
        room = self.console.height - _FREE
        shown = found if len(found) <= room else found[: max(1, room - 1)]
        lines = under_way.table(shown, time.time(), self.console.width)
        if more := len(found) - len(shown):
            lines.append(f"... and {more} more")
        texts = [Text(line, no_wrap=True, overflow="crop") for line in lines]
        texts[0].stylize("dim")
        return Group(self._bar.get_renderable(), *texts)


def _part(one: Running) -> float:
    """Which part of the stages of a search is behind it; few searches have a preparation."""
    stage = one.status.stage if one.status else Stage.INPUT
    stages = [each for each in COSTED if each is not Stage.PREPARATION]
    return stages.index(stage) / len(stages) if stage in stages else 0.0


@contextlib.contextmanager
def shown(
    console: Console, total: int, head: str, *, quiet: bool, verbose: bool
) -> Iterator[Shown]:
    """What suits the console, until the run has ended in whatever way."""
    kind: type[Shown] = Screen if _can_draw(console) else Lines
    found = (Shown if quiet else kind)(console, total, head, verbose=verbose)
    try:
        yield found
    finally:
        found.end()
