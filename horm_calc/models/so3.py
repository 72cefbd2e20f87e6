"""Rotations of spherical-harmonic coefficients, and signals on the sphere.

Coefficients of degree l and order m stand for real orthonormal harmonics whose polar axis is
y: with azimuth α = atan2(x, z), orders m > 0 go with cos mα and m < 0 with sin |m|α, without
the Condon-Shortley sign. So the three of degree 1 are (x, y, z), and rotate as such.

Two orders of the coefficients occur. In "degree order" m runs from -l to l within each l. In
"order order", the layout of messages in the frame of an edge, the degrees run from |m| to
lmax within m = 0, 1, -1, 2, -2, ...: there an SO(2) convolution mixes only neighbours
(Passaro & Zitnick 2023, arXiv:2302.03655).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def coefficients(lmax: int, mmax: int) -> tuple[tuple[int, int], ...]:
    """(l, m) of all coefficients with |m| <= mmax, in degree order."""
    return tuple(
        (degree, m)
        for degree in range(lmax + 1)
        for m in range(-min(degree, mmax), min(degree, mmax) + 1)
    )


@cache
def by_order(lmax: int, mmax: int) -> tuple[tuple[int, int], ...]:
    """The same (l, m) in the order of messages: m = 0, then 1, -1, 2, -2, ..."""
    return tuple(sorted(coefficients(lmax, mmax), key=lambda lm: (abs(lm[1]), lm[1] < 0, lm[0])))


def position(lm: tuple[int, int]) -> int:
    """Where (l, m) stands among all coefficients in degree order."""
    degree, m = lm
    return degree * (degree + 1) + m


def spherical_harmonics(lmax: int, directions: np.ndarray) -> np.ndarray:
    """Orthonormal real harmonics (..., (lmax + 1)²) at unit vectors (..., 3), degree order."""
    x, y, z = np.moveaxis(directions, -1, 0)
    values = np.empty((*x.shape, (lmax + 1) ** 2))
    for m in range(lmax + 1):
        azimuthal = (z + 1j * x) ** m  # sin^m β e^{imα}
        legendre = [np.zeros_like(y), np.full_like(y, math.prod(range(1, 2 * m, 2)))]
        for degree in range(m, lmax + 1):
            norm = (2 * degree + 1) / (4 * math.pi) * (1 if m == 0 else 2)
            norm *= math.factorial(degree - m) / math.factorial(degree + m)
            polar = math.sqrt(norm) * legendre[-1]
            values[..., position((degree, m))] = polar * azimuthal.real
            if m > 0:
                values[..., position((degree, -m))] = polar * azimuthal.imag
            following = (2 * degree + 1) * y * legendre[-1] - (degree + m) * legendre[-2]
            legendre.append(following / (degree + 1 - m))
    return values


def _grid_directions(resolution: int) -> np.ndarray:
    """Unit vectors (resolution, resolution, 3): polar angles at midpoints x azimuths from 0."""
    polar = (np.arange(resolution) + 0.5) * np.pi / resolution
    azimuth = np.arange(resolution) * 2 * np.pi / resolution
    sine, cosine = np.sin(polar)[:, None], np.cos(polar)[:, None]
    return np.stack(
        np.broadcast_arrays(sine * np.sin(azimuth), cosine, sine * np.cos(azimuth)), axis=-1
    )


def _quadrature(resolution: int) -> np.ndarray:
    """Weights (resolution,) of the grid's points; with all azimuths they sum to 4π.

    Fejér's first rule in cos β: exact for polynomials of degree < resolution.
    """
    polar = (np.arange(resolution) + 0.5) * np.pi / resolution
    odd = np.arange(1, resolution, 2)
    fejer = 4 / resolution * np.sin(polar) * (np.sin(np.outer(polar, odd)) / odd).sum(1)
    return np.asarray(fejer * 2 * np.pi / resolution)


@cache
def grid_matrices(lmax: int, mmax: int, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """To the grid and back: two (resolution, resolution, coefficients), degree order.

    Normalised so that coefficients of variance one give a signal of variance one, whatever
    their degree. Orders beyond mmax are cut off, and the degrees that lose some by it scaled
    up to keep their variance.
    """
    kept = coefficients(lmax, mmax)
    degree = np.array([lm[0] for lm in kept])
    harmonics = spherical_harmonics(lmax, _grid_directions(resolution))
    harmonics = harmonics[..., [position(lm) for lm in kept]]
    norm = np.sqrt(4 * np.pi / ((2 * degree + 1) * (lmax + 1)))
    scale = variance_scale(lmax, mmax)[[position(lm) for lm in kept]]
    weights = _quadrature(resolution)[:, None, None]
    return harmonics * norm * scale, weights * harmonics / norm * scale


@cache
def variance_scale(lmax: int, mmax: int) -> np.ndarray:
    """What the coefficients (of all orders, in degree order) are multiplied with where orders
    beyond mmax are missing, so that the variance of each degree is kept.
    """
    degree = np.array([lm[0] for lm in coefficients(lmax, lmax)])
    return np.sqrt(np.maximum((2 * degree + 1) / (2 * mmax + 1), 1.0))


@cache
def couplings(lmax: int) -> tuple[np.ndarray, ...]:
    """For l = 2 ... lmax the map (2l + 1, 2l - 1, 3) of degrees l - 1 and 1 onto degree l.

    An isometry that commutes with rotations (Clebsch-Gordan coefficients up to a factor). It
    is what carries the products of harmonics of the degrees l - 1 and 1 to those of degree l;
    of all matrices that do, the one of least norm ignores the part of the products that is
    antisymmetric, and hence zero as a function.
    """
    harmonics = spherical_harmonics(lmax, _grid_directions(2 * lmax + 2).reshape(-1, 3))
    maps = []
    for degree in range(2, lmax + 1):
        lower = harmonics[:, (degree - 1) ** 2 : degree**2]
        products = np.einsum("ga,gb->gab", lower, harmonics[:, 1:4]).reshape(len(lower), -1)
        upper = harmonics[:, degree**2 : (degree + 1) ** 2]
        coupling = (np.linalg.pinv(products, rcond=1e-10) @ upper).T
        coupling /= np.linalg.norm(coupling, axis=1, keepdims=True)
        maps.append(coupling.reshape(2 * degree + 1, 2 * degree - 1, 3))
    return tuple(maps)


def wigner(rotation: Tensor, coupling: Sequence[Tensor]) -> Tensor:
    """Wigner matrices (edges, n, n) of rotations (edges, 3, 3), n = (lmax + 1)².

    D^l = C_l (D^{l-1} ⊗ D¹) C_lᵀ, with the maps C_l of `couplings`: polynomials in the
    rotation, so as smooth as it is.
    """
    constant, edges = rotation.detach(), len(rotation)
    blocks = [constant.new_ones(edges, 1, 1), rotation]
    for isometry in coupling:
        right = torch.einsum("apx,exy->eapy", isometry, rotation)
        both = torch.einsum("eapy,epq->eaqy", right, blocks[-1])
        blocks.append(torch.einsum("eaqy,bqy->eab", both, isometry))
    size = len(blocks) ** 2
    rows = []
    for degree, block in enumerate(blocks):
        before = constant.new_zeros(edges, 2 * degree + 1, degree**2)
        after = constant.new_zeros(edges, 2 * degree + 1, size - (degree + 1) ** 2)
        rows.append(torch.cat([before, block, after], 2))
    return torch.cat(rows, 1)


def second_axes(vectors: Tensor) -> Tensor:
    """For each of the vectors (edges, 3) the Cartesian unit vector most perpendicular to it."""
    return torch.eye(3, dtype=vectors.dtype, device=vectors.device)[vectors.abs().argmin(1)]


def edge_frames(vectors: Tensor, axes: Tensor) -> Tensor:
    """Rotations (edges, 3, 3) that take each of the vectors (edges, 3) to the y axis.

    The rest of the frame follows from `axes` (edges, 3), vectors not parallel to the edges.
    """
    y = vectors / _norm(vectors)
    across = axes - (axes * y).sum(1, keepdim=True) * y
    x = across / _norm(across)
    z = x[:, [1, 2, 0]] * y[:, [2, 0, 1]] - x[:, [2, 0, 1]] * y[:, [1, 2, 0]]
    return torch.cat([x, y, z], 1).reshape(-1, 3, 3)


def _norm(vectors: Tensor) -> Tensor:
    return (vectors * vectors).sum(1, keepdim=True).sqrt()
