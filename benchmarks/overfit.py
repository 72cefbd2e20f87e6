"""Whether networks can learn Hessians at all: a few frames, again and again.

    python -m benchmarks.overfit --json runs/overfit.json

Takes the smallest DFT frames that HORM published as a sample, trains each network on some of them
in every step, with the losses of `horm-train` and Muon, and prints the mean absolute error of all
their Hessians (eV/Å²) on the way. Networks are small: 5 to 20 minutes each on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.networks import environment
from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frame
from horm_calc.derivatives.hessian import hessians
from horm_calc.models.contract import Network
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.references import ATOMIC_ENERGIES
from horm_calc.training import losses, schedule
from horm_calc.training.batches import BatchOptions, batch_of
from horm_calc.training.optimizers import optimizer_of
from horm_calc.training.settings import OptimizerSettings

DATA = Path(__file__).parents[2] / "shared" / "data" / "horm_sample_100.lmdb"
LEFTNET = {"num_layers": 3, "hidden_channels": 64, "num_radial": 32}
SMALL: dict[str, dict[str, Any]] = {
    "LEFTNet": LEFTNET,
    "LEFTNet-df": LEFTNET,
    "AlphaNet": {"num_layers": 2, "hidden_channels": 64, "hidden_channels_chi": 32},
    "EquiformerV2": {
        **{"num_layers": 2, "sphere_channels": 32, "lmax": 3, "mmax": 2, "num_heads": 4},
        **{"attn_alpha_channels": 16, "attn_value_channels": 8, "attn_hidden_channels": 32},
        **{"ffn_hidden_channels": 64, "edge_channels": 32, "num_gaussians": 64},
    },
    "MomentNet": {},
}
#: As HORM, but ten times the weight on second derivatives, which are what is asked here.
FORCES, ENERGY, SECOND = 100.0, 4.0, 40.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks and print the table."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    frames = smallest(options.data, options.frames)
    results = [overfit(name, frames, options) for name in options.networks]
    Console().print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment("cpu", options.threads)
        options.json.write_text(json.dumps({"environment": about, "networks": results}, indent=1))


def smallest(data: Path, count: int) -> list[Frame]:
    """The `count` frames with fewest atoms."""
    frames = open_frames(data)
    return [frames[int(i)] for i in np.argsort(frames.sizes, kind="stable")[:count]]


def overfit(name: str, frames: list[Frame], options: argparse.Namespace) -> dict[str, Any]:
    """One network's Hessian errors, from before the first step to after the last."""
    torch.manual_seed(1)
    network = network_class(name).fresh(SMALL[name])
    # Direct forces have a second row each, as in HORM's training.
    making = BatchOptions(ATOMIC_ENERGIES, "rows", 1 if network.conservative else 2)
    settings = OptimizerSettings(name="muon", learning_rate=options.learning_rate)
    optimizer, history = optimizer_of(network, settings), schedule.NormHistory()
    curve = [(0, hessian_error(network, frames))]
    rng, started = np.random.default_rng(1), time.perf_counter()
    for step in range(options.steps):
        rate = schedule.learning_rate(step, options.steps, 1, settings)
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * rate
        chosen = rng.choice(len(frames), min(options.batch, len(frames)), replace=False)
        [part] = batch_of([frames[i] for i in chosen], making, rng).parts
        found = losses.predict(network, part, second=True)
        loss = (
            ENERGY * losses.energy_errors(found, part, "l1").mean()
            + FORCES * losses.force_errors(found, part, "l1").mean()
            + SECOND * losses.product_errors(found, part, "norm").mean()
        )
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), history.limit())
        history.add(float(norm))
        optimizer.step()
        if (step + 1) % max(1, options.steps // 6) == 0:
            curve.append((step + 1, hessian_error(network, frames)))
            print(f"{name}: step {step + 1}, Hessian error {curve[-1][1]:.3f} eV/Å²", flush=True)
    return {"network": name, "curve": curve, "seconds": time.perf_counter() - started}


def hessian_error(network: Network, frames: list[Frame]) -> float:
    """Mean absolute error of all elements, eV/Å², each frame weighing the same."""
    making = BatchOptions(ATOMIC_ENERGIES, "none", 1)
    [part] = batch_of(frames, making, np.random.default_rng(0)).parts
    network.requires_grad_(False)
    found = hessians(network, part.molecules)
    network.requires_grad_(True)
    errors = [
        np.abs(matrix.numpy() - frame.hessian).mean()
        for matrix, frame in zip(found, frames, strict=True)
    ]
    return float(np.mean(errors))


def table(results: list[dict[str, Any]]) -> Table:
    """Hessian errors at the start and along the training."""
    shown = Table(title="mean absolute error of Hessian elements, eV/Å²")
    for heading in ("network", "at first", "along the training", "at last", "last / first", "min"):
        shown.add_column(heading)
    for result in results:
        errors = [error for _, error in result["curve"]]
        shown.add_row(
            result["network"],
            f"{errors[0]:.2f}",
            " ".join(f"{error:.2f}" for error in errors[1:-1]),
            f"{errors[-1]:.3f}",
            f"{errors[-1] / errors[0]:.3f}",
            f"{result['seconds'] / 60:.1f}",
        )
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.overfit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="frames with Hessians")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--batch", type=int, default=4, help="frames a step")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    main()
