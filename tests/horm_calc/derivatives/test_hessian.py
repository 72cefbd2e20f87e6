"""Hessians in one sweep against rows by automatic differentiation and published values.

Most of it with networks of all kinds that are small, in float64, where everything must
agree but for rounding.
"""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch import Tensor

from horm_calc.derivatives import hessian
from horm_calc.derivatives.hessian import (
    energies_and_forces,
    exact_products,
    hessian_products,
    hessian_rows,
    hessians,
    lowest_modes,
)
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network
from horm_calc.models.equiformer_v2.network import EquiformerV2
from horm_calc.models.leftnet.network import LEFTNet
from tests.horm_calc import small_networks
from tests.horm_calc.models.published import (
    NAMES,
    PUBLISHED,
    fill_by_rule,
    hessian_of_golden,
    reference,
)
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import small

#: Relative to the largest element. Rounding of float64 after divisions by short lengths; the
#: errors found are below 1e-10.
CLOSE = 1e-9

all_networks = pytest.mark.parametrize("name", NAMES)


def batch_of(*molecules: Atoms, dtype: torch.dtype = torch.float64) -> Molecules:
    return Molecules.from_atoms(molecules, dtype)


def by_rows(network: Network, atoms: Atoms) -> Tensor:
    return hessian_rows(network, batch_of(atoms), torch.arange(3 * len(atoms)))


def one_by_one(network: Network, molecules: list[Atoms]) -> list[Tensor]:
    return [found for atoms in molecules for found in hessians(network, batch_of(atoms))]


def assert_close(found: Tensor, expected: Tensor, tolerance: float = CLOSE) -> None:
    scale = expected.abs().max().clamp(min=1e-3)
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


@pytest.fixture
def exact_frames() -> EquiformerV2:
    network = small_networks.made("EquiformerV2")
    assert isinstance(network, EquiformerV2)
    network.frame_fixed = False
    return network


# --- the whole matrix ---


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_hessian(name):
    expected = torch.from_numpy(reference(name)["m2_hessian"])
    assert_close(torch.from_numpy(hessian_of_golden(name)), expected, tolerance=1e-8)


@all_networks
@pytest.mark.parametrize("formula", ["H2O", "C2H4", "CH3CH2OH"])
def test_one_sweep_is_all_rows(name, formula):
    atoms = crooked(formula)
    [found] = hessians(small(name), batch_of(atoms))
    assert found.shape == (3 * len(atoms),) * 2
    assert not found.requires_grad
    assert_close(found, by_rows(small(name), atoms))


def test_one_sweep_is_all_rows_with_exact_frames(exact_frames):
    atoms = crooked("C2H4")
    [found] = hessians(exact_frames, batch_of(atoms))
    assert_close(found, by_rows(exact_frames, atoms))
    [fixed] = hessians(small("EquiformerV2"), batch_of(atoms))
    assert (found - fixed).abs().max() > 0.01 * found.abs().max()


@all_networks
def test_energy_derivatives_are_symmetric_and_direct_forces_not(name):
    [found] = hessians(small(name), batch_of(crooked("C2H4")))
    asymmetry = (found - found.T).abs().max() / found.abs().max()
    if small(name).conservative:
        assert asymmetry < CLOSE
    else:
        assert asymmetry > 1e-3


@all_networks
def test_single_precision(name):
    """Three times the errors found. LEFTNet divides what is rounded by short lengths."""
    limit = {"LEFTNet": 2e-2, "LEFTNet-df": 1e-2}.get(name, 2e-4)
    atoms = crooked("CH3CH2OH")
    [expected] = hessians(small(name), batch_of(atoms))
    [found] = hessians(small(name, torch.float32), batch_of(atoms, dtype=torch.float32))
    assert found.dtype == torch.float32
    assert_close(found.double(), expected, tolerance=limit)


def test_a_molecule_in_pieces():
    """LEFTNet cuts molecules wider than 10 Å: other centres, other frames of atoms."""
    atoms, other = crooked("H2O"), crooked("CH4")
    other.positions += [11.0, 0.5, 0.3]
    [found] = hessians(small("LEFTNet"), batch_of(atoms + other))
    assert_close(found, by_rows(small("LEFTNet"), atoms + other))


