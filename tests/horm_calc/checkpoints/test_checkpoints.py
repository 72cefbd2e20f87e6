from __future__ import annotations

import argparse
import collections
import json
import pathlib
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from horm_calc.checkpoints.files import Checkpoint, CheckpointError, load_network, read, save
from horm_calc.models.registry import NETWORKS, Architecture
from tests.goldens import weights
from tests.horm_calc.checkpoint_files import (
    CENTERS,
    program_of,
    rewrite,
    toy_state,
    write,
)
from tests.places import GOLDENS

PUBLISHED = ("LEFTNet", "LEFTNet-df", "AlphaNet", "EquiformerV2")


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Toy", "Other"):
        target = f"tests.horm_calc.checkpoint_files:{name}"
        monkeypatch.setitem(NETWORKS, name, Architecture(target))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "good.ckpt", toy_state())


# --- what is read ---


def test_reads_what_lightning_writes(good: Path) -> None:
    found = read(good)
    assert found.path == good
    assert found.config == {"name": "Toy", "cutoff": 5.0}
    assert found.metadata == {"epoch": 7, "training_config": {"bz": 2}}
    assert len(found.sha256) == 64
    for key, value in toy_state().items():
        assert found.state[key.removeprefix("potential.")].equal(value)


def test_agrees_with_torch(tmp_path: Path) -> None:
    dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.bool, torch.uint8)
    state: dict[str, Any] = {str(dtype): torch.randn(3, 4).abs().to(dtype) for dtype in dtypes}
    state |= {
        "transposed": torch.randn(4, 5).T,
        "view": torch.randn(10)[3:7],
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "number": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
    }
    path = write(tmp_path / "a.ckpt", state)
    expected = torch.load(path, weights_only=True)["state_dict"]
    found = read(path).state
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        assert found[key].equal(value), key


def test_reads_past_foreign_objects(tmp_path: Path) -> None:
    more = {
        "callbacks": {"best": np.float64(1.5), pathlib.Path("a"): {pathlib.Path("b")}},
        "optimizer_states": [collections.defaultdict(dict, {0: {"step": torch.tensor(1.0)}})],
        "loops": [argparse.Namespace(a=1), torch.Size([2]), torch.device("cpu"), torch.float32],
        "hyper_parameters": {
            "model_config": collections.OrderedDict(name="Toy", cutoff=np.float32(5.0)),
            "where": pathlib.PurePosixPath("/data/train.lmdb"),
            "options": argparse.Namespace(rate=1e-3, shape=(2, 3)),
            "count": np.int64(3),
            "function": np.mean,
            "tensor": torch.zeros(2, 3),
        },
    }
    path = write(tmp_path / "a.ckpt", toy_state(), **more)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    found = read(path)
    assert found.config == {"name": "Toy", "cutoff": 5.0}
    assert found.metadata == {
        "epoch": 7,
        "where": "/data/train.lmdb",
        "options": {"rate": 1e-3, "shape": [2, 3]},
        "count": 3,
        "function": "<numpy.mean>",
        "tensor": "<tensor of shape [2, 3]>",
    }
    json.dumps(found.metadata)


class Attributes(dict):  # type: ignore[type-arg]
    """Like Lightning's AttributeDict."""


def test_mappings_of_other_classes(tmp_path: Path) -> None:
    settings = Attributes(model_config=Attributes(name="Toy"))
    path = write(tmp_path / "a.ckpt", toy_state(), hyper_parameters=settings)
    assert read(path).config == {"name": "Toy"}


def test_network_from_its_weights(tmp_path: Path) -> None:
    mark = "model.gcl_layers.0.edge_mlp.mlp.0.linear.weight"
    for settings, expected in (
        ({"use_autograd": True}, "LEFTNet"),
        ({"use_autograd": False}, "LEFTNet-df"),
    ):
        path = write(tmp_path / "a.ckpt", {mark: torch.ones(1)}, hyper_parameters=settings)
        assert read(path).config == {"name": expected}
    path = write(tmp_path / "a.ckpt", {"kernels_real": torch.ones(1)}, hyper_parameters={})
    assert read(path).config["name"] == "AlphaNet"
    path = write(tmp_path / "a.ckpt", {mark: torch.ones(1)}, hyper_parameters={})
    with pytest.raises(CheckpointError, match=r"does not name its network.*EquiformerV2"):
        read(path)


# --- what is refused ---


