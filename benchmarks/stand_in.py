"""A search that answers at once, for measurements of what is around it.

Of a module of its own, so that workers of a cluster find it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.execution.workers import RunSpec, Task
from workflows.records import (
    IRC,
    Cost,
    Label,
    Minimum,
    Reaction,
    ReactionPath,
    Saddle,
    SearchResult,
    Verdict,
)
from workflows.stage_names import Stage
from workflows.surface import Evaluations


def stand_in(task: Task, spec: RunSpec) -> SearchResult:
    """A result of usual size, of no search; one in a hundred has failed."""
    assert isinstance(task, Reaction)
    if _number(task) % 100 == 99:
        verdict = Verdict(Label.FAILED, "a reason that a stand-in has")
        return SearchResult(task, verdict)
    return SearchResult(task, Verdict(Label.INTENDED), **_parts(task))


def _parts(task: Reaction) -> dict[str, Any]:
    """The points of a search; no two reactions have the same numbers."""
    atoms, known = task.reactant, _same_for_all(len(task.reactant))
    factor = 1 + 1e-6 * _number(task)
    hessian, forces = factor * known["hessian"], factor * known["forces"]
    end = Minimum(atoms, energy=-100.0, forces=forces, method="rfo", converged=True)
    saddle = Saddle(
        atoms,
        energy=-99.0,
        forces=forces,
        hessian=hessian,
        modes=known["modes"],
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
    return {
        "reactant": end, "product": end, "path": path, "saddle": saddle, "irc": irc,
        "irc_ends": (end, end), "costs": {Stage.SADDLE: Cost(Evaluations(100, 2), 0.5)},
        "log": "a line that a stage has printed\n" * 500,
    }  # fmt: skip


def _number(task: Reaction) -> int:
    return int(task.id.removeprefix("r"))


@functools.cache
def _same_for_all(atoms: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    hessian = random.normal(0, 5, (3 * atoms, 3 * atoms))
    hessian += hessian.T
    molecule = Atoms("H" * atoms, random.normal(0, 3, (atoms, 3)))
    return {
        "hessian": hessian,
        "forces": random.normal(0, 1e-3, (atoms, 3)),
        "modes": normal_modes(molecule, hessian),
    }
