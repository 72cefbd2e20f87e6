from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch

from horm_calc.checkpoints import catalogue
from horm_calc.checkpoints import files as checkpoints
from horm_calc.commands.models import main
from horm_calc.models.registry import NETWORKS, Architecture
from tests.horm_calc.checkpoint_files import toy_state, write
from tests.places import REPOSITORY


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    def download(*_: str) -> str:
        raise OSError("no connection")

    target = "tests.horm_calc.checkpoint_files:Toy"
    monkeypatch.setitem(NETWORKS, "Toy", Architecture(target))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setenv(catalogue.FOLDER, str(tmp_path))
    return tmp_path


def errors(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr with which a command refuses."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("horm-models: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_list(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "left.ckpt").touch()
    assert main(arguments) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["eqv2"] == [
        "eqv2",
        "EquiformerV2",
        "E-F-H",
        "0.077",
        "0.070",
        "BY-NC-SA",
        "4.0",
        "no",
    ]
    assert rows["reactbench-leftnet"][3:5] == ["-", "-"]
    assert rows["left"][-1] == "yes"
    assert f"left: {folder / 'left.ckpt'}" in out.splitlines()
    assert max(map(len, out.splitlines()[:13])) <= 80


def test_list_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "left.safetensors").touch()
    assert main(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == 12
    assert rows["left"]["file"] == str(folder / "left.safetensors")
    assert rows["eqv2"]["file"] is None
    assert rows["eqv2"]["url"] == "https://huggingface.co/yhong55/HORM/resolve/main/eqv2.ckpt"
    assert rows["eqv2"]["level_of_theory"] == "ωB97X/6-31G(d)"


def test_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "left.ckpt").touch()
    assert main(["path", "left"]) == 0
    assert capsys.readouterr().out == f"{folder / 'left.ckpt'}\n"
    assert "resolve/main/eqv2.ckpt" in errors(capsys, "path", "eqv2")
    assert "did you mean eqv2" in errors(capsys, "path", "eqv")


def shown(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, str]:
    """The card that a person sees, by label; wrapped lines are one again."""
    assert main(["show", name]) == 0
    title, card = capsys.readouterr().out.split("\n\n")
    told, last = {"": title}, ""
    for line in card.splitlines():
        label = line[:12].strip()
        told[label or last] = line[14:] if label else f"{told[last]} {line[14:]}"
        last = label or last
    return told


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder / "my own.ckpt", toy_state(), epoch="\x1b[2J")
    told = shown(capsys, str(path))
    assert told[""].startswith("my own.ckpt: a machine-learned potential, Toy, at a level")
    assert told["network"] == f"Toy, {2 * (3 * 2 + 3)} parameters; its weights fit"
    assert told["sha256"] == checkpoints.read(path).sha256
    assert told["trained on"] == told["licence"] == "not stated"
    assert (told["charge"], told["multiplicity"]) == ("0", "1")
    assert told["file"].startswith(f"{path} (0.0 MB, ")
    assert told["in Python"] == f"calculator = horm_calc.HormCalculator({str(path)!r})"
    assert told["in a shell"].endswith(f"--calculator 'horm:{path}'")
    write(path, {"potential.layers.0.weight": torch.ones(3, 2)})
    assert "1 missing: layers.0.bias" in errors(capsys, "show", str(path))
    path.write_bytes(b"PK\x03\x04")
    assert "damaged" in errors(capsys, "show", str(path))
    assert "did you mean eqv2" in errors(capsys, "show", "eqv", "--json")


def test_show_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(folder / "my.ckpt", toy_state(), epoch="\x1b[2J")
    assert main(["show", str(path), "--json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii() and "\x1b" not in out
    record = json.loads(out)
    assert record["parameters"] == 18
    assert record["metadata"]["epoch"] == "\x1b[2J"
    assert record["configuration"]["name"] == "Toy"
    assert record["charges"] == [0]
    assert (record["published"], record["sha256"]) == (None, checkpoints.read(path).sha256)


def test_show_knows_what_is_published(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = catalogue.Entry("toy", "Toy", "E-F-H", 0.1, 0.25)
    monkeypatch.setitem(catalogue.CATALOGUE, "toy", entry)
    write(folder / "toy.ckpt", toy_state())
    told = shown(capsys, "toy")
    assert told[""] == (
        "toy (by the file's name): a machine-learned potential, Toy, at ωB97X/6-31G(d)"
    )
    assert told["trained on"] == "energies, forces and Hessians at ωB97X/6-31G(d)"
    assert told["errors"].startswith("Hessians 0.100 eV/Å², their eigenvalues 0.250 eV/Å² (mean")
    assert told["source"] == entry.url
    estimated = dataclasses.replace(entry, labels="labels that were estimated")
    monkeypatch.setitem(catalogue.CATALOGUE, "toy", estimated)
    assert shown(capsys, "toy")["trained on"].endswith("; labels that were estimated")
    write(folder / "left.ckpt", toy_state())  # no LEFTNet
    assert "LEFTNet" not in " ".join(shown(capsys, "left").values())


@pytest.mark.parametrize("name", ["horm-mini", "horm-mini-xtb"])
def test_show_what_comes_with_the_package(name: str) -> None:
    """As it is typed; the errors are those of the model card."""
    command = [sys.executable, "-m", "horm_calc.commands.models", "show", name]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(f"{name}: a machine-learned potential, MomentNet, at ")
    assert "MomentNet, 884,325 parameters" in done.stdout
    assert "H, C, N and O" in done.stdout
    assert "comes with this package" in done.stdout
    assert f"--calculator horm:{name}\n" in done.stdout
    card = (REPOSITORY / "docs" / "models" / f"{name}.md").read_text("utf-8")
    [line] = [one for one in done.stdout.splitlines() if one.startswith("errors")]
    for error in re.findall(r"\d\.\d+", line):
        assert f"| {error} " in card


def test_convert(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write(folder / "my.ckpt", toy_state()), folder / "my.safetensors"
    assert main(["convert", str(source), str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    first, second = checkpoints.read(source), checkpoints.read(target)
    assert second.config == first.config
    origin = {"file": "my.ckpt", "sha256": first.sha256}
    assert second.metadata == {**first.metadata, "converted_from": origin}
    assert all(second.state[key].equal(value) for key, value in first.state.items())
    assert "exists already" in errors(capsys, "convert", str(source), str(target))
    assert "end in .safetensors" in errors(capsys, "convert", str(source), str(folder / "a.ckpt"))
    lost = folder / "none" / "a.safetensors"
    refused = errors(capsys, "convert", str(source), str(lost))
    assert f"{lost}: cannot be written (No such file or directory)" in refused


def test_convert_writes_only_what_loads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "my.safetensors"
    path = write(folder / "my.ckpt", toy_state() | {"potential.extra": torch.ones(1)})
    assert "1 surplus: extra" in errors(capsys, "convert", str(path), str(target))
    assert not target.exists()


def test_help_is_light_and_teaches() -> None:
    code = (
        "import sys\nfrom horm_calc.commands.models import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'huggingface_hub', 'rich', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    for word in ("examples:", "horm-models convert eqv2", "HORM_CHECKPOINTS", "Exit code"):
        assert word in done.stdout


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["convert", "only one"])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
