"""One molecule's potential energy surface: any ASE calculator, counted and checked.

Every stage talks to the calculator through a `Surface`, so that evaluations are counted in
one place, numbers that are not finite never reach an optimiser, and a Hessian that one
stage has computed is not computed again by the next.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from horm_calc.capabilities import Capabilities, capabilities_of
from horm_calc.chemistry.masses import with_positions
from workflows.answers import asked, real_numbers
from workflows.errors import CalculatorFailed
from workflows.in_flight import Question, ask
from workflows.status import Watch

#: Displacement of the central differences, Å. Small enough for the third derivative not to
#: matter (1e-3 eV/Å² at a C-H stretch), large enough for an SCF converged to 1e-6 Hartree.
FINITE_DIFFERENCE_STEP = 0.005

#: Two geometries closer than this (Å, any component) are the same point: the rounding of
#: the way to Bohr and back, far below any physical difference.
SAME_GEOMETRY = 1e-8

#: Geometries whose energies and forces are kept: some cycles of a long band.
REMEMBERED = 200

#: Displaced geometries that are worked out in one batch.
TOGETHER = 64

#: The last structures of a stage that are kept, to show where it failed.
LAST = 100

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


@dataclass(frozen=True)
class Memory:
    """What a surface knows when a stage ends, so that another one can go on from there.

    Attributes
    ----------
    keys, energies, forces
        Of the geometries that it remembers: bytes (n, L), eV (n,), eV/Å (n, N, 3).
    first_energy
        That of its first structure, eV.
    hessian_at, hessian
        The last Hessian, (3N, 3N), eV/Å², and the positions it belongs to, Å.
    calculator
        What the calculator keeps from one structure to the next, if it can say so.
    """

    keys: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    first_energy: float | None = None
    hessian_at: np.ndarray | None = None
    hessian: np.ndarray | None = None
    calculator: Mapping[str, np.ndarray] = field(default_factory=dict)


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
        self.watch = Watch()
        self._last_hessian: tuple[np.ndarray, np.ndarray] | None = None
        self._known: dict[bytes, dict[str, Any]] = {}
        self._first_energy: float | None = None
        #: The structures that were asked for last, energies in eV: None where there is no answer.
        self.last: deque[tuple[Atoms, float | None]] = deque(maxlen=LAST)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the calculator can, as it says itself or as its methods show."""
        return asked(lambda: capabilities_of(self.calculator), [])

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy and forces into `results`, as ASE calls it. Raises `CalculatorFailed`."""
        super().calculate(atoms, properties or ["energy"], system_changes)
        energy, forces = self.at(self.atoms)
        self.results = {"energy": energy, "forces": forces}

    def at(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Energy (eV) and forces (N, 3) (eV/Å) of `atoms`, without touching `atoms`.

        Optimisers of our own ask here rather than `get_forces`, whose comparison of structures
        costs as much as a small network.
        """
        bare = self._bare(atoms)
        self.last.append((bare, None))
        energy, forces = self._answer(bare)
        self.last[-1] = (bare, energy)
        return energy, forces

    def _answer(self, bare: Atoms) -> tuple[float, np.ndarray]:
        found = self._known.get(_key(bare))
        if found is None:
            found = asked(lambda: self._energy_and_forces(bare), [bare])
            self._remember(bare, found)
        self._check_energy(found["energy"], len(bare))
        self.watch.at(found["energy"], found["forces"])
        return found["energy"], found["forces"].copy()

    def _energy_and_forces(self, bare: Atoms) -> dict[str, Any]:
        [found] = ask(Question(self.calculator, [bare], together=self.capabilities.batches))
        return {"forces": _forces(found["forces"], bare), "energy": _energy(found["energy"])}

    def _check_energy(self, energy: float, atoms: int) -> None:
        """Raises where a network's energy has no bounds, and an optimiser would follow it."""
        if self._first_energy is None:
            self._first_energy = energy
        risen = energy - self._first_energy
        if not -DEEPEST * atoms < risen < HIGHEST * atoms:
            raise CalculatorFailed(
                f"the energy {'rose' if risen > 0 else 'fell'} by {abs(risen):.3g} eV, which no "
                "molecule's energy does: the calculator is not valid for this structure"
            )

    def prepare(self, images: Iterable[Atoms]) -> None:
        """Has energies and forces of `images` ready for when they are asked for one by one.

        A calculator with `evaluate(list of Atoms, properties)`, such as `HormCalculator`, works
        them out in one batch, in a fraction of the time; with others nothing happens here.
        """
        if not self.capabilities.batches:
            return
        bare = [self._bare(image) for image in images]
        bare = [image for image in bare if _key(image) not in self._known]
        if not bare:
            return
        found = asked(lambda: self._answers_together(bare), bare)
        for image, results in zip(bare, found, strict=True):
            if results is not None:
                self._remember(image, results)

    def _answers_together(self, bare: list[Atoms]) -> list[dict[str, Any] | None]:
        answers = ask(Question(self.calculator, bare, together=True))
        found = [_checked(image, results) for image, results in zip(bare, answers, strict=False)]
        if len(answers) != len(bare):
            raise CalculatorFailed(
                "the calculator's `evaluate` did not give one result for each structure"
            )
        return found

    def _own_hessian(self, bare: Atoms) -> np.ndarray:
        # On a processor a batch of Hessians takes as long as one after the other.
        together = self.capabilities.batches and self.capabilities.device != "cpu"
        [found] = ask(Question(self.calculator, [bare], hessian=True, together=together))
        size = 3 * len(bare)
        return real_numbers(found["hessian"], (size, size), "a Hessian")

    def concerns(self, atoms: Atoms) -> list[str]:
        """Why the calculator may be wrong here, if it can say so (`HormCalculator` does)."""
        if not self.capabilities.concerns:
            return []
        own: Any = self.calculator
        bare = self._bare(atoms)
        return asked(lambda: [str(concern) for concern in own.concerns(bare)], [bare])

    def bond_orders(self, atoms: Atoms) -> np.ndarray | None:
        """(N, N), if the calculator has any (tblite does). Raises `CalculatorFailed`."""
        if not self.capabilities.bond_orders:
            return None
        own: Any = self.calculator
        bare = self._bare(atoms)
        found = asked(lambda: own.bond_orders(bare), [bare])
        return real_numbers(found, (len(bare), len(bare)), "bond orders")

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
        if not self.capabilities.hessians:
            hessian = self._finite_difference_hessian(atoms)
        else:
            bare = self._bare(atoms)
            hessian = asked(lambda: self._own_hessian(bare), [bare])
        done = self.evaluations
        self.evaluations = Evaluations(done.gradients, done.hessians + 1)
        hessian = np.asarray(0.5 * (hessian + hessian.T))
        self._last_hessian = (positions, hessian)
        return hessian.copy()

    def _remember(self, image: Atoms, found: dict[str, Any]) -> None:
        """Counts what was worked out, and keeps it for when the same geometry comes again.

        Bands of images come back to the same geometries several times in a cycle.
        """
        done = self.evaluations
        self.evaluations = Evaluations(done.gradients + 1, done.hessians)
        self._known[_key(image)] = found
        self.watch.count_gradient()
        for oldest in list(self._known)[:-REMEMBERED]:
            del self._known[oldest]

    def memory(self) -> Memory:
        """What it knows now."""
        own: Any = self.calculator
        state: Mapping[str, np.ndarray] = {}
        with contextlib.suppress(CalculatorFailed):  # it then begins anew, as others do
            state = asked(own.get_state, []) if hasattr(own, "get_state") else {}
        at, hessian = self._last_hessian or (None, None)
        found = list(self._known.values())
        return Memory(
            np.array([np.frombuffer(key, np.uint8) for key in self._known]),
            np.array([one["energy"] for one in found]),
            np.array([one["forces"] for one in found]),
            self._first_energy,
            at,
            hessian,
            state,
        )

    def go_on_from(self, memory: Memory) -> None:
        """Know what another one knew. Raises `CalculatorFailed`."""
        own: Any = self.calculator
        self._known = {
            key.tobytes(): {"energy": float(energy), "forces": forces}
            for key, energy, forces in zip(memory.keys, memory.energies, memory.forces, strict=True)
        }
        self._first_energy = memory.first_energy
        self._last_hessian = None
        if memory.hessian_at is not None and memory.hessian is not None:
            self._last_hessian = memory.hessian_at, memory.hessian
        if memory.calculator and hasattr(own, "set_state"):
            asked(lambda: own.set_state(memory.calculator), [])

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

    def rough_hessian(self, atoms: Atoms) -> np.ndarray:
        """As `get_hessian`, by differences of forces in one direction: in half as many gradients.

        Good for an optimiser to start from, not for frequencies: a C-H stretch of 35 eV/Å² is
        right to 0.5 eV/Å².
        """
        here = self.at(atoms)[1].ravel()
        rows = (here - self._displaced_forces(atoms, 1)) / FINITE_DIFFERENCE_STEP
        return np.asarray(0.5 * (rows + rows.T))

    def _finite_difference_hessian(self, atoms: Atoms) -> np.ndarray:
        forward, backward = (self._displaced_forces(atoms, sign) for sign in (1, -1))
        return np.asarray((backward - forward) / (2 * FINITE_DIFFERENCE_STEP))

    def _displaced_forces(self, atoms: Atoms, sign: int) -> np.ndarray:
        """Forces (3N, 3N), eV/Å, each row with another coordinate displaced."""
        origin = atoms.get_positions()
        displaced = []
        for index in np.ndindex(*origin.shape):
            positions = origin.copy()
            positions[index] += sign * FINITE_DIFFERENCE_STEP
            displaced.append(with_positions(atoms, positions))
        rows = []
        for start in range(0, len(displaced), TOGETHER):
            batch = displaced[start : start + TOGETHER]
            with self.watch.hessian():
                self.prepare(batch)
                rows += [self._answer(self._bare(one))[1].ravel() for one in batch]
        return np.array(rows)


def _energy(answer: Any) -> float:
    return float(real_numbers(answer, (), "an energy"))


def _forces(answer: Any, bare: Atoms) -> np.ndarray:
    return real_numbers(answer, (len(bare), 3), "an array of forces")


def _checked(bare: Atoms, results: Mapping[str, Any]) -> dict[str, Any] | None:
    """One answer of many, as arrays of its own; None for a wrong one, which is asked for alone."""
    try:
        return {"forces": _forces(results["forces"], bare), "energy": _energy(results["energy"])}
    except CalculatorFailed:
        return None


def _key(atoms: Atoms) -> bytes:
    """The same for geometries that differ by less than `SAME_GEOMETRY`, but for rare rounding."""
    with np.errstate(invalid="ignore"):  # positions that are no numbers are for others to refuse
        places = np.round(atoms.positions / (10 * SAME_GEOMETRY)).astype(np.int64)
    return bytes(atoms.numbers.tobytes() + places.tobytes())


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() < SAME_GEOMETRY)
