"""`horm-label` as a user calls it: whole, interrupted, killed, and with wrong input."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write
from numpy.testing import assert_allclose, assert_array_equal

from horm_calc.commands import label as label_cli
from horm_calc.data.files import open_frames
from horm_calc.data.frames import iterate
from horm_calc.data.labelling.geometries import read_geometries
from horm_calc.data.labelling.journal import Journal
from horm_calc.data.labelling.labels import Settings
from tests.places import REPOSITORY


def call(*arguments: object) -> int:
    return label_cli.main([str(argument) for argument in arguments])


def path(count: int, name: str = "C2H6", seed: int = 0) -> list[Atoms]:
    """Geometries of one molecule, as along a reaction."""
    generator = np.random.default_rng(seed)
    images = [molecule(name) for _ in range(count)]
    for image in images:
        image.positions += generator.normal(scale=0.02, size=image.positions.shape)
    return images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(file: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(file) as opened:
        opened.visititems(keep)
    return found


def test_labels_a_folder_of_many_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder / "geometries"
    source.mkdir()
    write(source / "a.xyz", path(3))
    write(source / "b.traj", [*path(2, "H2O"), *path(2, "NH3")])
    named = molecule("CH4")
    named.info["reaction"] = "decay/1"
    write(source / "c.extxyz", [named, molecule("OH")])
    (source / "notes.txt").write_text("not a geometry")
    assert call("geometries", "out.h5", "--level", "gfn2-xtb", "--hessians", 0.5) == 0
    out = capsys.readouterr().out
    assert "9 geometries, GFN2-xTB (tblite" in out
    assert "out.h5: 8 frames" in out
    assert "frame 8 (c): the molecule has unpaired electrons" in out

    frames = open_frames(folder / "out.h5")
    assert frames.level_of_theory == "GFN2-xTB"
    assert sorted(set(frames.reactions)) == ["a", "b", "b-2", "decay_1"]
    assert sum(frame.hessian is not None for frame in iterate(frames)) in (3, 4)  # of 9, one fails
    expected = np.stack([image.positions for image in path(3)])
    assert_allclose(content(folder / "out.h5")["a/positions"], expected, atol=1e-7)

    with (folder / "out.failures.csv").open(encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert (row["frame"], row["reaction"]) == ("8", "c")
    assert sorted(file.name for file in folder.iterdir()) == [
        "geometries",
        "out.failures.csv",
        "out.h5",
    ]


def test_only_neutral_singlets_are_labelled(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As horm-tssearch understands their files."""
    (folder / "in").mkdir()
    for name, comment in {
        "a": "mult=3",
        "b": "0 3",
        "c": "charge: 0 multiplicity: 3",
        "d": "total_charge=-2",
        "e": "charge=0 spin=1 # a singlet",
        "f": "nelec=15",
        "g": "uhf=2",
    }.items():
        write(folder / "in" / f"{name}.xyz", molecule("H2CO"), format="xyz", comment=comment)
    write(folder / "in" / "h.traj", molecule("O2"))  # with magnetic moments
    deuterated = molecule("H2CO")
    deuterated.set_masses([12.011, 15.999, 2.014, 1.008])
    write(folder / "in" / "i.traj", deuterated)
    assert call("in", "out.h5", "--level", "gfn2-xtb") == 0
    assert sorted(open_frames(folder / "out.h5").reactions) == ["e", "i"]
    with (folder / "out.failures.csv").open(encoding="utf-8") as file:
        causes = {row["reaction"]: row["cause"] for row in csv.DictReader(file)}
    assert sorted(causes) == list("abcdfgh")
    for name, words in {
        "a": "unpaired electrons (mult=3)",
        "b": "unpaired electrons (0 3)",
        "c": "unpaired electrons (multiplicity: 3)",
        "d": "charged (total_charge=-2)",
        "f": "may be charged, say charge=0 and multiplicity=1 if it is not (nelec=15",
        "g": "unpaired electrons (uhf=2)",
        "h": "unpaired electrons (initial magnetic moments add up to 2, multiplicity 3)",
    }.items():
        assert words in causes[name]


