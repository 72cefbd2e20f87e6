"""Files of frames from elsewhere: other files stay unread, and memory is bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from horm_calc.commands.data import main
from horm_calc.data.formats.hdf5 import HDF5Frames, write_hdf5
from horm_calc.data.frames import DataError, iterate
from tests.horm_calc.data.frame_sets import assert_same, frame

SECRET = 12345.0
Change = Callable[[Any, Path], None]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Two reactions; beside it a file whose numbers are nobody's to read."""
    path = tmp_path / "x.h5"
    write_hdf5(path, [frame(0, whole=True), frame(1, reaction="b")], "GFN2-xTB")
    write_hdf5(tmp_path / "other.h5", [frame(7), frame(8, reaction="b")], "GFN2-xTB")
    (tmp_path / "secret").write_bytes(np.full(1000, SECRET).tobytes())
    return path


def changed(path: Path, change: Change) -> Path:
    with h5py.File(path, "a") as file:
        change(file, path.parent)
    return path


def replaced(file: Any, key: str, value: Any) -> None:
    if key in file:
        del file[key]
    file[key] = value


# --- what lies in other files ---


def external_group(file: Any, folder: Path) -> None:
    replaced(file, "b", h5py.ExternalLink("other.h5", "/b"))


def external_dataset(file: Any, folder: Path) -> None:
    replaced(file, "b/energy", h5py.ExternalLink(str(folder / "other.h5"), "/b/energy"))


def external_optional(file: Any, folder: Path) -> None:
    replaced(file, "a/hessian", h5py.ExternalLink("other.h5", "/a/hessian"))


def soft_through_external(file: Any, folder: Path) -> None:
    file["a/elsewhere"] = h5py.ExternalLink("other.h5", "/")
    replaced(file, "b", h5py.SoftLink("/a/elsewhere/b"))


def soft_dataset(file: Any, folder: Path) -> None:
    replaced(file, "b/forces", h5py.SoftLink("/a/forces"))


def soft_group(file: Any, folder: Path) -> None:
    file["c"] = h5py.SoftLink("/a")


def soft_to_nothing(file: Any, folder: Path) -> None:
    file["c"] = h5py.SoftLink("/nowhere")


def external_to_nothing(file: Any, folder: Path) -> None:
    replaced(file, "b", h5py.ExternalLink("nowhere.h5", "/b"))


def external_storage(file: Any, folder: Path) -> None:
    del file["b/energy"]
    secret = [(str(folder / "secret"), 0, 8)]
    file["b"].create_dataset("energy", (1,), "f8", external=secret)


def external_storage_of_forces(file: Any, folder: Path) -> None:
    del file["b/forces"]
    secret = [("secret", 0, 24), ("/etc/passwd", 0, 48)]
    file["b"].create_dataset("forces", (1, 3, 3), "f8", external=secret)


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "b/energy", (1,))
    del file["b/energy"]
    file["b"].create_virtual_dataset("energy", layout)


def virtual_of_this_file(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((1, 3, 3), "f8")
    layout[:] = h5py.VirtualSource(".", "a/forces", (1, 3, 3))
    del file["b/forces"]
    file["b"].create_virtual_dataset("forces", layout)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (external_group, "'/b' is a link"),
        (external_dataset, "'/b/energy' is a link"),
        (external_optional, "'/a/hessian' is a link"),
        (soft_through_external, "'/b' is a link"),
        (soft_dataset, "'/b/forces' is a link"),
        (soft_group, "'/c' is a link"),
        (soft_to_nothing, "'/c' is a link"),
        (external_to_nothing, "'/b' is a link"),
        (external_storage, "'/b/energy' has its numbers in other files"),
        (external_storage_of_forces, "'/b/forces' has its numbers in other files"),
        (virtual, "'/b/energy' has its numbers in other files"),
        (virtual_of_this_file, "'/b/forces' has its numbers in other files"),
    ],
)
def test_other_files_are_not_read(
    good: Path, capsys: pytest.CaptureFixture[str], change: Change, where: str
) -> None:
    with pytest.raises(DataError, match=where):
        HDF5Frames(changed(good, change))
    assert main(["info", str(good)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.startswith(f"horm-data: {good}: {where}")
    assert "h5repack" in said.err
    assert said.err.count("\n") == 1


def test_other_files_would_be_read_by_the_library(good: Path) -> None:
    """The control: what is refused is an energy to h5py."""
    with h5py.File(changed(good, external_storage)) as file:
        assert file["b/energy"][0] == SECRET


def test_two_names_of_one_group(good: Path) -> None:
    def change(file: Any, folder: Path) -> None:
        file["c"] = file["a"]

    with pytest.raises(DataError, match="groups 'a' and 'c' are one and the same"):
        HDF5Frames(changed(good, change))


# --- what there is no room for ---


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 3, 3)},
        {"chunks": (1000, 3, 3), "compression": "gzip"},
        {"chunks": (1000, 3, 3), "fillvalue": 1.0},
        {"maxshape": (None, 3, 3), "chunks": (10, 3, 3)},
    ],
)
def test_numbers_that_are_not_there(good: Path, options: dict[str, Any]) -> None:
    """Datasets that are declared and never written take no room in a file."""
    count = 10**12 if "chunks" in options else 3 * 10**6

    def change(file: Any, folder: Path) -> None:
        for key, shape in {"energy": (count,), "positions": (count, 3, 3)}.items():
            del file["b"][key]
            fitting = {
                name: value[: len(shape)] if isinstance(value, tuple) else value
                for name, value in options.items()
            }
            file["b"].create_dataset(key, shape, "f8", **fitting)
        del file["b/forces"]
        file["b/forces"] = file["b/positions"]

    changed(good, change)
    assert good.stat().st_size < 10**6
    with pytest.raises(DataError, match=r"claims .* MB of numbers in 0\.0 MB"):
        HDF5Frames(good)


