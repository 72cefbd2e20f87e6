"""Relax a structure to the nearest minimum: reactant, product and the ends of an IRC."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from ase import Atoms
from ase.optimize import BFGS

from horm_calc.chemistry.thermochemistry import normal_modes
from workflows.errors import CalculatorFailed, StageError
from workflows.limits import run_with_limit
from workflows.logs import log_of, log_with_cause
from workflows.methods.contracts import Minimiser
from workflows.methods.registry import MINIMISERS, loaded
from workflows.records import Minimum, Saddle
from workflows.settings import EndpointSettings
from workflows.stages.stage import stage
from workflows.surface import Surface

#: A stationary point.
Point = TypeVar("Point", bound=Minimum | Saddle)

METHODS: dict[str, Minimiser] = loaded(MINIMISERS)

#: Takes over where another breaks down: its coordinates let fragments move and turn apart from
#: what is inside them, at which others lose their footing.
SECOND = "geometric"

#: How often a relaxed structure may turn out to be a saddle point before it is taken as it is.
DESCENTS = 3

#: How far the atom that moves most goes along an imaginary mode, Å.
PUSH = 0.1

#: From there the force criterion is divided by this. Down from a flat saddle point, as of molecules
#: that hold each other loosely, the slope stays below the one that is good enough elsewhere.
FINER = 5

#: How far an atom goes in a step that must not leave a shallow minimum, Å.
SHORT = 0.05


@stage
def relax(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Minimum:
    """Relax `atoms` until the largest force component is below `settings.max_force`.

    Where the method of the settings breaks down, geomeTRIC starts anew. A structure that ran
    out of steps comes back with `converged=False` and the reason. Raises `CalculatorFailed`,
    `StageTimeout`, or `StageError` when both optimisers break.
    """
    return run_with_limit(partial(_relaxed, atoms, surface, settings), settings.wall_time)


@stage
def settle(atoms: Atoms, threshold: float, surface: Surface, settings: EndpointSettings) -> Minimum:
    """Relax `atoms` to a minimum, with its normal modes; raises what `relax` raises.

    Forces vanish at saddle points too, as of planar ammonia, and relaxation cannot leave what
    symmetry keeps in place. Where a frequency lies below minus `threshold`, cm⁻¹, it goes on
    from a step along that mode.
    """
    call = partial(_settled, atoms, threshold, surface, settings)
    return run_with_limit(call, settings.wall_time)


def _settled(
    atoms: Atoms, threshold: float, surface: Surface, settings: EndpointSettings
) -> Minimum:
    minimum = _relaxed(atoms, surface, settings)
    for descents in range(DESCENTS + 1):
        if not minimum.converged:
            break
        try:
            hessian = surface.get_hessian(minimum.atoms)
        except CalculatorFailed:
            break  # a search can do without; thermochemistry says what is wrong
        modes = normal_modes(minimum.atoms, hessian)
        minimum = dataclasses.replace(minimum, hessian=hessian, modes=modes)
        if not len(modes.imaginary_frequencies(threshold)) or descents == DESCENTS:
            break
        start = _downhill(minimum.atoms, modes.displacements[0], surface)
        further = _relaxed_finely(start, surface, settings)
        note = f"\n{modes.frequencies[0]:.0f} cm⁻¹: a saddle point; on along its mode\n"
        minimum = dataclasses.replace(further, log=minimum.log + note + further.log)
    return minimum


@stage
def end_with_modes(minimum: Minimum, surface: Surface, settings: EndpointSettings) -> Minimum:
    """A relaxed structure with its Hessian and normal modes.

    Raises `CalculatorFailed`, `StageTimeout`.
    """
    found = with_modes(minimum, surface, settings)
    assert found.modes is not None
    lowest = ", ".join(f"{value:.0f}" for value in found.modes.frequencies[:3])
    note = f"Hessian of a relaxed end; lowest frequencies: {lowest} cm⁻¹"
    return dataclasses.replace(found, log=note)


def with_modes(point: Point, surface: Surface, settings: EndpointSettings) -> Point:
    """With its Hessian and its normal modes, if it lacks them.

    Raises `CalculatorFailed`, `StageTimeout`.
    """
    if point.modes is not None:
        return point
    hessian = run_with_limit(partial(surface.get_hessian, point.atoms), settings.wall_time)
    modes = normal_modes(point.atoms, hessian)
    return dataclasses.replace(point, hessian=hessian, modes=modes)


@stage
def descend(
    atoms: Atoms, kept: Callable[[Atoms], bool], surface: Surface, settings: EndpointSettings
) -> Minimum:
    """Relax `atoms` in steps too short to leave a shallow minimum.

    Comes back with `converged=False` once what they have become is not `kept`. Raises what `relax`
    raises.
    """
    return run_with_limit(partial(_descended, atoms, kept, surface, settings), settings.wall_time)


def _descended(
    atoms: Atoms, kept: Callable[[Atoms], bool], surface: Surface, settings: EndpointSettings
) -> Minimum:
    walker = atoms.copy()
    walker.calc = surface
    surface.watch.begin_steps()
    with log_of("ASE") as log:
        steps = BFGS(walker, logfile=log, maxstep=SHORT)  # type: ignore[arg-type]
        for _ in steps.irun(fmax=settings.max_force, steps=settings.max_steps):
            if not kept(walker):
                break
    walker.calc = None
    energy, forces = surface.at(walker)
    converged, reason = force_criterion(forces, settings)
    converged = converged and kept(walker)
    return Minimum(
        walker,
        energy=energy,
        forces=forces,
        method="bfgs",
        converged=converged,
        reason=reason,
        log=log.getvalue(),
    )


def _relaxed(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Minimum:
    method, relaxed, log = settings.method, atoms.copy(), ""
    if len(atoms) > 1:
        method, relaxed, log = _optimised(atoms, surface, settings)
    energy, forces = surface.at(relaxed)
    converged, reason = force_criterion(forces, settings)
    return Minimum(
        relaxed,
        energy=energy,
        forces=forces,
        method=method,
        converged=converged,
        reason=reason,
        log=log,
    )


def _relaxed_finely(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Minimum:
    """As `_relaxed`, but on to smaller forces, as far as these can be reached."""
    finer = dataclasses.replace(settings, max_force=settings.max_force / FINER)
    minimum = _relaxed(atoms, surface, finer)
    converged, reason = force_criterion(minimum.forces, settings)
    return dataclasses.replace(minimum, converged=converged, reason=reason)


def _optimised(
    atoms: Atoms, surface: Surface, settings: EndpointSettings
) -> tuple[str, Atoms, str]:
    """The method that relaxed `atoms`, what it made of them, and what it printed."""

    def run(method: str) -> tuple[str, Atoms, str]:
        surface.watch.begin_steps()
        return method, *METHODS[method](atoms, surface, settings)

    try:
        return run(settings.method)
    except StageError as error:
        if settings.method == SECOND:
            raise
        first = error
    try:
        method, relaxed, log = run(SECOND)
    except StageError:
        raise first from first.__cause__
    return method, relaxed, f"{log_with_cause(first)}\n{first}; {SECOND} instead\n{log}"


def _downhill(atoms: Atoms, mode: np.ndarray, surface: Surface) -> Atoms:
    """`atoms` moved along `mode`, (N, 3), to the side of the lower energy."""
    step = mode * (PUSH / np.linalg.norm(mode, axis=1).max())
    sides: list[Atoms] = [atoms.copy(), atoms.copy()]
    for side, sign in zip(sides, (1, -1), strict=True):
        side.positions += sign * step
    return min(sides, key=lambda side: surface.at(side)[0])


def force_criterion(forces: np.ndarray, settings: object) -> tuple[bool, str]:
    """Is the largest force component within `settings.max_force`, and if not, in words why."""
    largest, limit = float(np.abs(forces).max()), settings.max_force  # type: ignore[attr-defined]
    if largest <= limit:
        return True, ""
    return False, (
        f"stopped with a largest force component of {largest:.4f} eV/Å (limit {limit:g}) "
        f"within {settings.max_steps} steps"  # type: ignore[attr-defined]
    )
