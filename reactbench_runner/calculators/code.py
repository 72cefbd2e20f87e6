"""Calculators as Python code: 'package.module:factory', or 'path/to/file.py:factory'.

A factory takes a charge and a multiplicity and returns an ASE calculator. What is to be known of
it before it is called, it says in an attribute `capabilities` (a `horm_calc.Capabilities`). One
that takes an argument `solvent` has calculators for solvents.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from horm_calc.capabilities import Capabilities, stated_capabilities
from horm_calc.configuration import SettingsError
from reactbench_runner.calculators.entries import Builder, Entry

_FORM = "MODULE:FACTORY or FILE.py:FACTORY"


def is_code(name: str) -> bool:
    """Whether a name has the form of Python code."""
    return ":" in name


def code_entry(name: str, called: str = "") -> Entry:
    """The entry of a factory, under the name `called` where it has one.

    Raises `SettingsError` with the cause: no such file or module, an error in it, no such factory.
    """
    place, _, factory = name.rpartition(":")
    if not place or not factory.isidentifier():
        raise SettingsError(f"calculator '{name}' is not {_FORM}")
    if place.endswith(".py"):
        path = Path(place).expanduser().absolute()
        module = _file(path)
        full = f"{path}:{factory}"
        identity = {"factory": factory, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        packages: tuple[str, ...] = ()
    else:
        module, full, identity = _module(place), name, {}
        packages = _distributions(place)
    found = getattr(module, factory, None)
    if not callable(found):
        there = [one for one, value in vars(module).items() if _is_factory(module, one, value)]
        hint = f"; it has {', '.join(there)}" if there else ""
        raise SettingsError(f"calculator '{name}': there is no {factory} to call in {place}{hint}")
    return Entry(called or full, found, capabilities_of_factory(found, name), identity, packages)


def capabilities_of_factory(factory: Builder, name: str) -> Capabilities:
    """What a factory says of its calculators before it is called. Raises `SettingsError`."""
    try:
        said = stated_capabilities(factory)
    except TypeError as error:
        raise SettingsError(f"calculator '{name}': {error}") from error
    takes_solvent = _takes_solvent(factory)
    if said.solvents and not takes_solvent:
        raise SettingsError(
            f"calculator '{name}' names solvents, but takes no argument 'solvent' to be told which"
        )
    if takes_solvent and said.solvents == frozenset():
        return replace(said, solvents=None)  # it says itself which it does not know
    return said


def _takes_solvent(factory: Builder) -> bool:
    try:
        return "solvent" in inspect.signature(factory).parameters
    except (TypeError, ValueError):  # of code that is not Python
        return False


@cache
def _file(path: Path) -> ModuleType:
    """The module in a file. Its folder is searched for modules, as `python file.py` would do."""
    if not path.is_file():
        raise SettingsError(f"there is no file {path}")
    unique = f"horm_calculator_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[unique]
        raise SettingsError(f"{path} cannot be imported: {_where(error, path)}") from error
    return module


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name == name.split(".")[0]
        file = Path(f"{name}.py")
        hint = f"; for the file {file} here write '{file}:FACTORY'" if file.is_file() else ""
        if not missing:
            hint = f" ({error})"
        raise SettingsError(f"there is no Python module {name}{hint}") from error
    except Exception as error:
        raise SettingsError(
            f"module {name} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _where(error: Exception, path: Path) -> str:
    """The error, with the line of the file in which it happened."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    place = f"line {line}: " if line else ""
    return f"{place}{type(error).__name__}: {error}"


def _distributions(module: str) -> tuple[str, ...]:
    """Those that a module may belong to."""
    top = module.split(".")[0]
    return tuple(importlib.metadata.packages_distributions().get(top, []))


def _is_factory(module: ModuleType, name: str, value: Any) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return own and callable(value) and not name.startswith("_")
