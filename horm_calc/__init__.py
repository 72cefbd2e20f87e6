"""Machine-learned interatomic potentials with exact Hessians."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from horm_calc.calculator import HormCalculator
    from horm_calc.checkpoints.catalogue import list_checkpoints
    from horm_calc.potential import load_potential

__all__ = ["HormCalculator", "list_checkpoints", "load_potential"]

_HOMES = {
    "HormCalculator": "horm_calc.calculator",
    "list_checkpoints": "horm_calc.checkpoints.catalogue",
    "load_potential": "horm_calc.potential",
}


def __getattr__(name: str) -> Any:
    """Imports on first use: torch takes a second that `--help` should not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
