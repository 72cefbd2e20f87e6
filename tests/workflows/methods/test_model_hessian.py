"""The model Hessian: a metric for all molecules, like that of a real surface."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.linalg import block_diag, eigh

from horm_calc.chemistry.thermochemistry import internal_directions
from workflows.methods.model_hessian import FLOOR, couplings, model_hessian
from workflows.settings import EndpointSettings
from workflows.stages.endpoints import relax
from workflows.surface import Surface

MOLECULES = {
    "a diatomic": Atoms("HF", [[0, 0, 0], [0.92, 0, 0]]),
    "a straight molecule": molecule("C2H2"),
    "bent a little": Atoms("OCO", [[-1.16, 0.02, 0], [0, 0, 0], [1.16, 0, 0]]),
    "sulfur": molecule("CH3SH"),
    "chlorine": molecule("CH3Cl"),
    "bromine and iodine": Atoms("BrI", [[0, 0, 0], [2.5, 0, 0]]),
    "a ring": molecule("C6H6"),
    "a transition state": Atoms("HCN", [[0.35, 1.15, 0], [0, 0, 0], [1.18, 0, 0]]),
    "atoms far apart": Atoms("H2O", [[0, 0, 0], [9.0, 0, 0], [0, 30.0, 0]]),
    "two molecules": molecule("H2O") + Atoms("CO", [[4.0, 0.5, 0.3], [5.1, 0.3, 0.1]]),
    "atoms on each other, nearly": Atoms("H3", [[0, 0, 0], [0.05, 0, 0], [0, 0.1, 0]]),
}


@pytest.mark.parametrize("atoms", MOLECULES.values(), ids=MOLECULES)
def test_it_is_positive_definite(atoms: Atoms) -> None:
    hessian = model_hessian(atoms)
    assert hessian.shape == (3 * len(atoms), 3 * len(atoms))
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-8 * np.abs(hessian).max())
    assert np.linalg.eigvalsh(hessian).min() > 0.99 * FLOOR


@pytest.mark.parametrize("atoms", MOLECULES.values(), ids=MOLECULES)
def test_the_whole_molecule_moves_freely(atoms: Atoms) -> None:
    """But for the floor: there is no coordinate that a translation changes."""
    hessian = model_hessian(atoms)
    shift = np.tile([0.3, -0.5, 0.8], len(atoms))
    np.testing.assert_allclose(hessian @ shift, FLOOR * shift, atol=1e-7 * np.abs(hessian).max())


@pytest.mark.parametrize("name", ["a diatomic", "sulfur", "a ring", "a transition state"])
def test_it_turns_with_the_molecule(name: str) -> None:
    atoms = MOLECULES[name].copy()
    atoms.rattle(0.05, seed=1)
    turned = atoms.copy()
    turned.rotate(70, (1, 2, 3))
    turn = np.linalg.lstsq(
        atoms.positions - atoms.positions.mean(0),
        turned.positions - turned.positions.mean(0),
        rcond=None,
    )[0].T
    if len(atoms) > 3:  # fewer do not say how space turns about them
        all_turned = block_diag(*[turn] * len(atoms))
        expected = all_turned @ model_hessian(atoms) @ all_turned.T
        np.testing.assert_allclose(model_hessian(turned), expected, atol=1e-8)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(model_hessian(turned)),
        np.linalg.eigvalsh(model_hessian(atoms)),
        atol=1e-8,
    )


@pytest.mark.parametrize("name", ["bent a little", "chlorine", "a ring", "two molecules"])
def test_the_order_of_the_atoms_is_no_matter(name: str) -> None:
    atoms = MOLECULES[name]
    order = np.random.default_rng(1).permutation(len(atoms))
    places = (3 * order[:, None] + np.arange(3)).ravel()
    expected = model_hessian(atoms)[np.ix_(places, places)]
    np.testing.assert_allclose(model_hessian(atoms[order]), expected, atol=1e-8)


def test_straight_angles_bend_in_both_planes() -> None:
    """Carbon dioxide has two bends of the same curvature, and no soft motion inside."""
    straight = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    hessian = model_hessian(straight)
    along, sideways, upwards = (hessian[axis::3, axis::3] for axis in range(3))
    np.testing.assert_allclose(sideways, upwards, atol=1e-10)
    inner = internal_directions(straight, weighted=False)
    values = np.linalg.eigvalsh(inner.T @ hessian @ inner)
    assert len(values) == 4
    assert values.min() > 100 * FLOOR
    assert np.linalg.eigvalsh(along).max() > 100 * FLOOR


def test_atoms_far_apart_do_not_feel_each_other() -> None:
    atoms = MOLECULES["atoms far apart"]
    assert couplings(atoms).max() < 1e-6
    np.testing.assert_allclose(model_hessian(atoms), FLOOR * np.eye(9), atol=1e-6)


@pytest.mark.parametrize("name", ["CH3CH2OH", "CH3SH", "C6H6"])
def test_it_is_a_better_metric_than_none(name: str, gfn2: Surface) -> None:
    """As a preconditioner it brings the stiffest and the softest mode nearer to each other."""
    atoms = relax(molecule(name), gfn2, EndpointSettings()).atoms
    inner = internal_directions(atoms, weighted=False)
    real, model = (
        inner.T @ each @ inner for each in (gfn2.get_hessian(atoms), model_hessian(atoms))
    )
    plain, preconditioned = np.linalg.eigvalsh(real), eigh(real, model, eigvals_only=True)
    assert preconditioned.max() / preconditioned.min() < plain.max() / plain.min() / 10
    assert 0.1 < np.median(preconditioned) < 3  # and its size is right
