"""What all commands have in common."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from horm_calc.commands.common import entry_point
from tests.places import REPOSITORY

COMMANDS = sorted(
    one.name for one in entry_points(group="console_scripts") if one.name.startswith("horm-")
)


def test_a_reader_that_ends_early_ends_the_command_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "horm_calc.commands.train", "--print-config"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize("arguments", [["train", "--print-config"], ["models"], ["models", "list"]])
def test_a_full_disk_behind_the_output(arguments: list[str]) -> None:
    command = [sys.executable, "-m", f"horm_calc.commands.{arguments[0]}", *arguments[1:]]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (1, 2)  # as each command has it


def printed(
    encoding: str, name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, int]:
    """What a command writes to a terminal of this encoding, and its exit code."""
    [found] = entry_points(group="console_scripts", name=name)
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding, write_through=True)
    with monkeypatch.context() as patched:
        for stream in ("stdout", "stderr"):
            patched.setattr(sys, stream, terminal)
        try:
            code = found.load()(arguments)
        except SystemExit as stop:
            code = stop.code
    return written.getvalue().decode(encoding), code


def test_all_commands_are_known() -> None:
    assert COMMANDS == [
        "horm-data", "horm-eval", "horm-label", "horm-merge", "horm-models", "horm-reactbench",
        "horm-report", "horm-status", "horm-thermo", "horm-train", "horm-tssearch",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "arguments", "meant"),
    [
        ("horm-tssearch", ["reactions.csv", "--otu", "runs"], "--out"),
        ("horm-label", ["a.xyz", "b.h5", "--levle=gfn2-xtb"], "--level"),
        ("horm-data", ["split", "--seeed", "1"], "--seed"),
        ("horm-eval", ["--hlep"], "--help"),
    ],
)
def test_a_misspelt_option_is_named_before_what_is_missing(
    command: str, arguments: list[str], meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, code = printed("utf-8", command, arguments, monkeypatch)
    assert code == 2
    assert text.endswith(f"did you mean {meant}?\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_in_every_terminal(
    command: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, code = printed(encoding, command, ["--help"], monkeypatch)
    assert code == 0
    assert "examples:" in text
    assert "\\u" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "utf-8"])
@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("horm-models", [], "horm-mini"),
        ("horm-models", ["show", "horm-mini-xtb"], "GFN2-xTB"),
        ("horm-models", ["show", "hörm-mini"], "h"),
        ("horm-train", ["--print-config"], "curriculum_end"),
        ("horm-data", ["info", "frames.xyz"], "frames"),
        ("horm-data", ["info", "Δ.xyz"], "xyz"),
        ("horm-label", ["Å.xyz", "ω.h5", "--level", "gfn2-xtb"], "horm-label: "),
        ("horm-eval", ["ν‡.safetensors", "frames.xyz"], "horm-eval: "),
        ("horm-tssearch", ["ΔE‡.csv", "--out", "Å"], "horm-tssearch: "),
    ],
)
def test_output_in_every_terminal(
    command: str,
    arguments: list[str],
    words: str,
    encoding: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=atoms.positions)
    write("frames.xyz", [atoms])
    text, code = printed(encoding, command, arguments, monkeypatch)
    assert code in (0, 1, 2)
    assert words in text
    assert "Traceback" not in text


def test_signs_of_the_field_are_replaced_by_similar_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))

    @entry_point
    def main() -> int:
        print("ΔE‡ ΔG‡ δH ν‡ ωB97X eV/Å² cm⁻¹ −7 … ‖x‖ ≥ 三 \udcff")
        return 0

    assert main() == 0
    assert written.getvalue() == b"DE# DG# dH v# wB97X eV/A2 cm-1 -7 ... |x| > ? ?\n"


def test_the_summary_in_a_terminal_without_unicode() -> None:
    """Tables keep their columns, and lines are drawn with what there is."""
    code = (
        "import dataclasses\n"
        "from horm_calc.commands.common import entry_point\n"
        "from rich.console import Console\n"
        "from reactbench_runner.report import table\n"
        "from reactbench_runner.storage.making import to_row\n"
        "from tests.reactbench_runner.stored import searched\n"
        "@entry_point\n"
        "def main():\n"
        "    row = dataclasses.replace(to_row(searched()), level_of_theory='ωB97X')\n"
        "    Console(width=100).print(table.summary_table([row]))\n"
        "    return 0\n"
        "raise SystemExit(main())"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        check=True,
    )
    table = done.stdout.decode("ascii").splitlines()
    assert len({len(line.rstrip()) for line in table if line.startswith("|")}) == 1
    assert any("DE#" in line and "DG#" in line for line in table)


SLEEPER = """
import os, sys, time
from horm_calc.commands.common import entry_point

@entry_point
def main():
    try:
        print("at work", flush=True)
        {at_work}
    finally:
        {tidying}
        print("tidied up", flush=True)
    return 0

sys.exit(main())
"""


def sleeper(at_work: str, tidying: str = "", **options: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER.format(at_work=at_work, tidying=tidying)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("at_work", ["time.sleep(60)", "[time.sleep(0.01) for _ in range(6000)]"])
def test_what_ends_a_command_lets_it_tidy_up(number: int, at_work: str) -> None:
    # Where the tests run in the background, Ctrl-C is ignored, and so by their children.
    process = sleeper(at_work, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process.send_signal(number)
    out, error = process.communicate(timeout=20)
    assert (out, error) == ("tidied up\n", "")
    assert process.returncode == 128 + number


def test_a_second_signal_does_not_disturb_the_tidying() -> None:
    process = sleeper("time.sleep(60)", tidying="time.sleep(1)")
    for _ in range(2):
        process.terminate()
        time.sleep(0.2)
    assert process.communicate(timeout=20) == ("tidied up\n", "")
    assert process.returncode == 128 + signal.SIGTERM


def test_what_is_ignored_stays_so() -> None:
    """As `nohup` wants it."""
    ignoring = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    process = sleeper("time.sleep(1)", preexec_fn=ignoring)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20) == ("tidied up\n", "")
    assert process.returncode == 0


def test_processes_forked_by_libraries_just_end() -> None:
    """As the loaders of training data do when they are told to."""
    code = (
        "pid = os.fork() or time.sleep(60)\n"
        "        time.sleep(0.3); os.kill(pid, 15); code = os.waitpid(pid, 0)[1]\n"
        "        print(os.waitstatus_to_exitcode(code), flush=True)"
    )
    process = sleeper(code)
    assert process.communicate(timeout=20) == ("143\ntidied up\n", "")
