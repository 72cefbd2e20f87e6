"""Packages whose names are imported on first use (PEP 562).

`import workflows` then costs milliseconds, while `from workflows import search` gets what it
needs. The names of a package stand in its `__init__.pyi`, once, for type checkers, editors and
here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any

#: The distribution that all packages here belong to.
DISTRIBUTION = "horm-tssearch"


def lazy(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """What a package needs to import its names on first use.

    Parameters
    ----------
    package, file
        Its `__name__` and `__file__`, beside which `__init__.pyi` lies.

    Returns
    -------
    tuple
        Its `__getattr__`, `__dir__` and `__all__`.
    """
    home_of = {
        alias.name: node.module
        for node in ast.parse(Path(file).with_suffix(".pyi").read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    names = sorted([*home_of, "__version__"])

    def get(name: str) -> Any:
        if name == "__version__":
            return version()
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    return get, lambda: names, names


def load(place: str) -> Any:
    """What a table names as "package.module:name", imported now."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def version() -> str:
    """The version of the code that runs; "unknown" where nothing says it.

    In a checkout `setup.cfg` says it, whatever else is installed; elsewhere the metadata of the
    installation.
    """
    checkout = ConfigParser(interpolation=None)
    checkout.read(Path(__file__).parents[1] / "setup.cfg", "utf-8")
    if checkout.get("metadata", "name", fallback="") == DISTRIBUTION:
        return checkout["metadata"]["version"]
    from importlib import metadata  # 20 ms that few need

    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
