"""The networks as an ASE calculator."""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import (
    Calculator,
    InputError,
    PropertyNotImplementedError,
    all_changes,
    compare_atoms,
)

from horm_calc.capabilities import Capabilities
from horm_calc.checkpoints.catalogue import SHIPPED
from horm_calc.checkpoints.torch_archive import CheckpointError
from horm_calc.graphs import atoms_of
from horm_calc.input_checks import charged_or_open, check, concerns
from horm_calc.potential import HessianKind, Potential, in_batches, load_potential
from horm_calc.references import Domain, reference_energy

if TYPE_CHECKING:
    from torch_geometric.data import Data

log = logging.getLogger(__name__)

PROPERTIES = ("energy", "forces", "hessian")
#: Atoms in one batch of `evaluate`: beyond it, batches gain little and memory grows.
MAX_ATOMS_PER_BATCH = 1024


class _Last(threading.local):
    """What this thread has computed last. Threads share a network, and none sees another's atoms.

    results: of `atoms`. hessian: (3n, 3n), eV/Å², with the structure that it is of.
    """

    def __init__(self) -> None:
        self.atoms: Atoms | None = None
        self.results: dict[str, Any] = {}
        self.hessian: tuple[Atoms, np.ndarray] | None = None


def _differences(known: Atoms | None, atoms: Atoms, tol: float = 1e-15) -> list[str]:
    """As ASE has them; and what `info` says, which ASE lets be, if it is of an ion or radical."""
    differences: list[str] = compare_atoms(known, atoms, tol=tol)
    return differences or ["info"] * bool(atoms.info and charged_or_open(atoms))


