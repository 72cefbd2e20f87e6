"""The repulsion of nuclei that come far nearer than bonds are: no network has data there.

Ziegler, Biersack and Littmark, "The Stopping and Range of Ions in Solids" (1985):

    E = Z Z' e² / (4π ε₀ r) · φ(r / a),    a = 0.4685 Å / (Z^0.23 + Z'^0.23),

with the universal screening function φ. An envelope, whose first and second derivatives vanish at
its end, keeps it within `reach`: what molecules do is for the network.
"""

from __future__ import annotations

import torch
from ase.data import covalent_radii
from torch import Tensor

#: e² / (4π ε₀), eV Å.
COULOMB = 14.399645
#: Coefficients and exponents of the screening function, and its length, Å.
SCREENING = ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162))
LENGTH, POWER = 0.46850, 0.23


def pair_constants(numbers: Tensor, reach: float) -> Tensor:
    """What the repulsion of two atoms needs beside their distance: (3, ..., N, N), float64.

    numbers: (..., N) atomic numbers. reach: where the repulsion ends, in units of the sum of the
    covalent radii. Returns the energy of the bare charges at 1 Å, eV, the inverse of the screening
    length, Å⁻¹, and where the repulsion ends, Å.
    """
    charges = numbers.double()
    powers = charges**POWER
    radii = torch.as_tensor(covalent_radii, device=numbers.device)[numbers]
    bare = COULOMB * charges.unsqueeze(-1) * charges.unsqueeze(-2)
    inverse = (powers.unsqueeze(-1) + powers.unsqueeze(-2)) / LENGTH
    end = reach * (radii.unsqueeze(-1) + radii.unsqueeze(-2))
    return torch.stack([bare, inverse, end])


def repulsion(distance: Tensor, constants: Tensor) -> Tensor:
    """Energies (pairs, 1), eV, at distances (pairs, 1), Å, above zero.

    constants: (3, pairs, 1), see `pair_constants`.
    """
    bare, inverse, end = constants.to(distance.dtype)
    x = distance * inverse
    screened = sum(factor * torch.exp(-power * x) for factor, power in SCREENING)
    left = (1 - distance / end).clamp(min=0.0)
    return bare / distance * screened * left**3
