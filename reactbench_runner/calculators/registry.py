"""Every calculator that `--calculator` understands.

- a name of `BUILT_IN`, or one that an installed package registers as an entry point of the group
  `horm.calculators`;
- 'horm:' and the name or file of a network;
- Python code, see `reactbench_runner.calculators.code`.

A calculator with `get_hessian(atoms)` ((3n, 3n), eV/Å²) is asked for its Hessians; for the others
they come from central differences of forces. `horm_calc.capabilities` lists all that one can say.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from ase.calculators.calculator import Calculator

from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED
from horm_calc.configuration import SettingsError
from reactbench_runner.calculators.code import capabilities_of_factory, code_entry, is_code
from reactbench_runner.calculators.entries import Entry, Factory, Source
from reactbench_runner.calculators.networks import (
    HORM,
    build_network,
    checkpoint_of,
    network_entry,
)
from workflows.records import Start

#: What searches use that name no calculator: the network that needs no download.
DEFAULT = HORM + SHIPPED

#: The entry-point group by which other packages register calculators.
GROUP = "horm.calculators"

#: Those of this package, written as an entry point is.
BUILT_IN = {
    "gfn2-xtb": "horm_calc.xtb:gfn2_xtb",
    "gfn1-xtb": "horm_calc.xtb:gfn1_xtb",
    "wb97x": "horm_calc.dft:WB97X",
}
#: The module that one of them needs beside the core of this package, and the extra that has it.
_NEEDS = {"wb97x": ("pyscf", "label")}


def known() -> list[str]:
    """The names of calculators, without those of networks."""
    return sorted({*BUILT_IN, *_registered()}, key=lambda name: (name not in BUILT_IN, name))


def build(source: Source, charge: int = 0, multiplicity: int = 1, solvent: str = "") -> Calculator:
    """An ASE calculator for molecules of that charge and multiplicity, in a solvent if it is named.

    Raises `SettingsError`. Networks refuse what they do not know when they are asked, see
    `Entry.refusal`, but solvents at once.
    """
    if isinstance(source, str) and source.startswith(HORM) and not solvent:
        return build_network(checkpoint_of(source))  # `entry` would read the weights once more
    return entry(source).made(charge, multiplicity, solvent)


def refusal(source: Source, reaction: Start) -> str:
    """Why a calculator has no answer for a reaction, as far as that is known before it is built.

    Of a network nothing is: its entry would read the weights once more, and a search asks the
    calculator itself.
    """
    if isinstance(source, str) and source.startswith(HORM):
        return ""
    return entry(source).refusal(reaction)


def entry(source: Source) -> Entry:
    """What is known of a calculator before it is built.

    A published network that is not on this machine is downloaded. Raises `SettingsError` for an
    unknown name, and for what cannot be had or imported.
    """
    if isinstance(source, Factory):
        factory = source.load()
        capabilities = capabilities_of_factory(factory, source.name)
        return Entry(source.name, factory, capabilities, factory=source)
    if source.startswith(HORM):
        return network_entry(checkpoint_of(source))
    if place := BUILT_IN.get(source):
        _require_module(source)
        return code_entry(place, source)
    if registered := _registered().get(source):
        return code_entry(registered.value, source)
    if is_code(source):
        return code_entry(source)
    raise SettingsError(_unknown(source))


def _require_module(name: str) -> None:
    module, extra = _NEEDS.get(name, ("", ""))
    if module and find_spec(module) is None:
        remedy = f"pip install '.[{extra}]' in the repository"
        raise SettingsError(f"calculator '{name}' needs {module}, which is not installed: {remedy}")


def _unknown(name: str) -> str:
    names = [*known(), *(HORM + published for published in CATALOGUE)]
    near = difflib.get_close_matches(name, names, n=1) or [HORM + name] * (name in CATALOGUE)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return (
        f"unknown calculator '{name}'{hint} Known: {', '.join(known())}, {HORM}NAME of a network "
        f"that 'horm-models' lists, {HORM}FILE, MODULE:FACTORY and FILE.py:FACTORY"
    )


@cache
def _registered() -> dict[str, EntryPoint]:
    """What installed packages offer, by name; a name of this package is not theirs to give."""
    return {one.name: one for one in entry_points(group=GROUP) if one.name not in BUILT_IN}
