"""What one device does with a network: searches per hour, batches, Hessians, memory.

Run by `python -m benchmarks.throughput --device cuda --calculator horm:horm-mini`; with
`--device cpu-batches` the same code runs on a processor. It takes less than eight minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from ase.io import read

from benchmarks.networks import alkane, environment, rattled, saddle
from horm_calc import HormCalculator
from horm_calc.errors import HormError
from reactbench_runner.calculators import HORM
from workflows import Label, Reaction, search_many

#: Searches in flight that are tried, and seconds for each.
IN_FLIGHT, PATIENCE = (1, 16, 64, 256), 75.0

#: Seconds for the largest molecule, and how much longer each chain is than the last.
LARGEST_PATIENCE, GROWTH = 60.0, 1.5


class Timed(HormCalculator):
    """A network that notes its batches and how long it worked."""

    def __init__(self, checkpoint: str, device: str) -> None:
        super().__init__(checkpoint, device=device)
        self.busy, self.sizes = 0.0, list[int]()

    def _evaluate(self, molecules: Sequence[Atoms], *arguments: Any) -> list[dict[str, Any]]:
        start = time.perf_counter()
        found = super()._evaluate(molecules, *arguments)
        self.busy += time.perf_counter() - start  # its results are on the processor by then
        self.sizes.append(len(molecules))
        return found


def main(options: argparse.Namespace) -> None:
    """Measure and print, one line per figure; JSON into `options.json`."""
    device = "cpu" if options.device.startswith("cpu") else options.device
    checkpoint = options.calculator.removeprefix(HORM)
    figures: dict[str, Any] = {"environment": environment(device, torch.get_num_threads())}
    names = (options.data / "dev.txt").read_text().split()[: options.first]
    reactions = [Reaction(Path(name).stem, *read(options.data / name, ":")) for name in names]
    figures["hessians"] = _hessians(checkpoint, device)
    print(figures["hessians"], flush=True)
    needed: list[int] = []
    for in_flight in IN_FLIGHT:
        found = _searches(reactions, checkpoint, device, in_flight, needed)
        figures[f"{in_flight} in flight"] = found
        print(f"{in_flight} in flight: {figures[f'{in_flight} in flight']}", flush=True)
    figures["largest"] = _largest(checkpoint, device)
    print(figures["largest"], flush=True)
    figures["peak GiB"] = _peak_memory(device)
    print(figures["peak GiB"], flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def _searches(
    reactions: Sequence[Reaction],
    checkpoint: str,
    device: str,
    in_flight: int,
    needed: list[int],
) -> dict[str, float]:
    """Searches per hour from evaluations per second, as many searches are under way at the end.

    needed: evaluations of each search that has finished, of all numbers in flight.
    """
    calculator = Timed(checkpoint, device)
    calculator.evaluate([reactions[0].reactant])  # what the first call loads
    calculator.busy, calculator.sizes = 0.0, []
    start, finished, intended = time.perf_counter(), 0, 0
    searches = search_many(itertools.cycle(reactions), calculator, in_flight=in_flight)
    for result in searches:
        finished += 1
        intended += result.verdict.label is Label.INTENDED
        calls = [cost.evaluations for cost in result.costs.values()]
        needed.append(sum(one.gradients + one.hessians for one in calls))
        if time.perf_counter() - start > PATIENCE:
            break
    seconds = time.perf_counter() - start
    searches.close()  # type: ignore[attr-defined]
    sizes = calculator.sizes
    rate = sum(sizes) / seconds
    return {
        "evaluations per second": round(rate, 1),
        "searches per hour": round(3600 * rate * len(needed) / sum(needed)),
        "finished": finished,
        "intended": intended,
        "mean batch": round(sum(sizes) / len(sizes), 1),
        "largest batch": max(sizes),
        "idle share": round(1 - calculator.busy / seconds, 3),
    }


def _hessians(checkpoint: str, device: str) -> dict[str, float]:
    """Seconds for the Hessian of 14 atoms: at once, row by row, and of 64 molecules."""
    calculator, atoms = HormCalculator(checkpoint, device=device), saddle(14)
    many = rattled(atoms, 64)
    rows = list(range(3 * len(atoms)))
    return {
        "one": _seconds(lambda: calculator.evaluate([atoms], ["hessian"])),
        "one, row by row": _seconds(lambda: calculator.potential.hessian_rows(atoms, rows)),
        "64": _seconds(lambda: calculator.evaluate(many, ["hessian"])),
    }


def _seconds(call: Callable[[], object]) -> float:
    """The fastest of some calls, after a first one."""
    call()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(min(times), 5)


def _largest(checkpoint: str, device: str) -> dict[str, float]:
    """Atoms of the longest alkane whose Hessian fits into memory and into the time."""
    calculator, carbons, atoms = HormCalculator(checkpoint, device=device), 8, 0
    start = time.perf_counter()
    while time.perf_counter() - start < LARGEST_PATIENCE:
        chain = alkane(carbons)
        try:
            calculator.get_hessian(chain)
        except (HormError, RuntimeError, MemoryError):
            break
        atoms, carbons = len(chain), round(GROWTH * carbons)
    return {"atoms with a Hessian": atoms, "seconds": round(time.perf_counter() - start, 1)}


def _peak_memory(device: str) -> float:
    """GiB, of the device, or of the process on a processor."""
    if device.startswith("cuda"):
        return float(round(torch.cuda.max_memory_allocated() / 2**30, 2))
    return float(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2))
