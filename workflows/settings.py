"""Every setting of every stage: defaults, units, allowed values and documentation.

One frozen dataclass a stage. The same fields serve Python, `--config run.yaml`, the
command-line flags and the docs, so a setting is described here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from horm_calc.configuration import Validated, parts_of, setting
from horm_calc.configuration import from_mapping as _from_mapping
from workflows.methods.registry import (
    INTEGRATORS,
    MINIMISERS,
    PATH_METHODS,
    SADDLE_OPTIMISERS,
    choice,
)


@dataclass(frozen=True)
class EndpointSettings(Validated):
    """Relaxation of reactant, product and the two ends of the IRC."""

    method: str = choice(
        MINIMISERS, "bfgs", "optimiser tried first; if it breaks down, geometric follows"
    )
    max_force: float = setting(
        0.0231, "largest force component allowed, eV/Å (4.5e-4 hartree/bohr)"
    )
    max_steps: int = setting(300, "largest number of optimisation steps", least=1)
    wall_time: float = setting(600.0, "time limit for each structure, s")


@dataclass(frozen=True)
class PathSettings(Validated):
    """The path between the relaxed endpoints, whose highest image is the guess."""

    method: str = choice(
        PATH_METHODS, "string", "path method of the first attempt; later attempts use the others"
    )
    images: int = setting(7, "images between the two endpoints", least=1)
    max_steps: int = setting(60, "largest number of optimisation cycles of the whole path", least=1)
    max_force: float = setting(
        0.129, "largest perpendicular force component on an image, eV/Å (2.5e-3 hartree/bohr)"
    )
    seed: int = setting(1, "seed of the geodesic interpolation's random nudges", least=1)
    wall_time: float = setting(1200.0, "time limit, s")


@dataclass(frozen=True)
class SaddleSettings(Validated):
    """Refinement of the guess to a first-order saddle point."""

    method: str = choice(SADDLE_OPTIMISERS, "trim", "optimiser")
    max_force: float = setting(
        0.0231, "largest force component allowed, eV/Å (4.5e-4 hartree/bohr)"
    )
    max_steps: int = setting(50, "largest number of optimisation steps", least=1)
    hessian_every: int = setting(
        5,
        "steps between exact Hessians; in between the Hessian is updated. With calculators without "
        "Hessians of their own, trim needs only one at the start",
        least=1,
    )
    imaginary_threshold: float = setting(
        20.0, "a mode counts as imaginary if its frequency is below minus this, cm⁻¹"
    )
    max_curvature_error: float = setting(
        0.5,
        "warn if a calculator's own Hessian deviates from its forces by more than this, eV/Å²",
    )
    wall_time: float = setting(1200.0, "time limit, s")


@dataclass(frozen=True)
class IRCSettings(Validated):
    """The intrinsic reaction coordinate from the saddle, in both directions."""

    method: str = choice(
        INTEGRATORS, "lqa", "integrator tried first; if it fails, the others follow"
    )
    step_length: float = setting(0.1, "length of a step along the path, Å (not mass-weighted)")
    max_steps: int = setting(125, "largest number of steps in each direction", least=1)
    rms_force: float = setting(
        0.0514, "RMS force at which a direction has converged, eV/Å (0.001 hartree/bohr)"
    )
    wall_time: float = setting(1200.0, "time limit for each integrator, s")


@dataclass(frozen=True)
class VerdictSettings(Validated):
    """Which atoms count as bonded, and which bonds are too close to the limit to decide."""

    bond_factor: float = setting(
        1.2, "atoms are bonded below this times the sum of their covalent radii"
    )
    margin: float = setting(
        0.05, "relative distance from that limit within which a bond is uncertain"
    )


@dataclass(frozen=True)
class LowerPathSettings(Validated):
    """Search for a path below an intended saddle, with a string and by driving bonds."""

    steps: int = setting(
        12,
        "relaxation steps of the string, which starts from a geodesic path; 0 skips this search "
        "and the guesses from driven bonds",
        least=0,
    )
    images: int = setting(7, "images between the two endpoints", least=1)
    margin: float = setting(
        0.1, "a path counts as lower if its highest point is this far below the saddle, eV"
    )
    seed: int = setting(1, "seed of the geodesic interpolation's random nudges", least=1)
    wall_time: float = setting(600.0, "time limit, s")


@dataclass(frozen=True)
class ThermoSettings(Validated):
    """Gibbs free energies: ideal gas, rigid rotor, (quasi-)harmonic oscillator."""

    treatment: str = setting(
        "grimme",
        "vibrations. rrho: harmonic; grimme: entropies interpolated to a free rotor; "
        "truhlar: low frequencies raised",
        ("rrho", "grimme", "truhlar"),
    )
    temperature: float = setting(298.15, "temperature, K")
    pressure: float = setting(101325.0, "pressure, Pa")
    cutoff: float = setting(
        100.0, "frequency below which the quasi-harmonic treatment applies, cm⁻¹"
    )


@dataclass(frozen=True)
class SearchSettings(Validated):
    """All stages of one search."""

    endpoints: EndpointSettings = field(default_factory=EndpointSettings)
    path: PathSettings = field(default_factory=PathSettings)
    saddle: SaddleSettings = field(default_factory=SaddleSettings)
    irc: IRCSettings = field(default_factory=IRCSettings)
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
    lower_path: LowerPathSettings = field(default_factory=LowerPathSettings)
    thermo: ThermoSettings = field(default_factory=ThermoSettings)
    conformers: int = setting(
        3,
        "of a reaction given as SMILES: conformers of each side that are relaxed with the "
        "calculator, of which the pair of lowest energy is taken, and among almost equal ones the "
        "nearest; 1 takes the nearest pair of the force field",
        least=1,
    )
    attempts: int = setting(
        6,
        "largest number of attempts; the search stops earlier if a saddle connects the two "
        "endpoints and no lower-energy path is known. Later attempts use other path methods, the "
        "string of the search for a lower-energy path, and driven bonds",
        least=1,
    )
    steps: int = setting(
        4,
        "largest number of elementary steps: where no saddle connects the two endpoints, the "
        "search goes on from the intermediates that it has found; 1 looks for a single step only",
        least=1,
    )


def stage_types() -> dict[str, Any]:
    """The stages by name, with the dataclass that holds the settings of each."""
    return parts_of(SearchSettings)


def from_mapping(values: Mapping[str, Any]) -> SearchSettings:
    """Settings from nested names, as in a YAML file: `{"path": {"images": 9}}`.

    Raises `SettingsError` for unknown names (with the nearest known one) and bad values.
    """
    return _from_mapping(SearchSettings, values)
