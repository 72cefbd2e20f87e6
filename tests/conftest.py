"""Fixtures: analytic surfaces and small real molecules."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms

from reactbench_runner import calculators
from tests.surfaces import MullerBrown
from workflows.surface import Surface

#: Files whose tests took more than 6 s together; `make check` leaves them out.
SLOW = {
    "horm_calc/checkpoints/test_foreign_checkpoints.py",
    "horm_calc/chemistry/test_equivalence.py",
    "horm_calc/chemistry/test_masses.py",
    "horm_calc/chemistry/test_stereochemistry.py",
    "horm_calc/chemistry/test_thermochemistry.py",
    "horm_calc/commands/test_common.py",
    "horm_calc/commands/test_data.py",
    "horm_calc/commands/test_eval.py",
    "horm_calc/commands/test_label.py",
    "horm_calc/data/test_displacements.py",
    "horm_calc/data/test_labels.py",
    "horm_calc/data/test_lmdb.py",
    "horm_calc/data/test_sampling.py",
    "horm_calc/data/test_training_data_page.py",
    "horm_calc/derivatives/test_hessian.py",
    "horm_calc/models/test_alphanet.py",
    "horm_calc/models/test_contract.py",
    "horm_calc/models/test_equiformer_v2.py",
    "horm_calc/models/test_leftnet.py",
    "horm_calc/test_ase_contract.py",
    "horm_calc/test_calculator.py",
    "horm_calc/test_dft.py",
    "horm_calc/test_horm_mini.py",
    "horm_calc/test_processes.py",
    "horm_calc/test_xtb.py",
    "reactbench_runner/commands/test_showing.py",
    "reactbench_runner/commands/test_tssearch.py",
    "reactbench_runner/execution/test_live.py",
    "reactbench_runner/execution/test_stuck.py",
    "reactbench_runner/execution/test_workers.py",
    "reactbench_runner/inputs/test_starts.py",
    "reactbench_runner/storage/test_journal.py",
    "reactbench_runner/storage/test_provenance.py",
    "reactbench_runner/storage/test_run_folder.py",
    "reactbench_runner/storage/test_store.py",
    "reactbench_runner/test_batch.py",
    "reactbench_runner/test_calculators.py",
    "reactbench_runner/test_electrons.py",
    "reactbench_runner/test_evidence.py",
    "reactbench_runner/test_isotopes.py",
    "reactbench_runner/test_kills.py",
    "reactbench_runner/test_networks.py",
    "reactbench_runner/test_resume.py",
    "reactbench_runner/test_separated.py",
    "reactbench_runner/test_verify.py",
    "test_architecture.py",
    "test_benchmarks.py",
    "test_docs.py",
    "test_research_scripts.py",
    "workflows/methods/test_strings.py",
    "workflows/methods/test_trust_region.py",
    "workflows/stages/test_driven.py",
    "workflows/stages/test_lower_path.py",
    "workflows/stages/test_separated.py",
    "workflows/stages/test_stages.py",
    "workflows/test_attempts.py",
    "workflows/test_bad_calculators.py",
    "workflows/test_barrierless.py",
    "workflows/test_images.py",
    "workflows/test_limits.py",
    "workflows/test_starts.py",
    "workflows/test_status.py",
    "workflows/test_tracebacks.py",
    "workflows/test_trust.py",
    "workflows/test_tssearch.py",
    "workflows/test_verification.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their files: `training`, `cluster` and `slow`."""
    tests = Path(__file__).parent
    for item in items:
        file = item.path.relative_to(tests)
        if "training" in file.parts:
            item.add_marker("training")
        elif file.name == "test_cluster.py":
            item.add_marker("cluster")
        elif file.as_posix() in SLOW:
            item.add_marker("slow")


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
