"""Second derivatives of a network's energy, or first ones of its forces.

Throughout, a Hessian H (3n, 3n) in eV/Å² has as its row i the derivative of −F_i with respect
to all coordinates. For energy-derivative forces that is the symmetric matrix of second
derivatives; for direct forces it is a Jacobian, and not quite symmetric.

`hessians` gives all of it, `hessian_rows` chosen rows, `hessian_products` its products with
vectors, `lowest_modes` its lowest eigenpairs from such products.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from horm_calc.derivatives.jets import AmbiguousRows, Jet, NoRule, Tape
from horm_calc.derivatives.rigid_motions import rigid_motions
from horm_calc.errors import HormWarning
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Graph, Network

#: Bytes that one block's Jacobian of the widest edge tensor may take on a CPU: what stays in
#: the second-level cache while a layer's operations pass over it.
BLOCK_BYTES = 2_000_000
#: Bytes that the Jacobians of one sweep may take. Larger molecules go row by row.
SWEEP_BYTES = 8_000_000_000
#: Bytes of the widest edge tensor's derivatives along the directions that go through a
#: network with direct forces at once, on a CPU, and the least number of such directions: the
#: network's values are computed anew for each set of them.
DIRECTION_BYTES = 2_000_000_000
LEAST_DIRECTIONS = 6
#: Atoms of all molecules that go through one sweep on a CPU: four molecules of eight atoms
#: take two thirds of the time of one after the other, two of fourteen as long.
ATOMS_TOGETHER = 32
#: What a network raises that jets have no rules for: operations that PyTorch lets jets take over
#: (`NoRule`), and others that take tensors alone.
_NO_RULE = (NoRule, TypeError)
#: Networks that have raised it once. Theirs are computed row by row from then on.
_without_rules: WeakSet[Network] = WeakSet()
#: Coordinates up to which the whole Hessian costs less than the products Lanczos needs.
LEAST_FOR_LANCZOS = 30


class RowByRow(HormWarning):
    """A network's Hessians are computed the slow way, as it has operations without a rule."""


def energies_and_forces(network: Network, molecules: Molecules) -> tuple[Tensor, Tensor]:
    """Energies (molecules,) in eV and forces (atoms, 3) in eV/Å, detached."""
    if not molecules.positions.is_cuda:
        keep_freed_memory()
    with exact_products():
        energies, forces, _ = _differentiable(network, molecules, create_graph=False)
    return energies.detach(), forces.detach()


def hessians(network: Network, molecules: Molecules, together: int | None = None) -> list[Tensor]:
    """The Hessian (3n, 3n), eV/Å², of each molecule, detached and not symmetrised.

    Molecules of equal size are carried through one sweep, `together` of them at a time, which
    pays because molecules do not interact. A network with operations that jets have no rule for
    goes row by row, and a warning says so once (`RowByRow`). If `together` is not given: on a GPU
    as many as memory allows, on a CPU a few small ones, because the Jacobians of large ones fill
    the cache as it is.
    """
    found: dict[int, Tensor] = {}
    with exact_products():
        for indices in _groups(network, molecules, together):
            matrices = _of_equal_size(network, molecules.taken(indices))
            found.update(zip(indices, matrices, strict=True))
    return [found[index] for index in range(len(molecules.sizes))]


def _of_equal_size(network: Network, molecules: Molecules) -> Sequence[Tensor]:
    """In one sweep where that is possible, else one by one, or row by row."""
    size, element_size = molecules.sizes[0], molecules.positions.element_size()
    alone = [molecules.taken([index]) for index in range(len(molecules.sizes))]
    rows = torch.arange(3 * size, device=molecules.positions.device)
    too_large = _sweep_bytes(network, molecules.sizes, element_size) > SWEEP_BYTES
    if size > 1 and (too_large or network in _without_rules):
        return [hessian_rows(network, one, rows) for one in alone]
    try:
        return list(_by_jets(network, molecules))
    except AmbiguousRows:
        return [matrix for one in alone for matrix in _of_equal_size(network, one)]
    except _NO_RULE as error:
        # An error that has another cause is raised here again.
        matrices = [hessian_rows(network, one, rows) for one in alone]
        _tell_of_rows(network, error)
        return matrices


def _tell_of_rows(network: Network, error: Exception) -> None:
    if network not in _without_rules:
        _without_rules.add(network)
        warnings.warn(
            f"Hessians of {network.name} are computed row by row, which takes two to six times "
            f"as long ({error}); horm_calc.models.contract says how to add a rule",
            RowByRow,
            stacklevel=2,
        )


def hessian_rows(network: Network, molecule: Molecules, rows: Tensor) -> Tensor:
    """Rows `rows` (k,) of one molecule's Hessian, (k, 3n), by one backward pass each."""
    with exact_products():
        _, forces, positions = _differentiable(network, molecule, create_graph=True)
        flat = -forces.reshape(-1)
        results = [
            torch.autograd.grad(flat[row], positions, retain_graph=True)[0].reshape(-1)
            for row in rows.tolist()
        ]
    return torch.stack(results)


