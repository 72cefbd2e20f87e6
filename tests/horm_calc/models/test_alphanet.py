"""AlphaNet against the published implementation, and what kind of function it is."""

import re

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule as named
from scipy.spatial.transform import Rotation
from torch import Tensor

from horm_calc.configuration import SettingsError
from horm_calc.derivatives.hessian import energies_and_forces, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.alphanet.network import AlphaNet
from tests.horm_calc.models import published

CONFIG = published.config("AlphaNet")
STATE = published.state("AlphaNet")
SHAPES = published.shapes("AlphaNet")
#: Rounding of a sum of some 1e4 terms, in eV and eV/Å.
ROUNDING = 1e-12


def reference() -> dict[str, np.ndarray]:
    return published.reference("AlphaNet")


def network(dtype: torch.dtype = torch.float64) -> AlphaNet:
    return published.network("AlphaNet", dtype)


def golden(index: int) -> Atoms:
    return published.golden("AlphaNet", index)


def evaluate(*molecules: Atoms, dtype=torch.float64, create_graph=False):
    """Energies, forces, and the positions they are differentiable in."""
    tensors = Molecules.from_atoms(molecules, dtype)
    positions = tensors.positions.requires_grad_()
    energies, direct = network(dtype)(network(dtype).prepare(tensors), positions)
    assert direct is None
    (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=create_graph)
    return energies, -gradient, positions


def hessian_times(atoms: Atoms, vectors: Tensor, dtype=torch.float64) -> np.ndarray:
    """The Hessian times each of `vectors` (vectors, 3 atoms), as rows."""
    _, forces, positions = evaluate(atoms, dtype=dtype, create_graph=True)
    rows = [
        torch.autograd.grad(-forces.flatten() @ v, positions, retain_graph=True)[0].flatten()
        for v in vectors.to(dtype)
    ]
    return torch.stack(rows).double().numpy()


def moved(atoms: Atoms, change: np.ndarray) -> Atoms:
    result = atoms.copy()
    result.positions += change
    return result


def transformed(atoms: Atoms, matrix: np.ndarray) -> Atoms:
    result = atoms.copy()
    result.positions = result.positions @ matrix.T
    return result


@pytest.mark.parametrize("index", range(3))
def test_energies_and_forces_are_the_published_ones(index):
    energies, forces, _ = evaluate(golden(index))
    assert energies.item() == pytest.approx(reference()[f"m{index}_energy"].item(), abs=1e-11)
    np.testing.assert_allclose(forces, reference()[f"m{index}_forces"], rtol=0, atol=1e-11)


