"""What a person sees while a run goes on: in a terminal, in a log, in another terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from reactbench_runner.commands import showing, status
from reactbench_runner.execution.live import Running
from reactbench_runner.report import running
from reactbench_runner.report.running import table
from tests.places import REPOSITORY, STRUCTURES
from tests.reactbench_runner.calling import call, refused
from workflows.stage_names import Stage
from workflows.status import Status

#: GFN2-xTB that takes its time, so that there is something to see.
SLOW = """
import time
from horm_calc.xtb import XTB

class Slow(XTB):
    def calculate(self, *arguments, **named):
        time.sleep(0.02)
        super().calculate(*arguments, **named)

def slow(charge, multiplicity):
    return Slow(charge=charge, multiplicity=multiplicity, verbosity=0)
"""

#: Of a terminal: moves of the cursor, colours and what else is no text.
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: Columns and lines of the terminal.
COLUMNS, LINES = 80, 24

LONG = "a_reaction_whose_name_alone_is_longer_than_the_terminals_of_the_last_forty_years_were"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the table reactions.csv: twice HCN, and a file that is missing."""
    monkeypatch.chdir(tmp_path)
    lines = ["id,reaction", f"hcn,{STRUCTURES / 'hcn.xyz'}", f"{LONG},{STRUCTURES / 'hcn.xyz'}"]
    (tmp_path / "reactions.csv").write_text("\n".join([*lines, "gone,gone.xyz"]) + "\n")
    (tmp_path / "own.py").write_text(SLOW)
    return tmp_path


