from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from horm_calc.commands.data import main
from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import HDF5Frames, write_hdf5
from horm_calc.data.frames import fingerprint, iterate
from tests.horm_calc.data.frame_sets import frame, real


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line on stderr with which a command refuses."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("horm-data: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Twenty reactions of water, three frames each, the first with a Hessian."""
    frames = [frame(3 * r + i, reaction=f"r{r}", whole=i == 0) for r in range(20) for i in range(3)]
    write_hdf5(tmp_path / "labels.h5", frames, "GFN2-xTB")
    return tmp_path / "labels.h5"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_convert_there_and_back(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(capsys, "convert", labels, tmp_path / "x.xyz")
    assert out == f"{tmp_path / 'x.xyz'}: 60 frames of 20 reactions, 20 with second derivatives\n"
    run(capsys, "convert", tmp_path / "x.xyz", tmp_path / "back.h5")
    first, second = open_frames(labels), open_frames(tmp_path / "back.h5")
    assert second.level_of_theory == "GFN2-xTB"
    assert first.reactions == second.reactions
    assert first.has_second_derivatives.tolist() == second.has_second_derivatives.tolist()
    for one, other in zip(iterate(first), iterate(second), strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-8)
        assert one.energy == other.energy


def test_convert_several_files_of_which_one_says_the_method(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.h5"
    write_hdf5(other, [frame(99, (1, 6, 7), "r0"), frame(98, reaction="a/b")], "")
    assert "--level" in refused(capsys, "convert", other, tmp_path / "x.h5")
    text = refused(capsys, "convert", labels, tmp_path / "x.h5", "--level", "HF")
    assert "labels of GFN2-xTB, not of HF" in text
    run(capsys, "convert", other, tmp_path / "x.h5", "--level", "HF/6-31G*")
    assert open_frames(tmp_path / "x.h5").level_of_theory == "HF/6-31G*"
    text = refused(capsys, "convert", labels, other, tmp_path / "both.h5")
    assert "other.h5: does not say" in text
    assert "--level" in text
    run(capsys, "convert", labels, other, tmp_path / "both.h5", "--level", "GFN2-xTB")
    both = open_frames(tmp_path / "both.h5")
    assert len(both) == 62
    assert both.reactions.count("r0") == 4
    assert both.reactions.count("a/b") == 1


def test_convert_horm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reactions of several atom orders; nothing changes but the symmetry of the Hessians."""
    source = real("horm_sample_100.lmdb")
    run(capsys, "convert", source, tmp_path / "x.h5")
    before = {one.energy: one for one in iterate(open_frames(source))}
    after = {one.energy: one for one in iterate(open_frames(tmp_path / "x.h5"))}
    assert len(after) == len(before) == 100
    for energy, one in before.items():
        np.testing.assert_array_equal(one.numbers, after[energy].numbers)
        np.testing.assert_array_equal(one.positions, after[energy].positions)
        np.testing.assert_array_equal(one.forces, after[energy].forces)
        assert one.reaction == after[energy].reaction
        symmetric = 0.5 * (one.hessian + one.hessian.T)
        np.testing.assert_allclose(after[energy].hessian, symmetric, atol=1e-5)
    assert HDF5Frames(tmp_path / "x.h5").level_of_theory == "ωB97X/6-31G(d)"


