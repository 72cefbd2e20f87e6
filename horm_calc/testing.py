"""What every network promises, as functions that fail with `AssertionError`.

For whoever writes a network (`horm_calc.models.contract`), under pytest or without:

    from horm_calc.testing import CHECKS, assert_contract

    assert_contract(MyNetwork.fresh({...}).double())

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_network(check):
        CHECKS[check](network)

A network must be in double precision on the CPU, with any parameters: random ones will do. The
molecules are rattled ones, so that none has a symmetry at which a network may have a kink.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from horm_calc.derivatives.hessian import energies_and_forces, hessian_rows, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network

#: eV and eV/Å. Rounding of sums of some 1e4 terms in double precision, some of them after
#: divisions by lengths of 1e-3 Å.
ROUNDING = 1e-10
#: eV/Å. A rotation's matrix rounds positions too, by 1e-15 Å, and forces change by as much as
#: curvatures (up to 1e4 eV/Å² with random parameters) make of that.
ROTATED = 1e-9
#: Step of differences of energies, Å, and what they may deviate by, eV/Å: the rounding of the
#: energies, 1e-14 eV, over twice the step, and kinks within it.
ENERGY_STEP, SLOPE = 1e-6, 3e-6
#: Step of differences of forces, Å, and what they may deviate by, relative to the largest element
#: of the Hessian: the square of the step times third derivatives, and rounding over the step.
FORCE_STEP, CURVATURE = 1e-5, 1e-5
#: Between two ways to the same Hessian, relative to its largest element.
SAME_HESSIAN = 1e-9
#: How far apart molecules are put that should not feel each other, Å beyond the cut-off.
BEYOND = 5.0


def sample(network: Network, formula: str = "CH3OH", seed: int = 5) -> Atoms:
    """A rattled molecule of the network's elements (others are replaced by the first)."""
    atoms = molecule(formula)
    atoms.rattle(0.1, seed=seed)
    known = network.elements
    atoms.numbers = [number if number in known else known[0] for number in atoms.numbers]
    return atoms


def evaluate(network: Network, *molecules: Atoms) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (molecules,), eV, and the forces on each molecule (n, 3), eV/Å."""
    batch = _batch(network, *molecules)
    energies, forces = energies_and_forces(network, batch)
    return energies.numpy(), np.split(forces.numpy(), np.cumsum(batch.sizes)[:-1])


def _batch(network: Network, *molecules: Atoms) -> Molecules:
    parameter = next(network.parameters())
    if parameter.dtype != torch.float64 or parameter.device.type != "cpu":
        raise TypeError("tolerances are for double precision on the CPU: network.double().cpu()")
    return Molecules.from_atoms(molecules, torch.float64)


def _moved(atoms: Atoms, change: np.ndarray) -> Atoms:
    return Atoms(atoms.numbers, atoms.positions + change)


def _near(found: Any, expected: Any, tolerance: float, what: str) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=what)


def _require(condition: object, what: str) -> None:
    if not condition:
        raise AssertionError(what)


# --- symmetries ---


def assert_translation(network: Network, tolerance: float = ROUNDING) -> None:
    """A molecule that is moved as a whole has the same energy and forces."""
    atoms = sample(network)
    energies, forces = evaluate(network, atoms, _moved(atoms, np.array([3.0, -7.0, 11.0])))
    _near(energies[1], energies[0], tolerance, "energy of a translated molecule")
    _near(forces[1], forces[0], tolerance, "forces on a translated molecule")
    if network.conservative:
        _near(forces[0].sum(0), 0, tolerance, "force on the molecule as a whole")


def assert_permutation(network: Network, tolerance: float = ROUNDING) -> None:
    """The order of the atoms decides nothing."""
    atoms = sample(network)
    order = np.random.default_rng(1).permutation(len(atoms))
    energies, forces = evaluate(network, atoms, atoms[order])
    _near(energies[1], energies[0], tolerance, "energy of atoms in another order")
    _near(forces[1], forces[0][order], tolerance, "forces on atoms in another order")


def assert_rotation(network: Network, tolerance: float = ROTATED) -> None:
    """Energies do not change with a rotation, and forces turn with the molecule.

    Nothing is asked of a network whose `rotations` are "unknown".
    """
    if network.rotations == "unknown":
        return
    atoms = sample(network)
    for seed in range(2):
        turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        turned = Atoms(atoms.numbers, atoms.positions @ turn.T)
        energies, forces = evaluate(network, atoms, turned)
        _near(energies[1], energies[0], tolerance, "energy of a rotated molecule")
        _near(forces[1], forces[0] @ turn.T, tolerance, "forces on a rotated molecule")


# --- several molecules ---


def assert_batching(network: Network, tolerance: float = ROUNDING) -> None:
    """Molecules of a batch do not depend on one another, whatever their sizes."""
    formulas = ("CH3OH", "H2O", "CH4", "H2", "CH3OH")
    batch = [sample(network, formula, seed) for seed, formula in enumerate(formulas)]
    batch.insert(2, Atoms(batch[0].numbers[:1], [[0.1, 0.2, 0.3]]))
    energies, forces = evaluate(network, *batch)
    for place, atoms in enumerate(batch):
        [energy], [alone] = evaluate(network, atoms)
        _near(energies[place], energy, tolerance, f"energy of {atoms.symbols} in a batch")
        _near(forces[place], alone, tolerance, f"forces on {atoms.symbols} in a batch")
        if len(atoms) == 1:
            _near(alone, 0, 0, "forces on an atom alone")


def assert_separation(network: Network, tolerance: float = ROUNDING) -> None:
    """Molecules further apart than the cut-off do not feel each other: energies add up.

    Not every network promises it: LEFTNet's graph has all pairs, and no cut-off.
    """
    first, second = sample(network), sample(network, "H2O", seed=6)
    away = _moved(second, np.array([network.cutoff + np.ptp(first.positions) + BEYOND, 0.5, 0.3]))
    energies, forces = evaluate(network, first, away, first + away)
    _near(energies[2], energies[:2].sum(), tolerance, "energy of two distant molecules")
    _near(forces[2], np.concatenate(forces[:2]), tolerance, "forces on two distant molecules")


def assert_edges(network: Network) -> None:
    """The graph's edges are sorted by target, join atoms of one molecule, and no atom to itself."""
    formulas = ("CH3OH", "H2O", "CH4")
    graph = network.prepare(_batch(network, *(sample(network, one) for one in formulas)))
    _require(bool((graph.target.diff() >= 0).all()), "edges are not sorted by target")
    _require(bool((graph.target != graph.source).all()), "an atom is its own neighbour")
    of_target, of_source = graph.molecule[graph.target], graph.molecule[graph.source]
    _require(of_target.equal(of_source), "an edge joins two molecules")


