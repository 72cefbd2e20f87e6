"""MomentNet: its algebra of tensors, and that it is smooth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from horm_calc.checkpoints.catalogue import find
from horm_calc.checkpoints.files import read
from horm_calc.configuration import SettingsError
from horm_calc.derivatives.hessian import energies_and_forces, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.momentnet.network import MomentNet, applied, harmonics, traceless
from horm_calc.models.repulsion import pair_constants, repulsion, visibility
from tests.horm_calc.models.published import network
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import CONFIGS, small


def columns(vectors: np.ndarray) -> torch.Tensor:
    """(1, 1, 3, C) of vectors (C, 3)."""
    return torch.as_tensor(vectors.T).reshape(1, 1, 3, -1)


def matrix(tensor: torch.Tensor) -> np.ndarray:
    """The 3 × 3 matrix, times √3, of a tensor of five components: its columns by `applied`."""
    unit = torch.eye(3, dtype=tensor.dtype).reshape(1, 1, 3, 3)
    return applied(tensor.reshape(1, 1, 5, 1).expand(1, 1, 5, 3), unit)[0, 0].numpy()


def random_vectors(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3))


def test_a_tensor_is_the_traceless_symmetric_part_of_a_product() -> None:
    for a, b in zip(random_vectors(5), random_vectors(10)[5:], strict=True):
        found = matrix(traceless(columns(a[None]), columns(b[None])))
        outer = 0.5 * (np.outer(a, b) + np.outer(b, a)) - np.eye(3) * (a @ b) / 3
        # √3 of `applied` and √3/2 · 2 of `traceless`: three halves on the traceless part.
        np.testing.assert_allclose(found, 1.5 * 2 / math.sqrt(3) * outer, atol=1e-12)


def test_harmonics_are_those_products_of_unit_vectors() -> None:
    unit = random_vectors(7)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    found = harmonics(torch.as_tensor(unit).reshape(1, 7, 1, 3))[0, :, :, 0]
    np.testing.assert_allclose(found[:3].T, unit)
    tensors = traceless(columns(unit), columns(unit))[0, 0]
    np.testing.assert_allclose(found[3:], tensors, atol=1e-12)
    np.testing.assert_allclose((found[3:] ** 2).sum(0), 1.0)  # Racah's normalisation


def test_products_turn_with_their_factors() -> None:
    turn = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    a, b = random_vectors(2)
    before = matrix(traceless(columns(a[None]), columns(b[None])))
    after = matrix(traceless(columns((turn @ a)[None]), columns((turn @ b)[None])))
    np.testing.assert_allclose(after, turn @ before @ turn.T, atol=1e-12)


def test_a_mirror_image_has_the_same_energy() -> None:
    atoms = crooked()
    mirrored = atoms.copy()
    mirrored.positions[:, 2] *= -1
    energies, forces = energies_and_forces(
        network("MomentNet"), Molecules.from_atoms([atoms, mirrored])
    )
    before, after = forces.reshape(2, -1, 3)
    assert energies[1] == pytest.approx(float(energies[0]), abs=1e-12)
    torch.testing.assert_close(after, before * torch.tensor([1.0, 1.0, -1.0]))


def test_angles_change_the_energy_at_fixed_distances() -> None:
    """Two molecules with the same lengths of bonds but other angles, in one layer's sight."""
    bent = [Atoms("OHH", [[0, 0, 0], [0, 0, 1], [math.sin(t), 0, math.cos(t)]]) for t in (1.5, 2.5)]
    for atoms in bent:  # far beyond the cut-off of the two hydrogens
        atoms.positions *= 4.0
    torch.manual_seed(0)  # of the weights: with unlucky ones angles matter less than the limit
    net = MomentNet.fresh({"layers": 1, "cutoff": 5.0}).double().requires_grad_(False)
    energies, _ = energies_and_forces(net, Molecules.from_atoms(bent))
    distances = [atoms.get_distance(1, 2) for atoms in bent]
    assert min(distances) > 5.0
    assert abs(float(energies[0] - energies[1])) > 1e-6


