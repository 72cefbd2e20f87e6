from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from tblite.ase import TBLite

from horm_calc.data.files import open_frames
from horm_calc.data.formats.ase_files import read_ase, write_xyz
from horm_calc.data.frames import DataError, Frame, iterate
from tests.horm_calc.data.frame_sets import assert_same, frame


def labelled(*, forces: Any = None, energy: float = -1.5, **info: Any) -> Atoms:
    atoms = molecule("H2O")
    forces = np.arange(9.0).reshape(3, 3) if forces is None else forces
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    atoms.info |= info
    return atoms


def rounded(one: Frame) -> Frame:
    """With eight digits behind the point, as the file has them."""
    arrays = ("positions", "forces", "hessian", "vectors", "products")
    values = {key: getattr(one, key) for key in arrays}
    return replace(one, **{k: None if v is None else v.round(8) for k, v in values.items()})


def test_all_labels_come_back(tmp_path: Path) -> None:
    frames = [
        frame(0, whole=True, reaction="C2H4/x y"),
        frame(1, (6, 1, 1), vectors=2),
        frame(2, (1,), whole=True),
        frame(3, (6, 1, 1), whole=True, vectors=1),
    ]
    path = tmp_path / "x.xyz"
    write_xyz(path, frames, "ωB97X/6-31G(d)")
    back = open_frames(path)
    assert back.level_of_theory == "ωB97X/6-31G(d)"
    assert back.has_second_derivatives.tolist() == [True] * 4
    assert back.sizes.tolist() == [3, 3, 1, 3]
    for one, other in zip(frames, iterate(back), strict=True):
        assert_same(rounded(one), other)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match="exists already"):
        write_xyz(path, frames, "")


@pytest.mark.parametrize(
    "name",
    ["007", "1e5", "T", "true", "1 2 3", 'a "b" c', "a=b", "it's", "C/C=C\\C", "Å→B", "{a}"],
)
def test_names_stay_text(tmp_path: Path, name: str) -> None:
    write_xyz(tmp_path / "x.xyz", [frame(0, reaction=name)], name)
    back = read_ase(tmp_path / "x.xyz")
    assert (back.reactions, back.level_of_theory) == ([name], name)


@pytest.mark.parametrize("between", ["\n", "\n\n \n", "\r\n"])
def test_no_frame_is_lost_behind_a_blank_line(tmp_path: Path, between: str) -> None:
    frames = [frame(number, whole=True) for number in range(3)]
    for number, one in enumerate(frames):
        write_xyz(tmp_path / f"{number}.xyz", [one], "GFN2-xTB")
    texts = [(tmp_path / f"{number}.xyz").read_text() for number in range(3)]
    (tmp_path / "all.xyz").write_text(between.join(texts))
    back = read_ase(tmp_path / "all.xyz")
    for one, other in zip(frames, iterate(back), strict=True):
        assert_same(rounded(one), other)


