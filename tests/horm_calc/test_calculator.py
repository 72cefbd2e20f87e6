"""The calculator: ASE's conventions, its options, and the programs that use it.

With small networks of all kinds. Their surfaces are those of no molecule, but AlphaNet's
has a minimum of HCN, and LEFTNet's is smooth enough to walk on.
"""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.vibrations import Vibrations
from numpy.testing import assert_allclose, assert_array_equal

import horm_calc
from horm_calc import HormCalculator
from horm_calc.checkpoints.catalogue import CheckpointNotFound
from horm_calc.checkpoints.files import CheckpointError, save
from horm_calc.derivatives import hessian as hessian_module
from horm_calc.graphs import Molecules
from horm_calc.input_checks import OutsideTrainingDomain, UnsupportedInput
from horm_calc.models.leftnet.network import LEFTNetDirect
from horm_calc.potential import Potential, in_batches
from horm_calc.references import ATOMIC_ENERGIES, reference_energy
from tests.horm_calc.models.published import NAMES, fill_by_rule
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import small, write
from tests.places import REPOSITORY
from workflows.methods import pysis, with_geometric, with_sella
from workflows.settings import EndpointSettings, SaddleSettings
from workflows.surface import Evaluations, Surface

DTYPES = ("float32", "float64")

all_networks = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: write(folder, name) for name in NAMES}


@pytest.fixture
def make(files):
    """A calculator of the network of that name, on the CPU and in float64 if not said."""

    def made(name: str, **options) -> HormCalculator:
        return HormCalculator(files[name], **{"device": "cpu", "dtype": "float64", **options})

    return made


@pytest.fixture
def leftnet(make) -> HormCalculator:
    return make("LEFTNet")


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, int]]:
    """What was asked of networks, and of how many molecules at once."""
    made: list[tuple[str, int]] = []
    for method in ("energies_and_forces", "hessians"):
        original = getattr(Potential, method)

        def noted(self, molecules, method=method, original=original):
            made.append((method, len(molecules)))
            return original(self, molecules)

        monkeypatch.setattr(Potential, method, noted)
    return made


def raw(name: str, atoms: Atoms, dtype: torch.dtype = torch.float64):
    """Energy, forces and Hessian of the network itself."""
    network, batch = small(name, dtype), Molecules.from_atoms([atoms], dtype)
    energies, forces = hessian_module.energies_and_forces(network, batch)
    [matrix] = hessian_module.hessians(network, batch)
    return energies.item(), forces.numpy(), matrix.numpy()


# --- results and units ---


@all_networks
def test_results_are_those_of_the_network(name, make):
    atoms, calculator = crooked("CH3OH"), make(name)
    energy, forces, matrix = raw(name, atoms)
    atoms.calc = calculator
    references = ATOMIC_ENERGIES[6] + ATOMIC_ENERGIES[8] + 4 * ATOMIC_ENERGIES[1]
    assert atoms.get_potential_energy() == pytest.approx(energy + references, abs=1e-9)
    assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-10)
    symmetric = 0.5 * (matrix + matrix.T)
    limit = 1e-9 * np.abs(matrix).max()
    assert_allclose(calculator.get_hessian(atoms), symmetric, rtol=0, atol=limit)
    assert calculator.get_property("free_energy", atoms) == atoms.get_potential_energy()


def test_properties(leftnet):
    assert leftnet.implemented_properties == ["energy", "free_energy", "forces"]
    atoms = crooked("H2O")
    atoms.calc = leftnet
    atoms.get_potential_energy()
    assert leftnet.results.keys() == {"energy", "free_energy", "forces"}
    assert leftnet.get_hessian(atoms).shape == (9, 9)
    assert leftnet.results.keys() == set(leftnet.implemented_properties)
    assert isinstance(leftnet.results["energy"], float)
    assert leftnet.results["forces"].shape == (3, 3)
    assert {value.dtype for value in leftnet.results.values() if hasattr(value, "dtype")} == {
        np.dtype("float64")
    }


