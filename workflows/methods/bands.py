"""Paths of images: geodesic interpolation, and ASE's elastic bands and strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from workflows.errors import as_stage_error
from workflows.images import Answered, prepare
from workflows.logs import Log, log_of
from workflows.methods.contracts import Path
from workflows.settings import PathSettings
from workflows.surface import Surface

if TYPE_CHECKING:
    from ase.mep import NEB

#: NEB springs, eV/Å². Stiff enough to keep the images apart, soft against a bond (30 eV/Å²).
SPRING_CONSTANT = 0.1


def geodesic(reactant: Atoms, product: Atoms, images: int, seed: int) -> list[Atoms]:
    """Geodesic interpolation (Zhu et al., J. Chem. Phys. 2019, 150, 164103), ends included.

    It needs no energies. The library nudges its start at random: the seed makes two runs
    equal. Raises `StageError`.
    """
    from geodesic_interpolate import Geodesic, redistribute

    symbols = reactant.get_chemical_symbols()
    state = np.random.get_state()  # noqa: NPY002 - the library draws from the global state
    np.random.seed(seed)  # noqa: NPY002
    try:
        ends = [reactant.get_positions(), product.get_positions()]
        raw = redistribute(symbols, ends, images + 2, tol=1e-2)
        smoother = Geodesic(symbols, raw, 1.7, threshold=3, friction=1e-2)
        smoother.smooth(tol=2e-3, max_iter=15)
    except Exception as error:
        raise as_stage_error(error, "geodesic-interpolate") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return [with_positions(reactant, positions) for positions in smoother.path]


def band(images: list[Atoms], surface: Surface, method: str, log: Log) -> NEB:
    """ASE's elastic band or string (`method`) of images that are evaluated together."""
    from ase.mep import NEB

    answered = Answered(surface, log)

    class BatchedNEB(NEB):
        """Has its images evaluated together before it asks for each."""

        def get_forces(self) -> np.ndarray:
            for image in self.images:
                image.calc = surface
            prepare(self.images, surface)
            for end in (self.images[0], self.images[-1]):
                surface.at(end)
            for number, image in enumerate(self.images[1:-1], 1):
                name = f"image {number + 1} of {len(self.images)}"
                neighbours = self.images[number - 1], self.images[number + 1]
                image.positions = answered.place(number, name, image, neighbours).positions
            forces: np.ndarray = super().get_forces()
            return forces

    return BatchedNEB(images, k=SPRING_CONSTANT, method=method, allow_shared_calculator=True)


def relax_band(images: NEB, max_force: float, steps: int, log: Log) -> bool:
    """Relax a band or string for `steps` steps at most; does no atom feel `max_force` (eV/Å)?"""
    from ase.optimize import FIRE

    try:
        return bool(FIRE(images, logfile=log).run(fmax=max_force, steps=steps))
    finally:
        for image in images.images:
            image.calc = None


def geodesic_path(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> Path:
    """`geodesic` as a path method."""
    return Path(geodesic(reactant, product, settings.images, settings.seed), True, "")


def climbing_band(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> Path:
    """Nudged elastic band with the improved tangent, then with a climbing image.

    Henkelman, Uberuaga and Jónsson, J. Chem. Phys. 2000, 113, 9901 and 9978. The first
    half of the cycles relaxes the band so that the right image climbs in the second.
    """
    images = geodesic(reactant, product, settings.images, settings.seed)
    with log_of("ASE") as log:
        elastic = band(images, surface, "improvedtangent", log)
        relax_band(elastic, 5 * settings.max_force, settings.max_steps // 2, log)
        elastic.climb = True
        converged = relax_band(elastic, settings.max_force, settings.max_steps // 2, log)
    return Path(images, converged, log.getvalue())
