"""What ASE's `Atoms` say of charge and multiplicity: in `info`, in their arrays, in results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from horm_calc.structure_files.electrons import (
    KEY,
    Electrons,
    charge_of,
    multiplicity_of,
    spin_beside_charge,
    understood,
)
from horm_calc.structure_files.words import said_in, said_under

#: What ASE's names mean.
_ASE = {"initial_charges": "initial charges", "initial_magmoms": "initial magnetic moments"}

#: Columns of these.
_CHARGES, _SPINS = (
    re.compile(names, re.IGNORECASE)
    for names in ("charge|chg|^q$|mulliken|lowdin|chelpg", "spin|magmom")
)

#: Entries of `info` that are comments.
_TEXTS = ("comment", "title", "name")

#: Partial charges and spin populations add up to a whole number within this, in few digits.
ROUNDING = 0.05


def stated_electrons(atoms: Atoms) -> Electrons:
    """What `info`, columns of charges and magnetic moments, and results say of the electrons."""
    told = _in_info(atoms)
    for name, numbers in atoms.arrays.items():
        if name not in ("numbers", "positions") and (one := _added_up(name, numbers)):
            told += one
    if isinstance(atoms.calc, SinglePointCalculator):
        # What was asked of its calculator, then what came out, and each where nothing else is said.
        for found in (_in_parameters(atoms.calc.parameters), _in_results(atoms.calc.results)):
            told = Electrons(told.charge or found.charge, told.multiplicity or found.multiplicity)
    return told


def _in_parameters(parameters: Mapping[str, Any]) -> Electrons:
    """What the parameters of a calculator say, where that is understood; None is what it likes."""
    found = Electrons()
    for key, value in _flat(parameters):
        if value is not None and not isinstance(value, bool | np.bool_):
            found += said_under(key, value)
    return spin_beside_charge(Electrons(understood(found.charge), understood(found.multiplicity)))


def _in_results(results: Mapping[str, Any]) -> Electrons:
    found = Electrons()
    for name in ("charges", "magmom" if "magmom" in results else "magmoms"):
        if name in results:
            found += _added_up(name, results[name])
    return found


def _in_info(atoms: Atoms) -> Electrons:
    if not atoms.info:  # at every step of a search
        return Electrons()
    if isinstance(known := atoms.info.get(KEY), Electrons):
        return known
    told = Electrons()
    items = list(_flat(atoms.info))
    # ASE takes the words of a comment for keys that are true: "charge 0" as two.
    if flags := [key for key, value in items if isinstance(value, bool | np.bool_)]:
        words = said_in(" ".join(flags))
        told += Electrons(understood(words.charge), understood(words.multiplicity))
    for key, value in items:
        if value is None or isinstance(value, bool | np.bool_):
            continue
        if np.ndim(value) == 1 and len(value) == len(atoms):
            told += _added_up(key, value)
        elif key.lower() in _TEXTS:
            told += said_in(str(value))
        else:
            told += said_under(key, value)
    return spin_beside_charge(told)


def _flat(info: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Of the key-value pairs and data of a database too."""
    for key, value in info.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield str(key), value


def _added_up(name: str, numbers: Any) -> Electrons:
    """What charges or magnetic moments of the atoms say; those that are zero say nothing."""
    of_spin = _SPINS.search(name)
    if not (of_spin or _CHARGES.search(name)) or not np.any(numbers):
        return Electrons()
    told = multiplicity_of if of_spin else charge_of
    try:
        values = np.asarray(numbers, dtype=float)
    except (TypeError, ValueError):
        return told(f"{name} are no numbers")
    if values.ndim > 1:
        return told(f"{_ASE.get(name, name)} are vectors")
    total = float(values.sum())
    words = f"{_ASE.get(name, name)} add up to {total:g}"
    if not abs(total - np.rint(total)) <= ROUNDING:
        return told(words)
    whole = int(np.rint(total))
    if of_spin and not whole and np.abs(values).max(initial=0) > ROUNDING:
        return told(f"{_ASE.get(name, name)} that cancel")
    if not whole:
        return Electrons()
    if of_spin:
        return told(f"{words}, multiplicity {abs(whole) + 1}", abs(whole) + 1)
    return told(words, whole)
