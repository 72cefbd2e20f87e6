"""Everything that the three packages offer: documented in full, and called without riddles."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, get_overloads, get_type_hints

import pytest
from ase.calculators.calculator import Calculator

from horm_calc.configuration import Validated

PACKAGES = ("horm_calc", "workflows", "reactbench_runner")


def public() -> Iterator[tuple[str, Any]]:
    """The names of the packages, and the public methods that their classes define."""
    for package in map(importlib.import_module, PACKAGES):
        for name in package.__all__:
            if name == "__version__":
                continue
            value = getattr(package, name)
            yield f"{package.__name__}.{name}", value
            if inspect.isclass(value):
                for member, function in vars(value).items():
                    if not member.startswith("_") and is_code(function):
                        yield f"{package.__name__}.{name}.{member}", function


def is_code(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, (property, classmethod, staticmethod))


PUBLIC = dict(public())
FUNCTIONS = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isfunction(value) and not hasattr(Calculator, value.__name__)  # which ASE documents
}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


def described(value: Any, section: str) -> set[str]:
    """The names that a section of a docstring in NumPy style describes."""
    text = inspect.getdoc(value) or ""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", text, re.S | re.M)
    heads = re.findall(r"^(\S.*)$", found[1], re.M) if found else []
    names = [name for head in heads for name in re.split(", ?", head.split(" : ")[0])]
    return {name.lstrip("*") for name in names}


def parameters(function: Callable[..., Any]) -> set[str]:
    """Those of the function, of all its forms where it has several."""
    forms = get_overloads(function) or [function]
    return {name for form in forms for name in inspect.signature(form).parameters} - {"self"}


@pytest.mark.parametrize("name", PUBLIC)
def test_has_a_docstring(name: str) -> None:
    value = PUBLIC[name]
    text = value.__doc__ or ""
    generated = inspect.isclass(value) and text.startswith(f"{value.__name__}(")  # by dataclass
    assert text.strip() and not generated


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_describe_their_parameters_and_what_they_return(name: str) -> None:
    """A method with one parameter may say all in a sentence."""
    function = FUNCTIONS[name]
    asked = parameters(function)
    if name.count(".") > 1 and len(asked) < 2:
        assert described(function, "Parameters") <= asked
        return
    assert described(function, "Parameters") == asked
    assert described(function, "Returns") or described(function, "Yields")


@pytest.mark.parametrize("name", CLASSES)
def test_classes_describe_their_fields(name: str) -> None:
    kind = CLASSES[name]
    if issubclass(kind, Validated):  # settings, whose fields carry their own documentation
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            group = dataclasses.is_dataclass(hints[field.name])
            assert group or field.metadata["doc"], field.name
    elif dataclasses.is_dataclass(kind):
        assert described(kind, "Attributes") == {field.name for field in dataclasses.fields(kind)}
    elif issubclass(kind, Calculator):
        assert described(kind, "Parameters") == parameters(kind.__init__)


@pytest.mark.parametrize("name", [*FUNCTIONS, "horm_calc.HormCalculator", "horm_calc.WB97X"])
def test_calls_say_what_their_arguments_are(name: str) -> None:
    """Three by position at most, and none that is a bare True or False there."""
    forms = get_overloads(PUBLIC[name]) or [PUBLIC[name]]
    for form in forms:
        called = [
            one
            for one in inspect.signature(form).parameters.values()
            if one.kind is one.POSITIONAL_OR_KEYWORD and one.name != "self"
        ]
        assert len(called) <= 3
        assert not any(one.annotation in (bool, "bool") for one in called)
