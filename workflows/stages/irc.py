"""Follow the intrinsic reaction coordinate from a saddle to both sides."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from workflows.errors import IRCFailed, StageError
from workflows.limits import run_with_limit
from workflows.logs import cause_of
from workflows.methods.contracts import Integrator
from workflows.methods.registry import INTEGRATORS, loaded
from workflows.records import IRC, Saddle
from workflows.settings import IRCSettings
from workflows.stages.stage import stage
from workflows.surface import Surface

METHODS: dict[str, Integrator] = loaded(INTEGRATORS)

#: Beside a shallow minimum, where the energy hardly falls, step and criterion are divided by these.
FINER_STEP, FINER_FORCE = 5, 10

#: An end must lie this far below the saddle to count as descended, eV (0.02 kcal/mol).
LEAST_DESCENT = 1e-3


@stage
def follow(saddle: Saddle, surface: Surface, settings: IRCSettings) -> IRC:
    """Descend from `saddle` in both directions, starting from its Hessian.

    The integrator named in the settings goes first; where it fails, the other one is tried, then
    finer steps if the first did not descend, and the reason is kept. Raises `IRCFailed` when
    `saddle` is no first-order saddle or when none makes a descending step in each direction.
    """
    if not saddle.converged:
        raise IRCFailed(f"the start is not a first-order saddle: {saddle.reason}")
    failures, logs, incomplete = [], [], None
    tries = [(name, settings) for name in sorted(METHODS, key=lambda name: name != settings.method)]
    for method, chosen in tries:
        try:
            irc = run_with_limit(
                partial(_integrate, method, saddle, surface, chosen), settings.wall_time
            )
        except StageError as error:
            failures.append(f"{method}: {error}")
            incomplete = error.partial or incomplete
            logs += [error.log, failures[-1], cause_of(error)]
            if isinstance(error, _Flat) and chosen is settings:
                tries.append((method, _finer(settings)))
            continue
        reason = "; ".join([*failures, irc.reason]).strip("; ")
        return dataclasses.replace(irc, reason=reason, log="\n".join([*logs, irc.log]))
    ending = IRCFailed("; ".join(failures))
    ending.log, ending.partial = "\n".join(logs), incomplete
    raise ending


class _Flat(IRCFailed):
    """The forces fall below the criterion before the energy does."""


def _finer(settings: IRCSettings) -> IRCSettings:
    return dataclasses.replace(
        settings,
        step_length=settings.step_length / FINER_STEP,
        rms_force=settings.rms_force / FINER_FORCE,
    )


def _integrate(method: str, saddle: Saddle, surface: Surface, settings: IRCSettings) -> IRC:
    surface.watch.begin_steps()
    (first, last), arrived, log = METHODS[method](saddle.atoms, saddle.hessian, surface, settings)
    images = (*reversed(first), saddle.atoms, *last)
    energies = np.array([surface.at(image)[0] for image in images])
    reason = (
        ""
        if all(arrived)
        else "stopped before the forces vanish; the relaxation of its end continues"
    )
    irc = IRC(
        images,
        energies,
        saddle_index=len(first),
        arrived=arrived,
        method=method,
        converged=all(arrived),
        reason=reason,
        log=log,
    )
    if not first or not last:
        raise _with(irc, IRCFailed("made no step in one direction"))
    for end in (0, -1):
        if energies[end] > saddle.energy - LEAST_DESCENT:
            raise _with(irc, _Flat("did not descend from the saddle in one direction"))
    return irc


def _with(irc: IRC, error: IRCFailed) -> IRCFailed:
    """The error with the IRC as far as it came."""
    error.partial = dataclasses.replace(irc, converged=False, reason=str(error))
    return error


def turned(irc: IRC) -> IRC:
    """The same path from its last image to its first."""
    return dataclasses.replace(
        irc,
        images=irc.images[::-1],
        energies=irc.energies[::-1],
        saddle_index=len(irc.images) - 1 - irc.saddle_index,
        arrived=irc.arrived[::-1],
    )
