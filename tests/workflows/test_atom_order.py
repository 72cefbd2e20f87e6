"""Atoms of the product in another order: what is said, and what is done where that is asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ase.io import read

from horm_calc.chemistry.connectivity import bonds
from tests.places import STRUCTURES
from tests.workflows.molecules import exchanged, numbered
from workflows.atom_order import check_order, remapped
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Reaction
from workflows.settings import VerdictSettings

FACTOR = VerdictSettings().bond_factor


def example(name: str, *cycles: tuple[int, ...]) -> Reaction:
    reactant, product = read(STRUCTURES / f"{name}.xyz", ":")
    return Reaction(name, reactant, exchanged(product, *cycles))


@pytest.mark.parametrize("name", ["vinyl_alcohol", "claisen", "cyclobutene", "hcn", "sn2"])
def test_nothing_is_said_or_done_about_the_right_order(name: str) -> None:
    assert check_order(example(name), FACTOR) == ("", "")
    assert remapped(example(name), FACTOR) == example(name)


def test_exchanged_hydrogens() -> None:
    given = example("vinyl_alcohol", (6, 7))
    said, uncertain = check_order(given, FACTOR)
    changes = "with H6 and H7 exchanged in the product 2 bonds change instead of 4"
    assert said == f"{changes}: is the order of the atoms right?"
    assert uncertain == ""
    done = remapped(given, FACTOR)
    assert np.allclose(done.product.positions, example("vinyl_alcohol").product.positions)
    assert done.remapped == (
        "remapped: H6 and H7 exchanged in the product; 2 bonds change instead of 4"
    )
    assert remapped(dataclasses.replace(done, remapped=""), FACTOR).remapped == ""


def test_a_degenerate_rearrangement_stays_as_it_is() -> None:
    """In another order nothing would happen at all."""
    said, _ = check_order(example("pentadiene"), FACTOR)
    assert "no bonds change instead of" in said
    assert "this is a degenerate rearrangement or no reaction: is the order" in said
    assert remapped(example("pentadiene"), FACTOR) == example("pentadiene")


def test_hydrogens_of_a_methyl_group_by_the_way_they_move() -> None:
    """Of propene's methyl group, while a hydrogen leaves the other end."""
    given = example("claisen", (7, 8), (10, 11))  # both of CH2 groups: these are inverted
    assert check_order(given, FACTOR) == ("", "")
    done = remapped(given, FACTOR)
    assert np.allclose(done.product.positions, example("claisen").product.positions)
    assert done.remapped.endswith(
        "H7 with H8, H10 with H11 exchanged in the product; "
        "as many bonds change, and equivalent hydrogens move less"
    )


def test_conformers_stay_as_they_are() -> None:
    """A methyl group that turns by a third: to move least would be not to turn."""
    ethanol = numbered("[C:1]([H:4])([H:5])([H:6])[C:2]([H:7])([H:8])[O:3][H:9]")
    given = Reaction("turn", ethanol, exchanged(ethanol, (4, 5, 6)))
    assert check_order(given, FACTOR) == ("", "")
    assert remapped(given, FACTOR) == given


def test_elements_in_another_order() -> None:
    given = example("vinyl_alcohol")
    given = dataclasses.replace(given, product=given.product[::-1])
    with pytest.raises(InputError) as refused:
        check_reaction(given)
    assert str(refused.value).endswith(
        "reorder one of the files, or let --remap do it: it would use the product's atoms in the "
        "order 7 6 5 4 3 2 1, with which 2 bonds change"
    )
    done = remapped(given, FACTOR)
    check_reaction(done)
    first, last = bonds(done.reactant, FACTOR), bonds(done.product, FACTOR)
    assert len(first ^ last) == 2


def test_isotopes_in_another_place_are_not_mapped() -> None:
    given = example("vinyl_alcohol")
    product = given.product[::-1]
    masses = product.get_masses()
    masses[0] = 2.014
    product.set_masses(masses)
    given = dataclasses.replace(given, product=product)
    with pytest.raises(ValueError, match="isotopes"):
        remapped(given, FACTOR)
    with pytest.raises(InputError, match=r"reorder one of the files$"):
        check_reaction(given)
