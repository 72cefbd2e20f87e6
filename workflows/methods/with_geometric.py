"""Minima and saddles with geomeTRIC (Wang and Song, J. Chem. Phys. 2016, 144, 214108).

geomeTRIC speaks Bohr and Hartree, logs through `logging` and wants a scratch folder.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from horm_calc.units import BOHR, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from workflows.logs import Log, log_of
from workflows.methods.contracts import Walk
from workflows.settings import EndpointSettings, SaddleSettings
from workflows.surface import Surface


def minimise(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Walk:
    """Relax in translation-rotation internals."""
    return _optimise(atoms, surface, settings)


def refine_saddle(
    guess: Atoms, surface: Surface, settings: SaddleSettings, hessian: np.ndarray | None = None
) -> Walk:
    """Restricted-step P-RFO from a Hessian at `guess`.

    An exact one is computed unless `hessian`, (3N, 3N), eV/Å², is given.
    """
    start = surface.get_hessian(guess) if hessian is None else hessian
    return _optimise(guess, surface, settings, start)


def _optimise(
    atoms: Atoms,
    surface: Surface,
    settings: EndpointSettings | SaddleSettings,
    hessian: np.ndarray | None = None,
) -> Walk:
    from geometric.ase_engine import EngineASE
    from geometric.errors import GeomOptNotConvergedError
    from geometric.internal import DelocalizedInternalCoordinates
    from geometric.molecule import Molecule
    from geometric.optimize import Optimizer
    from geometric.params import OptParams

    molecule = Molecule()
    molecule.elem = atoms.get_chemical_symbols()
    molecule.xyzs = [atoms.get_positions()]
    with _contained() as (log, folder):
        coordinates = DelocalizedInternalCoordinates(
            molecule, build=True, connect=False, addcart=False
        )
        parameters = OptParams(
            transition=hessian is not None, maxiter=settings.max_steps, **_convergence(settings)
        )
        if hessian is not None:
            parameters.hess_data = hessian / HARTREE_PER_BOHR2
            parameters.frequency = False
        optimizer = Optimizer(
            atoms.get_positions().ravel() / BOHR,
            molecule,
            coordinates,
            EngineASE(molecule, surface),
            folder,
            parameters,
        )
        # Out of steps: the caller judges the forces of the last structure.
        with contextlib.suppress(GeomOptNotConvergedError):
            optimizer.optimizeGeometry()
        return Walk(with_positions(atoms, optimizer.X.reshape(-1, 3) * BOHR), log.getvalue())


def _convergence(settings: EndpointSettings | SaddleSettings) -> dict[str, Any]:
    """Gaussian's criteria, scaled to the largest force component asked for."""
    largest = settings.max_force / HARTREE_PER_BOHR
    return {
        "convergence_energy": 1e-6,
        "convergence_gmax": largest,
        "convergence_grms": largest / 1.5,
        "convergence_dmax": 4 * largest,
        "convergence_drms": 4 * largest / 1.5,
    }


@contextlib.contextmanager
def _contained() -> Iterator[tuple[Log, str]]:
    """A scratch folder, and a log that takes what geomeTRIC would print."""
    logger = logging.getLogger("geometric")
    level, handlers, propagate = logger.level, list(logger.handlers), logger.propagate
    with tempfile.TemporaryDirectory(prefix="horm-") as folder, log_of("geomeTRIC") as log:
        handler = logging.StreamHandler(log)
        handler.terminator = ""  # geomeTRIC ends its own lines
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
        try:
            yield log, folder
        finally:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