# --- derivatives ---


def assert_slopes(network: Network, tolerance: float = SLOPE) -> None:
    """Forces are minus the slope of the energy, along random directions.

    Where they are not meant to be (`conservative` is false), the network must give its own.
    """
    atoms = sample(network)
    batch = _batch(network, atoms)
    _, direct = network(network.prepare(batch), batch.positions)
    _require(
        (direct is None) == network.conservative,
        "conservative networks return no forces of their own, and others must",
    )
    if not network.conservative:
        return
    _, [forces] = evaluate(network, atoms)
    for direction in np.random.default_rng(0).standard_normal((4, *forces.shape)):
        step = ENERGY_STEP * direction / np.linalg.norm(direction)
        (ahead, behind), _ = evaluate(network, _moved(atoms, step), _moved(atoms, -step))
        slope = (behind - ahead) / (2 * ENERGY_STEP)
        _near(np.sum(forces * step) / ENERGY_STEP, slope, tolerance, "force along a direction")


def assert_hessian(network: Network, tolerance: float = CURVATURE) -> None:
    """The Hessian is the derivative of minus the forces, by central differences.

    Its columns of three atoms are compared. Nothing is asked of a network whose derivatives leave
    rotations out on purpose (`rotations` are "ignored").
    """
    if network.rotations == "ignored":
        return
    atoms = sample(network)
    [matrix] = hessians(network, _batch(network, atoms))
    for coordinate in range(9):
        step = np.zeros((len(atoms), 3))
        step.flat[coordinate] = FORCE_STEP
        _, (ahead, behind) = evaluate(network, _moved(atoms, step), _moved(atoms, -step))
        column = (behind - ahead).ravel() / (2 * FORCE_STEP)
        scale = float(matrix.abs().max())
        _near(matrix[:, coordinate].numpy() / scale, column / scale, tolerance, "Hessian's column")


def assert_one_sweep(network: Network, tolerance: float = SAME_HESSIAN) -> None:
    """The Hessian in one sweep of jets is that of one backward pass for each row."""
    batch = _batch(network, sample(network))
    [matrix] = hessians(network, batch)
    rows = hessian_rows(network, batch, torch.arange(len(matrix)))
    scale = float(rows.abs().max())
    _near((matrix / scale).numpy(), (rows / scale).numpy(), tolerance, "Hessian in one sweep")


# --- no state, no chance ---


def assert_repeatable(network: Network) -> None:
    """Nothing is kept between calls, no random number is drawn, and no input is changed."""
    atoms, other = sample(network), sample(network, "H2O")
    batch = _batch(network, atoms)
    before = batch.positions.clone()
    attributes = {key: sorted(vars(module)) for key, module in network.named_modules()}
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    chance = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    first = energies_and_forces(network, batch)
    evaluate(network, other)
    second = energies_and_forces(network, batch)
    _require(torch.get_rng_state().equal(chance[0]), "PyTorch's random numbers were drawn")
    drawn = np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002
    _require(bool((drawn == chance[1]).all()), "NumPy's random numbers were drawn")
    for one, again in zip(first, second, strict=True):
        _require(one.equal(again), "the same molecule has another answer the second time")
    _require(
        {key: sorted(vars(module)) for key, module in network.named_modules()} == attributes,
        "a call leaves attributes behind",
    )
    kept = network.state_dict()
    _require(kept.keys() == weights.keys(), "a call changes which tensors there are")
    for key, value in weights.items():
        _require(kept[key].equal(value), f"a call changes {key}")
    _require(all(p.grad is None for p in network.parameters()), "a call leaves gradients behind")
    unchanged = batch.positions.equal(before) and not batch.positions.requires_grad
    _require(unchanged, "a call changes the positions")


def assert_constants(network: Network) -> None:
    """A name that is no published buffer of the network has no value."""
    _require(network.constant("no.such.tensor") is None, "a constant for any name")


#: The checks that every network passes, by name.
CHECKS: dict[str, Callable[[Network], None]] = {
    "translation": assert_translation,
    "permutation": assert_permutation,
    "rotation": assert_rotation,
    "batching": assert_batching,
    "edges": assert_edges,
    "slopes": assert_slopes,
    "hessian": assert_hessian,
    "one sweep": assert_one_sweep,
    "repeatable": assert_repeatable,
    "constants": assert_constants,
}


def assert_contract(network: Network) -> None:
    """All of `CHECKS`, one after the other."""
    for check in CHECKS.values():
        check(network)