def hessian_products(network: Network, molecules: Molecules, vectors: Tensor) -> Tensor:
    """Products of the symmetric part of the Hessians with `vectors`, both (k, atoms, 3).

    With several molecules each is multiplied with its own atoms' part of the vectors.
    """
    with exact_products():
        return _product(network, molecules)(vectors)


def _product(network: Network, molecules: Molecules) -> Callable[[Tensor], Tensor]:
    """`hessian_products` with given molecules, of which the gradient is then made only once."""
    _, forces, positions = _differentiable(network, molecules, create_graph=True)

    def product(vectors: Tensor) -> Tensor:
        backward = [
            torch.autograd.grad(-forces, positions, vector, retain_graph=True)[0]
            for vector in vectors
        ]
        products = torch.stack(backward)
        if network.conservative:
            return products
        return 0.5 * (products + _along(network, molecules, vectors))

    return product


def _along(network: Network, molecules: Molecules, vectors: Tensor) -> Tensor:
    """Derivatives of minus the direct forces along `vectors`, both (k, atoms, 3)."""
    if network not in _without_rules:
        try:
            with torch.no_grad():
                moved = Jet(molecules.positions, vectors, Tape(second_order=False))
                _, direct = network(network.prepare(molecules), moved)
            return -direct.tangent
        except _NO_RULE as error:
            _tell_of_rows(network, error)
    # Jᵀu is linear in u, and its derivative with respect to u along v is Jv.
    _, forces, positions = _differentiable(network, molecules, create_graph=True)
    u = torch.zeros_like(forces, requires_grad=True)
    [backward] = torch.autograd.grad(-forces, positions, u, create_graph=True)
    return torch.stack(
        [torch.autograd.grad(backward, u, vector, retain_graph=True)[0] for vector in vectors]
    )


