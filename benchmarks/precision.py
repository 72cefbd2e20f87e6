"""Whether Hessians need float64: the same ones in both precisions, at real saddle points.

    python -m benchmarks.precision --json runs/precision.json

takes the transition states of ../shared/data/xtb_dev.h5 and compares the elements of their
Hessians and what is made of them, frequencies and the number of imaginary modes. To tell
rounding of the input from rounding in the layers, the Hessian in float64 is also computed at
coordinates moved by about what float32 resolves.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from ase import Atoms
from rich.console import Console
from rich.table import Table

from benchmarks.networks import Source, add_options, batch, environment, sources
from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.derivatives.hessian import hessians
from horm_calc.models.contract import Network

DATA = Path(__file__).parents[2] / "shared" / "data" / "xtb_dev.h5"
SINGLE, DOUBLE = torch.float32, torch.float64
#: Below this (cm⁻¹) a mode counts as imaginary in the stricter of the two counts.
THRESHOLD = 5.0
#: Relative size of the moves of coordinates: about what float32 resolves.
RESOLUTION = 1e-7


@dataclass(frozen=True)
class Compared:
    """One molecule. Elements in eV/Å², frequencies in cm⁻¹, times in seconds.

    negative, imaginary: modes below 0 and below −THRESHOLD, in float32 and in float64.
    elements, moved: deviations of the Hessian in float32, and of the one at moved
    coordinates, from the one in float64. largest: its largest element.
    """

    name: str
    atoms: int
    negative: tuple[int, int]
    imaginary: tuple[int, int]
    elements: np.ndarray
    moved: np.ndarray
    frequencies: np.ndarray
    largest: float
    seconds: tuple[float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and print its table."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    molecules = transition_states(options.data, options.first, options.largest)
    summaries = []
    for source in sources(options):
        single, double = source.build(SINGLE), source.build(DOUBLE)
        rows = []
        for name, atoms in molecules:
            rows.append(compare(single, double, name, atoms))
            _say(source, rows[-1])
        summaries.append(summarise(source, rows))
    Console().print(table(summaries))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment("cpu", options.threads)
        text = json.dumps({"environment": about, "networks": summaries}, indent=1)
        options.json.write_text(text)


def transition_states(path: Path, count: int, largest: int) -> list[tuple[str, Atoms]]:
    """The first `count` with at most `largest` atoms, by the reactions' names."""
    found: list[tuple[str, Atoms]] = []
    with h5py.File(path) as file:
        for name, group in file.items():
            if "transition_state" in group and len(group["numbers"]) <= largest:
                found.append((name, Atoms(group["numbers"][:], group["transition_state"][:])))
            if len(found) == count:
                break
    return found


def compare(single: Network, double: Network, name: str, atoms: Atoms) -> Compared:
    """The Hessians of one molecule in both precisions, and at moved coordinates."""
    random = np.random.default_rng(0)
    moves = 1 + RESOLUTION * random.standard_normal(atoms.positions.shape)
    moved = Atoms(atoms.numbers, (atoms.positions - atoms.positions.mean(0)) * moves)
    rough, rough_seconds = _hessian(single, atoms)
    exact, exact_seconds = _hessian(double, atoms)
    beside, _ = _hessian(double, moved)
    nu = [normal_modes(atoms, matrix).frequencies for matrix in (rough, exact)]
    negative, imaginary = (
        (int((nu[0] < -limit).sum()), int((nu[1] < -limit).sum())) for limit in (0, THRESHOLD)
    )
    return Compared(
        name,
        len(atoms),
        negative,
        imaginary,
        np.abs(rough - exact).ravel(),
        np.abs(beside - exact).ravel(),
        np.abs(nu[0] - nu[1]),
        float(np.abs(exact).max()),
        (rough_seconds, exact_seconds),
    )


