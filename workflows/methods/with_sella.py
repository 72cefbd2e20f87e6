"""Minima, saddles and IRCs with Sella (Hermes et al., JCTC 2022, 18, 6974).

In Cartesian coordinates: the internal ones compile for every new molecule, which takes
longer than a whole search of the small molecules here.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from workflows.errors import IRCFailed
from workflows.logs import Log, log_of
from workflows.methods.contracts import Branches, Walk
from workflows.settings import EndpointSettings, IRCSettings, SaddleSettings
from workflows.surface import Surface


def minimise(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Walk:
    """Relax with Sella of order 0."""
    return _optimise(atoms, surface, settings, order=0)


def refine_saddle(
    guess: Atoms, surface: Surface, settings: SaddleSettings, hessian: np.ndarray | None = None
) -> Walk:
    """P-RFO with exact Hessians every `settings.hessian_every` steps.

    With a `hessian` at `guess`, (3N, 3N), eV/Å², that one is updated from step to step. An
    exact one is then only computed where the updates have lost the negative curvature.
    """
    given = [] if hessian is None else [hessian]
    return _optimise(
        guess,
        surface,
        settings,
        order=1,
        hessian_function=lambda atoms: given.pop() if given else surface.get_hessian(atoms),
        diag_every_n=settings.hessian_every if hessian is None else None,
    )


def follow_irc(
    saddle: Atoms, hessian: np.ndarray, surface: Surface, settings: IRCSettings
) -> Branches:
    """Sella's IRC in both directions."""
    with _contained() as log:
        from sella import IRC
        from sella.optimize.irc import IRCInnerLoopConvergenceFailure

        moving = saddle.copy()
        moving.calc = surface
        irc = IRC(
            moving,
            logfile=log,  # type: ignore[arg-type]  # Sella says str; ASE takes a file too
            dx=_mass_weighted_step(saddle, settings.step_length),
            hessian_function=lambda _: hessian,
        )
        # Sella's criterion is the largest force on an atom; the RMS criterion of the settings is
        # stricter than that by about sqrt(3).
        fmax = settings.rms_force * np.sqrt(3)
        directions, arrived = [], []
        for direction in ("forward", "reverse"):
            images: list[Atoms] = []
            there = False
            try:
                for _ in irc.irun(fmax=fmax, steps=settings.max_steps, direction=direction):
                    # Sella gives atoms without isotopes the masses of the most common ones.
                    images.append(with_positions(saddle, moving.positions))
                    # Sella asks for a Hessian without negative eigenvalues too, and translations
                    # and rotations have such ones at random: it would go to and fro for ever.
                    largest = np.linalg.norm(surface.at(moving)[1], axis=1).max()
                    there = len(images) > 1 and bool(largest <= fmax)
                    if there:
                        break
            except IRCInnerLoopConvergenceFailure:
                if len(images) < 3:
                    raise IRCFailed(f"Sella's inner loop did not converge ({direction})") from None
            directions.append(images[1:])  # the first one is the saddle
            arrived.append(there)
        return Branches(directions, (arrived[0], arrived[1]), log.getvalue())


def _mass_weighted_step(atoms: Atoms, step_length: float) -> float:
    """Sella steps in Å·amu^½; take the mass that moves most, hydrogen or the lightest."""
    return float(step_length * np.sqrt(atoms.get_masses().min()))


def _optimise(
    atoms: Atoms,
    surface: Surface,
    settings: EndpointSettings | SaddleSettings,
    **options: Any,
) -> Walk:
    with _contained() as log:
        from sella import Sella

        moving = atoms.copy()
        moving.calc = surface
        optimizer = Sella(moving, logfile=log, internal=False, **options)  # type: ignore[arg-type]
        optimizer.run(fmax=settings.max_force, steps=settings.max_steps)
        return Walk(with_positions(atoms, moving.positions), log.getvalue())


@contextlib.contextmanager
def _contained() -> Iterator[Log]:
    with log_of("Sella") as log, warnings.catch_warnings(action="ignore"):
        yield log
