"""LEFTNet against the published implementation, and what kind of function it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from horm_calc.derivatives.hessian import energies_and_forces, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.contract import ArchitectureMismatch
from horm_calc.models.leftnet.network import LEFTNet, LEFTNetDirect, LEFTNetGraph
from tests.horm_calc.models.published import (
    config,
    golden,
    hessian_of_golden,
    made,
    network,
    reference,
    shapes,
    state,
)

NAMES = ("LEFTNet", "LEFTNet-df")
CLASSES = {"LEFTNet": LEFTNet, "LEFTNet-df": LEFTNetDirect}
#: Rounding of the sums of some 1e4 terms, and of what is divided by lengths that are small.
ROUNDING = 1e-9

both = pytest.mark.parametrize("name", NAMES)
each = pytest.mark.parametrize("index", range(3))


def evaluate(name: str, *molecules: Atoms, dtype=torch.float64) -> tuple[np.ndarray, np.ndarray]:
    """Energies, and the forces on all atoms."""
    tensors = Molecules.from_atoms(molecules, dtype)
    energies, forces = energies_and_forces(network(name, dtype), tensors)
    return energies.double().numpy(), forces.double().numpy()


def hessian(name: str, atoms: Atoms, dtype=torch.float64) -> np.ndarray:
    [found] = hessians(network(name, dtype), Molecules.from_atoms([atoms], dtype))
    return found.double().numpy()


def moved(atoms: Atoms, change) -> Atoms:
    result = atoms.copy()
    result.positions += change
    return result


def graph_of(*molecules: Atoms) -> LEFTNetGraph:
    return network("LEFTNet").prepare(Molecules.from_atoms(molecules))


# --- the published network ---


@both
@each
def test_energies_and_forces_are_the_published_ones(name, index):
    energies, forces = evaluate(name, golden(name, index))
    assert energies[0] == pytest.approx(reference(name)[f"m{index}_energy"].item(), abs=1e-8)
    np.testing.assert_allclose(forces, reference(name)[f"m{index}_forces"], rtol=0, atol=1e-7)


@both
def test_hessian_is_the_published_one(name):
    expected = reference(name)["m2_hessian"]
    np.testing.assert_allclose(
        hessian_of_golden(name), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize(("name", "index"), [("LEFTNet", 0), ("LEFTNet-df", 1)])
def test_hessians_of_larger_molecules_are_the_published_ones(name, index):
    """One random combination of the rows: all of the matrix, in a fiftieth of the time."""
    expected = reference(name)[f"m{index}_hessian"]
    vector = torch.from_numpy(np.random.default_rng(0).standard_normal(len(expected)))
    tensors = Molecules.from_atoms([golden(name, index)])
    positions = tensors.positions.requires_grad_()
    energies, forces = network(name)(network(name).prepare(tensors), positions)
    if forces is None:
        [gradient] = torch.autograd.grad(energies.sum(), positions, create_graph=True)
        forces = -gradient
    [found] = torch.autograd.grad(-forces.flatten() @ vector, positions)
    scale = np.abs(vector.numpy() @ expected).max()
    np.testing.assert_allclose(
        found.flatten() / scale, vector.numpy() @ expected / scale, rtol=0, atol=1e-5
    )


@both
@each
def test_single_precision(name, index):
    """Twice the errors found: 2e-4 eV and 2 ‰ of the largest force, 6 ‰ with direct forces.

    More than the other networks have: lengths near zero divide what is rounded.
    """
    energies, forces = evaluate(name, golden(name, index), dtype=torch.float32)
    expected = reference(name)[f"m{index}_forces"]
    assert energies[0] == pytest.approx(reference(name)[f"m{index}_energy"].item(), abs=4e-4)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(forces / scale, expected / scale, rtol=0, atol=6e-3)


def test_hessian_in_single_precision():
    """Five times the error found, 0.07 % of the largest element."""
    expected = reference("LEFTNet")["m2_hessian"]
    found = hessian("LEFTNet", golden("LEFTNet", 2), torch.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-3 * np.abs(expected).max())


def test_both_kinds_of_forces_have_the_same_energy():
    energies, forces = evaluate("LEFTNet", golden("LEFTNet", 0))
    direct_energies, direct_forces = evaluate("LEFTNet-df", golden("LEFTNet", 0))
    np.testing.assert_array_equal(energies, direct_energies)
    assert np.abs(forces - direct_forces).max() > 0.1


# --- parameters and constants ---


@both
def test_parameters_go_both_ways(name):
    expected = {key for key, entry in state(name).items() if entry["parameter"]}
    assert network(name).state_dict().keys() == expected
    other = CLASSES[name].from_shapes(shapes(name), config(name)).to_empty(device="cpu")
    other.load_state_dict(network(name).state_dict(), strict=True)


@both
def test_published_constants(name):
    for key, entry in state(name).items():
        constant = network(name).constant(key)
        assert (constant is None) == entry["parameter"], key
        assert constant is None or list(constant.shape) == entry["shape"], key
    means = network(name).constant("model.radial_emb.means")
    assert means[[0, -1]].tolist() == pytest.approx([np.exp(-10.0), 1.0])


def test_depth_follows_from_the_shapes():
    kept = {
        key: shape
        for key, shape in shapes("LEFTNet").items()
        if not (key.split(".")[1].endswith("_layers") and int(key.split(".")[2]) >= 2)
    }
    shallow = LEFTNet.from_shapes(kept, config("LEFTNet"))
    own = {key: tuple(value.shape) for key, value in shallow.named_parameters()}
    assert own == {key: shape for key, shape in kept.items() if shallow.constant(key) is None}


@both
@pytest.mark.parametrize("key", ["model.embedding.weight", "model.radial_lin.0.weight"])
def test_shapes_without_what_shows_the_sizes_are_refused(name, key):
    wrong = {other: shape for other, shape in shapes(name).items() if other != key}
    with pytest.raises(ArchitectureMismatch, match=f"{key}.* is missing"):
        CLASSES[name].from_shapes(wrong, config(name))
    with pytest.raises(ArchitectureMismatch, match=f"{key}.* 3 dimensions instead of 2"):
        CLASSES[name].from_shapes(wrong | {key: (1, 2, 3)}, config(name))


# --- what the network does not have, as it is ---


@both
@pytest.mark.parametrize("distance", [15.0, 1000.0])
def test_molecules_far_apart_are_not_independent(name, distance):
    """Pairs beyond the cut-off go on exchanging messages, the same at every distance.

    With these weights water and methanol differ from the sum of their energies by −0.119 eV,
    at 15 Å as at 1000 Å. The bounds leave a factor of four for other arithmetic, no more: a
    network that cut messages off would be additive to rounding.
    """
    one, other = molecule("H2O"), moved(molecule("CH3OH"), [distance, 0, 0])
    energies, forces = evaluate(name, one, other, one + other)
    coupling = energies[2] - energies[:2].sum()
    assert -0.5 < coupling < -0.03
    n_atoms = len(one) + len(other)
    apart, together = forces[:n_atoms], forces[n_atoms:]
    change = np.abs(together - apart).max() / np.abs(apart).max()
    assert 0.03 < change < 1.0  # 15 % and 30 % of the largest force found
    beyond, _ = evaluate(name, one + moved(other, [7.0, 0, 0]))
    assert beyond[0] == pytest.approx(energies[2], abs=ROUNDING)


def wide() -> Atoms:
    """Three molecules in a row: the outer two further apart than the cut-off."""
    middle, end = moved(molecule("CH3OH"), [6, 0.3, 0.2]), moved(molecule("CH4"), [12, 0, 0])
    return molecule("H2O") + middle + end


def test_a_molecule_wider_than_the_cutoff_is_cut_into_pieces():
    narrow = golden("LEFTNet", 0)
    graph = graph_of(narrow, wide())
    assert graph.n_groups == 3
    groups = graph.group[len(narrow) :]
    assert groups[:3].tolist() == [1, 1, 1]  # water, the first to take its neighbours
    assert groups[-5:].unique().tolist() == [2]  # methane, out of its reach
    assert graph_of(narrow, narrow).n_groups == 2


@both
def test_the_pieces_depend_on_the_numbering(name):
    """Counted from the other end, the middle goes to the other piece: by 0.03 eV found."""
    atoms = wide()
    energies, _ = evaluate(name, atoms, atoms[::-1])
    assert 1e-3 < abs(energies[1] - energies[0]) < 1.0
    assert graph_of(atoms).group.flip(0).tolist() != graph_of(atoms[::-1]).group.tolist()


@both
def test_the_numbering_does_not_matter_within_the_cutoff(name):
    """The control of the test above."""
    atoms = golden(name, 0)
    energies, forces = evaluate(name, atoms, atoms[::-1])
    before, after = forces.reshape(2, -1, 3)
    assert energies[1] == pytest.approx(energies[0], abs=ROUNDING)
    np.testing.assert_allclose(after[::-1], before, rtol=0, atol=ROUNDING)


def differences(name: str, atoms: Atoms, column: int, step: float) -> np.ndarray:
    """A column of the Hessian by central differences of forces."""
    change = np.zeros((len(atoms), 3))
    change.flat[column] = step
    _, forces = evaluate(name, moved(atoms, -change), moved(atoms, change))
    minus, plus = forces.reshape(2, -1)
    return (minus - plus) / (2 * step)


@both
def test_hessian_between_the_kinks_of_the_energy(name):
    """Forces jump where the second component of a vector in an edge's frame changes sign.

    Each of these displacements by 1e-4 Å crosses such kinks, and differences of forces miss
    the elements, with LEFTNet by up to 6 eV/Å²; by 1e-5 Å the first two do not, and rounding
    alone remains. Differences with the usual steps are no measure of this network's Hessian.
    """
    atoms, expected = golden(name, 0), reference(name)["m0_hessian"]

    def error(column: int, step: float) -> float:
        found = differences(name, atoms, column, step)
        return np.abs(found - expected[:, column]).max() / np.abs(expected).max()

    assert max(error(column, 1e-5) for column in (0, 1)) < 1e-6  # 1e-8 and 1e-7 found
    limit = {"LEFTNet": 0.1, "LEFTNet-df": 1e-4}[name]  # 0.3 and 4e-4 found
    assert min(error(column, 1e-4) for column in (0, 1)) > limit


def test_second_derivatives_have_spikes():
    """Frames are divided by the length of r_i × r_j, which vanishes for collinear atoms.

    The energy of bending CO2 is a cone: however small the bend, the force against it is
    0.056 eV/Å with these weights, and the curvature across it is that over the bend. Within
    1e-6 Å of the line the cone is rounded, with a curvature of 1e5 eV/Å².
    """
    bends = [1e-3, 1e-4, 1e-5, 0.0]
    bent = [moved(molecule("CO2"), [[bend, 0, 0], [0, 0, 0], [0, 0, 0]]) for bend in bends]
    _, forces = evaluate("LEFTNet", *bent)
    along = forces.reshape(len(bends), 3, 3)[:, 0, 0]
    np.testing.assert_allclose(along, [along[0]] * 3 + [0.0], rtol=0.05, atol=ROUNDING)
    largest = [np.abs(hessian("LEFTNet", atoms)).max() for atoms in bent]
    np.testing.assert_allclose(largest[:3], np.abs(along[:3]) / bends[:3], rtol=0.05)
    assert 1e4 < largest[3] < 1e6


@both
def test_an_atom_at_the_centre_gives_finite_results(name):
    """Carbon dioxide's carbon: lengths and frames of zero vectors."""
    energies, forces = evaluate(name, molecule("CO2"))
    assert np.isfinite(energies).all() and np.isfinite(forces).all()
    assert np.isfinite(hessian(name, molecule("CO2"))).all()


# --- learning ---


def test_the_hessian_can_be_trained_on():
    """With weights that learn, layers are ordinary ones, and derivatives reach all of them."""
    learning = made("LEFTNet").requires_grad_(True)
    tensors = Molecules.from_atoms([molecule("H2O")])
    positions = tensors.positions.requires_grad_()
    energies, _ = learning(learning.prepare(tensors), positions)
    [gradient] = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    vector = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3)
    [product] = torch.autograd.grad((gradient * vector).sum(), positions, create_graph=True)
    expected = hessian("LEFTNet", molecule("H2O")) @ vector.numpy().ravel()
    np.testing.assert_allclose(product.detach().flatten(), expected, rtol=0, atol=1e-9)
    product.square().sum().backward()
    of_frames = learning.model.lin3[0].weight.grad
    assert of_frames is not None and of_frames.abs().max() > 0
