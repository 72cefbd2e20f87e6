"""Rate constants of the reactions of a stored run."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from horm_calc.chemistry.isotope_effects import IsotopeEffect, isotope_effect
from horm_calc.chemistry.kinetics import Assumptions, Kinetics, Side, kinetics, side_of
from horm_calc.chemistry.thermochemistry import ThermochemistryError
from reactbench_runner.kinetics.isotopes import Substitution, read_isotopes
from reactbench_runner.kinetics.notes import notes_of
from reactbench_runner.kinetics.stored import NoKinetics, isotopologues_of, why_not
from reactbench_runner.storage.database import Entry
from reactbench_runner.storage.reading import StoredRun, open_run
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.store import Say
from workflows.errors import InputError
from workflows.records import Label
from workflows.settings import SaddleSettings, ThermoSettings, VerdictSettings

#: Of soft vibrations.
TREATMENTS = ("rrho", "grimme", "truhlar")


@dataclass(frozen=True)
class ReactionKinetics:
    """What transition-state theory says of one reaction of a run.

    Attributes
    ----------
    id, verdict, level_of_theory
        As stored.
    reason
        Why there are no numbers; "" where there are.
    notes
        What a person should know who uses the numbers.
    assumptions
        Behind the free energies.
    at
        Rate and equilibrium constants at each temperature; with `isotopes`, of the light
        isotopologue.
    complexes
        At each temperature, the thermochemistry of ends that consist of several molecules, as they
        were relaxed together, by "reactant" and "product". Rate constants do not count from these.
    isotopes
        The atoms with other isotopes: '3:D'; "" without any.
    heavy
        As `at`, of the heavy isotopologue.
    effects
        Kinetic isotope effects at each temperature.
    """

    id: str
    verdict: Label
    level_of_theory: str
    assumptions: Assumptions
    reason: str = ""
    notes: tuple[str, ...] = ()
    at: tuple[Kinetics, ...] = ()
    complexes: tuple[Mapping[str, Side], ...] = ()
    isotopes: str = ""
    heavy: tuple[Kinetics, ...] = ()
    effects: tuple[IsotopeEffect, ...] = ()


def stored_kinetics(
    run: Path | str,
    temperatures: Sequence[float] = (),
    *,
    treatment: str | None = None,
    pressure: float | None = None,
    concentration: float = 1.0,
    isotopes: Sequence[str] = (),
    reactions: Collection[str] = (),
    say: Say = lambda text: None,
) -> Iterator[ReactionKinetics]:
    """Rate constants of the reactions of a stored run, from its Hessians alone.

    Parameters
    ----------
    run
        The folder of `--out`.
    temperatures
        K; by default that of the run.
    treatment
        Of soft vibrations, "rrho", "grimme" or "truhlar"; by default that of the run.
    pressure
        Of the standard state, Pa; by default that of the run.
    concentration
        Of the other standard state, mol/L.
    isotopes
        As in '3:D' and '1:13C', with atoms counted from 1: kinetic isotope effects.
    reactions
        Their ids; by default all that have finished.
    say
        Hears of damaged records.

    Returns
    -------
    Iterator of ReactionKinetics
        Every reaction, also those that have no rate constant, with the reason.

    Raises
    ------
    InputError
        For a folder without a run, a reaction that it does not have, and conditions or isotopes
        that mean nothing. Isotopes that a reaction does not have: when its turn comes.
    """
    stored = open_run(Path(run))
    names = "treatment", "temperature", "pressure", "cutoff"
    thermo = ThermoSettings(**_known(stored, "thermo", *names))
    saddle = SaddleSettings(**_known(stored, "saddle", "imaginary_threshold"))
    chosen = Assumptions(
        treatment=treatment or thermo.treatment,
        pressure=thermo.pressure if pressure is None else pressure,
        concentration=concentration,
        cutoff=thermo.cutoff,
        imaginary_threshold=saddle.imaginary_threshold,
    )
    warm = tuple(float(one) for one in temperatures) or (thermo.temperature,)
    _check(chosen, warm)
    substitution = read_isotopes(isotopes)
    if reactions:
        _check_known(stored, reactions)
    return _each(stored, warm, chosen, substitution, frozenset(reactions), say)


def _check(chosen: Assumptions, temperatures: Sequence[float]) -> None:
    """Raise `InputError` for conditions that mean nothing."""
    if chosen.treatment not in TREATMENTS:
        raise InputError(f"the treatment '{chosen.treatment}' is not one of {list(TREATMENTS)}")
    given = {"pressure": chosen.pressure, "concentration": chosen.concentration}
    for name, value in (*given.items(), *(("temperature", one) for one in temperatures)):
        if not 0 < value < math.inf:
            raise InputError(f"the {name} is {value:g}; give a number above zero")


def _known(run: StoredRun, stage: str, *names: str) -> dict[str, Any]:
    """The settings of a stage with these names, as far as they are stored."""
    stored = run.settings.get(stage, {})
    return {name: stored[name] for name in names if name in stored}


def _check_known(run: StoredRun, reactions: Collection[str]) -> None:
    known = {row.id for row in run.rows()}
    for name in reactions:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"{run.folder} has no finished reaction '{name}'{hint}")


def _each(
    run: StoredRun,
    temperatures: Sequence[float],
    chosen: Assumptions,
    substitution: Substitution,
    reactions: frozenset[str],
    say: Say,
) -> Iterator[ReactionKinetics]:
    verdict = VerdictSettings(**_known(run, "verdict", "bond_factor", "margin"))

    def is_asked(row: ResultRow) -> bool:
        return not reactions or row.id in reactions

    for row, stored in run.searches(lambda row: is_asked(row) and not why_not(row), say):
        if is_asked(row):
            yield _of_reaction(row, stored, verdict, temperatures, chosen, substitution)


def _of_reaction(
    row: ResultRow,
    stored: Mapping[str, Entry],
    verdict: VerdictSettings,
    temperatures: Sequence[float],
    chosen: Assumptions,
    substitution: Substitution,
) -> ReactionKinetics:
    about = row.id, row.verdict, row.level_of_theory, chosen
    try:
        if reason := why_not(row):
            raise NoKinetics(reason)
        light, heavy = isotopologues_of(row, stored, verdict, substitution)
        at = tuple(kinetics(light.points, warm, chosen) for warm in temperatures)
        complexes = tuple(
            {end: side_of([one], 0, warm, chosen) for end, one in light.complexes.items()}
            for warm in temperatures
        )
        other = tuple(kinetics(heavy.points, warm, chosen) for warm in temperatures)
        pairs = zip(at, other, strict=True)
        effects = tuple(isotope_effect(*pair) for pair in pairs) if substitution else ()
    except (NoKinetics, ThermochemistryError) as error:
        return ReactionKinetics(*about, reason=str(error))
    return ReactionKinetics(
        *about,
        notes=tuple(notes_of(row, at, effects)),
        at=at,
        complexes=complexes,
        isotopes=", ".join(f"{index + 1}:{one.name}" for index, one in substitution.items()),
        heavy=other if substitution else (),
        effects=effects,
    )
