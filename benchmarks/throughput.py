"""Verified reactions per core-hour: this search, the routes it replaced, and a process per stage.

    python -m benchmarks.throughput --calculator horm:horm-mini --first 40

searches development reactions on one core by three routes that take turns, a few reactions at a
time, and prints CPU seconds per reaction and *intended* reactions per core-hour:

- `lean`: the defaults, but for chains of several steps, which the other routes do not look for;
  several searches in flight in one process;
- `library`: growing string, RS-I-RFO with exact Hessians, and EulerPC of pysisyphus, which were the
  defaults before, one search after the other in one process;
- `processes`: the same stages without further attempts or a look for lower paths, each in a fresh
  process that loads the calculator anew, as published runners do.

With `--device cuda` it measures one device instead, see `benchmarks.device`.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator
from ase.io import read

from benchmarks import device
from benchmarks.reactions import DATA
from benchmarks.throughput_stage import LIBRARY, STAGES
from reactbench_runner import calculators
from workflows import Label, Reaction, SearchSettings, search, search_many
from workflows.stages.endpoints import relax
from workflows.surface import Surface

#: Reactions of one turn.
TURN = 8

#: The defaults, without chains.
LEAN = SearchSettings(steps=1)

ROUTES = ("lean", "library", "processes")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of two-frame xyz files")
    parser.add_argument("--first", type=int, default=40, help="how many of dev.txt")
    parser.add_argument("--calculator", default="horm:horm-mini")
    parser.add_argument("--routes", nargs="+", default=ROUTES, choices=ROUTES)
    parser.add_argument("--in-flight", type=int, default=16, help="searches at a time of lean")
    parser.add_argument("--device", default="cpu", help="cuda measures a device instead")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--turn", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.turn:
        route, names = options.turn
        print(json.dumps(one_turn(route, names.split(), options)))
        return
    if options.device != "cpu":
        device.main(options)
        return
    names = (options.data / "dev.txt").read_text().split()[: options.first]
    turns: dict[str, list[dict[str, Any]]] = {route: [] for route in options.routes}
    for start in range(0, len(names), TURN):
        for route in options.routes:
            turns[route].append(_in_a_process(route, names[start : start + TURN], options))
            print(f"{route}, {start + TURN}: {turns[route][-1]}", flush=True)
    figures = {route: _summary(turns[route], len(names)) for route in options.routes}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print("\n| route | CPU s per reaction | intended | intended per core-hour |")
    print("| --- | --- | --- | --- |")
    for route, one in figures.items():
        print(
            f"| {route} | {one['seconds']:.2f} | {one['intended']:.0f} of {len(names)} "
            f"| {one['per_core_hour']:.0f} |"
        )


def _summary(turns: Sequence[dict[str, Any]], reactions: int) -> dict[str, float]:
    seconds = sum(turn["seconds"] for turn in turns)
    intended = sum(turn["verdicts"].count(Label.INTENDED) for turn in turns)
    return {
        "seconds": seconds / reactions,
        "intended": intended,
        "per_core_hour": 3600 * intended / seconds,
    }


def _in_a_process(route: str, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """One turn, so that no route inherits what another has loaded."""
    own = ["--data", options.data, "--calculator", options.calculator]
    own += ["--in-flight", options.in_flight, "--turn", route, " ".join(names)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.throughput", *map(str, own)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one_turn(route: str, names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """CPU seconds and verdicts; what is loaded once per process counts for `processes` only."""
    reactions = [Reaction(Path(name).stem, *read(options.data / name, ":")) for name in names]
    if route == "processes":
        start = time.process_time()
        verdicts = [_staged(reaction, options.calculator) for reaction in reactions]
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() - start
        return {"seconds": own + spent.ru_utime + spent.ru_stime, "verdicts": verdicts}
    calculator = calculators.build(options.calculator)
    build = partial(calculators.build, options.calculator)
    _warm_up(calculator, reactions[0])
    start = time.process_time()
    if route == "lean":
        many = search_many(reactions, calculator, LEAN, in_flight=options.in_flight, build=build)
        results = list(many)
    else:
        results = [search(one, calculator, LIBRARY, build=build) for one in reactions]
    return {
        "seconds": time.process_time() - start,
        "verdicts": [result.verdict.label for result in results],
    }


def _warm_up(calculator: Calculator, reaction: Reaction) -> None:
    """What is imported and compiled at the first call belongs to no reaction."""
    settings = SearchSettings()
    surface = Surface(calculator)
    relax(reaction.reactant, surface, settings.endpoints)
    surface.get_hessian(reaction.reactant)


def _staged(reaction: Reaction, calculator: str) -> Label:
    """One attempt, each stage in a process of its own, which hands its results on in a file."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.pickle"
        state.write_bytes(pickle.dumps({"reaction": reaction, "calculator": calculator}))
        for stage in STAGES:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.throughput_stage", stage, str(state)],
                check=False,
            )
            if done.returncode:
                return Label.FAILED
        found: Label = pickle.loads(state.read_bytes())["verdict"]
        return found


if __name__ == "__main__":
    main()