def test_split_then_check(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = tmp_path / "train.h5", tmp_path / "test.h5"
    out = run(capsys, "split", labels, train, test, "--fraction", "0.2", "--seed", "3")
    assert out.splitlines()[1] == f"{test}: 12 frames of 4 reactions, 4 with second derivatives"
    parts = [open_frames(path) for path in (train, test)]
    assert sorted([*parts[0].reactions, *parts[1].reactions]) == open_frames(labels).reactions
    assert parts[0].level_of_theory == "GFN2-xTB"
    assert run(capsys, "check", train, test) == "nothing in common: 48 and 12 frames\n"
    again = tmp_path / "again.h5"
    run(capsys, "split", labels, tmp_path / "rest.h5", again, "--fraction", "0.2", "--seed", "3")
    assert fingerprint(open_frames(again)) == fingerprint(parts[1])


def test_split_by_names(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = tmp_path / "names.txt"
    names.write_text("r3\n\n  r17 \n")
    train, test = tmp_path / "train.h5", tmp_path / "test.xyz"
    run(capsys, "split", labels, train, test, "--reactions", names)
    assert set(open_frames(test).reactions) == {"r3", "r17"}
    assert len(open_frames(train)) == 54
    names.write_text("r3\nr99\n")
    arguments = ("split", labels, tmp_path / "a.h5", tmp_path / "b.h5", "--reactions", names)
    assert "no frames of r99" in refused(capsys, *arguments)
    assert not (tmp_path / "a.h5").exists()


def test_check_names_what_is_shared(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.h5"
    write_hdf5(other, [frame(4, reaction="z"), frame(99, reaction="r5")], "")
    assert main(["check", str(labels), str(other)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "reaction in both: r5",
        "same geometries: 1 frame of r1 in the first, z in the second",
        "in both: 1 reaction and 1 frame of the first set",
    ]


def test_info_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    atoms = molecule("H2O")
    stable = 10 * np.eye(9)
    bonds = (atoms.positions - atoms.positions[0]).ravel()  # stretched, which turns nothing
    saddle = stable - 100 * np.outer(bonds, bonds)
    one, other = frame(0, reaction="a", whole=True), frame(1, reaction="b", vectors=2)
    at = {"numbers": atoms.numbers, "positions": atoms.positions, "energy": -10.0}
    frames = [
        type(one)(**vars(one) | at | {"hessian": stable}),
        type(one)(**vars(one) | at | {"hessian": saddle}),
        type(one)(**vars(other) | at | {"energy": -7.0, "forces": np.full((3, 3), 2.0)}),
    ]
    write_hdf5(tmp_path / "x.h5", frames, "GFN2-xTB")
    lines = run(capsys, "info", tmp_path / "x.h5", "--png", tmp_path / "x.png").splitlines()
    facts = {line[:18].strip(): line[19:] for line in lines}
    assert facts["frames"] == "3"
    assert facts["reactions"] == "2, of 1 to 2 frames"
    assert facts["level of theory"] == "GFN2-xTB"
    assert facts["atoms in a frame"] == "3"
    assert facts["elements"] == "H 6, O 3 atoms"
    assert facts["Hessians"] == "2, and 1 frame with products of it"
    # Mean -9 of 2 h + o, the shortest solution.
    assert facts["energies of atoms"] == "H -3.600, O -1.800 eV (fitted)"
    assert facts["energies"].startswith("-1.000 to 2.000 eV")
    assert facts["forces on atoms"].endswith(f"all below {2 * 3**0.5:.3f}")
    assert facts["imaginary modes"].startswith("0: 1, 1: 1 (")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_info_without_hessians(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hdf5(tmp_path / "x.h5", [frame(0), frame(1)], "")
    out = run(capsys, "info", tmp_path / "x.h5", "--png", tmp_path / "x.png")
    assert "imaginary" not in out
    assert "level of theory    not stated" in out
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_info_of_ranges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One number where both are the same, and the plural only of many."""
    frames = [frame(i, reaction=f"r{i // 2}") for i in range(4)]
    for count, told in ((1, "1, of 1 frame"), (2, "1, of 2 frames"), (4, "2, of 2 frames each")):
        write_hdf5(tmp_path / f"{count}.h5", frames[:count], "GFN2-xTB")
        lines = run(capsys, "info", tmp_path / f"{count}.h5").splitlines()
        assert f"reactions          {told}" in lines
        assert "atoms in a frame   3" in lines
    alone = [frame(i, reaction=f"r{i}") for i in range(2)]
    write_hdf5(tmp_path / "alone.h5", alone, "GFN2-xTB")
    assert "2, of 1 frame each\n" in run(capsys, "info", tmp_path / "alone.h5")
    mixed = [*frames, type(frames[0])(np.array([1, 1]), np.eye(2, 3), -1.0, np.zeros((2, 3)))]
    write_hdf5(tmp_path / "mixed.h5", mixed, "GFN2-xTB")
    out = run(capsys, "info", tmp_path / "mixed.h5")
    assert "3, of 1 to 2 frames\n" in out
    assert "2 to 3, mean 2.8\n" in out


def test_wrong_input(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.h5"
    for arguments, problem in (
        (("info", tmp_path / "absent.h5"), "absent.h5: does not exist"),
        (("info", tmp_path / "cache.txt"), "cache.txt: does not exist"),
        (("info", labels, "--png", tmp_path / "no" / "x.png"), "x.png: its folder does not exist"),
        (("convert", labels, labels), "labels.h5: exists already"),
        (("convert", labels, tmp_path / "x.json"), "does not end with one of .h5"),
        (("convert", labels, tmp_path / "no" / "x.h5"), "its folder does not exist"),
        (("split", labels, new, new), "named for both sets"),
        (("split", labels, new, labels), "labels.h5: exists already"),
        (("split", labels, new, tmp_path / "b.h5", "--fraction", "2"), "between 0 and 1"),
        (("split", labels, new, tmp_path / "b.h5", "--reactions", tmp_path / "no"), "No such file"),
        (("check", labels, tmp_path / "absent"), "absent: does not exist"),
    ):
        assert problem in refused(capsys, *arguments)
    assert {path.name for path in tmp_path.iterdir()} == {"labels.h5"}


def test_cut_input(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels.write_bytes(labels.read_bytes()[:5000])
    assert "labels.h5: cannot be read as HDF5" in refused(capsys, "info", labels)
    assert "cannot be read" in refused(capsys, "convert", labels, tmp_path / "x.h5")


def test_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a file never has the name of a whole one, and is not in the way of the next try."""
    source, target = real("xtb_dev.h5"), tmp_path / "x.xyz"
    arguments = ["convert", str(source), str(target), "--level", "GFN2-xTB"]
    child = subprocess.Popen([sys.executable, "-m", "horm_calc.commands.data", *arguments])
    while not list(tmp_path.iterdir()):
        assert child.poll() is None
        time.sleep(0.01)
    child.kill()
    child.wait()
    [partial] = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    write_hdf5(tmp_path / "few.h5", [frame(0)], "GFN2-xTB")
    run(capsys, "convert", tmp_path, target)  # the folder: what was left in it is no set of frames
    assert len(open_frames(target)) == 1


def test_as_a_program(labels: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "horm_calc.commands.data", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=labels.parent)

    done = call("info", "labels.h5")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("frames             60\n")
    assert call("check", "labels.h5", "labels.h5").returncode == 1
    help_text = call("--help").stdout
    assert "examples:" in help_text
    assert max(map(len, help_text.splitlines())) <= 110  # but for addresses
    wrong = call("convert", "labels.h5")
    assert wrong.returncode == 2
    assert "usage: horm-data convert" in wrong.stderr


class Kaggle(BaseHTTPRequestHandler):
    """As much of Kaggle as a download needs."""

    archive = b""
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/GetDataset"):
            self.answer(json.dumps({"currentVersionNumber": 5}).encode(), "application/json")
        else:
            self.answer(self.archive, "application/zip")

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Kaggle]]:
    """Kaggle on this machine; its client has one such address, with a fixed port."""
    try:
        server = HTTPServer(("localhost", 7777), Kaggle)
    except OSError:
        pytest.skip("port 7777 is taken")
    for name in [key for key in os.environ if key.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    monkeypatch.setattr(Kaggle, "status", 200)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Kaggle
    server.shutdown()
    server.server_close()


def test_download(kaggle: type[Kaggle], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("ts1x-val.lmdb", b"frames")
    kaggle.archive = content.getvalue()
    assert main(["download", str(tmp_path / "horm")]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path.read_bytes() == b"frames"
    assert (path.name, tmp_path in path.parents) == ("ts1x-val.lmdb", True)


def test_download_without_leave(
    kaggle: type[Kaggle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(Kaggle, "status", 403)
    assert main(["download", str(tmp_path / "horm")]) == 2
    text = capsys.readouterr().err
    assert "could not be downloaded (403 Client Error.)" in text
    assert "https://www.kaggle.com/settings" in text


def test_download_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nothing answers
    monkeypatch.setenv("KAGGLEHUB_CACHE", "")
    text = refused(capsys, "download", tmp_path / "horm")
    assert "could not be downloaded" in text
    assert "Without a network, get it elsewhere" in text
