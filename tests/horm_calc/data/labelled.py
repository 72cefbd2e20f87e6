"""Labelled frames and tiny networks, so that networks can be trained without a file."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from torch import Tensor
from torch.func import hessian, jacrev

from horm_calc.data.frames import Frame
from horm_calc.models.momentnet.network import MomentNet

TINY = {"layers": 2, "channels": 8, "heads": 2, "radial": 8, "hidden": 8}
FORMULAS = ("H2O", "CH3OH", "HCN", "NH3")


def network(seed: int) -> MomentNet:
    """A tiny network in float64 with weights drawn by `seed`."""
    torch.manual_seed(seed)
    made = MomentNet.fresh(TINY).double()
    with torch.no_grad():
        made.filters.weight.mul_(3.0)  # so that forces are not small beside the energies
    return made


@cache
def frames(per_formula: int = 4, with_second: int = 2) -> list[Frame]:
    """Rattled molecules whose atoms attract each other in pairs (Morse's potential, 4 eV deep).

    The first `with_second` of each formula have Hessians.
    """
    made = []
    for formula in FORMULAS:
        for place in range(per_formula):
            atoms: Atoms = molecule(formula)
            atoms.rattle(0.1, seed=place)
            i, j = np.triu_indices(len(atoms), 1)
            bond = torch.as_tensor(
                covalent_radii[atoms.numbers][i] + covalent_radii[atoms.numbers][j]
            )
            at = torch.as_tensor(atoms.positions).flatten()

            def morse(flat: Tensor, i=i, j=j, bond=bond) -> Tensor:
                positions = flat.reshape(-1, 3)
                distance = (positions[i] - positions[j]).norm(dim=-1)
                return (4 * (1 - torch.exp(-2 * (distance - bond))) ** 2 - 4).sum()

            made.append(
                Frame(
                    atoms.numbers,
                    atoms.positions,
                    float(morse(at)),
                    -jacrev(morse)(at).reshape(-1, 3).numpy(),
                    hessian(morse)(at).numpy() if place < with_second else None,
                    reaction=formula,
                )
            )
    return made
