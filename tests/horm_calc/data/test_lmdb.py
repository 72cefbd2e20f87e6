from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from horm_calc.data.files import open_frames
from horm_calc.data.formats.lmdb import LMDBFrames
from horm_calc.data.frames import DataError, fingerprint, iterate
from horm_calc.references import ATOMIC_ENERGIES, LEVEL_OF_THEORY, reference_energy
from tests.horm_calc.data.frame_sets import assert_same, frame, real


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "horm"


def write(path: Path, records: Iterable[bytes], length: bytes | None = None) -> Path:
    values = list(records)
    with (
        lmdb.open(str(path), subdir=False, map_size=2**26) as environment,
        environment.begin(write=True) as transaction,
    ):
        for i, value in enumerate(values):
            transaction.put(str(i).encode(), value)
        transaction.put(b"length", pickle.dumps(len(values)) if length is None else length)
    path.with_name(f"{path.name}-lock").unlink()
    return path


def record(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of water as HORM has them; None leaves an entry out."""
    one = frame(seed, whole=True)
    entries = {
        "pos": torch.tensor(one.positions, dtype=torch.float32),
        "rxn": torch.tensor(7),
        "energy": torch.tensor(one.energy, dtype=torch.float32),
        "ae": torch.tensor(0.5),
        "forces": torch.tensor(one.forces, dtype=torch.float32),
        "charges": torch.tensor([8, 1, 1], dtype=torch.int32),
        "one_hot": torch.eye(5)[[3, 0, 0]],
        "natoms": torch.tensor(3),
        "hessian": torch.tensor(one.hessian, dtype=torch.float32).flatten(),
    }
    return {key: value for key, value in (entries | changes).items() if value is not None}


class Plain:
    """Keeps its entries as PyTorch Geometric 1 did, without a store."""


def pickled(layout: str, entries: dict[str, Any], protocol: int = 4) -> bytes:
    if layout == "Data":
        return pickle.dumps(Data(**entries), protocol)
    one = Plain()
    vars(one).update(entries)
    return pickle.dumps(one if layout == "attributes" else entries, protocol)


def test_published_sample_is_what_pickle_says(tmp_path: Path) -> None:
    frames = LMDBFrames(real("horm_sample_100.lmdb"))
    assert (len(frames), frames.level_of_theory) == (100, LEVEL_OF_THEORY)
    assert frames.has_second_derivatives.all()
    copy = Path(shutil.copyfile(real("horm_sample_100.lmdb"), tmp_path / "copy"))
    with (
        lmdb.open(str(copy), subdir=False, lock=False, readonly=True) as file,
        file.begin() as view,
    ):
        for i, one in enumerate(iterate(frames)):
            data = pickle.loads(view.get(str(i).encode()))
            assert one.numbers.tolist() == data.charges.tolist()
            assert one.energy == data.energy.item()
            np.testing.assert_array_equal(one.positions, data.pos.double().numpy())
            np.testing.assert_array_equal(one.forces, data.forces.double().numpy())
            np.testing.assert_array_equal(np.ravel(one.hessian), data.hessian.numpy())
            assert frames.sizes[i] == data.natoms
            # Total energies: less those of the atoms, they are the published differences
            # but for the rounding of a float32 of -10^4 eV and of the fit.
            atomization = one.energy - reference_energy(one.numbers, ATOMIC_ENERGIES)
            assert atomization == pytest.approx(data.ae.item(), abs=2e-3)


def test_reactions_have_their_formula() -> None:
    """All of the published sample says rxn = 1, of 51 different sum formulas."""
    frames = LMDBFrames(real("horm_sample_100.lmdb"))
    assert len(set(frames.reactions)) == 51
    assert frames.reactions[0] == "rxn1 C6H8O"
    for one, name in zip(iterate(frames), frames.reactions, strict=True):
        assert one.reaction == name


@pytest.mark.parametrize("layout", ["Data", "attributes", "dictionary"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_layouts(tmp_path: Path, layout: str, protocol: int) -> None:
    one = frame(0, whole=True, reaction="rxn7 H2O")
    path = write(tmp_path / "x.lmdb", [pickled(layout, record(), protocol)])
    assert_same(LMDBFrames(path)[0], one)
    arrays = {key: value.numpy() for key, value in record().items()}
    arrays |= {"energy": np.float32(one.energy), "rxn": 7, "natoms": np.int64(3)}
    path = write(tmp_path / "y.lmdb", [pickled(layout, arrays, protocol)])
    assert_same(LMDBFrames(path)[0], one)


def test_entries_that_may_differ(tmp_path: Path) -> None:
    def read(**changes: Any) -> Any:
        (tmp_path / "x.lmdb").unlink(missing_ok=True)
        return LMDBFrames(write(tmp_path / "x.lmdb", [pickled("Data", record(**changes))]))

    assert read(charges=None)[0].numbers.tolist() == [8, 1, 1]
    assert read(one_hot=None)[0].numbers.tolist() == [8, 1, 1]
    assert read(charges=torch.tensor([[8], [1], [1]]))[0].numbers.tolist() == [8, 1, 1]
    assert read(rxn=None).reactions == ["H2O"]
    assert read(rxn="a/b\n").reactions == ["a/b\\n H2O"]
    without = read(hessian=None)
    assert without[0].hessian is None
    assert without.has_second_derivatives.tolist() == [False]
    transposed = torch.tensor(frame(0).positions.T.copy(), dtype=torch.float64).T
    np.testing.assert_array_equal(read(pos=transposed)[0].positions, frame(0).positions)


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "x.lmdb"
    folder.mkdir()
    write(folder / "data.mdb", [pickled("Data", record(seed)) for seed in (0, 1)])
    assert [one.energy for one in iterate(open_frames(folder))] == [
        frame(0, whole=True).energy,
        frame(1, whole=True).energy,
    ]
    with pytest.raises(IndexError):
        LMDBFrames(folder)[2]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"pos": None}, "lacks pos"),
        ({"energy": None}, "lacks energy"),
        ({"forces": None}, "lacks forces"),
        ({"charges": None, "one_hot": None}, "lacks charges and one_hot"),
        ({"charges": None, "one_hot": torch.ones(3, 5)}, "one_hot does not tell"),
        ({"charges": torch.tensor([8, 1])}, r"pos is \(3, 3\), not \(2, 3\)"),
        ({"charges": torch.tensor([8, 1, 0])}, "not atomic numbers"),
        ({"charges": torch.tensor([])}, "not atomic numbers"),
        ({"hessian": torch.zeros(80)}, r"hessian is \(80,\), not \(9, 9\)"),
        ({"forces": torch.zeros(3, 2)}, r"forces is \(3, 2\), not \(3, 3\)"),
        ({"energy": torch.zeros(2)}, r"energy is \(2,\), not \(1,\)"),
        ({"energy": torch.tensor(float("nan"))}, "energy holds numbers that are not finite"),
        ({"hessian": torch.full((81,), float("inf"))}, "hessian holds numbers that are not"),
        ({"energy": "low"}, "str in the place of numbers"),
        ({"energy": [[0.0]]}, "list in the place of numbers"),
        ({"energy": np.array(["low"])}, "something else than numbers"),
        ({"energy": np.array([object()])}, "an array without its numbers"),
        ({"energy": torch.zeros(1, dtype=torch.bfloat16)}, "unknown type BFloat16Storage"),
        ({"pos": torch.zeros(1).expand(3, 3)}, "larger than its storage"),
        ({"rxn": torch.arange(2)}, "rxn is not one number"),
    ],
)
def test_odd_records_are_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    good, bad = pickled("Data", record()), pickled("Data", record(**changes))
    path = write(tmp_path / "x.lmdb", [good, bad])
    with pytest.raises(DataError, match=problem) as error:
        LMDBFrames(path)
    assert str(error.value).startswith(f"{path}: record '1': ")


@pytest.mark.parametrize(
    "length", [b"100", pickle.dumps("100"), pickle.dumps(0), pickle.dumps(-1), b""]
)
def test_odd_lengths(tmp_path: Path, length: bytes) -> None:
    path = write(tmp_path / "x.lmdb", [pickled("Data", record())], length)
    with pytest.raises(DataError, match=r"x\.lmdb: record 'length'"):
        LMDBFrames(path)


@pytest.mark.parametrize("length", [10**4, 10**9, 10**12, 2**40, 2**62, 10**18])
def test_more_frames_than_there_is_room_for(tmp_path: Path, length: int) -> None:
    """Some of these numbers fit into no memory, others into memory and not into the file."""
    path = write(tmp_path / "x.lmdb", [pickled("Data", record())], pickle.dumps(length))
    with pytest.raises(DataError, match=f"{length:,} frames, for which the file has no room"):
        LMDBFrames(path)


def test_missing_records(tmp_path: Path) -> None:
    path = write(tmp_path / "x.lmdb", [pickled("Data", record())], pickle.dumps(2))
    with pytest.raises(DataError, match="has no record '1'"):
        LMDBFrames(path)
    with lmdb.open(str(tmp_path / "y.lmdb"), subdir=False, lock=False):
        pass
    with pytest.raises(DataError, match="has no record 'length'"):
        LMDBFrames(tmp_path / "y.lmdb")


class Trap:
    """Leaves a mark when pickle loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


class Inner:
    """A storage whose bytes are the trap."""

    def __init__(self, mark: Path, head: bytes) -> None:
        self.data = head + pickle.dumps(Trap(mark), 2)

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, (Stored(self.data), 0, (1,), (1,), False, {})


class Stored:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return torch.storage._load_from_bytes, (self.data,)


def head_of_a_storage() -> bytes:
    """The first three of the five pickles of a storage."""
    data = torch.zeros(1).untyped_storage().__reduce__()[1][0]
    return data[: data.index(b"\x80\x02(X\x07") if b"\x80\x02(X\x07" in data else 0]


def test_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    trap = Trap(mark)
    values = [
        pickle.dumps(trap),
        pickled("Data", record(energy=trap)),
        pickled("Data", record(charges=trap)),
        pickled("Data", record(rxn=trap)),
        pickled("attributes", record(pos=trap)),
        pickled("dictionary", record(hessian=trap)),
        pickled("Data", record(energy=Inner(mark, b""))),
        pickled("Data", record(energy=Inner(mark, head_of_a_storage()))),
    ]
    for i, value in enumerate(values):
        with pytest.raises(DataError, match="record '0'"):
            LMDBFrames(write(tmp_path / f"{i}.lmdb", [value]))
    # Where nobody looks at it, it does no harm either.
    path = write(tmp_path / "unused.lmdb", [pickled("Data", record(note=trap))])
    assert len(LMDBFrames(path)) == 1
    path = write(tmp_path / "length.lmdb", [pickled("Data", record())], pickle.dumps(trap))
    with pytest.raises(DataError, match="record 'length'"):
        LMDBFrames(path)
    assert not mark.exists()
    pickle.loads(values[1])
    assert mark.exists()


def test_damaged_records_are_told(tmp_path: Path) -> None:
    """Cut and random bytes: a frame or the one error, never anything else."""
    whole, chance = pickled("Data", record()), random.Random(0)
    values = [whole[: chance.randrange(len(whole))] for _ in range(100)]
    for _ in range(300):
        value = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        values.append(bytes(value))
    refused = 0
    for i, value in enumerate(values):
        # One file each, as a file is refused for its first bad record.
        path = write(tmp_path / f"{i}.lmdb", [value])
        try:
            LMDBFrames(path)
            assert i >= 100, "cut"
        except DataError as error:
            assert str(error).startswith(f"{path}: record '0'")
            refused += 1
        path.unlink()
    assert 120 < refused < 390


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.lmdb"
    for content in (b"", b"# a text\n", bytes(20_000)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.lmdb: cannot be read as LMDB"):
            LMDBFrames(path)
    (tmp_path / "folder.lmdb").mkdir()
    with pytest.raises(DataError, match=r"folder\.lmdb/data\.mdb: cannot be read \(No such file"):
        LMDBFrames(tmp_path / "folder.lmdb")


def test_cut_files_are_refused(tmp_path: Path) -> None:
    """Reading pages that are not there would end the process."""
    path = write(tmp_path / "x.lmdb", [pickled("Data", record(i)) for i in range(50)])
    whole = path.read_bytes()
    for length in (8192, 20_000, len(whole) - 1):
        path.write_bytes(whole[:length])
        for _ in range(2):
            with pytest.raises(DataError, match=f"cut short: {length} of"):
                LMDBFrames(path)


def test_a_file_that_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "x.lmdb", [pickled("Data", record(0))])
    assert LMDBFrames(path)[0].energy == frame(0, whole=True).energy
    write(tmp_path / "y.lmdb", [pickled("Data", record(1)), pickled("Data", record(2))])
    (tmp_path / "y.lmdb").replace(path)
    frames = LMDBFrames(path)
    assert [one.energy for one in iterate(frames)] == [frame(i, whole=True).energy for i in (1, 2)]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.lmdb", [pickled("Data", record(i)) for i in range(20)])
    monkeypatch.chdir(tmp_path)
    frames = open_frames("x.lmdb")
    monkeypatch.chdir("/")
    energies = [one.energy for one in iterate(frames)]  # opens the file before there are children
    with multiprocessing.get_context(method).Pool(2) as pool:
        read = pool.map(frames.__getitem__, list(range(20)) * 3)
    assert [one.energy for one in read] == energies * 3
    assert frames[0].energy == energies[0]
    again = LMDBFrames(path)  # twice in one process
    assert (
        fingerprint(again) == fingerprint(frames) == fingerprint(pickle.loads(pickle.dumps(again)))
    )


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Just long enough for an index; every other frame has a Hessian."""
    values = [pickled("Data", record(rxn=torch.tensor(i // 10), hessian=None)) for i in range(1000)]
    values[::2] = [pickled("Data", record(rxn=torch.tensor(i // 10))) for i in range(0, 1000, 2)]
    return write(tmp_path_factory.mktemp("long") / "x.lmdb", values)


@pytest.fixture
def long(tmp_path: Path, long_file: Path) -> Path:
    return Path(shutil.copy2(long_file, tmp_path / "x.lmdb"))


def check(frames: LMDBFrames) -> None:
    assert frames.reactions == [f"rxn{i // 10} H2O" for i in range(1000)]
    assert frames.sizes.tolist() == [3] * 1000
    assert frames.has_second_derivatives.tolist() == [True, False] * 500


def renamed(index: Path) -> None:
    """Other names in the index, by which its use can be told."""
    with np.load(index) as saved:
        arrays = dict(saved)
    np.savez(index, **arrays | {"names": np.char.replace(arrays["names"], "rxn", "kept")})


def test_index_is_kept_and_used(long: Path, cache: Path) -> None:
    check(LMDBFrames(long))
    index = long.with_name("x.lmdb.index.npz")
    assert {path.name for path in long.parent.iterdir()} == {"x.lmdb", "x.lmdb.index.npz"}
    check(LMDBFrames(long))
    renamed(index)
    frames = LMDBFrames(long)
    assert frames.reactions[999] == "kept99 H2O"
    assert frames.has_second_derivatives.tolist() == [True, False] * 500
    os.utime(long, (0, 0))
    check(LMDBFrames(long))
    assert not cache.exists()


def test_index_of_another_size_is_not_used(long: Path) -> None:
    LMDBFrames(long)
    renamed(long.with_name("x.lmdb.index.npz"))
    stat = long.stat()
    with long.open("ab") as file:
        file.write(bytes(4096))
    os.utime(long, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    check(LMDBFrames(long))


def test_index_elsewhere_where_the_folder_allows_none(long: Path, cache: Path) -> None:
    long.with_name("x.lmdb.index.npz").mkdir()
    check(LMDBFrames(long))
    [index] = cache.iterdir()
    renamed(index)
    assert LMDBFrames(long).reactions[0] == "kept0 H2O"


def test_without_a_place_for_the_index(long: Path, cache: Path) -> None:
    long.with_name("x.lmdb.index.npz").mkdir()
    cache.parent.write_text("not a folder")
    check(LMDBFrames(long))


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "objects", "other"])
def test_damaged_index_is_made_again(long: Path, damage: str, tmp_path: Path) -> None:
    LMDBFrames(long)
    index = long.with_name("x.lmdb.index.npz")
    if damage == "objects":
        with np.load(index) as saved:
            np.savez(index, **dict(saved) | {"names": np.array([Trap(tmp_path / "mark")])})
    elif damage == "other":
        np.savez(index, names=np.zeros(3))
    else:
        index.write_bytes({"cut": index.read_bytes()[:300], "text": b"text", "empty": b""}[damage])
    check(LMDBFrames(long))
    check(LMDBFrames(long))
    assert not (tmp_path / "mark").exists()


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A short file, and the index that is kept of it all the same."""
    monkeypatch.setattr("horm_calc.data.formats.lmdb._LONG", 1)
    path = write(tmp_path / "x.lmdb", [pickled("Data", record(i)) for i in range(4)])
    assert len(LMDBFrames(path)) == 4
    return path, tmp_path / "x.lmdb.index.npz"


def assert_whole(path: Path) -> None:
    frames = LMDBFrames(path)
    assert frames.reactions == ["rxn7 H2O"] * 4
    assert (frames.sizes.tolist(), frames.has_second_derivatives.tolist()) == ([3] * 4, [True] * 4)


def test_an_index_with_damage_anywhere_is_made_again(indexed: tuple[Path, Path]) -> None:
    path, index = indexed
    whole, chance = index.read_bytes(), random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        index.write_bytes(data)
        assert_whole(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": np.full(4, 5)},
        {"codes": np.full(4, -2)},
        {"codes": np.zeros(4)},
        {"codes": np.zeros((4, 1), int)},
        {"names": np.array("rxn7 H2O")},
        {"names": np.array([], "U1")},
        {"names": np.array([b"rxn7 H2O"])},
        {"names": np.zeros(10**6, "U1")},
        {"sizes": np.full(4, np.nan)},
        {"sizes": np.array(["three"] * 4)},
        {"has_second_derivatives": np.ones(4, int)},
        {"state": np.array(5)},
    ],
)
def test_an_index_of_odd_content_is_made_again(
    indexed: tuple[Path, Path], changes: dict[str, Any]
) -> None:
    path, index = indexed
    with np.load(index) as saved:
        sound = dict(saved)
    np.savez_compressed(index, **sound | changes)
    assert_whole(path)


def test_a_killed_pass_leaves_no_index(long: Path) -> None:
    code = "from pathlib import Path; from horm_calc.data.formats.lmdb import LMDBFrames\n"
    code += f"print(1, flush=True); LMDBFrames(Path({str(long)!r}))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout
    child.stdout.readline()
    time.sleep(0.1)
    child.kill()
    child.wait()
    check(LMDBFrames(long))
