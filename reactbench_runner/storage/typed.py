"""Records of stages as JSON: typed, exact to the last bit, and read without running any code.

Numbers, texts, lists and dictionaries with texts as keys stand for themselves. Everything else is
an object with a single key, which says what it is: an array as its bytes in base64, a structure by
its arrays, a record by the name of its class and its fields.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import NormalModes, Thermochemistry
from workflows.errors import (
    CalculatorFailed,
    IRCFailed,
    NotConverged,
    StageError,
    StageTimeout,
)
from workflows.records import (
    IRC,
    Cost,
    HessianCheck,
    Label,
    Minimum,
    ReactionPath,
    Saddle,
    SeparatedMolecule,
    SeparatedMolecules,
    StringPath,
)
from workflows.stage_names import Stage
from workflows.stages.free_energy import FreeEnergies
from workflows.stages.product import DrivenProduct
from workflows.surface import Evaluations, Memory

#: What may be read back. Another class is refused, as it is when it is to be written.
_RECORDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Cost, DrivenProduct, Evaluations, FreeEnergies, HessianCheck, IRC, Memory, Minimum),
        NormalModes,
        *(ReactionPath, Saddle, SeparatedMolecule, SeparatedMolecules, StringPath, Thermochemistry),
    )
}
_ERRORS: dict[str, type[StageError]] = {
    kind.__name__: kind
    for kind in (CalculatorFailed, IRCFailed, NotConverged, StageTimeout, StageError)
}
_ENUMS: dict[str, type[StrEnum]] = {"Label": Label, "Stage": Stage}


def plain(value: Any) -> Any:
    """`value` in the types of JSON. Raises `TypeError` where it has none."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, StrEnum) and type(value).__name__ in _ENUMS:
        return {"enum": [type(value).__name__, value.value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), raw]}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [plain(one) for one in value]}
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        return {"mapping": {key: plain(one) for key, one in value.items()}}
    if isinstance(value, Atoms):
        return {"atoms": _plain_atoms(value)}
    if isinstance(value, StageError):
        return {"error": _plain_error(value)}
    name = type(value).__name__
    if _RECORDS.get(name) is type(value):
        fields = {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
        return {"record": [name, fields]}
    raise TypeError(f"a {name} cannot be kept")


def restored(value: Any) -> Any:
    """What `plain` was given. Raises `ValueError` where that is not what it has made."""
    try:
        return _restored(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return [_restored(one) for one in value]
    if not isinstance(value, dict):
        return value
    [(kind, content)] = value.items()
    return _KINDS[kind](content)


def _array(content: Any) -> np.ndarray:
    kind, shape, raw = content
    return np.frombuffer(base64.b64decode(raw, validate=True), kind).reshape(shape).copy()


def _plain_atoms(atoms: Atoms) -> dict[str, Any]:
    return {
        "arrays": plain(dict(atoms.arrays)),
        "cell": plain(np.array(atoms.cell)),
        "pbc": plain(atoms.pbc),
        "info": plain(dict(atoms.info)),
    }


def _atoms(content: Any) -> Atoms:
    arrays = _restored(content["arrays"])
    atoms = Atoms(
        arrays.pop("numbers"),
        arrays.pop("positions"),
        cell=_restored(content["cell"]),
        pbc=_restored(content["pbc"]),
        info=_restored(content["info"]),
    )
    for name, array in arrays.items():
        atoms.set_array(name, array)
    return atoms


def _plain_error(error: StageError) -> dict[str, Any]:
    kind = next(one for one in type(error).__mro__ if _ERRORS.get(one.__name__) is one)
    kept = {name: plain(getattr(error, name)) for name in ("cost", "log", "last", "partial")}
    return {"kind": kind.__name__, "message": str(error), **kept}


def _error(content: Any) -> StageError:
    error = _ERRORS[content["kind"]](content["message"])
    for name in ("cost", "log", "last", "partial"):
        setattr(error, name, _restored(content[name]))
    return error


def _record(content: Any) -> Any:
    name, fields = content
    return _RECORDS[name](**{key: _restored(one) for key, one in fields.items()})


_KINDS: dict[str, Any] = {
    "array": _array,
    "atoms": _atoms,
    "enum": lambda content: _ENUMS[content[0]](content[1]),
    "error": _error,
    "mapping": lambda content: {key: _restored(one) for key, one in content.items()},
    "record": _record,
    "tuple": lambda content: tuple(map(_restored, content)),
}
