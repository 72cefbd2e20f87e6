"""What energies, forces and Hessians of each network cost, beside the published code.

    python -m benchmarks.hessian --json runs/hessian.json

measures, for molecules of 8, 14 and 19 atoms, energy and forces, the Hessian as we compute it,
and the Hessian row by row as the published code computes it; then many molecules in one call,
and memory. On two cores it takes about three minutes. Each network runs in a process of its
own, because the peak of a process's memory never falls.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from ase import Atoms
from rich.console import Console
from rich.table import Table

from benchmarks.networks import (
    Source,
    add_options,
    alkane,
    batch,
    environment,
    rattled,
    saddle,
    sizes,
    sources,
)
from horm_calc.derivatives.hessian import energies_and_forces, hessian_rows, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network
from horm_calc.potential import DTYPES

#: Seconds for energy and forces, and for a Hessian, of the code that was published with the
#: weights, by network and atoms.
PUBLISHED: dict[str, dict[int, tuple[float, float]]] = {
    "LEFTNet": {8: (0.046, 1.2), 14: (0.119, 5.2), 19: (0.145, 9.3)},
    "LEFTNet-df": {8: (0.024, 0.43), 14: (0.042, 1.7), 19: (0.063, 3.5)},
    "AlphaNet": {8: (0.034, 0.73), 14: (0.051, 2.0), 19: (0.070, 3.8)},
    "EquiformerV2": {8: (0.589, 1.9), 14: (1.40, 6.7), 19: (2.24, 14.7)},
}
PUBLISHED_CONDITIONS = "two cores, float32, 2048³ matrix product at 190–400 GFLOP/s beside it"

REPETITIONS = 15  # at most
#: The search for the largest molecule: first chain, growth, and the longest Hessian it waits for.
FIRST_CARBONS, GROWTH, PATIENCE = 16, 1.5, 60.0
GEMM_SIZE = 2048


@dataclass(frozen=True)
class Task:
    """What one process measures. budget: seconds that repetitions of one measurement may take."""

    source: Source
    atoms: tuple[int, ...]
    molecules: int
    device: str
    dtype: str
    threads: int
    budget: float

    def seconds(self, run: Callable[[], object], *, warm_up: bool = True) -> float:
        """Median of as many runs as the budget allows, one at least."""
        if warm_up:
            run()
        taken: list[float] = []
        while not taken or (sum(taken) + taken[-1] < self.budget and len(taken) < REPETITIONS):
            self.synchronise()
            start = time.perf_counter()
            run()
            self.synchronise()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def synchronise(self) -> None:
        """Wait for what a GPU still has to do."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


@dataclass(frozen=True)
class Timing:
    """Of one molecule, in seconds. peak_bytes: memory beyond that of the idle network, of
    everything up to and including the Hessian of this size."""

    atoms: int
    energy_forces_s: float
    hessian_s: float
    rows_s: float
    rows_over_hessian: float
    hessian_over_energy_forces: float
    peak_bytes: int


@dataclass(frozen=True)
class Many:
    """Seconds a molecule, `molecules` of them in one call, and one call each."""

    molecules: int
    atoms: int
    energy_forces_together_s: float
    energy_forces_single_s: float
    hessian_together_s: float
    hessian_single_s: float


@dataclass(frozen=True)
class Largest:
    """The largest chain whose Hessian was computed. limit: what ended the search."""

    atoms: int
    seconds: float
    limit: str


@dataclass(frozen=True)
class Measured:
    """All figures of one network; gemm_gflops is measured before and after them."""

    network: str
    weights: str
    gemm_gflops: tuple[float, float]
    single: list[Timing]
    many: Many
    largest: Largest | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    options = _parser().parse_args(arguments)
    molecules = options.molecules or (64 if options.device.startswith("cuda") else 32)
    tasks = [
        Task(
            source,
            tuple(sorted(options.atoms)),
            molecules,
            options.device,
            options.dtype,
            options.threads,
            options.seconds,
        )
        for source in sources(options)
    ]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        results = list(pool.map(measure, tasks))
    console = Console()
    for table in (single_table(results), many_table(results)):
        console.print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment(options.device, options.threads) | {"dtype": options.dtype}
        options.json.write_text(json.dumps(as_json(results, about), indent=1))


def measure(task: Task) -> Measured:
    """All figures of one network, in this process."""
    torch.set_num_threads(task.threads)
    before = gemm(task)
    network = task.source.build(DTYPES[task.dtype], task.device)
    idle = _peak_bytes(task.device)
    partly = [_without_rows(network, atoms, idle, task) for atoms in task.atoms]
    # Row by row comes last, because it takes more memory and the peak never falls.
    single = [
        _with_rows(network, atoms, *figures, task)
        for atoms, figures in zip(task.atoms, partly, strict=True)
    ]
    many = _many(network, task)
    largest = _largest(network) if task.device.startswith("cuda") else None
    gflops = (before, gemm(task))
    return Measured(network.name, task.source.label, gflops, single, many, largest)


def gemm(task: Task) -> float:
    """GFLOP/s of a product of two square float32 matrices: what the machine gives right now."""
    torch.set_float32_matmul_precision("highest")
    matrix = torch.rand(GEMM_SIZE, GEMM_SIZE, device=task.device)
    return 2 * GEMM_SIZE**3 / task.seconds(lambda: matrix @ matrix) / 1e9


def _without_rows(network: Network, atoms: int, idle: int, task: Task) -> tuple[float, float, int]:
    """Seconds of energy and forces, of a Hessian, and bytes."""
    molecule = batch([saddle(atoms)], network)
    _say(f"{network.name}, {atoms} atoms: energy, forces, Hessian")
    first = task.seconds(partial(energies_and_forces, network, molecule))
    second = task.seconds(partial(hessians, network, molecule))
    return first, second, _peak_bytes(task.device) - idle