# --- small molecules ---


@all_networks
@pytest.mark.parametrize("formula", ["H2", "CO2", "C2H2"])
def test_linear_molecules(name, formula):
    """Along an axis, where one rotation moves nothing and frames are made of zero vectors."""
    atoms = molecule(formula)
    [found] = hessians(small(name), batch_of(atoms))
    assert found.isfinite().all()
    assert_close(found, by_rows(small(name), atoms))


@all_networks
def test_a_linear_molecule_in_any_direction(name):
    """Linear but for 1e-4 Å, so that the third rotation is nearly one about the axis."""
    atoms = molecule("C2H2")
    atoms.rotate(40, (1, 2, 3))
    atoms.rattle(1e-4, seed=1)
    [found] = hessians(small(name), batch_of(atoms))
    # Curvatures of LEFTNet are 1e4 times the others here, and so is their rounding.
    assert_close(found, by_rows(small(name), atoms), tolerance=1e-7)


@all_networks
def test_a_diatomic(name):
    """Moving one atom is moving the other back."""
    [found] = hessians(small(name), batch_of(Atoms("CO", [[0, 0, 0], [0, 0, 1.2]])))
    assert found.abs().max() > 1e-3
    assert_close(found[:, :3], -found[:, 3:])


def test_a_diatomic_has_two_curvatures():
    """One along the bond; across it the slope over the distance. Nothing else."""
    batch = batch_of(Atoms("CO", [[0, 0, 0], [0, 0, 1.2]]))
    [found] = hessians(small("LEFTNet"), batch)
    _, forces = energies_and_forces(small("LEFTNet"), batch)
    across = -forces[1, 2].item() / 1.2
    assert abs(across) > 1e-3
    along = found[2, 2].item()
    expected = torch.diag(torch.tensor([across, across, along], dtype=torch.float64))
    assert_close(found[:3, :3], expected)


@all_networks
def test_a_single_atom(name):
    atom = Atoms("O", [[1.0, 2.0, 3.0]])
    [found] = hessians(small(name), batch_of(atom))
    assert found.equal(torch.zeros(3, 3, dtype=torch.float64))
    assert by_rows(small(name), atom).equal(found)


@all_networks
def test_atoms_beyond_the_cutoff_of_each_other(name):
    """Without an edge, in networks that know none so long."""
    pair = Atoms("OH", [[0.0, 0.0, 0.0], [9.0, 12.0, 20.0]])
    network = small(name)
    [found] = hessians(network, batch_of(pair))
    assert_close(found, by_rows(network, pair))
    if name in ("AlphaNet", "EquiformerV2", "MomentNet"):
        assert found.equal(torch.zeros(6, 6, dtype=torch.float64))


# --- several molecules ---


@all_networks
@pytest.mark.parametrize("together", [2, 3])
def test_several_molecules_of_mixed_sizes(name, together):
    molecules = [
        *(crooked("C2H4", seed=1), crooked("H2O", seed=2), crooked("CH3OH", seed=3)),
        *(crooked("C2H4", seed=4), Atoms("O"), crooked("H2O", seed=6), crooked("C2H4", seed=7)),
    ]
    found = hessians(small(name), batch_of(*molecules), together=together)
    for matrix, expected in zip(found, one_by_one(small(name), molecules), strict=True):
        assert_close(matrix, expected)


@all_networks
def test_molecules_with_different_numbers_of_neighbours(name):
    """Of equal size, but AlphaNet sees 5 Å and no further."""
    apart = crooked("H2O") + crooked("H2O")
    apart.positions[3:] += [7.0, 0.0, 0.0]
    molecules = [crooked("C2H4"), apart]
    found = hessians(small(name), batch_of(*molecules), together=2)
    for matrix, expected in zip(found, one_by_one(small(name), molecules), strict=True):
        assert_close(matrix, expected)


def test_rows_that_could_be_atoms_or_pairs():
    """Six pairs and two make as many rows as four atoms and four."""
    apart = crooked("H2") + crooked("H2", seed=6)
    apart.positions[2:] += [7.0, 0.0, 0.0]
    molecules = [crooked("NH3"), apart]
    assert small("AlphaNet").prepare(batch_of(*molecules)).rows == [(4, 4), (12, 4), (6, 2)]
    found = hessians(small("AlphaNet"), batch_of(*molecules), together=2)
    for matrix, expected in zip(found, one_by_one(small("AlphaNet"), molecules), strict=True):
        assert_close(matrix, expected)


