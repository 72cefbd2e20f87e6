"""Normal modes, point groups and thermochemistry against closed formulas and other libraries."""

from functools import cache

import numpy as np
import pymsym
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.collections import g2
from ase.optimize import BFGS
from geometric.normal_modes import free_energy_harmonic, frequency_analysis
from goodvibes import thermo as goodvibes
from scipy import constants
from scipy.spatial.transform import Rotation
from tblite.ase import TBLite

from horm_calc.chemistry.symmetry import symmetry
from horm_calc.chemistry.thermochemistry import (
    GRIMME_INERTIA,
    NormalModes,
    ThermochemistryError,
    normal_modes,
    thermochemistry,
)

JOULE = units.J / units.mol  # eV in a J/mol
BOHR = units.Bohr
MOLECULES = ["H2O", "CO2", "H2", "HCN", "NH3", "C2H6"]
SOFT = [-12.0, 35.0, 80.0, 150.0, 400.0, 900.0, 1500.0, 3000.0, 3100.0]


def tight_binding(atoms):
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    return atoms


def finite_difference_hessian(atoms, step=5e-3):
    rows = []
    for index in np.ndindex(len(atoms), 3):
        forces = []
        for sign in (1, -1):
            displaced = tight_binding(atoms.copy())
            displaced.positions[index] += sign * step
            forces.append(displaced.get_forces().ravel())
        rows.append((forces[1] - forces[0]) / (2 * step))
    return np.array(rows)


@cache
def stationary_point(name):
    """Relaxed molecule, its Hessian and energy; "planar NH3" is the saddle of the inversion."""
    if name == "planar NH3":
        angles = np.radians([0, 120, 240])
        ring = np.array([np.cos(angles), np.sin(angles), np.zeros(3)]).T
        atoms = Atoms("NH3", [[0, 0, 0], *ring])
    else:
        atoms = Atoms(name) if name == "He" else molecule(name)
    tight_binding(atoms)
    if len(atoms) > 1:
        BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
    return (
        Atoms(atoms.numbers, atoms.positions),
        finite_difference_hessian(atoms),
        atoms.get_potential_energy(),
    )


def modes_with(atoms, frequencies, linear=False):
    count = len(frequencies)
    return NormalModes(
        np.array(frequencies), np.zeros((count, len(atoms), 3)), np.ones(count), linear
    )


def entropy_in_joule(result):
    return result.entropy / JOULE


# --- normal modes


@pytest.mark.parametrize(
    ("name", "count", "linear"),
    [("H2O", 3, False), ("CO2", 4, True), ("H2", 1, True), ("HCN", 4, True), ("C2H6", 18, False)],
)
def test_minimum_has_the_right_number_of_real_modes(name, count, linear):
    atoms, hessian, _ = stationary_point(name)
    modes = normal_modes(atoms, hessian)
    assert modes.frequencies.shape == (count,)
    assert modes.displacements.shape == (count, len(atoms), 3)
    assert modes.reduced_masses.shape == (count,)
    assert modes.linear is linear
    # The softest vibration of the set is the torsion of ethane, near 300 cm^-1.
    assert modes.frequencies.min() > 200
    assert np.all(np.diff(modes.frequencies) >= 0)


def test_single_atom_has_no_modes():
    modes = normal_modes(Atoms("He"), np.eye(3))
    assert modes.frequencies.shape == (0,)
    assert modes.displacements.shape == (0, 1, 3)
    assert modes.linear is False


@pytest.mark.parametrize("name", MOLECULES)
def test_modes_are_normalised_and_move_neither_centre_nor_frame(name):
    atoms, hessian, _ = stationary_point(name)
    modes = normal_modes(atoms, hessian)
    masses = atoms.get_masses()
    # Both identities hold to rounding error.
    assert np.linalg.norm(modes.displacements, axis=(1, 2)) == pytest.approx(1, abs=1e-10)
    momentum = np.einsum("a,mai->mi", masses, modes.displacements)
    assert momentum == pytest.approx(0, abs=1e-9)
    arms = atoms.positions - atoms.get_center_of_mass()
    spin = np.einsum("a,mai->mi", masses, np.cross(arms, modes.displacements))
    assert spin == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", MOLECULES)
