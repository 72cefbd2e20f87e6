"""Which saddles of a run are saddles of DFT too, and what their barriers are there.

    python -m benchmarks.refined runs/dft runs/gfn2-xtb --json runs/refined.json

takes the smallest reactions that are *intended* in all runs, refines their saddles at
ωB97X/6-31G(d), as --verify does, relaxes the reactants there, and compares forward barriers: those
of the run, between its own structures, and those of DFT, between its own. Products and free
energies, which --verify has too, are left out. A reactant that two runs share (0.2 Å root mean
square) is relaxed once. What is in the file is not computed again, so the same command continues
after an interruption.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from rich.console import Console
from rich.table import Table

from benchmarks.barriers import points_of
from horm_calc.chemistry.superposition import superposition
from horm_calc.dft import COARSE, WB97X
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import load_run
from workflows.errors import StageError
from workflows.records import Minimum, Saddle
from workflows.settings import EndpointSettings, SaddleSettings, SearchSettings
from workflows.surface import Surface
from workflows.verification import difference, refined, relaxed_end, superpose

#: Å, root mean square, below which two reactants are one.
SAME = 0.2

#: Seconds for each saddle and reactant: results must not depend on how busy the machine is.
PATIENCE = 36_000.0
SETTINGS = SearchSettings(
    endpoints=EndpointSettings(wall_time=PATIENCE), saddle=SaddleSettings(wall_time=PATIENCE)
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute what is not there, print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.refined",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--first", type=int, default=16, help="how many reactions")
    parser.add_argument("--json", type=Path, required=True, help="where results are kept")
    options = parser.parse_args(arguments)
    known: dict[str, Any] = {}
    if options.json.exists():
        known = json.loads(options.json.read_text("utf-8"))
    runs = {level_of(folder): points_of(folder, sys.maxsize) for folder in options.runs}
    if len(runs) < len(options.runs):
        parser.error("two of the runs are of one level of theory")
    first, *others = runs.values()
    names = [name for name in first if all(name in other for other in others)][: options.first]
    for name in names:
        for level, points in ((level, of[name]) for level, of in runs.items()):
            entry = known.setdefault(name, {"reactants": [], "levels": {}})
            # Other weights have other saddles.
            if entry["levels"].get(level, {}).get("of") != points["transition_state"].energy:
                surface = Surface(WB97X(grid=COARSE))
                entry["levels"][level] = outcome(points, surface, entry["reactants"])
                write(options.json, known)
                print(name, level, entry["levels"][level], flush=True)
    Console().print(table({name: known[name]["levels"] for name in names}, list(runs)))


def level_of(folder: Path) -> str:
    """The level of theory of a run."""
    levels = {row.level_of_theory for row in load_run(folder).rows.values()}
    if len(levels) != 1:
        sys.exit(f"{folder}: reactions of one level of theory are needed, not of {len(levels)}")
    return levels.pop()


def write(path: Path, known: dict[str, Any]) -> None:
    """In one move, so that an interruption does not lose what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(known, indent=1, ensure_ascii=False), "utf-8")
    new.replace(path)


def outcome(
    points: dict[str, Minimum | Saddle], surface: Surface, reactants: list[dict[str, Any]]
) -> dict[str, Any]:
    """Why a saddle does not exist in DFT; or how far away the one of DFT is, and both barriers."""
    known, start = points["transition_state"], time.process_time()
    assert isinstance(known, Saddle)
    of = {"of": known.energy}
    try:
        saddle = refined(known, surface, SETTINGS.saddle)
    except StageError as error:
        return of | {"found": False, "reason": str(error)}
    if reason := difference(known, saddle):
        return of | {"found": False, "reason": reason}
    energy, problem = relaxed(points["reactant"].atoms, surface, reactants)
    if energy is None:
        return of | {"found": False, "reason": problem}
    distance, overlap = superpose(known, saddle)
    return of | {
        "found": True,
        "rmsd": distance,
        "overlap": overlap,
        "barrier": to_kcal_per_mol(known.energy - points["reactant"].energy),
        "barrier_of_dft": to_kcal_per_mol(saddle.energy - energy),
        "cpu_seconds": round(time.process_time() - start),
    }


def relaxed(
    atoms: Atoms, surface: Surface, reactants: list[dict[str, Any]]
) -> tuple[float | None, str]:
    """Of a reactant as DFT relaxes it, eV, or why there is none; `reactants` remembers."""
    for one in reactants:
        if superposition(Atoms(atoms.numbers, one["from"]), atoms)[1] < SAME:
            return float(one["energy"]), ""
    end, problem, _ = relaxed_end(atoms, surface, SETTINGS)
    if end is None:
        return None, f"the reactant: {problem}"
    reactants.append({"from": atoms.positions.round(4).tolist(), "energy": end.energy})
    return end.energy, ""


def table(reactions: dict[str, dict[str, dict[str, Any]]], levels: Sequence[str]) -> Table:
    """Of each level: how many saddles exist in DFT, how far away, and the errors of barriers."""
    shown = Table("", *levels, title=f"{len(reactions)} reactions")
    found = [[of[level] for of in reactions.values() if of[level]["found"]] for level in levels]
    distances = [np.array([one["rmsd"] for one in of]) for of in found]
    errors = [np.array([one["barrier"] - one["barrier_of_dft"] for one in of]) for of in found]
    sizes = [np.abs(of) for of in errors]

    def line(title: str, function: Callable[[np.ndarray], float], of: list[np.ndarray]) -> None:
        shown.add_row(title, *(f"{function(one):.2f}" if len(one) else "–" for one in of))

    shown.add_row("saddles of DFT", *(str(len(of)) for of in found))
    line("distance, median, Å", np.median, distances)
    line("distance, largest, Å", np.max, distances)
    line("error of barriers, mean, kcal/mol", np.mean, sizes)
    line("median", np.median, sizes)
    line("largest", np.max, sizes)
    line("mean with sign", np.mean, errors)
    return shown


if __name__ == "__main__":
    main()
