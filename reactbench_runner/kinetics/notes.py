"""What a person should know who uses rate constants: sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from horm_calc.chemistry.isotope_effects import IsotopeEffect
from horm_calc.chemistry.kinetics import Kinetics
from horm_calc.chemistry.tunnelling import reduced_frequency
from reactbench_runner.storage.rows import ResultRow
from workflows.records import Label

IN_STEPS = (
    "in steps: the rate constant is that of crossing the highest saddle from the reactant, with "
    "everything before it in equilibrium. It is an upper bound of the rate constant of the whole "
    "reaction, because other saddles of similar height slow it down; there is no kinetic model of "
    "all steps"
)
SUBMERGED = (
    "the saddle lies below the separate molecules, zero-point energies included: how often they "
    "meet may limit the reaction, and the rate constant is an upper bound"
)
TRAPPED = (
    "an intermediate lies below the reactant: once it has collected there, the barrier to the "
    "next saddles counts from it (energetic span), and the reaction is slower still"
)

IN_SOLUTION = (
    "the electronic energies contain the free energy of solvation at 298.15 K. Where molecules "
    "meet or part, the numbers at a concentration are those in solution"
)


def notes_of(
    row: ResultRow, at: Sequence[Kinetics], effects: Sequence[IsotopeEffect]
) -> Iterator[str]:
    """Of one reaction that has rate constants."""
    if row.verdict is Label.IN_STEPS:
        yield IN_STEPS
        heights = [float(word) for word in row.step_energies_kcal_per_mol.split(",") if word]
        if any(height < 0 for height in heights[1::2]):
            yield TRAPPED
    if row.solvent:
        yield f"in {row.solvent}: {IN_SOLUTION}"
    for end, names in (("reactants", row.reactant_molecules), ("products", row.product_molecules)):
        if names:
            yield f"the {end} are separate molecules, {names}"
    if _same_molecules(at[0]):
        yield "two equal molecules react: the rate is k [A]², and d[A]/dt = -2 k [A]²"
    first = at[0]
    floor = first.reactants.energy + first.reactants.zero_point_energy
    if (
        first.reactants.molecules > 1
        and first.saddle.energy + first.saddle.zero_point_energy < floor
    ):
        yield SUBMERGED
    yield from _on_tunnelling(at)
    if row.warnings:  # of lower-energy paths, other isomers, and Hessians that are uncertain
        yield f"the search warned: {row.warnings}"
    if effects and effects[0].symmetry_factor != 1:
        yield (
            f"the isotope effects contain a factor of {effects[0].symmetry_factor:g} from "
            "symmetry numbers; divide by it for the effect of one given position"
        )


def _on_tunnelling(at: Sequence[Kinetics]) -> Iterator[str]:
    if at[0].no_eckart:
        yield f"no Eckart correction: {at[0].no_eckart}"
    deep = [
        one.temperature
        for one in at
        if reduced_frequency(one.imaginary_frequency, one.temperature) > 2 * np.pi
    ]
    if deep:
        yield (
            f"up to {max(deep):g} K, h|ν‡|/kT is above 2π: most of the reaction tunnels; Wigner's "
            "correction is too small there, and Eckart's is an estimate"
        )


def _same_molecules(one: Kinetics) -> bool:
    return len(one.reactants.parts) == 1 and one.reactants.molecules == 2
