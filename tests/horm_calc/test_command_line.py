"""What all commands have in common."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_reader_that_ends_early_ends_the_command_in_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "horm_calc.training.train_cli", "--print-config"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141
