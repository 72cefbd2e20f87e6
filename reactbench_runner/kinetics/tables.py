"""Rate constants as a person reads them: a few tables for each reaction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from horm_calc.chemistry.kinetics import CM3_PER_MOLECULE, Kinetics, Side, rate_unit
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.kinetics.records import CORRECTIONS, fits
from reactbench_runner.kinetics.results import ReactionKinetics

#: What a correction is called.
_CALLED = {"": "none", "_wigner": "Wigner", "_eckart": "Eckart"}


def blocks(found: ReactionKinetics) -> Iterator[RenderableType]:
    """All tables and notes of a reaction."""
    name = f"[bold]{escape(found.id)}[/], {found.verdict}"
    if not found.at:
        yield f"{name}: no rate constant: {escape(found.reason)}"
        return
    isotopes = f"; k of the light isotopologue of {found.isotopes}" if found.isotopes else ""
    yield f"{name}; {escape(found.level_of_theory)}{isotopes}"
    yield _rates(found.at)
    if found.at[0].reactants.molecules > 1 or found.at[0].products.molecules > 1:
        yield _at_concentration(found.at)
    if found.effects:
        yield _isotope_effects(found)
    if equations := _equations(found):
        yield equations
    yield _thermochemistry(found)
    for note in found.notes:
        yield f"[yellow]note:[/] {escape(note)}"


def scientific(log: float | None) -> str:
    """exp(log) with three digits, also where no float holds it; '–' for None."""
    if log is None:
        return "–"
    tens = log / math.log(10)
    power = math.floor(tens)
    digits = f"{10 ** (tens - power):.2f}"
    if digits == "10.00":
        digits, power = "1.00", power + 1
    return f"{digits}e{power:+03d}"


def _rates(at: Sequence[Kinetics]) -> Table:
    unit = rate_unit(at[0].reactants.molecules)
    table = _table("T/K", "ΔH‡", "ΔG‡", "ΔG", "K", "k", "k Wigner", "k Eckart")
    table.caption = (
        f"ΔH‡, ΔG‡, ΔG in kcal/mol at {_pressure(at[0])}; k in {unit}{_unit_of_k(at[0])}"
    )
    for one in at:
        energies = (one.enthalpy_barrier, one.gibbs_barrier, one.reaction_gibbs)
        table.add_row(
            f"{one.temperature:g}",
            *map(_kcal, energies),
            scientific(one.log_equilibrium_constant),
            *_corrected(one, one.log_rate),
        )
    return table


def _unit_of_k(one: Kinetics) -> str:
    more = one.products.molecules - one.reactants.molecules
    return f", K in (mol/L)^{more}" if more else ""


def _at_concentration(at: Sequence[Kinetics]) -> Table:
    """What else there is to say where molecules meet or part."""
    first = at[0]
    meet = first.reactants.molecules == 2
    columns = ("k", "k Wigner", "k Eckart") if meet else ()
    table = _table("T/K", "ΔG‡", "ΔG", *columns)
    table.caption = f"ΔG‡, ΔG in kcal/mol at {first.concentration:g} mol/L"
    if meet:
        table.caption += "; k in cm³ molecule⁻¹ s⁻¹"
    for one in at:
        energies = (one.gibbs_barrier_at_concentration, one.reaction_gibbs_at_concentration)
        cells = _corrected(one, one.log_rate + math.log(CM3_PER_MOLECULE)) if meet else ()
        table.add_row(f"{one.temperature:g}", *map(_kcal, energies), *cells)
    return table


def _isotope_effects(found: ReactionKinetics) -> Table:
    table = _table("T/K", "k light/heavy", "Wigner", "Eckart")
    table.caption = f"kinetic isotope effects of {found.isotopes}"
    for one, effect in zip(found.at, found.effects, strict=True):
        values = (effect.semiclassical, effect.wigner, effect.eckart)
        table.add_row(
            f"{one.temperature:g}", *("–" if one is None else f"{one:.4g}" for one in values)
        )
    return table


def _equations(found: ReactionKinetics) -> Table | None:
    lines = fits(found)
    if not lines:
        return None
    temperatures = [one.temperature for one in found.at]
    table = _table("tunnelling", "A", "n", "E", "largest error of k")
    unit = rate_unit(found.at[0].reactants.molecules)
    table.caption = (
        f"k = A (T/298.15 K)^n exp(-E/RT), {min(temperatures):g} to {max(temperatures):g} K; "
        f"A in {unit}, E in kcal/mol"
    )
    for name, line in lines.items():
        correction = next(one for one in reversed(CORRECTIONS) if name.endswith(one))
        table.add_row(
            _CALLED[correction],
            scientific(line.log_prefactor),
            f"{line.exponent:.2f}" if name.startswith("modified") else "0",
            _kcal(line.activation_energy),
            f"{math.expm1(line.largest_deviation):.1%}",
        )
    return table


def _thermochemistry(found: ReactionKinetics) -> Table:
    table = _table("T/K", "", "zero-point", "H - E", "S", "G - E")
    table.columns[1].justify = "left"
    table.caption = (
        f"relative to the electronic energy, kcal/mol; S in cal/(mol K); {_pressure(found.at[0])}, "
        f"{found.assumptions.treatment}"
    )
    for one, complexes in zip(found.at, found.complexes, strict=True):
        for end, side in (("reactant", one.reactants), ("product", one.products)):
            if end in complexes:
                table.add_row(*_line(one, end, complexes[end]))
            what = f"{end} molecules" if end in complexes else end
            table.add_row(*_line(one, what, side), end_section=end == "product")
            if end == "reactant":
                table.add_row(*_line(one, "transition state", one.saddle))
    return table


def _line(one: Kinetics, what: str, side: Side) -> list[str]:
    entropy = 1000 * to_kcal_per_mol(side.entropy)
    return [
        f"{one.temperature:g}",
        what,
        _kcal(side.zero_point_energy),
        _kcal(side.enthalpy - side.energy),
        f"{entropy:.2f}",
        _kcal(side.gibbs - side.energy),
    ]


def _corrected(one: Kinetics, log: float) -> list[str]:
    factors = (0.0, one.log_wigner, one.log_eckart)
    return [scientific(None if factor is None else log + factor) for factor in factors]


def _kcal(energy: float) -> str:
    return f"{to_kcal_per_mol(energy):.2f}"


def _pressure(one: Kinetics) -> str:
    return f"{one.pressure / 101325:g} atm"


def _table(*titles: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), caption_justify="left")
    for title in titles:
        table.add_column(title, justify="right")
    return table
