"""Is there a lower way between the ends than the saddle that was found?

A search follows one guess. That its saddle connects the ends is shown by the IRC; that no other
saddle lies lower is not. But the highest point of any continuous path between the ends lies no
lower than the lowest way has to climb (see the mountain pass theorem of Ambrosetti and Rabinowitz,
10.1016/0022-1236(73)90051-7). So a path that stays below the saddle shows that a lower way exists
on this surface, in one step, in several, or over fragments. A short relaxation of a string of
images gives such a path for a small part of what a search costs.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicHermiteSpline

from workflows.limits import run_with_limit
from workflows.path import band, geodesic, relax_band
from workflows.records import StringPath
from workflows.settings import LowerWaySettings
from workflows.stage import stage
from workflows.surface import Surface

#: Points on the straight line from each image to the next at which the energy is worked out: a
#: hydrogen can jump between two images that are both low. Between the points it is interpolated.
POINTS = 4

#: A string is relaxed no further when no atom feels more than this across it, eV/Å: its highest
#: point then hardly falls.
FLAT = 0.1


@stage
def relaxed_string(
    reactant: Atoms, product: Atoms, surface: Surface, settings: LowerWaySettings
) -> StringPath:
    """A string of equally spaced images from the geodesic path, relaxed for some steps.

    The simplified string method (E, Ren and Vanden-Eijnden, 10.1063/1.2720838). What comes back
    has the points between its images too, and `ceiling`, the highest energy of the cubic
    polynomials that the energies and forces of the points define. Raises `CalculatorFailed`,
    `StageTimeout`, `StageError`.
    """
    points, results, converged = run_with_limit(
        lambda: _relax(reactant, product, surface, settings), settings.wall_time
    )
    energies, forces = (np.array(values) for values in zip(*results, strict=True))
    ceiling = _ceiling(np.array([point.positions for point in points]), energies, forces)
    log = f"the highest point lies {ceiling - energies[0]:.4f} eV above the reactant"
    reason = "" if converged else f"relaxed for {settings.steps} steps only"
    return StringPath(
        tuple(points), energies, "string", converged, reason, log=log, ceiling=ceiling
    )


def _relax(
    reactant: Atoms, product: Atoms, surface: Surface, settings: LowerWaySettings
) -> tuple[list[Atoms], list[tuple[float, np.ndarray]], bool]:
    """The points of the string, their energies and forces, and whether it is at rest."""
    images = geodesic(reactant, product, settings.images, settings.seed)
    converged = relax_band(band(images, surface, "string"), FLAT, settings.steps)
    points = [*itertools.chain(*(_between(*pair) for pair in itertools.pairwise(images)))]
    points.append(images[-1])
    surface.prepare(points)
    return points, [surface.at(point) for point in points], converged


def _between(first: Atoms, last: Atoms) -> list[Atoms]:
    step = (last.positions - first.positions) / POINTS
    return [Atoms(first.numbers, first.positions + k * step) for k in range(POINTS)]


def _ceiling(positions: np.ndarray, energies: np.ndarray, forces: np.ndarray) -> float:
    """The highest energy along the straight lines from point to point, (P, N, 3), eV and Å."""
    steps = np.diff(positions, axis=0)
    slopes = [-(forces[end] * steps).sum((1, 2)) for end in (slice(None, -1), slice(1, None))]
    lines = CubicHermiteSpline([0.0, 1.0], np.stack([energies[:-1], energies[1:]]), slopes)
    return float(lines(np.linspace(0.0, 1.0, 11)).max())
