"""What is refused, what is warned of, and what passes in silence."""

from __future__ import annotations

import time
import tracemalloc
import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from horm_calc.input_checks import (
    CLOSEST,
    OutsideTrainingDomain,
    UnsupportedInput,
    check,
    concerns,
)

CUTOFF = 10.0


def water(**info) -> Atoms:
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


def with_charges(*charges: float) -> Atoms:
    atoms = molecule("H2O")
    atoms.set_initial_charges(charges)
    return atoms


def with_moments(*moments: float) -> Atoms:
    atoms = molecule("H2O")
    atoms.set_initial_magnetic_moments(moments)
    return atoms


def at(value: float) -> Atoms:
    atoms = molecule("H2O")
    atoms.positions[2, 1] = value
    return atoms


ORDINARY = {
    "water": molecule("H2O"),
    "charges that cancel": with_charges(-0.8, 0.4, 0.4),
    "told to be a singlet": water(charge=0, spin=1),
    "a comment that ASE takes for words": water(charge=True),
    "told to be a singlet otherwise": water(multiplicity=1, spin_multiplicity=1),
    "told in words": water(charge="0", spin=True),
    "charges with few digits": with_charges(-0.67, 0.34, 0.34),
    "with no unpaired electrons": water(spin=0),
    "in a box that is not periodic": Atoms(molecule("H2O"), cell=[9, 9, 9]),
    "far from the origin": Atoms(molecule("H2O"), positions=molecule("H2O").positions + 1e4),
    "loosely bound": Atoms("HHHH", [[0, 0, z] for z in (0, 0.8, 9.0, 9.8)]),
    "longer than the cut-off": Atoms("HHHH", [[0, 0, z] for z in (0, 6.0, 12.0, 18.0)]),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_structures(case) -> None:
    before = ORDINARY[case].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(ORDINARY[case], CUTOFF)
    assert ORDINARY[case] == before


REFUSED = {
    "nothing": (Atoms(), "there are no atoms"),
    "not a number": (at(np.nan), "not a finite number"),
    "infinite": (at(np.inf), "not a finite number"),
    "elements": (Atoms("SClH", [[0, 0, z] for z in range(3)]), "H, C, N and O, not Cl, S"),
    "a dummy atom": (Atoms("XO", [[0, 0, 0], [0, 0, 1]]), "not X"),
    "periodic": (Atoms(molecule("H2O"), cell=[9, 9, 9], pbc=[0, 0, 1]), "atoms.pbc = False"),
    "a cation": (with_charges(1, 0, 0), "charged"),
    "told to be an anion": (water(charge=-1), "charged"),
    "a triplet": (with_moments(1, 1, 0), "unpaired electrons"),
    "moments that cancel": (with_moments(0, 1, -1), "unpaired electrons"),
    "told to be a triplet": (water(spin=3), "unpaired electrons"),
    "told to be a triplet otherwise": (water(multiplicity=3), "unpaired electrons"),
    "and otherwise again": (water(spin_multiplicity=3), "spin_multiplicity is 3"),
    "told twice": (water(spin=0, multiplicity=3), "multiplicity is 3"),
    "told in words that are no number": (water(charge="minus one"), "charge is minus one"),
    "an odd number of electrons": (molecule("CH3"), "unpaired electrons"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_structures_that_are_refused(case) -> None:
    atoms, message = REFUSED[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnsupportedInput, match=message):
            check(atoms, CUTOFF)


def test_refusals_are_value_errors() -> None:
    """So that programs need not know this package."""
    assert issubclass(UnsupportedInput, ValueError)


def pair(distance: float) -> Atoms:
    return Atoms("OO", [[0, 0, 0], [0, 0, distance]])


@pytest.mark.parametrize("distance", [0.01, 0.2, CLOSEST - 1e-3])
def test_atoms_too_close(distance) -> None:
    with pytest.warns(OutsideTrainingDomain, match=f"O0 and O1 are {distance:.2f} Å apart"):
        check(pair(distance), CUTOFF)


@pytest.mark.parametrize(("distance", "cutoff"), [(10.001, 10.0), (5.001, 5.0), (1e6, 12.0)])
def test_parts_too_far_apart(distance, cutoff) -> None:
    with pytest.warns(OutsideTrainingDomain, match=rf"cut-off \({cutoff} Å\)"):
        check(pair(distance), cutoff)


@pytest.mark.parametrize("distance", [CLOSEST + 1e-3, 9.999])
def test_neither_too_close_nor_too_far(distance) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(pair(distance), CUTOFF)


def test_both_at_once() -> None:
    atoms = pair(0.3) + Atoms("O", [[0, 0, 50]])
    with pytest.warns(OutsideTrainingDomain) as told:
        check(atoms, CUTOFF)
    assert len(told) == 2


@pytest.mark.parametrize("element", "CO")
def test_an_atom_alone(element) -> None:
    """horm-mini is off by 1.5 eV for oxygen: it comes up where a molecule loses an atom."""
    with pytest.warns(OutsideTrainingDomain, match="an atom alone"):
        check(Atoms(element), CUTOFF)


def test_larger_than_what_was_trained_on() -> None:
    methane = molecule("CH4")
    with pytest.warns(OutsideTrainingDomain, match="5 atoms; the molecules .* have 4 at most"):
        check(methane, CUTOFF, most_atoms=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(methane, CUTOFF, most_atoms=5)
        check(methane, CUTOFF)


def test_twelve_thousand_atoms_take_neither_time_nor_memory() -> None:
    """All their distances take 7 GB, and the check is made at each step."""
    places = np.stack(np.meshgrid(*[np.arange(24.0)] * 3), -1).reshape(-1, 3)[:12_000]
    atoms = Atoms("C12000", 1.6 * places)
    tracemalloc.start()
    start = time.process_time()
    assert concerns(atoms, CUTOFF) == []
    atoms.positions[-1] += 50
    [concern] = concerns(atoms, CUTOFF)
    assert "further apart than the network's cut-off" in concern
    assert time.process_time() - start < 10
    assert tracemalloc.get_traced_memory()[1] < 1e9
    tracemalloc.stop()


def test_three_atoms_in_one_place() -> None:
    with pytest.raises(UnsupportedInput, match="are in the same place"):
        concerns(Atoms("CO4", [[0, 0, 0], *[[0, 0, 1.2]] * 3, [0, 0, 2.4]]), CUTOFF)
