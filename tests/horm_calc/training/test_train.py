"""Whole runs of `horm-train`, tiny ones: what they leave, how they go on, what they refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule

from horm_calc import HormCalculator
from horm_calc.checkpoints.files import read
from horm_calc.commands.train import default_config, main
from horm_calc.configuration import from_mapping, to_mapping
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.training.callbacks import KeepBest
from horm_calc.training.curves import read_metrics
from horm_calc.training.module import TrainingModule
from horm_calc.training.settings import TrainingSettings
from tests.horm_calc.data.labelled import TINY, frames

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
    program = "from horm_calc.commands.train import main; raise SystemExit(main())"
    return [sys.executable, "-c", program, str(config), "--out", str(folder / out)]


def test_a_killed_run_goes_on_to_the_same_weights(data, tmp_path) -> None:
    """Killed without warning in mid-run; a checkpoint after every step makes it a short test.

    Interrupted runs, below, go on with AdamW; this one with Muon.
    """
    run = {"steps": 20, "validate_every": 10, "checkpoint_minutes": 1e-6}
    values = settings(data, run=run, optimizer={"name": "muon"})
    subprocess.run(command(values, tmp_path, "whole"), check=True, capture_output=True)
    process = subprocess.Popen(command(values, tmp_path, "killed"), stdout=subprocess.DEVNULL)
    last = tmp_path / "killed" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = torch.load(last, weights_only=True)["global_step"]
    assert 0 < done < 20
    subprocess.run(command(values, tmp_path, "killed"), check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def assert_same_run(first: Path, second: Path) -> None:
    """The same weights, bit for bit."""
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (torch.load(out / name, weights_only=True) for out in (first, second))
        assert one["global_step"] == other["global_step"]
        for kind in ("current_model_state", "state_dict"):
            assert one[kind].keys() == other[kind].keys()
            for key, value in one[kind].items():
                assert torch.equal(value, other[kind][key]), (name, kind, key)


def after(method: Any, calls: int, error: type[BaseException] = KeyboardInterrupt) -> Any:
    """The method, which at the end of one of its calls is interrupted."""
    count = 0

    def interrupted(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        result = method(self, *arguments, **named)
        if count == calls:
            raise error
        return result

    return interrupted


@pytest.mark.parametrize(
    ("kind", "method", "calls", "done"),
    [
        (TrainingModule, "validation_step", 1, 5),
        (torch.optim.AdamW, "step", 9, 6),
        (TrainingModule, "training_step", 9, 8),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_weights(
    data, empty, capsys, monkeypatch, kind, method, calls, done
) -> None:
    """Also where the mean of the weights stands in their place, or they are half changed."""
    values = settings(data)
    assert horm_train(values, "whole") == 0
    validations = [line for line in capsys.readouterr().out.splitlines() if "validation" in line]
    assert len(validations) == 2
    with monkeypatch.context() as patched:
        patched.setattr(kind, method, after(getattr(kind, method), calls))
        assert horm_train(values, "interrupted") == 130
    assert torch.load("interrupted/last.ckpt", weights_only=True)["global_step"] == done
    assert horm_train(values, "interrupted") == 0
    both = [line for line in capsys.readouterr().out.splitlines() if "validation" in line]
    assert both == validations
    assert_same_run(empty / "whole", empty / "interrupted")


def test_a_run_whose_folder_was_moved_keeps_its_best_network(data, empty, monkeypatch) -> None:
    # With a rate this high the network gets worse from the second validation on.
    optimizer = {"learning_rate": 0.3, "ema_decay": 0.0}
    values = settings(data, optimizer=optimizer, run={"steps": 8, "validate_every": 2})
    with monkeypatch.context() as patched:
        patched.setattr(KeepBest, "on_validation_end", after(KeepBest.on_validation_end, 3))
        assert horm_train(values) == 130
    before = torch.load("out/best.ckpt", weights_only=True)["global_step"]
    Path("out").rename("moved")
    assert horm_train(values, "moved") == 0
    assert before < 6
    assert torch.load("moved/best.ckpt", weights_only=True)["global_step"] == before


def test_patience_may_change_when_a_run_goes_on(data, empty, monkeypatch) -> None:
    optimizer = {"learning_rate": 0.3, "ema_decay": 0.0}
    run = {"steps": 40, "validate_every": 2, "patience": 100}
    with monkeypatch.context() as patched:
        patched.setattr(KeepBest, "on_validation_end", after(KeepBest.on_validation_end, 3))
        assert horm_train(settings(data, optimizer=optimizer, run=run)) == 130
    assert horm_train(settings(data, optimizer=optimizer, run=run | {"patience": 1})) == 0
    assert torch.load("out/last.ckpt", weights_only=True)["global_step"] < 40


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
    # With this seed the largest molecule is not held out.
    values = settings(data, run={"steps": 1, "validate_every": 1, "seed": 4})
    assert horm_train(values, "first") == 0
    before = read(empty / "first" / "last.ckpt").metadata["data"]["most_atoms"]
    assert before == 6
    small = [
        replace(frame, reaction=f"ammonia {place}")
        for place, frame in enumerate(frame for frame in frames() if len(frame.numbers) == 4)
    ]
    write_hdf5(empty / "small.h5", small, "Morse")
    assert max(len(frame.numbers) for frame in small) == 4
    values["data"] |= {"train": ["small.h5"], "validation_fraction": 0.4}
    for init_from, most in (("", 4), ("first/last.ckpt", before)):
        values["network"]["init_from"] = init_from
        out = f"from{bool(init_from)}"
        assert horm_train(values, out) == 0
        assert read(empty / out / "last.ckpt").metadata["data"]["most_atoms"] == most


def test_a_fine_tuning_tells_of_its_start(data, empty, capsys) -> None:
    assert horm_train(settings(data), "first") == 0
    good = {"network": {"init_from": "first/best.ckpt"}}
    lines = {}
    for out, rate in (("better", 0.003), ("worse", 0.1)):
        values = settings(data, optimizer={"learning_rate": rate, "clip": "none"}) | good
        capsys.readouterr()
        assert horm_train(values, out) == 0
        told = capsys.readouterr()
        steps = [line for line in told.out.splitlines() if line.startswith("step ")]
        assert [line.split(":")[0] for line in steps] == ["step 0", "step 6", "step 12"]
        lines[out] = steps[0], told.err
    # The same network on the same frames, whatever comes next; and what the first run ended with.
    assert lines["better"][0] == lines["worse"][0]
    assert lines["better"][1] == ""
    assert lines["worse"][1].startswith(
        "horm-train: warning: this training made first/best.ckpt worse: its validation loss was "
    )
    assert lines["worse"][1].count("\n") == 1
    kept = read(empty / "worse" / "last.ckpt").metadata["validation_loss_at_start"]
    assert f"loss {kept:.4g}" in lines["worse"][0]
    # It is remembered when the run is resumed, which does not look at the start again.
    capsys.readouterr()
    values["run"]["max_minutes"] = 5.0
    assert horm_train(values, "worse") == 0
    told = capsys.readouterr()
    assert "step 0" not in told.out
    assert "made first/best.ckpt worse" in told.err


def test_a_run_is_called_after_its_folder(data, empty, capsys) -> None:
    assert horm_train(settings(data, run={"steps": 1}), "first") == 0
    (empty / "first" / "best.ckpt").rename("mine.ckpt")
    assert HormCalculator("first/last.ckpt", device="cpu").potential.label == "first/last"
    assert HormCalculator("mine.ckpt", device="cpu").potential.label == "mine"


def test_a_bug_is_no_wrong_input(data, empty, monkeypatch) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("of ours")

    monkeypatch.setattr("horm_calc.training.train.train", broken)
    with pytest.raises(ValueError, match="of ours"):
        horm_train(settings(data))


def test_hardware_that_is_not_there_is_named(data, empty, capsys) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert horm_train(settings(data, run={"accelerator": "cuda"})) == 2
    assert capsys.readouterr().err.startswith("horm-train: run.accelerator, run.devices: ")


def test_references_go_on_too(data, empty) -> None:
    """Those of the weights at first; of another level, corrected where frames show by how much."""
    assert horm_train(settings(data, run={"steps": 1}), "first") == 0
    before = read(empty / "first" / "last.ckpt").metadata["references"]
    shift = {1: -10.0, 8: 30.0}
    other = [
        replace(frame, energy=frame.energy + sum(shift[int(z)] for z in frame.numbers))
        for frame in frames()
        if set(frame.numbers.tolist()) <= set(shift)
    ]
    other += [replace(frame, reaction="again") for frame in other]
    moved = [replace(frame, positions=frame.positions * (1 + 0.001 * i), reaction=f"r{i}")
             for i, frame in enumerate(other)]  # fmt: skip
    for level in ("Morse", "another"):
        write_hdf5(empty / f"{level}.h5", moved, level)
        values = settings(empty / f"{level}.h5", run={"steps": 1})
        values["network"] = {"init_from": "first/last.ckpt"}
        assert horm_train(values, level) == 0
        after = read(empty / level / "last.ckpt").metadata["references"]
        if level == "Morse":
            assert after == before
        else:
            assert {name: after[name] for name in "CN"} == {name: before[name] for name in "CN"}
            sums = [2 * told["H"] + told["O"] for told in (after, before)]
            assert sums[0] - sums[1] == pytest.approx(10.0, abs=3.0)


def test_a_run_does_not_go_on_with_other_data(data, empty, capsys) -> None:
    live = empty / "live.h5"
    write_hdf5(live, frames(), "Morse")
    assert horm_train(settings(live, run={"steps": 2})) == 0
    live.unlink()
    write_hdf5(live, [replace(one, energy=one.energy + 1) for one in frames()], "Morse")
    capsys.readouterr()
    assert horm_train(settings(live, run={"steps": 2})) == 2
    assert "trained on other frames" in capsys.readouterr().err


@pytest.mark.parametrize("kept", [0, 1000])
def test_a_damaged_checkpoint_is_named(data, empty, capsys, kept) -> None:
    Path("out").mkdir()
    whole = empty / "whole.ckpt"
    torch.save({"state_dict": {"x": torch.zeros(1000)}}, whole)
    Path("out/last.ckpt").write_bytes(whole.read_bytes()[:kept])
    assert horm_train(settings(data)) == 2
    error = capsys.readouterr().err
    assert error.startswith("horm-train: out/last.ckpt: ")
    assert error.count("\n") == 1
    assert "Delete it to begin anew" in error


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
        ("data", {"train": [3]}, "'data.train' needs a list of texts"),
        ("data", {"validation_fraction": 2}, "at most 1"),
        ("data", {"curved_fraction": 5}, "at most 1"),
        ("loss", {"curriculum_begin": 3}, "'loss.curriculum_begin' (3): set both"),
        ("network", {"init_from": "horm-mini"}, "network.config.channels, "),
        ("network", {"init_from": "horm-mini", "config": {}, "name": "LEFTNet"}, "network.name"),
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
    assert not Path("out").exists()


def test_reactions_in_both_sets_are_refused(data, empty, capsys) -> None:
    assert horm_train(settings(data, data={"validation": [str(data)]})) == 2
    assert "4 reactions also in data.train" in capsys.readouterr().err


def test_shared_molecules_under_other_names_are_warned_of(data, empty, capsys) -> None:
    held = [replace(frame, reaction=f"as {frame.reaction}") for frame in frames()[:5]]
    write_hdf5(empty / "held.h5", held, "Morse")
    values = settings(data, data={"validation": ["held.h5"]}, run={"steps": 1})
    assert horm_train(values) == 0
    errors = capsys.readouterr().err.splitlines()
    told = [line for line in errors if line.startswith("horm-train: warning: 5 of 5 frames of")]
    assert len(told) == 1


def test_a_loss_that_is_not_finite_ends_the_run(data, empty, capsys) -> None:
    assert horm_train(settings(data, optimizer={"learning_rate": 1e30, "clip": "none"})) == 2
    assert "learning_rate" in capsys.readouterr().err


def test_printed_settings_are_the_defaults(capsys) -> None:
    assert main(["--print-config"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() == default_config().strip()
    assert from_mapping(TrainingSettings, yaml.safe_load(printed)) == TrainingSettings()
    assert to_mapping(TrainingSettings()).keys() == yaml.safe_load(printed).keys()


@pytest.mark.parametrize(
    "content",
    ["{", "", "[1]", "null", '{"run": 5}', '{"rnu": {}}', '{"run": {"steps": NaN}}', "[" * 10_000],
)
def test_damaged_settings_of_a_run_are_named(data, empty, capsys, content) -> None:
    Path("out").mkdir()
    torch.save({"state_dict": {"x": torch.zeros(1)}}, "out/last.ckpt")
    Path("out/settings.json").write_text(content)
    assert horm_train(settings(data)) == 2
    error = capsys.readouterr().err
    assert error.startswith("horm-train: out/settings.json does not say how the run began (")
    assert error.count("\n") == 1
    assert "delete out/last.ckpt" in error


def test_a_checkpoint_of_another_program_is_no_run(data, empty, capsys) -> None:
    assert horm_train(settings(data, run={"steps": 1})) == 0
    saved = torch.load("out/last.ckpt", weights_only=True)
    own = saved["hyper_parameters"]
    for changes in (
        {"global_step": "many"},
        {"global_step": -5},
        {"global_step": None},
        {"hyper_parameters": own | {"data": "a.h5"}},
        {"hyper_parameters": own | {"data": None}},
        {"hyper_parameters": own | {"references": [1, 2]}},
        {"hyper_parameters": own | {"references": {"H": "low"}}},
    ):
        torch.save(saved | changes, "out/last.ckpt")
        capsys.readouterr()
        assert horm_train(settings(data, run={"steps": 1})) == 2, changes
        error = capsys.readouterr().err
        assert error.startswith("horm-train: out/last.ckpt: ")
        assert error.count("\n") == 1
        assert "Delete it to begin anew" in error
