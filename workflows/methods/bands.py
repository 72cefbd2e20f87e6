"""The elastic band of ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from workflows.images import Answered, prepare
from workflows.logs import Log, log_of
from workflows.methods.contracts import Path
from workflows.methods.geodesics import geodesic
from workflows.settings import PathSettings
from workflows.surface import Surface

if TYPE_CHECKING:
    from ase.mep import NEB

#: NEB springs, eV/Å². Stiff enough to keep the images apart, soft against a bond (30 eV/Å²).
SPRING_CONSTANT = 0.1


def band(images: list[Atoms], surface: Surface, log: Log) -> NEB:
    """ASE's elastic band, with the improved tangent, of images that are evaluated together."""
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

    return BatchedNEB(
        images, k=SPRING_CONSTANT, method="improvedtangent", allow_shared_calculator=True
    )


def relax_band(images: NEB, max_force: float, steps: int, log: Log) -> bool:
    """Relax a band for `steps` steps at most; does no atom feel `max_force` (eV/Å)?"""
    from ase.optimize import FIRE

    try:
        return bool(FIRE(images, logfile=log).run(fmax=max_force, steps=steps))
    finally:
        for image in images.images:
            image.calc = None


def climbing_band(
    reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings
) -> Path:
    """Nudged elastic band with the improved tangent, then with a climbing image.

    Henkelman, Uberuaga and Jónsson, J. Chem. Phys. 2000, 113, 9901 and 9978. The first
    half of the cycles relaxes the band so that the right image climbs in the second.
    """
    images = geodesic(reactant, product, settings.images, settings.seed)
    with log_of("ASE") as log:
        elastic = band(images, surface, log)
        relax_band(elastic, 5 * settings.max_force, settings.max_steps // 2, log)
        elastic.climb = True
        converged = relax_band(elastic, settings.max_force, settings.max_steps // 2, log)
    return Path(images, converged, log.getvalue())
