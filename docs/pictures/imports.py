"""Draw which folders of the packages import which: python docs/pictures/imports.py

`tests/test_architecture.py` reads the imports with the same functions.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import networkx as nx
from matplotlib import pyplot as plt

REPOSITORY = Path(__file__).parents[2]
COLORS = {"reactbench_runner": "#f6d8ae", "workflows": "#bfe3c6", "horm_calc": "#c3d7f2"}
GREY = "#8792a2"


def main() -> None:
    """Write imports.svg beside this file."""
    plt.switch_backend("svg")
    condensed = nx.condensation(folders())
    graph = nx.transitive_reduction(condensed)
    members = nx.get_node_attributes(condensed, "members")
    rows = [sorted(row) for row in nx.topological_generations(graph)]
    plt.rcParams |= {"font.size": 10, "svg.hashsalt": "imports", "svg.fonttype": "none"}
    figure, axes = plt.subplots(figsize=(8, 0.9 * len(rows) + 0.7), layout="constrained")
    places = {
        group: ((place + 0.5) / len(row), -level)
        for level, row in enumerate(rows)
        for place, group in enumerate(row)
    }
    for start, end in graph.edges:
        arrow = {"arrowstyle": "->", "color": GREY, "shrinkA": 14, "shrinkB": 16}
        axes.annotate("", places[end], places[start], arrowprops=arrow)
    for group, place in places.items():
        boxed(axes, place, *named(members[group]))
    for place, (package, color) in enumerate(COLORS.items()):
        boxed(axes, ((place + 0.5) / len(COLORS), 0.75), package, color, "bold")
    axes.set_xlim(0, 1)
    axes.set_ylim(-len(rows) + 0.5, 1.1)
    axes.axis("off")
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


def named(group: set[str]) -> tuple[str, str]:
    """What is written on folders that use each other, and their colour."""
    names = sorted(folder.split(".")[1] for folder in group)
    return " · ".join(names), COLORS[min(group).split(".")[0]]


def boxed(
    axes: plt.Axes, place: tuple[float, float], text: str, color: str, weight: str = "normal"
) -> None:
    """A word in a coloured box."""
    box = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "none"}
    axes.text(*place, text, ha="center", va="center", weight=weight, bbox=box)


def folders() -> nx.DiGraph:
    """Folders of the packages, and what each imports from the others.

    The files at the top of a package count as two: those that use its folders, and the rest.
    """
    modules = modules_of(COLORS)
    given = {module: folder_of(module) for module in modules}
    folder = dict(given)
    for module in modules:
        package = module.split(".")[0]
        if given[module] == package:
            below = {given[one] for one in nx.descendants(modules, module)}
            uses = any(one.startswith(f"{package}.") for one in below)
            folder[module] = f"{package}.{'front' if uses else 'basics'}"
    graph = nx.DiGraph()
    graph.add_nodes_from(folder.values())
    graph.add_edges_from((folder[a], folder[b]) for a, b in modules.edges if folder[a] != folder[b])
    return graph


def modules_of(packages: Iterable[str]) -> nx.DiGraph:
    """Which module of the packages imports which; faces are left out."""
    graph = nx.DiGraph()
    for package in packages:
        for path, names in imports(package).items():
            if path.name != "__init__.py":
                module = ".".join(path.with_suffix("").parts)
                graph.add_node(module)
                graph.add_edges_from((module, name) for name in sorted(names) if is_file(name))
    return graph


def imports(package: str) -> dict[Path, set[str]]:
    """The modules that each module of a package imports, at its top or inside of functions."""
    found = {}
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {name if is_module(name) else node.module for name in full}
        found[path.relative_to(REPOSITORY)] = names
    assert found
    return found


def is_module(name: str) -> bool:
    """Whether this repository has a module or a package of that name."""
    return is_file(name) or (REPOSITORY.joinpath(*name.split(".")) / "__init__.py").exists()


def is_file(name: str) -> bool:
    """Whether this repository has a module of that name that is no package."""
    return REPOSITORY.joinpath(*name.split(".")).with_suffix(".py").exists()


def folder_of(module: str) -> str:
    """'workflows.stages' of 'workflows.stages.irc'; 'workflows' of 'workflows.settings'."""
    package, *rest = module.split(".")
    return f"{package}.{rest[0]}" if len(rest) > 1 else package


if __name__ == "__main__":
    main()
