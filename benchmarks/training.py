"""What second derivatives cost in training: time and memory of a step, and loading of data.

    python -m benchmarks.training --json runs/training.json

For each network one batch of frames with Hessians, and a step (forward, backward, gradients of
the weights) on energies and forces alone, with one row, with one random projection, and with
the whole Hessian. The kinds take turns, and the fastest of each counts; memory is read in a
process of its own for each.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from benchmarks.networks import environment
from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frames, chosen
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.references import ELEMENTS
from horm_calc.training import losses
from horm_calc.training.batches import Batch, BatchOptions, Steps
from horm_calc.training.probes import KINDS

DATA = Path(__file__).parents[2] / "shared" / "data" / "xtb_dev.h5"
#: Steps of which the fastest counts.
REPEATS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements and print their table."""
    options = _parser().parse_args(arguments)
    figures = {name: costs(name, options) for name in options.networks}
    loading = loading_speed(options)
    console = Console()
    console.print(table(figures))
    console.print(
        f"loading: {loading['alone']:.0f} frames/s without a network, "
        f"{loading['with_network']:.0f} with {loading['network']}"
    )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment("cpu", options.threads)
        content = {"environment": about, "steps": figures, "loading": loading}
        options.json.write_text(json.dumps(content, indent=1))


def costs(name: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds and bytes of a step with each kind of probing vectors."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = network_class(name).fresh({})
    frames = with_second(options.data)
    # The same frames in the same order, whatever is made of them.
    probes = ["none", *options.probes]
    batches = {probe: steps(frames, options.frames, probe)[0] for probe in probes}
    seconds = dict.fromkeys(probes, math.inf)
    for repeat in range(REPEATS):
        for probe, batch in batches.items():
            if probe == "full" and repeat:
                continue  # takes as long as all the others together, many times
            started = time.perf_counter()
            step(network, batch)
            seconds[probe] = min(seconds[probe], time.perf_counter() - started)
    context = multiprocessing.get_context("spawn")
    found = {}
    for probe in probes:
        with context.Pool(1) as pool:
            memory = pool.apply(peak, (name, batches[probe]))
        found[probe] = {"seconds": seconds[probe], "bytes": memory}
    return found


def peak(name: str, batch: Batch) -> float:
    """How far a step raises the memory of this process, bytes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = network_class(name).fresh({})
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest memory so far
    before = _memory("VmRSS")
    step(network, batch)
    return _memory("VmHWM") - before


def _memory(which: str) -> float:
    """Bytes that Linux tells of this process: VmRSS now, VmHWM at the highest."""
    [line] = re.findall(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024.0 * int(line)


def step(network: Any, batch: Batch) -> None:
    """The gradients of the weights for the loss of one batch."""
    network.zero_grad()
    terms = []
    for part in batch.parts:
        found = losses.predict(network, part, second=True)
        terms.append(losses.energy_errors(found, part, "l1").mean())
        terms.append(losses.force_errors(found, part, "l1").mean())
        if found.products is not None:
            terms.append(losses.product_errors(found, part, "norm").mean())
    torch.stack(terms).sum().backward()


def with_second(data: Path) -> Frames:
    """The frames that have Hessians."""
    frames = open_frames(data)
    return chosen(frames, np.flatnonzero(frames.has_second_derivatives))


def steps(frames: Frames, size: int, probe: str) -> Steps:
    """Batches of `size` frames with one probing vector each."""
    references = dict.fromkeys(ELEMENTS, 0.0)  # of no weight in what a step costs
    return Steps(frames, size, BatchOptions(references, probe, 1), seed=1)


def loading_speed(options: argparse.Namespace) -> dict[str, Any]:
    """Frames a second from file to batch, with a projection, and with the network behind it."""
    torch.set_num_threads(options.threads)
    name = "MomentNet"
    source = steps(open_frames(options.data), options.frames, "projections")
    network = network_class(name).fresh({})
    speeds = []
    for work, count in ((lambda _: None, 100), (lambda batch: step(network, batch), 10)):
        started = time.perf_counter()
        for batch in DataLoader(source, batch_size=None, sampler=range(count)):
            work(batch)
        speeds.append(count * options.frames / (time.perf_counter() - started))
    return {"network": name, "alone": speeds[0], "with_network": speeds[1]}


def table(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Times and memory, each also as a multiple of the step on energies and forces."""
    shown = Table("network", "step", "ms", "× E-F", "MB", "× E-F", title="one training step")
    for name, found in figures.items():
        plain = found["none"]
        for probe, cost in found.items():
            shown.add_row(
                name,
                "energies and forces" if probe == "none" else f"with {probe}",
                f"{1e3 * cost['seconds']:.0f}",
                f"{cost['seconds'] / plain['seconds']:.2f}",
                f"{cost['bytes'] / 1e6:.0f}",
                f"{cost['bytes'] / plain['bytes']:.2f}",
            )
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="frames with Hessians")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["MomentNet"])
    parser.add_argument("--frames", type=int, default=16, help="frames a step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--probes",
        nargs="+",
        choices=KINDS,
        default=["rows", "projections"],
        help="'full' takes the memory of as many graphs as there are coordinates",
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    main()
