"""A path from reactant to product, whose highest image is the guess for the saddle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from horm_calc.chemistry.superposition import laid_upon
from workflows.images import prepare, with_answers
from workflows.limits import run_with_limit
from workflows.logs import Log
from workflows.methods.contracts import PathMethod
from workflows.methods.registry import PATH_METHODS, loaded
from workflows.records import ReactionPath
from workflows.settings import PathSettings
from workflows.stages.stage import stage
from workflows.surface import Surface

METHODS: dict[str, PathMethod] = loaded(PATH_METHODS)


@stage
def find_path(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> ReactionPath:
    """Connect two minima; the ends stay as they are, aligned on each other.

    A path that ran out of cycles still has a highest image and is returned with
    `converged=False` and the reason. Raises `NotConverged` when the string did not grow
    together, `CalculatorFailed`, `StageTimeout`, `StageError`.
    """
    return run_with_limit(lambda: _found(reactant, product, surface, settings), settings.wall_time)


def _found(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> ReactionPath:
    method = settings.method
    images, converged, printed = METHODS[method](reactant, product, surface, settings)
    log = Log(printed)
    prepare(images, surface)
    images = with_answers(images, surface, log)
    energies = np.array([surface.at(image)[0] for image in images])
    reason = "" if converged else f"not converged in {settings.max_steps} cycles"
    return ReactionPath(
        tuple(images),
        energies,
        method=method,
        converged=converged,
        reason=reason,
        log=log.getvalue(),
    )


@stage
def through(
    reactant: Atoms, inner: Sequence[Atoms], product: Atoms, method: str, surface: Surface
) -> ReactionPath:
    """A path over structures that are there already, of the same atoms in the same order.

    inner: one at least, between the ends. `method` says where they come from. Raises
    `CalculatorFailed`.
    """
    images = [reactant]
    for image in (*inner, product):
        images.append(laid_upon(images[-1], with_positions(reactant, image.positions)))
    prepare(images, surface)
    energies = np.array([surface.at(image)[0] for image in images])
    return ReactionPath(tuple(images), energies, method=method, converged=True)