@pytest.mark.parametrize("length", [0, 1, 3, 4, 40, 0.2, 0.5, 0.75, 0.9, 0.99, -1])
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_truncated(good: Path, tmp_path: Path, length: float, suffix: str) -> None:
    whole = good
    if suffix == "safetensors":
        found = read(good)
        whole = tmp_path / "good.safetensors"
        save(whole, found.state, found.config, found.metadata)
    data = whole.read_bytes()
    length = int(length * len(data)) if isinstance(length, float) else length
    short = tmp_path / "short"
    short.write_bytes(data[:length])
    with pytest.raises(CheckpointError, match=r"short: "):
        read(short)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page.*/resolve/"),
        (b"PK\x05\x06" + bytes(18), "not a checkpoint"),
        (b"\x00" * 257 + b"ustar\x00", "torch < 1.6"),
        (pickle.dumps({"state_dict": {}}), "torch < 1.6"),
        (b"anything else", "not a checkpoint"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_large_weights_are_finite(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", {"a": torch.full((9,), 6e4, dtype=torch.float16)})
    assert read(path).state["a"].isfinite().all()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        read(tmp_path / "none.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read(tmp_path)


def test_zips_that_are_no_checkpoints(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="not a PyTorch file"):
        read(other)
    torch.jit.script(torch.nn.Linear(1, 1)).save(other)
    with pytest.raises(CheckpointError, match="TorchScript"):
        read(other)
    with pytest.raises(CheckpointError, match="compressed zip"):
        read(rewrite(good, program_of(good), zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": 1, "epoch": 2}, "only model, epoch"),
        ([1, 2], "only nothing named"),
        ({"state_dict": {}}, "no weights"),
        ({"state_dict": {"a": "text"}}, "a in 'state_dict' is not a tensor"),
        ({"state_dict": {1: torch.ones(1)}}, "not a tensor"),
        ({"state_dict": {"a": torch.ones(1), "potential.a": torch.zeros(1)}}, "two different"),
        ({"state_dict": {"a": torch.tensor([1, np.nan])}}, "1 tensors that are not finite: a"),
        ({"state_dict": {"a": torch.tensor(np.inf)}}, "not finite"),
        ({"state_dict": {"a": torch.ones(1)}}, "does not name its network"),
        (
            {
                "state_dict": {"a": torch.ones(1)},
                "hyper_parameters": {"model_config": {"name": "LeftNet"}},
            },
            "unknown network 'LeftNet'. Did you mean LEFTNet",
        ),
        (
            {
                "state_dict": {"a": torch.ones(1)},
                "hyper_parameters": {"model_config": {"name": [1]}},
            },
            "unknown network",
        ),
    ],
)
def test_content(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_names_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", {"\x1b[2J\n": "no tensor"})
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(caught.value).isprintable()


# --- loading ---


def toy(**changes: Any) -> Checkpoint:
    state = {key.removeprefix("potential."): value for key, value in toy_state().items()}
    for key, value in changes.pop("state", {}).items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    values = {"path": Path("toy.ckpt"), "config": {"name": "Toy"}, "metadata": {}, "sha256": ""}
    return Checkpoint(**(values | changes), state=state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loads(dtype: torch.dtype) -> None:
    network = load_network(toy(), dtype)
    assert type(network).__name__ == "Toy"
    assert not network.training
    for key, value in network.named_parameters():
        assert not value.requires_grad
        assert value.dtype == dtype
        assert value.equal(toy().state[key].to(dtype))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layers.1.bias": None}, "1 missing: layers.1.bias. They fit no other"),
        ({"layers.0.weight": None}, "layers.0.weight is missing"),
        ({"extra": torch.ones(1)}, "1 surplus: extra"),
        ({"layers.1.bias": torch.ones(4)}, r"1 misshapen: layers.1.bias \(4\) instead of \(3\)"),
        ({"layers.1.bias": torch.ones(3, 1)}, r"\(3, 1\) instead of \(3\)"),
        ({"layers.1.bias": torch.ones(3, dtype=torch.int64)}, r"\(3\) of torch.int64 instead"),
        ({f"extra.{i}": torch.ones(1) for i in range(20)}, "20 surplus: .* and 12 more"),
        (
            {"layers.1.bias": None, "extra": torch.ones(1), "layers.1.weight": torch.ones(2)},
            "1 missing: .*; 1 surplus: .*; 1 misshapen: ",
        ),
        ({"layers.999999.bias": torch.ones(3)}, "more layers than weights"),
        ({"layers." + "9" * 5000 + ".bias": torch.ones(3)}, "more layers than weights"),
        ({"module.extra": torch.ones(1)}, "1 surplus: module.extra"),
        ({"basis.centers": CENTERS.float() * 1.001}, "constants: basis.centers"),
        ({"basis.centers": CENTERS.float() + 1e-3}, "constants: basis.centers"),
        ({"basis.centers": CENTERS[:7].float()}, "constants: basis.centers"),
        ({"basis.orders": torch.tensor([0, 1, 2, 4])}, "constants: basis.orders"),
        ({"basis.orders": torch.arange(4.0)}, "constants: basis.orders"),
        ({"basis.other": torch.ones(1)}, "1 surplus: basis.other"),
    ],
)
def test_strict(state: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_network(toy(state=state), torch.float64)


@pytest.mark.parametrize(
    "state",
    [
        {"basis.centers": None, "basis.orders": None},
        {"basis.centers": CENTERS},
        {"basis.centers": CENTERS.float() * (1 + 2e-7)},
        {"basis.orders": torch.arange(4, dtype=torch.int32).long()},
    ],
)
def test_buffers_may_be_absent_or_rounded(state: dict[str, Any]) -> None:
    load_network(toy(state=state), torch.float64)


def test_says_which_network_fits() -> None:
    with pytest.raises(CheckpointError, match=r"not those of LEFTNet.* fit Toy: correct the name"):
        load_network(toy(config={"name": "LEFTNet"}), torch.float64)
    with pytest.raises(CheckpointError, match=r"readout.weight is missing. They fit Toy"):
        load_network(toy(config={"name": "Other"}), torch.float64)


def golden(name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and parameters of a published network, filled by the rule."""
    told = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))
    state = {
        key: torch.from_numpy(weights.fill(key, tuple(entry["shape"]))).float()
        for key, entry in told.pop("state").items()
        if entry["parameter"]
    }
    return told, state


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(tmp_path: Path, name: str) -> None:
    settings, state = golden(name)
    path = write(tmp_path / "a.ckpt", state, hyper_parameters=settings)
    network = load_network(read(path), torch.float64)
    assert network.name == name
    found = dict(network.named_parameters())
    assert {f"potential.{key}" for key in found} == state.keys()
    for key, value in found.items():
        assert value.equal(state[f"potential.{key}"].double())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_buffers_are_constants(name: str) -> None:
    settings, state = golden(name)
    state = {key.removeprefix("potential."): value for key, value in state.items()}
    told = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))["state"]
    checkpoint = Checkpoint(Path("a"), state, settings["model_config"], {}, "")
    network = load_network(checkpoint, torch.float64)
    buffers = {key: entry for key, entry in told.items() if not entry["parameter"]}
    assert buffers
    for key, entry in buffers.items():
        constant = network.constant(key.removeprefix("potential."))
        assert constant is not None, key
        assert list(constant.shape) == entry["shape"], key
        assert constant.is_floating_point() == entry["dtype"].startswith("float"), key
        state[key.removeprefix("potential.")] = (
            constant.float() if constant.is_floating_point() else constant
        )
    load_network(checkpoint, torch.float32)


# --- writing ---


def test_safetensors_keep_everything(good: Path, tmp_path: Path) -> None:
    first = read(good)
    path = tmp_path / "b.safetensors"
    save(path, first.state, first.config, first.metadata)
    second = read(path)
    assert (second.config, second.metadata) == (first.config, first.metadata)
    assert second.state.keys() == first.state.keys()
    for key, value in first.state.items():
        assert second.state[key].dtype == value.dtype
        assert second.state[key].equal(value)
    assert second.sha256 != first.sha256
    load_network(second, torch.float64)


def test_save_is_careful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"a": torch.ones(2, 3).T, "b": torch.ones(6)[:2]}
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=r"end in .safetensors"):
        save(tmp_path / "a.ckpt", state, {"name": "Toy"}, {})
    save(path, state, {"name": "Toy"}, {})
    with pytest.raises(CheckpointError, match="exists already"):
        save(path, state, {"name": "Toy"}, {})
    save(path, state, {"name": "Other"}, {}, overwrite=True)
    assert read(path).config == {"name": "Other"}
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, state, {"name": "Toy"}, {}, overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_foreign_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    for told in (
        None,
        {"format": "pt"},
        {"format": "horm_calc 1", "config": "[", "metadata": "{}"},
    ):
        save_file({"a": torch.ones(1)}, path, told)
        with pytest.raises(CheckpointError, match="does not say what its weights are"):
            read(path)


def test_reading_needs_no_network_code(good: Path) -> None:
    """Whoever only looks into a file must not pay for the networks."""
    import subprocess

    code = (
        "import sys; import horm_calc.checkpoints.files, horm_calc.checkpoints.catalogue; "
        "import horm_calc.commands.models; "
        "assert not {'torch', 'huggingface_hub', 'rich', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
