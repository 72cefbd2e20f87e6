"""What second derivatives give at equal time: runs of `horm-train` side by side.

    python -m benchmarks.ablation --minutes 10 --json runs/ablation.json

Energies and forces alone, with a random row of each Hessian, with a random projection of it; and
the last with AdamW instead of Muon. The same network, frames, seed and wall-time, as the runs
share the machine. What is compared is the running mean of the weights when time is up, on frames
of reactions that were not trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.networks import environment
from horm_calc.data.files import open_frames
from horm_calc.data.frames import chosen
from horm_calc.evaluation.evaluate import evaluate
from horm_calc.evaluation.table import ERRORS, QUANTITIES
from horm_calc.potential import load_potential

DATA = Path(__file__).parents[2] / "shared" / "data"
#: What is probed, the optimiser, and its rate: three times the one of Muon made it slower, and
#: AdamW has the one that the first training of horm-mini-xtb had.
PROTOCOLS = {
    "E-F": ("none", "muon", 3e-3),
    "E-F-H, rows": ("rows", "muon", 3e-3),
    "E-F-H, projections": ("projections", "muon", 3e-3),
    "the same, AdamW": ("projections", "adamw", 1.5e-3),
}
#: Rows have one entry, projections all: these weights make their losses alike at first.
WEIGHTS = {"none": 0.0, "rows": 0.16, "projections": 0.04}
SHOWN = (
    *("relative_energy_error_ev", "forces_error_ev_per_a", "hessian_error_ev_per_a2"),
    *("eigenvalues_error_ev_per_a2", "frequencies_error_cm1", "lowest_mode_overlap"),
    "same_imaginary",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, print the table."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runs = {name: _start(name, options) for name in PROTOCOLS}
    for name, process in runs.items():
        if process.wait():
            sys.exit(f"the run of {name} failed, see above")
    torch.set_num_threads(1)
    results = {name: _judged(name, options) for name in PROTOCOLS}
    Console().print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment("cpu", 1) | {"minutes": options.minutes, "protocols": PROTOCOLS}
        options.json.write_text(json.dumps({"environment": about, "runs": results}, indent=1))


def _start(name: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    probe, optimizer, rate = PROTOCOLS[name]
    settings: dict[str, dict[str, Any]] = {
        "data": {
            "train": [str(options.train)],
            "validation": [str(options.test)],
            "validation_frames": 20,
            "level_of_theory": "GFN2-xTB",
            "batch_size": 16,
            "curved_fraction": 0.5,
        },
        "loss": {
            **{"forces": 1.0, "force_form": "norm", "energy": 1.0},
            **{"probe": probe, "second": WEIGHTS[probe]},
        },
        "optimizer": {
            **{"name": optimizer, "learning_rate": rate},
            # A short mean, as the runs are short too.
            **{"schedule": "constant", "warmup_steps": 100, "ema_decay": 0.99},
        },
        "run": {
            **{"steps": 1_000_000, "max_minutes": options.minutes, "validate_every": 1_000_000},
            **{"checkpoint_minutes": 1e6, "threads": 1, "accelerator": "cpu"},
        },
    }
    print(f"{name}: training for {options.minutes} minutes", flush=True)
    return started(settings, _folder(name, options))


def started(settings: dict[str, dict[str, Any]], folder: Path) -> subprocess.Popen[bytes]:
    """A training with these settings, in this folder; it goes on where it was interrupted."""
    config = folder.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(settings), "utf-8")
    command = [sys.executable, "-m", "horm_calc.commands.train", str(config), "--out", str(folder)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def _folder(name: str, options: argparse.Namespace) -> Path:
    probe, optimizer, _ = PROTOCOLS[name]
    return Path(options.out) / f"{probe}-{optimizer}"


def _judged(name: str, options: argparse.Namespace) -> dict[str, float]:
    last = _folder(name, options) / "last.ckpt"
    steps = int(torch.load(last, weights_only=True)["global_step"])
    return {"steps": steps} | judged(last, options.test, options.frames)


def judged(checkpoint: Path, test: Path, count: int) -> dict[str, float]:
    """Means of what is `SHOWN`, on frames with Hessians: the same ones for all networks."""
    frames = open_frames(test)
    drawn = np.random.default_rng(0).choice(
        np.flatnonzero(frames.has_second_derivatives), count, replace=False
    )
    found = evaluate(load_potential(checkpoint, device="cpu"), chosen(frames, np.sort(drawn)))
    return {
        quantity.column: float(found.summary(quantity).mean)
        for quantity in QUANTITIES
        if quantity.column in SHOWN
    }


def table(results: dict[str, dict[str, float]]) -> Table:
    """A column for each protocol."""
    shown = Table("", *results, title="mean over frames of other reactions")
    shown.add_row("steps", *(f"{result['steps']:.0f}" for result in results.values()))
    for quantity in QUANTITIES:
        if quantity.column in SHOWN:
            title = quantity.title + (f", {quantity.unit}" if quantity in ERRORS else "")
            values = (f"{result[quantity.column]:.3f}" for result in results.values())
            shown.add_row(title, *values)
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.ablation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, default=DATA / "xtb_train.h5")
    parser.add_argument("--test", type=Path, default=DATA / "xtb_dev.h5")
    parser.add_argument("--frames", type=int, default=300, help="frames with Hessians to judge by")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    main()
