"""What every network promises, asked of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from horm_calc import testing
from horm_calc.derivatives.hessian import energies_and_forces
from horm_calc.graphs import Molecules, pairs, pairs_within
from horm_calc.models.contract import ArchitectureMismatch
from horm_calc.models.registry import NETWORKS
from tests.horm_calc.models.published import NAMES, config, golden, network, shapes
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import small
from tests.places import REPOSITORY

all_networks = pytest.mark.parametrize("name", NAMES)


def evaluate(
    name: str, *molecules: Atoms, dtype: torch.dtype = torch.float64
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (molecules,), and the forces on all atoms."""
    tensors = Molecules.from_atoms(molecules, dtype)
    energies, forces = energies_and_forces(network(name, dtype), tensors)
    assert energies.dtype == forces.dtype == dtype
    return energies.numpy(), forces.numpy()


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    result = atoms.copy()
    result.positions = atoms.positions @ matrix.T
    return result


@all_networks
@pytest.mark.parametrize("check", testing.CHECKS)
def test_the_contract(name, check):
    testing.CHECKS[check](network(name))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("check", testing.CHECKS)
def test_the_contract_with_the_sizes_in_the_registry(name, check):
    testing.CHECKS[check](small(name))


def test_the_published_networks_are_those_of_the_registry():
    assert set(NAMES) == set(NETWORKS)


def test_the_page_describes_the_networks_of_the_registry():
    text = (REPOSITORY / "docs" / "explanation" / "networks.md").read_text("utf-8")
    table = text.split("## Architectures")[1].split("\n\n")[1]
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:]] == list(NETWORKS)


def test_a_network_that_is_not_in_double_precision_is_not_judged():
    with pytest.raises(TypeError, match=r"network\.double\(\)"):
        testing.assert_translation(small("MomentNet", torch.float32))


@pytest.mark.parametrize("name", ["AlphaNet", "EquiformerV2", "MomentNet"])
def test_distant_molecules_do_not_feel_each_other(name):
    testing.assert_separation(network(name))


@pytest.mark.parametrize("name", ["LEFTNet", "LEFTNet-df"])
def test_with_leftnet_distant_molecules_do(name):
    """Its messages are divided by the number of all other atoms."""
    with pytest.raises(AssertionError, match="two distant molecules"):
        testing.assert_separation(network(name), tolerance=1e-3)


# --- symmetries ---


@all_networks
def test_direct_forces_on_the_whole(name):
    """Those of the energy's slope are zero; direct forces promise nothing."""
    if not network(name).conservative:
        _, forces = evaluate(name, crooked())
        assert np.abs(forces.sum(0)).max() > 1e-4


@all_networks
def test_what_is_said_of_rotations(name):
    """It decides what `horm_calc.derivatives.hessian` completes instead of computing."""
    expected = {"AlphaNet": "unknown", "EquiformerV2": "ignored"}
    assert network(name).rotations == expected.get(name, "equivariant")


def test_reflection_turns_leftnet_and_alphanet_with_the_molecule():
    """A mirror image has the same energy. AlphaNet's mirror must lie between two axes."""
    mirror = np.diag([1.0, 1.0, -1.0])
    for name in ("LEFTNet", "LEFTNet-df", "AlphaNet"):
        energies, forces = evaluate(name, crooked(), transformed(crooked(), mirror))
        before, after = forces.reshape(2, -1, 3)
        assert energies[1] == pytest.approx(energies[0], abs=testing.ROUNDING)
        np.testing.assert_allclose(after, before @ mirror, rtol=0, atol=10 * testing.ROUNDING)


# --- derivatives ---


@pytest.mark.parametrize("name", ["LEFTNet-df", "EquiformerV2"])
def test_direct_forces_are_not_the_slope_of_the_energy(name):
    """With weights that were not trained they have nothing to do with it."""
    molecules = Molecules.from_atoms([crooked()])
    positions = molecules.positions.requires_grad_()
    energies, forces = network(name)(network(name).prepare(molecules), positions)
    [gradient] = torch.autograd.grad(energies.sum(), positions)
    assert (forces + gradient).abs().max() > 0.1 * forces.abs().max()


# --- precision ---

#: Deviation of float32 from float64 in energy (eV) and, as part of the largest, in forces:
#: some five times what was found on the golden molecule.
SINGLE = {
    "LEFTNet": (1e-6, 2e-4),
    "LEFTNet-df": (1e-6, 1e-5),
    "AlphaNet": (2e-6, 1e-4),
    "EquiformerV2": (1e-7, 2e-5),
    "MomentNet": (1e-6, 1e-5),
}


@all_networks
def test_single_precision(name):
    atoms = golden(name, 2)
    energies, forces = evaluate(name, atoms)
    rough_energies, rough_forces = evaluate(name, atoms, dtype=torch.float32)
    of_energy, of_forces = SINGLE[name]
    assert rough_energies[0] == pytest.approx(energies[0], abs=of_energy)
    error = np.abs(rough_forces - forces).max() / np.abs(forces).max()
    assert 0 < error < of_forces


@all_networks
def test_rows_of_tensors_divide_among_molecules(name):
    molecules = Molecules.from_atoms([crooked(), molecule("H2O"), molecule("CO2")])
    assert network(name).prepare(molecules).rows[:2] == [(6, 3, 3), (30, 6, 6)]


# --- shapes ---


@all_networks
def test_tensors_of_another_network_are_refused(name):
    kind = type(network(name))
    foreign = "EquiformerV2" if name != "EquiformerV2" else "LEFTNet"
    with pytest.raises(ArchitectureMismatch):
        kind.from_shapes(shapes(foreign), config(foreign))


# --- edges ---


def test_pairs():
    target, source = pairs([2, 3])
    assert target.tolist() == [0, 1, 2, 2, 3, 3, 4, 4]
    assert source.tolist() == [1, 0, 3, 4, 2, 4, 2, 3]
    assert [side.tolist() for side in pairs([2, 2])] == [[0, 1, 2, 3], [1, 0, 3, 2]]
    assert len(pairs([1])[0]) == len(pairs([1, 1])[0]) == 0


def test_the_nearest_neighbours_are_kept():
    """Atoms in a row at 0, 1, 3, 6 and 10 Å; of equally near ones the first."""
    row = Atoms("CCCCC", [[x, 0, 0] for x in (0.0, 1.0, 3.0, 6.0, 10.0)])
    target, source = pairs_within(Molecules.from_atoms([row]), cutoff=100.0, max_neighbors=2)
    kept = [source[target == atom].tolist() for atom in range(5)]
    assert kept == [[1, 2], [0, 2], [0, 1], [2, 4], [2, 3]]
    target, source = pairs_within(Molecules.from_atoms([row]), cutoff=3.0)
    assert list(zip(target.tolist(), source.tolist(), strict=True)) == [
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 3), (3, 2)
    ]  # fmt: skip


def test_molecules_can_be_chosen():
    batch = [molecule("H2O"), molecule("CO2"), molecule("CH4")]
    chosen = Molecules.from_atoms(batch).taken([2, 0])
    direct = Molecules.from_atoms([batch[2], batch[0]])
    assert chosen.sizes == direct.sizes == (5, 3)
    for field in ("numbers", "positions", "molecule"):
        assert getattr(chosen, field).equal(getattr(direct, field)), field