@pytest.mark.parametrize("formula", ["CH3OH", "C2H4", "CO2"])
def test_the_hessian_is_the_slope_of_the_forces(formula) -> None:
    """Also at symmetric geometries, where networks with local frames have spikes."""
    atoms, step, net = molecule(formula), 1e-4, small("MomentNet")
    [found] = hessians(net, Molecules.from_atoms([atoms]))
    moved = []
    for place in range(3 * len(atoms)):
        for sign in (1, -1):
            image = atoms.copy()
            image.positions[place // 3, place % 3] += sign * step
            moved.append(image)
    _, forces = energies_and_forces(net, Molecules.from_atoms(moved))
    ahead, behind = forces.reshape(-1, 2, 3 * len(atoms)).unbind(1)
    expected = (behind - ahead) / (2 * step)
    # The third derivative times the step squared: 1e-8 of the order of the elements.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(found.abs().max()))


def test_two_derivatives_are_continuous_at_the_cut_off() -> None:
    net = small("MomentNet")

    def second(distance: float) -> float:
        atoms = Atoms("CO", [[0, 0, 0], [0, 0, distance]])
        [matrix] = hessians(net, Molecules.from_atoms([atoms]))
        return float(matrix[5, 5])

    inside, outside = second(net.cutoff - 1e-5), second(net.cutoff + 1e-5)
    assert outside == 0
    # The third derivative of the envelope jumps: 336 / 6³ per Å³ and 1e-5 Å.
    assert abs(inside) < 1e-4
    assert abs(second(net.cutoff - 0.5)) > abs(inside)


def test_channels_must_divide_among_heads() -> None:
    with pytest.raises(SettingsError, match="multiple of heads"):
        MomentNet.fresh({"channels": 10, "heads": 4})


def repelling() -> MomentNet:
    """The small network with the repulsion of nuclei."""
    found = MomentNet.fresh(CONFIGS["MomentNet"] | {"repulsion": True}).double()
    found.load_state_dict(small("MomentNet").state_dict())
    return found


def squeezed(distance: float) -> Atoms:
    """Methanol, whose oxygen is so far from the carbon, Å."""
    atoms = molecule("CH3OH")
    carbon, oxygen = (list(atoms.symbols).index(symbol) for symbol in "CO")
    atoms.set_distance(carbon, oxygen, distance, fix=0)
    return atoms


def test_molecules_are_not_changed_by_the_repulsion_of_nuclei() -> None:
    atoms = [
        Molecules.from_atoms([molecule(name)]) for name in ("N2", "HCN", "CH3OH", "C2H2", "H2O")
    ]
    for one in atoms:
        [plain], [other] = (
            energies_and_forces(net, one)[0] for net in (small("MomentNet"), repelling())
        )
        assert plain == other


def test_nuclei_repel_each_other_as_published() -> None:
    """Ziegler, Biersack and Littmark for C and O, by hand, at 0.1 Å, where nothing else counts."""
    distance = 0.1
    a = 0.4685 / (6**0.23 + 8**0.23)
    x = distance / a
    screening = (
        0.18175 * math.exp(-3.1998 * x)
        + 0.50986 * math.exp(-0.94229 * x)
        + 0.28022 * math.exp(-0.4029 * x)
        + 0.02817 * math.exp(-0.20162 * x)
    )
    constants = pair_constants(torch.tensor([6, 8]))[:, 0, 1].reshape(3, 1, 1)
    at = torch.tensor([[distance]], dtype=torch.float64)
    expected = 14.399645 * 6 * 8 / distance * screening
    assert repulsion(at, constants).item() == pytest.approx(expected, rel=1e-4)  # the envelope
    assert visibility(at, constants).item() == 0


@pytest.mark.parametrize("distance", [0.5, 0.9])
def test_derivatives_hold_where_nuclei_repel_each_other(distance: float) -> None:
    network, atoms, step = repelling(), squeezed(distance), 1e-4
    [hessian] = hessians(network, Molecules.from_atoms([atoms]))
    forces = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        forces.append(energies_and_forces(network, Molecules.from_atoms([moved]))[1])
    row = -(forces[0] - forces[1]).numpy().ravel() / (2 * step)
    # The error of a central difference grows with the fourth derivative, here 1e7 eV/Å⁴ at 0.5 Å.
    np.testing.assert_allclose(hessian.numpy()[0], row, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", ["horm-mini", "horm-mini-xtb"])
@pytest.mark.parametrize("pair", [("C", "O"), ("C", "H"), ("O", "H")])
def test_overlapping_atoms_have_no_hole(pair: tuple[str, str], name: str) -> None:
    """Networks alone find energies of ±1e7 eV there. Where the repulsion takes over, at half of a
    bond's length, there may be a step, but nothing as low as the molecule.
    """
    contents = read(find(name))
    sizes = {key: value for key, value in contents.config.items() if key != "name"}
    network = MomentNet.fresh(sizes).double()
    network.load_state_dict(contents.state)
    first, second = (list(molecule("CH3OH").symbols).index(symbol) for symbol in pair)
    distances, energies = np.linspace(0.05, 0.9, 35), []
    for distance in distances:
        atoms = molecule("CH3OH")
        atoms.set_distance(first, second, distance, fix=0)
        energies.append(energies_and_forces(network, Molecules.from_atoms([atoms]))[0].item())
    assert min(energies) == energies[-1]
    assert all(np.diff(energies)[distances[1:] < 0.35] < 0)
