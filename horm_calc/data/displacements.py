"""New geometries around known ones, to be labelled.

A network that only saw stationary points learns nothing about the slopes beside them. Thermal
motion along normal modes is a classical remedy (proposed for ANI-1 by J. S. Smith, O. Isayev and
A. E. Roitberg, Chem. Sci. 2017, doi:10.1039/C6SC05720A); Gaussian noise needs no Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike

from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.data.frames import Frame
from horm_calc.structure_files.words import said_under

# Å. A bond of r = 1.1 Å whose end moves aside by d along a straight line is stretched by d²/2r;
# with a force constant k = 31 eV/Å² (C-H) and a normal d of standard deviation s this costs
# 3 k s⁴ / 8 r² on average, which at 0.2 Å is 0.015 eV, about the kT/2 that the mode should hold at
# room temperature. Further out, turning along straight lines is nothing but stretching bonds.
LARGEST_AMPLITUDE = 0.2


def along_normal_modes(
    geometry: Frame | Atoms,
    hessian: ArrayLike,
    count: int,
    temperature: float,
    seed: int | Sequence[int],
) -> list[Atoms]:
    """Geometries of a classical harmonic molecule at a temperature (K).

    hessian: (3N, 3N), eV/Å². Each of the vibrations, translation and rotation projected out, is
    displaced by its mass-weighted coordinate Q, drawn independently from a normal distribution
    with the variance of equipartition,

        <Q²> = k_B T / |λ|,        so that each mode holds k_B T / 2 on average,

    with λ the mode's eigenvalue of the mass-weighted Hessian. Imaginary modes, which have no
    thermal amplitude, are treated as if they were real: both sides of a saddle are sampled as
    widely as its curvature suggests. Straight lines follow soft modes only a little way, so the
    standard deviation of the atom that a mode moves most is at most `LARGEST_AMPLITUDE`.

    Centre of mass and, to first order, orientation stay. Slopes of geometries that are not
    stationary are left out of account. Returns `count` Atoms without calculator, with what
    is said of reaction, charge and spin kept. Use another seed for each geometry, such as
    [0, index], or molecules of one size get the same random numbers. Raises `ValueError` for a
    Hessian of another shape or not finite, for an atom alone, and for a count or temperature that
    is not positive.
    """
    atoms = _atoms(geometry)
    _require_positive(temperature=temperature)
    modes = normal_modes(atoms, hessian).displacements.reshape(-1, 3 * len(atoms))
    if len(modes) == 0:
        raise ValueError("an atom alone has no normal modes")
    # Along a unit vector in Å, λ times the reduced mass: the force constant, eV/Å².
    constants = np.abs(np.einsum("mi,ij,mj->m", modes, np.asarray(hessian, float), modes))
    reach = np.linalg.norm(modes.reshape(len(modes), -1, 3), axis=2).max(axis=1)
    with np.errstate(divide="ignore"):
        thermal = np.sqrt(units.kB * temperature / constants)
    amplitudes = np.minimum(thermal, LARGEST_AMPLITUDE / reach)
    normal = _normal((count, len(modes)), seed)
    return _displaced(atoms, (normal * amplitudes) @ modes)


def gaussian(
    geometry: Frame | Atoms, count: int, sigma: float, seed: int | Sequence[int]
) -> list[Atoms]:
    """Geometries with independent normal noise of standard deviation sigma (Å) on each coordinate.

    Returns `count` Atoms as `along_normal_modes` does; mind what it says about seeds. Raises
    `ValueError` for a count or sigma that is not positive.
    """
    atoms = _atoms(geometry)
    _require_positive(sigma=sigma)
    return _displaced(atoms, sigma * _normal((count, 3 * len(atoms)), seed))


def _atoms(geometry: Frame | Atoms) -> Atoms:
    if isinstance(geometry, Atoms):
        return geometry
    info = {"reaction": geometry.reaction} if geometry.reaction else {}
    return Atoms(geometry.numbers, geometry.positions, info=info)


def _displaced(atoms: Atoms, displacements: np.ndarray) -> list[Atoms]:
    """displacements: (count, 3N), Å."""
    # What stays true of them; other entries may be labels of the old geometry.
    info = {
        key: value
        for key, value in atoms.info.items()
        if key == "reaction" or said_under(str(key), value)
    }
    made = []
    for displacement in displacements:
        one = Atoms(atoms.numbers, atoms.positions + displacement.reshape(-1, 3), info=info)
        for name in ("initial_charges", "initial_magmoms", "masses"):
            if atoms.has(name):
                one.set_array(name, atoms.arrays[name])
        made.append(one)
    return made


def _normal(shape: tuple[int, int], seed: int | Sequence[int]) -> np.ndarray:
    if shape[0] < 1:
        raise ValueError(f"ask for at least one geometry, not {shape[0]}")
    return np.random.default_rng(seed).standard_normal(shape)


def _require_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, not {value}")
