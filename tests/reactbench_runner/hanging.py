"""Workers whose calculators hang as compiled code does: no signal reaches them."""

from __future__ import annotations

import signal
import time

from ase import Atoms

from horm_calc.xtb import XTB
from reactbench_runner import calculators
from reactbench_runner.calculators import Entry
from reactbench_runner.execution import workers


class Hanging(XTB):
    def calculate(self, atoms: Atoms | None = None, *arguments, **options) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
        time.sleep(600)


def _hang(charge: int, multiplicity: int) -> Hanging:
    return Hanging(charge=charge, multiplicity=multiplicity, verbosity=0)


def search_hanging(how, task):
    """The reaction 'hangs' with a calculator that does; where GFN1-xTB verifies, that one."""
    if how[2] is not None:
        calculators.CALCULATORS["gfn1-xtb"] = Entry("gfn1-xtb", _hang, "hangs")
    elif getattr(task, "id", "") == "hangs":
        calculators.CALCULATORS["gfn2-xtb"] = Entry("gfn2-xtb", _hang, "hangs")
    return workers.search_one(task, *how)