def test_properties_that_do_not_exist(leftnet):
    from ase.calculators.calculator import PropertyNotImplementedError

    with pytest.raises(PropertyNotImplementedError):
        leftnet.get_property("stress", crooked("H2O"))
    with pytest.raises(ValueError, match="no such property: dipole, stress"):
        leftnet.evaluate([crooked("H2O")], ["energy", "stress", "dipole"])


def test_the_package_offers_it():
    assert horm_calc.HormCalculator is HormCalculator
    assert horm_calc.list_checkpoints()["eqv2"].network == "EquiformerV2"
    with pytest.raises(AttributeError, match="no attribute 'Calculator'"):
        _ = horm_calc.Calculator


@all_networks
def test_the_hessian_is_the_derivative_of_the_forces(name, make):
    """In ASE's units, through ASE. By 1e-6 Å: 1e-8 eV/Å² of rounding, and seldom a kink."""
    options = {"hessian_kind": "exact"} if name == "EquiformerV2" else {}
    atoms, step = crooked("H2O"), 1e-6
    calculator = make(name, symmetrize=False, **options)
    matrix = calculator.get_hessian(atoms)
    atoms.calc = calculator
    for column in (0, 4, 8):
        forces = []
        for sign in (1, -1):
            atoms.positions.flat[column] += sign * step
            forces.append(atoms.get_forces().ravel())
            atoms.positions.flat[column] -= sign * step
        slope = (forces[1] - forces[0]) / (2 * step)
        assert_allclose(slope, matrix[:, column], rtol=0, atol=1e-6)


# --- caching ---


def test_the_same_atoms_are_evaluated_once(leftnet, calls):
    atoms = crooked("H2O")
    atoms.calc = leftnet
    atoms.get_potential_energy()
    atoms.get_forces()
    atoms.copy().calc = leftnet
    leftnet.get_potential_energy(atoms.copy())
    assert calls == [("energies_and_forces", 1)]
    leftnet.get_hessian(atoms)
    leftnet.get_hessian(atoms)
    atoms.get_potential_energy()
    assert calls == [("energies_and_forces", 1), ("hessians", 1)]


def test_moved_atoms_are_evaluated_anew(leftnet, calls):
    atoms = crooked("H2O")
    atoms.calc = leftnet
    before = atoms.get_forces(), leftnet.get_hessian(atoms)
    atoms.positions[0, 0] += 1e-3
    after = atoms.get_forces(), leftnet.get_hessian(atoms)
    assert len(calls) == 4
    for a, b in zip(before, after, strict=True):
        assert np.abs(a - b).max() > 1e-6


def test_other_elements_are_evaluated_anew(leftnet, calls):
    atoms = crooked("H2O")
    atoms.calc = leftnet
    atoms.get_potential_energy()
    atoms.numbers[0] = 6
    atoms.get_potential_energy()
    assert len(calls) == 2


def test_results_belong_to_the_caller(leftnet):
    atoms = crooked("H2O")
    atoms.calc = leftnet
    leftnet.get_hessian(atoms)[:] = 0
    atoms.get_forces()[:] = 0
    assert leftnet.get_hessian(atoms).any()
    assert atoms.get_forces().any()


def test_calculate_leaves_no_result_of_other_atoms(leftnet):
    """Called directly, as some programs do, with no word of what has changed."""
    leftnet.get_hessian(crooked("H2O"))
    other = crooked("H2O", seed=6)
    leftnet.calculate(other, ["energy"])
    assert_allclose(leftnet.get_hessian(other), raw("LEFTNet", other)[2], rtol=0, atol=1e-9)


# --- options ---


def test_atomic_references(make):
    with_them, without = make("AlphaNet"), make("AlphaNet", atomic_references=False)
    atoms = crooked("CH3OH")
    energies = [calculator.get_potential_energy(atoms) for calculator in (with_them, without)]
    assert energies[0] - energies[1] == pytest.approx(
        reference_energy(atoms.numbers, ATOMIC_ENERGIES)
    )
    assert abs(energies[1]) < 10
    assert_array_equal(with_them.get_forces(atoms), without.get_forces(atoms))


