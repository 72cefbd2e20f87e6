"""Settings with one home: a frozen dataclass gives defaults, checks, YAML keys and docs."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting that does not exist or a value that it cannot take."""


def setting(
    default: Any,
    doc: str,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    most: float = math.inf,
) -> Any:
    """A field with its documentation, the names it may take, or the numbers allowed.

    Without `least` a number must be above zero. Lists and mappings are copied for each instance.
    """
    metadata = {"doc": doc, "choices": choices, "least": least, "most": most}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


class Validated:
    """Checks a settings dataclass when it is made, so that a bad value fails at once."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            if not dataclasses.is_dataclass(hints[spec.name]):
                _check(spec.name, spec, hints[spec.name], getattr(self, spec.name))


def parts_of(kind: type) -> dict[str, Any]:
    """The settings of `kind` that are groups of settings: their names and dataclasses."""
    hints = typing.get_type_hints(kind)
    return {name: group for name, group in hints.items() if dataclasses.is_dataclass(group)}


def from_mapping(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Settings from nested names, as in a YAML file: `{"path": {"images": 9}}`.

    Raises `SettingsError` for unknown names (with the nearest known one) and bad values.
    """
    parts, hints = parts_of(kind), typing.get_type_hints(kind)
    specs: Any = kind
    kinds = {spec.name: spec for spec in dataclasses.fields(specs)}
    _refuse_unknown(values, list(kinds), prefix)
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name in parts and not isinstance(value, Mapping):
            raise SettingsError(f"'{name}' needs settings below it, such as '{name}: {{...}}'")
        if name in parts:
            arguments[name] = from_mapping(parts[name], value, f"{prefix}{name}.")
        else:
            arguments[name] = _as_number(value) if hints[name] is float else value
            # The object checks its values too, but knows only its own part of their names.
            _check(f"{prefix}{name}", kinds[name], hints[name], arguments[name])
    return kind(**arguments)


def to_mapping(settings: Any) -> dict[str, Any]:
    """The settings as plain nested values, the inverse of `from_mapping`."""
    return dataclasses.asdict(settings)


def read_yaml(path: Path, example: str) -> dict[str, Any]:
    """The names and values in a YAML file. Raises `SettingsError` with the file's name."""
    import yaml

    try:
        values = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold names and values, such as '{example}'")
    return values


def _as_number(value: Any) -> Any:
    """YAML reads 1e-3 as text, as it has no point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _refuse_unknown(values: Mapping[str, Any], known: list[str], prefix: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = (
                f"; did you mean '{prefix}{near[0]}'?" if near else f"; known: {', '.join(known)}"
            )
            raise SettingsError(f"unknown setting '{prefix}{name}'{hint}")


def _check(name: str, spec: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    choices, least = spec.metadata["choices"], spec.metadata["least"]
    if choices and value not in choices:
        raise SettingsError(f"'{name}' is {value!r}; it can be {', '.join(choices)}")
    if isinstance(kind, types.UnionType):
        if value is None:
            return
        [kind] = [one for one in typing.get_args(kind) if one is not type(None)]
    outer = typing.get_origin(kind) or kind
    if outer is float or outer is int:
        _check_number(name, outer is int, least, value)
        if value > (most := spec.metadata["most"]):
            raise SettingsError(f"'{name}' is {value!r}; it must be at most {most:g}")
    elif not isinstance(value, outer):
        wanted = {bool: "true or false", str: "text", list: "a list", dict: "names and values"}
        raise SettingsError(f"'{name}' needs {wanted[outer]}, not {value!r}")
    elif outer is list and kind == list[str] and not all(isinstance(one, str) for one in value):
        raise SettingsError(f"'{name}' needs a list of texts, not {value!r}")


def _check_number(name: str, whole: bool, least: float | None, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise SettingsError(f"'{name}' needs a {'whole ' if whole else ''}number, not {value!r}")
    if not math.isfinite(value):
        raise SettingsError(f"'{name}' is {value!r}; it must be finite")
    if least is None and not value > 0:
        raise SettingsError(f"'{name}' is {value!r}; it must be above 0")
    if least is not None and not value >= least:
        raise SettingsError(f"'{name}' is {value!r}; it must be at least {least:g}")
