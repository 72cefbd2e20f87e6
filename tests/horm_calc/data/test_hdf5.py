from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from horm_calc.data.formats.hdf5 import HDF5Frames, packed, unpacked, write_hdf5
from horm_calc.data.frames import DataError, Frame, iterate
from tests.horm_calc.data.frame_sets import WATER, assert_same, frame, real


def written(path: Path, frames: list[Frame]) -> HDF5Frames:
    write_hdf5(path, frames, "GFN2-xTB")
    return HDF5Frames(path)


def test_mixed_frames_come_back(tmp_path: Path) -> None:
    frames = [
        frame(0, whole=True),
        frame(1, vectors=2),
        frame(2),
        frame(3, whole=True, vectors=2),
        frame(4, (6, 1, 1, 1, 1), "b", vectors=3),
        frame(5, (6, 1, 1, 1, 1), "b"),
    ]
    back = written(tmp_path / "x.h5", frames)
    assert back.level_of_theory == "GFN2-xTB"
    assert back.sizes.tolist() == [3, 3, 3, 3, 5, 5]
    assert back.has_second_derivatives.tolist() == [True, True, False, True, True, False]
    for one, other in zip(frames, iterate(back), strict=True):
        assert_same(one, other)
    assert list(tmp_path.iterdir()) == [tmp_path / "x.h5"]


def test_reactions_that_are_no_names_of_groups(tmp_path: Path) -> None:
    """A slash would make groups in groups, and a full stop is the group itself."""
    names = ["C2H4/C2H2", "C2H4_C2H2", ".", "/", "a/../b", "Å→B 1", ""]
    frames = [frame(seed, reaction=name) for seed, name in enumerate(names)]
    back = written(tmp_path / "x.h5", frames)
    assert sorted(back.reactions) == sorted([*names[:-1], "frames"])
    energies = {one.reaction: one.energy for one in iterate(back)}
    assert all(energies[name or "frames"] == frames[i].energy for i, name in enumerate(names))


def test_one_reaction_with_different_atoms_and_vectors(tmp_path: Path) -> None:
    frames = [
        frame(0),
        frame(1, (1, 8, 1), whole=True),
        frame(2, (1, 1)),
        frame(3, vectors=2),
        frame(4, vectors=5),
        frame(5, (1, 8, 1)),
    ]
    back = written(tmp_path / "x.h5", frames)
    assert set(back.reactions) == {"a"}
    by_energy = {one.energy: one for one in iterate(back)}
    assert len(by_energy) == 6
    for one in frames:
        assert_same(by_energy[one.energy], one)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        write_hdf5(path, [frame(0)], "")
    assert path.read_text() == "precious"


def test_nothing_is_left_of_a_writer_that_fails(tmp_path: Path) -> None:
    def frames() -> Any:
        yield frame(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_hdf5(tmp_path / "x.h5", frames(), "")
    odd = Frame(np.array(WATER), np.zeros((2, 3)), 0.0, np.zeros((3, 3)), reaction="a")
    with pytest.raises(ValueError, match="same shape"):
        write_hdf5(tmp_path / "x.h5", [frame(0), odd], "")
    assert not list(tmp_path.iterdir())


def test_packing_by_hand() -> None:
    square = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]])
    assert packed(square).tolist() == [1, 2, 4, 3, 5, 6]
    np.testing.assert_array_equal(unpacked(packed(square)), square)
    asymmetric = square + np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(unpacked(packed(asymmetric)), square)


def drop(key: str) -> Callable[[Any], None]:
    return lambda group: group.__delitem__(key)


def put(key: str, value: Any) -> Callable[[Any], None]:
    def change(group: Any) -> None:
        if key in group:
            del group[key]
        group[key] = value

    return change


