"""Is there a lower way between the ends than the saddle that was found?

A search follows one guess. That its saddle connects the ends is proven by the IRC; that no other
saddle lies lower is not. But the highest point of any continuous path between the ends lies no
lower than the highest saddle of the lowest way (the mountain pass theorem of Ambrosetti and
Rabinowitz, 10.1016/0022-1236(73)90051-7), so a path that stays below the saddle proves that a
lower way exists, in one step or in several. A short relaxation of a string of images gives such a
path for a small part of what a search costs.
"""

from __future__ import annotations

import itertools

import numpy as np
from ase import Atoms
from ase.optimize import FIRE

from workflows.limits import run_with_limit
from workflows.path import band, geodesic
from workflows.records import ReactionPath
from workflows.settings import LowerWaySettings
from workflows.stage import stage
from workflows.surface import Surface

#: Points on the straight line from each image to the next at which the energy is looked at: a
#: hydrogen can jump between two images that are both low.
POINTS = 4

#: A string is relaxed no further when no image feels more than this across it, eV/Å: its highest
#: point then hardly falls.
FLAT = 0.1
#: Of the geodesic interpolation.
SEED = 1


@stage
def relaxed_string(
    reactant: Atoms, product: Atoms, surface: Surface, settings: LowerWaySettings
) -> ReactionPath:
    """A string of equally spaced images from the geodesic path, relaxed for some steps.

    The simplified string method (E, Ren and Vanden-Eijnden, 10.1063/1.2720838). What comes back
    are the points between its images too, so that the highest bounds the lowest way from above.
    Raises `CalculatorFailed`, `StageTimeout`, `StageError`.
    """
    images = run_with_limit(
        lambda: _relax(reactant, product, surface, settings), settings.wall_time
    )
    points = [*itertools.chain(*(_between(*pair) for pair in itertools.pairwise(images)))]
    points.append(images[-1])
    surface.prepare(points)
    energies = np.array([surface.at(point)[0] for point in points])
    reason = f"relaxed for {settings.steps} steps only"
    return ReactionPath(tuple(points), energies, "string", False, reason)


def _relax(
    reactant: Atoms, product: Atoms, surface: Surface, settings: LowerWaySettings
) -> list[Atoms]:
    images = geodesic(reactant, product, settings.images, SEED)
    string = band(images, surface, "string")
    FIRE(string, logfile=None).run(fmax=FLAT, steps=settings.steps)
    for image in images:
        image.calc = None
    return images


def _between(first: Atoms, last: Atoms) -> list[Atoms]:
    step = (last.positions - first.positions) / POINTS
    return [Atoms(first.numbers, first.positions + k * step) for k in range(POINTS)]
