"""The networks as an ASE calculator."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from horm_calc.catalogue import SHIPPED
from horm_calc.checkpoints import CheckpointError
from horm_calc.input_checks import check
from horm_calc.potential import HessianKind, Potential, in_batches, load_potential
from horm_calc.references import reference_energy

log = logging.getLogger(__name__)

PROPERTIES = ("energy", "forces", "hessian")
#: Atoms in one batch of `evaluate`: beyond it, batches gain little and memory grows.
MAX_ATOMS_PER_BATCH = 1024


class HormCalculator(Calculator):
    """Energies, forces and Hessians of a network.

    checkpoint: a file, or a name that `horm-models` lists ('eqv2', 'left', …); if not given,
    'horm-mini', which comes with this package and stands for GFN2-xTB. device: 'cuda'
    where there is one, else 'cpu', if not given. dtype: 'float32', in which the networks were
    trained, or 'float64'. hessian_kind: for EquiformerV2, 'frame-fixed' (default; the one its
    published weights were trained on, in which the frames of the edges are constants) or
    'exact' (the derivative of the forces); the other networks have only the exact one.
    symmetrize: give the symmetric part of the Hessian, which direct forces do not make
    symmetric. atomic_references: total energies, as the level of theory of its training has
    them, not the network's own atomization-like ones. compile: compile the network for energies
    and forces (a minute at first use). hessian_dtype: another precision for second derivatives.

    Results are in eV, eV/Å and eV/Å²: energy, free_energy (equal to it), forces (n, 3) and
    hessian (3n, 3n). Raises `CheckpointNotFound` or `CheckpointError` for a checkpoint that
    cannot be had or used, and `UnsupportedInput` for structures that the networks do not know:
    elements other than H, C, N, O, charges, open shells, periodic cells.

    The networks: LEFTNet (arXiv:2304.04757), AlphaNet (arXiv:2501.07155), EquiformerV2
    (arXiv:2306.12059), and MomentNet of this package; the training of the first three on
    Hessians: HORM (arXiv:2505.12447).
    """

    implemented_properties = ["energy", "free_energy", "forces", "hessian"]  # noqa: RUF012

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = SHIPPED,
        device: str | torch.device | None = None,
        dtype: str = "float32",
        hessian_kind: HessianKind | None = None,
        symmetrize: bool = True,
        atomic_references: bool = True,
        compile: bool = False,
        hessian_dtype: str | None = None,
    ) -> None:
        super().__init__()
        self.symmetrize = symmetrize
        self.atomic_references = atomic_references
        path = Path(checkpoint).expanduser()
        # Absolute, as workers and copies may load it from another current folder.
        where = path.absolute() if path.is_file() else checkpoint
        self._options = (where, device, dtype, hessian_kind, hessian_dtype, compile)
        self.potential: Potential = load_potential(*self._options)
        self._sha256 = self.potential.sha256
        self.level_of_theory = self.potential.level_of_theory
        log.info(
            "%s: %s, trained on %s, %s Hessian",
            self.potential.label,
            self.potential.name,
            self.level_of_theory,
            self.potential.hessian_kind,
        )

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if system_changes:
            self.results = {}
        self.results |= self._evaluate([self.atoms], properties)[0]

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy (3n, 3n), eV/Å².

        Of the last structure if none is given; raises `ValueError` if there was none.
        """
        if atoms is None and self.atoms is None:
            raise ValueError("no structure yet: get_hessian(atoms)")
        return self.get_property("hessian", atoms)

    def evaluate(
        self,
        molecules: Iterable[Atoms],
        properties: Sequence[str] | str = PROPERTIES,
        max_atoms_per_batch: int = MAX_ATOMS_PER_BATCH,
    ) -> list[dict[str, Any]]:
        """Properties of many molecules of any sizes in a few batched passes.

        One dictionary a molecule, as `Calculator.results`. A batch holds at most
        `max_atoms_per_batch` atoms, one molecule at least; it is halved where memory does not
        suffice. Raises `UnsupportedInput`, which says the place of the molecule in the list.
        """
        if isinstance(molecules, Atoms):
            raise TypeError("evaluate takes a list of molecules: evaluate([atoms])")
        wanted = [properties] if isinstance(properties, str) else properties
        return self._evaluate(list(molecules), wanted, max_atoms_per_batch)

    def lowest_mode(self, atoms: Atoms, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The k lowest eigenvalues (k,), eV/Å², and eigenvectors (k, n, 3) of the Hessian.

        From products of the Hessian with vectors: for large molecules, of which the whole
        Hessian costs too much. Not mass-weighted.
        """
        self._check(atoms)
        return self.potential.lowest_modes(atoms, k)

    def concerns(self, atoms: Atoms) -> list[str]:
        """Why the network may be wrong here: what it warns of when it computes `atoms`."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._check(atoms)
        return [str(one.message) for one in caught]

    def _check(self, atoms: Atoms) -> None:
        check(atoms, self.potential.network.cutoff, self.potential.most_atoms)

    def _evaluate(
        self,
        molecules: Sequence[Atoms],
        properties: Sequence[str],
        max_atoms: int = MAX_ATOMS_PER_BATCH,
    ) -> list[dict[str, Any]]:
        unknown = set(properties) - set(self.implemented_properties)
        if unknown:
            raise ValueError(f"no such property: {', '.join(sorted(unknown))}")
        for place, atoms in enumerate(molecules):
            try:
                self._check(atoms)
            except ValueError as error:
                if len(molecules) == 1:
                    raise
                raise type(error)(f"molecule {place}: {error}") from None
        results: list[dict[str, Any]] = [{} for _ in molecules]
        if set(properties) - {"hessian"}:
            found = in_batches(molecules, max_atoms, self.potential.energies_and_forces)
            for atoms, result, (energy, forces) in zip(molecules, results, found, strict=True):
                if self.atomic_references:
                    energy += reference_energy(atoms.numbers, self.potential.references)
                result |= {"energy": energy, "free_energy": energy, "forces": forces}
        if "hessian" in properties:
            matrices = in_batches(molecules, max_atoms, self.potential.hessians)
            for result, matrix in zip(results, matrices, strict=True):
                symmetric = 0.5 * (matrix + matrix.T) if self.symmetrize else matrix
                result["hessian"] = symmetric
        return results

    def __getstate__(self) -> dict[str, Any]:
        """Travels to worker processes as options: each loads the weights itself."""
        return {key: value for key, value in self.__dict__.items() if key != "potential"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self.potential = load_potential(*self._options)
        if self.potential.sha256 != self._sha256:
            problem = "not the file with which this calculator was made"
            raise CheckpointError(Path(self._options[0]), problem, "Make the calculator anew.")