@all_networks
def test_energies_and_forces_of_the_same_molecules(name):
    molecules = [crooked("C2H4"), crooked("H2O"), crooked("CH3OH")]
    energies, forces = energies_and_forces(small(name), batch_of(*molecules))
    assert not energies.requires_grad and not forces.requires_grad
    alone = [energies_and_forces(small(name), batch_of(atoms)) for atoms in molecules]
    assert_close(energies, torch.cat([energy for energy, _ in alone]))
    assert_close(forces, torch.cat([force for _, force in alone]))


# --- what invariance says ---


def rotations(atoms: Atoms) -> tuple[Tensor, Tensor]:
    """Axes (3, 3) and the displacements (3, 3n) that turn the molecule about them."""
    axes = torch.eye(3, dtype=torch.float64)
    positions = torch.from_numpy(atoms.positions)
    return axes, torch.linalg.cross(axes[:, None], positions[None]).reshape(3, -1)


@all_networks
@pytest.mark.parametrize("method", ["sweep", "rows"])
def test_translations_change_no_force(name, method):
    atoms = crooked("CH3OH")
    [swept] = hessians(small(name), batch_of(atoms))
    found = swept if method == "sweep" else by_rows(small(name), atoms)
    shifts = torch.eye(3, dtype=torch.float64).repeat(len(atoms), 1)
    assert (found @ shifts).abs().max() < CLOSE * found.abs().max()


@pytest.mark.parametrize("name", ["LEFTNet", "LEFTNet-df", "EquiformerV2"])
@pytest.mark.parametrize("method", ["sweep", "rows"])
def test_rotations_turn_the_forces(name, method, exact_frames):
    network = exact_frames if name == "EquiformerV2" else small(name)
    atoms = crooked("CH3OH")
    [swept] = hessians(network, batch_of(atoms))
    found = swept if method == "sweep" else by_rows(network, atoms)
    _, forces = energies_and_forces(network, batch_of(atoms))
    axes, turns = rotations(atoms)
    turned = -torch.linalg.cross(axes[:, None], forces[None]).reshape(3, -1)
    assert turned.abs().max() > 1e-3
    torch.testing.assert_close(
        turns @ found.T, turned, rtol=0, atol=10 * CLOSE * found.abs().max().item()
    )


@pytest.mark.parametrize("method", ["sweep", "rows"])
def test_rotations_change_nothing_with_fixed_frames(method):
    """As in the published training: the molecule turns, the frames and forces do not."""
    atoms, network = crooked("CH3OH"), small("EquiformerV2")
    [swept] = hessians(network, batch_of(atoms))
    found = swept if method == "sweep" else by_rows(network, atoms)
    assert (found @ rotations(atoms)[1].T).abs().max() < CLOSE * found.abs().max()


def test_alphanet_is_not_completed_by_rotations():
    """Its forces do not turn with the molecule; the Hessian is right all the same."""
    atoms, network = crooked("CH3OH"), small("AlphaNet")
    [found] = hessians(network, batch_of(atoms))
    _, forces = energies_and_forces(network, batch_of(atoms))
    axes, turns = rotations(atoms)
    turned = -torch.linalg.cross(axes[:, None], forces[None]).reshape(3, -1)
    assert (turns @ found - turned).abs().max() > 1e-4 * found.abs().max()


# --- parts of the matrix ---


@all_networks
def test_chosen_rows(name):
    atoms, rows = crooked("C2H4"), torch.tensor([16, 0, 5])
    [whole] = hessians(small(name), batch_of(atoms))
    assert_close(hessian_rows(small(name), batch_of(atoms), rows), whole[rows])


