"""Can a search start from these structures at all?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.spatial import KDTree

from horm_calc.capabilities import Capabilities
from horm_calc.chemistry.masses import different_masses
from horm_calc.chemistry.solvents import solvent_name
from horm_calc.structure_files.ase_atoms import stated_electrons
from horm_calc.structure_files.electrons import (
    UnclearElectrons,
    charge_of,
    multiplicity_of,
    settle,
)
from workflows.atom_order import proposal
from workflows.errors import InputError
from workflows.records import Reaction, Start
from workflows.settings import VerdictSettings
from workflows.starts import BondChanges, check_changes

#: Atoms closer than this (Å) coincide; no bond is shorter than H2's 0.74 Å.
COINCIDING = 0.3

#: Where a structure says in its `info` in which solvent it was computed, as the files of a run do.
SOLVENT = "solvent"

#: A Hessian of 2,000 atoms has 0.3 GB, of which a stage needs several, and takes a minute to
#: diagonalise, many times in a search.
MOST_ATOMS = 2000


def check_reaction(start: Start, settings: VerdictSettings | None = None) -> None:
    """Raise `InputError`, with cause and remedy, for what no search can start from.

    settings: those that say which atoms are bonded.
    """
    check_structures(start)
    if isinstance(start, Reaction):
        _check_same_atoms(start)
    _check_masses(start)
    _check_electrons(start)
    if isinstance(start, BondChanges):
        check_changes(start, settings or VerdictSettings())


def check_structures(start: Start) -> None:
    """Raise `InputError` for a structure that is no molecule, whatever the others are."""
    for name, atoms in start.structures.items():
        if len(atoms) < 2:
            raise InputError(f"the {name} has {len(atoms)} atom(s); a reaction needs at least two")
        if not np.isfinite(atoms.positions).all():
            raise InputError(f"the {name} has positions that are not numbers (NaN or infinite)")
        if (atoms.numbers < 1).any() or (atoms.numbers >= len(chemical_symbols)).any():
            raise InputError(f"the {name} has an unknown element")
        if atoms.pbc.any():
            raise InputError(f"the {name} is periodic; molecules only, remove the cell")
        i, j, apart = _closest(atoms)
        if apart < COINCIDING:
            raise InputError(
                f"atoms {i + 1} and {j + 1} of the {name} coincide ({apart:.3f} Å apart)"
            )
        if len(atoms) > MOST_ATOMS:
            raise InputError(
                f"the {name} has {len(atoms)} atoms; a search works with whole Hessians, too much "
                f"memory and time for more than {MOST_ATOMS}: cut out the part that reacts"
            )


def check_calculator(start: Start, capabilities: Capabilities) -> None:
    """Raise `InputError` where the calculator has no answer for such atoms, charges and spins.

    And where it is not built for the solvent of the search.
    """
    problem = capabilities.refusal(start.atoms.numbers.tolist(), start.charge, start.multiplicity)
    if problem:
        raise InputError(
            f"the calculator has no answer for {problem}; search this reaction with another one, "
            "such as gfn2-xtb"
        )
    if problem := other_solvent(start, capabilities):
        raise InputError(problem)


def other_solvent(start: Start, capabilities: Capabilities) -> str:
    """Why a calculator that is built cannot stand for the solvent of `start`; "" where it can."""
    there, solvent = capabilities.solvent, start.solvent
    if there == solvent:
        return ""
    if not solvent:
        return (
            f"the calculator computes in {there} and the reaction is in the gas phase; say so in "
            f"{type(start).__name__}(..., solvent='{there}'), or build the calculator without a "
            "solvent"
        )
    computes = f"in {there}" if there else "in the gas phase"
    return (
        f"the reaction is in {solvent}, and the calculator computes {computes} as far as it says; "
        f"build it with that solvent, such as gfn2_xtb(charge, multiplicity, solvent='{solvent}'). "
        f"A calculator of your own says so by capabilities = Capabilities(solvent='{solvent}')"
    )


def solvent_of_files(start: Start) -> str:
    """That structures are from another solvent than the search has, by their own words; or ""."""
    told = {
        name: solvent_name(words)
        for name, atoms in start.structures.items()
        if isinstance(words := atoms.info.get(SOLVENT), str)
    }
    others = {name: one for name, one in told.items() if one not in ("", start.solvent)}
    if not others:
        return ""
    solvent = next(iter(others.values()))
    names = " and ".join(name for name, one in others.items() if one == solvent)
    here = f"in {start.solvent}" if start.solvent else "in the gas phase"
    return (
        f"the file of the {names} says solvent={solvent}, and this search is {here}; for {solvent} "
        f"give --solvent {solvent}, or solvent='{solvent}' in Python"
    )


def _closest(atoms: Atoms) -> tuple[int, int, float]:
    """The two atoms closest to each other, i < j, and their distance, Å."""
    distances, neighbours = KDTree(atoms.positions).query(atoms.positions, k=2)
    # Of atoms in one place, an atom itself may come second.
    i = int(distances[:, 1].argmin())
    j = int(neighbours[i, 1] if neighbours[i, 1] != i else neighbours[i, 0])
    return min(i, j), max(i, j), float(distances[i, 1])


def _check_same_atoms(reaction: Reaction) -> None:
    reactant, product, guess = reaction.reactant, reaction.product, reaction.guess

    def other_product(place: int) -> str:
        return (
            f"the atom order differs: atom {place + 1} is {reactant.symbols[place]} in the "
            f"reactant but {product.symbols[place]} in the product; {_remedy(reaction)}"
        )

    _check_order({"reactant": reactant, "product": product}, other_product)
    if guess is None:
        return

    def other_guess(place: int) -> str:
        return (
            f"atom {place + 1} is {guess.symbols[place]} in the guess but "
            f"{reactant.symbols[place]} in the reactant; the guess needs the order of the "
            f"reactant: {' '.join(reactant.symbols)}"
        )

    _check_order({"the guess": guess, "the reactant": reactant}, other_guess)


def _check_order(two: dict[str, Atoms], otherwise: Callable[[int], str]) -> None:
    """Raise `InputError` where two structures have other atoms, or the same in another order.

    otherwise: what to say of the first place, counted from 0, where the order differs.
    """
    first, second = two.values()
    if sorted(first.numbers) != sorted(second.numbers):
        words = " but ".join(
            f"{name} is {atoms.get_chemical_formula()}" for name, atoms in two.items()
        )
        raise InputError(f"{words}; both need the same atoms")
    different = np.nonzero(first.numbers != second.numbers)[0]
    if len(different):
        raise InputError(otherwise(int(different[0])))


def _remedy(reaction: Reaction) -> str:
    try:
        limit = VerdictSettings().bond_factor
        order = proposal(reaction.reactant, reaction.product, limit)
    except ValueError:  # other isotopes
        return "reorder one of the files"
    return f"reorder one of the files, or let --remap do it: it would use {order}"


def _check_masses(start: Start) -> None:
    for name, atoms in start.structures.items():
        wrong = np.nonzero(~((masses := atoms.get_masses()) > 0) | np.isinf(masses))[0]
        if len(wrong):
            first = int(wrong[0])
            raise InputError(
                f"{atoms.symbols[first]}{first + 1} of the {name} has the mass {masses[first]:g}; "
                "it is in atomic mass units, 2.014 for deuterium"
            )
    (first_name, reactant), *others = start.structures.items()
    for name, other in others:
        if different := different_masses(reactant, other):
            names = [
                f"{reactant.symbols[i]}{i + 1} {reactant.get_masses()[i]:.6g} in the {first_name}, "
                f"{other.get_masses()[i]:.6g} in the {name}"
                for i in different
            ]
            raise InputError(
                f"the masses differ: {'; '.join(names)}. All need the same isotopes in the same "
                "order, or no word of masses at all"
            )


def _check_electrons(reaction: Start) -> None:
    _check_what_atoms_say(reaction)
    electrons = int(reaction.atoms.numbers.sum()) - reaction.charge
    if reaction.multiplicity < 1:
        raise InputError(f"multiplicity {reaction.multiplicity}; it is 1 for a singlet")
    if electrons < 1:
        raise InputError(f"charge {reaction.charge} leaves no electron")
    unpaired = reaction.multiplicity - 1
    if (electrons - unpaired) % 2 or unpaired > electrons:
        parity = "odd" if electrons % 2 == 0 else "even"
        raise InputError(
            f"charge {reaction.charge} and multiplicity {reaction.multiplicity} do not go "
            f"together: {electrons} electrons need an {parity} multiplicity up to "
            f"{electrons + 1}; state both in the columns 'charge' and 'multiplicity' of a CSV, "
            "or in the comment lines of an xyz file (charge=-1 multiplicity=2)"
        )


def _check_what_atoms_say(reaction: Start) -> None:
    """Against the numbers of the reaction; of files that ASE has read, the words are in `info`."""
    kind = type(reaction).__name__
    told = charge_of(f"charge={reaction.charge} of the {kind}", reaction.charge)
    spin = reaction.multiplicity
    told += multiplicity_of(f"multiplicity={spin} of the {kind}", spin)
    try:
        for atoms in reaction.structures.values():
            told += stated_electrons(atoms)
        settle(told, reaction.atoms.numbers)
    except UnclearElectrons as error:
        raise InputError(
            f"{error}. Give charge and multiplicity to the {kind}, or correct what its Atoms say"
        ) from None
