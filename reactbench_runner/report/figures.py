"""Energy profiles for a paper, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

from horm_calc.configuration import SettingsError
from horm_calc.units import KCAL_PER_MOL
from reactbench_runner.results import Profile, ReactionResult
from workflows.errors import InputError

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise SettingsError(
        f"--figures needs {error.name}: pip install '.[train]' in the repository, or leave it out"
    ) from None

GREY, BLUE = "#5f6b7a", "#2456a6"

#: Text stays text, and the same results give the same files.
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "horm-report",
    "text.parse_math": False,  # ids are no formulas
}

#: Width and height, inches: two columns of a journal.
SIZE = (7.2, 3.9)

#: Part of the width of the axes that the picture of a structure takes, and of their height.
_PICTURE = (0.24, 0.3)


def write_figures(folder: Path, results: Iterable[ReactionResult]) -> list[Path]:
    """Draw the IRC of each reaction, or its path; returns the files.

    Raises `InputError` where no reaction has one.
    """
    found = ((result, profile_of(result)) for result in results)
    files = []
    for result, profile in found:
        if profile is not None:
            folder.mkdir(parents=True, exist_ok=True)
            files += save(energy_profile(result, profile), folder / result.id)
    if not files:
        raise InputError(
            "--figures: no reaction has an irc.xyz or path.xyz; runs of very many reactions keep "
            "them with horm-tssearch --files"
        )
    return files


def profile_of(result: ReactionResult) -> Profile | None:
    """The IRC where it is stored, or else the path."""
    return result.profile("irc") or result.profile("path")


def energy_profile(result: ReactionResult, profile: Profile) -> Figure:
    """Energies along the IRC (or the path), with both ends and the transition state."""
    row = result.row
    zero = profile.energies[0] if row.reactant_energy_ev is None else row.reactant_energy_ev
    heights = (profile.energies - zero) / KCAL_PER_MOL
    along, last = profile.coordinate, len(profile.frames) - 1
    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(along, heights, color=BLUE, linewidth=1.8, marker="o", markersize=2.5)
        axes.set_xlabel("distance along the path in mass-weighted coordinates, amu$^{1/2}$ Å",
                        parse_math=True)  # fmt: skip
        axes.set_ylabel("energy, kcal/mol")
        low, high = float(heights.min()), float(heights.max())
        # Room for a picture and two lines of text above the curve, wherever its top is.
        axes.set_ylim(low - 0.1 * (high - low), high + 0.75 * (high - low))
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        for place, text in _labels(result, profile.top, last).items():
            _annotated(axes, (along[place], heights[place]), text, profile.frames[place])
    return figure


def save(figure: Figure, path: Path) -> list[Path]:
    """As PNG and SVG; returns the files."""
    files = [path.with_name(f"{path.name}{suffix}") for suffix in (".png", ".svg")]
    with rc_context(STYLE):
        figure.savefig(files[0], dpi=300)
        figure.savefig(files[1], metadata={"Date": None}, transparent=False)
    return files


def _labels(result: ReactionResult, top: int, last: int) -> dict[int, str]:
    """What stands above the ends and the transition state, by frame."""
    row = result.row
    labels = {0: "reactant", last: "product"}
    if row.reaction_energy_kcal_per_mol is not None:
        labels[last] += f"\nΔE {_signed(row.reaction_energy_kcal_per_mol)} kcal/mol"
    labels[top] = "transition state" if row.ts_energy_ev is not None else "highest structure"
    if row.barrier_kcal_per_mol is not None:
        labels[top] += f"\nΔE‡ {_signed(row.barrier_kcal_per_mol)} kcal/mol"
        if row.imaginary_frequency_cm1 is not None:
            labels[top] += f", {abs(row.imaginary_frequency_cm1):.0f}i cm⁻¹"
    return labels


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def _annotated(axes: Axes, point: tuple[float, float], text: str, atoms: Atoms) -> None:
    """The words above a point of the curve, and the structure above the words."""
    axes.annotate(
        text, point, (0, 7), textcoords="offset points", ha="center", va="bottom", color=GREY
    )
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = (point[0] - left) / (right - left), (point[1] - low) / (high - low)
    lines = 0.055 * (1 + text.count("\n")) + 0.03
    width, height = _PICTURE
    place = (min(max(x - width / 2, -0.02), 1.02 - width), min(y + lines, 1.0 - height))
    draw_structure(axes.inset_axes((*place, width, height)), atoms)


def draw_structure(axes: Axes, atoms: Atoms) -> None:
    """A molecule in the plane in which it is widest, as sticks and balls."""
    centred = atoms.positions - atoms.positions.mean(0)
    flat = centred @ np.linalg.svd(centred)[2].T
    radii = covalent_radii[atoms.numbers]
    for i in range(len(atoms)):
        for j in range(i):
            length = atoms.get_distance(i, j) / (radii[i] + radii[j])
            if length < 1.45 and atoms.numbers[[i, j]].sum() > 2:
                style = "-" if length < 1.2 else ":"  # forming and breaking bonds are dotted
                axes.plot(*flat[[i, j], :2].T, style, color=GREY, linewidth=2, zorder=1)
    order = np.argsort(flat[:, 2])
    colors = jmol_colors[atoms.numbers]
    axes.scatter(
        flat[order, 0], flat[order, 1], 160 * radii[order], colors[order], edgecolors=GREY, zorder=2
    )
    middle = (flat.max(0) + flat.min(0)) / 2
    half = np.maximum(np.ptp(flat, axis=0) / 2 + 0.5, (2.4, 1.4, 0))  # small ones stay small
    axes.set_xlim(middle[0] - half[0], middle[0] + half[0])
    axes.set_ylim(middle[1] - half[1], middle[1] + half[1])
    axes.set_aspect("equal", anchor="S")
    axes.axis("off")
