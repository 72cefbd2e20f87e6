"""What training makes small, in the forms of the papers on training with Hessians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from horm_calc.models.contract import Network
from horm_calc.models.ops import gather_sum
from horm_calc.training.batches import Part

#: HORM's training code divides its loss on rows by this.
HORM_DIVISOR = 10.0


@dataclass(frozen=True)
class Prediction:
    """What a network says of a part. All can be differentiated.

    energies: (molecules,). forces: (atoms, 3). products: (k, atoms, 3), those of the vectors with
    its Hessian, or None.
    """

    energies: Tensor
    forces: Tensor
    products: Tensor | None


def predict(network: Network, part: Part, *, second: bool) -> Prediction:
    """Energies, forces, and with `second` the products vᵀH with the part's vectors.

    One backward pass for each vector, through the graph of the forces.
    """
    second = second and part.vectors is not None
    with torch.enable_grad():
        positions = part.molecules.positions.detach().clone()
        positions.requires_grad_(network.conservative or second)
        energies, forces = network(network.prepare(part.molecules), positions)
        if forces is None:
            [gradient] = torch.autograd.grad(energies.sum(), positions, create_graph=True)
            forces = -gradient
        if not second:
            return Prediction(energies, forces, None)
        assert part.vectors is not None
        products = [
            torch.autograd.grad(forces, positions, -vector, create_graph=True)[0]
            for vector in part.vectors
        ]
    return Prediction(energies, forces, torch.stack(products))


def energy_errors(found: Prediction, part: Part, form: str) -> Tensor:
    """(molecules,): |ΔE| in eV ("l1"), or its square ("squared")."""
    error = found.energies - part.energies
    return error.abs() if form == "l1" else error.square()


def force_errors(found: Prediction, part: Part, form: str) -> Tensor:
    """The error of the force on each atom, (atoms,).

    Of the components, the mean of |ΔF| in eV/Å ("l1", HORM) or of its square ("squared"), or the
    length |ΔF| of the vector ("norm", EquiformerV2).
    """
    error = found.forces - part.forces
    if form == "norm":
        return _length(error)
    return (error.abs() if form == "l1" else error.square()).mean(-1)


def product_errors(found: Prediction, part: Part, form: str) -> Tensor:
    """(molecules,), for the products of the Hessian with the probing vectors, mean over them.

    "squared": ‖ΔH v‖², scaled so that its mean over random vectors is the mean squared
    element of ΔH, in (eV/Å²)² (HINT, arXiv:2603.25373; arXiv:2603.04523). "norm": the sum over
    atoms of |ΔH v|, in eV/Å², divided by 10, which with rows is the loss of HORM's code
    (arXiv:2505.12447).
    """
    assert found.products is not None and part.products is not None and part.weights is not None
    error = found.products - part.products
    count, molecule = len(part.energies), part.molecules.molecule
    if form == "squared":
        of_atoms, weights = error.square().sum(-1), part.weights
    else:
        of_atoms = _length(error) / HORM_DIVISOR
        drawn = (part.weights > 0).to(error.dtype)
        weights = drawn / drawn.sum(0)
    of_molecules = gather_sum(None, of_atoms.T, molecule, count)
    return (of_molecules * weights.T).sum(1)


def _length(vectors: Tensor) -> Tensor:
    """Lengths of (..., 3), with a finite slope at zero."""
    tiny = torch.finfo(vectors.dtype).tiny
    return vectors.square().sum(-1).clamp(min=tiny).sqrt()
