"""Relax a structure to the nearest minimum: reactant, product and the ends of an IRC."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from workflows import pysis, with_geometric, with_sella
from workflows.limits import run_with_limit
from workflows.records import Minimum
from workflows.settings import EndpointSettings
from workflows.stage import stage
from workflows.surface import Surface

#: (atoms, surface, settings) -> (relaxed atoms, what the library printed)
METHODS = {
    "rfo": pysis.minimise,
    "geometric": with_geometric.minimise,
    "sella": with_sella.minimise,
}


@stage
def relax(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Minimum:
    """Relax `atoms` until the largest force component is below `settings.max_force`.

    A structure that ran out of steps comes back with `converged=False` and the reason.
    Raises `CalculatorFailed`, `StageTimeout`, or `StageError` when the optimiser breaks.
    """
    if len(atoms) == 1:
        relaxed, log = atoms.copy(), ""
    else:
        method = METHODS[settings.method]
        relaxed, log = run_with_limit(lambda: method(atoms, surface, settings), settings.wall_time)
    energy, forces = surface.at(relaxed)
    converged, reason = force_criterion(forces, settings)
    return Minimum(relaxed, energy, forces, settings.method, converged, reason, log=log)


def force_criterion(forces: np.ndarray, settings: object) -> tuple[bool, str]:
    """Is the largest force component within `settings.max_force`, and if not, in words why."""
    largest, limit = float(np.abs(forces).max()), settings.max_force  # type: ignore[attr-defined]
    if largest <= limit:
        return True, ""
    return False, (
        f"stopped with a largest force component of {largest:.4f} eV/Å (limit {limit:g}) "
        f"within {settings.max_steps} steps"  # type: ignore[attr-defined]
    )
