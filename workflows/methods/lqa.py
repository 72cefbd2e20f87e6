"""The IRC by local quadratic approximation.

On a quadratic surface the path of steepest descent in mass-weighted coordinates is known in closed
form (Page and McIver, J. Chem. Phys. 1988, 88, 922). Each step follows that path. How much the
gradient at its end differs from that of the quadratic function tells how far beside the path it
ended. A step that ends too far away is shortened and repeated, with a Hessian that has learned from
its gradient. Calculators with Hessians of their own give an exact one every few steps; in between,
and for all others, the Hessian is updated (Bofill, J. Comput. Chem. 1994, 15, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.thermochemistry import internal_directions
from workflows.methods.contracts import Branches
from workflows.methods.hessian_updates import bofill
from workflows.settings import IRCSettings
from workflows.surface import Surface

#: Steps between exact Hessians, for calculators with their own. From ten saddles of horm-mini-xtb,
#: every 5, 10 or no steps led to the same ends, in 1.3, 1.0 and 1.1 s of CPU time.
HESSIAN_EVERY = 10

#: How far a step may end beside the path, Å, as the gradient there tells. In eight searches with
#: GFN2-xTB no atom of any image was then more than 0.05 Å from a path in steps of 0.03 Å; with
#: EulerPC in steps of 0.1 Å it was 0.16 Å.
TOLERANCE = 0.03

#: Steps are shortened to this part of `settings.step_length` at most.
SHORTEST = 1 / 16

#: Points at which the arc length of a quadratic path is added up.
_GRID = 400


@dataclass(frozen=True)
class _Point:
    """A structure in mass-weighted coordinates (3n,), Å·amu^½, with energy (eV) and gradient."""

    atoms: Atoms
    position: np.ndarray
    energy: float
    gradient: np.ndarray


class _Field:
    """The surface in mass-weighted coordinates, without translations and rotations."""

    def __init__(self, saddle: Atoms, surface: Surface) -> None:
        self.surface, self.saddle = surface, saddle
        self.root_mass = np.sqrt(np.repeat(saddle.get_masses(), 3))
        internal = internal_directions(saddle)
        self.inner = internal @ internal.T

    def at(self, position: np.ndarray) -> _Point:
        atoms = with_positions(self.saddle, (position / self.root_mass).reshape(-1, 3))
        energy, forces = self.surface.at(atoms)
        return _Point(atoms, position, energy, self.inner @ (-forces.ravel() / self.root_mass))

    def weighted(self, hessian: np.ndarray) -> np.ndarray:
        """A Hessian (3n, 3n), eV/Å², in these coordinates."""
        weighted = hessian / np.outer(self.root_mass, self.root_mass)
        return np.asarray(self.inner @ weighted @ self.inner)

    def arc(self, length: float, direction: np.ndarray) -> float:
        """What a length in Å along a direction is in these coordinates."""
        unit = direction / np.linalg.norm(direction)
        return float(length / np.linalg.norm(unit / self.root_mass))

    def rms_force(self, point: _Point) -> float:
        """Of the force components, eV/Å."""
        return float(np.sqrt(np.mean((point.gradient * self.root_mass) ** 2)))


@dataclass(frozen=True)
class _Step:
    """Where a step led, what was learned of the Hessian, and how long the next one may be, Å."""

    point: _Point
    hessian: np.ndarray
    length: float


def follow_irc(
    saddle: Atoms, hessian: np.ndarray, surface: Surface, settings: IRCSettings
) -> Branches:
    """Descend to both sides of a saddle from its Hessian (3n, 3n), eV/Å²."""
    field, lines = _Field(saddle, surface), list[str]()
    branches = [_branch(field, hessian, sign, settings, lines) for sign in (1, -1)]
    (first, there), (second, too) = branches
    return Branches([first, second], (there, too), "\n".join(lines))


def _branch(
    field: _Field, hessian: np.ndarray, sign: int, settings: IRCSettings, lines: list[str]
) -> tuple[list[Atoms], bool]:
    """The images of one direction, and whether the forces at its end are small."""
    step = _off_the_saddle(field, field.weighted(hessian), sign, settings.step_length)
    images, since = [step.point.atoms], 1
    while len(images) < settings.max_steps:
        force = field.rms_force(step.point)
        lines.append(f"{len(images):4d} {step.point.energy:16.6f} eV {force:9.4f} eV/Å")
        gradient = step.point.gradient
        largest = float(np.abs(gradient * field.root_mass).max())
        field.surface.watch.step(len(images), step.point.energy, largest)
        # Beside a flat saddle point the forces are small too, but the path still steepens.
        if force < settings.rms_force and gradient @ step.hessian @ gradient > 0:
            return images, True
        if field.surface.capabilities.hessians and since >= HESSIAN_EVERY:
            exact = field.weighted(field.surface.get_hessian(step.point.atoms))
            step, since = _Step(step.point, exact, step.length), 0
        further = _stepped(field, step, settings.step_length)
        if (
            further.point.energy >= step.point.energy
        ):  # the floor of a valley, but for the criterion
            return images, False
        step, since = further, since + 1
        images.append(step.point.atoms)
    return images, False


def _off_the_saddle(field: _Field, hessian: np.ndarray, sign: int, length: float) -> _Step:
    """The first step, along the mode of negative curvature until the energy is lower."""
    _, vectors = np.linalg.eigh(hessian)
    mode = vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0]) * sign
    start = field.saddle.positions.ravel() * field.root_mass
    top, step = field.surface.at(field.saddle)[0], field.arc(length, mode) * mode
    for _ in range(5):
        point = field.at(start + step)
        if point.energy < top:
            break
        step = step / 2
    return _Step(point, bofill(hessian, point.position - start, point.gradient), length)


def _stepped(field: _Field, step: _Step, longest: float) -> _Step:
    """The next step: shortened and repeated until it ends near the path and lower than it began."""
    here, hessian, length = step.point, step.hessian, step.length
    lightest = field.root_mass.min()
    while True:
        arc = field.arc(length, here.gradient)
        position, expected = _quadratic_path(here.position, here.gradient, hessian, arc)
        there = field.at(position)
        hessian = bofill(hessian, position - here.position, there.gradient - here.gradient)
        steepest = max(np.linalg.norm(here.gradient), np.linalg.norm(there.gradient))
        turn = np.linalg.norm(there.gradient - expected) / steepest
        beside = float(0.5 * arc * turn / lightest)
        ideal = (
            0.9 * length * np.sqrt(TOLERANCE / max(beside, 1e-9))
        )  # the error is of second order
        if (beside <= TOLERANCE and there.energy < here.energy) or length <= SHORTEST * longest:
            return _Step(there, hessian, min(longest, max(ideal, 0.5 * length), 1.5 * length))
        length = max(min(ideal, 0.8 * length), 0.25 * length, SHORTEST * longest)


def _quadratic_path(
    position: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, arc: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the path of steepest descent of a quadratic function is after `arc`, and its gradient.

    Along the eigenvector of the eigenvalue λ the gradient falls as exp(-λt). The displacement is
    its integral over t, the arc length that of its norm. A path that comes to a minimum before
    `arc` ends there.
    """
    values, vectors = np.linalg.eigh(hessian)
    slopes = vectors.T @ gradient
    # Fine at first, where stiff modes relax, then ever coarser.
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, _GRID)]) / np.abs(values).max()
    speeds = np.linalg.norm(slopes * np.exp(np.clip(-np.outer(times, values), -50, 50)), axis=1)
    pieces = 0.5 * (speeds[1:] + speeds[:-1]) * np.diff(times)
    end = float(np.interp(arc, np.concatenate([[0.0], np.cumsum(pieces)]), times))
    decay = np.clip(values * end, -50, 50)
    flat = np.abs(decay) < 1e-8
    integrals = np.where(flat, end, -np.expm1(-decay) / np.where(flat, 1.0, values))
    return position - vectors @ (integrals * slopes), vectors @ (slopes * np.exp(-decay))
