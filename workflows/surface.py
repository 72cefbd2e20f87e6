"""One molecule's potential energy surface: any ASE calculator, counted and checked.

Every stage talks to the calculator through a `Surface`, so that evaluations are counted in
one place, numbers that are not finite never reach an optimiser, and a Hessian that one
stage has computed is not computed again by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from workflows.errors import CalculatorFailed
from workflows.masses import with_positions

#: Displacement of the central differences, Å. Small enough for the third derivative not to
#: matter (1e-3 eV/Å² at a C-H stretch), large enough for an SCF converged to 1e-6 Hartree.
FINITE_DIFFERENCE_STEP = 0.005

#: Two geometries closer than this (Å, any component) are the same point: the rounding of
#: the way to Bohr and back, far below any physical difference.
SAME_GEOMETRY = 1e-8

#: Geometries whose energies and forces are kept: some cycles of a long band.
REMEMBERED = 200

#: eV an atom, from the first structure. Bonds hold a molecule together by some 5, so that no
#: relaxation gains more than a few; and bad guesses cost hundreds, where atoms overlap.
DEEPEST, HIGHEST = 20.0, 1000.0


@dataclass(frozen=True)
class Evaluations:
    """How often the calculator was called: `gradients` (energy and forces) and `hessians`.

    Gradients that a finite-difference Hessian needed are part of `gradients`.
    """

    gradients: int = 0
    hessians: int = 0

    def __sub__(self, other: Evaluations) -> Evaluations:
        return Evaluations(self.gradients - other.gradients, self.hessians - other.hessians)


class Surface(Calculator):
    """An ASE calculator around `calculator` that counts, checks and remembers.

    Energies in eV, forces in eV/Å, Hessians (3N, 3N) in eV/Å². Raises `CalculatorFailed`
    when the calculator raises or returns something that is not finite.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE

    def __init__(self, calculator: Calculator, charge: int = 0, multiplicity: int = 1) -> None:
        super().__init__()
        self.calculator = calculator
        self.charge = charge
        self.multiplicity = multiplicity
        self.evaluations = Evaluations()
        self._last_hessian: tuple[np.ndarray, np.ndarray] | None = None
        self._known: dict[bytes, dict[str, Any]] = {}
        self._first_energy: float | None = None

    @property
    def has_own_hessian(self) -> bool:
        """Whether the calculator gives second derivatives itself."""
        return hasattr(self.calculator, "get_hessian")

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties or ["energy"], system_changes)
        bare = self._bare(self.atoms)
        found = self._known.get(_key(bare))
        if found is None:
            try:
                # Forces first: for every calculator here they come with the energy.
                found = {"forces": self.calculator.get_forces(bare)}
                found["energy"] = self.calculator.get_potential_energy(bare)
            except Exception as error:
                raise CalculatorFailed(_one_line(error)) from error
            self._remember([bare], [found])
        try:
            energy, forces = float(found["energy"]), np.array(found["forces"], dtype=float)
        except (TypeError, ValueError) as error:
            raise CalculatorFailed(f"not an energy and forces: {_one_line(error)}") from error
        if forces.shape != (len(bare), 3):
            raise CalculatorFailed(f"the forces have shape {forces.shape}, not {(len(bare), 3)}")
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise CalculatorFailed("the calculator returned an energy or force that is not finite")
        self._check_energy(energy, len(bare))
        self.results = {"energy": energy, "forces": forces}

    def _check_energy(self, energy: float, atoms: int) -> None:
        """Raises where a network's energy has no bounds, and an optimiser would follow it."""
        if self._first_energy is None:
            self._first_energy = energy
        risen = energy - self._first_energy
        if not -DEEPEST * atoms < risen < HIGHEST * atoms:
            raise CalculatorFailed(
                f"the energy {'rose' if risen > 0 else 'fell'} by {abs(risen):.3g} eV, as no "
                "molecule's does: the calculator knows nothing of this structure"
            )

    def prepare(self, images: Iterable[Atoms]) -> None:
        """Has energies and forces of `images` ready for when they are asked for one by one.

        A calculator with `evaluate(list of Atoms, properties)`, such as `HormCalculator`, works
        them out in one batch, in a fraction of the time; with others nothing happens here.
        """
        if not hasattr(self.calculator, "evaluate"):
            return
        bare = [self._bare(image) for image in images]
        bare = [image for image in bare if _key(image) not in self._known]
        if not bare:
            return
        try:
            self._remember(bare, self.calculator.evaluate(bare, ("energy", "forces")))
        except Exception as error:
            raise CalculatorFailed(_one_line(error)) from error

    def concerns(self, atoms: Atoms) -> list[str]:
        """Why the calculator may be wrong here, if it can say so (`HormCalculator` does)."""
        own: Any = self.calculator
        return list(own.concerns(self._bare(atoms))) if hasattr(own, "concerns") else []

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Second derivatives of the energy, (3N, 3N), eV/Å², symmetric.

        The calculator's own `get_hessian(atoms)` where it has one, central differences of
        its forces (step `FINITE_DIFFERENCE_STEP`) where it has none.
        """
        positions = atoms.get_positions()
        if self._last_hessian is not None:
            known, hessian = self._last_hessian
            if _close(known, positions):
                return hessian.copy()
        if not self.has_own_hessian:
            hessian = self._finite_difference_hessian(atoms)
        else:
            own: Any = self.calculator
            try:
                hessian = np.array(own.get_hessian(self._bare(atoms)), dtype=float)
            except Exception as error:
                raise CalculatorFailed(_one_line(error)) from error
        size = 3 * len(atoms)
        if hessian.shape != (size, size):
            raise CalculatorFailed(f"the Hessian has shape {hessian.shape}, not {(size, size)}")
        if not np.isfinite(hessian).all():
            raise CalculatorFailed("the calculator returned a Hessian that is not finite")
        done = self.evaluations
        self.evaluations = Evaluations(done.gradients, done.hessians + 1)
        hessian = 0.5 * (hessian + hessian.T)
        self._last_hessian = (positions, hessian)
        return hessian.copy()

    def at(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Energy (eV) and forces (N, 3) (eV/Å) of `atoms`, without touching `atoms`."""
        self.get_property("energy", atoms)
        return self.results["energy"], self.results["forces"].copy()

    def _remember(self, images: Sequence[Atoms], found: Iterable[Mapping[str, Any]]) -> None:
        """Counts what was worked out, and keeps it for when the same geometry comes again.

        Bands of images come back to the same geometries several times in a cycle.
        """
        done = self.evaluations
        self.evaluations = Evaluations(done.gradients + len(images), done.hessians)
        self._known |= {
            _key(image): {name: results[name] for name in ("energy", "forces")}
            for image, results in zip(images, found, strict=True)
        }
        for oldest in list(self._known)[:-REMEMBERED]:
            del self._known[oldest]

    def _bare(self, atoms: Atoms) -> Atoms:
        """A copy with charge and spin where ASE's calculators look for them."""
        bare = with_positions(atoms, atoms.positions)
        charges = np.zeros(len(bare))
        moments = np.zeros(len(bare))
        charges[0] = self.charge
        moments[0] = self.multiplicity - 1
        bare.set_initial_charges(charges)
        bare.set_initial_magnetic_moments(moments)
        return bare

    def _finite_difference_hessian(self, atoms: Atoms) -> np.ndarray:
        displaced = atoms.copy()
        displaced.calc = self
        origin = atoms.get_positions()
        rows = []
        for index in np.ndindex(*origin.shape):
            forces = []
            for sign in (1, -1):
                positions = origin.copy()
                positions[index] += sign * FINITE_DIFFERENCE_STEP
                displaced.set_positions(positions)
                forces.append(displaced.get_forces().ravel())
            rows.append((forces[1] - forces[0]) / (2 * FINITE_DIFFERENCE_STEP))
        return np.array(rows)


def _key(atoms: Atoms) -> bytes:
    """The same for geometries that differ by less than `SAME_GEOMETRY`, but for rare rounding."""
    with np.errstate(invalid="ignore"):  # positions that are no numbers are for others to refuse
        places = np.round(atoms.positions / (10 * SAME_GEOMETRY)).astype(np.int64)
    return atoms.numbers.tobytes() + places.tobytes()


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() < SAME_GEOMETRY)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}" if len(text) < 30 else text