def lowest_modes(
    network: Network, molecule: Molecules, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest eigenvalues (count,) in eV/Å² and eigenvectors (count, n, 3) of one Hessian.

    By the implicitly restarted Lanczos method (ARPACK) from products with vectors, without
    the matrix: for molecules so large that the whole Hessian costs more than some dozen
    products. Not mass-weighted; translations and rotations are among the eigenvectors. Small
    molecules, and many modes, go by the whole matrix. Raises `ValueError` for a `count` that
    is not between 1 and 3n, `scipy.sparse.linalg.ArpackNoConvergence` where Lanczos fails.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    size = 3 * len(molecule.numbers)
    positions = molecule.positions
    if not 1 <= count <= size:
        raise ValueError(f"{count} modes of {size}: choose between 1 and {size}")
    if size <= LEAST_FOR_LANCZOS or 4 * count > size:
        [matrix] = hessians(network, molecule)
        values, vectors = np.linalg.eigh((0.5 * (matrix + matrix.T)).double().cpu().numpy())
        return values[:count], vectors.T[:count].reshape(count, -1, 3)

    multiply = _product(network, molecule)

    def product(vector: np.ndarray) -> np.ndarray:
        tensor = torch.as_tensor(vector.reshape(1, -1, 3)).to(positions)
        with exact_products():
            return multiply(tensor).double().cpu().numpy().ravel()

    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    # Products in float32 agree with one another to about 1e-5; asking for more never ends.
    tolerance = 1e-4 if positions.dtype == torch.float32 else 1e-8
    start = np.random.default_rng(0).standard_normal(size)
    values, vectors = eigsh(operator, k=count, which="SA", tol=tolerance, v0=start)
    order = np.argsort(values)
    return values[order], vectors.T[order].reshape(count, -1, 3)


@cache
def keep_freed_memory() -> None:
    """Tell the C library to keep freed memory for the next tensor of the same size.

    By default glibc returns large blocks to the system as soon as they are free, and the next
    tensor pays for every page anew: half the time of a Hessian, up to a fifth of energies and
    forces. The process keeps the memory of its largest calculation until it ends. Elsewhere than
    on Linux nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)


#: Held by the thread that computes. PyTorch's precision of products and its levels of forward
#: derivatives belong to the process: a second thread would take them from under the first.
_ALONE = threading.RLock()


@contextmanager
def exact_products() -> Iterator[None]:
    """Matrix products in full precision, for one thread at a time.

    TF32 has ten bits, too few for derivatives. Through the newer of PyTorch's two settings, which
    may follow the older one but not the other way round.
    """
    backends: Any = torch.backends
    backends = [backends.cuda.matmul, backends.mkldnn.matmul]
    with _ALONE:
        before = [backend.fp32_precision for backend in backends]
        for backend in backends:
            backend.fp32_precision = "ieee"
        try:
            yield
        finally:
            for backend, precision in zip(backends, before, strict=True):
                backend.fp32_precision = precision


def _differentiable(
    network: Network, molecules: Molecules, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies, forces, and the positions of which they are functions."""
    direct_only = not (network.conservative or create_graph)
    positions = molecules.positions.detach().clone().requires_grad_(not direct_only)
    graph = network.prepare(molecules)
    with torch.set_grad_enabled(not direct_only):
        energies, forces = network(graph, positions)
        if forces is None:
            [gradient] = torch.autograd.grad(energies.sum(), positions, create_graph=create_graph)
            forces = -gradient
    return energies, forces, positions


def _by_jets(network: Network, molecules: Molecules) -> Tensor:
    """Hessians (molecules, 3n, 3n) of molecules of equal size in one sweep (see jets.py)."""
    graph, count, size = network.prepare(molecules), len(molecules.sizes), molecules.sizes[0]
    positions = molecules.positions.detach()
    if size == 1:
        return positions.new_zeros(count, 3, 3)
    rigid = rigid_motions(network, positions.double().reshape(count, size, 3))
    directions = rigid.others.shape[-1]
    tangent = rigid.others.permute(2, 0, 1).reshape(directions, count * size, 3).to(positions)
    rows = None
    if count > 1:
        rows = graph.rows
    elif not positions.is_cuda:
        keep_freed_memory()
        graph = replace(graph, blocks=_blocks(network, graph, tangent))
    if network.conservative:
        gradient, inner = _second_order(network, graph, positions, tangent, rows)
        inner = rigid.others @ inner.double()
    else:
        gradient, inner = _first_order(network, graph, positions, tangent)
        inner = inner.reshape(directions, count, 3 * size).permute(1, 2, 0).double()
    inner = inner @ rigid.others.transpose(1, 2)
    return rigid.complete(inner, gradient.double(), network.conservative).to(positions)


def _second_order(
    network: Network,
    graph: Graph,
    positions: Tensor,
    tangent: Tensor,
    rows: Sequence[Sequence[int]] | None,
) -> tuple[Tensor, Tensor]:
    """Gradient (atoms, 3) and the Hessians along the directions, (molecules, D, D)."""
    recording = Tape()
    leaf = positions.clone().requires_grad_()
    with torch.enable_grad():
        energy, _ = network(graph, Jet(leaf, None, recording))
        gradient, *adjoints = torch.autograd.grad(
            energy.value.sum(), [leaf, *recording.results], allow_unused=True
        )
    sweep = Tape(adjoints, rows)
    with torch.no_grad():
        network(graph, Jet(positions, tangent, sweep))
    assert sweep.half is not None
    return gradient, sweep.half + sweep.half.transpose(1, 2)


def _first_order(
    network: Network, graph: Graph, positions: Tensor, tangent: Tensor
) -> tuple[Tensor, Tensor]:
    """Minus the forces (atoms, 3) and their derivatives along the directions (D, atoms, 3)."""
    at_once = len(tangent)
    if not positions.is_cuda:
        widest = len(graph.target) * network.edge_width * tangent.element_size()
        at_once = max(LEAST_DIRECTIONS, DIRECTION_BYTES // max(1, widest))
    parts = []
    with torch.no_grad():
        for part in tangent.split(at_once):
            _, forces = network(graph, Jet(positions, part, Tape(second_order=False)))
            parts.append(-forces.tangent)
    return -forces.value, torch.cat(parts)


def _blocks(network: Network, graph: Graph, tangent: Tensor) -> tuple[slice, ...]:
    """Ranges of edges whose Jacobians fit the cache."""
    edges = len(graph.target)
    per_edge = len(tangent) * network.edge_width * tangent.element_size()
    count = max(1, -(-edges * per_edge // BLOCK_BYTES))
    size = max(1, -(-edges // count))
    return tuple(slice(start, start + size) for start in range(0, max(1, edges), size))


def _sweep_bytes(network: Network, sizes: Sequence[int], element_size: int) -> int:
    """Memory of the Jacobians that a sweep keeps from one layer to the next, and some more."""
    edges = sum(size * (size - 1) for size in sizes)
    kept = 2 if network.conservative else 4
    return 3 * max(sizes) * edges * network.edge_width * element_size * kept


def _groups(network: Network, molecules: Molecules, together: int | None) -> list[list[int]]:
    """Indices of the molecules that go through one sweep together; all of equal size."""
    element_size = molecules.positions.element_size()
    groups: list[list[int]] = []
    for size in sorted(set(molecules.sizes)):
        same = [index for index, other in enumerate(molecules.sizes) if other == size]
        fitting = SWEEP_BYTES // max(1, _sweep_bytes(network, [size], element_size))
        wanted = together or (len(same) if molecules.positions.is_cuda else ATOMS_TOGETHER // size)
        step = max(1, min(wanted, fitting))
        groups += [same[start : start + step] for start in range(0, len(same), step)]
    return groups
