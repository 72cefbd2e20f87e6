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

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.execution.workers import RunSpec, Task
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
    if int(task.id.removeprefix("r")) % 100 == 99:
        verdict = Verdict(Label.FAILED, "a reason that a stand-in has")
        return SearchResult(task, verdict)
    return SearchResult(task, Verdict(Label.INTENDED), **_parts(task.reactant))


@functools.cache
def _hessian(atoms: int) -> np.ndarray:
    half = np.random.default_rng(0).normal(0, 5, (3 * atoms, 3 * atoms))
    return half + half.T


_kept: dict[str, object] = {}


def _parts(atoms: Atoms) -> dict[str, object]:
    """The points of a search, the same ones for every reaction."""
    if _kept:
        return _kept
    hessian = _hessian(len(atoms))
    forces = np.random.default_rng(1).normal(0, 1e-3, (len(atoms), 3))
    end = Minimum(atoms, energy=-100.0, forces=forces, method="rfo", converged=True)
    saddle = Saddle(
        atoms,
        energy=-99.0,
        forces=forces,
        hessian=hessian,
        modes=normal_modes(atoms, hessian),
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
    _kept.update(
        reactant=end, product=end, path=path, saddle=saddle, irc=irc, irc_ends=(end, end),
        log="a line that a stage has printed\n" * 500,
    )  # fmt: skip
    return _kept


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


def main(arguments=None):
    parser = argparse.ArgumentParser("benchmarks.scale")
    parser.add_argument("--searches", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    from reactbench_runner.batch import run_batch
    from reactbench_runner.inputs.reactions import read_reactions
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        table = write_table(Path(folder), options.searches)
        for what in ("search", "resume"):
            start = time.perf_counter()
            reactions = read_reactions(table)
            print(f"read in {time.perf_counter()-start:.2f} s, {memory():.0f} MB")
            clock = Clock()
            run_batch(reactions, Path(folder) / "out", "gfn2-xtb", workers=options.workers, search=stand_in, on_finished=clock)
            clock.report(what)


if __name__ == "__main__":
    sys.exit(main())
