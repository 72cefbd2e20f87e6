"""`horm-eval` as it is called: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols

from horm_calc.checkpoints.files import save
from horm_calc.commands.eval import main
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame
from horm_calc.potential import load_potential
from horm_calc.references import LEVEL_OF_THEORY, reference_energy
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import CONFIGS, small, write

MOLECULES = [crooked(name, seed) for name in ("H2O", "CH3OH") for seed in range(4)]


def labelled(checkpoint: Path, molecules: Sequence[Atoms] = MOLECULES) -> list[Frame]:
    """What the network of the checkpoint says; Hessians of every second one."""
    potential = load_potential(checkpoint, "cpu", "float64")
    energies, hessians = potential.energies_and_forces(molecules), potential.hessians(molecules)
    return [
        Frame(
            atoms.numbers,
            atoms.positions,
            energy + reference_energy(atoms.numbers, potential.references),
            forces,
            hessian if place % 2 == 0 else None,
            reaction=atoms.get_chemical_formula(),
        )
        for place, (atoms, (energy, forces), hessian) in enumerate(
            zip(molecules, energies, hessians, strict=True)
        )
    ]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("network"), "LEFTNet")


@pytest.fixture(scope="module")
def own(checkpoint: Path) -> list[Frame]:
    return labelled(checkpoint)


@pytest.fixture
def data(own: list[Frame], tmp_path: Path) -> Path:
    write_hdf5(tmp_path / "own.h5", own, LEVEL_OF_THEORY)
    return tmp_path / "own.h5"


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr with which wrong input is refused."""
    assert call(*arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert err.startswith("horm-eval: ")
    assert "Traceback" not in err
    return err


def errors_of(folder: Path) -> dict[str, dict[str, float]]:
    errors: dict[str, dict[str, float]] = json.loads((folder / "metrics.json").read_text())[
        "errors"
    ]
    return errors


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_own_labels(checkpoint: Path, data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "results" / "own"
    options = ["--dtype", "float64", "--device", "cpu", "--stationary", 0]
    assert call(checkpoint, data, *options, "--out", out) == 0
    printed, err = capsys.readouterr()
    assert "warning" not in err
    for text in ("4 of the 4 frames", "Hartree/Bohr²", "1 Hartree/Bohr² = 97.17 eV/Å²", "100.0%"):
        assert text in printed.replace("\n", " ")
    assert max(map(len, printed.splitlines())) <= 80
    errors = errors_of(out)
    assert errors["energy_error_ev"]["frames"] == 8
    assert errors["energy_error_ev"]["mean"] < 1e-8
    assert errors["relative_energy_error_ev"]["frames"] == 8
    assert errors["forces_error_ev_per_a"]["mean"] < 1e-10
    # The file keeps Hessians in float32: 6e-8 of elements of at most some 10 eV/Å².
    for name in ("hessian", "eigenvalues"):
        assert errors[f"{name}_error_ev_per_a2"]["frames"] == 4
        assert errors[f"{name}_error_ev_per_a2"]["mean"] < 1e-6
    assert errors["frequencies_error_cm1"]["mean"] < 0.01
    assert errors["same_imaginary"]["mean"] == 1
    assert errors["products_error_ev_per_a2"] == {"frames": 0, "mean": None, "median": None}
    assert errors["gibbs_error_kcal_per_mol"]["mean"] is None
    assert "below the limit in 0 of the frames" in " ".join(printed.split())


def test_wrong_labels(checkpoint: Path, own: list[Frame], tmp_path: Path, capsys) -> None:
    wrong = [
        replace(
            frame,
            energy=frame.energy + 10 + 0.2 * (place % 2),
            forces=frame.forces - 0.03,
            hessian=None if frame.hessian is None else frame.hessian + 0.3,
        )
        for place, frame in enumerate(own)
    ]
    write_hdf5(tmp_path / "wrong.h5", wrong, LEVEL_OF_THEORY)
    assert call(checkpoint, tmp_path / "wrong.h5", "--out", tmp_path / "out") == 0
    assert "0.1000" in capsys.readouterr().out
    errors = errors_of(tmp_path / "out")
    # In float32, the default, energies have 1e-6 eV and forces 1e-5 eV/Å of rounding.
    assert errors["energy_error_ev"]["mean"] == pytest.approx(10.1, abs=1e-4)
    assert errors["energy_error_ev"]["median"] == pytest.approx(10.1, abs=1e-4)
    assert errors["relative_energy_error_ev"]["mean"] == pytest.approx(0.1, abs=1e-4)
    assert errors["forces_error_ev_per_a"]["mean"] == pytest.approx(0.03, abs=1e-4)
    assert errors["hessian_error_ev_per_a2"]["mean"] == pytest.approx(0.3, abs=1e-3)


def test_files_agree_with_one_another(
    checkpoint: Path, own: list[Frame], tmp_path: Path, capsys
) -> None:
    rng = np.random.default_rng(0)
    wrong = [replace(frame, energy=frame.energy + rng.normal()) for frame in own]
    write_hdf5(tmp_path / "wrong.h5", wrong, "another")
    out = tmp_path / "out"
    assert call(checkpoint, tmp_path / "wrong.h5", "--limit", 3, "--seed", 7, "--out", out) == 0
    told = json.loads((out / "metrics.json").read_text())
    frames = rows_of(out / "frames.csv")
    assert [row["frame"] for row in frames] == [str(place) for place in range(8)]
    # Groups of the file are in the alphabet's order.
    assert [row["reaction"] for row in frames] == ["CH4O"] * 4 + ["H2O"] * 4
    energies = np.array([float(row["energy_error_ev"]) for row in frames])
    assert told["errors"]["energy_error_ev"]["mean"] == pytest.approx(np.abs(energies).mean())
    hessians = [row["hessian_error_ev_per_a2"] for row in frames]
    assert sum(value != "" for value in hessians) == 3
    assert told["frames"] == 8
    assert told["frames_with_second_derivatives"] == 4
    assert told["about"]["seed"] == 7
    assert np.sum(told["imaginary_modes"]["confusion"]) == 3
    table = {(r["group"], r["bin"], r["quantity"]): r for r in rows_of(out / "table.csv")}
    row = table["all", "all", "energy_error_ev"]
    assert float(row["median"]) == pytest.approx(np.median(np.abs(energies)))
    by_size = table["atoms", "6-10", "energy_error_ev"]
    assert by_size["frames"] == "4"
    assert float(by_size["mean"]) == pytest.approx(np.abs(energies[:4]).mean())
    plots = {path.name for path in out.glob("*.png")}
    parity = {"relative_energy", "forces", "eigenvalues", "frequencies"}
    assert plots == {f"parity_{name}.png" for name in parity} | {"error_by_size.png"}
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in plots)
    assert len(list(out.iterdir())) == len(plots) + 3


def test_labels_of_another_method_are_warned_of(
    checkpoint: Path, own: list[Frame], tmp_path: Path, capsys
) -> None:
    write_hdf5(tmp_path / "a.h5", own, "GFN2-xTB")
    assert call(checkpoint, tmp_path / "a.h5", "--no-hessians") == 0
    warning = capsys.readouterr().err
    assert "ωB97X/6-31G(d) and the labels are GFN2-xTB" in warning
    write_hdf5(tmp_path / "b.h5", own, "")
    assert call(checkpoint, tmp_path / "b.h5", "--no-hessians") == 0
    assert "do not say by what method" in capsys.readouterr().err


def test_zeros_and_method_of_a_network_are_its_own(tmp_path: Path, capsys) -> None:
    own = {1: -13.6, 6: -1030.0, 7: -1480.0, 8: -2040.0}
    told = {"references": {chemical_symbols[z]: value for z, value in own.items()}}
    checkpoint = tmp_path / "trained.safetensors"
    metadata = told | {"level_of_theory": "GFN2-xTB"}
    save(checkpoint, small("MomentNet").state_dict(), CONFIGS["MomentNet"], metadata)
    frames = labelled(checkpoint)
    assert frames[0].energy == pytest.approx(-2040 - 2 * 13.6, abs=20)
    write_hdf5(tmp_path / "a.h5", frames, "GFN2-xTB")
    assert call(checkpoint, tmp_path / "a.h5", "--out", tmp_path / "out", "--no-hessians") == 0
    assert "warning" not in capsys.readouterr().err
    assert errors_of(tmp_path / "out")["energy_error_ev"]["mean"] < 1e-3


def test_without_hessians(checkpoint: Path, own: list[Frame], tmp_path: Path, capsys) -> None:
    flat = [replace(frame, hessian=None) for frame in own]
    write_hdf5(tmp_path / "flat.h5", flat, LEVEL_OF_THEORY)
    error = refused(capsys, checkpoint, tmp_path / "flat.h5", "--out", tmp_path / "out")
    assert "no frame has a Hessian" in error
    assert "--no-hessians" in error
    out = tmp_path / "out"
    assert call(checkpoint, tmp_path / "flat.h5", "--out", out, "--no-hessians") == 0
    printed = capsys.readouterr().out
    assert "imaginary" not in printed
    assert "Gibbs energy G" in printed  # with a dash
    names = {path.name for path in out.glob("*.png")}
    assert names == {"parity_relative_energy.png", "parity_forces.png", "error_by_size.png"}


def test_wrong_input(checkpoint: Path, data: Path, own: list[Frame], tmp_path: Path, capsys):
    missing = refused(capsys, tmp_path / "no.ckpt", data)
    assert "no.ckpt" in missing
    assert "nowhere.h5" in refused(capsys, checkpoint, tmp_path / "nowhere.h5")
    (tmp_path / "cut.h5").write_bytes(data.read_bytes()[:3000])
    assert "cut.h5" in refused(capsys, checkpoint, tmp_path / "cut.h5")
    (tmp_path / "empty").mkdir()
    assert "without frames" in refused(capsys, checkpoint, tmp_path / "empty")
    assert "--device gpu" in refused(capsys, checkpoint, data, "--device", "gpu")
    numbers = np.where(own[0].numbers == 8, 16, own[0].numbers)
    write_hdf5(
        tmp_path / "s.h5",
        [*own[1:], replace(own[0], numbers=numbers, reaction="x")],
        LEVEL_OF_THEORY,
    )
    error = refused(capsys, checkpoint, tmp_path / "s.h5")
    assert "H2S of reaction 'x'" in error
    assert "H, C, N, O" in error
    write_hdf5(tmp_path / "plain.h5", [replace(one, hessian=None) for one in own], "")
    new = tmp_path / "new"
    error = refused(capsys, checkpoint, tmp_path / "plain.h5", "--out", new)
    assert "no frame has a Hessian" in error
    assert not new.exists()
    taken = ("--no-hessians", "--out", tmp_path / "cut.h5")
    assert "exists already" in refused(capsys, checkpoint, tmp_path / "plain.h5", *taken)


def test_results_are_never_mixed(checkpoint: Path, data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert call(checkpoint, data, "--out", out, "--limit", 1) == 0
    before = (out / "metrics.json").read_bytes()
    capsys.readouterr()
    assert "exists already" in refused(capsys, checkpoint, data, "--out", out)
    assert (out / "metrics.json").read_bytes() == before
    assert "exists already" in refused(capsys, checkpoint, data, "--out", data)


@pytest.mark.parametrize("wrong", [["--limit", "0"], ["--limit", "a"], ["--stationary", "-1"]])
def test_wrong_numbers(wrong: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["a.ckpt", "b.h5", *wrong])
    assert caught.value.code == 2
    assert "number" in capsys.readouterr().err


def test_help_is_light_and_teaches() -> None:
    code = (
        "import sys\nfrom horm_calc.commands.eval import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'rich', 'numpy', 'h5py', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True
    )
    for text in ("examples:", "97.17 eV/Å²", "arXiv:2505.12447", "Hartree/Bohr²", "Exit code"):
        assert text in done.stdout


def test_an_interrupted_evaluation_leaves_no_results(
    checkpoint: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from horm_calc.evaluation import evaluate as module

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_second_derivatives", interrupt)
    out = tmp_path / "out"
    assert call(checkpoint, data, "--out", out) == 130
    assert list(out.iterdir()) == []
    monkeypatch.undo()
    assert call(checkpoint, data, "--out", out) == 0  # the empty folder is no obstacle
