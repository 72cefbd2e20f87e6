"""What happens where atoms come far nearer than bonds are: no network has data there.

A network alone finds energies of a million eV, of either sign. With this, two atoms that overlap do
not see each other in the network, and their nuclei repel each other as Ziegler, Biersack and
Littmark have it ("The Stopping and Range of Ions in Solids", 1985):

    E = Z Z' e² / (4π ε₀ r) · φ(r / a),    a = 0.4685 Å / (Z^0.23 + Z'^0.23),

with the universal screening function φ. Both begin smoothly below the lengths of bonds.
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

#: In units of the sum of the covalent radii: where the repulsion ends, the shortest bonds (N2, CO)
#: being 0.77; and between which distances atoms begin to see each other.
REACH, HIDDEN, SEEN = 0.75, 0.4, 0.55


def pair_constants(numbers: Tensor) -> Tensor:
    """What two atoms have beside their distance: (3, ..., N, N), float64.

    numbers: (..., N) atomic numbers. Returns the energy of the bare charges at 1 Å, eV, the inverse
    of the screening length, Å⁻¹, and the sum of the covalent radii, Å.
    """
    charges = numbers.double()
    powers = charges**POWER
    radii = torch.as_tensor(covalent_radii, device=numbers.device)[numbers]
    bare = COULOMB * charges.unsqueeze(-1) * charges.unsqueeze(-2)
    inverse = (powers.unsqueeze(-1) + powers.unsqueeze(-2)) / LENGTH
    return torch.stack([bare, inverse, radii.unsqueeze(-1) + radii.unsqueeze(-2)])


def repulsion(distance: Tensor, constants: Tensor) -> Tensor:
    """Energies (pairs, 1), eV, at distances (pairs, 1), Å, above zero.

    constants: (3, pairs, 1), see `pair_constants`.
    """
    bare, inverse, radii = constants.to(distance.dtype)
    x = distance * inverse
    screened = sum(factor * torch.exp(-power * x) for factor, power in SCREENING)
    return bare / distance * screened * ending(distance / (REACH * radii))


def visibility(distance: Tensor, constants: Tensor) -> Tensor:
    """How much atoms see of each other, from 0 to 1, (pairs, 1); as `repulsion`."""
    t = (distance / constants[2].to(distance.dtype) - HIDDEN) / (SEEN - HIDDEN)
    t = t.clamp(min=0.0, max=1.0)
    return t**3 * (10 + t * (6 * t - 15))


def ending(x: Tensor) -> Tensor:
    """From 1 at 0 to 0 at 1 and beyond, with first and second derivatives zero there."""
    x = x.clamp(max=1.0)
    return 1 + x**6 * (-28 + x * (48 - 21 * x))
