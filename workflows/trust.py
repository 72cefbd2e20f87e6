"""Can a calculator be believed: does it know such structures, are its second derivatives right?

A network's Hessian can be wrong where its forces are right: it may hold something fixed that
moves, or have spikes narrower than any step. Modes, IRC and free energies would then belong to
another surface than the one that was searched. Central differences of the forces along a few
directions show it for six gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.thermochemistry import normal_modes
from workflows.errors import StageError
from workflows.limits import run_with_limit
from workflows.records import HessianCheck
from workflows.surface import Surface

#: Displacement along a direction of unit length, Å. At saddles of GFN2-xTB truncation is then
#: below 0.01 eV/Å² (0.05 for HCN, where one direction is mostly the triple bond), and it grows
#: with the square of the step. Noise of single-precision forces, 1.5e-4 eV/Å (RMS) in the
#: worst network, makes about 0.15 for 17 atoms, and grows with the inverse of the step. A
#: curvature that changes within so little is no molecule's: bonds vibrate by 0.1 Å.
STEP = 0.005

#: The lowest mode and two random ones.
DIRECTIONS = 3


def check_hessian(surface: Surface, atoms: Atoms, hessian: np.ndarray) -> HessianCheck | None:
    """Compare `hessian` (3N, 3N), eV/Å², with differences of forces; None without vibrations.

    Directions v are the lowest mode of the mass-weighted Hessian, along which the IRC leaves,
    and random ones, always the same, all of unit length, orthogonal to each other and without
    translation and rotation. The whole vector H v is compared, not v·H v alone: errors cannot
    cancel, and since the curvature along v differs by no more than the vector, a curvature
    more negative than the error is negative on the surface of the forces too.
    """
    vibrations = normal_modes(atoms, hessian).displacements.reshape(-1, 3 * len(atoms))
    if len(vibrations) == 0:
        return None
    random = np.random.default_rng(0).standard_normal((DIRECTIONS - 1, len(vibrations)))
    wanted = np.vstack([vibrations[:1], random @ vibrations])[: len(vibrations)]
    directions = np.linalg.qr(wanted.T)[0].T
    errors = []
    for direction in directions:
        shift = STEP * direction.reshape(-1, 3)
        sides = (with_positions(atoms, atoms.positions + sign * shift) for sign in (-1, 1))
        before, after = (surface.at(side)[1].ravel() for side in sides)
        difference = hessian @ direction - (before - after) / (2 * STEP)
        errors.append(float(np.linalg.norm(difference)))
    return HessianCheck(tuple(errors))


def concerns_about(
    structures: list[Atoms],
    surface: Surface,
    wall_time: float,
    broken: Callable[[StageError], None] = lambda error: None,
) -> list[str]:
    """Why the calculator may be wrong at structures, if it can say so, in `wall_time` seconds.

    That it breaks down over that question must cost no search; it is a concern too, and `broken`
    hears of it.
    """

    def ask() -> list[str]:
        return [text for atoms in structures for text in surface.concerns(atoms)]

    try:
        return run_with_limit(ask, wall_time)
    except StageError as error:
        broken(error)
        return [f"whether the calculator is valid for such structures is not known: {error}"]
