"""How long a verification takes is told before anything is searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.io import read

pytest.importorskip("pyscf")

from horm_calc.dft import WB97X
from reactbench_runner.rehearsal import of_verification
from tests.places import STRUCTURES
from tests.reactbench_runner.calling import call
from workflows.records import Reaction
from workflows.settings import SearchSettings, from_mapping

HCN, VINYL, CLAISEN = (
    Reaction(name, *read(STRUCTURES / f"{name}.xyz", ":"))
    for name in ("hcn", "vinyl_alcohol", "claisen")
)


def test_the_model_is_near_what_was_measured() -> None:
    """Seconds of a core for a gradient and a Hessian, on the fine grid; other cores differ."""
    for reaction, gradient, hessian in ((HCN, 2.8, 7.7), (VINYL, 10.0, 50.0)):
        found = WB97X.expected_seconds(reaction.reactant.numbers)
        assert found[0] == pytest.approx(gradient, rel=0.5)
        assert found[1] == pytest.approx(hessian, rel=0.5)


def test_each_reaction_has_its_time() -> None:
    words = of_verification([HCN, VINYL], "wb97x", 1, SearchSettings())
    # 3 x (6 x 3.0 + 7.7) s and 3 x (6 x 10.8 + 64) s
    assert "roughly 77 seconds (hcn), 6 minutes (vinyl_alcohol) on one core" in words
    assert "all of them 8 minutes with 1 worker" in words
    assert "time limits" not in words
    assert of_verification([HCN], "gfn2-xtb", 1, SearchSettings()) == ""
    bromide = Reaction("sn2", *read(STRUCTURES / "sn2.xyz", ":"), charge=-1)
    assert of_verification([bromide], "wb97x", 1, SearchSettings()) == ""  # it refuses bromine


def test_time_limits_that_are_too_short_are_named() -> None:
    words = of_verification([HCN, CLAISEN], "wb97x", 1, SearchSettings())
    assert "too long for the time limits of claisen: raise --saddle.wall_time" in words
    patient = {name: {"wall_time": 86400.0} for name in ("saddle", "endpoints")}
    words = of_verification([HCN, CLAISEN], "wb97x", 1, from_mapping(patient))
    assert "time limits" not in words


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [STRUCTURES / "hcn.xyz", "--out", tmp_path / "out", "--calculator", "gfn2-xtb"]
    said = "ωB97X/6-31G(d) (PySCF) takes roughly 77 seconds on one core"
    assert call(*command, "--verify", "wb97x", "--dry-run") == 0
    assert said in " ".join(capsys.readouterr().out.split())
    # The time is up before the first search, and after what stands above it.
    assert call(*command, "--verify", "wb97x", "--walltime", "00:00:00") == 4
    assert said in " ".join(capsys.readouterr().out.split())