@pytest.mark.parametrize("name", ["LEFTNet-df", "EquiformerV2"])
def test_symmetrize(name, make):
    atoms = crooked("CH3OH")
    symmetric, plain = (make(name, symmetrize=on).get_hessian(atoms) for on in (True, False))
    assert_array_equal(symmetric, symmetric.T)
    assert np.abs(plain - plain.T).max() > 1e-3 * np.abs(plain).max()
    assert_allclose(symmetric, 0.5 * (plain + plain.T), rtol=0, atol=1e-12)


def test_kinds_of_hessians(make):
    atoms = crooked("CH3OH")
    fixed, exact = make("EquiformerV2"), make("EquiformerV2", hessian_kind="exact")
    assert fixed.potential.hessian_kind == "frame-fixed"
    assert exact.potential.hessian_kind == "exact"
    explicit = make("EquiformerV2", hessian_kind="frame-fixed").get_hessian(atoms)
    assert_array_equal(fixed.get_hessian(atoms), explicit)
    matrix = exact.get_hessian(atoms)
    assert np.abs(matrix - explicit).max() > 0.01 * np.abs(matrix).max()
    assert_array_equal(fixed.get_forces(atoms), exact.get_forces(atoms))


@pytest.mark.parametrize("name", ["LEFTNet", "LEFTNet-df", "AlphaNet"])
def test_networks_with_one_kind(name, make):
    assert make(name).potential.hessian_kind == "exact"
    assert make(name, hessian_kind="exact").potential.hessian_kind == "exact"
    with pytest.raises(ValueError, match=f"{name} has no edge frames to hold fixed"):
        make(name, hessian_kind="frame-fixed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hessian_kind": "fixed"}, "hessian_kind is 'frame-fixed' or 'exact', not 'fixed'"),
        ({"dtype": "float16"}, "dtype is one of float32, float64, not 'float16'"),
        ({"hessian_dtype": "double"}, "dtype is one of float32, float64, not 'double'"),
        ({"device": "gpu"}, "no device 'gpu' here"),
        ({"device": "cuda:77"}, "no device 'cuda:77' here"),
    ],
)
def test_options_that_do_not_exist(options, message, make):
    with pytest.raises(ValueError, match=message):
        make("EquiformerV2", **options)


def test_precision(files):
    """Single by default; results are arrays of float64 all the same."""
    atoms = crooked("CH3OH")
    single, double = (HormCalculator(files["AlphaNet"], device="cpu", dtype=d) for d in DTYPES)
    default = HormCalculator(files["AlphaNet"], device="cpu")
    assert next(default.potential.network.parameters()).dtype == torch.float32
    assert next(double.potential.network.parameters()).dtype == torch.float64
    assert default.get_potential_energy(atoms) == single.get_potential_energy(atoms)
    for method in ("get_forces", "get_hessian"):
        rough, exact = (getattr(calculator, method)(atoms) for calculator in (single, double))
        error = np.abs(rough - exact).max() / np.abs(exact).max()
        assert 0 < error < 1e-4  # 1e-6 to 1e-5 found
        assert rough.dtype == np.float64


@all_networks
def test_energies_are_precise_far_from_the_origin(name, make):
    """Positions are centred before they are rounded to float32."""
    atoms, calculator = crooked("CH3OH"), make(name, dtype="float32")
    near = calculator.get_potential_energy(atoms)
    atoms.translate([1000.0, -2000.0, 3000.0])
    assert calculator.get_potential_energy(atoms) == pytest.approx(near, abs=2e-5)


def test_another_precision_for_the_hessian(make):
    atoms = crooked("CH3OH")
    mixed = make("AlphaNet", dtype="float32", hessian_dtype="float64")
    double, single = make("AlphaNet"), make("AlphaNet", dtype="float32")
    assert_array_equal(mixed.get_hessian(atoms), double.get_hessian(atoms))
    assert mixed.get_potential_energy(atoms) == single.get_potential_energy(atoms)
    assert mixed.potential.network is not mixed.potential.hessian_network
    assert double.potential.network is double.potential.hessian_network