@all_networks
def test_products_with_vectors(name):
    """Of the symmetric part, for two molecules at once."""
    molecules = [crooked("C2H4"), crooked("H2O")]
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 9, 3)))
    found = hessian_products(small(name), batch_of(*molecules), vectors)
    assert found.shape == vectors.shape
    matrices = one_by_one(small(name), molecules)
    parts = vectors.split([6, 3], 1)
    for matrix, part, product in zip(matrices, parts, found.split([6, 3], 1), strict=True):
        expected = part.flatten(1) @ (0.5 * (matrix + matrix.T))
        assert_close(product.flatten(1), expected)


@all_networks
def test_products_leave_no_gradients(name):
    molecules = batch_of(crooked("H2O"))
    vectors = torch.ones(1, 3, 3, dtype=torch.float64)
    found = hessian_products(small(name), molecules, vectors)
    assert not found.requires_grad
    assert not molecules.positions.requires_grad


@all_networks
@pytest.mark.parametrize("count", [1, 3])
def test_lowest_modes(name, count):
    atoms = crooked("C2H4")
    [matrix] = hessians(small(name), batch_of(atoms))
    expected, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T).numpy())
    values, modes = lowest_modes(small(name), batch_of(atoms), count)
    assert modes.shape == (count, len(atoms), 3)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(values / scale, expected[:count] / scale, rtol=0, atol=1e-7)
    if expected[1] - expected[0] > 1e-3 * scale:
        overlap = abs(modes[0].ravel() @ vectors[:, 0])
        assert overlap == pytest.approx(1, abs=1e-6)


@all_networks
def test_lowest_modes_in_single_precision(name):
    """ARPACK is asked for 1e-4, of which products in float32 are capable."""
    atoms = crooked("C2H4")
    expected, _ = lowest_modes(small(name), batch_of(atoms), 1)
    [matrix] = hessians(small(name), batch_of(atoms))
    single = small(name, torch.float32)
    values, _ = lowest_modes(single, batch_of(atoms, dtype=torch.float32), 1)
    assert values[0] == pytest.approx(expected[0], abs=1e-3 * matrix.abs().max().item())


def test_lowest_modes_are_the_same_every_time():
    first, second = (lowest_modes(small("LEFTNet"), batch_of(crooked("H2O"))) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])


# --- limits of memory ---


@all_networks
def test_large_molecules_go_row_by_row(name, monkeypatch):
    molecules = [crooked("C2H4"), crooked("H2O"), crooked("C2H4", seed=8)]
    expected = one_by_one(small(name), molecules)
    monkeypatch.setattr(hessian, "SWEEP_BYTES", 0)
    monkeypatch.setattr(hessian, "_by_jets", None)  # not to be called
    for matrix, other in zip(hessians(small(name), batch_of(*molecules)), expected, strict=True):
        assert_close(matrix, other)


@all_networks
@pytest.mark.parametrize("n_bytes", [1, 20_000])
def test_blocks_of_edges(name, n_bytes, monkeypatch):
    """One edge at a time, and some; usually such small networks have one block."""
    atoms = crooked("C2H4")
    assert len(_blocks_of(name, atoms, monkeypatch)) == 1
    [expected] = hessians(small(name), batch_of(atoms))
    monkeypatch.setattr(hessian, "BLOCK_BYTES", n_bytes)
    assert len(_blocks_of(name, atoms, monkeypatch)) == 30 if n_bytes == 1 else 3
    [found] = hessians(small(name), batch_of(atoms))
    assert_close(found, expected)


def _blocks_of(name: str, atoms: Atoms, monkeypatch: pytest.MonkeyPatch) -> tuple[slice, ...]:
    """The blocks that a network is given in a sweep; all edges are in one of them."""
    seen = []
    network = small_networks.made(name)
    forward = type(network).forward

    def noted(self, graph, positions):
        seen.append(graph)
        return forward(self, graph, positions)

    with monkeypatch.context() as context:
        context.setattr(type(network), "forward", noted)
        hessians(network, batch_of(atoms))
    blocks = seen[-1].blocks
    edges = torch.arange(len(seen[-1].target))
    assert torch.cat([edges[block] for block in blocks]).equal(edges)
    return blocks


