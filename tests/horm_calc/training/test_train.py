"""Whole runs of `horm-train`, tiny ones: what they leave, how they go on, what they refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule

from horm_calc import HormCalculator
from horm_calc.checkpoints import read
from horm_calc.configuration import from_mapping, to_mapping
from horm_calc.training.curves import read_metrics
from horm_calc.training.hdf5 import write_hdf5
from horm_calc.training.settings import TrainingSettings
from horm_calc.training.train_cli import default_config, main
from tests.horm_calc.training.labelled import TINY, frames

Values = dict[str, Any]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of four molecules, half of them with Hessians."""
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    write_hdf5(path, frames(), "Morse")
    return path


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(file: Path, **groups: Values) -> Values:
    values: dict[str, Values] = {
        "data": {"train": [str(file)], "validation_fraction": 0.25, "batch_size": 4},
        "network": {"config": TINY},
        "loss": {"probe": "projections"},
        "optimizer": {"learning_rate": 0.01, "ema_decay": 0.9},
        "run": {"steps": 12, "validate_every": 6, "accelerator": "cpu", "threads": 1},
    }
    for group, changes in groups.items():
        values[group] = values[group] | changes
    return values


def horm_train(values: Values, out: str = "out") -> int:
    Path("config.yaml").write_text(yaml.safe_dump(values))
    return main(["config.yaml", "--out", out])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["current_model_state"]


def test_a_run_learns_and_leaves_what_it_says(data, empty, capsys) -> None:
    run = {"steps": 80, "validate_every": 20}
    network = {"config": {**TINY, "channels": 16, "heads": 4, "hidden": 32}}
    assert horm_train(settings(data, run=run, network=network)) == 0
    out = capsys.readouterr().out
    assert out.count("validation E") == 4
    for name in ("best.ckpt", "last.ckpt", "curves.png", "settings.json", "tensorboard"):
        assert (empty / "out" / name).exists(), name
    errors = [error for _, error in read_metrics(empty / "out" / "logs")["train/forces"]]
    labels = np.concatenate([frame.forces for frame in frames()])
    assert np.mean(errors[2:]) < 0.3 * np.abs(labels).mean()


def test_a_run_shorter_than_its_first_validation_has_a_best_network_too(data, empty) -> None:
    assert horm_train(settings(data, run={"steps": 3, "validate_every": 1000})) == 0
    assert np.isfinite(HormCalculator("out/best.ckpt").evaluate([molecule("H2O")])[0]["energy"])


def test_checkpoints_carry_what_they_were_trained_on(data, empty) -> None:
    assert horm_train(settings(data)) == 0
    calculator = HormCalculator(empty / "out" / "best.ckpt")
    assert calculator.level_of_theory == "Morse"
    metadata = read(empty / "out" / "best.ckpt").metadata
    assert metadata["data"]["frames"] == 12
    assert metadata["data"]["with_second_derivatives"] == 6
    assert metadata["training_config"]["loss"]["probe"] == "projections"
    atoms = molecule("H2O")
    shift = sum({"H": 2, "O": 1}[s] * metadata["references"][s] for s in "HO")
    bare = HormCalculator(empty / "out" / "best.ckpt", atomic_references=False)
    energy = calculator.get_potential_energy(atoms)
    assert energy == pytest.approx(bare.get_potential_energy(atoms) + shift, abs=1e-5)
    assert calculator.get_property("hessian", atoms).shape == (9, 9)


def command(values: Values, folder: Path, out: str) -> list[str]:
    config = folder / f"{out}.yaml"
    config.write_text(yaml.safe_dump(values))
    program = "from horm_calc.training.train_cli import main; raise SystemExit(main())"
    return [sys.executable, "-c", program, str(config), "--out", str(folder / out)]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_killed_run_goes_on_to_the_same_weights(data, tmp_path, optimizer) -> None:
    """Killed without warning in mid-run; a checkpoint after every step makes it a short test."""
    run = {"steps": 30, "validate_every": 10, "checkpoint_minutes": 1e-6}
    values = settings(data, run=run, optimizer={"name": optimizer})
    subprocess.run(command(values, tmp_path, "whole"), check=True, capture_output=True)
    process = subprocess.Popen(command(values, tmp_path, "killed"), stdout=subprocess.DEVNULL)
    last = tmp_path / "killed" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(last, weights_only=True)["global_step"]
    assert 0 < done < 30
    subprocess.run(command(values, tmp_path, "killed"), check=True, capture_output=True)
    for name in ("last.ckpt", "best.ckpt"):
        whole, killed = (
            torch.load(tmp_path / folder / name, weights_only=True)
            for folder in ("whole", "killed")
        )
        assert whole["global_step"] == killed["global_step"]
        for kind in ("current_model_state", "state_dict"):
            assert whole[kind].keys() == killed[kind].keys()
            for key, value in whole[kind].items():
                assert torch.equal(value, killed[kind][key]), (name, kind, key)


