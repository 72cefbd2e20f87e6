"""What ASE and its users expect of any calculator: its files, copies, caches, and threads."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import InputError, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from numpy.testing import assert_allclose, assert_array_equal

from horm_calc import HormCalculator
from horm_calc.derivatives.hessian import exact_products
from horm_calc.input_checks import UnsupportedInput
from tests.horm_calc.models.published import NAMES
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import write

MOLECULES = ("H2O", "HCN", "CO2", "N2", "NH3", "C2H2", "H2CO", "CH3OH")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture
def calculator(folder) -> HormCalculator:
    return made(folder, "MomentNet")


def made(folder: Path, name: str) -> HormCalculator:
    path = folder / f"small-{name}.safetensors"
    return HormCalculator(
        path if path.exists() else write(folder, name), device="cpu", dtype="float64"
    )


def answer(calculator: HormCalculator, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and Hessian of a molecule, asked as users do."""
    atoms = atoms.copy()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    return energy, atoms.get_forces(), calculator.get_hessian(atoms)


def assert_same(found, expected) -> None:
    """To rounding: the same operations in the same order, but for threads of the library."""
    assert found[0] == pytest.approx(expected[0], abs=1e-9)
    assert_allclose(found[1], expected[1], rtol=0, atol=1e-9)
    assert_allclose(found[2], expected[2], rtol=0, atol=1e-7)


# --- the Hessian beside the results ---


@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_that_ase_knows(name, folder):
    calculator = made(folder, name)
    for formula in MOLECULES[:3]:
        atoms = crooked(formula)
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        size = 3 * len(atoms)
        assert calculator.get_hessian().shape == (size, size)
        kept = SinglePointCalculator(atoms, **calculator.results)
        assert kept.get_potential_energy(atoms) == energy
        assert_array_equal(kept.get_forces(atoms), forces)
        exported = calculator.export_properties()
        assert exported["energy"] == exported["free_energy"] == energy
        assert_array_equal(exported["forces"], forces)


def test_the_hessian_first_leaves_no_results_of_other_atoms(calculator):
    first, second = crooked("H2O"), crooked("CH3OH")
    calculator.get_potential_energy(first)
    hessian = calculator.get_hessian(second)
    assert calculator.results == {}
    assert calculator.atoms == second
    assert_array_equal(calculator.get_hessian(), hessian)
    assert calculator.get_potential_energy(second) == pytest.approx(
        calculator.evaluate([second])[0]["energy"], abs=1e-9
    )


# --- files ---


def in_trajectory(path: Path, atoms: Atoms) -> Atoms:
    atoms.write(path.with_suffix(".traj"))
    return ase.io.read(path.with_suffix(".traj"))


def in_extended_xyz(path: Path, atoms: Atoms) -> Atoms:
    atoms.write(path.with_suffix(".xyz"))
    return ase.io.read(path.with_suffix(".xyz"))


def in_json(path: Path, atoms: Atoms) -> Atoms:
    atoms.write(path.with_suffix(".json"))
    return ase.io.read(path.with_suffix(".json"))


def in_database(path: Path, atoms: Atoms) -> Atoms:
    with ase.db.connect(path.with_suffix(".db")) as database:
        database.write(atoms)
        row = database.get(1)
    assert row.calculator == "hormcalculator"
    assert row.calculator_parameters["sha256"] == atoms.calc.potential.sha256
    return row.toatoms()


def in_memory(path: Path, atoms: Atoms) -> Atoms:
    stream = io.StringIO()
    ase.io.write(stream, [atoms], format="extxyz")
    stream.seek(0)
    return ase.io.read(stream, format="extxyz")


@pytest.mark.parametrize("keep", [in_trajectory, in_extended_xyz, in_json, in_database, in_memory])
def test_files_hold_the_results(keep: Callable, calculator, tmp_path):
    atoms = crooked("CH3OH")
    atoms.calc = calculator
    energy, forces, _ = atoms.get_potential_energy(), atoms.get_forces(), calculator.get_hessian()
    back = keep(tmp_path / "kept", atoms)
    assert back.get_potential_energy() == pytest.approx(energy, abs=1e-7)
    assert_allclose(back.get_forces(), forces, rtol=0, atol=1e-7)  # eight digits in xyz


