"""The bar that long loops show."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_Item = TypeVar("_Item")
_PATIENCE = 2.0  # seconds that pass without a word


def progress(items: Iterable[_Item], text: str, total: int | None = None) -> Iterator[_Item]:
    """The items, with a bar on a terminal's stderr where they last longer than two seconds.

    total: how many there will be; None if it is not known.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task, start = bar.add_task(text, total=total, visible=False), time.monotonic()
        for number, item in enumerate(items):
            yield item
            # Not for every item: some take less time than the bar.
            if number % 16 == 0:
                late = time.monotonic() - start > _PATIENCE
                bar.update(task, completed=number, visible=late)