def test_a_run_with_other_settings_is_not_gone_on_with(data, empty, capsys) -> None:
    assert horm_train(settings(data)) == 0
    assert horm_train(settings(data, loss={"probe": "rows"})) == 2
    assert "loss.probe" in capsys.readouterr().err
    assert horm_train(settings(data, run={"max_minutes": 5.0})) == 0
    # Nor does a setting change that did not exist when the run began.
    file = Path("out/settings.json")
    before = json.loads(file.read_text())
    assert before["optimizer"].pop("name") == "adamw"
    file.write_text(json.dumps(before))
    assert horm_train(settings(data)) == 0
    file.write_text(json.dumps(before))
    assert horm_train(settings(data, optimizer={"name": "muon"})) == 2
    assert "optimizer.name" in capsys.readouterr().err


def test_training_starts_from_other_weights_with_frozen_parts(data, empty) -> None:
    assert horm_train(settings(data), "first") == 0
    network = {"init_from": "first/best.ckpt", "frozen": ["species.*", "layers.0.*"]}
    values = settings(data, optimizer={"weight_decay": 0.0})
    values["network"] = network
    assert horm_train(values, "second") == 0
    before = torch.load("first/best.ckpt", weights_only=True)["state_dict"]
    after = weights(empty / "second" / "last.ckpt")
    for key, value in after.items():
        frozen = key.startswith(("potential.species", "potential.layers.0."))
        assert torch.equal(before[key], value) == frozen, key


def test_the_largest_molecule_of_an_earlier_training_is_remembered(data, empty) -> None:
    values = settings(data, data={"validation": []}, run={"steps": 1, "validate_every": 1})
    assert horm_train(values, "first") == 0
    before = read(empty / "first" / "last.ckpt").metadata["data"]["most_atoms"]
    assert before == 6
    small = [frame for frame in frames() if len(frame.numbers) < 5]
    write_hdf5(empty / "small.h5", small, "Morse")
    assert max(len(frame.numbers) for frame in small) == 4
    values["data"] |= {"train": ["small.h5"], "validation_fraction": 0.4}
    for init_from, most in (("", 4), ("first/last.ckpt", before)):
        values["network"]["init_from"] = init_from
        out = f"from{bool(init_from)}"
        assert horm_train(values, out) == 0
        assert read(empty / out / "last.ckpt").metadata["data"]["most_atoms"] == most


def test_time_runs_out(data, empty) -> None:
    run = {"steps": 1_000_000, "max_minutes": 0.02, "validate_every": 1_000_000}
    assert horm_train(settings(data, run=run)) == 0
    assert 0 < torch.load("out/last.ckpt", weights_only=True)["global_step"] < 1_000_000


@pytest.mark.parametrize(
    ("group", "changes", "message"),
    [
        ("data", {"train": []}, "data.train"),
        ("data", {"train": ["nowhere.h5"]}, "nowhere.h5"),
        ("data", {"train": "frames.h5"}, "needs a list"),
        ("data", {"bach_size": 4}, "did you mean 'data.batch_size'"),
        ("data", {"validation_fraction": 0.01}, "too few to hold some out"),
        ("loss", {"probe": "row"}, "rows, projections"),
        ("network", {"name": "MomentNets"}, "MomentNet"),
        ("network", {"config": {"chanels": 4}}, "chanels"),
        ("network", {"frozen": ["layer.*"]}, "no parameter is called 'layer.*'"),
        ("network", {"frozen": ["*"]}, "leaves no parameter"),
        ("network", {"init_from": "no.ckpt"}, "no.ckpt"),
        ("run", {"precision": "bf16-mixed"}, "32-true"),
        ("run", {"steps": 0}, "above 0"),
        ("optimizer", {"learning_rate": "fast"}, "needs a number"),
    ],
)
def test_wrong_settings_are_named(data, empty, capsys, group, changes, message) -> None:
    assert horm_train(settings(data, **{group: changes})) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("horm-train: ")
    assert error.count("\n") == 1


def test_reactions_in_both_sets_are_refused(data, empty, capsys) -> None:
    assert horm_train(settings(data, data={"validation": [str(data)]})) == 2
    assert "4 reactions also in data.train" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_run(data, empty, capsys) -> None:
    assert horm_train(settings(data, optimizer={"learning_rate": 1e30, "clip": "none"})) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_printed_settings_are_the_defaults(capsys) -> None:
    assert main(["--print-config"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == default_config().strip()
    assert from_mapping(TrainingSettings, yaml.safe_load(printed)) == TrainingSettings()
    assert to_mapping(TrainingSettings()).keys() == yaml.safe_load(printed).keys()
