"""Settings with one home: a frozen dataclass gives defaults, checks, YAML keys and docs."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar

from horm_calc.errors import HormError

T = TypeVar("T")

#: Of a file of settings, at most: text, and values with all that they refer to.
_MOST_CHARACTERS = 200_000
_MOST_VALUES = 20_000
# What PyYAML raises of values that are none, such as the date 2024-13-45 or an empty !!int.
_YAML_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class SettingsError(HormError, ValueError):
    """A setting that does not exist or a value that it cannot take."""


def setting(
    default: Any,
    doc: str,
    choices: tuple[Any, ...] = (),
    least: float | None = None,
    most: float = math.inf,
) -> Any:
    """A field with its documentation, the values it may take, or the numbers allowed.

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
            arguments[name] = _as_number(value) if hints[name] in _NUMBERS else value
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
        loader = yaml.SafeLoader(_text_of(path))
        node = loader.get_single_node()
        if node is not None and _unfolded(node, {}) > _MOST_VALUES:
            raise SettingsError(f"{path} refers to itself (with & and *) beyond all measure")
        values = {} if node is None else loader.construct_document(node) or {}
    except SettingsError:
        raise
    except (yaml.YAMLError, *_YAML_ERRORS) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise SettingsError(f"{path} is not valid YAML: {cause[:300]}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} must hold names and values, such as '{example}'")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """The names and values in a JSON file. Raises `SettingsError` with the file's name."""
    try:
        values = json.loads(_text_of(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{path} is damaged: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is damaged: it must hold names and values")
    return values


def shown(value: object) -> str:
    """A value from a file as a message tells it: short, on one line, whatever it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 100
    try:
        return short.repr(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        return f"<{type(value).__name__}>"


def _text_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    if len(text) > _MOST_CHARACTERS:
        raise SettingsError(f"{path} is larger than any settings: is it another file?")
    return text


def _unfolded(node: Any, known: dict[int, float]) -> float:
    """How many values a node of YAML stands for, with what it refers to.

    Raises `SettingsError` for a name that is given twice.
    """
    if id(node) not in known:
        known[id(node)] = math.inf  # of what contains itself
        children = node.value if isinstance(node.value, list) else []
        if children and isinstance(children[0], tuple):
            _refuse_twice([key for key, _ in children])
            children = [child for pair in children for child in pair]
        known[id(node)] = 1 + sum(_unfolded(child, known) for child in children)
    return known[id(node)]


def _refuse_twice(keys: list[Any]) -> None:
    names = [key.value for key in keys if isinstance(key.value, str) and key.value != "<<"]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise SettingsError(
                f"'{name[:100]}' is set twice (line {keys[place].start_mark.line + 1})"
            )


_NUMBERS = (float, float | None)


def _as_number(value: Any) -> Any:
    """YAML reads 1e-3 as text, as it has no point."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _refuse_unknown(values: Mapping[str, Any], known: list[str], prefix: str) -> None:
    for name in values:
        if name not in known:
            told = name if isinstance(name, str) and len(name) < 100 else shown(name)
            near = difflib.get_close_matches(told, known, n=1)
            hint = (
                f"; did you mean '{prefix}{near[0]}'?" if near else f"; known: {', '.join(known)}"
            )
            raise SettingsError(f"unknown setting '{prefix}{told}'{hint}")


def _check(name: str, spec: dataclasses.Field[Any], kind: Any, value: Any) -> None:
    choices, least = spec.metadata["choices"], spec.metadata["least"]
    if choices and not (isinstance(value, (bool, int, float, str)) and value in choices):
        known = ", ".join(map(str, choices))
        raise SettingsError(f"'{name}' is {shown(value)}; it can be {known}")
    if isinstance(kind, types.UnionType):
        if value is None:
            return
        [kind] = [one for one in typing.get_args(kind) if one is not type(None)]
    outer = typing.get_origin(kind) or kind
    if outer is float or outer is int:
        _check_number(name, value, least, spec.metadata["most"], whole=outer is int)
    elif not isinstance(value, outer):
        wanted = {bool: "true or false", str: "text", list: "a list", dict: "names and values"}
        raise SettingsError(f"'{name}' needs {wanted[outer]}, not {shown(value)}")
    elif kind == list[str] and not all(isinstance(one, str) for one in value):
        raise SettingsError(f"'{name}' needs a list of texts, not {shown(value)}")
    elif outer is dict and not all(isinstance(one, str) for one in value):
        raise SettingsError(f"'{name}' needs names that are texts, not {shown(list(value))}")


def _check_number(name: str, value: Any, least: float | None, most: float, *, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        wanted = f"a {'whole ' if whole else ''}number"
        raise SettingsError(f"'{name}' needs {wanted}, not {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"'{name}' is {value!r}; it must be finite")
    if least is None and not value > 0:
        raise SettingsError(f"'{name}' is {shown(value)}; it must be above 0")
    if least is not None and not value >= least:
        raise SettingsError(f"'{name}' is {shown(value)}; it must be at least {least:g}")
    # No other number of any meaning is larger, and larger ones are none for the libraries below.
    if value > (most := min(most, 2**63 - 1)):
        raise SettingsError(f"'{name}' is {shown(value)}; it must be at most {most:g}")
