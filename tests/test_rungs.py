"""What further attempts gain, from the logs of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks import rungs
from tests.reactbench_runner.stored import in_steps, searched, store

LOG = """===== attempt 1: string, partly intended, of atoms; 300 gradients so far =====

===== attempt 2: geodesic, {second}; 500 gradients so far =====
"""
FURTHER = """
===== a further step: C1-H2 broken =====

===== attempt 3: string, intended, saddle 3.0 kcal/mol; 900 gradients so far =====
"""


def test_gains_and_costs_by_attempt(tmp_path: Path) -> None:
    one = dataclasses.replace(searched("a"), log=LOG.format(second="intended, saddle 1.0 kcal/mol"))
    two = in_steps(searched("b"))
    two = dataclasses.replace(two, log=LOG.format(second="failed, irc: no step") + FURTHER)
    found = rungs.rungs(store(tmp_path / "run", one, two).out)
    assert list(found) == ["string", "geodesic", rungs.CHAIN]
    assert [len(rung.searches) for rung in found.values()] == [2, 2, 1]
    assert [rung.gained for rung in found.values()] == [0, 1, 1]
    assert [rung.gradients for rung in found.values()] == [[300, 300], [200, 200], [400]]
    assert "| geodesic | 2 | 1 | 2 | 200 |" in rungs.markdown(found)
