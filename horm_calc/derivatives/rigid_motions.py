"""Translations and rotations of molecules, along which a Hessian is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from horm_calc.models.contract import Network

#: Singular value below which a rotation counts as one about the axis of a linear molecule.
LEAST_ROTATION = 0.05


@dataclass(frozen=True)
class RigidMotions:
    """What invariance under translations and rotations says of a Hessian, free of charge.

    motions: (molecules, 3n, r), orthonormal, from translations and rotations. others:
    (molecules, 3n, 3n − r), all directions orthogonal to them. combine: (molecules, 3 or 6, r),
    makes the orthonormal ones of three translations and three rotations. axes: (molecules, 3,
    3), those of the rotations, in units in which the rotations are of length one; None where
    forces do not turn with the molecule.
    """

    motions: Tensor
    others: Tensor
    combine: Tensor
    axes: Tensor | None

    def complete(self, inner: Tensor, gradient: Tensor, symmetric: bool) -> Tensor:
        """The Hessians, from `inner`: the part that acts on the other directions.

        A rotation by δ about an axis a turns the gradient with the molecule, so the Hessian
        times the displacement a × x is a × gradient; times a translation it is zero.
        """
        count, size, _ = self.motions.shape
        response = torch.zeros_like(self.motions)
        if self.axes is not None:
            turned = torch.linalg.cross(
                self.axes.unsqueeze(2), gradient.reshape(count, 1, size // 3, 3).double()
            )
            turned = turned.reshape(count, 3, size).transpose(1, 2)
            response = turned @ self.combine[:, 3:]
        known = response @ self.motions.transpose(1, 2)
        if not symmetric:
            return inner + known
        corner = self.motions.transpose(1, 2) @ response
        both = self.motions @ (0.5 * (corner + corner.transpose(1, 2)))
        return inner + known + known.transpose(1, 2) - both @ self.motions.transpose(1, 2)


def rigid_motions(network: Network, positions: Tensor) -> RigidMotions:
    """Of molecules (molecules, n, 3), Å, in float64."""
    count, size, _ = positions.shape
    unit = torch.eye(3, dtype=positions.dtype, device=positions.device)
    shifts = unit.repeat(size, 1).expand(count, 3 * size, 3) / size**0.5
    raw, axes = shifts, None
    if network.rotations != "unknown":
        centred = positions - positions.mean(1, keepdim=True)
        scaled = unit / centred.square().sum((1, 2)).sqrt()[:, None, None]
        turns = torch.linalg.cross(scaled[:, :, None], centred[:, None])
        raw = torch.cat([shifts, turns.reshape(count, 3, 3 * size).transpose(1, 2)], dim=2)
        axes = scaled if network.rotations == "equivariant" else None
    left, values, right = torch.linalg.svd(raw)
    rank = int((values > LEAST_ROTATION).sum(1).min())
    combine = right.transpose(1, 2)[:, :, :rank] / values[:, None, :rank]
    return RigidMotions(left[:, :, :rank], left[:, :, rank:], combine, axes)
