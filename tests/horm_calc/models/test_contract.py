"""What every network promises, asked of all of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from horm_calc.derivatives.hessian import energies_and_forces
from horm_calc.graphs import Molecules, pairs, pairs_within
from horm_calc.models.contract import ArchitectureMismatch, Network
from tests.horm_calc.models.published import NAMES, config, golden, network, shapes
from tests.horm_calc.molecules import crooked

#: Rounding of sums of some 1e4 terms, in eV and eV/Å, here after divisions by short lengths.
ROUNDING = 1e-10
CONSERVATIVE = [name for name in NAMES if network(name).conservative]

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


def moved(atoms: Atoms, change: np.ndarray) -> Atoms:
    result = atoms.copy()
    result.positions += change
    return result


# --- symmetries ---


@all_networks
def test_translation(name):
    atoms = crooked()
    energies, forces = evaluate(name, atoms, moved(atoms, np.array([3.0, -7.0, 11.0])))
    before, after = forces.reshape(2, -1, 3)
    assert energies[1] == pytest.approx(energies[0], abs=ROUNDING)
    np.testing.assert_allclose(after, before, rtol=0, atol=ROUNDING)


@all_networks
def test_no_force_on_the_whole(name):
    """For energy-derivative forces this is translation again; direct forces promise nothing."""
    _, forces = evaluate(name, crooked())
    total = np.abs(forces.sum(0)).max()
    if network(name).conservative:
        assert total < ROUNDING
    else:
        assert total > 1e-4


@all_networks
def test_permutation(name):
    atoms = crooked()
    order = np.random.default_rng(1).permutation(len(atoms))
    assert (atoms.numbers[order] != atoms.numbers).any()
    energies, forces = evaluate(name, atoms, atoms[order])
    before, after = forces.reshape(2, -1, 3)
    assert energies[1] == pytest.approx(energies[0], abs=ROUNDING)
    np.testing.assert_allclose(after, before[order], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "AlphaNet"])
@pytest.mark.parametrize("seed", range(2))
def test_rotation(name, seed):
    """AlphaNet does not have it, see its own tests."""
    atoms, turn = crooked(), Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    energies, forces = evaluate(name, atoms, transformed(atoms, turn))
    before, after = forces.reshape(2, -1, 3)
    assert energies[1] == pytest.approx(energies[0], abs=ROUNDING)
    np.testing.assert_allclose(after, before @ turn.T, rtol=0, atol=10 * ROUNDING)
    assert np.abs(after - before).max() > 1e-4


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
        assert energies[1] == pytest.approx(energies[0], abs=ROUNDING)
        np.testing.assert_allclose(after, before @ mirror, rtol=0, atol=10 * ROUNDING)


# --- many molecules ---


@all_networks
def test_molecules_of_different_sizes_are_evaluated_as_if_alone(name):
    batch = [crooked(), crooked("H2O"), Atoms("O"), crooked("CH4"), crooked("H2"), crooked()]
    energies, forces = evaluate(name, *batch)
    parts = np.split(forces, np.cumsum([len(atoms) for atoms in batch])[:-1])
    for i, atoms in enumerate(batch):
        if len(atoms) == 1:
            assert np.isfinite(energies[i])
            assert not parts[i].any()
            continue
        energy, alone = evaluate(name, atoms)
        assert energies[i] == pytest.approx(energy[0], abs=ROUNDING)
        np.testing.assert_allclose(parts[i], alone, rtol=0, atol=ROUNDING)


@all_networks
def test_an_atom_on_its_own(name):
    """No edges at all."""
    energies, forces = evaluate(name, Atoms("O"))
    batch, _ = evaluate(name, molecule("H2O"), Atoms("O"))
    assert energies[0] == pytest.approx(batch[1], abs=ROUNDING)
    assert not forces.any()


# --- derivatives ---


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_forces_are_the_slope_of_the_energy(name):
    """Along random directions. Central differences over 2e-6 Å carry the rounding of the
    energy, 1e-14 eV / 2e-6 Å, and jumps of the force within the step: 3e-7 eV/Å found."""
    atoms, step = crooked(), 1e-6
    _, forces = evaluate(name, atoms)
    for direction in np.random.default_rng(0).standard_normal((4, *forces.shape)):
        unit = direction / np.linalg.norm(direction)
        energies, _ = evaluate(name, moved(atoms, step * unit), moved(atoms, -step * unit))
        assert (energies[0] - energies[1]) / (2 * step) == pytest.approx(
            -np.sum(forces * unit), abs=3e-6
        )


@all_networks
def test_direct_forces_are_given_by_networks_that_have_them(name):
    molecules = Molecules.from_atoms([crooked()])
    graph = network(name).prepare(molecules)
    _, forces = network(name)(graph, molecules.positions)
    assert (forces is None) == network(name).conservative


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


# --- no state, no chance ---


def tensors_of(module: Network) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


@all_networks
def test_nothing_is_kept_between_calls(name):
    atoms, other = crooked(), molecule("H2O")
    shared = network(name)
    first = evaluate(name, atoms)
    attributes = {key: sorted(vars(module)) for key, module in shared.named_modules()}
    weights = {key: value.clone() for key, value in tensors_of(shared).items()}
    evaluate(name, other)
    second = evaluate(name, atoms)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert {key: sorted(vars(module)) for key, module in shared.named_modules()} == attributes
    assert tensors_of(shared).keys() == weights.keys()
    for key, value in tensors_of(shared).items():
        assert value.equal(weights[key]), key
        assert value.grad is None, key


@all_networks
def test_no_random_numbers_are_drawn(name):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the generator that a careless network would use
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(name, crooked())
    assert torch.get_rng_state().equal(before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@all_networks
def test_positions_are_left_alone(name):
    molecules = Molecules.from_atoms([crooked()])
    before = copy.deepcopy(molecules.positions)
    energies_and_forces(network(name), molecules)
    assert molecules.positions.equal(before)
    assert not molecules.positions.requires_grad


@all_networks
def test_edges_are_sorted_and_stay_within_molecules(name):
    molecules = Molecules.from_atoms([crooked(), molecule("H2O"), molecule("CO2")])
    graph = network(name).prepare(molecules)
    assert (graph.target.diff() >= 0).all()
    assert graph.molecule[graph.target].equal(graph.molecule[graph.source])
    assert (graph.target != graph.source).all()
    assert graph.rows[:2] == [(6, 3, 3), (30, 6, 6)]


# --- shapes ---


@all_networks
def test_tensors_of_another_network_are_refused(name):
    kind = type(network(name))
    foreign = "EquiformerV2" if name != "EquiformerV2" else "LEFTNet"
    with pytest.raises(ArchitectureMismatch):
        kind.from_shapes(shapes(foreign), config(foreign))


@all_networks
def test_unknown_names_are_no_constants(name):
    assert network(name).constant("no.such.tensor") is None


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