def test_hessian_is_the_published_one():
    expected = reference()["m2_hessian"]
    hessian = hessian_times(golden(2), torch.eye(len(expected)))
    np.testing.assert_allclose(hessian, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("index", [0, 1])
def test_hessians_of_larger_molecules_are_the_published_ones(index):
    """Random combinations of their rows: all of the matrix, in a tenth of the time."""
    expected = reference()[f"m{index}_hessian"]
    vectors = torch.randn(4, len(expected), generator=torch.Generator().manual_seed(0)).double()
    found = hessian_times(golden(index), vectors)
    np.testing.assert_allclose(
        found, vectors.numpy() @ expected, rtol=0, atol=1e-9 * np.abs(expected).max()
    )


@pytest.mark.parametrize("index", range(3))
def test_single_precision(index):
    """Some four times the errors found: 3e-7 eV, 4e-6 eV/Å, 3e-4 of the largest element."""
    energies, forces, _ = evaluate(golden(index), dtype=torch.float32)
    assert energies.item() == pytest.approx(reference()[f"m{index}_energy"].item(), abs=1e-6)
    np.testing.assert_allclose(forces, reference()[f"m{index}_forces"], rtol=0, atol=2e-5)
    expected = reference()[f"m{index}_hessian"]
    rows = torch.eye(len(expected))[:6]
    found = hessian_times(golden(index), rows, torch.float32)
    np.testing.assert_allclose(found, expected[:6], rtol=0, atol=1e-3 * np.abs(expected).max())


def test_forces_are_the_slope_of_the_energy():
    """Central differences with the step at which they are best: 5e-10 eV/Å found."""
    atoms, step = golden(0), 1e-6
    forces = evaluate(atoms)[1].numpy()
    for direction in np.random.default_rng(0).standard_normal((5, *forces.shape)):
        unit = direction / np.linalg.norm(direction)
        energies, _, _ = evaluate(moved(atoms, step * unit), moved(atoms, -step * unit))
        slope = (energies[0] - energies[1]).item() / (2 * step)
        assert slope == pytest.approx(-np.sum(forces * unit), abs=5e-9)


def test_hessian_between_the_kinks_of_the_energy():
    """Forces jump where a number whose absolute value is taken changes its sign.

    Among 1e5 such numbers some are always close to zero. Of these six displacements by 1e-4 Å
    five cross a kink; for one of them differences of forces miss the Hessian by 2.4 eV/Å²,
    which is nearly its largest element. By 1e-6 Å none does, and they agree to 1e-8 eV/Å².
    """
    atoms, hessian = golden(0), reference()["m0_hessian"]

    def error(column: int, step: float) -> float:
        change = np.zeros(3 * len(atoms))
        change[column] = step
        change = change.reshape(-1, 3)
        _, forces, _ = evaluate(moved(atoms, -change), moved(atoms, change))
        slope = (forces[: len(atoms)] - forces[len(atoms) :]).numpy().ravel() / (2 * step)
        return np.abs(slope - hessian[column]).max()

    assert max(error(column, 1e-6) for column in range(6)) < 1e-7
    far = [error(column, 1e-4) for column in range(6)]
    assert max(far) > 1 and np.median(far) < 1e-3


def test_moving_the_molecule_changes_nothing():
    energies, forces, _ = evaluate(golden(0), moved(golden(0), np.array([3.0, -7.0, 11.0])))
    assert energies[1].item() == pytest.approx(energies[0].item(), abs=ROUNDING)
    np.testing.assert_allclose(*forces.split(len(golden(0))), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    "matrix",
    [[[0, -1, 0], [1, 0, 0], [0, 0, 1]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.diag([1, 1, -1])],
    ids=["quarter turn", "third turn", "reflection"],
)
def test_forces_turn_with_axes_that_are_exchanged(matrix):
    matrix = np.array(matrix)
    energies, forces, _ = evaluate(golden(0), transformed(golden(0), matrix))
    before, after = forces.numpy().reshape(2, -1, 3)
    assert energies[1].item() == pytest.approx(energies[0].item(), abs=ROUNDING)
    np.testing.assert_allclose(after, before @ matrix.T, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("index", range(3))
def test_energy_depends_on_the_orientation(index):
    """As published: lengths of vectors are |x| + |y| + |z|. Forces change by some 1 %."""
    matrix = Rotation.from_euler("xyz", [30, 50, 70], degrees=True).as_matrix()
    energies, forces, _ = evaluate(golden(index), transformed(golden(index), matrix))
    before, after = forces.numpy().reshape(2, -1, 3)
    assert 1e-6 < abs(energies[1] - energies[0]).item() < 2e-3
    assert 1e-4 < np.abs(after - before @ matrix.T).max() < 0.05 * np.abs(before).max()


def test_order_of_the_atoms_does_not_matter():
    order = np.random.default_rng(0).permutation(len(golden(0)))
    energies, forces, _ = evaluate(golden(0), golden(0)[order])
    before, after = forces.numpy().reshape(2, -1, 3)
    assert energies[1].item() == pytest.approx(energies[0].item(), abs=ROUNDING)
    np.testing.assert_allclose(after, before[order], rtol=0, atol=ROUNDING)


def test_molecules_in_one_batch_are_independent():
    """With a lone atom between them, which has no edges."""
    batch = [golden(0), Atoms("O"), golden(2), golden(1)]
    energies, forces, _ = evaluate(*batch)
    parts = forces.split([len(atoms) for atoms in batch])
    assert torch.isfinite(energies).all()
    assert not parts[1].any()
    for index, place in ((0, 0), (2, 2), (1, 3)):
        energy, alone, _ = evaluate(golden(index))
        assert energies[place].item() == pytest.approx(energy.item(), abs=ROUNDING)
        np.testing.assert_allclose(parts[place], alone, rtol=0, atol=ROUNDING)


def test_molecules_beyond_the_cutoff_do_not_feel_each_other():
    one, other = golden(0), moved(golden(2), np.array([30.0, 0.0, 0.0]))
    energies, forces, _ = evaluate(one, other, one + other)
    assert energies[2].item() == pytest.approx(energies[:2].sum().item(), abs=ROUNDING)
    half = len(one) + len(other)
    np.testing.assert_allclose(forces[:half], forces[half:], rtol=0, atol=ROUNDING)


def test_energy_jumps_at_the_cutoff():
    """Messages end smoothly there; the mean position of the neighbours does not.

    By 5 meV for two molecules of water with these weights.
    """
    water = named("H2O")
    upside_down = transformed(water, np.diag([1.0, 1.0, -1.0]))
    oxygens = 2 * water.positions[:, 2].max() + network().cutoff
    above, below = (
        water + moved(upside_down, np.array([0, 0, oxygens + gap])) for gap in (1e-6, -1e-6)
    )
    assert len(_edges(below)) == len(_edges(above)) + 2
    energies, _, _ = evaluate(water, above, below)
    assert energies[1].item() == pytest.approx(2 * energies[0].item(), abs=ROUNDING)
    assert 1e-3 < abs(energies[2] - energies[1]).item() < 1e-2


def _edges(atoms: Atoms) -> Tensor:
    return network().prepare(Molecules.from_atoms([atoms])).target


def symmetric() -> dict[str, Atoms]:
    """Exactly so: methane, water in the xz-plane, carbon dioxide along no axis."""
    water, dioxide = named("H2O"), named("CO2")
    water.positions = water.positions[:, [1, 0, 2]]
    dioxide.rotate(35, "x")
    return {"CH4": named("CH4"), "H2O": water, "CO2": dioxide}


@pytest.mark.parametrize("formula", ["CH4", "H2O", "CO2"])
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 2e-4)], ids=str
)
def test_rounding_does_not_choose_a_side_at_kinks(formula, dtype, limit):
    """Numbers that are zero by symmetry have one slope, whatever is computed beside them."""
    atoms = symmetric()[formula]

    def results(copies: int) -> tuple[Tensor, Tensor]:
        molecules = Molecules.from_atoms([atoms] * copies, dtype)
        _, forces = energies_and_forces(network(dtype), molecules)
        return forces.reshape(copies, -1, 3), torch.stack(hessians(network(dtype), molecules))

    alone = results(1)
    assert (alone[0] != 0).any()
    for copies in (2, 3):
        for found, expected in zip(results(copies), alone, strict=True):
            scale = expected.abs().max()
            assert (found - expected).abs().max() <= limit * scale


