"""A checkpoint's network on a device: lists of molecules in, arrays in ASE's units out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from horm_calc.checkpoints.catalogue import find
from horm_calc.checkpoints.files import load_network, read
from horm_calc.derivatives import hessian
from horm_calc.errors import HormError, HormWarning
from horm_calc.graphs import Molecules, atoms_of
from horm_calc.input_checks import require_known
from horm_calc.models.contract import Network
from horm_calc.references import Domain, Training

if TYPE_CHECKING:
    from torch_geometric.data import Data

HessianKind = Literal["frame-fixed", "exact"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}

T = TypeVar("T")


class CheckpointConcern(HormWarning):
    """Something in a checkpoint that its user should know, such as weights that were not used."""


class NoSuchDevice(HormError, ValueError):
    """A device that PyTorch does not know or does not see here."""


@dataclass(frozen=True, eq=False)
class Potential:
    """A network, where and in which precision it runs.

    Attributes
    ----------
    network
        In eval mode.
    hessian_network
        The same network in the precision for second derivatives; it is `network` where that is the
        same.
    name
        The network's.
    label
        The file it came from, see `label_of`.
    sha256
        Digest of that file.
    hessian_kind
        'frame-fixed' or 'exact', see `HormCalculator`.
    training
        What the checkpoint says of its training.
    """

    network: Network
    hessian_network: Network
    name: str
    label: str
    sha256: str
    hessian_kind: HessianKind
    training: Training

    @property
    def level_of_theory(self) -> str:
        """That of its training."""
        return self.training.level_of_theory

    @property
    def references(self) -> Mapping[int, float]:
        """Energy of an atom of each element, eV, which the network's own energies leave out."""
        return self.training.references

    @property
    def most_atoms(self) -> int | None:
        """Of a molecule of its training; None where its checkpoint does not say."""
        return self.training.most_atoms

    @property
    def domain(self) -> Domain:
        """Elements, charges and multiplicities of the molecules that it knows."""
        return self.training.domain

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that it knows, in the order of its embedding."""
        return self.domain.elements

    @property
    def charges(self) -> tuple[int, ...]:
        """Charges of the molecules that it knows."""
        return self.domain.charges

    @property
    def multiplicities(self) -> tuple[int, ...]:
        """Spin multiplicities of the molecules that it knows."""
        return self.domain.multiplicities

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.network.parameters()).device

    def energies_and_forces(
        self, molecules: Sequence[Atoms] | Data
    ) -> list[tuple[float, np.ndarray]]:
        """Energy (eV, the network's own) and forces (n, 3), eV/Å, of each molecule.

        molecules: a list of `Atoms`, or a `Data` or `Batch` of PyTorch Geometric. Raises
        `UnsupportedInput` for elements that the network does not know; what else it should not be
        asked, `HormCalculator` checks.
        """
        batch = self._batch(molecules, self.network)
        energies, forces = hessian.energies_and_forces(self.network, batch)
        parts = forces.double().cpu().numpy()
        split = np.split(parts, np.cumsum(batch.sizes)[:-1])
        return list(zip(energies.double().cpu().tolist(), split, strict=True))

    def hessians(self, molecules: Sequence[Atoms] | Data) -> list[np.ndarray]:
        """Hessian (3n, 3n), eV/Å², of each molecule; row i is the derivative of −F_i.

        molecules and errors as for `energies_and_forces`.
        """
        batch = self._batch(molecules, self.hessian_network)
        return [h.double().cpu().numpy() for h in hessian.hessians(self.hessian_network, batch)]

    def hessian_products(self, atoms: Atoms, vectors: np.ndarray) -> np.ndarray:
        """The symmetric part of the Hessian times vectors.

        Parameters
        ----------
        atoms
            n atoms, positions in Å.
        vectors
            (k, n, 3), dimensionless.

        Returns
        -------
        ndarray
            (k, n, 3), eV/Å².
        """
        batch = self._batch([atoms], self.hessian_network)
        moved = torch.as_tensor(vectors).to(batch.positions)
        products = hessian.hessian_products(self.hessian_network, batch, moved)
        return products.double().cpu().numpy()

    def hessian_rows(self, atoms: Atoms, rows: Sequence[int]) -> np.ndarray:
        """Some rows of the Hessian.

        Parameters
        ----------
        atoms
            n atoms, positions in Å.
        rows
            k numbers from 0 to 3n - 1.

        Returns
        -------
        ndarray
            (k, 3n), eV/Å².
        """
        batch = self._batch([atoms], self.hessian_network)
        chosen = hessian.hessian_rows(self.hessian_network, batch, torch.as_tensor(rows))
        return chosen.double().cpu().numpy()

    def lowest_modes(self, atoms: Atoms, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Lowest eigenvalues and eigenvectors of the Hessian. Not mass-weighted.

        Parameters
        ----------
        atoms
            n atoms, positions in Å.
        count
            How many.

        Returns
        -------
        eigenvalues : ndarray
            (count,), eV/Å².
        eigenvectors : ndarray
            (count, n, 3).
        """
        batch = self._batch([atoms], self.hessian_network)
        return hessian.lowest_modes(self.hessian_network, batch, count)

    def _batch(self, molecules: Sequence[Atoms] | Data, network: Network) -> Molecules:
        molecules = atoms_of(molecules)
        require_known({z for m in molecules for z in m.numbers.tolist()}, self.domain)
        parameter = next(network.parameters())
        # About the molecule's centre, where float32 resolves positions best.
        centred = [Atoms(m.numbers, m.positions - m.positions.mean(0)) for m in molecules]
        return Molecules.from_atoms(centred, parameter.dtype, parameter.device)


def load_potential(
    checkpoint: str | os.PathLike[str],
    device: str | torch.device | None = None,
    dtype: str = "float32",
    *,
    hessian_kind: HessianKind | None = None,
    hessian_dtype: str | None = None,
    compile: bool = False,
) -> Potential:
    """The network of a checkpoint, ready to run.

    Parameters
    ----------
    checkpoint
        A path, or a name of the catalogue (`horm-models` lists them).
    device
        "cuda" where there is one, else "cpu", if not given.
    dtype
        "float32" or "float64".
    hessian_kind, hessian_dtype, compile
        See `HormCalculator`.

    Returns
    -------
    Potential
        On its device.

    Raises
    ------
    CheckpointNotFound, CheckpointError
        For a checkpoint that cannot be had or used.
    NoSuchDevice
        For a device that is not there.
    ValueError
        For an option that does not exist.

    Warns
    -----
    CheckpointConcern
        Of what the user of a checkpoint should know.
    """
    for given in (dtype, hessian_dtype or dtype):
        if given not in DTYPES:
            raise ValueError(f"dtype is one of {', '.join(DTYPES)}, not {given!r}")
    where = _device(device)
    contents = read(find(os.fspath(checkpoint)))

    def build(precision: str) -> tuple[Network, HessianKind]:
        network = load_network(contents, DTYPES[precision], where)
        return network, _set_hessian_kind(network, hessian_kind)

    network, kind = build(dtype)
    second = network
    if compile or hessian_dtype not in (None, dtype):
        second, _ = build(hessian_dtype or dtype)
    if compile:
        _compile(network, second, where)
    for concern in contents.concerns:
        warnings.warn(f"{contents.path}: {concern}", CheckpointConcern, stacklevel=2)
    return Potential(
        network,
        second,
        contents.config["name"],
        label_of(contents.path),
        contents.sha256,
        kind,
        contents.training,
    )


def label_of(path: Path) -> str:
    """What a checkpoint is called: its file without the ending.

    That of a training run has the run's folder before it, as in 'first/best', since every run
    calls its checkpoints 'best' and 'last'.
    """
    folder = path.absolute().parent.name
    return f"{folder}/{path.stem}" if path.stem in ("best", "last") and folder else path.stem


def _device(wanted: str | torch.device | None) -> torch.device:
    """The GPU where there is one, if none is asked for."""
    if wanted is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(0, device=wanted).device
    except (AssertionError, RuntimeError) as error:
        cause = str(error).splitlines()[0].partition(". ")[0]
        raise NoSuchDevice(f"no device {wanted!r} here: {cause}") from None


def _compile(network: Network, same: Network, device: torch.device) -> None:
    """Compile `network`, if it then still computes what `same`, which is not compiled, does.

    The compiler of PyTorch 2.13 makes other forces of AlphaNet (by 0.1 eV/Å, in float64 too).
    Raises `ValueError` where results differ, or where it fails (for want of a C++ compiler).
    """
    network.compile(dynamic=True)
    trial = molecule("CH3CHO")
    trial.rattle(0.1, seed=0)
    forces = []
    for either in (network, same):
        dtype = next(either.parameters()).dtype
        batch = Molecules.from_atoms([trial], dtype, device)
        try:
            forces.append(hessian.energies_and_forces(either, batch)[1])
        except torch._dynamo.exc.TorchDynamoException as error:
            cause = next((line for line in str(error).splitlines() if line), "no reason given")
            raise ValueError(
                f"compile=True: PyTorch {torch.__version__} cannot compile {network.name} on this "
                f"machine ({cause}); leave it out"
            ) from error
    difference = (forces[0] - forces[1]).abs().max()
    if not difference <= 1e-3 * forces[1].abs().max():
        raise ValueError(
            f"compile=True changes the forces of {network.name} by {difference:.2g} eV/Å with "
            f"this version of PyTorch ({torch.__version__}); leave it out"
        )


def _set_hessian_kind(network: Network, kind: HessianKind | None) -> HessianKind:
    """Only EquiformerV2 has two kinds; its published weights were trained on "frame-fixed"."""
    if kind not in (None, "frame-fixed", "exact"):
        raise ValueError(f"hessian_kind is 'frame-fixed' or 'exact', not {kind!r}")
    settable: Any = network
    if not hasattr(settable, "frame_fixed"):
        if kind == "frame-fixed":
            raise ValueError(
                f"{network.name} has no edge frames to hold fixed; leave out hessian_kind"
            )
        return "exact"
    settable.frame_fixed = kind != "exact"
    return "frame-fixed" if settable.frame_fixed else "exact"


def in_batches(
    molecules: Sequence[Atoms], most_atoms: int, run: Callable[[Sequence[Atoms]], list[T]]
) -> list[T]:
    """`run` over all molecules, at most `most_atoms` atoms at a time, one molecule at least.

    A batch for which memory does not suffice is halved and tried again.
    """
    results: list[T] = []
    start = 0
    while start < len(molecules):
        stop, atoms = start + 1, len(molecules[start])
        while stop < len(molecules) and atoms + len(molecules[stop]) <= most_atoms:
            atoms += len(molecules[stop])
            stop += 1
        results += _halving(molecules[start:stop], run)
        start = stop
    return results


def _halving(molecules: Sequence[Atoms], run: Callable[[Sequence[Atoms]], list[T]]) -> list[T]:
    try:
        return run(molecules)
    except RuntimeError as error:
        if len(molecules) == 1 or not _out_of_memory(error):
            raise
    # Outside the handler, which holds on to the tensors of the attempt that failed.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(molecules) // 2
    return _halving(molecules[:half], run) + _halving(molecules[half:], run)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
