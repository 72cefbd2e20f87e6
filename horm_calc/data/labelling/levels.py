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
settings reproduce HORM's published labels, so that labels of both can be mixed: see `_wb97x`.
A coarser grid gives labels for half the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from horm_calc.references import LEVEL_OF_THEORY

#: Å by which a geometry is displaced, in all, for a difference of forces.
STEP = 0.005

_XTB_ACCURACY = 0.01  # of tblite; 1 is its default, smaller is tighter

# HORM's energies and forces are in units of this hartree (CODATA: 27.211386). The 4 meV between
# the two do not matter in a reaction, but would between frames labelled here and theirs.
_HARTREE = 27.2114
_BOHR = 0.529177210903

_SCF_TOLERANCE = 1e-9  # hartree
_RESPONSE_TOLERANCE = 1e-5  # of the orbitals' response, see `_wb97x`
_ROUGH_GRID, _ROUGH_TOLERANCES = (30, 50), (1e-6, 1e-2)  # energy, hartree; its gradient


class NotLabelled(RuntimeError):
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
    """ωB97X/6-31G(d) as HORM has it, which its paper (arXiv:2505.12447) describes no further.

    Found by comparison with the frames published: spherical d functions (with Cartesian ones
    energies are 0.1 eV lower), a grid of 99 radial and 590 angular points, and Coulomb and
    exchange by density fitting (without it forces differ by 0.004 eV/Å). So energies agree to
    their float32 (5e-4 eV) and forces to 6e-5 eV/Å.

    The orbitals' response is solved to 1e-5, with which Hessians of three published frames (8 and
    9 atoms) agree to 0.017, 0.012 and 0.007 eV/Å² in the worst element. Solved to 1e-8 they
    differ by up to 0.06 (RMS 0.007) from the published ones, which seem to have been stopped
    early: a difference of forces along one direction of one frame is 0.05 eV/Å² from the tighter
    result, and 0.12 from the published one. Labels that mix with HORM's are what this level is for.

    grid: radial and angular points for each atom. On 75 and 302 a label costs half as much; over
    five frames of 6 to 12 atoms forces then differ by 0.002 eV/Å in the mean and 0.012 at most,
    energies by 2e-4 eV at most. Fewer radial points (60, 434) cost as much and differ by 0.03 eV/Å.
    """
    from pyscf import dft, gto

    atoms = list(zip(numbers.tolist(), positions.tolist(), strict=True))
    molecule = gto.M(atom=atoms, unit="Angstrom", basis="6-31g(d)", cart=False, verbose=0)
    field = dft.RKS(molecule, xc="wb97x").density_fit(auxbasis="cc-pvdz-jkfit")
    field.grids.atom_grid = grid
    field.conv_tol = _SCF_TOLERANCE
    field.conv_tol_cpscf = _RESPONSE_TOLERANCE
    field.chkfile = None
    gpu = _has_gpu()
    if gpu:
        field = field.to_gpu()
    energy = float(field.kernel(None if gpu else _density_on_small_grid(field)))
    if not field.converged:
        raise NotLabelled("ωB97X: the SCF does not converge")
    forces = -np.asarray(field.nuc_grad_method().kernel()) * (_HARTREE / _BOHR)

    def hessian() -> np.ndarray:
        if not gpu:
            _respond_on_small_grid(field)
        second = field.Hessian()
        second.auxbasis_response = 2  # all of it
        blocks = np.asarray(second.kernel())  # (n, n, 3, 3)
        flat = blocks.transpose(0, 2, 1, 3).reshape(positions.size, positions.size)
        return 0.5 * (flat + flat.T) * (_HARTREE / _BOHR**2)

    def products(vectors: np.ndarray) -> np.ndarray:
        return (vectors.reshape(len(vectors), -1) @ hessian()).reshape(vectors.shape)

    return Point(energy * _HARTREE, forces, hessian, products)


def _density_on_small_grid(field: Any) -> np.ndarray:
    """A density from which five iterations on the real grid are enough, instead of some eleven."""
    from pyscf.dft import Grids

    rough = field.copy()
    rough.grids = Grids(field.mol)
    rough.grids.atom_grid = _ROUGH_GRID
    rough.conv_tol, rough.conv_tol_grad = _ROUGH_TOLERANCES
    rough.kernel()
    return np.asarray(rough.make_rdm1())


def _respond_on_small_grid(field: Any) -> None:
    """Makes PySCF solve for the orbitals' response on the grid that gpu4pyscf takes for it.

    Four times faster, and Hessians change by 0.005 eV/Å².
    """
    from pyscf.dft import Grids
    from pyscf.dft.gen_grid import sg1_prune

    small = field.copy()
    small.grids = Grids(field.mol)
    small.grids.atom_grid, small.grids.prune = (50, 194), sg1_prune
    field.gen_response = small.gen_response


def _has_gpu() -> bool:
    if find_spec("gpu4pyscf") is None:
        return False
    import cupy

    return bool(cupy.is_available())


#: By the names that `horm-label --level` knows.
LEVELS = {
    "gfn2-xtb": Level("GFN2-xTB", "tblite", partial(_xtb, "GFN2-xTB")),
    "gfn1-xtb": Level("GFN1-xTB", "tblite", partial(_xtb, "GFN1-xTB")),
    "wb97x": Level(LEVEL_OF_THEORY, "pyscf", partial(_wb97x, (99, 590))),
    "wb97x-coarse": Level(LEVEL_OF_THEORY, "pyscf", partial(_wb97x, (75, 302))),
}
