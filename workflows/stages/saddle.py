"""Refine a guess to a first-order saddle point and prove that it is one."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import normal_modes
from workflows.errors import StageError
from workflows.limits import run_with_limit
from workflows.methods.contracts import SaddleOptimiser
from workflows.methods.registry import SADDLE_OPTIMISERS, loaded
from workflows.records import Saddle
from workflows.settings import SaddleSettings
from workflows.stages.endpoints import force_criterion
from workflows.stages.stage import stage
from workflows.surface import Surface
from workflows.trust import check_hessian

METHODS: dict[str, SaddleOptimiser] = loaded(SADDLE_OPTIMISERS)

#: Takes over where another does not come to rest, in internal coordinates. With an exact Hessian at
#: every step, if the calculator has Hessians of its own; others would take thousands of gradients.
SECOND = "rsirfo"


@stage
def refine(guess: Atoms, surface: Surface, settings: SaddleSettings) -> Saddle:
    """Walk from `guess` to a stationary point and compute its Hessian and modes.

    `converged` means both: the largest force component is within `settings.max_force`, and
    exactly one mode lies below `-settings.imaginary_threshold` cm⁻¹ after translations and
    rotations are projected out. Otherwise `reason` says what is wrong. Where the method does not
    come to rest, another starts anew. A calculator's own Hessian is held against its forces.
    Raises `CalculatorFailed`, `StageTimeout`, or `StageError` when the optimiser breaks.
    """

    def walk() -> Saddle:
        first = _walk(guess, None, surface, settings)
        at_rest, _ = force_criterion(first.forces, settings)
        if at_rest or settings.method == SECOND:
            return first
        every = 1 if surface.capabilities.hessians else settings.hessian_every
        other = dataclasses.replace(settings, method=SECOND, hessian_every=every)
        try:
            second = _walk(guess, None, surface, other)
        except StageError:
            return first
        note = f"\n{settings.method} {first.reason}; {SECOND} instead\n"
        return dataclasses.replace(second, log=first.log + note + second.log)

    return run_with_limit(walk, settings.wall_time)


@stage
def refine_again(known: Saddle, surface: Surface, settings: SaddleSettings) -> Saddle:
    """Walk from the saddle of another surface to the one of this surface, as `refine` does.

    The Hessian of `known` is where the optimiser starts from. It is updated, not computed anew
    every so often (`settings.hessian_every` does not apply). The one at the end is of this surface.
    """
    call = partial(_walk, known.atoms, known.hessian, surface, settings)
    return run_with_limit(call, settings.wall_time)


def _walk(
    guess: Atoms, start: np.ndarray | None, surface: Surface, settings: SaddleSettings
) -> Saddle:
    method = METHODS[settings.method]
    surface.watch.begin_steps()
    atoms, log = method(guess, surface, settings, start)
    energy, forces = surface.at(atoms)
    hessian = surface.get_hessian(atoms)
    modes = normal_modes(atoms, hessian)
    converged, reason = force_criterion(forces, settings)
    imaginary = modes.imaginary_frequencies(settings.imaginary_threshold)
    if converged and len(imaginary) != 1:
        converged, reason = False, _wrong_order(imaginary, settings.imaginary_threshold)
    check = check_hessian(surface, atoms, hessian) if surface.capabilities.hessians else None
    return Saddle(
        atoms,
        energy=energy,
        forces=forces,
        hessian=hessian,
        modes=modes,
        method=settings.method,
        converged=converged,
        reason=reason,
        hessian_check=check,
        log=log,
    )


def _wrong_order(imaginary: np.ndarray, threshold: float) -> str:
    if len(imaginary) == 0:
        return f"no imaginary mode beyond {threshold:g}i cm⁻¹: a minimum, not a saddle"
    values = ", ".join(f"{-value:.0f}i" for value in imaginary)
    return f"{len(imaginary)} imaginary modes ({values} cm⁻¹): not a first-order saddle"
