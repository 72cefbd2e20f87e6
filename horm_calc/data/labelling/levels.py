"""The methods that label geometries: energies, forces and second derivatives.

All are for neutral singlets in vacuum, in eV, Å.

**GFN2-xTB** (Bannwarth 2019, 10.1021/acs.jctc.8b01176) and **GFN1-xTB** (Grimme 2017,
10.1021/acs.jctc.7b00118), by tblite. Second derivatives are central differences of forces, the
geometry displaced by 0.005 Å in all: along a coordinate for the Hessian, along a vector for the
Hessian's product with it. The SCF converges a hundred times tighter than by tblite's default, whose
noise in the forces would be 0.05 eV/Å² in such differences; what remains is the differences'
own error of up to 0.01 eV/Å².

**ωB97X/6-31G(d)** (Chai 2008, 10.1063/1.2834918), by PySCF, on a GPU if gpu4pyscf finds one.
Hessians are analytic, without the motion of the grid: up to 0.06 eV/Å² in diagonal blocks. The
settings reproduce HORM's published labels, so that labels of both can be mixed: see
`horm_calc.dft`. A coarser grid gives labels for half the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from horm_calc.dft import COARSE, FINE, HARTREE
from horm_calc.errors import HormError
from horm_calc.references import LEVEL_OF_THEORY

#: Å by which a geometry is displaced, in all, for a difference of forces.
STEP = 0.005

_XTB_ACCURACY = 0.01  # of tblite; 1 is its default, smaller is tighter


class NotLabelled(HormError, RuntimeError):
    """The method gives no label for this geometry; the message says why."""


@dataclass(frozen=True)
class Point:
    """What a method says at a geometry of n atoms; second derivatives are computed when called.

    energy: eV. forces: (n, 3), eV/Å. hessian(): (3n, 3n), eV/Å², symmetric. products(vectors):
    the Hessian's products with vectors (k, n, 3), of the same shape, eV/Å² times their unit.
    Both raise `NotLabelled`.
    """

    energy: float
    forces: np.ndarray
    hessian: Callable[[], np.ndarray]
    products: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Level:
    """A level of theory.

    at(numbers, positions): the `Point` at atomic numbers (n,) and positions (n, 3), Å; raises
    `NotLabelled`. program: the Python package that computes it.
    """

    name: str
    program: str
    at: Callable[[np.ndarray, np.ndarray], Point]

    @property
    def description(self) -> str:
        """The level and by what it is computed, such as "GFN2-xTB (tblite 0.8.0)"."""
        return f"{self.name} ({self.program} {version(self.program)})"

    @property
    def installed(self) -> bool:
        """Whether the program is there."""
        return find_spec(self.program) is not None


def _xtb(method: str, numbers: np.ndarray, positions: np.ndarray) -> Point:
    from ase import Atoms
    from ase.calculators.calculator import CalculatorError

    from horm_calc.xtb import XTB

    atoms = Atoms(numbers, positions)
    # Anew for every frame: labels do not depend on what came before.
    atoms.calc = XTB(method=method, accuracy=_XTB_ACCURACY, verbosity=0)

    def forces(displaced: np.ndarray) -> np.ndarray:
        atoms.positions = displaced
        try:
            return atoms.get_forces()
        except CalculatorError as error:
            raise NotLabelled(f"{method}: {error}") from None

    def hessian() -> np.ndarray:
        size = positions.size
        units = np.eye(size).reshape(size, -1, 3)
        rows = np.stack([*_differences(forces, positions, units)]).reshape(size, size)
        return 0.5 * (rows + rows.T)

    centre = forces(positions)
    energy = float(atoms.get_potential_energy())
    products = partial(_products, forces, positions)
    return Point(energy, centre, hessian, products)


def _products(
    forces: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    return np.stack([*_differences(forces, positions, vectors)])


def _differences(
    forces: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, vectors: np.ndarray
) -> Iterator[np.ndarray]:
    """The Hessian times each of the vectors, from two gradients.

    Displacements are of one length whatever the vector's: the error is of second order in it.
    """
    for vector in vectors:
        norm = np.linalg.norm(vector)
        step = vector * (STEP / norm)
        yield (forces(positions - step) - forces(positions + step)) * (norm / (2 * STEP))


def _wb97x(grid: tuple[int, int], numbers: np.ndarray, positions: np.ndarray) -> Point:
    from horm_calc.dft import SCFFailed, forces, ground_state, hessian

    try:
        field = ground_state(numbers, positions, grid=grid)
    except SCFFailed as error:
        raise NotLabelled(str(error)) from None

    def products(vectors: np.ndarray) -> np.ndarray:
        return (vectors.reshape(len(vectors), -1) @ hessian(field)).reshape(vectors.shape)

    return Point(field.e_tot * HARTREE, forces(field), partial(hessian, field), products)


#: By the names that `horm-label --level` knows.
LEVELS = {
    "gfn2-xtb": Level("GFN2-xTB", "tblite", partial(_xtb, "GFN2-xTB")),
    "gfn1-xtb": Level("GFN1-xTB", "tblite", partial(_xtb, "GFN1-xTB")),
    "wb97x": Level(LEVEL_OF_THEORY, "pyscf", partial(_wb97x, FINE)),
    "wb97x-coarse": Level(LEVEL_OF_THEORY, "pyscf", partial(_wb97x, COARSE)),
}
