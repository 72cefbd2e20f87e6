"""Geodesic paths: curves between two structures that need no energies.

The shortest curve in distances between atoms, scaled so that bonds count and what is far apart does
not, bends around collisions and moves bonds one into the other (Zhu, Thompson and Martínez,
J. Chem. Phys. 2019, 150, 164103). A chain of images that pull at each other in these coordinates
comes to it in a few Gauss-Newton steps, in some milliseconds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.superposition import laid_upon
from workflows.methods.contracts import Path
from workflows.settings import PathSettings
from workflows.surface import Surface

#: Of the scaled distance exp(-α (r/r₀ - 1)) + β r₀/r, r₀ the sum of covalent radii: α, β.
ALPHA, BETA = 1.7, 0.01

#: Atoms that come no closer than this, Å, in any image of the straight line count for nothing.
FAR = 4.0

#: Random displacement of the straight line, Å: on it atoms may run into each other head-on.
NUDGE = 0.05

#: Starts from other random displacements, of which the shortest curve is taken.
STARTS = 3

#: Steps, and the relative gain below which there are no more of them.
STEPS, LEAST_GAIN = 40, 1e-3

#: No coordinate moves more than this in a step, Å.
LONGEST = 0.5

#: Weight of the Cartesian distance between images beside that in scaled distances, 1/Å²: without it
#: a path between mirror images, whose distances are the same, would jump.
FRICTION = 3e-5

#: Damping of the steps: at the start and at least, in units of scaled distances per Å, squared.
DAMPING, LEAST_DAMPING = 1e-2, 1e-4


@dataclass(frozen=True)
class ScaledDistances:
    """Distances between pairs of atoms `i` and `j`, scaled by the sums of their radii, Å."""

    i: np.ndarray
    j: np.ndarray
    radii: np.ndarray

    @classmethod
    def of(cls, atoms: Atoms, near: np.ndarray | None = None) -> ScaledDistances:
        """Those of all pairs, or of those that are `near`, (n, n)."""
        n = len(atoms)
        i, j = np.nonzero(np.triu(np.ones((n, n), bool) if near is None else near, 1))
        radii = covalent_radii[atoms.numbers]
        return cls(i, j, radii[i] + radii[j])

    def of_places(self, places: np.ndarray) -> np.ndarray:
        """Of images (images, n, 3), Å: (images, pairs)."""
        lengths = np.linalg.norm(places[:, self.i] - places[:, self.j], axis=2) / self.radii
        return np.asarray(np.exp(-ALPHA * (lengths - 1)) + BETA / lengths)

    def slopes(self, place: np.ndarray) -> np.ndarray:
        """Derivatives at one image (n, 3): (pairs, 3n), 1/Å."""
        arms = place[self.i] - place[self.j]
        distances = np.linalg.norm(arms, axis=1)
        lengths = distances / self.radii
        by_length = -ALPHA * np.exp(-ALPHA * (lengths - 1)) - BETA / lengths**2
        along = (by_length / self.radii / distances)[:, None] * arms
        slopes = np.zeros((len(self.i), len(place), 3))
        pairs = np.arange(len(self.i))
        slopes[pairs, self.i], slopes[pairs, self.j] = along, -along
        return slopes.reshape(len(self.i), -1)


def geodesic(reactant: Atoms, product: Atoms, images: int, seed: int) -> list[Atoms]:
    """A geodesic path with so many images between its ends.

    The reactant stays where it is. Every other image, the product too, is turned and moved to lie
    best upon the one before it, so that curves through them bend no bonds. The `seed` of the random
    displacements makes two paths equal.
    """
    first, last = reactant.positions, laid_upon(reactant, product).positions
    parts = np.linspace(0, 1, images + 2)[:, None, None]
    straight = (1 - parts) * first + parts * last
    near = np.linalg.norm(straight[:, :, None] - straight[:, None], axis=3).min(0) < FAR
    scale = ScaledDistances.of(reactant, near)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(STARTS):
        start = straight.copy()
        start[1:-1] += NUDGE * random.standard_normal(start[1:-1].shape)
        found.append(_shortened(start, scale))
    best = min(found, key=lambda places: _pull(places, scale))
    path = [with_positions(reactant, reactant.positions)]
    for place in best[1:]:
        path.append(laid_upon(path[-1], with_positions(reactant, place)))
    return path


def _pull(places: np.ndarray, scale: ScaledDistances) -> float:
    """Σ |q' - q|² over neighbouring images: least on the shortest curve, evenly spaced."""
    apart = FRICTION * (np.diff(places, axis=0) ** 2).sum()
    return float((np.diff(scale.of_places(places), axis=0) ** 2).sum() + apart)


def _shortened(places: np.ndarray, scale: ScaledDistances) -> np.ndarray:
    """Images (images, n, 3) between ends that stay, where they pull least at each other."""
    pull, damping = _pull(places, scale), DAMPING
    for _ in range(STEPS):
        step = _gauss_newton(places, scale, damping)
        moved = places.copy()
        moved[1:-1] += step * min(1.0, LONGEST / np.abs(step).max())
        now = _pull(moved, scale)
        if now >= pull:
            damping *= 10
            if damping > 1e3 * DAMPING:
                break
            continue
        gain, places, pull = (pull - now) / pull, moved, now
        damping = max(damping / 3, LEAST_DAMPING)
        if gain < LEAST_GAIN:
            break
    return places


def _gauss_newton(places: np.ndarray, scale: ScaledDistances, damping: float) -> np.ndarray:
    """The damped step of the inner images, (images - 2, n, 3), Å.

    Each image is coupled to its neighbours only, so that the equations are solved block by block.
    """
    scaled = scale.of_places(places)
    inner = range(1, len(places) - 1)
    slopes = {k: scale.slopes(places[k]) for k in inner}
    size = places[0].size
    one, flat = np.eye(size), places.reshape(len(places), -1)
    uphill = {
        k: slopes[k].T @ (2 * scaled[k] - scaled[k - 1] - scaled[k + 1])
        + FRICTION * (2 * flat[k] - flat[k - 1] - flat[k + 1])
        for k in inner
    }
    blocks = {k: 2 * slopes[k].T @ slopes[k] + (2 * FRICTION + damping) * one for k in inner}
    couplings = {k: -slopes[k].T @ slopes[k + 1] - FRICTION * one for k in inner if k + 1 in slopes}
    for k, after in itertools.pairwise(inner):  # eliminate forwards
        factor = np.linalg.solve(blocks[k], couplings[k])
        blocks[after] = blocks[after] - couplings[k].T @ factor
        uphill[after] = uphill[after] - factor.T @ uphill[k]
    steps: dict[int, np.ndarray] = {}
    for k in reversed(inner):  # and insert backwards
        known = couplings[k] @ steps[k + 1] if k + 1 in steps else 0.0
        steps[k] = np.linalg.solve(blocks[k], -uphill[k] - known)
    return np.stack([steps[k].reshape(places[0].shape) for k in inner])


def geodesic_path(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> Path:
    """`geodesic` as a path method."""
    return Path(geodesic(reactant, product, settings.images, settings.seed), True, "")
