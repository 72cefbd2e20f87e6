"""Stored runs as commands read them that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE, open_run, points_in
from tests.reactbench_runner.stored import LEVEL, searched, store
from workflows.errors import InputError


def test_what_a_run_says_of_itself(tmp_path: Path) -> None:
    store(tmp_path / "run", searched("b"), searched("a"))
    settings = {"verdict": {"bond_factor": 1.3}}
    record = {"level_of_theory": LEVEL, "settings": settings}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    run = open_run(tmp_path / "run")
    assert (run.name, run.level_of_theory, run.bond_factor) == ("run", LEVEL, 1.3)
    assert run.total is None
    assert [row.id for row in run.rows()] == ["a", "b"]
    (tmp_path / "run" / "progress.json").write_text('{"total": 5}')
    assert open_run(tmp_path / "run").total == 5
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(InputError, match=r"holds no run of horm-tssearch \(run\.json: "):
        open_run(tmp_path / "run")


def test_older_folders_have_their_structures_in_xyz_files(tmp_path: Path) -> None:
    """With eight decimals; the ends are those of the path."""
    folder = store(tmp_path / "run", searched()).out / "hcn"
    before = points_in(folder)
    (folder / "structures.json").unlink()
    after = points_in(folder)
    assert before.keys() == after.keys() == {REACTANT, PRODUCT, SADDLE}
    for role, atoms in before.items():
        assert after[role].get_chemical_symbols() == atoms.get_chemical_symbols()
        np.testing.assert_allclose(after[role].positions, atoms.positions, atol=1e-8)
    for name in ("path.xyz", "ts.xyz"):
        (folder / name).unlink()
    assert points_in(folder) == {}
