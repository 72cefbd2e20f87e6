"""`horm-tssearch` killed in the middle of a search, and started again."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.io import write

from reactbench_runner.storage.run_folder import SEARCHES
from tests.places import REPOSITORY
from tests.reactbench_runner.test_batch import hcn

#: GFN2-xTB that says in a file how often it was asked, slowly, so that there is time to kill it.
#: Every stage of its searches is written when it ends.
CALCULATOR = """
import os, time
from horm_calc.xtb import XTB
from reactbench_runner.storage import journal

journal.WORTH = journal.REST = 0.0

class Counting(XTB):
    def calculate(self, *arguments, **named):
        with open(os.environ["COUNTED"], "a") as file:
            file.write(".")
        time.sleep(0.01)
        super().calculate(*arguments, **named)

def counting(charge, multiplicity):
    return Counting(method="GFN2-xTB", charge=charge, multiplicity=multiplicity, verbosity=0)
"""

SETTINGS = ["--path.method", "geodesic", "--attempts", "1", "--lower_path.steps", "0"]


class Folder:
    """A table with one reaction, a calculator that counts, and commands with both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counted = folder, folder / "counted"
        (folder / "counting.py").write_text(CALCULATOR)
        reaction = hcn()
        write(folder / "hcn.xyz", [reaction.reactant, reaction.product])

    def started(self, out: str, *more: str) -> subprocess.Popen[bytes]:
        """The command, as the leader of a group; what it counts begins at 0."""
        self.counted.write_text("")
        command = [sys.executable, "-m", "reactbench_runner.commands.tssearch", "hcn.xyz"]
        command += ["--out", out, "--calculator", "counting.py:counting", *SETTINGS, *more]
        environment = {"COUNTED": str(self.counted), "PYTHONPATH": str(REPOSITORY)}
        with (self.folder / f"{out}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | environment | {"TMPDIR": str(self.folder)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ended(self, out: str, *more: str) -> tuple[dict[str, str], int]:
        """The row of a run that nobody disturbs, without wall-times, and its calls."""
        assert self.started(out, *more).wait(300) == 0, (self.folder / f"{out}.log").read_text()
        with (self.folder / out / "results.csv").open(newline="") as f:
            [row] = csv.DictReader(f)
        row = {name: value for name, value in row.items() if not name.endswith("seconds")}
        return row, len(self.counted.read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("resume"))


def test_a_killed_search_goes_on_at_its_stage(folder: Folder) -> None:
    row, calls = folder.ended("undisturbed")
    assert row["verdict"] == "intended"
    assert not (folder.folder / "undisturbed" / SEARCHES).exists()

    search = folder.folder / "killed" / SEARCHES / "hcn"
    process = folder.started("killed")
    while not (search / "04-saddle.xyz").exists():
        assert process.poll() is None, (folder.folder / "killed.log").read_text()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(folder.counted.read_text())
    assert (search / "log.txt").read_text().count("=====") > 4

    again, rest = folder.ended("killed")
    assert again == row
    assert rest < calls / 2, f"{before} before it was killed, {rest} after, {calls} undisturbed"
    assert not (folder.folder / "killed" / SEARCHES).exists()
    said = (folder.folder / "killed.log").read_text()
    assert "searches that go on where they were interrupted: hcn" in said
    log = (folder.folder / "killed" / "hcn" / "log.txt").read_text()
    assert "resumed: " in log