def test_frequencies_do_not_depend_on_frame_or_atom_order(name):
    atoms, hessian, _ = stationary_point(name)
    rng = np.random.default_rng(1)
    turn = Rotation.random(random_state=2).as_matrix()
    order = rng.permutation(len(atoms))
    moved = Atoms(atoms.numbers, atoms.positions @ turn.T + [3.0, -20.0, 7.0])[order]
    blocks = hessian.reshape(len(atoms), 3, len(atoms), 3)
    blocks = np.einsum("ij,ajbk,lk->aibl", turn, blocks, turn)[order][:, :, order]
    turned = normal_modes(moved, blocks.reshape(hessian.shape))
    # The same matrix in another basis: rounding error only.
    expected = normal_modes(atoms, hessian).frequencies
    assert turned.frequencies == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", MOLECULES)
def test_rigid_body_part_of_the_hessian_does_not_matter(name):
    atoms, hessian, _ = stationary_point(name)
    rng = np.random.default_rng(3)
    masses = atoms.get_masses()[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    noise = np.zeros_like(hessian)
    for axis in np.eye(3):
        for rigid in (np.tile(axis, (len(atoms), 1)), np.cross(axis, arms)):
            # orthogonal to every vibration, as those conserve momentum and angular momentum
            noise += np.outer(masses * rigid, rng.normal(size=len(hessian)))
    contaminated = normal_modes(atoms, hessian + noise + noise.T)
    # About 1 eV/Å^2 was added, all of it outside the vibrational space.
    assert np.abs(noise).max() > 1
    expected = normal_modes(atoms, hessian).frequencies
    assert contaminated.frequencies == pytest.approx(expected, abs=1e-4)


def test_antisymmetric_part_of_the_hessian_is_dropped():
    atoms, hessian, _ = stationary_point("H2O")
    skew = np.triu(np.ones_like(hessian), 1)
    expected = normal_modes(atoms, hessian).frequencies
    assert normal_modes(atoms, hessian + skew - skew.T).frequencies == pytest.approx(expected)


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-2])
def test_bent_by_noise_only_is_linear_and_keeps_both_bends(noise):
    atoms, _, _ = stationary_point("CO2")
    atoms = atoms.copy()
    atoms.positions[1] += [noise, noise / 2, 0]
    modes = normal_modes(atoms, finite_difference_hessian(atoms))
    exact = normal_modes(*stationary_point("CO2")[:2])
    assert modes.linear
    # 1e-2 Å off the axis changes the bond lengths, and so the frequencies, by well below 1 %.
    assert modes.frequencies == pytest.approx(exact.frequencies, rel=1e-2)


def test_diatomic_spring_against_the_closed_formula():
    stiffness = 30.0  # eV/Å^2
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.13]])
    hessian = np.zeros((6, 6))
    hessian[np.ix_([2, 5], [2, 5])] = stiffness * np.array([[1, -1], [-1, 1]])
    carbon, oxygen = atoms.get_masses()
    reduced = carbon * oxygen / (carbon + oxygen) * constants.atomic_mass
    newton_per_metre = stiffness * constants.e / constants.angstrom**2
    expected = np.sqrt(newton_per_metre / reduced) / (200 * np.pi * constants.c)
    modes = normal_modes(atoms, hessian)
    # ASE holds CODATA 2014, scipy a later set: 1e-7.
    assert modes.frequencies == pytest.approx([expected], rel=1e-6)
    cartesian = np.array([oxygen, -carbon])  # the centre of mass at rest
    unit_mass = (cartesian**2 @ [carbon, oxygen]) / (cartesian @ cartesian)
    assert modes.reduced_masses == pytest.approx([unit_mass], rel=1e-10)
    assert normal_modes(atoms, -hessian).frequencies == pytest.approx([-expected], rel=1e-6)


