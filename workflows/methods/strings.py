"""The string method with preconditioned steps, and an image where the energy is highest.

Images move downhill across the string and are then spread along it anew (E, Ren and
Vanden-Eijnden, J. Chem. Phys. 2007, 126, 164103). They move by quasi-Newton steps: the
preconditioner of an image is a model Hessian that learns from its gradients (after Makri, Ortner
and Kermode, J. Chem. Phys. 2019, 150, 094109). Some ten cycles are enough.

Where a hydrogen jumps, the energy can be high only between two images. Energies and slopes of the
images tell where: after the first cycles, one image is put where the interpolated energy is
highest. Images are spread evenly in scaled distances between atoms rather than in Cartesian
coordinates, so that most of them are where bonds change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

from horm_calc.chemistry.masses import with_positions
from workflows.images import Answered, prepare
from workflows.logs import Log, log_of
from workflows.methods.contracts import Path
from workflows.methods.geodesics import ScaledDistances, geodesic
from workflows.methods.hessian_updates import bfgs
from workflows.methods.model_hessian import model_hessian
from workflows.methods.trust_region import restricted
from workflows.settings import PathSettings
from workflows.surface import Surface

#: Trust radius of an image at the start, and its limits: length of its step, Å.
FIRST, LONGEST, SHORTEST = 0.3, 0.6, 0.02

#: A Hessian learns from steps no longer than this, Å; after a longer one it is guessed anew.
NEAR = 0.5

#: The radius shrinks where the force across the string grew by this factor, and grows where it fell
#: to this part.
GROWN, FALLEN = 1.2, 0.8

#: Cycles before an image is put at the highest point: that of the first string is far off.
SETTLED = 2

#: Most cycles of a path from which a saddle search goes on.
MOST = 20

#: Images that lie on each other count as this far apart in scaled distances: curves need an order.
SAME = 1e-9

#: No image is closer to an end than this part of the string.
CLEARANCE = 0.02

#: Curvature along the string, eV/Å²: so stiff that steps go across it.
ALONG = 1e3

#: A string whose highest energy is this far above the lowest one so far, eV, has gone astray.
ASTRAY = 1.0

#: The string is at rest when its highest energy has stayed within this, eV, for so many cycles.
REST, STEADY = 0.05, 3


@dataclass(frozen=True)
class _Images:
    """Images in coordinates (images, 3n), Å, with energies (eV) and gradients (eV/Å)."""

    first: Atoms
    places: np.ndarray
    energies: np.ndarray
    gradients: np.ndarray

    @property
    def inner(self) -> range:
        """The images that move."""
        return range(1, len(self.places) - 1)

    @cached_property
    def along(self) -> np.ndarray:
        """Unit vectors along the string, (images, 3n), zero at its ends.

        Towards the neighbour of higher energy, or between both at a maximum or minimum, as of
        Henkelman and Jónsson, J. Chem. Phys. 2000, 113, 9978.
        """
        along = np.zeros_like(self.places)
        ahead, behind = np.diff(self.places, axis=0)[1:], np.diff(self.places, axis=0)[:-1]
        rise, fall = np.diff(self.energies)[1:], -np.diff(self.energies)[:-1]
        large = np.maximum(np.abs(rise), np.abs(fall))
        small = np.minimum(np.abs(rise), np.abs(fall))
        upwards = rise > fall  # the image ahead is the higher neighbour
        monotonic = rise * fall < 0
        of_ahead = np.where(monotonic, upwards, np.where(upwards, large, small))
        of_behind = np.where(monotonic, ~upwards, np.where(upwards, small, large))
        sums = of_ahead[:, None] * ahead + of_behind[:, None] * behind
        along[1:-1] = sums / np.maximum(np.linalg.norm(sums, axis=1), 1e-12)[:, None]
        return along

    @cached_property
    def across(self) -> np.ndarray:
        """The gradients without what is along the string, zero at its ends."""
        across = self.gradients - (self.gradients * self.along).sum(1)[:, None] * self.along
        across[[0, -1]] = 0.0
        return np.asarray(across)

    @property
    def largest_force(self) -> float:
        """On an atom, across the string, eV/Å."""
        return float(np.linalg.norm(self.across.reshape(-1, 3), axis=1).max())

    def image(self, number: int) -> Atoms:
        """One of them as a structure."""
        return with_positions(self.first, self.places[number].reshape(-1, 3))

    def atoms(self) -> list[Atoms]:
        """All as structures."""
        return [self.image(number) for number in range(len(self.places))]

    def highest(self) -> tuple[float, float]:
        """Where the interpolated energy is highest, and how high it is, eV.

        Places are counted in images: 2.5 is between images 2 and 3.
        """
        numbers = np.arange(len(self.places))
        marks = _marks(self.first, self.places)
        slopes = (self.gradients * PchipInterpolator(marks, self.places)(marks, 1)).sum(1)
        fine = np.interp(np.linspace(0, numbers[-1], 20 * len(numbers)), numbers, marks)
        energies = CubicHermiteSpline(marks, self.energies, slopes)(fine)
        top = int(energies.argmax())
        return float(np.interp(fine[top], marks, numbers)), float(energies[top])


class _Steps:
    """Quasi-Newton steps across the string, with a Hessian and a trust radius for each image."""

    def __init__(self, images: _Images) -> None:
        self.hessians = [model_hessian(atoms) for atoms in images.atoms()]
        self.radii = np.full(len(self.hessians), FIRST)

    def learn(self, before: _Images, now: _Images) -> None:
        """From what has changed in a cycle."""
        for i in now.inner:
            step = now.places[i] - before.places[i]
            change = now.gradients[i] - before.gradients[i]
            if np.linalg.norm(step) < NEAR:
                self.hessians[i] = bfgs(self.hessians[i], step, change)
            else:
                self.hessians[i] = model_hessian(now.image(i))
            last, new = np.linalg.norm(before.across[i]), np.linalg.norm(now.across[i])
            if new > GROWN * last:
                self.radii[i] = max(SHORTEST, 0.5 * self.radii[i])
            elif new < FALLEN * last:
                self.radii[i] = min(LONGEST, 1.3 * self.radii[i])

    def shorten(self) -> None:
        """After steps to where the energy is out of all reason."""
        self.radii = np.maximum(SHORTEST, 0.5 * self.radii)

    def taken(self, images: _Images) -> np.ndarray:
        """The places (images, 3n) to which they lead."""
        places = images.places.copy()
        for i in images.inner:
            along = images.along[i]
            beside = np.eye(len(along)) - np.outer(along, along)
            stiffness = beside @ self.hessians[i] @ beside + ALONG * np.outer(along, along)
            values, vectors = np.linalg.eigh(stiffness)
            step = vectors @ restricted(values, vectors.T @ images.across[i], self.radii[i])
            places[i] += beside @ step
        return places


def relaxed_path(reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings) -> Path:
    """The relaxed string as a path method.

    It is given few cycles: what they leave, a saddle search does better.
    """
    images = geodesic(reactant, product, settings.images, settings.seed)
    with log_of("the string") as log:
        images, converged = relax_string(images, surface, log, steps=min(MOST, settings.max_steps))
    return Path(images, converged, log.getvalue())


def relax_string(
    images: list[Atoms], surface: Surface, log: Log, *, steps: int
) -> tuple[list[Atoms], bool]:
    """Relax the images between two ends that stay, for so many steps at most.

    Returns the images whose interpolated energy had the lowest maximum, and whether that has come
    to rest. Raises `CalculatorFailed` where the calculator has no answer for an image or any place
    near it.
    """
    answered = Answered(surface, log)
    places = np.array([image.positions.ravel() for image in images])
    now = best = _evaluated(images[0], places, surface, answered)
    step, (where, top) = _Steps(now), now.highest()
    tops = [top]
    log.write(_line(0, top, now))
    surface.watch.step(0, top, now.largest_force)
    for cycle in range(steps):
        if _at_rest(tops):
            break
        places = _spread(now.first, step.taken(now), where if cycle >= SETTLED else None)
        there = _evaluated(now.first, places, surface, answered)
        where_there, top = there.highest()
        tops.append(top)
        log.write(_line(cycle + 1, top, there))
        surface.watch.step(cycle + 1, top, there.largest_force)
        if top > min(tops) + ASTRAY:
            step.shorten()
            continue
        step.learn(now, there)
        now, where = there, where_there
        best = now if top <= min(tops) else best
    return best.atoms(), _at_rest(tops)


def _line(cycle: int, top: float, images: _Images) -> str:
    return f"{cycle:3d}: {top:.4f} eV at its highest, {images.largest_force:.3f} eV/Å across\n"


def _at_rest(tops: list[float]) -> bool:
    return len(tops) > SETTLED + STEADY and np.ptp(tops[-STEADY:]) < REST


def _evaluated(first: Atoms, places: np.ndarray, surface: Surface, answered: Answered) -> _Images:
    """Images at `places`, or beside them where the calculator has no answer there."""
    images = [with_positions(first, place.reshape(-1, 3)) for place in places]
    prepare(images, surface)
    for i in range(1, len(images) - 1):
        name = f"image {i + 1} of {len(images)} of the string"
        images[i] = answered.place(i, name, images[i], (images[i - 1], images[i + 1]))
    energies, forces = zip(*map(surface.at, images), strict=True)
    return _Images(
        first,
        np.array([image.positions.ravel() for image in images]),
        np.array(energies),
        -np.array(forces).reshape(len(images), -1),
    )


def _marks(first: Atoms, places: np.ndarray) -> np.ndarray:
    """How far along the string each image is, in scaled distances between atoms; always rising."""
    scaled = ScaledDistances.of(first).of_places(places.reshape(len(places), -1, 3))
    steps = np.linalg.norm(np.diff(scaled, axis=0), axis=1)
    return np.append(0.0, np.maximum(steps, SAME).cumsum())


def _spread(first: Atoms, places: np.ndarray, top: float | None) -> np.ndarray:
    """Images at equal distances, on both sides of `top` (in images) if one is to be there."""
    last = len(places) - 1
    numbers = np.arange(last + 1)
    for _ in range(3):  # the curve through the new images has another length
        marks = _marks(first, places)
        wanted = np.linspace(0, marks[-1], last + 1)
        if top is not None:
            part = np.clip(np.interp(top, numbers, marks) / marks[-1], CLEARANCE, 1 - CLEARANCE)
            number = int(np.clip(round(last * part), 1, last - 1))
            parts = [np.linspace(0, part, number + 1), np.linspace(part, 1, last - number + 1)[1:]]
            wanted, top = marks[-1] * np.concatenate(parts), float(number)
        places = PchipInterpolator(marks, places)(wanted)
    return places
