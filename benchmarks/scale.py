"""What the runner itself takes for each of many reactions, with a search that answers at once.

    python -m benchmarks.scale --searches 100000

The table, the workers, the store and the summary are the real ones. The search returns a result of
usual size (14 atoms, five stationary points, a Hessian, an IRC of 60 points), so that all time is
the runner's. Printed are ms for each reaction and memory over time, and the first thousand against
the last. Then the same is run once more, which finds everything finished.

    python -m benchmarks.scale --searches 20000 --workers 2 --kills 20

The run is killed so many times at random moments (SIGKILL: the command, one of its workers, or both
with all their processes) and started again. Nothing finished may be lost, nothing be stored twice.
Exit code: 0 when that holds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.kills import killed, wait_until_gone
from benchmarks.stand_in import stand_in
from reactbench_runner.batch import run_batch
from reactbench_runner.inputs.large import LargeInput
from reactbench_runner.inputs.reactions import read_reactions
from reactbench_runner.large import run_large
from reactbench_runner.storage.shards import Known, index, pieces
from workflows.stage_names import Stage

#: Searches between two looks at clock and memory.
STEP = 1000

#: Seconds from a result to a kill, at most.
LONGEST = 2.0

STRUCTURES = Path(__file__).parents[1] / "examples" / "xyz" / "claisen.xyz"


def write_table(folder: Path, searches: int) -> Path:
    """A table of so many reactions, all of the same structures."""
    shutil.copy(STRUCTURES, folder / "structures.xyz")
    table = folder / "reactions.csv"
    with table.open("w", encoding="utf-8") as file:
        file.write("id,reaction\n")
        file.writelines(f"r{number},structures.xyz\n" for number in range(searches))
    return table


def memory() -> float:
    """What this process has in memory, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Clock:
    """Time and memory whenever `STEP` more have finished."""

    def __init__(self) -> None:
        self.start, self.cpu_at_start = time.perf_counter(), time.process_time()
        self.last, self.cpu_at_last = self.start, self.cpu_at_start
        self.done = 0
        self.steps: list[str] = []

    def __call__(self, row: object) -> None:
        """One more has finished."""
        self.done += 1
        if self.done % STEP == 0:
            now, cpu = time.perf_counter(), time.process_time()
            self.steps.append(_each(now - self.last, cpu - self.cpu_at_last, STEP))
            self.last, self.cpu_at_last = now, cpu
            if self.done % (10 * STEP) == 0 or self.done <= 2 * STEP:
                print(f"{self.done:9d} {self.steps[-1]} {memory():8.0f} MB", flush=True)

    def report(self, what: str) -> None:
        """In one line."""
        seconds = time.perf_counter() - self.start
        cpu = time.process_time() - self.cpu_at_start
        each = _each(seconds, cpu, max(self.done, 1))
        print(f"{what}: {self.done} in {seconds:.1f} s, {each} each, {memory():.0f} MB")
        if len(self.steps) > 1:
            print(f"first {STEP}: {self.steps[0]}, last {STEP}: {self.steps[-1]}", flush=True)


def _each(seconds: float, cpu: float, number: int) -> str:
    return f"{seconds / number * 1e3:.2f} ms ({cpu / number * 1e3:.2f} ms of CPU)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser("benchmarks.scale", description=__doc__)
    parser.add_argument("--searches", type=int, default=100_000, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--storage", choices=["shards", "folders"], default="shards")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    parser.add_argument("--run", type=Path, metavar="OUT", help=argparse.SUPPRESS)
    parser.add_argument("--dask", metavar="tcp://HOST:PORT", help="use this Dask cluster instead")
    options = parser.parse_args(arguments)
    if options.run:  # what is killed
        run(options.run.parent / "reactions.csv", options.run, options)
        return 0
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        if options.kills:
            wrong = kill_and_resume(Path(folder), options)
            print(*wrong, sep="\n")
            return 1 if wrong else 0
        table = write_table(Path(folder), options.searches)
        for what in ("search", "resume"):
            measure(what, table, Path(folder) / "out", options)
        files = [file for file in (Path(folder) / "out").rglob("*") if file.is_file()]
        print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")
    return 0


def measure(what: str, table: Path, out: Path, options: argparse.Namespace) -> None:
    """Run it once, and print what it took."""
    clock = run(table, out, options)
    clock.report(what)


def run(table: Path, out: Path, options: argparse.Namespace) -> Clock:
    """Run it once; how long that took."""
    start = time.perf_counter()
    folders = options.storage == "folders"
    read = read_reactions(table) if folders else []
    listed = None if folders else LargeInput(table)
    clock = Clock()
    print(f"input read in {clock.start - start:.2f} s")
    common: dict[str, Any] = {
        "workers": options.workers,
        "dask_address": options.dask,
        "search": stand_in,
        "on_finished": clock,
    }
    if listed is None:
        run_batch(read, out, "gfn2-xtb", **common)
    else:
        run_large(listed, out, "gfn2-xtb", **common)
    return clock


def kill_and_resume(folder: Path, options: argparse.Namespace) -> list[str]:
    """What is wrong after so many kills, and the runs between them to the end."""
    write_table(folder, options.searches)
    out, chance = folder / "out", random.Random(0)
    command = [sys.executable, "-m", "benchmarks.scale", "--run", str(out)]
    command += ["--workers", str(options.workers)]
    known: dict[str, Known] = {}
    wrong: list[str] = []
    done: Counter[str] = Counter()
    code: int | None = None
    while code != 0:
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while process.poll() is None and done.total() < options.kills:
                kind = chance.choice(("command", "worker", "group"))
                _wait_for_more(process, out)
                if killed(process, kind, out, chance.uniform(0, LONGEST), chance):
                    done[kind] += 1
            code = process.wait()
            wait_until_gone(process.pid)
        now = index(out)
        wrong += [
            f"{name} is lost, or stored anew"
            for name, before in known.items()
            if now.get(name) != before and before.stage != Stage.WORKER
        ]
        known = now
        print(f"{done.total()} kills ({dict(done)}), {len(known)} finished", flush=True)
    rows = [row for piece in pieces(out, ["id", "stage"]) for row in piece]
    again = {row["id"] for row in rows if row["stage"] == Stage.WORKER}  # rightly once more
    stored = Counter(row["id"] for row in rows)
    wrong += [
        f"{name} is stored twice" for name in stored if stored[name] > 1 and name not in again
    ]
    if len(stored) != options.searches:
        wrong.append(f"{len(stored)} of {options.searches} are stored")
    return wrong


def _wait_for_more(process: subprocess.Popen[bytes], out: Path) -> None:
    """Until something more is stored, so that it is no start that is killed."""

    def size() -> int:
        with contextlib.suppress(FileNotFoundError):
            return sum(file.stat().st_size for file in out.glob("results.parquet/*"))
        return 0

    before = size()
    while size() == before and process.poll() is None:
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
