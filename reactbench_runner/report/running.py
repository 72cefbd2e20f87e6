"""What is under way, for people: a table that fits its terminal, and lines of a log."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from reactbench_runner.execution.live import Running
from workflows.status import Status

#: The stage of a reaction whose worker tells nothing: it starts, or is one of a cluster.
GIVEN = "with a worker"

#: What a column is never narrower than, so that the others keep their places.
_WIDTHS = {
    "reaction": 8,
    "stage": len("thermochemistry"),
    "attempt": 7,
    "step": 4,
    "gradients": 9,
    "kcal/mol": 8,
    "eV/Å": 6,
    "time": 7,
}

#: Where there is no room for all columns, these go, the first one first.
_LEAST = ("gradients", "attempt", "eV/Å", "step", "kcal/mol", "time", "stage")

#: An id is cut to so many characters before a column goes.
_CUT = 16


def table(running: Sequence[Running], now: float, width: int | None = None) -> list[str]:
    """A heading, and a line for each reaction: energy above the relaxed reactant, largest force.

    now: seconds since 1970. width: of the terminal; None where lines may be of any length.
    """
    titles = list(_WIDTHS)
    for least in (None, *_LEAST):
        titles = [title for title in titles if title != least]
        rows = [_row(one, now, "gradients" in titles) for one in running]
        widths = {title: _widest(title, rows) for title in titles}
        wanted = min(widths["reaction"], _CUT)
        room = (width or 1000) - sum(widths[title] + 2 for title in titles[1:])
        if room >= wanted:
            break
    widths["reaction"] = max(1, min(widths["reaction"], room))
    lines = [dict(zip(titles, titles, strict=True)), *rows]
    return ["  ".join(_cell(row[one], widths[one], one) for one in titles) for row in lines]


def _widest(title: str, rows: Sequence[dict[str, str]]) -> int:
    return max([_WIDTHS[title], *(cell_len(row[title]) for row in rows)])


def _cell(text: str, width: int, title: str) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    space = " " * (width - cell_len(text))
    return text + space if title in ("reaction", "stage") else space + text


def _row(one: Running, now: float, with_gradients: bool) -> dict[str, str]:  # noqa: FBT001
    status, row = one.status, dict.fromkeys(_WIDTHS, "")
    row |= {"reaction": one.id, "stage": GIVEN}
    if one.since is not None:
        row["time"] = clock(now - one.since)
    if status is None:
        return row
    step = "" if with_gradients else f"{status.gradients} grad."
    return row | {
        "stage": str(status.stage),
        "attempt": str(status.attempt or ""),
        "step": step if status.step is None else str(status.step),
        "gradients": str(status.gradients),
        "kcal/mol": _number(status.energy_kcal_per_mol, 1),
        "eV/Å": _number(status.max_force_ev_per_a, 3),
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.0


def clock(seconds: float) -> str:
    """'0:00:07', '27:46:40'."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def ended(one: tuple[Status, float] | str) -> str:
    """How a stage has ended: 'saddle, attempt 1, step 12, ..., 3.2 s'; or an attempt."""
    if isinstance(one, str):
        return one
    status, seconds = one
    words = str(status).rpartition(", ")[0]  # not how long the search goes on
    return f"{words}, {seconds:.1f} s"
