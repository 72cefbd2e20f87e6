"""Hostile files: nothing in them runs, and nothing takes memory or time without end."""

from __future__ import annotations

import collections
import json
import os
import pickle
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from horm_calc.checkpoints.files import CheckpointError, read
from horm_calc.models.registry import NETWORKS, Architecture
from tests.horm_calc.checkpoint_files import (
    inject,
    program_of,
    rewrite,
    run_by_pickle,
    text,
    toy_state,
    write,
)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    target = "tests.horm_calc.checkpoint_files:Toy"
    monkeypatch.setitem(NETWORKS, "Toy", Architecture(target))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.ckpt", toy_state())


class Trap:
    """Leaves a mark when it is unpickled, whatever way is taken into it."""

    mark = Path()

    def __init__(self, way: str) -> None:
        self.way = way

    def __reduce_ex__(self, protocol: Any) -> Any:
        touch = f"touch {Trap.mark}"
        python = f"open({str(Trap.mark)!r}, 'w')"
        if self.way == "reduce":
            return os.system, (touch,)
        if self.way == "eval":
            return eval, (f"[{python}]",)
        if self.way == "setstate":
            return Trap, ("inert",), {"any": "state"}
        if self.way == "nested":
            return getattr, (Trap("reduce"), "real")
        if self.way == "items":
            return dict, (), None, None, iter([("key", Trap("reduce"))])
        return object, ()

    def __setstate__(self, state: Any) -> None:
        Trap.mark.touch()


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    Trap.mark = tmp_path / "pwned"
    return Trap.mark


@pytest.mark.parametrize("way", ["reduce", "eval", "setstate", "nested", "items"])
def test_nothing_runs(tmp_path: Path, mark: Path, way: str) -> None:
    path = write(tmp_path / "a.ckpt", toy_state(), callbacks={"x": Trap(way)})
    assert read(path).config["name"] == "Toy"
    settings = {"model_config": {"name": "Toy"}, "more": Trap(way)}
    assert read(write(path, toy_state(), hyper_parameters=settings)).metadata["more"]
    write(path, {"a": Trap(way)})
    with pytest.raises(CheckpointError, match="not a tensor"):
        read(path)
    assert not mark.exists()
    run_by_pickle(path)
    assert mark.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_nothing_runs_from_bare_and_old_files(tmp_path: Path, mark: Path, protocol: int) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(
        {"state_dict": {"a": Trap("reduce")}},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=False,
    )
    with pytest.raises(CheckpointError):
        read(path)
    path.write_bytes(pickle.dumps(Trap("reduce"), protocol))
    with pytest.raises(CheckpointError):
        read(path)
    assert not mark.exists()
    run_by_pickle(path)
    assert mark.exists()


def attack(mark: Path) -> dict[str, bytes]:
    """Pickle instructions that no pickler writes but every unpickler runs."""
    touch = text(f"touch {mark}")
    python = text(f"open({str(mark)!r}, 'w')")
    return {
        "stack global": text("os") + text("system") + b"\x93" + touch + b"\x85R",
        "dotted name": b"\x80\x04" + text("builtins") + text("eval.__call__") + b"\x93"
        + python + b"\x85R",
        "newobj": b"cpathlib\nPath\n" + text(str(mark)) + b"\x85\x81" + b"0"
        b"cos\nsystem\n" + touch + b"\x85R",
        "inst": b"(" + touch + b"ios\nsystem\n",
        "obj": b"(cos\nsystem\n" + touch + b"o",
        "result of a call": b"cbuiltins\ngetattr\ncos\nsystem\n" + text("__call__") + b"\x86R"
        + touch + b"\x85R",
        "inside a storage reference": b"(" + text("storage") + b"cos\nsystem\n" + touch + b"\x85R"
        + text("0") + text("cpu") + b"K\x01tQ",
    }  # fmt: skip


@pytest.mark.parametrize("kind", attack(Path()))
def test_no_instruction_runs(good: Path, mark: Path, kind: str) -> None:
    inject(good, attack(mark)[kind])
    try:
        read(good)
    except CheckpointError as error:
        assert "not a plausible checkpoint" in str(error)
    assert not mark.exists()
    run_by_pickle(good)
    assert mark.exists()


@pytest.mark.parametrize(
    "reference",
    [
        text("../../../../etc/passwd"),
        b"(" + text("module") + text("os") + b"t",
        *(
            b"(" + text("storage") + kind + key + text("cpu") + length + b"t"
            for kind, key, length in (
                (b"ctorch\nFloatStorage\n", text("0"), b"J\xff\xff\xff\xff"),
                (b"ctorch\nload\n", text("0"), b"K\x01"),
                (b"cos\nFloatStorage\n", text("0"), b"K\x01"),
                (b"ctorch\nFloatStorage\n", b"N", b"K\x01"),
            )
        ),
    ],
)
def test_references(good: Path, reference: bytes) -> None:
    inject(good, reference + b"Q")
    with pytest.raises(CheckpointError, match=r"not a plausible checkpoint: a (reference|storage)"):
        read(good)