def test_it_says_what_it_is(files, caplog):
    with caplog.at_level(logging.INFO, logger="horm_calc"):
        calculator = HormCalculator(files["EquiformerV2"], device="cpu")
    assert calculator.level_of_theory == "ωB97X/6-31G(d)"
    assert "small-EquiformerV2: EquiformerV2, trained on ωB97X/6-31G(d), frame-fixed" in caplog.text
    assert calculator.potential.name == "EquiformerV2"
    assert len(calculator.potential.sha256) == 64


# --- checkpoints that cannot be used ---


def test_a_checkpoint_that_does_not_exist(tmp_path):
    with pytest.raises(CheckpointNotFound, match=r"no file .*missing.ckpt"):
        HormCalculator(tmp_path / "missing.ckpt")


def test_a_name_that_does_not_exist():
    with pytest.raises(CheckpointNotFound, match=r"'lefft' is neither a file nor .* mean left"):
        HormCalculator("lefft")


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "text.ckpt"
    path.write_text("weights")
    with pytest.raises(CheckpointError, match=r"text\.ckpt"):
        HormCalculator(path)


# --- many molecules ---


def mixed() -> list[Atoms]:
    formulas = ["CH3OH", "H2O", "C2H4", "CO2", "CH3OH", "HCN", "H2O"]
    return [crooked(formula, seed) for seed, formula in enumerate(formulas)]


@all_networks
def test_many_molecules_are_evaluated_as_one_by_one(name, make):
    """In single precision, where sums in another order differ by some 1e-6.

    Second derivatives lose two digits more, and how many depends on the processor: the order of
    sums follows the width of its vectors.
    """
    calculator = make(name, dtype="float32")
    of_forces, of_hessian = 1e-5, 3e-4
    for atoms, found in zip(mixed(), calculator.evaluate(mixed()), strict=True):
        assert found.keys() == {*calculator.implemented_properties, "hessian"}
        assert found["energy"] == pytest.approx(calculator.get_potential_energy(atoms), abs=1e-5)
        forces, matrix = calculator.get_forces(atoms), calculator.get_hessian(atoms)
        assert_allclose(found["forces"], forces, rtol=0, atol=of_forces)
        limit = of_hessian * np.abs(matrix).max()
        assert_allclose(found["hessian"], matrix, rtol=0, atol=limit)


@all_networks
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_answer_is_the_same_whoever_is_in_the_batch(name, make, dtype):
    """Alone, first, last, behind a lone atom, and among fifty others."""
    calculator, atoms, lone = make(name, dtype=dtype), crooked("CH3OH"), Atoms("C")
    others = [crooked(kind) for kind in ("C2H4", "NH3", "C6H6", "H2O", "HCN")] * 10
    batches = [
        [atoms, *others[:3]],
        [*others[:3], atoms],
        [lone, atoms],
        [*others[:25], atoms, *others[25:]],
    ]
    [alone] = calculator.evaluate([atoms], ["energy", "forces"])
    for batch in batches:
        found = calculator.evaluate(batch, ["energy", "forces"])[batch.index(atoms)]
        assert found["energy"] == pytest.approx(alone["energy"], abs=1e-5)
        assert_allclose(found["forces"], alone["forces"], rtol=0, atol=1e-4)


@all_networks
def test_many_molecules_in_double_precision(name, make):
    calculator = make(name)
    for atoms, found in zip(mixed(), calculator.evaluate(mixed(), ["forces"]), strict=True):
        assert found["energy"] == pytest.approx(calculator.get_potential_energy(atoms), abs=1e-9)
        assert_allclose(found["forces"], calculator.get_forces(atoms), rtol=0, atol=1e-9)


def test_only_what_was_asked_for_is_computed(leftnet, calls):
    assert leftnet.evaluate(mixed()[:2], ["hessian"])[0].keys() == {"hessian"}
    assert calls == [("hessians", 2)]
    calls.clear()
    assert leftnet.evaluate(mixed()[:2], ["energy"])[0].keys() == {
        *("energy", "free_energy", "forces")
    }
    assert calls == [("energies_and_forces", 2)]
    assert leftnet.evaluate([]) == []


