"""Many reactions at once: input, parallel execution, storage and reports."""

from horm_calc.lazy_imports import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
