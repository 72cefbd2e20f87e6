"""Barriers and reaction energies, electronic and Gibbs, of a finished search."""

from __future__ import annotations

import time
from dataclasses import dataclass

from horm_calc.chemistry.thermochemistry import (
    Thermochemistry,
    ThermochemistryError,
    thermochemistry,
)
from workflows.errors import StageError
from workflows.logs import log_with_cause
from workflows.records import Cost, Label, Minimum, Saddle, Verdict
from workflows.settings import SearchSettings
from workflows.stages.endpoints import with_modes
from workflows.surface import Surface


@dataclass(frozen=True)
class FreeEnergies:
    """Thermochemistry of "reactant", "product" and "saddle", and why any is missing.

    `log` has the tracebacks of what broke in the calculator.
    """

    found: dict[str, Thermochemistry]
    skipped: dict[str, str]
    cost: Cost
    log: str = ""


def free_energies(
    reactant: Minimum,
    product: Minimum,
    saddle: Saddle | None,
    verdict: Verdict,
    surface: Surface,
    settings: SearchSettings,
) -> FreeEnergies:
    """Thermochemistry of the stationary points of a search.

    Nothing is computed from a point that is unconverged or has the wrong number of
    imaginary modes; its name then stands in `skipped` with the reason.
    """
    found: dict[str, Thermochemistry] = {}
    skipped: dict[str, str] = {}
    logs: list[str] = []
    before, start = surface.evaluations, time.perf_counter()

    def add(name: str, point: Minimum | Saddle, order: int) -> None:
        try:
            found[name] = ideal_gas(point, order, surface, settings)
        except ThermochemistryError as error:
            skipped[name] = str(error)
        except StageError as error:
            skipped[name] = str(error)
            logs.append(log_with_cause(error))

    add("reactant", reactant, 0)
    add("product", product, 0)
    if saddle is None:
        skipped["saddle"] = f"no saddle: {verdict.reason}"
    elif not saddle.converged:
        skipped["saddle"] = saddle.reason
    else:
        add("saddle", saddle, 1)
    cost = Cost(surface.evaluations - before, time.perf_counter() - start)
    return FreeEnergies(found, skipped, cost, "\n".join(logs))


def ideal_gas(
    point: Minimum | Saddle, order: int, surface: Surface, settings: SearchSettings
) -> Thermochemistry:
    """Thermochemistry of a stationary point with `order` imaginary modes, under the settings.

    The multiplicity is that of the surface. Raises `ThermochemistryError`, `StageError`.
    """
    modes = point.modes or with_modes(point, surface, settings.endpoints).modes
    assert modes is not None
    return thermochemistry(
        point.atoms,
        modes,
        point.energy,
        order=order,
        temperature=settings.thermo.temperature,
        pressure=settings.thermo.pressure,
        multiplicity=surface.multiplicity,
        treatment=settings.thermo.treatment,
        cutoff=settings.thermo.cutoff,
        imaginary_threshold=settings.saddle.imaginary_threshold,
    )


def connected_sides(verdict: Verdict) -> tuple[bool, bool]:
    """Is the saddle connected with the reactant, and with the product?

    A barrier is only a barrier from an end that the saddle connects to, perhaps over further steps,
    and of the reaction only where relaxation has made nothing else of the ends.
    """
    if verdict.lost:
        return False, False
    label = verdict.at_limit if verdict.label is Label.AMBIGUOUS else verdict.label
    if label in (Label.INTENDED, Label.IN_STEPS, Label.FOUND):
        return True, True
    if label is Label.PARTLY:
        return verdict.side == "reactant", verdict.side == "product"
    return False, False
