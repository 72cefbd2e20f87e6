"""The rules of what may import what."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import networkx as nx

from tests.places import REPOSITORY
from tests.reactbench_runner.report.stored_runs import run_of
from tests.reactbench_runner.stored import searched

#: `imports(package)`: the modules that each module of a package imports.
imports = runpy.run_path(str(REPOSITORY / "docs/pictures/imports.py"))["imports"]


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


#: What searches may use of `horm_calc`: what knows no network.
CHEMISTRY = (
    "horm_calc.capabilities",
    "horm_calc.chemistry",
    "horm_calc.configuration",
    "horm_calc.errors",
    "horm_calc.lazy_imports",
    "horm_calc.structure_files.ase_atoms",
    "horm_calc.structure_files.electrons",
    "horm_calc.units",
)


def test_dependencies_flow_one_way() -> None:
    for path, names in imports("horm_calc").items():
        assert not roots(names) & {"workflows", "reactbench_runner"}, path
    for path, names in imports("workflows").items():
        assert "reactbench_runner" not in roots(names), path
        ours = {name for name in names if name.split(".")[0] == "horm_calc"}
        assert all(name.startswith(CHEMISTRY) for name in ours), path
    for path, names in imports("horm_calc/chemistry").items():
        assert not roots(names) & {"torch", "tblite"}, path


def test_modules_import_each_other_in_no_circle() -> None:
    modules = nx.DiGraph()
    for package in ("horm_calc", "workflows", "reactbench_runner"):
        for path, names in imports(package).items():
            this = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
            modules.add_edges_from((this, name) for name in names if name != this)
    assert list(nx.simple_cycles(modules)) == []


def test_one_file_speaks_pysisyphus() -> None:
    for package in ("horm_calc", "workflows", "reactbench_runner"):
        for path, names in imports(package).items():
            if path != Path("workflows/methods/pysis.py"):
                assert "pysisyphus" not in roots(names), path


def test_readme_python_examples_run(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    run_of(tmp_path / "runs" / "first", searched("hcn"))
    answers = []
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-c", example],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    search, stored, hessian = answers
    assert search.startswith("intended -1")
    assert re.fullmatch(r"hcn [\d.]+ -[\d.]+ 5\n", stored)
    assert hessian.endswith("(24, 24)\n")


def test_networks_page_example_runs(tmp_path: Path) -> None:
    """With a small network in the place of the published one."""
    from ase.build import molecule

    from tests.horm_calc.small_networks import write

    text = (REPOSITORY / "docs" / "explanation" / "networks.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", text, re.S)
    write(tmp_path, "EquiformerV2").rename(tmp_path / "eqv2.safetensors")
    molecule("HCOOH").write(tmp_path / "guess.xyz")
    subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=os.environ | {"HORM_CHECKPOINTS": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        check=True,
        timeout=300,
    )


def test_readme_settings_exist(tmp_path: Path) -> None:
    import yaml

    from workflows.settings import from_mapping

    [text] = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S)
    values = yaml.safe_load(text)
    values.pop("calculator")
    assert from_mapping(values).path.images == 9
