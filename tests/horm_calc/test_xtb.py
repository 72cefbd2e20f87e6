"""SCFs that do not converge in the usual way, and come out all the same."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.fd import calculate_numerical_forces
from tblite.ase import TBLite

from horm_calc.data.labelling.levels import LEVELS
from horm_calc.xtb import XTB, gfn2_xtb


def hydroxyls(distance: float) -> Atoms:
    """Two OH, so far from each other."""
    first = [[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]]
    return Atoms("OHOH", [*first, [distance, 0.3, 0.0], [distance + 0.3, 1.22, 0.2]])


def pair(symbols: str, distance: float) -> Atoms:
    return Atoms(symbols, [[0, 0, 0], [distance, 0, 0]])


def energy(
    kind: type[TBLite], atoms: Atoms, charge: int, multiplicity: int, **more: object
) -> float:
    atoms = atoms.copy()
    atoms.calc = kind(charge=charge, multiplicity=multiplicity, verbosity=0, **more)
    return atoms.get_potential_energy()


#: Those of the curves through their neighbours, which converge in the usual way or another.
FAILED_BEFORE = {
    "OH + OH, triplet": (hydroxyls(3.0), 0, 3, -241.2158),
    "OH + OH, triplet, further": (hydroxyls(3.2), 0, 3, -241.17326),
    "OH + OH, triplet, nearer": (hydroxyls(2.8), 0, 3, -241.26175),
    "H + F": (pair("FH", 2.9), 0, 1, -137.2311),
    "H + F+": (pair("FH", 3.0), 1, 2, -119.8505),
    "H + F-": (pair("FH", 3.0), -1, 2, -145.3644),
    "O + F, doublet": (pair("OF", 3.0), 0, 2, -228.4192),
    "O + F, doublet, further": (pair("OF", 3.1), 0, 2, -228.4087),
    "O + F, quartet": (pair("OF", 3.0), 0, 4, -228.2586),
    "S + F, quartet": (pair("SF", 3.0), 0, 4, -212.0469),
    "Cl + F, triplet": (pair("ClF", 3.0), 0, 3, -248.0327),
    "N + F-": (pair("NF", 3.0), -1, 2, -206.2337),
}


@pytest.mark.parametrize(
    ("atoms", "charge", "multiplicity", "right"), FAILED_BEFORE.values(), ids=FAILED_BEFORE
)
def test_what_failed_before_has_its_energy(atoms, charge, multiplicity, right) -> None:
    with pytest.raises(CalculationFailed, match="not converged"):
        energy(TBLite, atoms, charge, multiplicity)
    found = energy(XTB, atoms, charge, multiplicity)
    assert found == pytest.approx(right, abs=1e-3)
    # Damping alone ends no lower: the lowest state counts.
    try:
        damped = energy(TBLite, atoms, charge, multiplicity, mixer_damping=0.1, mixer_memory=20)
    except CalculationFailed:
        return
    assert found < damped + 1e-4


@pytest.mark.parametrize("name", ["H2O", "CH3OH", "C6H6", "HCN", "SO2", "CH3Cl"])
def test_what_converges_is_the_same_to_the_last_digit(name) -> None:
    mine, theirs = molecule(name), molecule(name)
    mine.calc, theirs.calc = XTB(verbosity=0), TBLite(verbosity=0)
    for _ in range(3):
        assert mine.get_potential_energy() == theirs.get_potential_energy()
        np.testing.assert_array_equal(mine.get_forces(), theirs.get_forces())
        for atoms in (mine, theirs):
            atoms.positions[0] += 0.02


def test_energies_and_forces_go_on_smoothly() -> None:
    """Past a geometry that needed help; from there the next start, with their usual settings."""
    atoms = hydroxyls(3.0)
    atoms.calc = XTB(charge=0, multiplicity=3, verbosity=0)
    usual = dict(atoms.calc.parameters)
    energies = []
    for _ in range(5):
        energies.append(atoms.get_potential_energy())
        atoms.positions[2:, 0] += 0.02
        assert dict(atoms.calc.parameters) == usual
    # 0.2 eV/Å all along; another state would be 0.005 eV and more away.
    assert np.abs(np.diff(energies, 2)).max() < 5e-4


def test_forces_are_the_derivatives_of_the_energy() -> None:
    atoms = hydroxyls(3.0)
    atoms.calc = XTB(charge=0, multiplicity=3, verbosity=0, accuracy=0.01)
    forces = atoms.get_forces()
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, eps=1e-3), atol=1e-3)


@pytest.mark.parametrize("kept", [1, 3])
def test_without_any_help_the_message_says_what_to_do(monkeypatch, kept) -> None:
    """Cycles too few for anything."""
    monkeypatch.setattr("horm_calc.xtb.DAMPED", {"mixer_damping": 0.1, "max_iterations": kept})
    atoms = hydroxyls(3.0)
    with pytest.raises(
        CalculationFailed, match=r"not converged.*cooled.*(O1-H2|O3-H4).*charge and multiplicity"
    ):
        energy(XTB, atoms, 0, 3, max_iterations=kept)


@pytest.mark.parametrize("level", ["gfn2-xtb", "gfn1-xtb"])
def test_labels_take_the_same_way(level) -> None:
    """Hydrogen far from fluorine, a singlet as all labels are."""
    atoms = pair("FH", 2.9)
    point = LEVELS[level].at(atoms.numbers, atoms.positions)
    method = {"gfn2-xtb": "GFN2-xTB", "gfn1-xtb": "GFN1-xTB"}[level]
    assert point.energy == pytest.approx(energy(XTB, atoms, 0, 1, method=method), abs=1e-3)
    # Stretched beyond the force constant's change of sign: smooth, and no jump between states.
    hessian = point.hessian()
    assert np.isfinite(hessian).all()
    assert np.abs(hessian).max() < 5


def test_bond_orders_are_those_of_lewis_formulas() -> None:
    """Symmetric, and near 1, 2 and 3 for ethane, ethene and ethyne."""
    for name, order in (("C2H6", 1), ("C2H4", 2), ("C2H2", 3)):
        orders = gfn2_xtb().bond_orders(molecule(name))
        assert np.allclose(orders, orders.T)
        assert orders[0, 1] == pytest.approx(order, abs=0.15)
        assert orders[0, 2:].max() == pytest.approx(1, abs=0.15)


def test_open_shells_are_a_concern_and_closed_ones_are_not() -> None:
    assert gfn2_xtb().concerns(molecule("CH4")) == []
    [concern] = gfn2_xtb(multiplicity=2).concerns(molecule("CH3"))
    assert concern.startswith("GFN2-xTB is unreliable for open shells")
