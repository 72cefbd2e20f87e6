"""Workers whose calculators hang as compiled code does: no signal reaches them."""

from __future__ import annotations

import signal
import time

from ase import Atoms

from horm_calc.xtb import XTB
from reactbench_runner.calculators import registry
from reactbench_runner.execution import workers
from reactbench_runner.execution.workers import RunSpec, Task
from workflows.records import SearchResult


class Hanging(XTB):
    def calculate(self, atoms: Atoms | None = None, *arguments, **options) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
        time.sleep(600)


def hang(charge: int, multiplicity: int) -> Hanging:
    return Hanging(charge=charge, multiplicity=multiplicity, verbosity=0)


def search_hanging(spec: RunSpec, task: Task) -> SearchResult:
    """The reaction 'hangs' with a calculator that does; where GFN1-xTB verifies, that one."""
    if spec.verify is not None:
        registry.BUILT_IN["gfn1-xtb"] = f"{__name__}:hang"
    elif getattr(task, "id", "") == "hangs":
        registry.BUILT_IN["gfn2-xtb"] = f"{__name__}:hang"
    return workers.search_one(task, spec)
