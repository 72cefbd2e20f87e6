"""Nonlinear functions of signals on the sphere, and their derivatives.

A signal is given by coefficients of spherical harmonics; its values at the points of a grid
(`so3.grid_matrices`) are many times as many numbers, and with the derivatives along all
coordinates of a molecule many times that again. So they are made for few signals at a time,
and derivatives have functions of their own that never keep them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

#: Values at points of the sphere that exist at one time: on a CPU, few enough for its cache.
_ON_CPU, _ON_GPU = 2**18, 2**28


@dataclass(frozen=True)
class Grid:
    """Linear maps to the points of a sphere, (points, coefficients), and from there to the
    coefficients that are wanted, (outputs, points).
    """

    evaluate: Tensor
    project: Tensor


def silu_on_sphere(signal: Tensor, grid: Grid) -> Tensor:
    """SiLU of signals (coefficients, edges, channels): (outputs, edges, channels)."""
    if torch.overrides.has_torch_function((signal,)):
        return torch.overrides.handle_torch_function(silu_on_sphere, (signal,), signal, grid)
    parts = [
        _back(grid.project @ F.silu(grid.evaluate @ part.reshape(len(signal), -1)), part)
        for part in _few_at_once(signal, grid)
    ]
    return torch.cat(parts, 1)


def silu_on_sphere_jvp(signal: Tensor, tangent: Tensor, grid: Grid) -> Tensor:
    """Derivatives of `silu_on_sphere` along tangents (directions, coefficients, edges, channels).

    For one edge and channel the derivative is a matrix (outputs, coefficients). It costs as
    much as a few directions, and then each further one next to nothing.
    """
    directions, coefficients = tangent.shape[:2]
    outputs, points = grid.project.shape
    products = grid.project.T[:, :, None] * grid.evaluate[:, None, :]
    result = tangent.new_empty(directions, outputs, *signal.shape[1:])
    start = 0
    for part in _few_at_once(signal, grid):
        stop = start + part.shape[1]
        slope = _slope(grid.evaluate @ part.reshape(coefficients, -1))
        matrices = (slope.T @ products.reshape(points, -1)).reshape(-1, outputs, coefficients)
        along = tangent[:, :, start:stop].permute(2, 3, 0, 1).contiguous()
        after = along.reshape(-1, directions, coefficients) @ matrices.transpose(1, 2)
        result[:, :, start:stop] = after.reshape(*part.shape[1:], directions, outputs).permute(
            2, 3, 0, 1
        )
        start = stop
    return result


def perceptron_on_sphere(signal: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    """SiLU, a linear map of channels and SiLU: (coefficients, atoms, channels) to (outputs,
    atoms, channels).
    """
    if torch.overrides.has_torch_function((signal,)):
        return torch.overrides.handle_torch_function(
            perceptron_on_sphere, (signal,), signal, weight, grid
        )
    parts = []
    for part in _few_at_once(signal, grid):
        values = F.silu(grid.evaluate @ part.reshape(len(signal), -1))
        values = F.silu(F.linear(_back(values, part), weight))
        parts.append(_back(grid.project @ values.reshape(len(values), -1), part))
    return torch.cat(parts, 1)


def perceptron_on_sphere_jvp(signal: Tensor, tangent: Tensor, weight: Tensor, grid: Grid) -> Tensor:
    """Derivatives of `perceptron_on_sphere` along tangents (directions, coefficients, atoms,
    channels).
    """
    directions, coefficients, atoms, channels = tangent.shape
    points, outputs = len(grid.evaluate), len(grid.project)
    result = tangent.new_empty(directions, outputs, atoms, channels)
    some_directions = max(1, _at_once(signal) // (points * channels))
    some_atoms = max(1, some_directions // directions)
    for i in range(0, atoms, some_atoms):
        part = signal[:, i : i + some_atoms]
        before = _back(grid.evaluate @ part.reshape(coefficients, -1), part)
        middle = F.linear(F.silu(before), weight)
        first, second = _slope(before)[:, None], _slope(middle)[:, None]
        for j in range(0, directions, some_directions):
            here = (slice(j, j + some_directions), slice(None), slice(i, i + some_atoms))
            along = tangent[here].transpose(0, 1)
            values = _back(grid.evaluate @ along.reshape(coefficients, -1), along)
            values = F.linear(values.mul_(first), weight).mul_(second)
            after = _back(grid.project @ values.reshape(points, -1), along)
            result[here] = after.transpose(0, 1)
    return result


def _slope(u: Tensor) -> Tensor:
    """Derivative of the SiLU."""
    s = torch.sigmoid(u)
    return s * (1 + u * (1 - s))


def _back(values: Tensor, signal: Tensor) -> Tensor:
    """(rows, all the rest) in the shape of the signal but for the number of rows."""
    return values.reshape(len(values), *signal.shape[1:])


def _at_once(signal: Tensor) -> int:
    return _ON_CPU if signal.device.type == "cpu" else _ON_GPU


def _few_at_once(signal: Tensor, grid: Grid) -> tuple[Tensor, ...]:
    """`signal` in parts along its edges or atoms."""
    return signal.split(max(1, _at_once(signal) // (len(grid.evaluate) * signal.shape[2])), 1)