def test_evaluating_many_leaves_the_results_of_one(leftnet, calls):
    atoms = crooked("H2O")
    energy = leftnet.get_potential_energy(atoms)
    leftnet.evaluate(mixed(), ["energy"])
    calls.clear()
    assert leftnet.get_potential_energy(atoms) == energy
    assert calls == []


@pytest.mark.parametrize(
    ("most", "batches"), [(1024, [7]), (12, [2, 2, 3]), (8, [1, 1, 1, 1, 1, 2]), (1, [1] * 7)]
)
def test_batches_hold_at_most_so_many_atoms(leftnet, calls, most, batches):
    """Of 6, 3, 6, 3, 6, 3 and 3 atoms; of molecules that are larger, one."""
    found = leftnet.evaluate(mixed(), ["energy"], max_atoms_per_batch=most)
    assert [count for _, count in calls] == batches
    expected = [leftnet.get_potential_energy(atoms) for atoms in mixed()]
    assert_allclose([result["energy"] for result in found], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
def test_a_batch_too_large_for_memory_is_halved(leftnet, monkeypatch, error):
    expected = leftnet.evaluate(mixed())
    tried = []
    for method in ("energies_and_forces", "hessians"):
        original = getattr(Potential, method)

        def limited(self, molecules, original=original):
            tried.append(len(molecules))
            if len(molecules) > 2:
                raise error
            return original(self, molecules)

        monkeypatch.setattr(Potential, method, limited)
    found = leftnet.evaluate(mixed())
    assert tried == 2 * [7, 3, 1, 2, 4, 2, 2]
    for result, other in zip(found, expected, strict=True):
        assert result["energy"] == pytest.approx(other["energy"], abs=1e-9)
        assert_allclose(result["hessian"], other["hessian"], rtol=0, atol=1e-8)


def test_errors_that_halving_does_not_cure_are_raised():
    tried = []

    def broken(molecules):
        tried.append(len(molecules))
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(mixed(), 1024, broken)
    assert tried == [7]

    def full(molecules):
        raise torch.OutOfMemoryError("one molecule is too much")

    with pytest.raises(torch.OutOfMemoryError):
        in_batches(mixed(), 1024, full)


def test_the_place_of_a_molecule_that_is_refused_is_said(leftnet, calls):
    batch = [*mixed()[:2], Atoms("SiO"), Atoms("H")]
    with pytest.raises(UnsupportedInput, match="molecule 2: the network knows H, C, N and O"):
        leftnet.evaluate(batch)
    assert calls == []  # before anything is computed


# --- input ---


def refused() -> dict[str, tuple[Atoms, str]]:
    charged, radical = molecule("H2O"), molecule("H2O")
    charged.set_initial_charges([1, 0, 0])
    radical.set_initial_magnetic_moments([2, 0, 0])
    periodic = Atoms(molecule("H2O"), cell=[10, 10, 10], pbc=True)
    broken = molecule("H2O")
    broken.positions[1, 2] = np.nan
    on_top = molecule("CH3OH")
    on_top.positions[4] = on_top.positions[2]
    return {
        "element": (molecule("SiH4"), "not Si"),
        "charge": (charged, "charged"),
        "open shell": (radical, "unpaired"),
        "periodic": (periodic, "periodic"),
        "empty": (Atoms(), "no atoms"),
        "not finite": (broken, "not a finite number"),
        "same place": (on_top, "H2 and H4 are in the same place"),
    }


@pytest.mark.parametrize("case", refused())
@pytest.mark.parametrize("method", ["get_potential_energy", "get_hessian", "lowest_mode"])
def test_structures_that_are_refused(case, method, leftnet, calls):
    atoms, message = refused()[case]
    with pytest.raises(UnsupportedInput, match=message):
        getattr(leftnet, method)(atoms)
    with pytest.raises(UnsupportedInput, match=message):
        leftnet.evaluate([atoms])
    assert calls == []


def test_a_refused_structure_leaves_no_results(leftnet):
    leftnet.get_potential_energy(molecule("H2O"))
    with pytest.raises(UnsupportedInput):
        leftnet.get_potential_energy(molecule("SiH4"))
    assert leftnet.results == {}


def test_structures_that_are_warned_of(leftnet):
    close = Atoms("H2", [[0, 0, 0], [0, 0, 0.4]])
    with pytest.warns(OutsideTrainingDomain, match=r"H0 and H1 are 0.40 Å apart"):
        assert np.isfinite(leftnet.get_potential_energy(close))
    [concern] = leftnet.concerns(close)
    assert "H0 and H1 are 0.40 Å apart" in concern
    assert leftnet.concerns(molecule("H2O")) == []
    apart = molecule("H2O") + Atoms("CO", [[0, 0, 15], [0, 0, 16.1]])
    with pytest.warns(OutsideTrainingDomain, match=r"further apart than .* cut-off \(10.0 Å\)"):
        assert np.isfinite(leftnet.get_potential_energy(apart))


def test_a_single_atom(make):
    for name in NAMES:
        calculator = make(name)
        [found] = calculator.evaluate([Atoms("O")])
        assert np.isfinite(found["energy"])
        assert not found["forces"].any()
        assert_array_equal(found["hessian"], np.zeros((3, 3)))


# --- the lowest mode ---


@all_networks
def test_lowest_mode(name, make):
    atoms, calculator = crooked("CH3OH"), make(name)
    expected, vectors = np.linalg.eigh(calculator.get_hessian(atoms))
    values, modes = calculator.lowest_mode(atoms, k=2)
    scale = np.abs(expected).max()
    assert_allclose(values, expected[:2], rtol=0, atol=1e-7 * scale)
    assert modes.shape == (2, len(atoms), 3)
    if expected[1] - expected[0] > 1e-3 * scale:
        assert abs(modes[0].ravel() @ vectors[:, 0]) == pytest.approx(1, abs=1e-6)


def test_rows_and_products(leftnet):
    atoms, vectors = crooked("H2O"), np.random.default_rng(0).standard_normal((2, 3, 3))
    matrix = leftnet.get_hessian(atoms)
    rows = leftnet.potential.hessian_rows(atoms, [7, 2])
    assert_allclose(rows, matrix[[7, 2]], rtol=0, atol=1e-9)
    products = leftnet.potential.hessian_products(atoms, vectors)
    assert_allclose(products.reshape(2, 9), vectors.reshape(2, 9) @ matrix, rtol=0, atol=1e-9)


# --- other processes ---


def test_it_travels_without_its_weights(leftnet):
    atoms = crooked("CH3OH")
    expected = leftnet.get_potential_energy(atoms)
    data = pickle.dumps(leftnet)
    assert len(data) < 4_000
    arrived = pickle.loads(data)
    assert arrived.get_potential_energy(atoms) == expected
    assert_array_equal(arrived.get_hessian(atoms), leftnet.get_hessian(atoms))


def test_options_travel(make):
    sent = make("EquiformerV2", hessian_kind="exact", symmetrize=False, atomic_references=False)
    arrived = pickle.loads(pickle.dumps(sent))
    atoms = crooked("H2O")
    assert_array_equal(arrived.get_hessian(atoms), sent.get_hessian(atoms))
    assert arrived.get_potential_energy(atoms) == sent.get_potential_energy(atoms)
    assert arrived.potential.hessian_kind == "exact"


def test_it_can_be_copied_in_another_folder(files, monkeypatch, tmp_path):
    """Though it was made with a relative path."""
    monkeypatch.chdir(files["LEFTNet"].parent)
    calculator = HormCalculator(files["LEFTNet"].name, device="cpu")
    monkeypatch.chdir(tmp_path)
    atoms = crooked("H2O")
    other = copy.deepcopy(calculator)
    assert other.get_potential_energy(atoms) == calculator.get_potential_energy(atoms)


def test_it_works_in_a_worker_process(leftnet):
    atoms = crooked("H2O")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(leftnet.get_potential_energy, atoms).result(timeout=120)
    assert found == pytest.approx(leftnet.get_potential_energy(atoms), abs=1e-9)


# --- ASE's tools ---


@pytest.fixture(scope="module")
def minimum(files) -> Atoms:
    """HCN at a minimum of the small AlphaNet."""
    atoms = molecule("HCN")
    atoms.rattle(0.05, seed=1)
    atoms.calc = HormCalculator(files["AlphaNet"], device="cpu", dtype="float64")
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    return atoms


def test_bfgs_finds_a_minimum(minimum):
    assert np.abs(minimum.get_forces()).max() < 1e-3
    start = molecule("HCN")
    start.rattle(0.05, seed=1)
    assert minimum.calc.get_potential_energy(start) > minimum.get_potential_energy() + 1e-3
    eigenvalues = np.linalg.eigvalsh(minimum.calc.get_hessian(minimum))
    assert eigenvalues[0] > -1e-4  # eV/Å²; the network does not turn with the molecule
    assert eigenvalues[-1] > 0.01


def test_vibrations_agree_with_the_hessian(minimum, tmp_path):
    """By central differences over 2e-4 Å."""
    vibrations = Vibrations(minimum, name=str(tmp_path / "vibrations"), delta=1e-4)
    vibrations.run()
    expected = minimum.calc.get_hessian(minimum)
    found = vibrations.get_vibrations().get_hessian_2d()
    assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_band_of_images_shares_one_calculator(leftnet):
    first, last = crooked("HCN", seed=1), crooked("HCN", seed=2)
    images = [first, *(first.copy() for _ in range(3)), last]
    for image in images:
        image.calc = leftnet
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate()
    forces = band.get_forces()
    FIRE(band, logfile=None).run(fmax=1e-6, steps=5)
    assert np.abs(band.get_forces()).max() < np.abs(forces).max()
    energies = [found["energy"] for found in leftnet.evaluate(images, ["energy"])]
    assert_allclose(band.energies[1:-1], energies[1:-1], rtol=0, atol=1e-9)
    assert len(set(np.round(energies, 6))) == 5


def test_sella_uses_the_hessian(make, calls):
    from sella import Sella

    calculator, atoms = make("AlphaNet"), molecule("HCN")
    atoms.rattle(0.05, seed=1)
    atoms.calc = calculator
    before = np.abs(atoms.get_forces()).max()
    optimizer = Sella(
        atoms, internal=False, order=0, logfile=None,
        hessian_function=calculator.get_hessian, diag_every_n=1,
    )  # fmt: skip
    optimizer.run(fmax=1e-3, steps=20)
    assert ("hessians", 1) in calls
    assert np.abs(atoms.get_forces()).max() < min(1e-2, before)


# --- this package's own searches ---


def test_a_surface_uses_its_hessian(leftnet, calls):
    surface, atoms = Surface(leftnet), crooked("H2O")
    found = surface.get_hessian(atoms)
    assert calls == [("hessians", 1)]
    assert_allclose(found, leftnet.get_hessian(atoms), rtol=0, atol=1e-12)
    assert surface.evaluations == Evaluations(gradients=0, hessians=1)
    energy, forces = surface.at(atoms)
    assert energy == leftnet.get_potential_energy(atoms)
    assert_array_equal(forces, leftnet.get_forces(atoms))


@pytest.mark.parametrize("program", [pysis, with_geometric, with_sella])
def test_programs_find_the_minimum(program, make):
    """LEFTNet's, which does not depend on how a program turns the molecule."""
    surface, start = Surface(make("LEFTNet")), molecule("HCN")
    start.rattle(0.05, seed=1)
    energy, forces = surface.at(start)
    assert np.abs(forces).max() > 0.03
    relaxed, _ = program.minimise(start, surface, EndpointSettings(max_force=5e-3, max_steps=60))
    assert surface.at(relaxed)[0] < energy - 0.04
    assert np.abs(surface.at(relaxed)[1]).max() <= 5e-3


@pytest.mark.parametrize(
    ("program", "method"),
    [(pysis, "rsirfo"), (pysis, "rsprfo"), (with_geometric, "geometric"), (with_sella, "sella")],
)
def test_programs_step_towards_a_saddle_from_the_hessian(program, method, make, calls):
    """A few steps: whether this surface has a saddle there is not known."""
    surface, start = Surface(make("LEFTNet")), crooked("HCN")
    settings = SaddleSettings(method=method, max_steps=3)
    refined, _ = program.refine_saddle(start, surface, settings)
    # pysisyphus goes twice, in internal and in Cartesian coordinates.
    assert 1 <= surface.evaluations.hessians <= (8 if program is pysis else 5)
    assert calls.count(("hessians", 1)) == surface.evaluations.hessians
    assert np.isfinite(refined.positions).all()
    distances = refined.get_all_distances() - start.get_all_distances()
    assert 1e-3 < np.abs(distances).max() < 1.0


def test_a_calculator_warns_of_nothing_ordinary(leftnet):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leftnet.evaluate(mixed())


# --- calls that are nearly right ---


def test_misuse_says_what_to_do(leftnet):
    water = molecule("H2O")
    with pytest.raises(ValueError, match="no structure yet"):
        leftnet.get_hessian()
    with pytest.raises(TypeError, match=r"evaluate\(\[atoms\]\)"):
        leftnet.evaluate(water)
    with pytest.raises(ValueError, match="choose between 1 and 9"):
        leftnet.lowest_mode(water, k=10)


def test_one_property_and_any_iterable_are_understood(leftnet):
    [result] = leftnet.evaluate((atoms for atoms in [crooked("H2O")]), "energy")
    assert "energy" in result


def test_all_modes_of_a_small_molecule(leftnet):
    atoms = crooked("H2O")
    values, vectors = leftnet.lowest_mode(atoms, k=9)
    matrix = leftnet.get_hessian(atoms)
    assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=0, atol=1e-9)
    assert vectors.shape == (9, 3, 3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with g++")
def test_compiled_it_gives_the_same(tmp_path):
    path = tmp_path / "tiny.safetensors"
    network = fill_by_rule(LEFTNetDirect(layers=1, channels=4, radial=4))
    save(path, network.state_dict(), {"name": "LEFTNet-df"}, {})
    molecules = [crooked("H2O"), crooked("C2H6")]
    plain, compiled = (
        HormCalculator(path, "cpu", compile=compile).evaluate(molecules, ("energy", "forces"))
        for compile in (False, True)
    )
    for one, other in zip(plain, compiled, strict=True):
        assert_allclose(one["energy"], other["energy"], rtol=1e-6)  # float32
        assert_allclose(one["forces"], other["forces"], atol=1e-6)


def test_where_nothing_can_be_compiled_it_says_so(files):
    program = (
        "import sys; from horm_calc import HormCalculator; "
        "HormCalculator(sys.argv[1], 'cpu', compile=True)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, files["LEFTNet"]],
        env={**os.environ, "CXX": "/no/such/compiler"},
        capture_output=True,
        text=True,
    )
    said = run.stderr.splitlines()[-1]
    assert said.startswith("ValueError: compile=True: PyTorch")
    assert "No working C++ compiler found" in said
    assert said.endswith("leave it out")


def test_other_weights_at_the_same_path_are_noticed(tmp_path):
    path = write(tmp_path, "LEFTNet")
    pickled = pickle.dumps(HormCalculator(path))
    write(tmp_path, "AlphaNet").replace(path)
    with pytest.raises(CheckpointError, match="not the file"):
        pickle.loads(pickled)


@pytest.mark.slow
def test_what_is_slow_to_import_is_not_imported() -> None:
    """PyTorch's compiler and sympy take more than a second, and no evaluation needs them."""
    program = (
        "import sys; from ase.build import molecule; from horm_calc import HormCalculator\n"
        "atoms = molecule('H2O'); atoms.calc = HormCalculator('horm-mini'); atoms.get_forces()\n"
        "print({'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
