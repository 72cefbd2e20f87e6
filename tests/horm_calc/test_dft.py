"""ωB97X by PySCF as an ASE calculator; its closed shells are compared with HORM's labels in
`tests/horm_calc/data/test_labels.py`."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

pytest.importorskip("pyscf")

from horm_calc.dft import WB97X, ground_state

SMALL = (50, 194)


@pytest.mark.parametrize(("charge", "multiplicity"), [(-1, 1), (0, 2)])
def test_forces_and_hessian_are_derivatives_of_the_energy(charge: int, multiplicity: int) -> None:
    """Of OH, closed and open: to what the grid's own motion, which is left out, makes of it."""
    atoms = Atoms("OH", [[0, 0, 0], [0.1, 0.2, 0.95]])
    atoms.calc = WB97X(charge, multiplicity, grid=SMALL)
    forces, hessian = atoms.get_forces(), atoms.calc.get_hessian(atoms)
    assert np.allclose(hessian, hessian.T)
    energies, slopes = [], []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 2] += sign * 1e-3
        moved.calc = atoms.calc
        energies.append(moved.get_potential_energy())
        slopes.append(-moved.get_forces().ravel())
    assert forces[1, 2] == pytest.approx((energies[1] - energies[0]) / 2e-3, abs=0.01)
    assert hessian[5] == pytest.approx((slopes[0] - slopes[1]) / 2e-3, abs=0.1)


def test_electrons_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RuntimeError, match="spin"):
        ground_state(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 0.97]]), multiplicity=1)


def test_an_scf_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyscf.scf.hf import SCF

    monkeypatch.setattr(SCF, "max_cycle", 1)
    atoms = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    atoms.calc = WB97X(-1, 1, grid=SMALL)
    with pytest.raises(CalculationFailed, match=r"does not converge \(charge -1, multiplicity 1\)"):
        atoms.get_potential_energy()
