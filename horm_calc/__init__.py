"""Machine-learned interatomic potentials with exact Hessians, as ASE calculators."""

from horm_calc.lazy_imports import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