def test_parameters_go_both_ways():
    expected = {key for key, entry in STATE.items() if entry["parameter"]}
    assert network().state_dict().keys() == expected
    other = AlphaNet.from_shapes(SHAPES, CONFIG).to_empty(device="cpu")
    other.load_state_dict(network().state_dict(), strict=True)


def test_published_constants():
    for key, entry in STATE.items():
        constant = network().constant(key)
        assert (constant is None) == entry["parameter"]
        assert constant is None or tuple(constant.shape) == SHAPES[key]
    means = network().constant("radial_emb.means")
    assert means[[0, -1]].tolist() == pytest.approx([np.exp(-5.0), 1.0])


def test_buffers_may_be_absent():
    shapes = {key: shape for key, shape in SHAPES.items() if not key.startswith("radial_emb.")}
    assert AlphaNet.from_shapes(shapes, {}).cutoff == 5.0


def test_depth_follows_from_the_shapes():
    shapes = {
        key: (2, *shape[1:]) if key.startswith("kernels_") else shape
        for key, shape in SHAPES.items()
        if key.split(".")[:2]
        not in [[part, i] for part in ("message_layers", "FTEs") for i in "23"]
    }
    assert len(AlphaNet.from_shapes(shapes, CONFIG).message_layers) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"last_layer.weight": (1, 64)}, r"1 misshapen: last_layer.weight \(1, 64\)"),
        ({"radial_emb.means": (32,)}, "1 other than .* constants: radial_emb.means"),
        ({"message_layers.2.fc_mps.bias": None}, "1 missing: message_layers.2.fc_mps.bias"),
        ({"message_layers.0.diachi1": None}, "message_layers.0.diachi1.* is missing"),
        ({"kernels_real": (4, 128)}, "kernels_real.* sizes .* 2 dimensions instead of 4"),
        ({"something.else": (3,)}, "1 surplus: something.else"),
    ],
)
def test_other_shapes_are_refused(change, message):
    whole = published.shapes("AlphaNet", buffers=False) | change
    kept = {key: shape for key, shape in whole.items() if shape is not None}
    assert re.search(message, published.refusal("AlphaNet", kept))


def test_other_settings_are_refused():
    with pytest.raises(SettingsError, match="readout"):
        AlphaNet.from_shapes(SHAPES, {**CONFIG, "readout": "mean"})


def test_forward_mode():
    """Forward over reverse gives the Hessian as well, here with weights that learn."""
    atoms = golden(2)
    learning = AlphaNet.from_shapes(SHAPES, CONFIG).to_empty(device="cpu").double()
    learning.load_state_dict(network().state_dict())
    tensors = Molecules.from_atoms([atoms])
    graph = learning.prepare(tensors)

    def gradient(positions: Tensor) -> Tensor:
        return torch.func.grad(lambda x: learning(graph, x)[0].sum())(positions)

    direction = torch.randn(len(atoms), 3, generator=torch.Generator().manual_seed(0)).double()
    _, product = torch.func.jvp(gradient, (tensors.positions,), (direction,))
    expected = reference()["m2_hessian"] @ direction.flatten().numpy()
    np.testing.assert_allclose(product.detach().flatten(), expected, rtol=0, atol=1e-10)