def test_linear_triatomic_springs_against_the_closed_formula():
    stiffness = 90.0  # eV/Å^2, each bond of CO2; no bending force
    atoms = Atoms("OCO", [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    hessian = np.zeros((9, 9))
    hessian[2::3, 2::3] = stiffness * np.array([[1, -1, 0], [-1, 2, -1], [0, -1, 1]])
    oxygen, carbon, _ = atoms.get_masses() * constants.atomic_mass
    squares = (
        stiffness
        * constants.e
        / constants.angstrom**2
        * np.array([1 / oxygen, 1 / oxygen + 2 / carbon])
    )
    expected = [0, 0, *np.sqrt(squares) / (200 * np.pi * constants.c)]
    # A flat mode is the root of a rounding error: 1e-13 of the largest eigenvalue is 1e-3 cm^-1.
    assert normal_modes(atoms, hessian).frequencies == pytest.approx(expected, rel=1e-6, abs=1e-2)


@pytest.mark.parametrize("name", ["H2O", "CO2", "HCN", "NH3", "planar NH3", "C2H6"])
def test_frequencies_agree_with_geometric(name):
    atoms, hessian, _ = stationary_point(name)
    frequencies, displacements, *_ = frequency_analysis(
        atoms.positions.ravel() / BOHR,
        0.5 * (hessian + hessian.T) / (units.Ha / BOHR**2),  # geomeTRIC reads one triangle
        mass=atoms.get_masses(),
    )
    modes = normal_modes(atoms, hessian)
    # geomeTRIC and ASE hold different sets of constants: 6e-10.
    assert modes.frequencies == pytest.approx(frequencies, rel=1e-8)
    overlap = displacements @ modes.displacements.reshape(len(frequencies), -1).T
    single = np.abs(np.subtract.outer(frequencies, frequencies)) < 1.0
    # Vectors agree up to sign where the mode is not degenerate.
    unique = single.sum(axis=0) == 1
    assert np.abs(np.diag(overlap))[unique] == pytest.approx(1, abs=1e-5)


def test_saddle_has_one_imaginary_mode():
    modes = normal_modes(*stationary_point("planar NH3")[:2])
    assert len(modes.imaginary_frequencies()) == 1
    assert modes.imaginary_frequencies()[0] == modes.frequencies[0] < -300
    assert len(modes.imaginary_frequencies(threshold=3000)) == 0
    # The umbrella: every atom moves along the normal of the plane.
    assert np.linalg.norm(modes.displacements[0, :, 2]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("shape", [(6, 6), (9, 8), (9,), (3, 3, 3, 3)])
def test_hessian_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="9 x 9"):
        normal_modes(molecule("H2O"), np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_hessian_or_geometry_with_nan_is_refused(value):
    hessian = np.eye(9)
    hessian[4, 2] = value
    with pytest.raises(ValueError, match="NaN"):
        normal_modes(molecule("H2O"), hessian)
    atoms = molecule("H2O")
    atoms.positions[0, 0] = value
    with pytest.raises(ValueError, match="NaN"):
        normal_modes(atoms, np.eye(9))


# --- point groups

ALLENE = Atoms(
    "C3H4",
    [[0, 0, 0], [0, 0, 1.31], [0, 0, -1.31], [0.93, 0, 1.87], [-0.93, 0, 1.87], [0, 0.93, -1.87],
     [0, -0.93, -1.87]],
)  # fmt: skip
SF6 = Atoms("SF6", [[0, 0, 0], *(1.56 * np.eye(3)), *(-1.56 * np.eye(3))])
GROUPS = {
    "H2O": ("C2v", 2), "NH3": ("C3v", 3), "CH4": ("Td", 12), "C2H6": ("D3d", 6),
    "C6H6": ("D6h", 12), "C2H4": ("D2h", 4), "CO2": ("Dinfh", 2), "HCN": ("Cinfv", 1),
    "H2": ("Dinfh", 2), "CO": ("Cinfv", 1), "C2H2": ("Dinfh", 2), "BF3": ("D3h", 6),
    "H2O2": ("C2", 2), "CH3CH2OH": ("Cs", 1), "trans-butane": ("C2h", 2), "C60": ("Ih", 60),
    "cyclobutane": ("D2d", 4), "CH3Cl": ("C3v", 3),
}  # fmt: skip
FRAMES = {**{name: molecule(name) for name in GROUPS}, "allene": ALLENE, "SF6": SF6}
GROUPS |= {"allene": ("D2d", 4), "SF6": ("Oh", 24)}


@pytest.mark.parametrize("name", GROUPS)
def test_point_group_of_known_molecules_with_the_noise_of_an_optimiser(name):
    assert symmetry(FRAMES[name]) == GROUPS[name]
    rng = np.random.default_rng(5)
    for _ in range(5):
        atoms = FRAMES[name].copy()
        atoms.positions += rng.normal(scale=1e-3, size=atoms.positions.shape)
        atoms.positions = Rotation.random(random_state=rng).apply(atoms.positions) + 4.0
        assert symmetry(atoms[rng.permutation(len(atoms))]) == GROUPS[name]


def test_point_groups_agree_with_libmsym():
    """All molecules of the g2 set, at the exact geometry that libmsym needs."""
    for name in g2.names:
        atoms = molecule(name)
        positions = atoms.positions.tolist()
        assert symmetry(atoms)[0] == pymsym.get_point_group(list(atoms.numbers), positions), name


def closed(*generators):
    """Group of matrices generated by these."""
    group = [np.eye(3)]
    for element in group:  # grows while it is read
        for generator in generators:
            product = generator @ element
            if not any(np.allclose(product, known) for known in group):
                group.append(product)
    return np.array(group)


def about(axis, order):
    return Rotation.from_rotvec(
        2 * np.pi / order * np.array(axis) / np.linalg.norm(axis)
    ).as_matrix()


MIRROR = np.diag([1.0, 1.0, -1.0])
DIAGONAL = np.diag([1.0, -1.0, 1.0]) @ about([0, 0, 1], 8)
GOLDEN = (1 + np.sqrt(5)) / 2
THREEFOLD = about([1, 1, 1], 3)
ABSTRACT = {
    "C1": (), "Cs": (MIRROR,), "Ci": (-np.eye(3),), "C5": (about([0, 0, 1], 5),),
    "C3h": (about([0, 0, 1], 3), MIRROR), "S4": (MIRROR @ about([0, 0, 1], 4),),
    "S6": (MIRROR @ about([0, 0, 1], 6),), "S8": (MIRROR @ about([0, 0, 1], 8),),
    "D3": (about([0, 0, 1], 3), about([1, 0, 0], 2)),
    "D4d": (about([0, 0, 1], 4), about([1, 0, 0], 2), DIAGONAL),
    "D7h": (about([0, 0, 1], 7), about([1, 0, 0], 2), MIRROR),
    "T": (about([0, 0, 1], 2), THREEFOLD), "Th": (about([0, 0, 1], 2), THREEFOLD, MIRROR),
    "O": (about([0, 0, 1], 4), THREEFOLD),
    "I": (about([0, 0, 1], 2), THREEFOLD, about([0, 1, GOLDEN], 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSTRACT)
def test_point_group_of_orbits_of_that_group(name):
    """Orbits of general points have the symmetry of the group that generated them."""
    group = closed(*ABSTRACT[name])
    orbits = [group @ [1.1, 2.3, 3.7], group @ [-2.9, 0.7, 1.9], group @ [0.6, -1.7, 2.2]]
    orbits.append(group @ [3.1, 0.4, -0.8])  # three points alone have a mirror plane
    symbols = [symbol for symbol in "CNOF" for _ in group]
    rotations = int(sum(np.linalg.det(element) > 0 for element in group))
    assert symmetry(Atoms(symbols, np.concatenate(orbits))) == (name, rotations)


def rotations_of(name):
    """Rotational symmetry number of a point group from its symbol."""
    if name[0] in "TOI":
        return {"T": 12, "O": 24, "I": 60}[name[0]]
    axis = int("".join(filter(str.isdigit, name)) or 1)
    return {"C": axis, "D": 2 * axis, "S": axis // 2}[name[0]]


@pytest.mark.parametrize("name", ["CH4", "C2H6", "C6H6", "SF6", "BF3"])
def test_distortions_of_about_the_tolerance_still_give_a_subgroup(name):
    rng = np.random.default_rng(8)
    groups = set()
    for _ in range(40):
        atoms = FRAMES[name].copy()
        atoms.positions += rng.uniform(0.003, 0.03) * rng.normal(size=atoms.positions.shape)
        group, sigma = symmetry(atoms)
        assert sigma == rotations_of(group)
        assert GROUPS[name][1] % sigma == 0
        groups.add(group)
    assert {"C1", GROUPS[name][0]} < groups  # the draws do cross the tolerance


def test_one_bond_that_stretches_goes_from_one_group_to_the_other():
    """Td while the stretch is within the tolerance, then C3v, whatever operations pass between."""
    found = []
    for stretch in np.linspace(0, 0.2, 101):
        atoms = molecule("CH4")
        atoms.positions[1] *= 1 + stretch / np.linalg.norm(atoms.positions[1])
        found.append(symmetry(atoms)[0])
    first_c3v = found.index("C3v")
    assert found == ["Td"] * first_c3v + ["C3v"] * (101 - first_c3v)
    # All atoms share the misfit, so that the stretch may be some 1.5 times the tolerance.
    assert 0.05 < 0.002 * first_c3v < 0.1


def test_real_distortions_and_isotopes_lower_the_symmetry():
    stretched = molecule("CH4")
    stretched.positions[1] *= 1.15  # 0.16 Å
    assert symmetry(stretched) == ("C3v", 3)
    deuterated = molecule("H2O")
    deuterated.set_masses([15.999, 1.008, 2.014])
    assert symmetry(deuterated) == ("Cs", 1)


def test_odd_geometries_do_no_harm():
    assert symmetry(Atoms("Ar")) == ("Kh", 1)
    rng = np.random.default_rng(6)
    for size in (5, 12, 60):
        assert symmetry(Atoms("H" * size, 3 * rng.normal(size=(size, 3)))) == ("C1", 1)
    coincident = Atoms("H3O", [[0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert symmetry(coincident) == ("C1", 1)
    with pytest.raises(ValueError, match="finite"):
        symmetry(Atoms("H2", [[0, 0, np.nan], [0, 0, 1]]))
    with pytest.raises(ValueError, match="at least one"):
        symmetry(Atoms())


# --- thermochemistry


def goodvibes_entropy(atoms, modes, sigma, treatment, temperature, pressure, multiplicity=1):
    """Entropy in J/mol/K; vibrations (cm^-1) positive."""
    real = np.abs(modes.frequencies).tolist()
    moments = [moment for moment in atoms.get_moments_of_inertia() if moment > 1e-3]
    quantum = constants.h**2 / (8 * np.pi**2 * constants.k * constants.atomic_mass * 1e-20)
    concentration = pressure / 1000 / (goodvibes.GAS_CONSTANT * temperature)
    harmonic = goodvibes.calc_rrho_entropy(temperature, real)
    if treatment == "rrho":
        vibrational = harmonic
    elif treatment == "truhlar":
        vibrational = goodvibes.calc_rrho_entropy(temperature, [max(nu, 100.0) for nu in real])
    else:
        weight = np.array(goodvibes.calc_damp(real, 100.0))
        rotor = goodvibes.calc_freerot_entropy(temperature, real)
        vibrational = weight * harmonic + (1 - weight) * rotor
    return (
        goodvibes.calc_translational_entropy(atoms.get_masses().sum(), concentration, temperature)
        + goodvibes.calc_rotational_entropy(
            temperature,
            [quantum / moment for moment in moments],
            sigma,
            monatomic=len(atoms) == 1,
            linear=modes.linear,
        )
        + goodvibes.calc_electronic_entropy(multiplicity)
        + sum(vibrational)
    )


def goodvibes_enthalpy(atoms, modes, temperature):
    """Enthalpy without the energy in J/mol, vibrations harmonic."""
    return (
        goodvibes.calc_translational_energy(temperature)
        + goodvibes.calc_rotational_energy(temperature, len(atoms) == 1, modes.linear)
        + goodvibes.calc_vibrational_energy(temperature, np.abs(modes.frequencies).tolist())
        + goodvibes.GAS_CONSTANT * temperature
    )


@pytest.mark.parametrize("treatment", ["rrho", "grimme", "truhlar"])
@pytest.mark.parametrize(("temperature", "pressure"), [(298.15, 101325.0), (600.0, 1e5)])
def test_soft_molecule_agrees_with_goodvibes(treatment, temperature, pressure):
    atoms = molecule("CH3Cl")
    modes = modes_with(atoms, SOFT)
    result = thermochemistry(
        atoms, modes, -5.0, temperature=temperature, pressure=pressure, treatment=treatment
    )
    expected = goodvibes_entropy(atoms, modes, 3, treatment, temperature, pressure)
    # GoodVibes holds CODATA 2010 and older: 1e-4 J/mol/K, and 0.01 J/mol in the enthalpy.
    assert entropy_in_joule(result) == pytest.approx(expected, abs=5e-4)
    enthalpy = (result.enthalpy + 5.0) / JOULE
    gas_constant = goodvibes.GAS_CONSTANT * temperature
    # GoodVibes leaves the enthalpy harmonic: for the three raised modes within 0.02 kT each.
    slack = 3 * 0.02 * gas_constant if treatment == "truhlar" else 0.05
    assert enthalpy == pytest.approx(goodvibes_enthalpy(atoms, modes, temperature), abs=slack)
    assert result.gibbs == pytest.approx(result.enthalpy - temperature * result.entropy, abs=1e-12)
    zero_point = goodvibes.calc_zeropoint_energy(
        [max(nu, 100.0) if treatment == "truhlar" else abs(nu) for nu in SOFT]
    )
    assert result.zero_point_energy / JOULE == pytest.approx(zero_point, rel=1e-5)


@pytest.mark.parametrize("name", MOLECULES)
@pytest.mark.parametrize("treatment", ["rrho", "grimme", "truhlar"])
def test_real_molecules_agree_with_goodvibes(name, treatment):
    atoms, hessian, energy = stationary_point(name)
    modes = normal_modes(atoms, hessian)
    result = thermochemistry(atoms, modes, energy, treatment=treatment)
    sigma = GROUPS[name][1]
    expected = goodvibes_entropy(atoms, modes, sigma, treatment, 298.15, 101325.0)
    # As above; all vibrations are above the cut-off, so the enthalpy is harmonic.
    assert entropy_in_joule(result) == pytest.approx(expected, abs=5e-4)
    enthalpy = (result.enthalpy - energy) / JOULE
    assert enthalpy == pytest.approx(goodvibes_enthalpy(atoms, modes, 298.15), abs=0.05)


def test_grimme_constant_is_that_of_goodvibes():
    metre = units.kg * units.m**2
    assert GRIMME_INERTIA / metre == pytest.approx(goodvibes.GRIMME_BAV, rel=1e-12)


@pytest.mark.parametrize("name", ["H2O", "CO2", "HCN", "NH3"])
def test_rrho_agrees_with_geometric(name):
    atoms, hessian, energy = stationary_point(name)
    modes = normal_modes(atoms, hessian)
    gibbs, _, _ = free_energy_harmonic(
        atoms.positions / BOHR,
        atoms.get_masses(),
        modes.frequencies,
        energy / units.Ha,
        298.15,
        1.01325,
    )
    result = thermochemistry(atoms, modes, energy, treatment="rrho", symmetry_number=1)
    # Constants again: 2e-7 eV.
    assert result.gibbs == pytest.approx(gibbs * units.Ha, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [
        # CODATA key values, J/mol/K at 1 bar. Sackur-Tetrode is exact for helium. The others
        # carry GFN2-xTB: 2 % of the bond lengths are 0.3 in the rotation, 10 % of the bends of
        # CO2 are 0.7 in the vibration, against some 3 for a wrong kT ln 2 or a lost mode.
        ("He", 126.153, 1e-3),
        ("N2", 191.609, 0.5),
        ("H2O", 188.835, 0.5),
        ("CO2", 213.785, 1.0),
    ],
)
def test_standard_entropy_against_experiment(name, expected, tolerance):
    atoms, hessian, energy = stationary_point(name)
    modes = normal_modes(atoms, hessian)
    result = thermochemistry(atoms, modes, energy, pressure=1e5)
    assert entropy_in_joule(result) == pytest.approx(expected, abs=tolerance)


def test_atom_has_only_translation():
    result = thermochemistry(Atoms("He"), normal_modes(Atoms("He"), np.zeros((3, 3))), 1.5)
    assert result.enthalpy == pytest.approx(1.5 + 2.5 * units.kB * 298.15, rel=1e-12)
    assert (result.point_group, result.symmetry_number, result.modes_used) == ("Kh", 1, 0)
    assert result.zero_point_energy == 0


def test_multiplicity_and_symmetry_number_enter_as_logarithms():
    atoms = molecule("H2O")
    modes = modes_with(atoms, [1600.0, 3600.0, 3700.0])
    singlet = thermochemistry(atoms, modes, 0.0)
    doublet = thermochemistry(atoms, modes, 0.0, multiplicity=2)
    asymmetric = thermochemistry(atoms, modes, 0.0, symmetry_number=1)
    assert singlet.symmetry_number == 2
    for richer in (doublet, asymmetric):
        gain = richer.entropy - singlet.entropy
        assert gain == pytest.approx(units.kB * np.log(2), rel=1e-9)
        assert richer.enthalpy == singlet.enthalpy
    assert asymmetric.point_group == "C2v"


@pytest.mark.parametrize("treatment", ["rrho", "truhlar"])
def test_entropy_is_the_slope_of_the_gibbs_energy(treatment):
    """What makes the enthalpy and the entropy belong to one partition function."""
    atoms = molecule("CH3Cl")
    modes = modes_with(atoms, SOFT)
    middle, warm, cold = (
        thermochemistry(atoms, modes, 0.0, temperature=temperature, treatment=treatment)
        for temperature in (298.15, 298.25, 298.05)
    )
    # Central difference: its error of second order is 1e-8.
    assert -(warm.gibbs - cold.gibbs) / 0.2 == pytest.approx(middle.entropy, rel=1e-6)


def test_saddle_leaves_out_its_reaction_coordinate():
    atoms, hessian, energy = stationary_point("planar NH3")
    modes = normal_modes(atoms, hessian)
    result = thermochemistry(atoms, modes, energy, order=1)
    assert result.modes_left_out == (modes.frequencies[0],)
    assert result.modes_used == 5
    assert (result.point_group, result.symmetry_number) == ("D3h", 6)
    rest = 0.5 * modes.frequencies[1:].sum() * units.invcm
    assert result.zero_point_energy == pytest.approx(rest, rel=1e-12)
    with pytest.raises(ThermochemistryError, match=r"order 0 needs 0 imaginary .* has 1; .*-\d+"):
        thermochemistry(atoms, modes, energy)


@pytest.mark.parametrize(
    ("frequencies", "order"),
    [
        ([-500.0, 1000.0, 2000.0], 0),
        ([500.0, 1000.0, 2000.0], 1),
        ([-15.0, 1000.0, 2000.0], 1),  # noise is no reaction coordinate
        ([-500.0, -300.0, 2000.0], 1),
        ([-500.0, -21.0, 2000.0], 1),
    ],
)
def test_wrong_number_of_imaginary_modes_is_refused(frequencies, order):
    atoms = molecule("H2O")
    with pytest.raises(ThermochemistryError, match=f"needs {order} imaginary") as error:
        thermochemistry(atoms, modes_with(atoms, frequencies), 0.0, order=order)
    assert f"{frequencies[0]:.1f}" in str(error.value)


@pytest.mark.parametrize("treatment", ["rrho", "grimme", "truhlar"])
def test_imaginary_noise_is_taken_as_real_and_said_so(treatment):
    atoms = molecule("CH3Cl")
    noisy = thermochemistry(atoms, modes_with(atoms, SOFT), 0.0, treatment=treatment)
    real = thermochemistry(
        atoms, modes_with(atoms, [abs(nu) for nu in SOFT]), 0.0, treatment=treatment
    )
    assert noisy.gibbs == real.gibbs
    assert noisy.modes_used == 9
    assert noisy.modes_adjusted == ((-12.0,) if treatment == "rrho" else (-12.0, 35.0, 80.0))
    assert "-12.0" in noisy.assumptions()
    assert "imaginary noise" in noisy.assumptions()
    assert "imaginary noise" not in real.assumptions()
    with pytest.raises(ThermochemistryError, match="needs 0 imaginary"):
        thermochemistry(atoms, modes_with(atoms, SOFT), 0.0, imaginary_threshold=10.0)


def test_assumptions_are_one_line_that_names_them_all():
    atoms, hessian, energy = stationary_point("planar NH3")
    modes = normal_modes(atoms, hessian)
    result = thermochemistry(
        atoms, modes, energy, order=1, temperature=350.0, pressure=2e5, multiplicity=3
    )
    text = result.assumptions()
    expected = ["350 K", "200000 Pa", "symmetry number 6 (point group D3h)", "multiplicity 3"]
    expected += ["grimme with cut-off 100 cm^-1", "5 vibrations", "adjusted: none"]
    expected += [f"left out: {modes.frequencies[0]:.1f} cm^-1"]
    assert [part for part in expected if part not in text] == []
    assert "\n" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"treatment": "wigner"}, "rrho.*grimme.*truhlar"),
        ({"temperature": 0.0}, "temperature"),
        ({"pressure": -1.0}, "pressure"),
        ({"multiplicity": 0}, "multiplicity"),
        ({"symmetry_number": 0}, "symmetry_number"),
        ({"cutoff": np.nan}, "cutoff"),
    ],
)
def test_conditions_without_meaning_are_refused(arguments, message):
    atoms = molecule("H2O")
    with pytest.raises(ThermochemistryError, match=message):
        thermochemistry(atoms, modes_with(atoms, [1600.0, 3600.0, 3700.0]), 0.0, **arguments)


def test_inconsistent_input_is_refused():
    water = modes_with(molecule("H2O"), [1600.0, 3600.0, 3700.0])
    with pytest.raises(ThermochemistryError, match="its own modes"):
        thermochemistry(molecule("CO2"), modes_with(molecule("NH3"), SOFT), 0.0)
    periodic = molecule("H2O", vacuum=5.0, pbc=True)
    with pytest.raises(ThermochemistryError, match="periodic"):
        thermochemistry(periodic, water, 0.0)
    with pytest.raises(ThermochemistryError, match="energy is nan"):
        thermochemistry(molecule("H2O"), water, np.nan)
    flat = modes_with(molecule("H2O"), [0.0, 3600.0, 3700.0])
    with pytest.raises(ThermochemistryError, match="restoring force"):
        thermochemistry(molecule("H2O"), flat, 0.0, treatment="rrho")


def test_cold_stiff_molecule_stays_at_its_zero_point_silently(capfd):
    """h nu / kT = 6000 overflows exp; the thermal part must be zero, without a word."""
    atoms = molecule("H2")
    modes = modes_with(atoms, [4400.0], linear=True)
    with np.errstate(all="raise", under="ignore", over="raise"):
        result = thermochemistry(atoms, modes, 0.0, temperature=1.0)
    assert result.enthalpy == pytest.approx(result.zero_point_energy + 3.5 * units.kB, rel=1e-12)
    assert capfd.readouterr() == ("", "")