def summarise(source: Source, rows: Sequence[Compared]) -> dict[str, Any]:
    """Over all molecules. `relative`: the largest deviation of an element in a molecule over
    the largest element, whose median does not hang on how large untrained Hessians are."""
    return {
        "network": source.name,
        "weights": source.label,
        "molecules": len(rows),
        "different_negative": sum(row.negative[0] != row.negative[1] for row in rows),
        "different_imaginary": sum(row.imaginary[0] != row.imaginary[1] for row in rows),
        "element": _spread(row.elements for row in rows),
        "element_moved": _spread(row.moved for row in rows),
        "frequency": _spread(row.frequencies for row in rows),
        "relative": _spread(row.elements.max(keepdims=True) / row.largest for row in rows),
        "relative_moved": _spread(row.moved.max(keepdims=True) / row.largest for row in rows),
        "largest_element": _spread(np.array([row.largest]) for row in rows),
        "seconds_float32": sum(row.seconds[0] for row in rows),
        "seconds_float64": sum(row.seconds[1] for row in rows),
        "per_molecule": [
            {
                "name": row.name,
                "atoms": row.atoms,
                "negative": row.negative,
                "imaginary": row.imaginary,
                "element_max": float(row.elements.max()),
                "element_moved_max": float(row.moved.max()),
                "frequency_max": float(row.frequencies.max()),
            }
            for row in rows
        ],
    }


def table(summaries: Sequence[dict[str, Any]]) -> Table:
    """One column for each network."""
    weights = ", ".join(sorted({summary["weights"] for summary in summaries}))
    result = Table(title="Hessians in float32 against float64", box=None, padding=(0, 2, 0, 0))
    result.caption = f"each pair: median, largest. Weights: {weights}"
    result.add_column("", no_wrap=True)
    for summary in summaries:
        result.add_column(summary["network"], justify="right", no_wrap=True)

    def pairs(key: str) -> list[str]:
        both = (summary[key] for summary in summaries)
        return [f"{spread['median']:.1e}, {spread['max']:.1e}" for spread in both]

    def counts(key: str) -> list[str]:
        return [f"{summary[key]} of {summary['molecules']}" for summary in summaries]

    result.add_row("other number of modes < 0", *counts("different_negative"))
    result.add_row(f"... of modes < −{THRESHOLD:g} cm⁻¹", *counts("different_imaginary"))
    result.add_row("element, eV/Å²", *pairs("element"))
    result.add_row("... at moved coordinates", *pairs("element_moved"))
    result.add_row("largest over largest element", *pairs("relative"))
    result.add_row("... at moved coordinates", *pairs("relative_moved"))
    result.add_row("frequency, cm⁻¹", *pairs("frequency"))
    result.add_row("largest element, eV/Å²", *pairs("largest_element"))
    for dtype in ("float32", "float64"):
        times = [f"{summary[f'seconds_{dtype}']:.1f}" for summary in summaries]
        result.add_row(f"seconds, {dtype}", *times)
    return result


def _hessian(network: Network, atoms: Atoms) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    [matrix] = hessians(network, batch([atoms], network))
    return matrix.double().numpy(), time.perf_counter() - start


def _say(source: Source, row: Compared) -> None:
    text = (
        f"{source.name}, {row.name} ({row.atoms} atoms): elements {row.elements.max():.1e} of "
        f"{row.largest:.1e} eV/Å², frequencies {row.frequencies.max():.1e} cm⁻¹, modes < 0 "
        f"{row.negative[0]} and {row.negative[1]}"
    )
    print(text, file=sys.stderr, flush=True)


def _spread(parts: Iterable[np.ndarray]) -> dict[str, float]:
    values = np.concatenate(list(parts))
    return {"median": float(np.median(values)), "max": float(values.max())}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_options(parser)
    parser.add_argument("--data", type=Path, default=DATA, help="file with transition states")
    parser.add_argument("--first", type=int, default=30, help="how many of them")
    parser.add_argument("--largest", type=int, default=14, help="atoms at most")
    return parser


if __name__ == "__main__":
    main()
