"""ωB97X/6-31G(d) by PySCF: the level of theory of the published networks, as an ASE calculator.

ωB97X: Chai and Head-Gordon, J. Chem. Phys. 2008, 128, 084106. HORM's paper (arXiv:2505.12447)
describes its labels no further; what reproduces them was found by comparison with the frames
published: spherical d functions (with Cartesian ones energies are 0.1 eV lower), a grid of 99
radial and 590 angular points, and density fitting of Coulomb and exchange (without it forces differ
by 0.004 eV/Å). Energies then agree to their float32 (5e-4 eV) and forces to 6e-5 eV/Å.

The response of the orbitals is solved to 1e-5, with which Hessians of three published frames (8 and
9 atoms) agree to 0.017, 0.012 and 0.007 eV/Å² in the worst element. Solved to 1e-8 they differ by
up to 0.06 (RMS 0.007) from the published ones, which seem to have been stopped early: a difference
of forces along one direction of one frame is 0.05 eV/Å² from the tighter result, and 0.12 from the
published one. Results that mix with HORM's are what this level is for.

A coarser grid of 75 and 302 points halves the cost. Over five frames of 6 to 12 atoms forces then
differ by 0.002 eV/Å in the mean and 0.012 at most, energies by 2e-4 eV at most. Fewer radial points
(60, 434) cost as much and differ by 0.03 eV/Å.

A GPU is used where gpu4pyscf finds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from horm_calc.capabilities import Capabilities
from horm_calc.errors import HormError
from horm_calc.references import LEVEL_OF_THEORY

#: Radial and angular points for each atom.
FINE, COARSE = (99, 590), (75, 302)

#: Those for which PySCF has the basis and the one for density fitting: H, B to Ne, Al to Ar.
ELEMENTS = frozenset({1, *range(5, 11), *range(13, 19)})

#: HORM's energies and forces are in units of this hartree (CODATA: 27.211386). The 4 meV between
#: the two do not matter in a reaction, but would between frames labelled here and theirs.
HARTREE = 27.2114
BOHR = 0.529177210903

#: Seconds of a core for an energy with forces, `_GRADIENT` N^`_POWER` for N basis functions, and of
#: how many of these a Hessian is, for each atom. Fitted to HCN (30 functions: 2.8 s, Hessian 8 s),
#: CH3OH (36: 5.5 s, 26 s) and vinyl alcohol (50: 10 s, 50 s), on the fine grid.
_GRADIENT, _POWER = 6.1e-4, 2.5
_HESSIAN = 0.85

_SCF_TOLERANCE = 1e-9  # hartree
_RESPONSE_TOLERANCE = 1e-5  # of the orbitals' response, see above
_ROUGH_GRID, _ROUGH_TOLERANCES = (30, 50), (1e-6, 1e-2)  # energy, hartree; its gradient


class SCFFailed(HormError, CalculationFailed):
    """The self-consistent field did not converge."""


class WB97X(Calculator):
    """ASE calculator of ωB97X/6-31G(d): energies, forces and analytic Hessians.

    Open shells are unrestricted. Each geometry starts from the density of the last one.

    Parameters
    ----------
    charge, multiplicity
        Total charge, and spin multiplicity 2S + 1.
    grid
        Radial and angular points for each atom.

    Raises
    ------
    SCFFailed
        From `calculate`, where the SCF does not converge.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE
    capabilities = Capabilities(level_of_theory=f"{LEVEL_OF_THEORY} (PySCF)", elements=ELEMENTS)

    def __init__(
        self, charge: int = 0, multiplicity: int = 1, *, grid: tuple[int, int] = FINE
    ) -> None:
        super().__init__()
        self.charge, self.multiplicity, self.grid = charge, multiplicity, grid
        self._field: Any = None

    @staticmethod
    def expected_seconds(numbers: Sequence[int] | np.ndarray) -> tuple[float, float]:
        """Roughly how long an energy with forces takes, and how long a Hessian, s on one core.

        Parameters
        ----------
        numbers
            Atomic numbers.

        Returns
        -------
        tuple of float
            Within a factor of two, for a processor such as that of the measurements.
        """
        size = sum(_functions(int(number)) for number in numbers)
        gradient = _GRADIENT * size**_POWER
        return gradient, _HESSIAN * len(numbers) * gradient

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy and forces into `results`, as ASE calls it. Raises `SCFFailed`."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        before = None
        if self._field is not None and "numbers" not in system_changes:
            before = self._field.make_rdm1()
        self._field = ground_state(
            self.atoms.numbers,
            self.atoms.positions,
            charge=self.charge,
            multiplicity=self.multiplicity,
            grid=self.grid,
            density=before,
        )
        self.results = {"energy": self._field.e_tot * HARTREE, "forces": forces(self._field)}

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Second derivatives of the energy, symmetric.

        Parameters
        ----------
        atoms
            n atoms, positions in Å.

        Returns
        -------
        ndarray
            (3n, 3n), eV/Å².

        Raises
        ------
        SCFFailed
            Where the SCF does not converge.
        """
        self.get_property("energy", atoms)
        return hessian(self._field)


def _functions(number: int) -> int:
    """Basis functions of an atom in 6-31G(d), with five d functions."""
    return 2 if number < 3 else 14 if number < 11 else 18


def ground_state(
    numbers: np.ndarray,
    positions: np.ndarray,
    *,
    charge: int = 0,
    multiplicity: int = 1,
    grid: tuple[int, int] = FINE,
    density: np.ndarray | None = None,
) -> Any:
    """PySCF's converged mean field at atomic numbers (n,) and positions (n, 3), Å.

    Starts from `density`, a density matrix of the same atoms, where one is given. Raises
    `SCFFailed`.
    """
    from pyscf import dft, gto

    atoms = list(zip(np.asarray(numbers).tolist(), positions.tolist(), strict=True))
    molecule = gto.M(
        atom=atoms,
        unit="Angstrom",
        basis="6-31g(d)",
        cart=False,
        charge=charge,
        spin=multiplicity - 1,
        verbose=0,
    )
    kind = dft.RKS if multiplicity == 1 else dft.UKS
    field = kind(molecule, xc="wb97x").density_fit(auxbasis="cc-pvdz-jkfit")
    field.grids.atom_grid = grid
    field.conv_tol = _SCF_TOLERANCE
    field.conv_tol_cpscf = _RESPONSE_TOLERANCE
    field.chkfile = None
    if _has_gpu():
        field = field.to_gpu()
    elif density is None:
        density = _density_on_small_grid(field)
    field.kernel(density)
    if not field.converged:
        raise SCFFailed(
            f"ωB97X: the SCF does not converge (charge {charge:+d}, multiplicity {multiplicity}); "
            "are both right? If they are, start from another geometry"
        )
    return field


def forces(field: Any) -> np.ndarray:
    """Forces (n, 3), eV/Å, of what `ground_state` gave."""
    return -np.asarray(field.nuc_grad_method().kernel()) * (HARTREE / BOHR)


def hessian(field: Any) -> np.ndarray:
    """Analytic Hessian (3n, 3n), eV/Å², of what `ground_state` gave.

    Without the motion of the grid: up to 0.06 eV/Å² off in diagonal blocks.
    """
    if not _has_gpu():
        _respond_on_small_grid(field)
    second = field.Hessian()
    second.auxbasis_response = 2  # all of it
    blocks = np.asarray(second.kernel())  # (n, n, 3, 3)
    size = 3 * len(blocks)
    flat = blocks.transpose(0, 2, 1, 3).reshape(size, size)
    return 0.5 * (flat + flat.T) * (HARTREE / BOHR**2)


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
