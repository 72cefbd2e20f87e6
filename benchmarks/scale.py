"""What the runner itself takes for each of many reactions, with a search that answers at once.

    python -m benchmarks.scale --searches 100000

The table, the workers, the store and the summary are the real ones. The search returns a result of
usual size (14 atoms, five stationary points, a Hessian, an IRC of 60 points), so that all time is
the runner's. Printed are ms for each reaction and memory over time, and the first thousand against
the last. Then the same command is run once more, which finds everything finished.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.batch import run_batch
from reactbench_runner.execution.workers import RunSpec, Task
from reactbench_runner.inputs.large import LargeInput
from reactbench_runner.inputs.reactions import read_reactions
from reactbench_runner.large import run_large
from workflows.records import (
    IRC,
    Label,
    Minimum,
    Reaction,
    ReactionPath,
    Saddle,
    SearchResult,
    Verdict,
)

#: Searches between two looks at clock and memory.
STEP = 1000

STRUCTURES = Path(__file__).parents[1] / "examples" / "xyz" / "claisen.xyz"


def stand_in(task: Task, spec: RunSpec) -> SearchResult:
    """A result of usual size, of no search; one in a hundred has failed."""
    assert isinstance(task, Reaction)
    if _number(task) % 100 == 99:
        verdict = Verdict(Label.FAILED, "a reason that a stand-in has")
        return SearchResult(task, verdict)
    return SearchResult(task, Verdict(Label.INTENDED), **_parts(task))


def _parts(task: Reaction) -> dict[str, Any]:
    """The points of a search; no two reactions have the same numbers."""
    atoms, known = task.reactant, _same_for_all(len(task.reactant))
    factor = 1 + 1e-6 * _number(task)
    hessian, forces = factor * known["hessian"], factor * known["forces"]
    end = Minimum(atoms, energy=-100.0, forces=forces, method="rfo", converged=True)
    saddle = Saddle(
        atoms,
        energy=-99.0,
        forces=forces,
        hessian=hessian,
        modes=known["modes"],
        method="rsirfo",
        converged=True,
    )
    path = ReactionPath((atoms,) * 11, np.zeros(11), method="geodesic", converged=True)
    irc = IRC(
        (atoms,) * 60,
        np.zeros(60),
        saddle_index=30,
        arrived=(True, True),
        method="lqa",
        converged=True,
    )
    return {
        "reactant": end, "product": end, "path": path, "saddle": saddle, "irc": irc,
        "irc_ends": (end, end), "log": "a line that a stage has printed\n" * 500,
    }  # fmt: skip


def _number(task: Reaction) -> int:
    return int(task.id.removeprefix("r"))


@functools.cache
def _same_for_all(atoms: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    hessian = random.normal(0, 5, (3 * atoms, 3 * atoms))
    hessian += hessian.T
    molecule = Atoms("H" * atoms, random.normal(0, 3, (atoms, 3)))
    return {
        "hessian": hessian,
        "forces": random.normal(0, 1e-3, (atoms, 3)),
        "modes": normal_modes(molecule, hessian),
    }


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
        self.start = self.last = time.perf_counter()
        self.cpu = time.process_time()
        self.done = 0
        self.steps: list[float] = []

    def __call__(self, row: object) -> None:
        """One more has finished."""
        self.done += 1
        if self.done % STEP == 0:
            now = time.perf_counter()
            self.steps.append((now - self.last) / STEP * 1e3)
            self.last = now
            if self.done % (10 * STEP) == 0 or self.done <= 2 * STEP:
                print(f"{self.done:9d} {self.steps[-1]:8.2f} ms {memory():8.0f} MB", flush=True)

    def report(self, what: str) -> None:
        """In one line."""
        seconds = time.perf_counter() - self.start
        cpu = time.process_time() - self.cpu
        line = f"{what}: {self.done} in {seconds:.1f} s, {seconds / max(self.done, 1) * 1e3:.2f} ms"
        print(f"{line} each ({cpu / max(self.done, 1) * 1e3:.2f} ms of CPU), {memory():.0f} MB")
        if len(self.steps) > 1:
            print(f"first {STEP}: {self.steps[0]:.2f} ms, last {STEP}: {self.steps[-1]:.2f} ms")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser("benchmarks.scale", description=__doc__)
    parser.add_argument("--searches", type=int, default=100_000, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N")
    parser.add_argument("--storage", choices=["shards", "folders"], default="shards")
    parser.add_argument("--dask", metavar="tcp://HOST:PORT", help="use this Dask cluster instead")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        table = write_table(Path(folder), options.searches)
        for what in ("search", "resume"):
            measure(what, table, Path(folder) / "out", options)
        files = [file for file in (Path(folder) / "out").rglob("*") if file.is_file()]
        print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")
    return 0


def measure(what: str, table: Path, out: Path, options: argparse.Namespace) -> None:
    """Run it once, and print what it took."""
    start = time.perf_counter()
    clock = Clock()
    common: dict[str, Any] = {
        "workers": options.workers,
        "dask_address": options.dask,
        "search": stand_in,
        "on_finished": clock,
    }
    if options.storage == "folders":
        read = read_reactions(table)
        print(f"table and structures read in {time.perf_counter() - start:.2f} s")
        run_batch(read, out, "gfn2-xtb", **common)
    else:
        listed = LargeInput(table)
        print(f"table read in {time.perf_counter() - start:.2f} s")
        run_large(listed, out, "gfn2-xtb", **common)
    clock.report(what)


if __name__ == "__main__":
    sys.exit(main())
