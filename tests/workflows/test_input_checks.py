"""Reactions whose Atoms say something else than the Reaction, as after reading them with ASE."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Reaction

O2 = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])


def described(**info: object) -> Atoms:
    atoms = O2.copy()
    atoms.info = info
    return atoms


@pytest.mark.parametrize(
    ("end", "electrons", "message"),
    [
        (described(charge=0, spin=3), (0, 1), "'multiplicity' is 1 and 3: multiplicity=1 of the"),
        (described(uhf=2), (0, 1), "uhf is 2"),
        (described(total_charge=-2), (0, 1), "'charge' is 0 and -2: charge=0 of the Reaction"),
        (described(charge=1, multiplicity=2), (1, 4), "'multiplicity' is 4 and 2"),
        (molecule("O2"), (0, 1), "initial magnetic moments add up to 2"),
        (Atoms(O2, charges=[-1, 0]), (0, 3), "initial charges add up to -1"),
    ],
)
def test_what_atoms_say_is_not_passed_over(end: Atoms, electrons: tuple, message: str) -> None:
    charge, multiplicity = electrons
    for reactant, product in ((end, O2), (O2, end)):
        with pytest.raises(InputError, match=message):
            check_reaction(
                Reaction("a", reactant, product, charge=charge, multiplicity=multiplicity)
            )


def test_comments_of_files_that_were_read_with_ase(tmp_path: Path) -> None:
    write(tmp_path / "a.xyz", [O2, O2], format="xyz", comment="0 3")
    ends = read(tmp_path / "a.xyz", ":")
    with pytest.raises(InputError, match="'multiplicity' is 1 and 3"):
        check_reaction(Reaction("a", *ends))
    check_reaction(Reaction("a", *ends, multiplicity=3))


@pytest.mark.parametrize(
    ("info", "multiplicity"),
    [
        ({"charge": 0, "spin": 3}, 3),
        ({"spin": 2}, 3),
        ({"spin_state": "high"}, 3),
        ({"step": 1}, 1),
    ],
)
def test_the_reaction_settles_what_its_atoms_leave_open(info: dict, multiplicity: int) -> None:
    check_reaction(Reaction("a", described(**info), O2, multiplicity=multiplicity))
