"""Thousands of atoms: coincident ones are found, and searches too large are refused, at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from ase import Atoms

from workflows.errors import InputError
from workflows.input_checks import MOST_ATOMS, check_reaction
from workflows.records import Reaction

CUBE = np.stack(np.meshgrid(*[np.arange(23) * 1.5] * 3), -1).reshape(-1, 3)


def structures(number: int, *coinciding: tuple[int, int]) -> Reaction:
    """Hydrogens on a lattice, some of them in the place of others."""
    positions = CUBE[:number].copy()
    for one, other in coinciding:
        positions[other] = positions[one] + [0.1, 0, 0]
    return Reaction("large", Atoms(f"H{number}", positions), Atoms(f"H{number}", positions))


@pytest.mark.parametrize(
    ("number", "coinciding", "words"),
    [
        (12_000, [(5, 11_000)], "atoms 6 and 11001 of the reactant coincide"),
        (12_000, [], "12000 atoms"),
        (MOST_ATOMS + 2, [], "cut out the part that reacts"),
        (2, [(0, 1)], "atoms 1 and 2 of the reactant coincide"),
        (3, [(2, 0)], "atoms 1 and 3 of the reactant coincide"),
        (1000, [(998, 3)], "atoms 4 and 999 of the reactant coincide"),
    ],
)
def test_what_is_wrong_is_said_in_little_memory(number, coinciding, words) -> None:
    reaction = structures(number, *coinciding)
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        check_reaction(reaction)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # 12,000 atoms took 6.7 GB


def test_all_atoms_in_one_place() -> None:
    atoms = Atoms("H500", np.zeros((500, 3)))
    with pytest.raises(InputError, match=r"coincide \(0\.000 Å apart\)"):
        check_reaction(Reaction("heap", atoms, atoms.copy()))


def test_large_ones_within_the_limit_pass() -> None:
    check_reaction(structures(MOST_ATOMS))