def test_a_file_gets_no_results_of_other_atoms(calculator, tmp_path):
    """A trajectory of structures that share the calculator, which holds those of the last."""
    frames = [crooked("H2O", seed) for seed in range(3)]
    for atoms in frames:
        atoms.calc = calculator
    energies = [atoms.get_potential_energy() for atoms in frames]
    ase.io.write(tmp_path / "shared.traj", frames)
    *others, last = ase.io.read(tmp_path / "shared.traj", ":")
    assert all("energy" not in atoms.calc.results for atoms in others)
    assert last.calc.results.get("energy", energies[-1]) == energies[-1]


# --- what is computed anew, and what is not ---


def test_what_is_known_and_what_is_not(calculator):
    atoms = crooked("H2O")
    assert calculator.calculation_required(atoms, ["energy"])
    assert calculator.get_property("energy", atoms, allow_calculation=False) is None
    energy = calculator.get_potential_energy(atoms)
    assert not calculator.calculation_required(atoms, ["energy", "forces", "free_energy"])
    assert calculator.calculation_required(atoms, ["stress"])
    assert calculator.get_property("energy", atoms.copy(), allow_calculation=False) == energy
    moved = atoms.copy()
    moved.positions[1, 2] += 1e-6
    assert calculator.calculation_required(moved, ["energy"])
    assert calculator.get_property("energy", moved, allow_calculation=False) is None
    calculator.get_potential_energy(atoms)
    calculator.reset()
    assert calculator.results == {}
    assert calculator.atoms is None
    with pytest.raises(ValueError, match="no structure yet"):
        calculator.get_hessian()
    with pytest.raises(ValueError, match="no structure yet"):
        calculator.get_potential_energy()


def test_the_hessian_as_a_property(calculator):
    atoms = crooked("H2O")
    assert calculator.get_property("hessian", atoms, allow_calculation=False) is None
    hessian = calculator.get_property("hessian", atoms)
    assert_array_equal(hessian, calculator.get_hessian(atoms))
    known = calculator.get_property("hessian", atoms.copy(), allow_calculation=False)
    assert_array_equal(known, hessian)
    atoms.positions[0, 0] += 1e-3
    assert calculator.get_property("hessian", atoms, allow_calculation=False) is None
    assert "hessian" not in calculator.results


@pytest.mark.parametrize("missing", ["stress", "dipole", "charges", "magmoms", "energies"])
def test_what_it_cannot_compute(missing, calculator):
    atoms = crooked("H2O")
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property(missing, atoms)
    with pytest.raises(PropertyNotImplementedError):
        calculator.calculate(atoms, ["energy", missing])


def test_one_calculator_of_several_atoms(calculator, folder):
    """In turn, each asked for something else than the one before."""
    fresh = made(folder, "MomentNet")
    shared = [crooked(formula) for formula in MOLECULES]
    expected = [answer(fresh, atoms) for atoms in shared]
    for atoms in shared:
        atoms.calc = calculator
    for start in range(3):
        for i in range(len(shared)):
            atoms, (energy, forces, hessian) = shared[i], expected[i]
            asked = (start + i) % 3
            if asked == 0:
                assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
            elif asked == 1:
                assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-9)
            else:
                assert_allclose(calculator.get_hessian(atoms), hessian, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "said",
    [
        {"charge": -1},
        {"charge": 1},
        {"spin": 3},
        {"multiplicity": 3},
        {"spin_multiplicity": 2},
    ],
)
def test_an_ion_is_not_answered_by_the_neutral_molecule(said, calculator):
    """The same atoms in the same places; ASE's own comparison does not look into `info`."""
    atoms = crooked("H2O")
    calculator.get_potential_energy(atoms)
    calculator.get_hessian(atoms)
    atoms.info |= said
    for ask in (calculator.get_potential_energy, calculator.get_forces, calculator.get_hessian):
        with pytest.raises(UnsupportedInput):
            ask(atoms)


@pytest.mark.parametrize("option", ["symmetrize", "dtype", "hessian_kind", "charge", "parameters"])
def test_options_are_fixed(option, calculator):
    with pytest.raises(InputError, match=f"{option} cannot be set afterwards"):
        calculator.set(**{option: None})


# --- copies ---


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_copies_have_the_results_and_then_their_own(copied, calculator):
    first, second = crooked("H2O"), crooked("HCN")
    expected = answer(calculator, first)
    other = copied(calculator)
    assert other.results["energy"] == expected[0]
    assert other.parameters == calculator.parameters
    assert other.get_property("energy", first, allow_calculation=False) == expected[0]
    assert_array_equal(other.get_hessian(), expected[2])
    other.results["forces"][:] = 0
    other.get_potential_energy(second)
    assert_same(answer(calculator, first), expected)
    assert calculator.atoms == first


