"""The calculators that `--calculator NAME` knows.

An entry builds an ASE calculator for a charge and a multiplicity. A calculator with
`get_hessian(atoms)` ((3N, 3N), eV/Å²) is asked for its Hessians; for the others they come
from central differences of forces. 'horm:' and a published name or a file is a network of
`horm_calc`.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED, CheckpointNotFound, find
from horm_calc.configuration import SettingsError
from horm_calc.references import ELEMENTS
from workflows.records import Reaction

if TYPE_CHECKING:
    from horm_calc.calculator import HormCalculator

Builder = Callable[[int, int], Calculator]

#: What the names of networks begin with.
HORM = "horm:"

#: What searches use that name no calculator: the network that needs no download.
DEFAULT = HORM + SHIPPED


@dataclass(frozen=True)
class Entry:
    """A calculator that can be named: how to build it and what it is.

    name: what finds it in every process and folder. network: of a network, what makes its
    results its own; no other weights may go on with its run.
    """

    name: str
    build: Builder
    level_of_theory: str
    network: dict[str, str] = field(default_factory=dict)

    def same_as(self, other: Entry) -> bool:
        """Whether both give the same results; weights do, wherever their file lies."""
        return self.name == other.name or (self.network != {} and self.network == other.network)


def build(name: str, charge: int = 0, multiplicity: int = 1) -> Calculator:
    """The calculator called `name`. Raises `SettingsError` with the nearest known name.

    Networks refuse what they do not know when they are asked, see `refusal`.
    """
    if name.startswith(HORM):  # without `entry`, which reads the weights once more
        return _build_network(_checkpoint(name))
    return entry(name).build(charge, multiplicity)


def refusal(name: str, reaction: Reaction) -> str:
    """Why the calculator called `name` has no answer for a reaction; "" where it has."""
    if not name.startswith(HORM):
        return ""
    problems = [f"charge {reaction.charge:+d}"] if reaction.charge else []
    if reaction.multiplicity != 1:
        problems.append(f"multiplicity {reaction.multiplicity}")
    numbers = set(reaction.reactant.numbers.tolist()) - set(ELEMENTS)
    problems += [chemical_symbols[number] for number in sorted(numbers)]
    if not problems:
        return ""
    return (
        "networks know neutral closed shells of H, C, N and O only, not "
        f"{', '.join(problems)}; search this reaction with --calculator gfn2-xtb and another --out"
    )


def entry(name: str) -> Entry:
    """The registry entry called `name`.

    A published network that is not on this machine is downloaded. Raises `SettingsError`
    for an unknown name, and for a network that cannot be had or used.
    """
    if name.startswith(HORM):
        return _network_entry(_checkpoint(name))
    if name in CALCULATORS:
        return CALCULATORS[name]
    known = [*CALCULATORS, *(HORM + published for published in CATALOGUE)]
    near = difflib.get_close_matches(name, known, n=1) or [HORM + name] * (name in CATALOGUE)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    raise SettingsError(
        f"unknown calculator '{name}'{hint} Known: {', '.join(CALCULATORS)}, {HORM}NAME of a "
        f"network that 'horm-models' lists, {HORM}FILE"
    )


def _checkpoint(name: str) -> Path:
    """The file of the network called `name`, from the root of the file system on."""
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
def _network_entry(path: Path) -> Entry:
    """Reads the weights and lets go of them; on the CPU, as the workers need the GPU."""
    from horm_calc.checkpoints.files import CheckpointError
    from horm_calc.potential import load_potential

    try:
        potential = load_potential(path, device="cpu")
    except CheckpointError as error:
        raise SettingsError(str(error)) from None
    return Entry(
        f"{HORM}{path}",
        partial(_build_network, path),
        f"{potential.name} '{potential.label}' trained on {potential.level_of_theory}",
        {
            "architecture": potential.name,
            "sha256": potential.sha256,
            "hessian": potential.hessian_kind,
        },
    )


def _build_network(path: Path, charge: int = 0, multiplicity: int = 1) -> Calculator:
    """The same for all charges: it refuses a molecule with one."""
    return _network(path)


@cache
def _network(path: Path) -> HormCalculator:
    """Loaded once in a worker, for all of its reactions and threads."""
    from horm_calc.calculator import HormCalculator
    from horm_calc.potential import CheckpointConcern

    with warnings.catch_warnings(action="ignore", category=CheckpointConcern):
        return HormCalculator(path)  # what there is to be told, `entry` has told


def _tblite(method: str) -> Builder:
    def build(charge: int, multiplicity: int) -> Calculator:
        from horm_calc.xtb import XTB

        return XTB(method=method, charge=charge, multiplicity=multiplicity, verbosity=0)

    return build


CALCULATORS: dict[str, Entry] = {
    "gfn2-xtb": Entry("gfn2-xtb", _tblite("GFN2-xTB"), "GFN2-xTB (tblite)"),
    "gfn1-xtb": Entry("gfn1-xtb", _tblite("GFN1-xTB"), "GFN1-xTB (tblite)"),
}
