"""Drawings of reactant and product."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read

from horm_calc.chemistry import perception
from reactbench_runner.report.drawings import BROKEN, FORMED, OTHER_ORDER, draw
from tests.places import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "xyz"


def colour(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{int(255 * part):02X}" for part in rgb)


def drawn(first: Atoms, last: Atoms, charge: int = 0, multiplicity: int = 1) -> tuple[str, str]:
    return draw(first, last, charge, multiplicity, 1.2)


def test_changed_bonds_are_marked() -> None:
    """HCN to HNC: H-C breaks, H-N forms, and the triple bond stays one."""
    reactant, product = drawn(*read(EXAMPLES / "hcn.xyz", ":"))
    assert colour(BROKEN) in reactant
    assert colour(FORMED) not in reactant
    assert colour(FORMED) in product
    assert colour(BROKEN) not in product
    assert colour(OTHER_ORDER) not in reactant + product


def test_orders_that_change_are_marked() -> None:
    """In vinyl alcohol C=C becomes C-C, and C-O becomes C=O."""
    for text in drawn(*read(EXAMPLES / "vinyl_alcohol.xyz", ":")):
        assert colour(OTHER_ORDER) in text


def test_nothing_is_marked_where_nothing_changes() -> None:
    benzene = molecule("C6H6")
    turned = benzene.copy()
    turned.rotate(60, "z")
    for text in drawn(benzene, turned):
        assert text
        assert not any(colour(one) in text for one in (BROKEN, FORMED, OTHER_ORDER))


@pytest.mark.parametrize(
    ("name", "charge", "multiplicity"), [("CH3", 0, 2), ("NH3", 0, 1), ("H2", 0, 1), ("O2", 0, 3)]
)
def test_radicals_and_small_molecules(name: str, charge: int, multiplicity: int) -> None:
    assert all(drawn(molecule(name), molecule(name), charge, multiplicity))


def test_ions() -> None:
    ammonium = Atoms(
        "NH4", 0.59 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    )
    assert all(drawn(ammonium, ammonium, 1))
    assert drawn(ammonium, ammonium, 0) == ("", "")  # no bond orders make it neutral


def test_what_is_too_large_has_no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perception, "_MOST_ATOMS", 5)
    assert drawn(molecule("C6H6"), molecule("C6H6")) == ("", "")