def test_a_reaction_that_is_named_stays_one_whatever_its_molecules(folder: Path) -> None:
    images = [molecule("CH3OH"), molecule("CH3OH")[[1, 0, 2, 3, 4, 5]], molecule("H2CO")]
    for image in images:
        image.info["reaction"] = "rxn1"
    write(folder / "a.xyz", [*images, molecule("H2O")], format="extxyz")
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 0
    assert sorted(open_frames(folder / "out.h5").reactions) == ["a", "rxn1", "rxn1", "rxn1"]


def test_comments_with_words_are_no_charges(folder: Path) -> None:
    example = REPOSITORY / "examples" / "xyz" / "hcn.xyz"
    assert "charge 0" in example.read_text()
    assert call(example, "out.h5", "--level", "gfn2-xtb") == 0
    assert len(open_frames(folder / "out.h5")) == 2


def test_labels_frames_anew(folder: Path) -> None:
    write("a.xyz", path(2, "H2O"))
    assert call("a.xyz", "first.h5", "--level", "gfn1-xtb") == 0
    options = ["--level", "gfn2-xtb", "--hessians", 1, "--projections", 2, "--workers", 2]
    assert call("first.h5", "second.h5", *options) == 0
    first, second = open_frames("first.h5"), open_frames("second.h5")
    for old, new in zip(iterate(first), iterate(second), strict=True):
        assert_array_equal(old.positions, new.positions)
        assert old.energy != new.energy
        assert old.reaction == new.reaction == "a"
        assert new.hessian is None
        assert new.products is not None
        assert new.products.shape == (2, 3, 3)


def test_all_in_vain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.xyz", molecule("OH"))
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 1
    assert "no frame could be labelled" in capsys.readouterr().err
    assert sorted(file.name for file in folder.iterdir()) == ["a.xyz", "out.failures.csv"]


# --- interrupted