def test_zeros_that_were_compressed(good: Path) -> None:
    def change(file: Any, folder: Path) -> None:
        for key, shape in {"energy": (10**6,), "positions": (10**6, 3, 3)}.items():
            del file["b"][key]
            file["b"].create_dataset(key, shape, "f8", compression="gzip", data=np.zeros(shape))
        del file["b/forces"]
        file["b/forces"] = file["b/positions"]

    changed(good, change)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from horm_calc.data.formats.hdf5 import HDF5Frames\n"
        "from horm_calc.data.frames import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: HDF5Frames(Path(sys.argv[1]))\n"
        "except DataError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True)
    told, kilobytes = done.stdout.splitlines()
    assert "claims" in told
    assert int(kilobytes) < 20_000  # of 150 MB


# --- what is no number, no text, or another machine's ---


@pytest.mark.parametrize("kind", [">f8", ">f4", "<f4", np.longdouble, "f2"])
def test_numbers_of_other_machines_are_the_same_numbers(good: Path, kind: Any) -> None:
    """Frames with what PyTorch takes, whatever the precision and the order of the bytes."""
    import torch

    expected = list(iterate(HDF5Frames(good)))

    def change(file: Any, folder: Path) -> None:
        for group in ("a", "b"):
            for key in ("positions", "forces", "energy"):
                replaced(file, f"{group}/{key}", file[f"{group}/{key}"][()].astype(kind))
        for key in ("a/numbers", "a/hessian_frame"):
            replaced(file, key, file[key][()].astype(">i4"))

    found = list(iterate(HDF5Frames(changed(good, change))))
    assert len(found) == 2
    digits = {"rtol": 1e-2, "atol": 1e-3} if kind == "f2" else {"rtol": 1e-6, "atol": 1e-6}
    for one, other in zip(found, expected, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist()
        for values in (one.positions, one.forces, one.numbers):
            torch.as_tensor(values)
        np.testing.assert_allclose(one.positions, other.positions, **digits)
        np.testing.assert_allclose(one.forces, other.forces, **digits)
        assert one.energy == pytest.approx(other.energy, rel=digits["rtol"], abs=digits["atol"])


def test_whole_numbers_may_be_kept_as_others(good: Path) -> None:
    expected = list(iterate(HDF5Frames(good)))

    def change(file: Any, folder: Path) -> None:
        for key in ("a/numbers", "b/numbers", "a/hessian_frame"):
            replaced(file, key, file[key][()].astype(float))

    for one, other in zip(iterate(HDF5Frames(changed(good, change))), expected, strict=True):
        assert_same(one, other)


COMPOUND = np.zeros(1, [("a", "f8"), ("b", "i4")])


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("a/energy", COMPOUND, "energy holds no numbers"),
        ("a/energy", np.array([True]), "energy holds no numbers"),
        ("a/energy", np.array([1j]), "energy holds no numbers"),
        ("a/energy", np.array([b"low"]), "energy holds no numbers"),
        ("a/numbers", np.array(["O", "H", "H"], object), "numbers holds no numbers"),
        ("a/numbers", np.array([8.5, 1, 1]), "not atomic numbers"),
        ("a/numbers", np.array([8, 1, 1], "u8") + 2**63, "not finite, or beyond 1e18"),
        ("a/hessian_frame", np.array([1.0]), "does not name frames"),
        ("a/hessian_frame", np.array([2**40], "u8"), "does not name frames"),
        ("a/energy", np.array([np.longdouble("1e4000")]), "not finite"),
        ("a/energy", np.array([1e308]), "not finite"),
        ("a/forces", np.full((1, 3, 3), -1e30), "not finite"),
    ],
)
def test_odd_types(good: Path, key: str, value: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        HDF5Frames(changed(good, lambda file, _: replaced(file, key, value)))


def test_references_to_objects(good: Path) -> None:
    def change(file: Any, folder: Path) -> None:
        reference = file["b"].ref
        del file["a/energy"]
        file["a"].create_dataset("energy", data=[reference], dtype=h5py.ref_dtype)

    with pytest.raises(DataError, match="energy holds no numbers"):
        HDF5Frames(changed(good, change))


@pytest.mark.parametrize(
    "value", [5, 1.5, ["a", "b"], h5py.Empty("f8"), np.zeros(3), COMPOUND, True]
)
@pytest.mark.parametrize("place", ["/", "b"])
def test_attributes_that_are_no_text(good: Path, place: str, value: Any) -> None:
    def change(file: Any, folder: Path) -> None:
        file[place].attrs["level_of_theory" if place == "/" else "reaction"] = value

    with pytest.raises(DataError, match=f"the attribute .* of '/?{place}' is not text"):
        HDF5Frames(changed(good, change))


@pytest.mark.parametrize("value", [b"GFN2-xTB", np.bytes_("GFN2-xTB"), "GFN2-xTB"])
def test_texts_of_other_writers(good: Path, value: Any) -> None:
    def change(file: Any, folder: Path) -> None:
        file.attrs["level_of_theory"] = value

    assert HDF5Frames(changed(good, change)).level_of_theory == "GFN2-xTB"
