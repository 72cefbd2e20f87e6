from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from horm_calc.checkpoints import catalogue
from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED, CheckpointNotFound, find, present
from horm_calc.models.registry import NETWORKS


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """An empty working folder, an empty cache, and no network; what was to be downloaded."""
    asked: list[tuple[str, str]] = []

    def download(repository: str, filename: str) -> str:
        asked.append((repository, filename))
        raise huggingface_hub.errors.LocalEntryNotFoundError("no connection\nsecond line")

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv(catalogue.FOLDER, raising=False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


@pytest.fixture
def folder(downloads: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    monkeypatch.setenv(catalogue.FOLDER, str(folder))
    return folder


def test_entries() -> None:
    assert len(CATALOGUE) == 12
    for name, entry in CATALOGUE.items():
        assert entry.name == name
        assert entry.network in NETWORKS
        if name in (SHIPPED, f"{SHIPPED}-xtb"):
            assert entry.url is None
            assert find(name).is_file()
        else:
            assert entry.url.endswith(f"{entry.repository}/resolve/main/{entry.filename}")
        if entry.repository == "yhong55/HORM":
            assert entry.filename == f"{name}.ckpt"
            assert entry.training == ("E-F" if name.endswith("_orig") else "E-F-H")
            assert entry.hessian_error is not None
    assert CATALOGUE["reactbench-leftnet-df"].filename == "leftnet-df.ckpt"
    # Training on Hessians made every network's Hessians better.
    for name in ("alpha", "left", "left-df", "eqv2"):
        trained, original = CATALOGUE[name], CATALOGUE[f"{name}_orig"]
        assert trained.network == original.network
        assert (trained.hessian_error or 9) < (original.hessian_error or 0)


def test_a_file_wins(folder: Path) -> None:
    (folder / "left.ckpt").touch()
    local = Path("left.ckpt")
    local.touch()
    assert find("left.ckpt") == local
    assert find(local.resolve()) == local.resolve()
    local.unlink()
    assert find("left.ckpt") == folder / "left.ckpt"
    Path("left").mkdir()
    assert find("left") == folder / "left.ckpt"


def test_home_is_understood(downloads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("my.ckpt").touch()
    assert find("~/my.ckpt") == Path.cwd() / "my.ckpt"


def test_order_in_the_folder(folder: Path, downloads: list[Any]) -> None:
    published = folder / "leftnet.ckpt"
    for file in (
        published,
        folder / "reactbench-leftnet.ckpt",
        folder / "reactbench-leftnet.safetensors",
    ):
        file.touch()
        assert find("reactbench-leftnet") == file
    assert find("leftnet.ckpt") == folder / "reactbench-leftnet.safetensors"
    assert not downloads


def test_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = folder / "cached"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: str(cached))
    assert find("eqv2") == cached
    (folder / "eqv2.ckpt").touch()
    assert find("eqv2") == folder / "eqv2.ckpt"
    # What the library answers for a file that it knows not to exist.
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: object())
    assert present(CATALOGUE["left"]) is None


def test_download(downloads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names: "/".join(names))
    assert find("eqv2") == Path("yhong55/HORM/eqv2.ckpt")
    assert find("reactbench-leftnet") == Path("yhong55/ReactBench/leftnet.ckpt")


def test_offline_error_says_what_to_do(folder: Path, downloads: list[Any]) -> None:
    with pytest.raises(CheckpointNotFound) as caught:
        find("left-df_orig")
    message = str(caught.value)
    assert downloads == [("yhong55/HORM", "left-df_orig.ckpt")]
    assert "https://huggingface.co/yhong55/HORM/resolve/main/left-df_orig.ckpt" in message
    assert "HORM_CHECKPOINTS" in message
    assert str(folder) in message
    assert "no connection" in message
    assert "\n" not in message
    assert isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eqv", "did you mean eqv2"),
        ("left-fd.ckpt", "did you mean left-df"),
        ("something", "known: horm-mini, horm-mini-xtb, alpha_orig,"),
        ("folder/left.ckpt", "no file folder/left.ckpt"),
        ("/nowhere/left", "no file /nowhere/left"),
        ("", "neither a file nor"),
        (".", "neither a file nor"),
    ],
)
def test_unknown(downloads: list[Any], name: str, message: str) -> None:
    with pytest.raises(CheckpointNotFound, match=message):
        find(name)
    assert not downloads


def test_wrong_folder(downloads: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.FOLDER, "/nowhere")
    with pytest.raises(CheckpointNotFound, match=r"HORM_CHECKPOINTS is set to /nowhere, which is"):
        find("left")
    assert not downloads
