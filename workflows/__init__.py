"""Searches for transition states, and their verification, with any ASE calculator."""

from horm_calc.lazy_imports import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