def infinite(group: Any) -> None:
    group["positions"][1, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (drop("forces"), "lacks forces"),
        (drop("numbers"), "lacks numbers"),
        (drop("hessian_frame"), r"hessian_frame is absent, not \(0,\)"),
        (drop("hessian"), r"hessian is absent, not \(1, 45\)"),
        (drop("products"), r"products is absent, not \(1, 2, 3, 3\)"),
        (drop("vectors"), "vectors is absent"),
        (put("hessian_frame", [3]), "hessian_frame does not name frames"),
        (put("hessian_frame", [-1]), "hessian_frame does not name frames"),
        (put("hessian_frame", [0.5]), "hessian_frame does not name frames"),
        (put("hessian_frame", 0), r"hessian_frame is \(\), not \(0,\)"),
        (put("hessian_frame", [0, 1]), r"hessian is \(1, 45\), not \(2, 45\)"),
        (put("product_frame", [7]), "product_frame does not name frames"),
        (put("positions", np.zeros((3, 2, 3))), r"positions is \(3, 2, 3\), not \(3, 3, 3\)"),
        (put("energy", 1.0), r"energy is \(\), not \(0,\)"),
        (put("energy", h5py.Empty("f8")), r"energy is \(\), not \(0,\)"),
        (put("energy", ["low", "high", "low"]), "energy holds no numbers"),
        (put("numbers", [8, 1, 0]), "not atomic numbers"),
        (put("numbers", [8, 1, 1.5]), "not atomic numbers"),
        (put("numbers", [8, 1, 200]), "not atomic numbers"),
        (infinite, "positions holds numbers that are not finite"),
    ],
)
def test_damaged_groups_are_named(
    tmp_path: Path, change: Callable[[Any], None], problem: str
) -> None:
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0), frame(1, whole=True), frame(2, vectors=2)], "")
    HDF5Frames(path)
    with h5py.File(path, "a") as file:
        change(file["a"])
    with pytest.raises(DataError, match=problem) as error:
        HDF5Frames(path)
    assert str(error.value).startswith(f"{path}: group 'a': ")


def test_two_hessians_of_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0, whole=True), frame(1, whole=True)], "")
    with h5py.File(path, "a") as file:
        file["a/hessian_frame"][:] = 1
    with pytest.raises(DataError, match="each once"):
        HDF5Frames(path)


def test_a_group_in_the_place_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0)], "")
    with h5py.File(path, "a") as file:
        del file["a/energy"]
        file["a"].create_group("energy")
    with pytest.raises(DataError, match="energy holds no numbers"):
        HDF5Frames(path)


def test_other_content_is_let_be(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0)], "")
    with h5py.File(path, "a") as file:
        file["table"] = [1, 2]
        file["a/reactant"] = np.zeros((3, 3))
    assert len(HDF5Frames(path)) == 1


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    for content in (b"", b"# a text\n", bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.h5: cannot be read as HDF5"):
            HDF5Frames(path)
    path.unlink()
    h5py.File(path, "w").close()
    with pytest.raises(DataError, match="holds no groups"):
        HDF5Frames(path)


def test_cut_files_are_refused(tmp_path: Path) -> None:
    good, cut = tmp_path / "good.h5", tmp_path / "cut.h5"
    write_hdf5(good, [frame(i, whole=True, reaction=f"r{i}") for i in range(4)], "")
    whole = good.read_bytes()
    for length in range(1, len(whole), 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.h5: cannot be read as HDF5"):
            HDF5Frames(cut)


def test_damaged_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0, whole=True)], "")
    with h5py.File(path) as file:
        place = file["a/hessian"].id.get_chunk_info(0).byte_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(16))
    with pytest.raises(DataError, match=r"x\.h5: cannot be read as HDF5 .* damaged"):
        HDF5Frames(path)


def test_real_labels() -> None:
    """157 reactions; the counts are those that h5py gives for the datasets' lengths."""
    frames = HDF5Frames(real("xtb_dev.h5"))
    assert len(frames) == 21934
    assert frames.has_second_derivatives.sum() == 3140
    assert len(set(frames.reactions)) == 157
    with_second = frames[int(np.flatnonzero(frames.has_second_derivatives)[0])]
    hessian = np.asarray(with_second.hessian, dtype=float)
    size = 3 * len(with_second.numbers)
    assert hessian.shape == (size, size)
    # A shift of the whole molecule changes no force: what rounding to 11 bits leaves of that.
    shift = np.tile(np.eye(3), (len(with_second.numbers), 1))
    assert np.abs(hessian @ shift).max() < 0.1
