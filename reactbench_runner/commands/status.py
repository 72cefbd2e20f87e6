"""`horm-status`: how far a run is, while it goes on or afterwards."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from horm_calc.commands.common import entry_point, parser_of
from reactbench_runner.execution.live import Running
from reactbench_runner.report.running import table

_DESCRIPTION = """\
Say how far a run of horm-tssearch is: verdicts, rate, what is under way, causes of failures, and
when it will end. Of the reactions that have been under way longest it shows stage, attempt, step,
gradients in this stage, energy above the relaxed reactant (kcal/mol), largest force (eV/Å) and
time, as of at most two seconds ago. It reads one small file, so that it answers at once for a
million reactions, and does not disturb the run.
"""

_EPILOG = """\
Exit codes: 0 while the run goes on or when it has ended; 1 when it has been killed; 2 where there
is no run.

examples:
  horm-status runs/first
  watch -n 60 horm-status runs/first
  horm-status runs/first --json
"""

#: Seconds after which a run that tells nothing is suspect.
_SILENT = 60.0


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        told = json.loads((options.run / "progress.json").read_text("utf-8"))
    except (OSError, ValueError):
        print(_nothing_known(options.run), file=sys.stderr)
        return 2
    now = time.time()
    told |= measured(told, now, alive=_is_locked(options.run))
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(lines(told, now, columns)))
    return 1 if told["state"] == "killed" else 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-status", _DESCRIPTION, _EPILOG)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of --out")
    parser.add_argument("--json", action="store_true", help="print what is known as JSON")
    return parser


def measured(told: dict[str, Any], now: float, *, alive: bool) -> dict[str, Any]:
    """State, rate (reactions an hour) and the seconds that are left, from what a run has told."""
    running = told["state"] == "running"
    state = "killed" if running and not alive else told["state"]
    count, since = told["recent"]
    end = now if state == "running" else told["written"]
    span = 0.0 if since is None else end - since
    rate = count / span * 3600 if count > 1 and span > 0 else None
    left = None
    if rate and told["total"] is not None and state == "running":
        left = (told["total"] - told["finished"]) / rate * 3600
    return {"state": state, "per_hour": rate, "seconds_left": left}


def lines(told: dict[str, Any], now: float, columns: int | None = None) -> list[str]:
    """What a person reads, the table of what is under way in so many columns."""
    total = told["total"]
    of = f" of {total} ({100 * told['finished'] / total:.1f}%)" if total else ""
    found = [f"{told['state']}: {told['finished']}{of} finished"]
    if told["finished_before"]:
        found[0] += f", {told['finished_before']} of them before the last start"
    silent = now - told["written"]
    if told["state"] == "killed":
        found.append(f"last sign of life {span(silent)} ago; the same command goes on")
    elif told["state"] == "running" and silent > _SILENT:  # where there are no locks
        found.append(f"last sign of life {span(silent)} ago: has it been killed?")
    width = max(map(len, told["verdicts"]), default=0)
    found += [f"  {name:{width}} {count:>9}" for name, count in sorted(told["verdicts"].items())]
    if told["per_hour"]:
        found.append(f"{told['per_hour']:.0f} an hour, of late")
    if told["seconds_left"] is not None:
        found.append(f"{span(told['seconds_left'])} left at this rate")
    if told["under_way"] and told["state"] == "running":
        name, since = next(iter(told["oldest"].items()))
        found.append(f"{told['under_way']} under way; the oldest, {name}, for {span(now - since)}")
        found += _under_way(told.get("running", ()), now, columns)
    if told["failures"]:
        found.append("failures:")
        found += [f"  {count:>9}  {words}" for words, count in told["failures"].items()]
    return found


def _under_way(told: Sequence[dict[str, Any]], now: float, columns: int | None) -> list[str]:
    """The table of what workers have told; none where they tell nothing, as those of a cluster."""
    running = list[Running]()
    with contextlib.suppress(KeyError, TypeError, ValueError):  # of another version
        running = [Running.read(one) for one in told]
    if not any(one.status for one in running):
        return []
    return [f"  {line}" for line in table(running, now, columns and columns - 2)]


def span(seconds: float) -> str:
    """'3 h 20 min', '45 s'."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    days, rest = divmod(whole // 60, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _is_locked(run: Path) -> bool:
    """Whether a process is writing there; also where that cannot be known."""
    descriptor = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return True
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return False


def _nothing_known(run: Path) -> str:
    if not run.is_dir():
        return f"horm-status: there is no folder {run}"
    if (run / "run.json").exists():
        return f"horm-status: {run} holds a run that has not told anything yet; see results.csv"
    return f"horm-status: {run} holds no run (no run.json)"


if __name__ == "__main__":
    sys.exit(main())
