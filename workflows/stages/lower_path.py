"""Is there a lower-energy path between the ends than the saddle that was found?

A search follows one guess. That its saddle connects the ends is shown by the IRC; that no other
saddle lies lower is not. But the highest point of any continuous path between the ends lies no
lower than the lowest way has to climb (see the mountain pass theorem of Ambrosetti and Rabinowitz,
10.1016/0022-1236(73)90051-7). So a path that stays below the saddle shows that a lower-energy path
exists on this surface, in one step, in several, or over fragments. A short relaxation of a string
of images gives such a path for a part of what a search costs. Where it is high only between
two images, a finer string between these two is relaxed in turn.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicHermiteSpline

from horm_calc.chemistry.masses import with_positions
from workflows.errors import StageError
from workflows.limits import run_with_limit
from workflows.logs import log_of
from workflows.methods.geodesics import geodesic
from workflows.methods.strings import relax_string
from workflows.records import ReactionPath, StringPath
from workflows.settings import LowerPathSettings
from workflows.stages.stage import stage
from workflows.surface import Surface

#: Parts of the straight line from each image to the next, at whose ends the energy is worked out: a
#: hydrogen can jump between two images that are both low. Between the points it is interpolated.
PARTS = 4

#: How often the highest section is looked at more closely, with so many images and steps.
CLOSER_LOOKS, CLOSER_IMAGES, CLOSER_STEPS = 3, 5, 6


@dataclass(frozen=True)
class Section:
    """The straight line from one image to the next: its points, their energies and forces."""

    points: list[Atoms]
    energies: np.ndarray
    forces: np.ndarray

    @property
    def ceiling(self) -> float:
        """The highest energy along it, eV."""
        steps = np.diff([point.positions for point in self.points], axis=0)
        slopes = [
            -(self.forces[end] * steps).sum((1, 2)) for end in (slice(None, -1), slice(1, None))
        ]
        values = np.stack([self.energies[:-1], self.energies[1:]])
        return float(CubicHermiteSpline([0.0, 1.0], values, slopes)(np.linspace(0, 1, 11)).max())


@stage
def relaxed_string(
    reactant: Atoms, product: Atoms, saddle: float, surface: Surface, settings: LowerPathSettings
) -> StringPath:
    """A string of equally spaced images from the geodesic path, relaxed for some steps.

    The simplified string method (E, Ren and Vanden-Eijnden, 10.1063/1.2720838). What comes back
    has the points between its images too, and `ceiling`, the highest energy of the cubic
    polynomials that the energies and forces of the points define, right to about 0.001 eV. While
    all images are lower than the energy `saddle` (eV) by `settings.margin`, but the ceiling is not,
    the highest section is looked at more closely. Raises `CalculatorFailed`, `StageTimeout`,
    `StageError`.
    """
    sections, converged = run_with_limit(
        lambda: relaxed_sections(reactant, product, saddle, surface, settings), settings.wall_time
    )
    reason = "" if converged else f"relaxed for {settings.steps} steps only"
    return string_path(sections, "string", converged=converged, reason=reason)


@stage
def followed(
    path: ReactionPath, bar: float, surface: Surface, settings: LowerPathSettings
) -> StringPath:
    """`path` with the points between its images, and its ceiling.

    Sections that are above `bar` (eV) are looked at more closely as those of `relaxed_string`.
    Raises the same.
    """
    sections = run_with_limit(
        lambda: _below(bar, straight_sections(list(path.images), surface), surface, settings),
        settings.wall_time,
    )
    return string_path(sections, path.method, converged=path.converged, reason=path.reason)


def string_path(
    sections: list[Section], method: str, *, converged: bool = True, reason: str = ""
) -> StringPath:
    """The points of the sections and the highest energy along them."""
    points = [point for section in sections for point in section.points[:-1]]
    energies = np.concatenate([section.energies[:-1] for section in sections])
    ceiling = max(section.ceiling for section in sections)
    return StringPath(
        (*points, sections[-1].points[-1]),
        np.append(energies, sections[-1].energies[-1]),
        method=method,
        converged=converged,
        reason=reason,
        log=f"the highest point lies {ceiling - energies[0]:.4f} eV above the reactant",
        ceiling=ceiling,
    )


def relaxed_sections(
    reactant: Atoms, product: Atoms, saddle: float, surface: Surface, settings: LowerPathSettings
) -> tuple[list[Section], bool]:
    """The sections of the string, and whether it is at rest."""
    images = geodesic(reactant, product, settings.images, settings.seed)
    with log_of("the string") as log:
        images, converged = relax_string(images, surface, log, steps=settings.steps)
    # A way is lower below this, also where the lines are as high as the saddle.
    bar = saddle - settings.margin
    return _below(bar, straight_sections(images, surface), surface, settings), converged


def _below(
    bar: float, sections: list[Section], surface: Surface, settings: LowerPathSettings
) -> list[Section]:
    """The sections with finer ones where lines are above `bar` between images that are not."""
    for _ in range(CLOSER_LOOKS):
        place = int(np.argmax([section.ceiling for section in sections]))
        high = sections[place]
        if high.ceiling < bar or max(map(_highest_end, sections)) > bar:
            break
        try:
            finer = _finer(high, surface, settings)
        except StageError:  # the string is good without
            break
        if max(section.ceiling for section in finer) >= high.ceiling:
            break
        sections[place : place + 1] = finer
    return sections


def _highest_end(section: Section) -> float:
    return float(max(section.energies[0], section.energies[-1]))


def _finer(high: Section, surface: Surface, settings: LowerPathSettings) -> list[Section]:
    """A string of its own between the ends of a section."""
    images = geodesic(high.points[0], high.points[-1], CLOSER_IMAGES, settings.seed)
    with log_of("the string") as log:
        images, _ = relax_string(images, surface, log, steps=CLOSER_STEPS)
    return straight_sections(images, surface)


def straight_sections(images: list[Atoms], surface: Surface) -> list[Section]:
    """Between neighbouring images, evaluated together."""
    lines = [_line(*pair) for pair in itertools.pairwise(images)]
    surface.prepare([point for line in lines for point in line])
    found = []
    for line in lines:
        energies, forces = (np.array(values) for values in zip(*map(surface.at, line), strict=True))
        found.append(Section(line, energies, forces))
    return found


def _line(first: Atoms, last: Atoms) -> list[Atoms]:
    step = (last.positions - first.positions) / PARTS
    inner = [with_positions(first, first.positions + k * step) for k in range(PARTS)]
    return [*inner, with_positions(last, last.positions)]