def in_terminal(folder: Path, *arguments: str) -> tuple[str, list[str], list[dict]]:
    """What the command prints there, and what horm-status says of it meanwhile, in both forms."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TERM": "xterm"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    module = "reactbench_runner.commands.tssearch"
    said, seen, told = b"", list[str](), list[dict]()
    with subprocess.Popen(
        [sys.executable, "-m", module, "reactions.csv", "--out", "out", *arguments],
        cwd=folder, env=environment, stdin=there, stdout=there, stderr=there,
    ) as process:  # fmt: skip
        os.close(there)
        with contextlib.suppress(OSError):  # the end, on Linux
            while chunk := os.read(here, 65536):
                said += chunk
                file = folder / "out" / "progress.json"
                if file.exists() and (found := json.loads(file.read_text())) not in told:
                    told.append(found)
        assert process.wait() == 3  # as a file is missing
    os.close(here)
    for one in told:
        now = one["written"]
        lines = status.lines(one | status.measured(one, now, alive=True), now, COLUMNS)
        seen.append("\n".join(lines))
    return said.decode(), seen, told


def test_a_terminal_and_another_one(folder: Path) -> None:
    """Both reactions in flight in one worker."""
    said, seen, told = in_terminal(folder, "--calculator", "own.py:slow", "--in-flight", "2")
    text = ESCAPE.sub("", said)
    number = r" +-?\d+\.\d"
    row = rf"{{}} +(path|saddle|irc) +1 +\d+( grad\.)?{number}{number}\d\d  0:00:\d\d"
    assert re.search(row.format("hcn"), text)
    assert re.search(row.format("a_reaction_w[a-z_]*…"), text)
    assert max(map(cell_len, re.split(r"[\r\n]+", text.split("┏")[0]))) <= COLUMNS
    assert "2 intended" in text
    assert "[1/3]" not in text  # lines are for --verbose
    # Both are in flight at once, and hcn's row says how far it is (a structure that is being
    # prepared has no energy and no force yet, and some moments were not looked at).
    both = [lines for one, lines in zip(told, seen, strict=True)
            if sum(bool(at["status"]) for at in one["running"]) == 2]  # fmt: skip
    row = r"(?m)^  hcn +(endpoints|path|saddle|irc|lower path) .*\d\.\d\d\d  0:00:"
    assert any(re.search(row, lines) for lines in both), both
    assert told[-1]["running"] == []
    assert "under way" not in seen[-1]


def test_a_pipe_with_everything(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert call("reactions.csv", "--out", "out", "--calculator", "gfn2-xtb", "--verbose") == 3
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "\r" not in text
    lines = [
        line for line in text.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)
    ]
    of_one = [line[20:] for line in lines if " hcn: " in line]
    assert of_one[0] == "[1/3] hcn: begun"
    stages = [found[1] for line in of_one if (found := re.search(r"hcn: ([a-z ]+), .* s$", line))]
    assert stages == ["endpoints", "path", "saddle", "irc", "irc ends", "lower path",
                      "thermochemistry", "intended"]  # fmt: skip
    assert "hcn: attempt 1: string, intended, saddle 73.2 kcal/mol above the reactant" in text
    assert "[2/3] hcn: intended, ΔE‡ 73.2 kcal/mol, ΔG‡ 68.3 kcal/mol, " in text
    assert f"[3/3] {LONG}: intended, " in text
    assert "[1/3] gone: failed (input): " in text
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [LONG in row for row in rows] == [False, True, False]
    assert "…" not in text
    # Once more: nothing is left to do but the file, and what was done is counted.
    assert call("reactions.csv", "--out", "out", "--calculator", "gfn2-xtb") == 3
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[\d-]+ [\d:]+ \[3/3\] 2 reactions had finished before", lines[1])
    assert "[3/3] gone: failed (input): " in lines[2]
    assert lines[3].startswith("┏")


def test_quiet_says_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "reactions.csv").write_text("id,reaction\ngone,gone.xyz\n")
    assert call("reactions.csv", "--out", "out", "--calculator", "gfn2-xtb", "--quiet") == 3
    out, error = capsys.readouterr()
    assert out == "0 of 1 intended, 1 failed; out/results.csv\n"
    assert error == ""
    flags = ("--out", "out", "--calculator", "gfn2-xtb", "--quiet", "--report")
    assert call("reactions.csv", *flags) == 3
    assert capsys.readouterr().out == out
    assert Path("out/report.html").exists()
    assert "gone.xyz" in refused(capsys, "gone.xyz", "--out", "other", "--quiet")
    with pytest.raises(SystemExit):
        call("reactions.csv", "--out", "out", "--quiet", "--verbose")
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_large_run_counts_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(showing, "_COUNTS_EVERY", 0.0)
        lines = showing.Lines(showing.console_of(), 20_000, "heading", verbose=False)
        lines.started()
        lines.running([])
        for verdict in ("intended", "intended", "failed"):
            lines.counted(verdict)
        lines.running([])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "heading"
    assert [line[20:] for line in said[1:]] == ["[3/20000] 2 of 3 intended, 1 failed"]


def many(count: int) -> list[Running]:
    stages = itertools.cycle([Stage.SADDLE, Stage.THERMOCHEMISTRY, Stage.SEPARATED])
    found = [
        Running(f"{'é' * (3 * number)}{number}", 0.0, Status(stage, number, number, 10 * number,
                -0.04 + 100.0 * number, 0.01 * number))
        for number, stage in zip(range(count - 1), stages, strict=False)
    ]  # fmt: skip
    return [*found, Running("later", None)]


@pytest.mark.parametrize("width", [*range(4, 130), None])
def test_the_table_fits(width: int | None) -> None:
    lines = table(many(9), 3700.0, width)
    assert len(lines) == 10
    assert {cell_len(line) for line in lines} == {cell_len(lines[0])}
    if width is None or width >= 108:
        assert lines[0].split() == [*running._WIDTHS]
        assert lines[1].split() == ["0", "saddle", "0", "0", "0.0", "0.000", "1:01:40"]
    if width is not None:
        assert cell_len(lines[0]) <= max(width, 8)
    if width is not None and width >= 60:
        assert "kcal/mol" in lines[0]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 50), (40, 10), (20, 5)])
def test_the_drawing_fits_its_terminal(width: int, height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    screen = showing.Screen(console, 50, "heading", verbose=False)
    screen._found = many(40)
    lines = console.render_lines(screen._drawing(), pad=False)
    assert len(lines) <= height
    text = ["".join(part.text for part in line) for line in lines]
    assert max(map(cell_len, text)) <= width
    if height < 44:  # but for the bar, the titles and this line all are reactions
        assert text[-1] == f"... and {40 - (len(lines) - 3)} more"


def test_the_bar_of_one_reaction_fills_with_its_stages() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    screen = showing.Screen(console, 1, "heading", verbose=False)
    parts = []
    begin = (Stage.PREPARATION, Stage.ENDPOINTS)
    for stage in (*begin, Stage.PATH, Stage.IRC, Stage.PATH, Stage.VERIFICATION):
        screen.running([Running("a", 0.0, Status(stage))])
        screen._drawing()
        parts.append(screen._bar.tasks[0].percentage)
    assert parts == sorted(parts)
    assert parts[0] == parts[1] == 0 < parts[2] < parts[3] == parts[-1] < 100
