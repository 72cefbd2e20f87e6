"""Errors against numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from scipy import constants

from horm_calc.chemistry.thermochemistry import NormalModes, normal_modes
from horm_calc.evaluation import metrics
from horm_calc.units import HARTREE_PER_BOHR2

WATER = molecule("H2O")
# sqrt(eV / Å² / u) / (2 π c) in cm⁻¹: about 521.5.
WAVENUMBER = np.sqrt(constants.e / 1e-20 / constants.atomic_mass) / (200 * np.pi * constants.c)


def vibrations() -> np.ndarray:
    """Three orthonormal mass-weighted vibrations (3, 9) of water, any ones."""
    random = np.random.default_rng(0).standard_normal((9, 9))
    modes = normal_modes(WATER, random + random.T)
    weighted = modes.displacements * np.sqrt(WATER.get_masses())[:, None]
    flat = weighted.reshape(3, 9)
    return flat / np.linalg.norm(flat, axis=1)[:, None]


def hessian_with(values: list[float], vectors: np.ndarray) -> np.ndarray:
    """The Hessian, eV/Å², whose mass-weighted modes are these, with eigenvalues in eV/Å²/u."""
    root = np.sqrt(np.repeat(WATER.get_masses(), 3))
    return np.outer(root, root) * (vectors.T @ np.diag(values) @ vectors)


def modes_with(values: list[float], vectors: np.ndarray) -> NormalModes:
    return normal_modes(WATER, hessian_with(values, vectors))


def mixed(angle: float, first: int, second: int) -> np.ndarray:
    """The vibrations, two of them turned by an angle (degrees) in their plane."""
    vectors = vibrations()
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    pair = vectors[[first, second]]
    vectors[[first, second]] = np.array([[cos, sin], [-sin, cos]]) @ pair
    return vectors


# --- means


def test_mean_error() -> None:
    assert metrics.mean_error(np.array([1.0, -2.0]), np.array([0.0, 1.0])) == 2.0
    assert np.isnan(metrics.mean_error(np.empty(0), np.empty(0)))
    with pytest.raises(ValueError, match=r"\(2,\) and \(2, 1\)"):  # which numpy would broadcast
        metrics.mean_error(np.zeros(2), np.zeros((2, 1)))


def test_mean_error_of_float32_labels_is_not_rounded() -> None:
    label = np.array([40000.0], dtype=np.float32)
    predicted = np.array([40000.001])
    # In float32 the difference would be 0: its numbers are 0.004 apart there.
    assert metrics.mean_error(predicted, label) == pytest.approx(0.001, rel=1e-6)


def test_summary_tells_mean_from_median_and_leaves_out_what_does_not_apply() -> None:
    assert metrics.summary(np.array([1.0, -2.0, np.nan, 9.0])) == (3, 4.0, 2.0)
    frames, mean, median = metrics.summary(np.array([np.nan]))
    assert frames == 0
    assert np.isnan([mean, median]).all()


def test_without_offsets() -> None:
    values = np.array([1.0, 5.0, 3.0, 7.0, 2.0, 2.0, np.nan, 10.0, 12.0])
    groups = ["a", "b", "a", "c", "", "", "b", "b", "d"]
    # a: mean 2; b: mean 7.5 of two, the third is unknown; c, d: alone; "": not named.
    expected = [-1.0, -2.5, 1.0, np.nan, np.nan, np.nan, np.nan, 2.5, np.nan]
    np.testing.assert_array_equal(metrics.without_offsets(values, groups), expected)


def test_an_offset_for_each_group_drops_out() -> None:
    rng = np.random.default_rng(1)
    groups = [str(name) for name in rng.integers(0, 5, 40)]
    values = rng.normal(size=40)
    moved = values + np.array([1e3 * int(name) for name in groups])
    # 4e3 eV in float64 leave 1e-12.
    found = metrics.without_offsets(moved, groups)
    assert found == pytest.approx(metrics.without_offsets(values, groups), abs=1e-11)


# --- Hessians


def test_asymmetry() -> None:
    assert metrics.asymmetry(np.array([[5.0, 1.0], [3.0, 7.0]])) == 1.0  # |±2| of two of four
    assert metrics.asymmetry(np.array([[5.0, 1.0], [1.0, 7.0]])) == 0.0


def test_eigenvalues_are_those_of_the_symmetric_part() -> None:
    symmetric = np.array([[2.0, 1.0], [1.0, 2.0]])
    skew = np.array([[0.0, 4.0], [-4.0, 0.0]])
    assert metrics.eigenvalues(symmetric) == pytest.approx([1.0, 3.0], abs=1e-14)
    assert metrics.eigenvalues(symmetric + skew) == pytest.approx([1.0, 3.0], abs=1e-14)
    assert metrics.eigenvalues(symmetric.astype("f4")).dtype == np.float64


def test_atomic_unit_of_eigenvalues() -> None:
    unit = HARTREE_PER_BOHR2
    assert unit == pytest.approx(27.211386 / 0.52917721**2, rel=1e-6)
    assert round(unit, 2) == 97.17


def test_products_with_unit_vectors_have_the_error_of_elements() -> None:
    rng = np.random.default_rng(2)
    predicted, reference = rng.normal(size=(2, 9, 9))
    vectors = np.eye(9).reshape(9, 3, 3)
    found = metrics.product_error(
        (predicted @ np.eye(9)).T.reshape(9, 3, 3), reference.T.reshape(9, 3, 3), vectors
    )
    assert found == pytest.approx(metrics.mean_error(predicted, reference), rel=1e-12)


def test_error_of_products_does_not_depend_on_the_length_of_vectors() -> None:
    rng = np.random.default_rng(3)
    predicted, reference, vectors = rng.normal(size=(3, 4, 2, 3))
    scale = np.array([1e-3, 1.0, 7.0, 1e3])[:, None, None]
    expected = metrics.product_error(predicted, reference, vectors)
    found = metrics.product_error(scale * predicted, scale * reference, scale * vectors)
    assert found == pytest.approx(expected, rel=1e-12)


# --- modes


def test_frequency_of_nitrogen() -> None:
    stiffness = 2294.0 / constants.e * 1e-20  # N/m; measured: 2358.57 cm⁻¹ (Huber and Herzberg)
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.0977]])
    hessian = np.zeros((6, 6))
    hessian[np.ix_([2, 5], [2, 5])] = stiffness * np.array([[1, -1], [-1, 1]])
    modes = normal_modes(atoms, hessian)
    # Rounding to 1 N/m makes 0.5 cm⁻¹, and the standard weight instead of nitrogen-14's 0.3.
    assert modes.frequencies == pytest.approx([2358.6], abs=1.0)
    assert metrics.imaginary_modes(modes) == 0
    softer = normal_modes(atoms, 0.81 * hessian)  # ν goes with √k, so by a tenth
    error = metrics.mean_error(softer.frequencies, modes.frequencies)
    assert error == pytest.approx(0.1 * modes.frequencies[0], rel=1e-9)


@pytest.mark.parametrize(("frequency", "count"), [(-21.0, 1), (-19.0, 0), (19.0, 0)])
def test_soft_imaginary_modes_are_noise(frequency: float, count: int) -> None:
    value = np.sign(frequency) * (frequency / WAVENUMBER) ** 2
    modes = modes_with([value, 2.0, 3.0], vibrations())
    assert modes.frequencies[0] == pytest.approx(frequency, rel=1e-5)
    assert metrics.imaginary_modes(modes) == count


def test_overlap_with_itself_and_with_another_sign() -> None:
    modes = modes_with([-1.0, 2.0, 3.0], vibrations())
    turned = NormalModes(modes.frequencies, -modes.displacements, modes.reduced_masses, False)
    assert metrics.lowest_overlap(WATER, modes, modes) == pytest.approx(1, abs=1e-12)
    assert metrics.lowest_overlap(WATER, modes, turned) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("angle", [0, 30, 60, 90])
def test_overlap_is_the_cosine_of_the_angle_between_modes(angle: float) -> None:
    values = [-1.0, 2.0, 3.0]
    first, second = modes_with(values, vibrations()), modes_with(values, mixed(angle, 0, 1))
    expected = np.cos(np.radians(angle))
    assert metrics.lowest_overlap(WATER, first, second) == pytest.approx(expected, abs=1e-9)
    assert metrics.lowest_overlap(WATER, second, first) == pytest.approx(expected, abs=1e-9)


def test_overlap_of_degenerate_modes_is_that_of_their_spaces() -> None:
    degenerate = [1.0, 1.0, 3.0]
    first = modes_with(degenerate, vibrations())
    same_space = modes_with(degenerate, mixed(30, 0, 1))
    one_of_it = modes_with([0.5, 1.0, 3.0], mixed(30, 0, 1))
    tilted = modes_with([3.0, 1.0, 0.5], mixed(30, 1, 2))  # lowest: 60° away from the space
    assert metrics.lowest_overlap(WATER, first, same_space) == pytest.approx(1, abs=1e-9)
    assert metrics.lowest_overlap(WATER, first, one_of_it) == pytest.approx(1, abs=1e-9)
    assert metrics.lowest_overlap(WATER, one_of_it, first) == pytest.approx(1, abs=1e-9)
    assert metrics.lowest_overlap(WATER, first, tilted) == pytest.approx(0.5, abs=1e-9)


def test_overlap_of_an_atom_does_not_apply() -> None:
    modes = normal_modes(Atoms("O"), np.zeros((3, 3)))
    assert np.isnan(metrics.lowest_overlap(Atoms("O"), modes, modes))


def test_confusion() -> None:
    reference = np.array([0, 0, 1, 1, 1, 2, 5, np.nan, 0])
    predicted = np.array([0, 1, 1, 1, 3, 2, 0, 1, np.nan])
    expected = [[1, 1, 0], [0, 2, 1], [1, 0, 1]]
    np.testing.assert_array_equal(metrics.confusion(reference, predicted), expected)


# --- Gibbs energies


def test_gibbs_energy_of_a_minimum_and_a_saddle() -> None:
    minimum = modes_with([1.0, 2.0, 3.0], vibrations())
    first = metrics.gibbs_energy(WATER, minimum, -5.0)
    assert metrics.gibbs_energy(WATER, minimum, -4.0) == pytest.approx(first + 1, abs=1e-12)
    # The reaction coordinate drops out, however steep it is; other modes count.
    saddles = [modes_with([value, 2.0, 3.0], vibrations()) for value in (-1.0, -2.0)]
    energies = [metrics.gibbs_energy(WATER, modes, -5.0) for modes in saddles]
    assert energies[0] == pytest.approx(energies[1], abs=1e-12)
    assert energies[0] < first


def test_stiffer_modes_raise_gibbs_energy_by_their_zero_points() -> None:
    first, second = (modes_with([1.0, 16.0, value], vibrations()) for value in (36.0, 49.0))
    difference = metrics.gibbs_energy(WATER, second, 0.0) - metrics.gibbs_energy(WATER, first, 0.0)
    # From 3129 to 3650 cm⁻¹: at 298 K (207 cm⁻¹) exp(−hν/kT) adds less than 1e-6.
    zero_point = 0.5 * WAVENUMBER * (7 - 6) * units.invcm
    assert difference == pytest.approx(zero_point, rel=1e-5)


@pytest.mark.parametrize("values", [[-1.0, -1.0, 1.0], [0.0, 1.0, 1.0]])
def test_gibbs_energy_of_anything_else_is_not_defined(values: list[float]) -> None:
    modes = modes_with(values, vibrations())
    if values[0] == 0:  # but for rounding
        modes.frequencies[0] = 0.0
    assert np.isnan(metrics.gibbs_energy(WATER, modes, -5.0))


# --- bins


def test_largest_force_is_a_length_not_a_component() -> None:
    assert metrics.largest_force(np.array([[3.0, 4.0, 0.0], [4.5, 0.0, 0.0]])) == 5.0


def test_bins_hold_their_lower_limit_only() -> None:
    values = np.array([1.0, 5.0, 6.0, np.nan])
    np.testing.assert_array_equal(metrics.within(values, (1, 6)), [True, True, False, False])
