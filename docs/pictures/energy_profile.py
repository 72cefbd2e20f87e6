"""Draw the energy profile of the README: from a finished run of examples/.

horm-tssearch examples/xyz/vinyl_alcohol.xyz --out runs/profile --calculator gfn2-xtb
python docs/pictures/energy_profile.py runs/profile/vinyl_alcohol
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.io import read

from horm_calc.units import to_kcal_per_mol

matplotlib.use("svg")
from matplotlib import pyplot as plt

GREY, BLUE = "#5f6b7a", "#2456a6"


def main() -> None:
    """Write energy_profile.svg beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reaction", type=Path, help="folder of an intended reaction")
    folder = parser.parse_args().reaction
    row = json.loads((folder / "result.json").read_text("utf-8"))
    frames = read(folder / "irc.xyz", ":")
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    heights = to_kcal_per_mol(energies - row["reactant_energy_ev"])
    along = np.concatenate([[0], np.cumsum([apart(*pair) for pair in pairwise(frames)])])

    plt.rcParams |= {"font.family": "sans-serif", "font.size": 10, "svg.hashsalt": "profile"}
    plt.rcParams["svg.fonttype"] = "none"
    figure, axes = plt.subplots(figsize=(7.2, 3.9), layout="constrained")
    top = int(heights.argmax())
    axes.plot(along, heights, color=BLUE, linewidth=1.8, marker="o", markersize=2.5)
    axes.set_xlabel("distance along the intrinsic reaction coordinate, Å")
    axes.set_ylabel("energy, kcal/mol")
    axes.set_ylim(heights.min() - 8, heights.max() + 48)
    axes.spines[["top", "right"]].set_visible(False)
    barrier, frequency = row["barrier_kcal_per_mol"], abs(row["imaginary_frequency_cm1"])
    energy = f"{row['reaction_energy_kcal_per_mol']:.1f}".replace("-", "−")
    labels = {
        0: "reactant",
        top: f"transition state\nΔE‡ {barrier:.1f} kcal/mol, {frequency:.0f}i cm⁻¹",
        len(frames) - 1: f"product\nΔE {energy} kcal/mol",
    }
    for place, text in labels.items():
        side = "left" if place == 0 else "right" if place == len(frames) - 1 else "center"
        axes.annotate(
            text,
            (along[place], heights[place]),
            (0, 22 if place == len(frames) - 1 else 8),
            textcoords="offset points",
            ha=side,
            color=GREY,
        )
    places = {0: (0.12, 0.4), top: (0.42, 0.74), len(frames) - 1: (0.78, 0.44)}
    for frame, (left, bottom) in places.items():
        drawn(figure.add_axes((left, bottom, 0.2, 0.25)), frames[frame])
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None}, transparent=False)


def apart(one: Atoms, other: Atoms) -> float:
    """How far the atoms move between two frames, Å (unweighted)."""
    return float(np.linalg.norm(other.positions - one.positions))


def drawn(axes: plt.Axes, atoms: Atoms) -> None:
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
    axes.set_aspect("equal")
    axes.margins(0.2)
    axes.axis("off")


if __name__ == "__main__":
    main()
