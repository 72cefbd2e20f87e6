"""What a stranger imports: the names of the three packages, their errors and their version."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import horm_calc
import reactbench_runner
import workflows
from horm_calc import errors
from horm_calc.errors import HormError, HormWarning
from horm_calc.lazy_imports import lazy, version
from tests.places import REPOSITORY
from workflows.errors import TimeUp

PACKAGES = (horm_calc, workflows, reactbench_runner)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_imports_and_is_listed(package: ModuleType) -> None:
    assert package.__all__ == sorted(set(package.__all__))
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert dir(package) == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("package", PACKAGES)
def test_names_stay_what_they_are_when_their_modules_are_imported(package: ModuleType) -> None:
    """A module of the same name would take the place of a function."""
    for name in package.__all__:
        getattr(package, name)
        assert not isinstance(getattr(package, name), ModuleType), name


def test_import_costs_nothing() -> None:
    program = (
        "import sys, workflows, horm_calc, reactbench_runner; "
        "print({name.split('.')[0] for name in sys.modules} & {'torch', 'ase', 'numpy', 'scipy'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_search_needs_no_torch() -> None:
    program = "import sys; from workflows import Reaction, search; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_packages_say_that_they_are_typed() -> None:
    for package in PACKAGES:
        assert (REPOSITORY / package.__name__ / "py.typed").exists()


def test_version_is_that_of_the_code() -> None:
    said = re.search(r"^version = (.*)$", (REPOSITORY / "setup.cfg").read_text(), re.M)
    assert said
    assert workflows.__version__ == horm_calc.__version__ == version() == said[1]


def test_version_of_an_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkout's setup.cfg the metadata count; without these there is no traceback."""
    monkeypatch.setattr("horm_calc.lazy_imports.__file__", str(tmp_path / "horm_calc" / "lazy.py"))
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} 3")
    assert version() == "horm-tssearch 3"
    monkeypatch.undo()
    monkeypatch.setattr("horm_calc.lazy_imports.__file__", str(tmp_path / "horm_calc" / "lazy.py"))
    monkeypatch.setattr("horm_calc.lazy_imports.DISTRIBUTION", "no-such-distribution")
    assert version() == "unknown"


def test_a_name_that_its_module_lacks_fails_by_that_name(tmp_path: Path) -> None:
    (tmp_path / "__init__.pyi").write_text("from horm_calc.errors import Nothing as Nothing\n")
    get, _, names = lazy("package", str(tmp_path / "__init__.py"))
    assert names == ["Nothing", "__version__"]
    with pytest.raises(AttributeError, match="Nothing"):
        get("Nothing")


def modules() -> list[ModuleType]:
    return [
        importlib.import_module(found.name)
        for package in PACKAGES
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]


def raised() -> set[type[BaseException]]:
    """The public exceptions and warnings that the three packages define."""
    return {
        value
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def drawn() -> tuple[dict[str, set[str]], set[str]]:
    """The bases of each class as the docstring draws them, and the classes of inside."""
    bases: dict[str, set[str]] = {}
    above: list[str] = []
    inside = set()
    for line in (errors.__doc__ or "").splitlines():
        if found := re.fullmatch(r"    ( *)\* (\w+)(?: \(([\w, ]+)\))?(, internal)?", line):
            spaces, name, builtins, internal = found.groups()
            above = [*above[: len(spaces) // 2], name]
            bases[name] = {*above[-2:-1], *(builtins.split(", ") if builtins else ())}
            if internal:
                inside.add(name)
    return bases, inside


def test_all_errors_grow_from_one_root() -> None:
    # TimeUp passes through libraries' `except Exception`, so that it is none itself.
    for kind in raised() - {TimeUp}:
        assert issubclass(kind, (HormError, HormWarning)), kind


def test_the_drawing_of_errors_is_true() -> None:
    bases, _ = drawn()
    assert bases == {
        kind.__name__: {base.__name__ for base in kind.__bases__} - {"Exception"}
        for kind in raised() - {TimeUp}
    }


def test_errors_are_among_the_names_of_a_package() -> None:
    bases, inside = drawn()
    assert bases.keys() - inside <= {name for package in PACKAGES for name in package.__all__}


def test_the_roots_are_one_class_everywhere() -> None:
    assert horm_calc.HormError is workflows.HormError is reactbench_runner.HormError
    assert issubclass(workflows.InputError, (HormError, ValueError))
    assert issubclass(horm_calc.CheckpointNotFound, FileNotFoundError)


def test_errors_pass_between_processes() -> None:
    for kind in raised():
        made = kind.__init__ is not Exception.__init__ and inspect.isfunction(kind.__init__)
        count = len(inspect.signature(kind.__init__).parameters) - 1 if made else 1
        error = kind(*"abc"[:count])
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (kind, str(error))
