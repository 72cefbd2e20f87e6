"""The IRC by local quadratic approximation.

Where the surface is a quadratic function, its path of steepest descent in mass-weighted coordinates is
known in closed form (Page and McIver, J. Chem. Phys. 1988, 88, 922). Each step follows that path.
How much the forces at its end differ from those of the quadratic function says how good the step was:
bad ones are shortened and repeated. Calculators with Hessians of their own give an exact one every few
steps; in between, and for all others, the Hessian is updated (Bofill, J. Comput. Chem. 1994, 15, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from workflows.methods.contracts import Branches
from workflows.settings import IRCSettings
from workflows.surface import Surface

#: Steps between exact Hessians, for calculators that have their own.
HESSIAN_EVERY = 5

#: Of a step: how far it may end beside the path, Å, as the change of the forces tells.
TOLERANCE = 0.08

#: Steps are shortened down to this part of `settings.step_length`, and no further.
SHORTEST = 1 / 16

#: Points at which the arc length of a quadratic path is added up.
_GRID = 400


@dataclass
class _Walker:
    """A point on the path in mass-weighted coordinates (Å·amu^½), with energy, gradient, Hessian."""

    surface: Surface
    saddle: Atoms
    position: np.ndarray
    hessian: np.ndarray
    energy: float = 0.0
    gradient: np.ndarray | None = None


def follow_irc(
    saddle: Atoms, hessian: np.ndarray, surface: Surface, settings: IRCSettings
) -> Branches:
    """Descend to both sides from the saddle and its Hessian (3n, 3n), eV/Å²."""
    lines: list[str] = []
    directions, arrived = [], []
    for sign in (1.0, -1.0):
        images, there = _branch(saddle, hessian, sign, surface, settings, lines)
        directions.append(images)
        arrived.append(there)
    return Branches(directions, (arrived[0], arrived[1]), "\n".join(lines))


def _branch(
    saddle: Atoms,
    hessian: np.ndarray,
    sign: float,
    surface: Surface,
    settings: IRCSettings,
    lines: list[str],
) -> tuple[list[Atoms], bool]:
    """The images of one direction, and whether its end has small forces."""
    root_mass = np.sqrt(np.repeat(saddle.get_masses(), 3))
    inner = _without_rigid_motions(saddle, root_mass)

    def at(point: np.ndarray) -> tuple[Atoms, float, np.ndarray]:
        atoms = with_positions(saddle, (point / root_mass).reshape(-1, 3))
        energy, forces = surface.at(atoms)
        return atoms, energy, inner @ (-forces.ravel() / root_mass)

    def weighted(matrix: np.ndarray) -> np.ndarray:
        return inner @ (matrix / np.outer(root_mass, root_mass)) @ inner

    second = weighted(hessian)
    _, vectors = np.linalg.eigh(second)
    mode = sign * vectors[:, 0] * np.sign(vectors[np.abs(vectors[:, 0]).argmax(), 0])
    point = saddle.positions.ravel() * root_mass
    step = settings.step_length / np.linalg.norm(mode / root_mass)
    top = surface.at(saddle)[0]
    before = np.zeros_like(point)  # the gradient at the saddle
    for _ in range(5):
        moved = point + step * mode
        atoms, energy, gradient = at(moved)
        if energy < top:
            break
        step /= 2
    second = _updated(second, moved - point, gradient - before)
    point, images, since = moved, [atoms], 1
    length = settings.step_length
    while len(images) < settings.max_steps:
        force = float(np.sqrt(np.mean((gradient * root_mass) ** 2)))
        lines.append(f"{len(images):4d} {energy - top:12.5f} eV {force:9.4f} eV/Å {length:7.4f} Å")
        if force < settings.rms_force:
            return images, True
        if surface.capabilities.hessians and since >= HESSIAN_EVERY:
            second, since = weighted(surface.get_hessian(images[-1])), 0
        while True:
            unit = gradient / np.linalg.norm(gradient)
            arc = length / np.linalg.norm(unit / root_mass)
            moved, expected = _quadratic_path(point, gradient, second, arc)
            atoms, lower, slope = at(moved)
            beside = _beside(slope - expected, gradient, slope, arc) / root_mass.min()
            good = lower < energy and beside <= TOLERANCE
            second_after = _updated(second, moved - point, slope - gradient)
            if good or length <= SHORTEST * settings.step_length:
                break
            second = second_after  # what was learned there holds here too
            shrink = np.sqrt(TOLERANCE / beside) if beside > TOLERANCE else 0.5
            length = max(length * float(np.clip(0.9 * shrink, 0.25, 0.8)), SHORTEST * settings.step_length)
        if lower >= energy:
            return images, False
        second, since = second_after, since + 1
        point, energy, gradient = moved, lower, slope
        images.append(atoms)
        growth = np.sqrt(TOLERANCE / beside) if beside > 0 else 2.0
        length = min(length * float(np.clip(0.9 * growth, 0.5, 1.5)), settings.step_length)
    return images, False


def _quadratic_path(
    point: np.ndarray, gradient: np.ndarray, hessian: np.ndarray, arc: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the path of steepest descent is after `arc`, and the gradient there.

    Along the eigenvector i of the Hessian the gradient falls as exp(-λ_i t), the displacement is its
    integral; t follows from the arc length, the integral of the gradient's norm. A path that ends
    in the minimum of the quadratic function before `arc` ends there.
    """
    values, vectors = np.linalg.eigh(hessian)
    slopes = vectors.T @ gradient
    scale = np.abs(values).max()
    # Fine at first, where stiff modes relax, then ever coarser.
    times = np.concatenate([[0.0], np.geomspace(1e-3, 1e4, _GRID)]) / scale
    falling = slopes * np.exp(np.clip(-np.outer(times, values), -50, 50))
    speeds = np.linalg.norm(falling, axis=1)
    lengths = np.concatenate(
        [[0.0], np.cumsum(0.5 * (speeds[1:] + speeds[:-1]) * np.diff(times))]
    )
    end = float(np.interp(arc, lengths, times))
    decay = np.clip(values * end, -50, 50)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(np.abs(decay) < 1e-8, end, -np.expm1(-decay) / values)
    return point - vectors @ (factors * slopes), vectors @ (slopes * np.exp(-decay))


