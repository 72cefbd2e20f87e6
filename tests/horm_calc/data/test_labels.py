"""Labels against independent derivatives and published data, and what cannot be labelled."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from numpy.testing import assert_allclose, assert_array_equal

from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import unpacked
from horm_calc.data.frames import Frame
from horm_calc.data.labelling.labels import Failure, label
from horm_calc.data.labelling.levels import LEVELS, Point
from tests.places import SHARED

# Of the differences of forces that make xTB Hessians: the anharmonicity within 0.005 Å.
DIFFERENCES = 0.02


def rattled(name: str = "CH3OH", seed: int = 1) -> Atoms:
    """A molecule with forces: nothing is decided by symmetry or by being at a minimum."""
    atoms = molecule(name)
    atoms.rattle(0.03, seed=seed)
    return atoms


def one(atoms: Atoms, level: str = "gfn2-xtb", **options: float) -> Frame:
    [frame] = label([atoms], level, **options)
    assert isinstance(frame, Frame), frame.cause
    return frame


def cause(atoms: Atoms, **options: float) -> str:
    [failure] = label([atoms], "gfn2-xtb", **options)
    assert isinstance(failure, Failure)
    return failure.cause


def energies(level: str, atoms: Atoms, step: np.ndarray, multiples: list[int]) -> np.ndarray:
    def at(multiple: int) -> Point:
        return LEVELS[level].at(atoms.numbers, atoms.positions + multiple * step)

    return np.array([at(multiple).energy for multiple in multiples])


@pytest.mark.parametrize("level", ["gfn2-xtb", "gfn1-xtb"])
def test_xtb_derivatives_are_those_of_the_energy(level: str) -> None:
    atoms, length = rattled(), 0.02
    frame = one(atoms, level, hessians=1.0)
    assert frame.hessian is not None
    assert_array_equal(frame.hessian, frame.hessian.T)
    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=atoms.positions.shape)
        direction /= np.linalg.norm(direction)
        values = energies(level, atoms, length * direction, [-2, -1, 0, 1, 2])
        slope = values @ [1, -8, 0, 8, -1] / (12 * length)
        curvature = values @ [-1, 16, -30, 16, -1] / (12 * length**2)
        assert_allclose(-np.vdot(frame.forces, direction), slope, atol=1e-3)
        flat = direction.ravel()
        assert_allclose(flat @ frame.hessian @ flat, curvature, atol=DIFFERENCES)


def test_xtb_labels_agree_with_others() -> None:
    """With frames labelled by other code, whose Hessians have the noise of a looser SCF."""
    path = SHARED / "data" / "xtb_dev.h5"
    if not path.exists():
        pytest.skip("needs the shared data")
    with h5py.File(path) as file:
        group = next(iter(file.values()))
        place = group["hessian_frame"][0]
        atoms = Atoms(group["numbers"][()], group["positions"][place].astype(float))
        frame = one(atoms, hessians=1.0)
        assert_allclose(frame.energy, group["energy"][place], atol=1e-4)
        assert_allclose(frame.forces, group["forces"][place], atol=1e-3)
        assert_allclose(frame.hessian, unpacked(group["hessian"][0]), atol=0.06)


def test_projections_are_products_of_the_hessian() -> None:
    atoms = rattled()
    hessian = one(atoms, hessians=1.0).hessian
    frame = one(atoms, hessians=1.0, projections=4)
    assert hessian is not None
    assert frame.vectors is not None
    assert frame.hessian is None
    assert_array_equal(np.abs(frame.vectors), np.ones((4, 6, 3)))
    expected = (frame.vectors.reshape(4, -1) @ hessian).reshape(4, 6, 3)
    # A vector of ±1 adds up the errors of 18 columns, at random: their root.
    assert_allclose(frame.products, expected, atol=DIFFERENCES * 18**0.5)
    assert_allclose(frame.products, expected, atol=1e-3 * np.abs(expected).max())


def test_choices_are_random_but_reproducible() -> None:
    atoms = [rattled("H2O", seed) for seed in range(10)]

    def run(seed: int) -> tuple[list[int], np.ndarray]:
        frames = list(label(atoms, "gfn2-xtb", hessians=0.3, projections=2, seed=seed))
        chosen = [i for i, frame in enumerate(frames) if frame.products is not None]
        return chosen, np.stack([frames[i].vectors for i in chosen])

    (chosen, vectors), (again, same), (others, _) = run(0), run(0), run(1)
    assert len(chosen) == len(others) == 3
    assert chosen == again
    assert_array_equal(vectors, same)
    assert chosen != others
    assert (vectors[0] != vectors[1]).any()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("OH", [[0, 0, 0], [0, 0, 1]]), "9 electrons, an odd number"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0]]), "Too close interatomic distances"),
        (Atoms("CO", [[0, 0, 0], [0, 0, 0.5]]), "more than 30"),
        (Atoms("HH", [[0, 0, 0], [0, 0, np.nan]]), "not finite"),
        (Atoms("ThO", [[0, 0, 0], [0, 0, 1.8]]), "No support for elements"),
        (Atoms("He", cell=[3, 3, 3], pbc=True), "periodic"),
        (Atoms("He", info={"charge": 2}), "charge is 2"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"spin_multiplicity": 3}), "singlet"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"spin": 3}), "unpaired"),
        (molecule("O2"), "magnetic moments"),
        (Atoms("He", charges=[2]), "initial charges add up to 2"),
        (Atoms(), "no atoms"),
    ],
)
def test_what_cannot_be_labelled(atoms: Atoms, message: str) -> None:
    assert message in cause(atoms)


def test_the_largest_force_is_the_caller_s() -> None:
    assert "more than 0.01" in cause(rattled(), max_force=0.01)


@pytest.mark.parametrize(
    ("level", "options", "message"),
    [
        ("gfn3-xtb", {}, "gfn2-xtb, gfn1-xtb, wb97x, wb97x-coarse"),
        ("gfn2-xtb", {"hessians": 2.0}, "not within 0 to 1"),
        ("gfn2-xtb", {"hessians": float("nan")}, "not within 0 to 1"),
        ("gfn2-xtb", {"projections": 2}, "fraction of Hessians is 0"),
        ("gfn2-xtb", {"hessians": 1.0, "projections": -1}, "negative"),
        ("gfn2-xtb", {"max_force": 0.0}, "positive"),
    ],
)
def test_settings_without_sense(level: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label([], level, **options)


def test_processes_give_the_same_in_the_same_order() -> None:
    """The first is much larger than the rest, so they finish in another order."""
    items = [rattled("C6H6"), Atoms("OH", [[0, 0, 0], [0, 0, 1]])]
    items += [rattled("H2O", seed) for seed in range(3)]
    here, there = (
        list(label(items, "gfn2-xtb", hessians=1.0, workers=workers)) for workers in (0, 2)
    )
    assert [type(outcome) for outcome in there] == [Frame, Failure, Frame, Frame, Frame]
    assert here[1] == there[1]
    for one_, other in zip(here, there, strict=True):
        if isinstance(one_, Frame):
            assert one_.energy == other.energy
            assert_array_equal(one_.hessian, other.hessian)


def test_a_frame_that_kills_its_process_costs_itself() -> None:
    large = Atoms("He150", 4.0 * np.indices((15, 10, 1)).reshape(3, -1).T)  # a Hessian of minutes

    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.05)
        time.sleep(3)  # until it is at work
        os.kill(children[0].pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    first, second = label([large, rattled("H2O")], "gfn2-xtb", hessians=1.0, workers=1)
    killer.join()
    assert isinstance(first, Failure)
    assert "killed" in first.cause
    assert isinstance(second, Frame)


def test_wb97x_derivatives_are_those_of_the_energy() -> None:
    pytest.importorskip("pyscf")
    atoms, length = rattled("H2O"), 0.005
    point = LEVELS["wb97x"].at(atoms.numbers, atoms.positions)
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
    direction /= np.linalg.norm(direction)
    down, up = (
        LEVELS["wb97x"].at(atoms.numbers, atoms.positions + step * direction)
        for step in (-length, length)
    )
    # The grid moves with the atoms, and PySCF's forces are without that: 4e-4 eV/Å in all
    # act on this molecule as a whole.
    slope = (up.energy - down.energy) / (2 * length)
    assert_allclose(-np.vdot(point.forces, direction), slope, atol=1e-3)
    # The same for Hessians, 0.06 eV/Å² where an atom meets the grid around itself.
    expected = (down.forces - up.forces) / (2 * length)
    [product] = point.products(direction[None])
    assert_allclose(product, expected, atol=0.1)
    assert np.abs(expected).max() > 5


def test_the_coarser_grid_keeps_energies_and_forces() -> None:
    pytest.importorskip("pyscf")
    atoms = rattled("H2O")
    fine, coarse = (
        LEVELS[name].at(atoms.numbers, atoms.positions) for name in ("wb97x", "wb97x-coarse")
    )
    assert_allclose(coarse.energy, fine.energy, atol=1e-3)
    assert np.abs(coarse.forces - fine.forces).mean() < 2e-3
    assert coarse.energy != fine.energy


def test_wb97x_labels_agree_with_horm_s() -> None:
    """Energy and forces of the smallest published frame.

    Hessians take minutes; see `levels` for how well they agree.
    """
    pytest.importorskip("pyscf")
    path = SHARED / "data" / "horm_sample_100.lmdb"
    if not path.exists():
        pytest.skip("needs the shared data")
    frame = open_frames(path)[83]
    point = LEVELS["wb97x"].at(frame.numbers, frame.positions)
    assert_allclose(point.forces, frame.forces, atol=1e-3)
    assert_allclose(point.energy, frame.energy, atol=1e-3)  # a float32: 5e-4