@pytest.mark.parametrize("name", ["LEFTNet-df", "EquiformerV2"])
def test_directions_go_through_direct_forces_in_parts(name, monkeypatch):
    atoms = crooked("CH3CH2OH")
    [expected] = hessians(small(name), batch_of(atoms))
    monkeypatch.setattr(hessian, "DIRECTION_BYTES", 1)
    monkeypatch.setattr(hessian, "LEAST_DIRECTIONS", 5)
    [found] = hessians(small(name), batch_of(atoms))
    assert_close(found, expected)


# --- settings of the process ---


@pytest.mark.parametrize("api", ["older", "newer"])
def test_the_precision_of_products_is_given_back(api):
    """PyTorch has two settings for it, and refuses some mixtures of the two."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    older = torch.get_float32_matmul_precision()
    try:
        if api == "older":
            torch.set_float32_matmul_precision("high")
        else:
            matmul.fp32_precision = "tf32"
        hessians(small("LEFTNet"), batch_of(crooked("H2O")))
        with pytest.raises(ZeroDivisionError), exact_products():
            assert matmul.fp32_precision == "ieee"
            raise ZeroDivisionError
        assert matmul.fp32_precision == "tf32"
    finally:
        if api == "older":
            torch.set_float32_matmul_precision(older)
        matmul.fp32_precision = before


@all_networks
def test_second_derivatives_are_made_with_exact_products(name, monkeypatch):
    """Whatever the process has set: TF32 would make of 1e-7 an error of 1e-3."""
    seen = set()
    forward = type(small(name)).forward

    def noted(self, graph, positions):
        seen.add(torch.backends.cuda.matmul.fp32_precision)
        return forward(self, graph, positions)

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        monkeypatch.setattr(type(small(name)), "forward", noted)
        batch = batch_of(crooked("H2O"))
        hessians(small(name), batch)
        hessian_rows(small(name), batch, torch.tensor([0]))
        hessian_products(small(name), batch, torch.ones(1, 3, 3, dtype=torch.float64))
        assert seen == {"ieee"}
    finally:
        torch.set_float32_matmul_precision(before)


def test_nothing_is_left_of_a_sweep_inside_another_setting_of_gradients():
    """The caller's `no_grad` or `inference_mode` changes nothing, nor is it changed."""
    [expected] = hessians(small("LEFTNet"), batch_of(crooked("H2O")))
    with torch.no_grad():
        [found] = hessians(small("LEFTNet"), batch_of(crooked("H2O")))
        assert not torch.is_grad_enabled()
        energies_and_forces(small("LEFTNet"), batch_of(crooked("H2O")))
        assert not torch.is_grad_enabled()
    assert found.equal(expected)


# --- the exact kind ---


def test_exact_frames_give_the_derivative_of_the_forces(exact_frames):
    """Central differences over 2e-5 Å: 1e-8 eV/Å² of rounding, less of curvature."""
    atoms, step = crooked("H2O"), 1e-5
    [found] = hessians(exact_frames, batch_of(atoms))
    displaced = []
    for column in range(9):
        for sign in (1, -1):
            copy = atoms.copy()
            copy.positions.flat[column] += sign * step
            displaced.append(copy)
    _, forces = energies_and_forces(exact_frames, batch_of(*displaced))
    plus, minus = forces.reshape(9, 2, 9).unbind(1)
    torch.testing.assert_close(found.T, (minus - plus) / (2 * step), rtol=0, atol=1e-7)


# --- a thousand evaluations ---


def test_memory_does_not_grow():
    """Tensors that stayed behind would show in their number, a leak below Python in bytes.

    A thousand evaluations, every hundredth of them with a Hessian as well. One tensor kept from
    each would be 1000 more; the Jacobians of each Hessian some 10 MB in all.
    """
    network = fill_by_rule(LEFTNet(layers=1, channels=8, radial=4).double())
    atoms = crooked("H2O")

    def evaluate(times: int) -> None:
        for i in range(times):
            atoms.positions[0, 0] += 1e-4
            energies_and_forces(network, batch_of(atoms))
            if i % 100 == 0:
                hessians(network, batch_of(atoms))

    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(x), Tensor) for x in gc.get_objects())

    def resident() -> int:
        """Bytes."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    evaluate(20)
    n_tensors, n_bytes = tensors(), resident()
    evaluate(1000)
    assert tensors() <= n_tensors
    assert resident() - n_bytes < 8_000_000
