"""Networks of `horm_calc` as calculators: 'horm:' and a published name or a file."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ase.calculators.calculator import Calculator

from horm_calc.checkpoints.catalogue import CATALOGUE, CheckpointNotFound, find
from horm_calc.configuration import SettingsError
from reactbench_runner.calculators.entries import Entry

if TYPE_CHECKING:
    from horm_calc.calculator import HormCalculator

#: What the names of networks begin with.
HORM = "horm:"


def checkpoint_of(name: str) -> Path:
    """The file of the network called `name`, as an absolute path.

    A published network that is not on this machine is downloaded. Raises `SettingsError`.
    """
    which = name.removeprefix(HORM)
    if not which:
        raise SettingsError(
            f"'{HORM}' needs the name of a network ({', '.join(CATALOGUE)}) or a file after it"
        )
    try:
        return find(which).absolute()
    except CheckpointNotFound as error:
        raise SettingsError(f"calculator '{name}': {error}") from None


@cache
def network_entry(path: Path) -> Entry:
    """Reads the weights and lets go of them; on the CPU, as the workers need the GPU.

    Raises `SettingsError`.
    """
    from horm_calc.checkpoints.torch_archive import CheckpointError

    try:
        calculator = _calculator(path, "cpu")
    except CheckpointError as error:
        raise SettingsError(str(error)) from None
    potential = calculator.potential
    level = f"{potential.name} '{potential.label}' trained on {potential.level_of_theory}"
    return Entry(
        f"{HORM}{path}",
        partial(build_network, path),
        replace(calculator.capabilities, level_of_theory=level),
        {
            "architecture": potential.name,
            "sha256": potential.sha256,
            "hessian": potential.hessian_kind,
        },
    )


def build_network(path: Path, charge: int = 0, multiplicity: int = 1) -> Calculator:
    """The same for all charges: it refuses a molecule with one."""
    return _loaded(path)


@cache
def _loaded(path: Path) -> HormCalculator:
    """Loaded once in a worker, for all of its reactions and threads."""
    from horm_calc.potential import CheckpointConcern

    with warnings.catch_warnings(action="ignore", category=CheckpointConcern):
        return _calculator(path)  # what there is to be told, `network_entry` has told


def _calculator(path: Path, device: str | None = None) -> HormCalculator:
    from horm_calc.calculator import HormCalculator

    return HormCalculator(path, device)