def test_storages_are_not_looked_up_on_disk(good: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(24))
    key = f"../../../{secret}"
    program = program_of(good)
    assert program.count(text("0")) == 1  # the key of the first storage
    rewrite(good, program.replace(text("0"), text(key)))
    with pytest.raises(CheckpointError, match=r"incomplete, .* is missing"):
        read(good)


# Of a 3 x 2 tensor: its number of elements and the device before it, its shape, its strides.
LENGTH, SHAPE, STRIDES = b"K\x06tq", b"K\x03K\x02\x86", b"K\x02K\x01\x86"


@pytest.mark.parametrize(
    ("truth", "lie"),
    [
        (SHAPE, b"J\xff\xff\xff\x7fK\x02\x86"),
        (SHAPE, b"J\xff\xff\xff\xffK\x02\x86"),
        (SHAPE, b"K\x04K\x02\x86"),
        (SHAPE, b"\x8a\x09" + b"\xff" * 8 + b"\x00K\x02\x86"),
        (STRIDES, b"K\x02K\x02\x86"),
        (STRIDES, b"K\x02\x85"),
        (STRIDES, b"J\xff\xff\xff\xffK\x01\x86"),
        (STRIDES, b"G?\xf0\x00\x00\x00\x00\x00\x00K\x01\x86"),
        (LENGTH, b"K\x07tq"),
        (LENGTH, b"J\xff\xff\xff\x7ftq"),
    ],
)
def test_lies_about_sizes(tmp_path: Path, truth: bytes, lie: bytes) -> None:
    path = write(tmp_path / "a.ckpt", toy_state(depth=1))
    program = program_of(path)
    assert program.count(truth) == 1
    rewrite(path, program.replace(truth, lie))
    with pytest.raises(CheckpointError, match=r"not a plausible|has another size"):
        read(path)


def test_memory_from_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", {"a": torch.ones(1).expand(10**9)})
    with pytest.raises(CheckpointError, match="larger than its storage"):
        read(path)
    one = torch.ones(10**5)
    path = write(tmp_path / "a.ckpt", {f"a{i}": one for i in range(100)})
    with pytest.raises(CheckpointError, match="more weights than the file"):
        read(path)


def test_other_encodings(good: Path) -> None:
    with pytest.warns(UserWarning), zipfile.ZipFile(good, "a") as archive:
        archive.writestr(archive.namelist()[0], program_of(good))
    with pytest.raises(CheckpointError, match="overlap or repeat"):
        read(good)


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little")


@pytest.mark.parametrize(
    "payload",
    [
        b"N" + b"r\xff\xff\xff\x7f",  # a memo with 2 billion places
        b"}" + b")" + b"q\xf0h\xf0\x86" * 200 + b"Ns",  # a key that takes 2^200 steps to hash
        b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(20_000)) + b"u",
        b"]" * 50_000 + b"a" * 49_999,  # nested lists
        b"(" * 50_000 + b"t" * 50_000,
        b"c__main__\nA\n)\x81" + text("a") + b"a",  # append to, set on and key of a stand-in
        b"c__main__\nA\n)R" + text("a") + b"Ns",
        b"}c__main__\nA\n)RNs",
        b"}c__main__\nA\nNs",
        b"c__main__\nA\n}b",
        b"cbuiltins\nset\n]\x85R",
        b"\x8f(K\x01]\x90",
    ],
)  # fmt: skip
def test_odd_data_are_harmless(good: Path, payload: bytes) -> None:
    start = time.monotonic()
    assert read(inject(good, payload)).config["name"] == "Toy"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "payload",
    [
        b"]q\xf0h\xf0a",  # contains itself
        b"]" + b"q\xf0h\xf0\x86" * 100,  # unfolds to 2^100 elements
    ],
)
def test_settings_without_end(good: Path, payload: bytes) -> None:
    program = program_of(good)
    key = text("hyper_parameters")
    assert program.endswith(b".")
    rewrite(good, program[:-1] + key + b"}" + text("a") + payload + b"ss.")
    with pytest.raises(CheckpointError, match="nested without end"):
        read(good)


def test_long_texts_and_numbers_stay_short(good: Path) -> None:
    big = b"\x8b" + (10**6).to_bytes(4, "little") + b"\x7f" * 10**6
    payload = b"}(" + text("n") + big + text("t") + text("x" * 10**6) + b"u"
    program = program_of(good)
    settings = text("model_config") + b"}" + text("name") + text("Toy") + b"s"
    rewrite(
        good,
        program[:-1] + text("hyper_parameters") + b"}(" + settings + text("a") + payload + b"us.",
    )
    assert len(json.dumps(read(good).metadata)) < 1000


def test_damage_is_always_told(good: Path, tmp_path: Path) -> None:
    """Random damage: a checkpoint or the one error, never anything else."""
    chance = random.Random(0)
    program, whole = program_of(good), good.read_bytes()
    outcomes: collections.Counter[str] = collections.Counter()
    broken = tmp_path / "broken.ckpt"
    for i in range(600):
        data = bytearray(program if i % 2 else whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        broken.write_bytes(whole if i % 2 else data)
        if i % 2:
            rewrite(broken, bytes(data))
        try:
            read(broken)
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert min(outcomes["read"], outcomes["refused"]) > 50