def _with_rows(
    network: Network, atoms: int, first: float, second: float, peak: int, task: Task
) -> Timing:
    molecule = batch([saddle(atoms)], network)
    rows = torch.arange(3 * atoms)
    _say(f"{network.name}, {atoms} atoms: Hessian row by row")
    by_rows = task.seconds(partial(hessian_rows, network, molecule, rows), warm_up=False)
    return Timing(atoms, first, second, by_rows, by_rows / second, second / first, peak)


def _many(network: Network, task: Task) -> Many:
    """Of the smallest size."""
    atoms, count = task.atoms[0], task.molecules
    molecules = rattled(saddle(atoms), count)
    together = batch(molecules, network)
    _say(f"{network.name}, {count} molecules of {atoms} atoms")
    figures = []
    for compute in (energies_and_forces, hessians):
        # On a CPU Hessians take long, and a first call takes no longer than the others.
        warm_up = task.device.startswith("cuda") or compute is energies_and_forces
        whole = task.seconds(partial(compute, network, together), warm_up=warm_up)
        figures += [whole / count, _one_by_one(partial(compute, network), network, molecules, task)]
    return Many(count, atoms, *figures)


def _one_by_one(
    compute: Callable[[Molecules], object],
    network: Network,
    molecules: Sequence[Atoms],
    task: Task,
) -> float:
    """Mean seconds a molecule, over as many of them as the budget allows."""
    single = [batch([molecule], network) for molecule in molecules]
    compute(single[0])
    task.synchronise()
    start = time.perf_counter()
    done = 0
    for done, molecule in enumerate(single, 1):  # noqa: B007
        compute(molecule)
        task.synchronise()
        if time.perf_counter() - start > task.budget:
            break
    return (time.perf_counter() - start) / done


def _largest(network: Network) -> Largest:
    """Chains of carbon and hydrogen, each half as long again, until memory or patience ends."""
    carbons, fitting, spent = FIRST_CARBONS, 0, 0.0
    while spent < PATIENCE:
        molecule = batch([alkane(carbons)], network)
        _say(f"{network.name}, chain of {molecule.sizes[0]} atoms")
        start = time.perf_counter()
        try:
            hessians(network, molecule)
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            return Largest(fitting, spent, f"no memory for {molecule.sizes[0]} atoms")
        fitting, spent = molecule.sizes[0], time.perf_counter() - start
        carbons = int(GROWTH * carbons)
    return Largest(fitting, spent, f"more than {PATIENCE:.0f} s")


def _peak_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _say(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)


def single_table(results: Sequence[Measured]) -> Table:
    """One row for each network and size."""
    caption = f"memory: up to and including the Hessian; published code: {PUBLISHED_CONDITIONS}"
    headers = ("atoms", "E+F\nms", "Hessian\ns", "by rows\ns", "rows/\nHessian", "Hessian/\nE+F")
    table = _table("one molecule", caption, *headers, "memory\nMB", "published\nE+F", "\nHessian")
    for result in results:
        for t in result.single:
            published = PUBLISHED.get(result.network, {}).get(t.atoms)
            table.add_row(
                result.network,
                str(t.atoms),
                f"{1e3 * t.energy_forces_s:.0f}",
                f"{t.hessian_s:.2f}",
                f"{t.rows_s:.2f}",
                f"{t.rows_over_hessian:.1f}",
                f"{t.hessian_over_energy_forces:.1f}",
                f"{t.peak_bytes / 1e6:.0f}",
                *((f"{1e3 * published[0]:.0f}", f"{published[1]:.2f}") if published else ()),
            )
    return table


def many_table(results: Sequence[Measured]) -> Table:
    """One row for each network."""
    weights = ", ".join(sorted({result.weights for result in results}))
    caption = f"GFLOP/s: product of {GEMM_SIZE}² float32 matrices; weights: {weights}"
    headers = ("mole-\ncules", "of\natoms", "E+F\nms", "one by\none", "Hessian\nms", "one by\none")
    title = "many molecules: time of each, in one call and one by one"
    table = _table(title, caption, *headers, "GFLOP/s", "largest")
    for result in results:
        m, largest = result.many, result.largest
        times = (
            m.energy_forces_together_s,
            m.energy_forces_single_s,
            m.hessian_together_s,
            m.hessian_single_s,
        )
        table.add_row(
            result.network,
            str(m.molecules),
            str(m.atoms),
            *(f"{1e3 * value:.3g}" for value in times),
            "–".join(f"{value:.0f}" for value in sorted(result.gemm_gflops)),
            f"{largest.atoms} atoms, {largest.seconds:.1f} s\n{largest.limit}" if largest else "",
        )
    return table


def _table(title: str, caption: str, *headers: str) -> Table:
    table = Table(title=title, caption=caption, box=None, padding=(0, 1, 0, 0))
    table.add_column("network", no_wrap=True)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def as_json(results: Sequence[Measured], about: dict[str, str | int]) -> dict[str, Any]:
    """What the JSON file holds."""
    published = [
        {"network": network, "atoms": atoms, "energy_forces_s": first, "hessian_s": second}
        for network, rows in PUBLISHED.items()
        for atoms, (first, second) in rows.items()
    ]
    return {
        "environment": about,
        "networks": [asdict(result) for result in results],
        "published": {"conditions": PUBLISHED_CONDITIONS, "figures": published},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--atoms", nargs="+", type=int, choices=sizes(), default=sizes())
    parser.add_argument("--molecules", type=int, help="in one call; default: 32, 64 on a GPU")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="that repetitions of a measurement may take"
    )
    return parser


if __name__ == "__main__":
    main()