class HormCalculator(Calculator):
    """Energies, forces and Hessians of a network, as an ASE calculator.

    One calculator may serve several threads at once: `atoms` and `results` are those that the
    thread which asks has computed itself, none at first. Options are fixed when it is made.

    Parameters
    ----------
    checkpoint
        A file, or a name that `horm-models` lists ('eqv2', 'left', …); if not given, 'horm-mini',
        which comes with this package and approximates ωB97X/6-31G(d).
    device
        'cuda' where there is one, else 'cpu', if not given.
    dtype
        'float32', in which the networks were trained, or 'float64'.
    hessian_kind
        For EquiformerV2, 'frame-fixed' (default; the one its published weights were trained on, in
        which the frames of the edges are constants) or 'exact' (the derivative of the forces). The
        other networks have only the exact one.
    symmetrize
        Give the symmetric part of the Hessian, which direct forces do not make symmetric.
    atomic_references
        Total energies, as the level of theory of its training has them, not the network's own
        atomization-like ones.
    compile
        Compile the network for energies and forces (a minute at first use).
    hessian_dtype
        Another precision for second derivatives.

    Attributes
    ----------
    results
        energy and free_energy (equal to it), eV, and forces (n, 3), eV/Å. The Hessian (3n, 3n),
        eV/Å², of which ASE knows nothing, is not among them: see `get_hessian`.
    potential
        The network, as `load_potential` gives it.
    level_of_theory
        That of its training.

    Raises
    ------
    CheckpointNotFound, CheckpointError
        For a checkpoint that cannot be had or used.
    ValueError
        For an option that does not exist.
    UnsupportedInput
        When it computes, for structures that the network does not know: elements other than its own
        (`elements`; H, C, N and O of those that come with this package and of the published ones),
        charges, open shells, periodic cells.

    Warns
    -----
    CheckpointConcern
        Of what the user of a checkpoint should know.
    OutsideTrainingDomain
        When it computes, of structures unlike those of its training.

    References
    ----------
    The networks: LEFTNet (arXiv:2304.04757), AlphaNet (arXiv:2501.07155), EquiformerV2
    (arXiv:2306.12059), and MomentNet of this package; the training of the first three on Hessians:
    HORM (arXiv:2505.12447).
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] = SHIPPED,
        device: str | torch.device | None = None,
        dtype: str = "float32",
        *,
        hessian_kind: HessianKind | None = None,
        symmetrize: bool = True,
        atomic_references: bool = True,
        compile: bool = False,
        hessian_dtype: str | None = None,
    ) -> None:
        self._last = _Last()
        super().__init__()
        path = Path(checkpoint).expanduser()
        # Absolute, as workers and copies may load it from another current folder.
        where = path.absolute() if path.is_file() else checkpoint
        self._options: dict[str, Any] = {
            "checkpoint": where,
            "device": device,
            "dtype": dtype,
            "hessian_kind": hessian_kind,
            "hessian_dtype": hessian_dtype,
            "compile": compile,
        }
        self.potential: Potential = load_potential(**self._options)
        # What ASE's files tell of the calculator.
        self.parameters |= {
            "checkpoint": str(where),
            "sha256": self.potential.sha256,
            "dtype": dtype,
            "hessian_kind": self.potential.hessian_kind,
            "symmetrize": symmetrize,
            "atomic_references": atomic_references,
        }
        log.info(
            "%s: %s, trained on %s, %s Hessian",
            self.potential.label,
            self.potential.name,
            self.level_of_theory,
            self.potential.hessian_kind,
        )

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that the network knows."""
        return self.potential.elements

    @property
    def charges(self) -> tuple[int, ...]:
        """Charges of the molecules that the network knows: neutral ones, (0,)."""
        return self.potential.charges

    @property
    def multiplicities(self) -> tuple[int, ...]:
        """Spin multiplicities that the network knows: closed shells, (1,)."""
        return self.potential.multiplicities

    @property
    def level_of_theory(self) -> str:
        """That of the network's training, such as "ωB97X/6-31G(d)"."""
        return self.potential.level_of_theory

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.potential.device

    @property
    def capabilities(self) -> Capabilities:
        """What it can be asked, for searches that must know before they begin."""
        return Capabilities(
            level_of_theory=self.level_of_theory,
            elements=frozenset(self.elements),
            charges=frozenset(self.charges),
            multiplicities=frozenset(self.multiplicities),
            device=str(self.device),
        )

    @property
    def atoms(self) -> Atoms | None:
        """A copy of the structure of `results`."""
        return self._last.atoms

    @atoms.setter
    def atoms(self, atoms: Atoms | None) -> None:
        self._last.atoms = atoms

    @property
    def results(self) -> dict[str, Any]:
        """Energy, free_energy and forces of `atoms`, as far as this thread has computed them."""
        return self._last.results

    @results.setter
    def results(self, results: dict[str, Any]) -> None:
        self._last.results = results

    def set(self, **options: Any) -> dict[str, Any]:
        """Options are fixed: raises `InputError`, which ASE has for this, if any is given."""
        if options:
            names = ", ".join(options)
            raise InputError(f"{names} cannot be set afterwards: make a new HormCalculator")
        return {}

    def reset(self) -> None:
        """Forgets what this thread has computed."""
        super().reset()
        self._last.hessian = None

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the structure of `results`."""
        return _differences(self.atoms, atoms, tol)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Energy, free_energy and forces of `atoms` into `results`, as ASE calls it."""
        unknown = set(properties) - set(self.implemented_properties)
        if unknown:
            raise PropertyNotImplementedError(f"no such property: {', '.join(sorted(unknown))}")
        structure = self._structure(atoms)
        super().calculate(structure, properties, system_changes)
        self.results = {}  # none of other atoms, should what follows fail
        [self.results] = self._evaluate([structure], ["energy"])

    def get_property(
        self,
        name: str,
        atoms: Atoms | None = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002 - as ASE calls it
    ) -> Any:
        """As ASE has it, and "hessian", for which `get_hessian` is there."""
        if name != "hessian":
            return super().get_property(name, atoms, allow_calculation)
        known = self._last.hessian
        is_known = known is not None and not _differences(known[0], self._structure(atoms))
        return self.get_hessian(atoms) if is_known or allow_calculation else None

    def get_hessian(self, atoms: Atoms | None = None) -> np.ndarray:
        """Second derivatives of the energy (3n, 3n), eV/Å².

        Parameters
        ----------
        atoms
            The last structure of this thread if none is given.

        Returns
        -------
        ndarray
            A copy; row and column 3i + k are coordinate k of atom i.

        Raises
        ------
        ValueError
            Where no atoms are given and there is no last structure.
        UnsupportedInput
            As the class says.
        """
        atoms = self._structure(atoms)
        if self.check_state(atoms):  # those of other atoms must not stand beside it
            self.atoms, self.results = None, {}
        known = self._last.hessian
        if known is None or _differences(known[0], atoms):
            [found] = self._evaluate([atoms], ["hessian"])
            known = self._last.hessian = atoms.copy(), found["hessian"]
        self.atoms = known[0]
        return known[1].copy()

    def _structure(self, atoms: Atoms | None) -> Atoms:
        """The atoms that are asked about: the last ones if none are given."""
        if atoms is None:
            atoms = self.atoms
        if atoms is None:
            raise ValueError("no structure yet in this thread: give the atoms, get_hessian(atoms)")
        return atoms

    def evaluate(
        self,
        molecules: Iterable[Atoms] | Data,
        properties: Sequence[str] | str = PROPERTIES,
        max_atoms_per_batch: int = MAX_ATOMS_PER_BATCH,
    ) -> list[dict[str, Any]]:
        """Properties of many molecules of any sizes in a few batched passes.

        Parameters
        ----------
        molecules
            `Atoms`, or `Data` of PyTorch Geometric with `z` and `pos`, Å; or one `Batch` of them.
        properties
            Of "energy", "free_energy", "forces" and "hessian".
        max_atoms_per_batch
            Atoms in one batch, which has one molecule at least; it is halved where memory does not
            suffice.

        Returns
        -------
        list of dict
            One dictionary per molecule, as `Calculator.results`: energies in eV, forces (n, 3) in
            eV/Å, hessian (3n, 3n) in eV/Å².

        Raises
        ------
        UnsupportedInput
            Says the place of the molecule in the list.
        ValueError
            For an unknown property.
        TypeError
            For one `Atoms` in the place of a list.
        """
        if isinstance(molecules, Atoms):
            raise TypeError("evaluate takes a list of molecules: evaluate([atoms])")
        wanted = [properties] if isinstance(properties, str) else properties
        return self._evaluate(atoms_of(molecules), wanted, max_atoms_per_batch)

    def lowest_mode(self, atoms: Atoms, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The lowest eigenvalues and eigenvectors of the Hessian. Not mass-weighted.

        From products of the Hessian with vectors: for large molecules, of which the whole Hessian
        costs too much.

        Parameters
        ----------
        atoms
            Positions in Å.
        k
            How many.

        Returns
        -------
        eigenvalues : ndarray
            (k,), eV/Å².
        eigenvectors : ndarray
            (k, n, 3).

        Raises
        ------
        UnsupportedInput
            As the class says.
        """
        self._check(atoms)
        return self.potential.lowest_modes(atoms, k)

    def concerns(self, atoms: Atoms) -> list[str]:
        """Why the network may be wrong here: what it warns of when it computes `atoms`."""
        return concerns(atoms, *self._limits)

    def _check(self, atoms: Atoms) -> None:
        check(atoms, *self._limits)

    @property
    def _limits(self) -> tuple[float, int | None, Domain]:
        potential = self.potential
        return potential.network.cutoff, potential.most_atoms, potential.domain

    def _evaluate(
        self,
        molecules: Sequence[Atoms],
        properties: Sequence[str],
        max_atoms: int = MAX_ATOMS_PER_BATCH,
    ) -> list[dict[str, Any]]:
        unknown = set(properties) - {*self.implemented_properties, "hessian"}
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
                if self.parameters["atomic_references"]:
                    energy += reference_energy(atoms.numbers, self.potential.references)
                result |= {"energy": energy, "free_energy": energy, "forces": forces}
        if "hessian" in properties:
            matrices = in_batches(molecules, max_atoms, self.potential.hessians)
            for result, matrix in zip(results, matrices, strict=True):
                symmetric = 0.5 * (matrix + matrix.T)
                result["hessian"] = symmetric if self.parameters["symmetrize"] else matrix
        return results

    def __getstate__(self) -> dict[str, Any]:
        """Travels to worker processes as options: each loads the weights itself."""
        kept = {key: value for key, value in self.__dict__.items() if key != "potential"}
        return kept | {"_last": dict(self._last.__dict__)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._restore(state, load_potential(**state["_options"]))
        if self.potential.sha256 != self.parameters["sha256"]:
            problem = "not the file with which this calculator was made"
            raise CheckpointError(
                Path(self._options["checkpoint"]), problem, "Make the calculator anew."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Another calculator with the same network, which nothing changes, and the same results."""
        other = memo[id(self)] = type(self).__new__(type(self))
        other._restore(copy.deepcopy(self.__getstate__(), memo), self.potential)
        return other

    def __copy__(self) -> Self:
        return copy.deepcopy(self)

    def _restore(self, state: Mapping[str, Any], potential: Potential) -> None:
        self.__dict__ |= dict(state) | {"_last": _Last(), "potential": potential}
        self._last.__dict__.update(state["_last"])