@contextlib.contextmanager
def at_work(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, when it has finished some frames."""
    log = folder / "out.partial-wal"
    before = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-m", "horm_calc.commands.label", "a.xyz", "out.h5", *options]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, and so by their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        while not log.exists() or abs(log.stat().st_size - before) < 50_000:
            assert process.poll() is None, "it was over before it could be interrupted"
            time.sleep(0.01)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_gone(group: int) -> None:
    """Until no process of the group is left, the workers of a killed parent included."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("workers have outlived their parent")


def test_interrupted_and_killed_runs_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.xyz", [*path(30), molecule("OH"), *path(10, seed=1)])
    options = ["--level", "gfn2-xtb", "--hessians", "0.5", "--workers", "2"]
    with at_work(folder, *options) as process:
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "the same command continues from here" in error
        assert "Traceback" not in error
        wait_until_gone(process.pid)
    with at_work(folder, *options) as process:
        process.kill()  # the workers notice by themselves
        process.wait()
        wait_until_gone(process.pid)
    assert not (folder / "out.h5").exists()

    assert call("a.xyz", "out.h5", *options, "--seed", 1) == 2
    assert "other seed" in capsys.readouterr().err
    assert call("a.xyz", "out.h5", *options) == 0
    before = int(capsys.readouterr().out.split(" of them finished before")[0].split()[-1])
    assert 4 < before < 41

    assert call("a.xyz", "whole.h5", *options) == 0
    resumed, whole = content(folder / "out.h5"), content(folder / "whole.h5")
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        assert_array_equal(resumed[key], value)
    assert (folder / "out.failures.csv").read_text() == (folder / "whole.failures.csv").read_text()
    assert not list(folder.glob("*.partial*"))


@pytest.fixture
def unfinished(folder: Path) -> Iterator[Journal]:
    """A run that has begun."""
    write("a.xyz", path(2, "H2O"))
    geometries = read_geometries(folder / "a.xyz")
    with contextlib.closing(
        Journal(folder / "out.partial", geometries, Settings("gfn2-xtb"))
    ) as journal:
        yield journal


def test_one_run_at_a_time(unfinished: Journal, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 2
    assert "out.partial: is in use by another horm-label" in capsys.readouterr().err
    unfinished.close()
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--level", "gfn1-xtb"], "other level"),
        (["--level", "gfn2-xtb", "--hessians", "1"], "other hessians"),
        (["--level", "gfn2-xtb", "--max-force", "20"], "other max force"),
    ],
)
def test_other_settings_do_not_go_on(
    options: list[str], message: str, unfinished: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished.close()
    assert call("a.xyz", "out.h5", *options) == 2
    assert message in capsys.readouterr().err
    assert unfinished.path.exists()


def test_other_geometries_do_not_go_on(
    unfinished: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished.close()
    write("a.xyz", path(2, "H2O", seed=1))
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 2
    assert "other geometries" in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement",
    [
        "update run set description = '{'",
        "update run set description = '[1, 2]'",
        "update run set description = 5",
        "update run set description = null",
        "delete from run",
        "insert into run values ('{}')",
        "insert into labels values (7, 'no such geometry', null, null, null, null)",
        "insert into labels values (-3, null, 1.0, x'00', null, null)",
        "insert into labels values (0, null, 1.0, x'00', null, null)",
        "insert into labels values (0, null, null, null, null, null)",
        "insert into labels values (0, null, 'low', zeroblob(72), null, null)",
    ],
)
def test_a_damaged_run_is_named(
    statement: str, unfinished: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished.close()
    with contextlib.closing(sqlite3.connect(unfinished.path)) as file:
        file.execute(statement)
        file.commit()
    assert call("a.xyz", "out.h5", "--level", "gfn2-xtb") == 2
    error = capsys.readouterr().err
    assert error.startswith("horm-label: ")
    assert f"{unfinished.path.name}: " in error
    assert "Delete it to label all frames anew." in error
    assert unfinished.path.exists()


# --- wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.xyz", "out.h5"], "none.xyz: does not exist"),
        (["empty", "out.h5"], "a folder without frames"),
        (["empty.xyz", "out.h5"], "empty.xyz: frame 0 cannot be read"),
        (["cut.xyz", "out.h5"], "cut.xyz: frame 1 cannot be read"),
        (["text.xyz", "out.h5"], "text.xyz: frame 0 cannot be read"),
        (["torn.h5", "out.h5"], "torn.h5: cannot be read as HDF5"),
        (["good.xyz", "out.xyz"], "must end in .h5"),
        (["good.xyz", "none/out.h5"], "its folder does not exist"),
        (["good.xyz", "torn.h5"], "exists already"),
        (["good.xyz", "junk.h5"], "junk.partial: cannot be used"),
        (["good.xyz", "barred.h5"], "barred.partial: cannot be made"),
        (["good.xyz", "out.h5", "--workers", "0"], "--workers: at least 1"),
        (["good.xyz", "out.h5", "--hessians", "10"], "not within 0 to 1"),
        (["good.xyz", "out.h5", "--projections", "3"], "the fraction of Hessians is 0"),
        (["good.xyz", "out.h5", "--level", "gfn3-xtb"], "gfn2-xtb, gfn1-xtb, wb97x, wb97x-coarse"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "empty.xyz").touch()
    write("good.xyz", path(2, "H2O"))
    lines = (folder / "good.xyz").read_text().splitlines(keepends=True)
    (folder / "cut.xyz").write_text("".join(lines[:-1]))
    (folder / "text.xyz").write_text("three atoms, all of them nice\n")
    (folder / "torn.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    (folder / "junk.partial").write_bytes(b"not a database" * 100)
    (folder / "barred.partial").mkdir()
    before = sorted(folder.iterdir())
    level = [] if "--level" in arguments else ["--level", "gfn2-xtb"]
    assert call(*arguments, *level) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert message in error
    assert error.startswith("horm-label: ")
    assert error.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_help_teaches_and_is_quick() -> None:
    code = (
        "import sys; from horm_calc.commands.label import _parser; "
        "print(_parser().format_help()); "
        "print(sorted({'torch', 'tblite', 'pyscf', 'ase', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    *text, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    for expected in ("eV/Å²", "--projections", "wb97x", "kill -9", "examples:", "Exit code"):
        assert any(expected in line for line in text)