def test_atoms_are_copied_with_their_calculator(tmp_path):
    """Though the file is gone: the copy has the same network."""
    path = write(tmp_path, "MomentNet")
    atoms = crooked("H2O")
    atoms.calc = HormCalculator(path, device="cpu", dtype="float64")
    energy = atoms.get_potential_energy()
    path.unlink()
    other = copy.deepcopy(atoms)
    assert other.calc is not atoms.calc
    assert other.calc.potential is atoms.calc.potential
    other.positions[0, 0] += 0.1
    assert other.get_potential_energy() != energy
    assert atoms.calc.results["energy"] == energy
    assert atoms.copy().calc is None


# --- threads ---


def together(count: int, work: Callable[[int], None]) -> None:
    """Runs `work` in so many threads that begin at the same moment; raises what they raise."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(begin, range(count)))


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_calculator(name, folder):
    """Molecules of all sizes; what each thread reads is of the molecule it asked about."""
    calculator, fresh = made(folder, name), made(folder, name)
    molecules = [crooked(formula) for formula in MOLECULES[:5]]
    expected = [answer(fresh, atoms) for atoms in molecules]

    def work(number: int) -> None:
        for i in (number, number + 1):
            place = i % len(molecules)
            assert_same(answer(calculator, molecules[place]), expected[place])
            time.sleep(0)  # lets another thread go on
            assert calculator.atoms == molecules[place]
            assert calculator.results["energy"] == pytest.approx(expected[place][0], abs=1e-9)

    together(10, work)
    assert calculator.results == {}  # of this thread, which has asked nothing
    with pytest.raises(ValueError, match="no structure yet in this thread"):
        calculator.get_forces()


def test_many_threads_ask_for_one_thing_each(calculator, folder):
    fresh = made(folder, "MomentNet")
    molecules = [crooked(MOLECULES[i % 8], seed=i) for i in range(24)]
    expected = [answer(fresh, atoms) for atoms in molecules]

    def work(number: int) -> None:
        atoms, (energy, forces, hessian) = molecules[number], expected[number]
        if number % 3 == 0:
            assert calculator.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-9)
        elif number % 3 == 1:
            assert_allclose(calculator.get_forces(atoms), forces, rtol=0, atol=1e-9)
        else:
            assert_allclose(calculator.get_hessian(atoms), hessian, rtol=0, atol=1e-7)

    together(24, work)


def test_optimisations_in_threads_end_where_they_end_alone(calculator, folder):
    def relaxed(calculator: HormCalculator, formula: str) -> Atoms:
        atoms = crooked(formula)
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=1e-6, steps=5)
        return atoms

    fresh = made(folder, "MomentNet")
    expected = [relaxed(fresh, formula).positions for formula in MOLECULES]

    def work(number: int) -> None:
        found = relaxed(calculator, MOLECULES[number]).positions
        assert_allclose(found, expected[number], rtol=0, atol=1e-7)

    together(len(MOLECULES), work)


def test_a_refusal_in_one_thread_is_no_other_threads(calculator):
    good, energies = crooked("H2O"), []

    def work(number: int) -> None:
        if number % 2:
            with pytest.raises(UnsupportedInput, match="not Si"):
                calculator.get_potential_energy(molecule("SiH4"))
            assert calculator.results == {}
        else:
            energies.append(calculator.get_potential_energy(good))

    together(8, work)
    assert len(set(energies)) == 1


def test_concerns_in_threads_are_of_their_own_molecule(calculator):
    close = Atoms("H2", [[0, 0, 0], [0, 0, 0.4]])

    def work(number: int) -> None:
        for _ in range(50):
            found = calculator.concerns(close if number % 2 else molecule("H2O"))
            assert len(found) == number % 2

    together(8, work)


def test_precision_of_products_is_nobodys_to_take_away():
    """Set while any thread computes, and what it was when the last one has ended."""
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"

    def work(number: int) -> None:
        for _ in range(20):
            with exact_products(), exact_products():
                time.sleep(1e-4)
                assert matmul.fp32_precision == "ieee"

    try:
        together(6, work)
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before
