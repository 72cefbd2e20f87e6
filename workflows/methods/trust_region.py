"""Minima and saddle points by quadratic steps within a trust radius, in Cartesian coordinates.

Every step goes to the lowest point that a quadratic function has within the trust radius. For a
saddle point, the function is the image of the surface: gradient and curvature along one mode have
the other sign (Helgaker, Chem. Phys. Lett. 1991, 182, 503). How far the energy at the end of a step
is from the predicted one sets the next radius. The Hessian learns from every step, so that a step
costs one gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.thermochemistry import internal_directions, normal_modes
from workflows.methods.contracts import Walk
from workflows.methods.hessian_updates import bfgs, bofill
from workflows.methods.model_hessian import model_hessian
from workflows.settings import EndpointSettings, SaddleSettings
from workflows.surface import Surface

#: Trust radius at the start, and its limits: length of the step of all atoms together, Å.
FIRST, LONGEST, SHORTEST = 0.2, 0.5, 0.01

#: A step is as expected, or not at all, when the energy misses by this part of what is predicted.
GOOD, BAD = 0.3, 0.7

#: What a quadratic function misses beyond this, eV, counts.
NOISE = 1e-3

#: Small forces can hide a long way along a soft mode. So a walk ends only where its next step
#: promises less than this times the square of the largest force allowed, Å²/eV. A step along a mode
#: of k eV/Å² promises 1 / 2k times the square of the force.
LEAST_GAIN, LEAST_GAIN_AT_SADDLE = 0.03, 0.2

#: At a saddle point, forces on atoms that are smaller than this, eV/Å, may grow for a step.
SMALL = 0.5

#: A walk that has come to a minimum or to a saddle point of higher order goes on so often.
FURTHER = 3

#: Steps between Hessians by differences, which cost as much as many steps.
RENEWED_EVERY = 25

#: So many steps that went badly are enough for a new Hessian.
BAD_STEPS = 3


@dataclass(frozen=True)
class _Point:
    """A structure with its energy (eV) and gradient (3n,), eV/Å."""

    atoms: Atoms
    energy: float
    gradient: np.ndarray

    @property
    def largest_force(self) -> float:
        return float(np.abs(self.gradient).max())


@dataclass(frozen=True)
class _Step:
    """A displacement (3n,), Å, the change of energy that it promises, and of which size, eV.

    `size` adds up what goes up and what goes down: at a saddle point the sum can vanish.
    """

    displacement: np.ndarray
    predicted: float
    size: float
    mode: np.ndarray


def minimise(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Walk:
    """Relax with BFGS updates of a model Hessian."""
    here, hessian, radius = _at(atoms, surface), model_hessian(atoms), FIRST
    lines, gain = [_line(here, radius)], LEAST_GAIN * settings.max_force**2
    for _ in range(settings.max_steps):
        step = _step(here, hessian, radius)
        if here.largest_force <= settings.max_force and step.size < gain:
            break
        there = _moved(here, step, surface)
        hessian = bfgs(hessian, step.displacement, there.gradient - here.gradient)
        radius = _next_radius(radius, step, there.energy - here.energy)
        if there.energy < here.energy or radius == SHORTEST:
            here = there
        surface.watch.step(len(lines), there.energy, there.largest_force)
        lines.append(_line(there, radius))
    return Walk(here.atoms, "\n".join(lines))


def refine_saddle(
    guess: Atoms, surface: Surface, settings: SaddleSettings, hessian: np.ndarray | None = None
) -> Walk:
    """Walk to a saddle point with Bofill updates of a Hessian, exact or by differences at first.

    Calculators with Hessians of their own give a new one every `settings.hessian_every` steps,
    unless the walk starts from a known `hessian`, which is to save them. The walk ends where the
    exact Hessian has one imaginary mode; from another stationary point it goes on.
    """
    own = surface.capabilities.hessians
    new = surface.get_hessian if own else surface.rough_hessian
    every = settings.hessian_every if own and hessian is None else RENEWED_EVERY
    here, radius, since, bad, further = _at(guess, surface), FIRST, 0, 0, 0
    hessian = new(guess) if hessian is None else hessian
    mode: np.ndarray | None = None
    lines, gain = [_line(here, radius)], LEAST_GAIN_AT_SADDLE * settings.max_force**2
    for _ in range(settings.max_steps):
        step = _step(here, hessian, radius, uphill=True, mode=mode)
        if here.largest_force <= settings.max_force and step.size < gain:
            hessian, since = surface.get_hessian(here.atoms), 0
            if _is_saddle(here.atoms, hessian, settings) or further == FURTHER:
                break
            further, radius, mode = further + 1, FIRST, None
            continue
        there = _moved(here, step, surface)
        hessian = bofill(hessian, step.displacement, there.gradient - here.gradient)
        before, radius = radius, _next_radius(radius, step, there.energy - here.energy)
        surface.watch.step(len(lines), there.energy, there.largest_force)
        lines.append(_line(there, radius))
        since, bad = since + 1, bad + (radius < before)
        if _astray(here, there, radius):  # from the same place a step as long would end there again
            radius = max(SHORTEST, min(radius, 0.5 * float(np.linalg.norm(step.displacement))))
        else:
            here, mode = there, step.mode
        if since >= every or bad >= BAD_STEPS:
            hessian, since, bad = new(here.atoms), 0, 0
    return Walk(here.atoms, "\n".join(lines))


def _is_saddle(atoms: Atoms, hessian: np.ndarray, settings: SaddleSettings) -> bool:
    modes = normal_modes(atoms, hessian)
    return len(modes.imaginary_frequencies(settings.imaginary_threshold)) == 1


def _astray(here: _Point, there: _Point, radius: float) -> bool:
    """Did a step end where forces are twice as large as they were, and not small?"""
    before, after = here.largest_force, there.largest_force
    return after > max(2 * before, SMALL) and radius > SHORTEST


def _step(
    here: _Point,
    hessian: np.ndarray,
    radius: float,
    *,
    uphill: bool = False,
    mode: np.ndarray | None = None,
) -> _Step:
    """The best step within `radius`; `uphill` along `mode`, or along the lowest one."""
    inner = internal_directions(here.atoms, weighted=False)
    values, vectors = np.linalg.eigh(inner.T @ hessian @ inner)
    vectors = inner @ vectors
    slopes = vectors.T @ here.gradient
    signs = np.ones(len(values))
    root = _root(values, vectors, mode)
    if uphill:
        signs[root] = -1
    parts = restricted(signs * values, signs * slopes, radius)
    gains = slopes * parts + 0.5 * values * parts**2
    return _Step(vectors @ parts, gains.sum(), np.abs(gains).sum(), vectors[:, root])


def _root(values: np.ndarray, vectors: np.ndarray, mode: np.ndarray | None) -> int:
    """The mode that is most like the last one, as long as the energy falls along it."""
    if mode is None:
        return 0
    likeness = np.abs(vectors.T @ mode)
    likest = int(likeness.argmax())
    return likest if values[likest] < 0 or likeness[likest] > 0.8 else 0


def restricted(values: np.ndarray, slopes: np.ndarray, radius: float) -> np.ndarray:
    """The lowest point within `radius` of Σ slopes·x + values·x²/2, by its shift of all values."""

    def shifted(shift: float) -> np.ndarray:
        return -slopes / (values + shift)

    lowest = int(values.argmin())
    low = max(0.0, 1e-6 - values[lowest])
    point = shifted(low)
    if np.linalg.norm(point) <= radius:
        if values[lowest] < -1e-6:  # downhill on both sides, but symmetry leaves no slope there
            rest = radius**2 - np.delete(point, lowest) @ np.delete(point, lowest)
            point[lowest] = np.copysign(np.sqrt(rest), point[lowest])
        return point
    high = low + max(1.0, float(np.linalg.norm(slopes)) / radius)
    for _ in range(50):
        middle = 0.5 * (low + high)
        if np.linalg.norm(shifted(middle)) > radius:
            low = middle
        else:
            high = middle
    return shifted(high)


def _next_radius(radius: float, step: _Step, actual: float) -> float:
    """Longer where the energy changed (by `actual`, eV) as predicted, shorter where not."""
    length = float(np.linalg.norm(step.displacement))
    miss = abs(actual - step.predicted) / max(step.size, NOISE)
    if miss < GOOD:
        return min(LONGEST, max(radius, 1.5 * length))
    return max(SHORTEST, 0.5 * length) if miss > BAD else radius


def _at(atoms: Atoms, surface: Surface) -> _Point:
    energy, forces = surface.at(atoms)
    return _Point(atoms, energy, -forces.ravel())


def _moved(here: _Point, step: _Step, surface: Surface) -> _Point:
    moved = here.atoms.positions + step.displacement.reshape(-1, 3)
    return _at(with_positions(here.atoms, moved), surface)


def _line(point: _Point, radius: float) -> str:
    return f"{point.energy:16.6f} eV {point.largest_force:9.4f} eV/Å, radius {radius:.3f} Å"
