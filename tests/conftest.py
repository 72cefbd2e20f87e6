"""Fixtures: analytic surfaces and small real molecules."""

from __future__ import annotations

import pytest
from ase import Atoms

from reactbench_runner import calculators
from tests.surfaces import MullerBrown
from workflows.surface import Surface


@pytest.fixture
def muller_brown() -> MullerBrown:
    return MullerBrown()


@pytest.fixture
def gfn2() -> Surface:
    return Surface(calculators.build("gfn2-xtb"))


@pytest.fixture
def hcn() -> Atoms:
    """A bent start, so that nothing is decided by a symmetry that real inputs lack."""
    return Atoms("HCN", [[-1.07, 0.3, 0], [0, 0, 0], [1.15, 0, 0]])


@pytest.fixture
def hnc() -> Atoms:
    return Atoms("HCN", [[2.15, 0.3, 0], [0, 0, 0], [1.17, 0, 0]])


@pytest.fixture
def hcn_guess() -> Atoms:
    """Near the saddle between the two: the hydrogen beside the bond."""
    return Atoms("HCN", [[0.35, 1.15, 0], [0, 0, 0], [1.18, 0, 0]])
