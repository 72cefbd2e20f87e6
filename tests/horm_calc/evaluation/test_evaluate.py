"""Evaluations of tiny networks on labels of which it is known how wrong they are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from horm_calc import HormCalculator
from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.data.files import open_frames
from horm_calc.data.formats.ase_files import Listed
from horm_calc.data.frames import DataError, Frame, chosen
from horm_calc.evaluation import evaluate as evaluate_module
from horm_calc.evaluation.evaluate import drawn, evaluate
from horm_calc.evaluation.table import BINS, ERRORS, OVERLAP
from horm_calc.input_checks import OutsideTrainingDomain
from horm_calc.potential import Potential, load_potential
from horm_calc.references import ATOMIC_ENERGIES, reference_energy
from tests.horm_calc.data.labelled import frames
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import write
from tests.places import SHARED

XTB = SHARED / "data" / "xtb_dev.h5"
MOLECULES = [crooked(name, seed) for name in ("H2O", "CH3OH", "HCN") for seed in (0, 1, 2)]
KCAL_PER_MOL_IN_EV = 23.0605  # how many kcal/mol an eV is


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("network"), "MomentNet")


@pytest.fixture(scope="module")
def potential(checkpoint: Path) -> Potential:
    return load_potential(checkpoint, "cpu", "float64")


def labelled_by(potential: Potential, molecules: Sequence[Atoms]) -> list[Frame]:
    """Frames that the network predicts exactly."""
    energies = potential.energies_and_forces(molecules)
    return [
        Frame(
            atoms.numbers,
            atoms.positions,
            energy + reference_energy(atoms.numbers, ATOMIC_ENERGIES),
            forces,
            0.5 * (hessian + hessian.T),
            reaction=atoms.get_chemical_formula(),
        )
        for atoms, (energy, forces), hessian in zip(
            molecules, energies, potential.hessians(molecules), strict=True
        )
    ]


def test_its_own_labels_have_no_error(potential: Potential) -> None:
    found = evaluate(potential, Listed(labelled_by(potential, MOLECULES)), stationary=np.inf)
    for quantity in ERRORS:
        frames, mean, _ = found.summary(quantity)
        if quantity.column == "products_error_ev_per_a2":
            assert frames == 0
            continue
        # G only where there are less than two imaginary modes.
        assert frames == 9 or (frames > 0 and "kcal" in quantity.column)
        # Batches are put together otherwise, so sums are rounded otherwise; 1e-6 cm⁻¹ is what
        # 1e-13 of a Hessian's element make of the softest frequency, 1e-9 eV of 7e4 eV rounding.
        assert mean < 1e-6, quantity
    assert found.summary(OVERLAP).mean == pytest.approx(1, abs=1e-9)
    confusion = found.confusion()
    assert confusion.sum() == np.trace(confusion) == 9
    assert found.not_finite == []
    assert found.pairs["forces"].shape == (3 * 3 * (3 + 6 + 3), 2)
    assert found.pairs["eigenvalues"].shape == (3 * 3 * (3 + 6 + 3), 2)
    vibrations = 3 * (3 + 12) + sum(3 * len(a) - 6 for a in MOLECULES[6:])
    assert found.pairs["frequencies"].shape == (vibrations, 2)


def test_known_errors_appear(potential: Potential) -> None:
    labels = labelled_by(potential, MOLECULES)
    wrong = []
    for place, frame in enumerate(labels):
        size = 3 * len(frame.numbers)
        wrong.append(
            replace(
                frame,
                energy=frame.energy - 100 - (0.3 if place % 3 == 0 else 0),
                forces=frame.forces + 0.02,
                hessian=frame.hessian + 0.5 * np.eye(size),
            )
        )
    found = evaluate(potential, Listed(wrong))
    columns = found.columns
    assert columns["energy_error_ev"] == pytest.approx([100.3, 100, 100] * 3, abs=1e-9)
    assert columns["relative_energy_error_ev"] == pytest.approx([0.2, -0.1, -0.1] * 3, abs=1e-9)
    assert columns["forces_error_ev_per_a"] == pytest.approx(0.02, abs=1e-9)
    # One element of each row of the matrix is wrong, and every eigenvalue by as much.
    expected = [0.5 / (3 * len(frame.numbers)) for frame in labels]
    assert columns["hessian_error_ev_per_a2"] == pytest.approx(expected, abs=1e-9)
    assert columns["eigenvalues_error_ev_per_a2"] == pytest.approx(0.5, abs=1e-9)
    column = columns["eigenvalues_error_hartree_per_bohr2"]
    assert column == pytest.approx(0.5 / 97.17, rel=1e-4)
    by_reaction = found.summary(ERRORS[1])
    assert by_reaction == pytest.approx((9, 0.4 / 3, 0.1), abs=1e-9)


def test_direct_forces_have_an_asymmetric_hessian(tmp_path: Path) -> None:
    direct = load_potential(write(tmp_path, "LEFTNet-df"), "cpu", "float64")
    found = evaluate(direct, Listed(labelled_by(direct, MOLECULES))).columns
    # The labels are its symmetric part, from which the elements differ by half the asymmetry.
    assert found["asymmetry_ev_per_a2"].min() > 1e-3
    half = found["asymmetry_ev_per_a2"] / 2
    assert found["hessian_error_ev_per_a2"] == pytest.approx(half, abs=1e-9)
    assert found["eigenvalues_error_ev_per_a2"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("turning", [False, True])
def test_other_axes_and_orders_of_atoms_and_frames_make_no_difference(
    potential: Potential, turning: bool
) -> None:
    labels = frames()
    moved = [_moved(frame, seed, turning) for seed, frame in enumerate(labels)]
    first = evaluate(potential, Listed(labels), stationary=1.0)
    second = evaluate(potential, Listed(moved[::-1]), stationary=1.0)
    np.testing.assert_array_equal(second.confusion(), first.confusion())
    for name, values in first.columns.items():
        # |x| + |y| + |z| of a vector changes with the axes, unlike its length.
        by_axes = ("forces_error_ev_per_a", "hessian_error_ev_per_a2", "asymmetry_ev_per_a2")
        if not (turning and name in by_axes):
            # Rounding makes 1e-5 cm⁻¹ of soft frequencies, and less of everything else.
            np.testing.assert_allclose(second.columns[name][::-1], values, rtol=1e-6, atol=1e-5)


def _moved(frame: Frame, seed: int, turning: bool) -> Frame:
    """The frame elsewhere, its atoms in another order, and turned if asked for."""
    order = np.random.default_rng(seed).permutation(len(frame.numbers))
    turn = Rotation.random(random_state=seed).as_matrix() if turning else np.eye(3)
    hessian = frame.hessian
    if hessian is not None:
        blocks = hessian.reshape(len(order), 3, len(order), 3)
        blocks = np.einsum("ij,ajbk,lk->aibl", turn, blocks, turn)
        hessian = blocks[order][:, :, order].reshape(hessian.shape)
    return replace(
        frame,
        numbers=frame.numbers[order],
        positions=(frame.positions @ turn.T + [1.0, -2.0, 3.0])[order],
        forces=(frame.forces @ turn.T)[order],
        hessian=hessian,
    )


def test_frames_with_products_only(potential: Potential) -> None:
    rng = np.random.default_rng(0)
    whole = labelled_by(potential, MOLECULES)
    partly, expected = [], []
    for frame in whole:
        wrong = rng.normal(size=(3 * len(frame.numbers),) * 2)
        vectors = np.eye(len(wrong)).reshape(-1, *frame.positions.shape)
        products = (np.asarray(frame.hessian) + wrong).T.reshape(vectors.shape)
        partly.append(replace(frame, hessian=None, vectors=3 * vectors, products=3 * products))
        expected.append(np.abs(wrong).mean())
    found = evaluate(potential, Listed([*partly, *whole]))
    errors = found.columns["products_error_ev_per_a2"]
    assert errors[:9] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(errors[9:]).all()
    assert np.isnan(found.columns["hessian_error_ev_per_a2"][:9]).all()
    assert found.with_second_derivatives == 18
    assert found.confusion().sum() == 9


@pytest.fixture(scope="module")
def minimum(checkpoint: Path, potential: Potential) -> Frame:
    atoms = crooked("CH3OH")
    atoms.calc = HormCalculator(checkpoint, "cpu", "float64")
    with warnings.catch_warnings():  # the surface is that of no real molecule
        warnings.simplefilter("ignore", OutsideTrainingDomain)
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    return labelled_by(potential, [atoms])[0]


def test_gibbs_energies_near_stationary_points(potential: Potential, minimum: Frame) -> None:
    hessian = np.asarray(minimum.hessian)
    atoms = Atoms(minimum.numbers, minimum.positions)
    masses = np.repeat(atoms.get_masses(), 3)
    [softest, *_] = normal_modes(atoms, hessian).displacements.reshape(-1, len(masses)) * masses
    uphill = np.outer(softest, softest) / (softest @ (softest / masses))  # 1 eV/Å²/u of this mode
    labels = [
        replace(minimum, energy=minimum.energy + 0.1),  # 0: the network is 0.1 eV too low
        replace(minimum, hessian=hessian + 50 * np.diag(masses)),  # 1: too soft
        replace(minimum, hessian=hessian - uphill),  # 2: a saddle by the label
        replace(minimum, forces=minimum.forces + 1.0),  # 3: not stationary
    ]
    found = evaluate(potential, Listed(labels))
    gibbs = found.columns["gibbs_error_kcal_per_mol"]
    thermal = found.columns["thermal_error_kcal_per_mol"]
    assert gibbs[0] == pytest.approx(-0.1 * KCAL_PER_MOL_IN_EV, rel=1e-5)
    assert thermal[0] == pytest.approx(0, abs=1e-8)
    # The label's twelve modes are stiffer by 50 eV/Å²/u, and have the larger zero-point energy.
    assert gibbs[1] == pytest.approx(thermal[1], abs=1e-8)
    assert thermal[1] < -10
    assert found.columns["imaginary_reference"][2] == 1
    assert found.columns["imaginary_predicted"][2] == 0
    assert np.isnan(gibbs[2:]).all()
    assert found.count("stationary") == 3
    wide = evaluate(potential, Listed(labels), stationary=10.0)
    assert wide.columns["gibbs_error_kcal_per_mol"][3] == pytest.approx(0, abs=1e-8)


def test_second_derivatives_of_some_frames(potential: Potential) -> None:
    data = Listed(frames(per_formula=4, with_second=3))
    first, again, other = (evaluate(potential, data, limit=5, seed=s) for s in (0, 0, 1))
    for name, values in first.columns.items():
        np.testing.assert_array_equal(again.columns[name], values)
    known = [np.isfinite(e.columns["hessian_error_ev_per_a2"]) for e in (first, other)]
    assert known[0].sum() == known[1].sum() == 5
    assert (known[0] != known[1]).any()
    assert not known[0][~data.has_second_derivatives].any()
    assert first.with_second_derivatives == 12
    assert first.summary(ERRORS[0]).frames == 16
    every = evaluate(potential, data, limit=100)
    assert np.isfinite(every.columns["hessian_error_ev_per_a2"]).sum() == 12
    none = evaluate(potential, data, hessians=False)
    assert none.count("hessian_error_ev_per_a2", "lowest_mode_overlap") == 0
    assert none.confusion().sum() == 0


def test_draws_are_even() -> None:
    """Each index equally often: 2000 draws of 3 of 10, so 600 each, give or take 20."""
    counts = np.zeros(10)
    for seed in range(2000):
        picked = drawn(np.arange(10), 3, seed)
        assert (np.diff(picked) > 0).all()
        counts[picked] += 1
    assert np.abs(counts - 600).max() < 100


def test_bins_part_the_frames(potential: Potential) -> None:
    found = evaluate(potential, Listed(frames()))
    for column in BINS:
        masks = list(found.bins(column).values())
        np.testing.assert_array_equal(np.sum(masks, axis=0), 1)
        assert all(mask.any() for mask in masks)
    sizes = found.bins("atoms")
    assert {name: mask.sum() for name, mask in sizes.items()} == {"1-5": 12, "6-10": 4}


def test_molecules_of_one_name_but_other_atoms_have_other_zeros(potential: Potential) -> None:
    labels = [replace(frame, reaction="all") for frame in labelled_by(potential, MOLECULES)]
    wrong = [replace(frame, energy=frame.energy + len(frame.numbers)) for frame in labels]
    found = evaluate(potential, Listed(wrong))
    assert found.columns["relative_energy_error_ev"] == pytest.approx(0, abs=1e-9)


def test_answers_that_are_no_numbers_are_told_and_harm_no_others(potential: Potential) -> None:
    labels = labelled_by(potential, MOLECULES)
    twice = labels[1].positions.copy()
    twice[1] = twice[0]
    labels[1] = replace(labels[1], positions=twice)
    found = evaluate(potential, Listed(labels))
    assert found.not_finite == [1]
    assert found.summary(ERRORS[0]).frames == found.confusion().sum() == 8
    assert max(found.summary(quantity).mean for quantity in ERRORS[:5]) < 1e-6


def test_progress_reaches_its_end(potential: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        told.setdefault(stage, []).append((done, total))

    monkeypatch.setattr(evaluate_module, "MOST_ATOMS_ON_CPU", 9)
    evaluate(potential, Listed(frames()), progress=progress)
    assert list(told) == ["energies", "Hessians"]
    for steps, total in zip(told.values(), (16, 8), strict=True):
        assert steps[0] == (0, total)
        assert steps[-1] == (total, total)
        assert len(steps) > 4
        assert steps == sorted(steps)


def test_what_cannot_be_evaluated_is_named(potential: Potential) -> None:
    with pytest.raises(DataError, match="no frames"):
        evaluate(potential, Listed([]))
    flat = Listed(frames(with_second=0))
    with pytest.raises(DataError, match="--no-hessians"):
        evaluate(potential, flat)
    atoms = molecule("SH2")
    sulphur = Frame(atoms.numbers, atoms.positions, 0.0, np.zeros((3, 3)), reaction="smelly")
    with pytest.raises(DataError, match=r"H2S of reaction 'smelly'.*has S, .* H, C, N, O"):
        evaluate(potential, Listed([sulphur, *frames()]))


@pytest.mark.skipif(not XTB.exists(), reason="needs shared/data")
def test_real_frames(potential: Potential) -> None:
    data = open_frames(XTB)
    wanted = np.flatnonzero(np.asarray(data.reactions) == data.reactions[0])
    found = evaluate(potential, chosen(data, wanted), limit=6, seed=3, stationary=0.1)
    assert found.not_finite == []
    assert found.summary(ERRORS[0]).frames == len(wanted) > 50
    assert found.confusion().sum() == 6
    # The labels' own numbers: bonds to hydrogen stretch at 2500 to 4500 cm⁻¹, wherever they are.
    highest = found.pairs["frequencies"][:, 0].max()
    assert 2500 < highest < 4500
    assert np.nanmean(found.columns["relative_energy_reference_ev"]) == pytest.approx(0, abs=1e-9)
