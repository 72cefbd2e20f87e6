"""The choices of a search, one entry each: how to relax, find a path, refine a saddle, integrate.

An entry here is all that a new method needs beside its function: settings and their help, the
documentation, the record of versions and the tests of what every method must deliver
(`tests/workflows/stages/test_stages.py`) are taken from these tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from horm_calc.configuration import setting
from horm_calc.lazy_imports import load


@dataclass(frozen=True)
class Method:
    """One choice.

    Attributes
    ----------
    name
        In settings, files and tables.
    doc
        For help and documentation: what it is, and whose.
    package
        The distribution that does the work, whose version is noted with results.
    place
        Its function, as "module:name"; see `workflows.methods.contracts` for what it delivers.
    """

    name: str
    doc: str
    package: str
    place: str

    def load(self) -> Any:
        """The function."""
        return load(self.place)


MINIMISERS: tuple[Method, ...] = (
    Method(
        name="bfgs",
        doc="BFGS with a trust radius, from a model Hessian",
        package="horm-tssearch",
        place="workflows.methods.trust_region:minimise",
    ),
    Method(
        name="rfo",
        doc="RFO in redundant internal coordinates (pysisyphus)",
        package="pysisyphus",
        place="workflows.methods.pysis:minimise",
    ),
    Method(
        name="geometric",
        doc="geomeTRIC, in translation-rotation internal coordinates",
        package="geometric",
        place="workflows.methods.with_geometric:minimise",
    ),
    Method(
        name="sella",
        doc="Sella, for minima",
        package="sella",
        place="workflows.methods.with_sella:minimise",
    ),
)

#: Cheap ones first: later attempts take them in this order.
PATH_METHODS: tuple[Method, ...] = (
    Method(
        name="string",
        doc="preconditioned string from a geodesic path, with an image at its highest point",
        package="horm-tssearch",
        place="workflows.methods.strings:relaxed_path",
    ),
    Method(
        name="geodesic",
        doc="geodesic interpolation alone",
        package="horm-tssearch",
        place="workflows.methods.geodesics:geodesic_path",
    ),
    Method(
        name="gsm",
        doc="growing string (pysisyphus)",
        package="pysisyphus",
        place="workflows.methods.pysis:grow_string",
    ),
    Method(
        name="neb",
        doc="climbing-image NEB, started from a geodesic path (ASE)",
        package="ase",
        place="workflows.methods.bands:climbing_band",
    ),
)

SADDLE_OPTIMISERS: tuple[Method, ...] = (
    Method(
        name="trim",
        doc="trust-region image minimisation with updated Hessians",
        package="horm-tssearch",
        place="workflows.methods.trust_region:refine_saddle",
    ),
    Method(
        name="rsirfo",
        doc="restricted-step image-function RFO (pysisyphus)",
        package="pysisyphus",
        place="workflows.methods.pysis:refine_saddle",
    ),
    Method(
        name="rsprfo",
        doc="restricted-step partitioned RFO (pysisyphus)",
        package="pysisyphus",
        place="workflows.methods.pysis:refine_saddle",
    ),
    Method(
        name="sella",
        doc="Sella, for first-order saddles",
        package="sella",
        place="workflows.methods.with_sella:refine_saddle",
    ),
    Method(
        name="geometric",
        doc="partitioned RFO (geomeTRIC)",
        package="geometric",
        place="workflows.methods.with_geometric:refine_saddle",
    ),
)

INTEGRATORS: tuple[Method, ...] = (
    Method(
        name="lqa",
        doc="local quadratic approximation with step-size control",
        package="horm-tssearch",
        place="workflows.methods.lqa:follow_irc",
    ),
    Method(
        name="eulerpc",
        doc="Euler predictor-corrector (pysisyphus)",
        package="pysisyphus",
        place="workflows.methods.pysis:follow_irc",
    ),
    Method(
        name="sella",
        doc="the integrator of Sella",
        package="sella",
        place="workflows.methods.with_sella:follow_irc",
    ),
)

#: All of them, by the stage that has the choice.
METHODS: dict[str, tuple[Method, ...]] = {
    "endpoints": MINIMISERS,
    "path": PATH_METHODS,
    "saddle": SADDLE_OPTIMISERS,
    "irc": INTEGRATORS,
}


def loaded(methods: Iterable[Method]) -> dict[str, Any]:
    """Their functions by name."""
    return {method.name: method.load() for method in methods}


def choice(methods: tuple[Method, ...], default: str, role: str) -> Any:
    """The setting that names one of `methods`."""
    described = "; ".join(f"{one.name}: {one.doc}" for one in methods)
    return setting(default, f"{role}. {described}", tuple(one.name for one in methods))


def packages() -> list[str]:
    """The distributions that do the work, each once."""
    return list(dict.fromkeys(one.package for group in METHODS.values() for one in group))
