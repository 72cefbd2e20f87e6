"""The files for batch systems: their options exist, and their jobs are what is meant."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from reactbench_runner.commands import tssearch
from tests.places import REPOSITORY

FOLDER = REPOSITORY / "examples" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
OF_JOBQUEUE = {"slurm.py": "SLURMCluster", "pbs.py": "PBSCluster"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_scripts(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    [command] = re.findall(r"^horm-tssearch (?:.*\\\n)*.*", script.read_text(), re.MULTILINE)
    text = tssearch._parser().format_help()
    for option in re.findall(r"--[a-z-]+", command):
        assert f"{option} " in text


def test_every_file_is_named() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in text


@pytest.mark.parametrize("name", OF_JOBQUEUE)
def test_jobs_are_what_is_meant(name: str) -> None:
    """As dask-jobqueue writes them; no batch system is asked."""
    jobqueue = pytest.importorskip("dask_jobqueue")
    found = runpy.run_path(str(FOLDER / name))
    for kind, workers in (("CPU", 16), ("GPU", 1)):
        options = {"scheduler_options": {"dashboard_address": ":0"}}
        job = found[kind] | found["BOTH"] | options
        with getattr(jobqueue, OF_JOBQUEUE[name])(**job) as cluster:
            script = cluster.job_script()
        assert "--nthreads 1 " in script
        assert ("--nworkers 16 " in script) == (workers == 16)
        assert "--lifetime 23h" in script
        assert ("gpu:1" in script or "ngpus=1" in script) == (kind == "GPU")
