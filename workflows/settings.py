"""Every setting of every stage: defaults, units, allowed values and documentation.

One frozen dataclass a stage. The same fields serve Python, `--config run.yaml`, the
command-line flags and the docs, so a setting is described here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.errors import SettingsError


def _setting(default: Any, doc: str, choices: tuple[str, ...] = (), least: float = 0.0) -> Any:
    """A field with its documentation, the names it may take, or the least number allowed."""
    return field(default=default, metadata={"doc": doc, "choices": choices, "least": least})


class _Validated:
    """Checks a settings dataclass when it is made, so that a bad value fails at once."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            if not dataclasses.is_dataclass(hints[spec.name]):
                _check(spec, hints[spec.name], getattr(self, spec.name))


@dataclass(frozen=True)
class EndpointSettings(_Validated):
    """Relaxation of reactant, product and the two ends of the IRC."""

    method: str = _setting(
        "rfo",
        "rfo: pysisyphus RFO in redundant internals; geometric: geomeTRIC; sella: Sella order 0",
        ("rfo", "geometric", "sella"),
    )
    max_force: float = _setting(0.0231, "largest force component allowed, eV/Å")
    max_steps: int = _setting(300, "optimisation steps", least=1)
    wall_time: float = _setting(600.0, "seconds for each structure")


@dataclass(frozen=True)
class PathSettings(_Validated):
    """The path between the relaxed ends, whose highest point is the guess."""

    method: str = _setting(
        "gsm",
        "gsm: pysisyphus growing string; neb: climbing-image NEB from a geodesic path; "
        "geodesic: geodesic interpolation alone",
        ("gsm", "neb", "geodesic"),
    )
    images: int = _setting(7, "images between the two ends", least=1)
    max_steps: int = _setting(60, "optimisation cycles of the whole path", least=1)
    max_force: float = _setting(0.129, "largest perpendicular force component on an image, eV/Å")
    seed: int = _setting(1, "seed of the geodesic interpolation's random nudges", least=1)
    wall_time: float = _setting(1200.0, "seconds")


@dataclass(frozen=True)
class SaddleSettings(_Validated):
    """Refinement of the guess to a first-order saddle point."""

    method: str = _setting(
        "rsirfo",
        "rsirfo, rsprfo: pysisyphus; sella: Sella order 1; geometric: geomeTRIC",
        ("rsirfo", "rsprfo", "sella", "geometric"),
    )
    max_force: float = _setting(0.0231, "largest force component allowed, eV/Å")
    max_steps: int = _setting(50, "optimisation steps", least=1)
    hessian_every: int = _setting(1, "steps between exact Hessians, updated in between", least=1)
    imaginary_threshold: float = _setting(
        20.0, "a mode counts as imaginary when it lies below minus this, cm⁻¹"
    )
    max_curvature_error: float = _setting(
        0.5,
        "warn when a calculator's own Hessian differs from its forces by more than this, eV/Å²",
    )
    wall_time: float = _setting(1200.0, "seconds")


@dataclass(frozen=True)
class IRCSettings(_Validated):
    """The intrinsic reaction coordinate from the saddle, both ways."""

    method: str = _setting(
        "eulerpc",
        "integrator tried first; the other one follows when it fails. eulerpc: pysisyphus; "
        "sella: Sella",
        ("eulerpc", "sella"),
    )
    step_length: float = _setting(0.1, "step along the path, Å (unweighted)")
    max_steps: int = _setting(125, "steps in each direction", least=1)
    rms_force: float = _setting(0.0514, "a direction has arrived at this RMS force, eV/Å")
    wall_time: float = _setting(1200.0, "seconds for each integrator")


@dataclass(frozen=True)
class VerdictSettings(_Validated):
    """Which atoms count as bonded, and how close to the limit is too close to call."""

    bond_factor: float = _setting(1.2, "bonded below this times the sum of covalent radii")
    margin: float = _setting(0.05, "relative distance from the limit that makes a bond ambiguous")


@dataclass(frozen=True)
class ThermoSettings(_Validated):
    """Gibbs free energies: ideal gas, rigid rotor, (quasi-)harmonic oscillator."""

    treatment: str = _setting(
        "grimme",
        "rrho: harmonic; grimme: free-rotor interpolation of entropies; "
        "truhlar: low frequencies raised",
        ("rrho", "grimme", "truhlar"),
    )
    temperature: float = _setting(298.15, "K")
    pressure: float = _setting(101325.0, "Pa")
    cutoff: float = _setting(100.0, "where the quasi-harmonic treatment sets in, cm⁻¹")


@dataclass(frozen=True)
class SearchSettings(_Validated):
    """All stages of one search."""

    endpoints: EndpointSettings = field(default_factory=EndpointSettings)
    path: PathSettings = field(default_factory=PathSettings)
    saddle: SaddleSettings = field(default_factory=SaddleSettings)
    irc: IRCSettings = field(default_factory=IRCSettings)
    verdict: VerdictSettings = field(default_factory=VerdictSettings)
    thermo: ThermoSettings = field(default_factory=ThermoSettings)
    attempts: int = _setting(
        3,
        "guesses tried until a saddle connects the two ends; the later ones come from "
        "other path methods",
        least=1,
    )


def stage_types() -> dict[str, Any]:
    """The stages by name, with the dataclass that holds the settings of each."""
    hints = typing.get_type_hints(SearchSettings)
    return {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}


def from_mapping(values: Mapping[str, Any]) -> SearchSettings:
    """Settings from nested names, as in a YAML file: `{"path": {"images": 9}}`.

    Raises `SettingsError` for unknown names (with the nearest known one) and bad values.
    """
    stages = stage_types()
    _refuse_unknown(values, [spec.name for spec in dataclasses.fields(SearchSettings)], "")
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in stages:
            arguments[name] = value
            continue
        if not isinstance(value, Mapping):
            raise SettingsError(f"'{name}' needs settings below it, such as '{name}: {{...}}'")
        kind = stages[name]
        _refuse_unknown(value, [spec.name for spec in dataclasses.fields(kind)], f"{name}.")
        arguments[name] = kind(**value)
    return SearchSettings(**arguments)


def to_mapping(settings: SearchSettings) -> dict[str, Any]:
    """The settings as plain nested values, the inverse of `from_mapping`."""
    return dataclasses.asdict(settings)


def _refuse_unknown(values: Mapping[str, Any], known: list[str], prefix: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = (
                f"; did you mean '{prefix}{near[0]}'?" if near else f"; known: {', '.join(known)}"
            )
            raise SettingsError(f"unknown setting '{prefix}{name}'{hint}")


def _check(spec: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    choices, least = spec.metadata["choices"], spec.metadata["least"]
    if choices and value not in choices:
        raise SettingsError(f"'{spec.name}' is {value!r}; it can be {', '.join(choices)}")
    if kind is str or isinstance(kind, types.UnionType):
        return
    whole = kind is int
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise SettingsError(
            f"'{spec.name}' needs a {'whole ' if whole else ''}number, not {value!r}"
        )
    if not value > 0 or value < least:
        raise SettingsError(f"'{spec.name}' is {value!r}; it must be at least {least:g} and not 0")