def _beside(
    difference: np.ndarray, before: np.ndarray, after: np.ndarray, arc: float
) -> float:
    """How far a step ended beside the path: the turn that its error of the gradient makes of it."""
    largest = max(np.linalg.norm(before), np.linalg.norm(after))
    return float(0.5 * arc * np.linalg.norm(difference) / largest)


def _updated(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Bofill's mixture of the symmetric rank-one (Murtagh-Sargent) and Powell's update."""
    error = change - hessian @ step
    square, along = step @ step, error @ step
    if square < 1e-12 or error @ error < 1e-16:
        return hessian
    rank_one = np.outer(error, error) / along if abs(along) > 1e-10 else np.zeros_like(hessian)
    powell = (np.outer(error, step) + np.outer(step, error)) / square
    powell = powell - along * np.outer(step, step) / square**2
    share = along**2 / (square * (error @ error))
    return hessian + share * rank_one + (1 - share) * powell


def _without_rigid_motions(atoms: Atoms, root_mass: np.ndarray) -> np.ndarray:
    """The projector (3n, 3n) that takes translations and rotations out."""
    centred = atoms.positions - atoms.get_center_of_mass()
    rotations = [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    shifts = [np.tile(axis, len(atoms)) for axis in np.eye(3)]
    rigid = np.array([*shifts, *rotations]) * root_mass
    left, sizes, _ = np.linalg.svd(rigid.T, full_matrices=False)
    basis = left[:, sizes > 1e-6 * sizes.max()]
    return np.eye(len(root_mass)) - basis @ basis.T
