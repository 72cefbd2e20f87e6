"""EquiformerV2 against the published implementation, and against what it promises."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from numpy.testing import assert_allclose
from torch import Tensor

from horm_calc.graphs import Molecules
from horm_calc.models import so3, sphere
from horm_calc.models.equiformer_v2.network import EquiformerV2
from tests.horm_calc.models import published

NAME = "EquiformerV2"
CONFIG = {"name": NAME}


@pytest.fixture(scope="module")
def goldens() -> dict[str, np.ndarray]:
    return published.reference(NAME)


@pytest.fixture(scope="module")
def state() -> dict[str, dict[str, Any]]:
    return published.state(NAME)


@pytest.fixture(scope="module")
def shapes() -> dict[str, tuple[int, ...]]:
    return published.shapes(NAME, buffers=False)


@pytest.fixture
def network() -> Iterator[EquiformerV2]:
    shared = published.network(NAME)
    assert isinstance(shared, EquiformerV2)
    yield shared
    shared.frame_fixed = True


def golden_molecule(goldens: dict[str, np.ndarray], index: int) -> Molecules:
    numbers, positions = goldens[f"m{index}_numbers"], goldens[f"m{index}_positions"]
    return Molecules.from_atoms([Atoms(numbers, positions)])


def evaluate(network: EquiformerV2, *atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    dtype = network.norm.affine_weight.dtype
    molecules = Molecules.from_atoms(atoms, dtype)
    energies, forces = network(network.prepare(molecules), molecules.positions)
    return energies.numpy(), forces.numpy()


def differences(
    network: EquiformerV2, molecules: Molecules, direction: Tensor, step: float
) -> Tensor:
    """Minus the derivative of the forces along `direction`, each side with its own frames."""
    ends = [
        dataclasses.replace(molecules, positions=molecules.positions + sign * step * direction)
        for sign in (1, -1)
    ]
    plus, minus = (network(network.prepare(end), end.positions)[1] for end in ends)
    return (minus - plus) / (2 * step)


def derivatives(network: EquiformerV2, molecules: Molecules, directions: Tensor) -> Tensor:
    """The same (directions, atoms, 3) by forward-mode differentiation."""
    graph = network.prepare(molecules)

    def along(direction: Tensor) -> Tensor:
        forces = lambda x: network(graph, x)[1]  # noqa: E731
        return -torch.func.jvp(forces, (molecules.positions,), (direction,))[1]

    return torch.func.vmap(along)(directions)


def rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return np.asarray(q * np.linalg.det(q))


@pytest.mark.parametrize("index", range(3))
def test_energy_and_forces_are_the_published_ones(
    network: EquiformerV2, goldens: dict[str, np.ndarray], index: int
) -> None:
    molecules = golden_molecule(goldens, index)
    energies, forces = network(network.prepare(molecules), molecules.positions)
    assert_allclose(energies, [goldens[f"m{index}_energy"]], rtol=0, atol=1e-12)
    assert_allclose(forces, goldens[f"m{index}_forces"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("index", range(3))
def test_hessian_is_the_published_one(
    network: EquiformerV2, goldens: dict[str, np.ndarray], index: int
) -> None:
    """Along random directions from either side, which sees every element."""
    molecules = golden_molecule(goldens, index)
    hessian = torch.from_numpy(goldens[f"m{index}_hessian"])
    torch.manual_seed(0)
    right, left = torch.randn(2, 2, len(hessian), dtype=torch.float64)
    columns = derivatives(network, molecules, right.reshape(2, -1, 3)).reshape(2, -1)
    scale = hessian.abs().max()
    assert_allclose(columns / scale, right @ hessian.T / scale, rtol=0, atol=1e-10)
    positions = molecules.positions.clone().requires_grad_()
    forces = network(network.prepare(molecules), positions)[1]
    [row] = torch.autograd.grad(forces, positions, -left[0].reshape(-1, 3))
    assert_allclose(row.flatten() / scale, left[0] @ hessian / scale, rtol=0, atol=1e-10)


def test_central_differences_are_the_published_ones(
    network: EquiformerV2, goldens: dict[str, np.ndarray]
) -> None:
    molecules = golden_molecule(goldens, 2)
    direction = torch.zeros_like(molecules.positions)
    direction[1, 2] = 1
    column = differences(network, molecules, direction, 1e-3).flatten()
    assert_allclose(column, goldens["m2_fd6"][:, 5], rtol=0, atol=1e-9)


def test_single_precision(goldens: dict[str, np.ndarray]) -> None:
    network = published.network(NAME, torch.float32)
    assert isinstance(network, EquiformerV2)
    atoms = Atoms(goldens["m2_numbers"], goldens["m2_positions"])
    [energy], forces = evaluate(network, atoms)
    assert forces.dtype == np.float32
    assert_allclose(energy, goldens["m2_energy"], rtol=0, atol=1e-6)
    assert_allclose(forces, goldens["m2_forces"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["H2CO", "CO2"])
def test_exact_derivative_is_that_of_the_forces(network: EquiformerV2, name: str) -> None:
    """CO2 lies along an axis, H2CO in a plane of two."""
    molecules = Molecules.from_atoms([molecule(name)])
    torch.manual_seed(1)
    directions = torch.randn(2, *molecules.positions.shape, dtype=torch.float64)
    fixed = derivatives(network, molecules, directions)
    network.frame_fixed = False
    exact = derivatives(network, molecules, directions)
    expected = torch.stack([differences(network, molecules, d, 1e-6) for d in directions])
    assert_allclose(exact, expected, rtol=0, atol=1e-7)
    assert (fixed - exact).abs().max() > 1e-2


def test_fixed_frames_do_not_change_values(network: EquiformerV2) -> None:
    fixed = evaluate(network, molecule("CH3OH"))
    network.frame_fixed = False
    for a, b in zip(fixed, evaluate(network, molecule("CH3OH")), strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-14)


def test_energy_can_be_differentiated_twice(network: EquiformerV2) -> None:
    network.frame_fixed = False
    molecules = Molecules.from_atoms([molecule("H2O")])
    graph = network.prepare(molecules)
    hessian = torch.autograd.functional.hessian(
        lambda x: network(graph, x)[0].sum(), molecules.positions, create_graph=True
    )
    hessian = hessian.detach().reshape(9, 9)
    assert_allclose(hessian, hessian.T, rtol=0, atol=1e-12)
    assert hessian.abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_rotation(network: EquiformerV2, seed: int) -> None:
    atoms, turned, turn = molecule("CH3OH"), molecule("CH3OH"), rotation(seed)
    turned.positions = atoms.positions @ turn.T
    energy, forces = evaluate(network, atoms)
    energy_turned, forces_turned = evaluate(network, turned)
    assert_allclose(energy_turned, energy, rtol=0, atol=1e-11)
    assert_allclose(forces_turned, forces @ turn.T, rtol=0, atol=1e-10)


def test_translation_and_permutation(network: EquiformerV2) -> None:
    atoms, order = molecule("CH3OH"), [3, 5, 0, 1, 4, 2]
    moved = atoms[order]
    moved.positions += [1.0, -2.0, 0.5]
    energy, forces = evaluate(network, atoms)
    energy_moved, forces_moved = evaluate(network, moved)
    assert_allclose(energy_moved, energy, rtol=0, atol=1e-12)
    assert_allclose(forces_moved, forces[order], rtol=0, atol=1e-12)


def test_several_molecules_do_not_see_each_other(network: EquiformerV2) -> None:
    """Among them an atom without neighbours."""
    batch = [molecule("CH3OH"), Atoms("O"), molecule("H2O"), molecule("CO2")]
    energies, forces = evaluate(network, *batch)
    alone = [evaluate(network, atoms) for atoms in batch]
    assert_allclose(energies, np.concatenate([energy for energy, _ in alone]), atol=1e-13)
    assert_allclose(forces, np.concatenate([force for _, force in alone]), atol=1e-13)


@pytest.mark.parametrize("frame_fixed", [True, False])
def test_the_second_axis_does_not_matter(network: EquiformerV2, frame_fixed: bool) -> None:
    network.frame_fixed = frame_fixed
    molecules = Molecules.from_atoms([molecule("CH3OH")])
    graph = network.prepare(molecules)
    torch.manual_seed(2)
    direction = torch.randn_like(molecules.positions)
    other = dataclasses.replace(graph, axes=torch.randn_like(graph.axes))
    results = [
        torch.func.jvp(lambda x, g=g: network(g, x)[1], (molecules.positions,), (direction,))
        for g in (graph, other)
    ]
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-9)


def test_constants_are_those_of_the_checkpoint(
    network: EquiformerV2, state: dict[str, dict[str, Any]]
) -> None:
    for key, entry in state.items():
        value = network.constant(key)
        if entry["parameter"]:
            assert value is None
        else:
            assert value is not None, key
            assert list(value.shape) == entry["shape"], key
            assert str(value.dtype) == f"torch.{entry['dtype']}", key
    assert network.constant("blocks.9.ga.proj.expand_index") is None


def test_sizes_come_from_the_shapes(shapes: dict[str, tuple[int, ...]]) -> None:
    """From a network of other sizes in every respect."""
    sizes = dataclasses.replace(
        EquiformerV2.from_shapes(shapes, CONFIG).sizes,
        **{"layers": 2, "channels": 12, "lmax": 3, "mmax": 1, "heads": 3, "alpha_channels": 7},
        **{"value_channels": 5, "hidden_channels": 6, "ffn_channels": 10, "edge_channels": 9},
        **{"gaussians": 50, "elements": 20},
    )
    torch.manual_seed(3)
    small = EquiformerV2(sizes)
    own = {key: tuple(value.shape) for key, value in small.state_dict().items()}
    rebuilt = EquiformerV2.from_shapes(own, CONFIG).to_empty(device="cpu")
    assert rebuilt.sizes == sizes
    for parameter in rebuilt.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    energies, forces = evaluate(rebuilt.double().requires_grad_(False), molecule("H2O"))
    assert np.isfinite(energies).all()
    assert np.abs(forces).max() > 1e-6


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        ("sphere_embedding.weight", None, "sphere_embedding.weight.* is missing"),
        ("sphere_embedding.weight", (90,), "sphere_embedding.weight.* 1 dimensions instead of 2"),
        ("blocks.2.ga.alpha_norm.bias", None, "1 missing: blocks.2.ga.alpha_norm.bias"),
        ("blocks.2.ga.alpha_dot", (4, 32), r"1 misshapen: blocks.2.ga.alpha_dot \(4, 32\)"),
        ("norm.affine_weight", (3, 128), r"75 misshapen: .* \(4, 128\) instead of \(3, 128\)"),
        (
            "norm.affine_weight",
            (1, 128),
            "no such network has: 'mmax' is 2; it must be at most lmax, 1",
        ),
        ("norm.affine_weight", (9, 128), "no such network has: 'lmax' is 9"),
        ("blocks.0.ffn.gating_linear.weight", (128, 128), "1 surplus: .*gating_linear"),
        ("SO3_grid.4.2.to_grid_mat", (14, 14, 19), "constants: SO3_grid.4.2.to_grid_mat"),
    ],
)
def test_shapes_that_do_not_fit(
    shapes: dict[str, tuple[int, ...]], key: str, shape: tuple[int, ...] | None, words: str
) -> None:
    wrong = {name: value for name, value in shapes.items() if name != key}
    if shape is not None:
        wrong[key] = shape
    assert re.search(words, published.refusal(NAME, wrong))


def test_harmonics_rotate_by_wigner_matrices() -> None:
    directions = np.random.default_rng(4).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turn = rotation(4)
    couplings = [torch.from_numpy(coupling) for coupling in so3.couplings(6)]
    matrix = so3.wigner(torch.from_numpy(turn)[None], couplings)[0].numpy()
    turned = so3.spherical_harmonics(6, directions @ turn.T)
    assert_allclose(so3.spherical_harmonics(6, directions) @ matrix.T, turned, atol=1e-13)


def test_frames_take_edges_to_the_polar_axis() -> None:
    vectors = torch.cat([torch.eye(3), -torch.eye(3), torch.randn(20, 3)]).double()
    frames = so3.edge_frames(vectors, so3.second_axes(vectors))
    along = torch.einsum("eij,ej->ei", frames, vectors / vectors.norm(dim=1, keepdim=True))
    assert_allclose(along, torch.tensor([[0.0, 1.0, 0.0]]).expand(26, 3), atol=1e-14)
    assert_allclose(frames @ frames.mT, torch.eye(3).expand(26, 3, 3), atol=1e-14)
    assert_allclose(torch.linalg.det(frames), np.ones(26), atol=1e-14)


def test_signals_come_back_from_the_sphere() -> None:
    evaluate_there, project = so3.grid_matrices(4, 4, 18)
    back = np.einsum("bai,baj->ij", project, evaluate_there)
    assert_allclose(back, np.eye(25), atol=1e-14)
    norms = (evaluate_there**2).mean(1).sum(1)  # at every polar angle, variance one on average
    assert_allclose(norms, np.ones(18), atol=1e-13)


@pytest.fixture
def grid() -> sphere.Grid:
    """To the sphere, and back without the scalars."""
    there, back = (
        torch.from_numpy(matrix.reshape(324, -1)) for matrix in so3.grid_matrices(4, 2, 18)
    )
    return sphere.Grid(there, back.T[1:])


@pytest.mark.parametrize("directions", [1, 30])
@pytest.mark.parametrize("channels", [5, 64])
def test_derivatives_of_functions_on_the_sphere(
    grid: sphere.Grid, directions: int, channels: int
) -> None:
    torch.manual_seed(5)
    signal = torch.randn(19, 14, channels, dtype=torch.float64)
    tangent = torch.randn(directions, *signal.shape, dtype=torch.float64)
    weight = torch.randn(channels, channels, dtype=torch.float64) / channels**0.5

    def check(function: Any, jvp: Tensor) -> None:
        expected = [torch.func.jvp(function, (signal,), (along,))[1] for along in tangent]
        assert_allclose(jvp, torch.stack(expected), rtol=0, atol=1e-11)

    check(
        lambda x: sphere.silu_on_sphere(x, grid), sphere.silu_on_sphere_jvp(signal, tangent, grid)
    )
    check(
        lambda x: sphere.perceptron_on_sphere(x, weight, grid),
        sphere.perceptron_on_sphere_jvp(signal, tangent, weight, grid),
    )
