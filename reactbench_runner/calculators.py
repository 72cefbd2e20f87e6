"""The calculators that `--calculator NAME` knows, one entry each.

An entry builds an ASE calculator for a charge and a multiplicity. A calculator with
`get_hessian(atoms)` ((3N, 3N), eV/Å²) is asked for its Hessians; for the others they come
from central differences of forces.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator

from workflows.errors import SettingsError

Builder = Callable[[int, int], Calculator]


@dataclass(frozen=True)
class Entry:
    """A calculator that can be named: how to build it and what it is."""

    build: Builder
    level_of_theory: str


def build(name: str, charge: int = 0, multiplicity: int = 1) -> Calculator:
    """The calculator called `name`. Raises `SettingsError` with the nearest known name."""
    return entry(name).build(charge, multiplicity)


def entry(name: str) -> Entry:
    """The registry entry called `name`. Raises `SettingsError` for an unknown name."""
    try:
        return CALCULATORS[name]
    except KeyError:
        near = difflib.get_close_matches(name, CALCULATORS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise SettingsError(
            f"unknown calculator '{name}'{hint} Known: {', '.join(CALCULATORS)}"
        ) from None


def _tblite(method: str) -> Builder:
    def build(charge: int, multiplicity: int) -> Calculator:
        from tblite.ase import TBLite

        class RestartingTBLite(TBLite):
            """tblite that starts the SCF anew when it fails from the last density.

            tblite starts from the density of the last geometry, which is fast but can lead
            into oscillation where a fresh start converges.
            """

            def calculate(self, atoms: Atoms | None = None, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
                try:
                    super().calculate(atoms, *arguments, **options)
                except CalculationFailed:
                    self._res = self._xtb = None
                    super().calculate(atoms, *arguments, **options)

        return RestartingTBLite(
            method=method, charge=charge, multiplicity=multiplicity, verbosity=0
        )

    return build


CALCULATORS: dict[str, Entry] = {
    "gfn2-xtb": Entry(_tblite("GFN2-xTB"), "GFN2-xTB (tblite)"),
    "gfn1-xtb": Entry(_tblite("GFN1-xTB"), "GFN1-xTB (tblite)"),
}
