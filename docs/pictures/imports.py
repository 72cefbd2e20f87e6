"""Draw which folders of the packages import which: python docs/pictures/imports.py"""

from __future__ import annotations

import ast
from pathlib import Path

import matplotlib
import networkx as nx

matplotlib.use("svg")
from matplotlib import pyplot as plt

REPOSITORY = Path(__file__).parents[2]
COLORS = {"reactbench_runner": "#f6d8ae", "workflows": "#bfe3c6", "horm_calc": "#c3d7f2"}
GREY = "#8792a2"


def main() -> None:
    """Write imports.svg beside this file."""
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
    modules = imports()
    folder = {module: folder_of(module) for module in modules}
    for module in modules:
        package = module.split(".")[0]
        if folder[module] == package:
            below = {folder[one] for one in nx.descendants(modules, module)}
            uses = any(one.startswith(f"{package}.") for one in below)
            folder[module] = f"{package}.{'front' if uses else 'basics'}"
    graph = nx.DiGraph()
    graph.add_nodes_from(folder.values())
    graph.add_edges_from((folder[a], folder[b]) for a, b in modules.edges if folder[a] != folder[b])
    return graph


def imports() -> nx.DiGraph:
    """Which module imports which, at its top or inside of functions; faces are left out."""
    paths = [path for package in COLORS for path in sorted((REPOSITORY / package).rglob("*.py"))]
    names = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path
        for path in paths
        if path.name != "__init__.py"
    }
    graph = nx.DiGraph()
    for name, path in names.items():
        graph.add_node(name)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                graph.add_edges_from((name, one) for one in found & set(names))
    return graph


def folder_of(module: str) -> str:
    """'workflows.stages' of 'workflows.stages.irc'; 'workflows' of 'workflows.settings'."""
    package, *rest = module.split(".")
    return f"{package}.{rest[0]}" if len(rest) > 1 else package


if __name__ == "__main__":
    main()
