"""Displaced geometries: their statistics, on analytic, stored and computed Hessians."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.data.displacements import LARGEST_AMPLITUDE, along_normal_modes, gaussian
from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frame, iterate
from tests.places import SHARED
from workflows.surface import Surface

XTB = SHARED / "data" / "xtb_dev.h5"


def springs(atoms: Atoms, constant: float = 30.0) -> np.ndarray:
    """Hessian (eV/Å²) of springs at rest between all atoms: six zero eigenvalues, no others."""
    size = len(atoms)
    hessian = np.zeros((size, 3, size, 3))
    for i in range(size):
        for j in range(i):
            along = atoms.positions[i] - atoms.positions[j]
            block = constant * np.outer(along, along) / (along @ along)
            for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
                hessian[a, :, b, :] += sign * block
    return hessian.reshape(3 * size, 3 * size)


def coordinates(atoms: Atoms, hessian: np.ndarray, displaced: list[Atoms]) -> np.ndarray:
    """Mass-weighted normal coordinates Q, (count, modes), in Å amu^½."""
    modes = normal_modes(atoms, hessian)
    weighted = modes.displacements / np.sqrt(modes.reduced_masses)[:, None, None]
    moved = np.array([one.positions - atoms.positions for one in displaced])
    return np.einsum("mni,n,kni->km", weighted, atoms.get_masses(), moved)


def eigenvalues(atoms: Atoms, hessian: np.ndarray) -> np.ndarray:
    """Of the mass-weighted Hessian, eV/(Å² amu), from frequencies in cm^-1 and nothing else."""
    frequencies = normal_modes(atoms, hessian).frequencies
    per_second = frequencies * units.invcm / (units._hbar * units.J)  # an angular frequency
    return np.sign(frequencies) * per_second**2 * units._amu * 1e-20 / units._e


def assert_equipartition(atoms: Atoms, hessian: np.ndarray, temperature: float, count: int) -> None:
    displaced = along_normal_modes(atoms, hessian, count, temperature, seed=11)
    values = eigenvalues(atoms, hessian)
    found = coordinates(atoms, hessian, displaced)
    energies = 0.5 * np.abs(values) * (found**2).mean(axis=0)
    expected = units.kB * temperature / 2
    # The mean square of `count` normal numbers is known to sqrt(2 / count).
    assert np.abs(energies / expected - 1).max() < 4.5 * np.sqrt(2 / count)
    correlation = np.corrcoef(found.T) - np.eye(len(values))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(count)
    assert np.abs(found.mean(axis=0) / found.std(axis=0)).max() < 4.5 / np.sqrt(count)


@pytest.mark.parametrize("name", ["H2O", "CH4", "CO2", "N2"])
def test_each_mode_holds_half_kt(name: str) -> None:
    atoms = molecule(name)
    hessian = springs(atoms)
    if name == "CO2":  # a straight line of springs has no bends
        hessian += bends(atoms)
    assert_equipartition(atoms, hessian, 300.0, 10000)


def bends(atoms: Atoms) -> np.ndarray:
    """Of a linear molecule with the middle atom first, along z."""
    hessian = np.zeros((9, 9))
    for axis in (0, 1):
        line = np.zeros((3, 3))
        line[:, axis] = [-2, 1, 1]
        hessian += 5.0 * np.outer(line.ravel(), line.ravel())
    return hessian


def test_isotopes_count() -> None:
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 2.014, 1.008])
    assert_equipartition(atoms, springs(atoms), 300.0, 10000)


def test_an_imaginary_mode_is_sampled_as_a_real_one() -> None:
    """The energy of a mode is even in λ, so sign reversed Hessians give the same variances."""
    atoms = molecule("H2O")
    assert_equipartition(atoms, -springs(atoms), 300.0, 10000)


def test_nothing_moves_or_turns_as_a_whole() -> None:
    atoms = molecule("CH3CHO")
    masses = atoms.get_masses()
    centred = atoms.positions - atoms.get_center_of_mass()
    for one in along_normal_modes(atoms, springs(atoms), 20, 1000.0, seed=2):
        moved = one.positions - atoms.positions
        size = np.abs(moved).max() * masses.sum()
        assert np.abs(masses @ moved).max() < 1e-12 * size
        turned = np.cross(centred, masses[:, None] * moved).sum(axis=0)
        assert np.abs(turned).max() < 1e-12 * size * np.abs(centred).max()


def test_soft_modes_are_capped() -> None:
    """Springs of 30 µeV/Å² would let the atoms run for tens of Å."""
    atoms = molecule("H2O")
    displaced = along_normal_modes(atoms, springs(atoms, 3e-5), 4000, 300.0, seed=5)
    modes = normal_modes(atoms, springs(atoms, 3e-5))
    spread = coordinates(atoms, springs(atoms, 3e-5), displaced).std(axis=0)
    cartesian = spread / np.sqrt(modes.reduced_masses)
    reach = cartesian * np.linalg.norm(modes.displacements, axis=2).max(axis=1)
    np.testing.assert_allclose(reach, LARGEST_AMPLITUDE, rtol=4.5 / np.sqrt(2 * 4000))


def test_modes_without_curvature_are_capped_too() -> None:
    [one] = along_normal_modes(molecule("H2O"), np.zeros((9, 9)), 1, 300.0, seed=0)
    assert 0 < np.abs(one.positions - molecule("H2O").positions).max() < 6 * LARGEST_AMPLITUDE


def test_gaussian_noise() -> None:
    atoms = molecule("H2O")
    count, sigma = 4000, 0.05
    moved = np.array([one.positions - atoms.positions for one in gaussian(atoms, count, sigma, 4)])
    errors = sigma / np.sqrt(2 * count)
    assert np.abs(moved.std(axis=0) - sigma).max() < 4.5 * errors
    assert np.abs(moved.mean(axis=0)).max() < 4.5 * sigma / np.sqrt(count)
    correlation = np.corrcoef(moved.reshape(count, 9).T) - np.eye(9)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(count)


def test_seeds() -> None:
    atoms = molecule("H2O")
    hessian = springs(atoms)
    for displace in (
        lambda seed: along_normal_modes(atoms, hessian, 2, 300.0, seed),
        lambda seed: gaussian(atoms, 2, 0.1, seed),
    ):
        first = [one.positions for one in displace([0, 1])]
        np.testing.assert_array_equal(first, [one.positions for one in displace([0, 1])])
        assert not np.allclose(first, [one.positions for one in displace([0, 2])])


def test_what_is_kept() -> None:
    """The reaction is; labels of the geometry that was displaced are not."""
    atoms = molecule("H2O")
    atoms.info = {"reaction": "r7", "charge": 1, "dft_energy": -3.0}
    atoms.arrays["dft_forces"] = np.ones((3, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=-2000.0)
    before = atoms.positions.copy()
    for one in (*gaussian(atoms, 2, 0.1, 0), *along_normal_modes(atoms, springs(atoms), 2, 9.0, 0)):
        assert one.info == {"reaction": "r7", "charge": 1}
        assert one.calc is None
        assert set(one.arrays) == {"numbers", "positions"}
        assert one.get_chemical_symbols() == atoms.get_chemical_symbols()
    np.testing.assert_array_equal(atoms.positions, before)


def test_a_frame_will_do() -> None:
    atoms = molecule("H2O")
    frame = Frame(atoms.numbers, atoms.positions, 0.0, np.zeros((3, 3)), reaction="r7")
    [one] = gaussian(frame, 1, 0.1, 0)
    assert one.info == {"reaction": "r7"}
    np.testing.assert_array_equal(one.positions, gaussian(atoms, 1, 0.1, 0)[0].positions)


def test_input_without_meaning() -> None:
    atoms, hessian = molecule("H2O"), np.eye(9)
    for call, message in (
        (lambda: gaussian(atoms, 0, 0.1, 0), "at least one"),
        (lambda: gaussian(atoms, 1, 0.0, 0), "sigma"),
        (lambda: gaussian(atoms, 1, np.nan, 0), "sigma"),
        (lambda: along_normal_modes(atoms, hessian, 0, 300.0, 0), "at least one"),
        (lambda: along_normal_modes(atoms, hessian, 1, -1.0, 0), "temperature"),
        (lambda: along_normal_modes(atoms, np.eye(6), 1, 300.0, 0), "9 x 9"),
        (lambda: along_normal_modes(atoms, hessian * np.nan, 1, 300.0, 0), "NaN"),
        (lambda: along_normal_modes(Atoms("H"), np.eye(3), 1, 300.0, 0), "atom alone"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_stored_hessians() -> None:
    if not XTB.exists():
        pytest.skip(f"{XTB.name} is not here")
    frames = (frame for frame in iterate(open_frames(XTB)) if frame.hessian is not None)
    frame = next(frames)
    displaced = along_normal_modes(frame, frame.hessian, 5000, 300.0, seed=1)
    atoms = Atoms(frame.numbers, frame.positions)
    values = np.abs(eigenvalues(atoms, frame.hessian))
    energies = 0.5 * values * (coordinates(atoms, frame.hessian, displaced) ** 2).mean(axis=0)
    halves = energies / (units.kB * 300 / 2)
    modes = normal_modes(atoms, frame.hessian)
    thermal = np.sqrt(units.kB * 300 / values / modes.reduced_masses)
    reach = thermal * np.linalg.norm(modes.displacements, axis=2).max(axis=1)
    free = reach < LARGEST_AMPLITUDE
    assert 0 < free.sum() <= len(free)
    assert np.abs(halves[free] - 1).max() < 4.5 * np.sqrt(2 / 5000)
    assert (halves[~free] < 1 + 4.5 * np.sqrt(2 / 5000)).all()
    assert displaced[0].info == {"reaction": frame.reaction}


def test_energy_rises_by_half_kt_per_mode(gfn2: Surface) -> None:
    """On GFN2-xTB itself, at a temperature where water is harmonic."""
    atoms = molecule("H2O")
    atoms.calc = gfn2.calculator
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=50)
    lowest, _ = gfn2.at(atoms)
    count, temperature = 150, 20.0
    displaced = along_normal_modes(atoms, gfn2.get_hessian(atoms), count, temperature, seed=8)
    rise = np.mean([gfn2.at(one)[0] - lowest for one in displaced])
    expected = 3 * units.kB * temperature / 2
    assert abs(rise / expected - 1) < 4 * np.sqrt(2 / (3 * count))


def test_the_cap_keeps_a_methyl_group_from_falling_apart(gfn2: Surface) -> None:
    """Acetaldehyde at 300 K: its torsion, followed along straight lines, costs what a mode may.

    15 kT/2 in all, to 5% by chance; with a cap of 0.3 Å it would be half as much again.
    """
    atoms = molecule("CH3CHO")
    atoms.calc = gfn2.calculator
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=50)
    lowest, _ = gfn2.at(atoms)
    displaced = along_normal_modes(atoms, gfn2.get_hessian(atoms), 60, 300.0, seed=0)
    rise = np.mean([gfn2.at(one)[0] - lowest for one in displaced])
    assert 0.9 < rise / (15 * units.kB * 300.0 / 2) < 1.3


def test_radicals_stay_radicals_and_ions_stay_ions() -> None:
    atoms = molecule("O2")
    atoms.set_initial_charges([1.0, 0.0])
    atoms.info = {"multiplicity": 3, "spin_multiplicity": 3, "spin": 3}
    [one] = gaussian(atoms, 1, 0.05, 0)
    assert one.info == atoms.info
    assert one.get_initial_magnetic_moments().tolist() == [1.0, 1.0]
    assert one.get_initial_charges().tolist() == [1.0, 0.0]
