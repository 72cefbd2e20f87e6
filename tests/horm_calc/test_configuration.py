"""Files of settings from anywhere: their values, or one line that says what is wrong."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from horm_calc.configuration import SettingsError, from_mapping, read_json, read_yaml, shown
from horm_calc.training.settings import TrainingSettings

GOOD = """\
data: {train: [a.h5], validation: [], batch_size: 4}
network: {name: MomentNet, config: {channels: 8}}
loss: {probe: rows, energy: 1.0}
run: {steps: 5, max_minutes: 1e3}
"""


def settings(path: Path, text: str | bytes) -> TrainingSettings:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return from_mapping(TrainingSettings, read_yaml(path, "data: {train: [frames.h5]}"))


def refusal(path: Path, text: str | bytes) -> str:
    with pytest.raises(SettingsError) as caught:
        settings(path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_ordinary_files(file: Path) -> None:
    found = settings(file, GOOD)
    assert (found.data.batch_size, found.run.max_minutes) == (4, 1000.0)
    assert settings(file, "") == settings(file, "# nothing\n") == TrainingSettings()


def test_what_is_said_once_may_be_referred_to(file: Path) -> None:
    found = settings(file, "data: {train: &files [a.h5, b.h5], validation: *files}")
    assert found.data.validation == ["a.h5", "b.h5"]
    found = settings(file, "run: &run {seed: 3}\nloss: {}\n")
    assert found.run.seed == 3


def doubling(form: str, count: int = 30) -> str:
    """Ten thousand million values in a few lines, each of which refers to the one before."""
    lines = ["a0: &a0 {x: 1}"]
    return "\n".join(
        lines + [form.format(name=f"a{i}", before=f"*a{i - 1}") for i in range(1, count)]
    )


@pytest.mark.parametrize(
    "text",
    [
        doubling("{name}: &{name} [{before}, {before}]"),
        doubling("{name}: &{name} {{x: {before}, y: {before}}}"),
        doubling("{name}: &{name} {{<<: [{before}, {before}, {before}]}}"),
        "network: {config: {a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], "
        + ", ".join(
            f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]"
            for m, n in zip("abcdef", "bcdefg", strict=True)
        )
        + "}}",
        "data: {level_of_theory: &a [*a]}",
        "network: {config: &a {x: *a}}",
        "data: &a [" + "x, " * 200 + "]\nloss: [" + "*a, " * 200 + "]",
    ],
)
def test_references_that_unfold_without_end(file: Path, text: str) -> None:
    start = time.monotonic()
    assert "refers to itself" in refusal(file, text)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 1_000, "is not valid YAML"),
        ("{a: " * 5_000, "is not valid YAML"),
        ("#" + "x" * 20_000_000, "larger than any settings"),
        ("- a\n" * 100_000, "larger than any settings"),
        (GOOD + "run: {steps: 6}", "'run' is set twice (line 5)"),
        ("run: {steps: 5, seed: 1, steps: 6}", "'steps' is set twice (line 1)"),
        ("network: {config: {channels: 8, channels: 16}}", "'channels' is set twice"),
        (b"run: {steps: \xff}", "cannot read"),
        (b"\x00\x01", "is not valid YAML"),
        ("a: b: c", "is not valid YAML"),
        ("- run", "must hold names and values"),
        ("2024-01-01", "must hold names and values"),
        ("run: {max_minutes: 2024-13-45}", "is not valid YAML"),
        ("run: {seed: !!int ''}", "is not valid YAML"),
        ("run: {seed: !!bool x}", "is not valid YAML"),
        ("? [a, b]\n: c", "is not valid YAML"),
        ("run: !!python/object/apply:os.system [echo]", "is not valid YAML"),
    ],
)
def test_files_that_are_none(file: Path, text: str | bytes, message: str) -> None:
    assert message in refusal(file, text)
    assert str(file) in refusal(file, text) or "set twice" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {level_of_theory: 2024-01-01}", "needs text, not datetime.date(2024, 1, 1)"),
        ("data: {level_of_theory: [[[1]]]}", "needs text, not [[[1]]]"),
        ("data: {level_of_theory: no}", "needs text, not False"),
        ("data: {train: a.h5}", "'data.train' needs a list, not 'a.h5'"),
        ("data: {train: [a.h5, 5]}", "'data.train' needs a list of texts"),
        ("data: {train: {a.h5: 1}}", "'data.train' needs a list"),
        ("run: {seed: !!binary aGk=}", "'run.seed' needs a whole number, not b'hi'"),
        ("run: {seed: !!set {a}}", "'run.seed' needs a whole number"),
        ("run: {seed: .nan}", "'run.seed' needs a whole number, not nan"),
        ("run: {seed: 1e3}", "'run.seed' needs a whole number, not '1e3'"),
        ("run: {seed: 99999999999999999999}", "'run.seed' is 99999999999999999999; it must be at"),
        ("run: {steps: 0x" + "f" * 9000 + "}", "'run.steps' is <int>; it must be at most"),
        ("run: {steps: -0x" + "f" * 9000 + "}", "'run.steps' is <int>; it must be above 0"),
        ("run: {max_minutes: .nan}", "'run.max_minutes' is nan; it must be finite"),
        ("run: {max_minutes: -.inf}", "'run.max_minutes' is -inf; it must be finite"),
        ("loss: {energy: 1e999}", "'loss.energy' is inf; it must be finite"),
        ("loss: {energy: 0x" + "f" * 400 + "}", "it must be at most"),
        ("loss: {energy: " + "9" * 400 + "}", "it must be at most"),
        ("loss: {probe: [rows]}", "'loss.probe' is ['rows']; it can be rows"),
        ("loss: {probe: {rows: 1}}", "it can be rows"),
        ("loss: 5", "'loss' needs settings below it"),
        ("loss: ~", "'loss' needs settings below it"),
        ("network: {config: [channels]}", "'network.config' needs names and values"),
        ("network: {config: {1: 2, x: 3}}", "needs names that are texts, not [1, 'x']"),
        ("network: {config: {~: 2}}", "needs names that are texts, not [None]"),
        ("1: 2", "unknown setting '1'"),
        ("~: 2", "unknown setting 'None'"),
        ("2024-01-01: 2", "unknown setting 'datetime.date"),
        ("loss: {1.5: 2}", "unknown setting 'loss.1.5'"),
        ("x" * 900 + ": 2", "unknown setting 'xxx"),
    ],
)
def test_wild_values(file: Path, text: str, message: str) -> None:
    assert message in refusal(file, text).replace("''", "'")


def test_damage_is_always_told(file: Path) -> None:
    """Random damage: settings or the one error, never anything else."""
    chance, outcomes = random.Random(0), {"read": 0, "refused": 0}
    parts = (
        b"&a ",
        b"*a",
        b"!!int ",
        b"[",
        b"}",
        b"\x00",
        b"2024-99-99",
        b"0x",
        b": ",
        b"\n",
        b"5",
        b"1",
    )
    for _ in range(400):
        data = bytearray(GOOD.encode())
        for _ in range(chance.randint(1, 2)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 3)] = chance.choice(parts)
        try:
            settings(file, bytes(data))
            outcomes["read"] += 1
        except SettingsError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10


def test_commands_say_it_in_one_line(file: Path) -> None:
    """As a user sees it, of both commands that read settings."""
    file.write_text("a: &a [x, x]\n" + doubling("{name}: &{name} [{before}, {before}]"))
    for module, arguments in (
        ("horm_calc.commands.train", [file, "--out", file.parent / "out"]),
        (
            "reactbench_runner.commands.tssearch",
            [file, "--out", file.parent / "out", "--config", file],
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 2
        assert "refers to itself" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("", "is damaged"),
        ("[1, 2]", "must hold names and values"),
        ("null", "must hold names and values"),
        ("[" * 100_000, "is damaged"),
        ('{"a": ' + "9" * 5000 + "}", "is damaged"),
        ("x" * 300_000, "larger than any settings"),
    ],
)
def test_damaged_json(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot read"):
        read_json(path)


def test_values_are_shown_short() -> None:
    nested: list[object] = []
    nested.append(nested)
    for value in ("x" * 10**6, [0] * 10**6, 16**9000, nested, {i: i for i in range(1000)}, "a\nb"):
        assert len(shown(value)) < 250
        assert "\n" not in shown(value)