@pytest.mark.parametrize("ending", ["xyz", "extxyz", "traj"])
def test_files_of_ase(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"some.{ending}"
    hessian = np.eye(9) + 0.5
    images = [labelled(), labelled(reaction="r", hessian=hessian), labelled(energy=2)]
    write(path, images, format="traj" if ending == "traj" else "extxyz")
    frames = read_ase(path)
    assert frames.reactions == ["some", "r", "some"]
    assert [one.energy for one in iterate(frames)] == [-1.5, -1.5, 2.0]
    assert frames[0].forces.tolist() == np.arange(9.0).reshape(3, 3).tolist()
    assert frames[0].numbers.tolist() == [8, 1, 1]
    np.testing.assert_allclose(frames[0].positions, molecule("H2O").positions, atol=1e-8)
    np.testing.assert_array_equal(frames[1].hessian, hessian)
    assert frames.has_second_derivatives.tolist() == [False, True, False]
    assert frames.level_of_theory == ""


def test_a_database(tmp_path: Path) -> None:
    from ase.db import connect

    with connect(tmp_path / "some.db") as database:
        database.write(labelled(), reaction="r", level_of_theory="HF", data={"hessian": np.eye(9)})
        database.write(labelled(), level_of_theory="HF")
    frames = open_frames(tmp_path / "some.db")
    assert frames.reactions == ["r", "some"]
    assert frames.level_of_theory == "HF"
    np.testing.assert_array_equal(frames[0].hessian, np.eye(9))


def test_hessian_by_atoms(tmp_path: Path) -> None:
    """Extended xyz has room for it as 9n columns too: three rows of the Hessian an atom."""
    hessian = np.arange(81.0).reshape(9, 9)
    atoms = labelled()
    atoms.arrays["hessian"] = hessian.reshape(3, 27)
    write(tmp_path / "x.xyz", atoms, format="extxyz")
    np.testing.assert_array_equal(read_ase(tmp_path / "x.xyz")[0].hessian, hessian)


def test_forces_of_fixed_atoms_are_kept(tmp_path: Path) -> None:
    atoms = labelled()
    atoms.set_constraint(FixAtoms([0, 1, 2]))
    write(tmp_path / "x.traj", atoms)
    assert read_ase(tmp_path / "x.traj")[0].forces[2, 2] == 8


def test_a_calculation(tmp_path: Path) -> None:
    """What a user has: a trajectory of a calculator; forces are the negative slope of energies."""
    atoms = molecule("CH4")
    atoms.rattle(0.05, seed=1)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    step = 1e-3
    for shift in (0, step, -step):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions[1, 0] += shift
        moved.get_forces()
        write(tmp_path / "x.xyz", moved, format="extxyz", append=True)
    middle, ahead, behind = iterate(read_ase(tmp_path / "x.xyz"))
    slope = (ahead.energy - behind.energy) / (2 * step)
    assert middle.forces[1, 0] == pytest.approx(-slope, abs=1e-4)  # third derivatives x step^2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"energy": float("nan")}, "frame 1: energy holds numbers that are not finite"),
        ({"forces": np.full((3, 3), np.inf)}, "frame 1: forces holds"),
        ({"hessian": np.eye(6)}, "frame 1: hessian is not 9 × 9 numbers"),
        ({"hessian": "soft"}, "frame 1: hessian is not 9 × 9 numbers"),
        ({"vectors": np.zeros((2, 3, 3)).tolist()}, "frame 1: vectors and products do not belong"),
        (
            {
                "vectors": np.zeros((2, 3, 3)).tolist(),
                "products": np.zeros((1, 3, 3)).tolist(),
            },
            "frame 1: vectors and products do not belong",
        ),
        ({"level_of_theory": "HF"}, "labels of HF and PBE together"),
    ],
)
def test_odd_labels_are_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    images = [labelled(level_of_theory="PBE"), labelled(**{"level_of_theory": "PBE"} | change)]
    write(tmp_path / "x.xyz", images, format="extxyz")
    with pytest.raises(DataError, match=problem) as error:
        read_ase(tmp_path / "x.xyz")
    assert str(error.value).startswith(f"{tmp_path / 'x.xyz'}: ")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"charge": -1}, "frame 1: the molecule is charged"),
        ({"multiplicity": 3}, "frame 1: the molecule has unpaired electrons"),
        ({"charge": 0, "spin": 3}, r"frame 1: .*unpaired electrons \(spin=3\)"),
        ({"mult": 3}, r"frame 1: .*unpaired electrons \(mult=3\)"),
        ({"uhf": 2}, r"frame 1: .*unpaired electrons \(uhf=2\)"),
        ({"total_charge": -2}, r"frame 1: .*charged \(total_charge=-2\)"),
        ({"nelec": 8}, r"frame 1: .*may be charged, .*\(nelec=8"),
    ],
)
def test_labels_of_ions_and_radicals_are_refused(tmp_path: Path, said, problem) -> None:
    write(tmp_path / "x.xyz", [labelled(charge=0), labelled(**said)], format="extxyz")
    with pytest.raises(DataError, match=problem):
        read_ase(tmp_path / "x.xyz")


def test_one_that_does_not_say_its_level(tmp_path: Path) -> None:
    write(tmp_path / "x.xyz", [labelled(level_of_theory="PBE"), labelled()], format="extxyz")
    with pytest.raises(DataError, match="some frames are of PBE, others do not say"):
        read_ase(tmp_path / "x.xyz")
    assert read_ase(tmp_path / "x.xyz", "PBE").level_of_theory == "PBE"
    with pytest.raises(DataError, match="HF and PBE together"):
        read_ase(tmp_path / "x.xyz", "HF")


def test_missing_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.xyz"
    write(path, molecule("H2O"), format="extxyz")
    with pytest.raises(DataError, match=r"frame 0 has no energy\. Name them energy"):
        read_ase(path)
    path.write_text("1\nenergy=-1\nH 0 0 0\n")
    with pytest.raises(DataError, match="frame 0 has no forces"):
        read_ase(path)
    crystal = labelled()
    crystal.set_cell([5, 5, 5])
    crystal.pbc = True
    write(path, crystal, format="extxyz")
    with pytest.raises(DataError, match="frame 0 is periodic"):
        read_ase(path)


def test_damaged_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "x.xyz"
    write(path, [labelled(), labelled()], format="extxyz")
    whole = path.read_text()
    path.write_text(whole[:-30])
    with pytest.raises(DataError, match=r"x\.xyz: ASE cannot read frame"):
        read_ase(path)
    for name in ("x.xyz", "x.traj", "x.db"):
        (tmp_path / name).write_text("no such thing\n")
        with pytest.raises(DataError, match=rf"{name}: ASE cannot read frame 0"):
            read_ase(tmp_path / name)
    path.write_text("")
    with pytest.raises(DataError, match=r"holds no frames|cannot read frame 0"):
        read_ase(path)
    (tmp_path / "x.py").write_text("raise SystemExit")
    with pytest.raises(DataError, match=r"not one of \.xyz"):
        open_frames(tmp_path / "x.py")
