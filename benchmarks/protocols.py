"""Which Hessian labels a network needs: how many, of which frames, along which vectors.

    python -m benchmarks.protocols --out runs/protocols --json runs/protocols.json

trains small networks on GFN2-xTB frames, one after the other, and compares them on reactions that
none was trained on:

- number: energies and forces of the same frames, and Hessians of 0 to 10,000 of them (the curve of
  HINT, arXiv:2603.25373);
- vectors: products of these Hessians with random vectors that are drawn anew in each step, or once
  for all (arXiv:2603.04523);
- energy: 30% of the frames, those of highest energy, of lowest energy, or any.

All take the same number of steps, but for the network without Hessians: its steps are cheaper, and
it takes more of them in the same time. The same command goes on after an interruption. A network
takes eight minutes of CPU with the default settings, without the making of the data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ablation import DATA, SHOWN, judged, started
from benchmarks.networks import environment
from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame, Frames, chosen, iterate
from horm_calc.data.sampling import energy_based
from horm_calc.evaluation.table import QUANTITIES
from horm_calc.training.probes import probes

#: How many Hessians of the frames are known.
NUMBERS = (10, 100, 1000, 10_000)
#: Of these numbers, the vectors are drawn once too.
ONCE = (100, 1000)
#: Part of the frames that is sampled by energy.
PART = 0.3

#: Frames of a batch with second derivatives, and how much longer a step with them takes than one
#: on energies and forces alone: 0.31 s and 0.16 s of CPU, this network and 16 frames.
CURVED, LONGER = 0.25, 2.0


@dataclass(frozen=True)
class Variant:
    """A network to train: what distinguishes it, and the files of its frames."""

    title: str
    files: tuple[str, ...]
    hessians: bool = True


#: By the names of their folders.
VARIANTS = {
    "number-0": Variant("no Hessians", ("plain",), hessians=False),
    **{
        f"number-{count}": Variant(f"{count} Hessians", ("plain", f"hessians-{count}"))
        for count in NUMBERS
    },
    **{
        f"once-{count}": Variant(f"one product of {count}", ("plain", f"products-{count}"))
        for count in ONCE
    },
    **{
        f"energy-{which}": Variant(f"{which} energies", (which,))
        for which in ("top", "bottom", "any")
    },
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the data, train, compare, print the table."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    make_data(open_frames(options.train), options.out)
    torch.set_num_threads(1)
    results = {}
    for name in options.only or VARIANTS:
        train(name, options)
        results[name] = judged(options.out / name / "last.ckpt", options.test, options.frames)
        Console().print(table(results))
    if options.json:
        about = environment("cpu", 1) | {"steps": options.steps}
        options.json.write_text(json.dumps({"environment": about, "runs": results}, indent=1))


def make_data(frames: Frames, out: Path) -> None:
    """Write the files of all variants, those that are not there yet."""
    frames = chosen(frames, np.flatnonzero(frames.has_second_derivatives))
    rng = np.random.default_rng(1)
    order = rng.permutation(len(frames))

    def write(name: str, some: Sequence[int] | np.ndarray, kind: str = "hessians") -> None:
        path = out / f"{name}.h5"
        if not path.exists():
            taken = (_of_kind(frame, kind, rng) for frame in iterate(chosen(frames, np.sort(some))))
            write_hdf5(path, taken, "GFN2-xTB")

    write("plain", order, "energies and forces")
    for count in NUMBERS:
        write(f"hessians-{count}", order[:count])
    for count in ONCE:
        write(f"products-{count}", order[:count], "products")
    write("top", energy_based(frames, PART, "top"))
    write("bottom", energy_based(frames, PART, "bottom"))
    write("any", order[: round(PART * len(order))])


def _of_kind(frame: Frame, kind: str, rng: np.random.Generator) -> Frame:
    """The frame with its Hessian, with a product of it in its place, or with neither."""
    plain = (frame.numbers, frame.positions, frame.energy, frame.forces)
    if kind == "hessians":
        return frame
    if kind != "products":
        return Frame(*plain, reaction=frame.reaction)
    assert frame.hessian is not None
    vectors = probes("projections", len(frame.numbers), 1, rng)
    products = (vectors.reshape(1, -1) @ frame.hessian).reshape(vectors.shape)
    return Frame(*plain, vectors=vectors, products=products, reaction=frame.reaction)


def train(name: str, options: argparse.Namespace) -> None:
    """Train a variant in its folder; nothing happens where that is done. Exits where it fails."""
    variant, folder = VARIANTS[name], options.out / name
    settings: dict[str, dict[str, Any]] = {
        "data": {
            "train": [str(options.out / f"{file}.h5") for file in variant.files],
            "validation": [str(options.test)],
            "validation_frames": 20,
            "level_of_theory": "GFN2-xTB",
            "batch_size": 16,
        },
        "network": {"config": {"channels": 32, "hidden": 64}},
        "loss": {
            **{"forces": 1.0, "force_form": "norm", "energy": 2.0},
            **{"probe": "none", "second": 0.0},
        },
        "optimizer": {
            **{"name": "muon", "learning_rate": 3e-3, "warmup_steps": 50, "ema_decay": 0.99},
        },
        "run": {
            "steps": round(options.steps * (1 if variant.hessians else LONGER)),
            "validate_every": 1_000_000,
            **{"threads": 1, "accelerator": "cpu"},
        },
    }
    if variant.hessians:
        settings["data"]["curved_fraction"] = CURVED
        settings["loss"] |= {"probe": "projections", "second": 0.04}
    if started(settings, folder).wait():
        sys.exit(f"the training of {name} failed, see above")


def table(results: dict[str, dict[str, float]]) -> Table:
    """A line for each network."""
    shown = [quantity for quantity in QUANTITIES if quantity.column in SHOWN]
    titles = [f"{one.title}, {one.unit}".rstrip(", ") for one in shown]
    found = Table("trained on", *titles, title="mean errors on other reactions")
    for name, values in results.items():
        found.add_row(VARIANTS[name].title, *(f"{values[one.column]:.3f}" for one in shown))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.protocols",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, default=DATA / "xtb_train.h5")
    parser.add_argument("--test", type=Path, default=DATA / "xtb_dev.h5")
    parser.add_argument("--frames", type=int, default=300, help="frames with Hessians to judge by")
    parser.add_argument("--steps", type=int, default=1500, help="of each network with Hessians")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="these networks alone")
    parser.add_argument("--out", type=Path, default=Path("runs/protocols"))
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    main()
