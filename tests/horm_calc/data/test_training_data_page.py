"""The examples of the page on training data run, one after the other, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.places import REPOSITORY


def test_examples_run(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "explanation" / "training-data.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 4
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "18 frames, 2 with second derivatives"
    assert lines[-1] == "14 new frames"
    assert {line.split()[0] for line in lines[1:-1]} == {"CH3OH", "H2CO"}
