"""What is in a set of frames, in numbers and pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from horm_calc.chemistry.thermochemistry import IMAGINARY_THRESHOLD, normal_modes
from horm_calc.data.frames import Frames
from horm_calc.progress import progress
from horm_calc.training.atomic_energies import Compositions
from horm_calc.wording import counted, spread

_MOST_HESSIANS = 5000  # are diagonalised, evenly spread over the set


@dataclass(frozen=True, eq=False)
class Description:
    """The facts about a set.

    reactions: frames of each. sizes: (frames,) atoms. elements: atoms of each atomic number.
    whole, partly: frames with a Hessian, with products of it. references: eV per atom, fitted.
    energies: (frames,) eV, less the references. forces: (atoms of all frames,) their norms,
    eV/Å. orders: numbers of imaginary modes of `sum(orders.values())` Hessians, see `describe`.
    """

    reactions: Counter[str]
    level_of_theory: str
    sizes: np.ndarray
    elements: dict[int, int]
    whole: int
    partly: int
    references: dict[int, float]
    energies: np.ndarray
    forces: np.ndarray
    orders: Counter[int]


def describe(frames: Frames) -> Description:
    """Reads all frames once.

    Imaginary modes are those below -20 cm⁻¹ of the mass-weighted Hessian without translations
    and rotations. Most frames are no stationary points: there they are directions of negative
    curvature.
    """
    compositions, forces, orders = Compositions(), [], Counter[int]()
    energies = np.zeros(len(frames))
    kinds: Counter[str] = Counter()
    step = max(1, int(np.asarray(frames.has_second_derivatives).sum()) // _MOST_HESSIANS)
    for i in progress(range(len(frames)), "Reading frames", len(frames)):
        frame = frames[i]
        compositions.add(frame)
        energies[i] = frame.energy
        forces.append(np.linalg.norm(frame.forces, axis=1).astype(np.float32))
        kinds["partly"] += frame.products is not None
        kinds["whole"] += frame.hessian is not None
        if frame.hessian is not None and kinds["whole"] % step == 0:
            modes = normal_modes(Atoms(frame.numbers, frame.positions), frame.hessian)
            orders[len(modes.imaginary_frequencies(IMAGINARY_THRESHOLD))] += 1
    references = compositions.references(energies)
    return Description(
        reactions=Counter(frames.reactions),
        level_of_theory=frames.level_of_theory,
        sizes=np.asarray(frames.sizes),
        elements=compositions.elements(),
        whole=kinds["whole"],
        partly=kinds["partly"],
        references=references,
        energies=energies - compositions.sums(references),
        forces=np.concatenate(forces),
        orders=orders,
    )


def report(facts: Description) -> str:
    """The facts as lines of text."""
    energies = facts.energies
    elements = (f"{chemical_symbols[n]} {count:,}" for n, count in facts.elements.items())
    atoms = (f"{chemical_symbols[n]} {value:.3f}" for n, value in facts.references.items())
    middle, high, most = np.quantile(facts.forces, [0.5, 0.99, 1])
    lines = {
        "frames": f"{len(facts.sizes):,}",
        "reactions": _reactions(facts.reactions),
        "level of theory": facts.level_of_theory or "not stated",
        "atoms in a frame": _sizes(facts.sizes),
        "elements": f"{', '.join(elements)} atoms",
        "Hessians": f"{facts.whole:,}, and {counted(facts.partly, 'frame')} with products of it",
        "energies of atoms": f"{', '.join(atoms)} eV (fitted)",
        "energies": f"{energies.min():.3f} to {energies.max():.3f} eV from the sum of the atoms', "
        f"standard deviation {energies.std():.3f}",
        "forces on atoms": f"half below {middle:.3f} eV/Å, 99 % below {high:.3f}, all below "
        f"{most:.3f}",
    }
    if facts.orders:
        found = (f"{order}: {facts.orders[order]:,}" for order in sorted(facts.orders))
        lines["imaginary modes"] = (
            f"{', '.join(found)} (modes below -{IMAGINARY_THRESHOLD:g} cm⁻¹: frames; of "
            f"{counted(sum(facts.orders.values()), 'Hessian')})"
        )
    return "\n".join(f"{name:<18} {value}" for name, value in lines.items())


def _reactions(frames: Counter[str]) -> str:
    """'3, of 1 to 20 frames', '3, of 1 frame each'."""
    least, most = min(frames.values()), max(frames.values())
    if least < most:
        return f"{len(frames):,}, of {spread(least, most)} frames"
    return f"{len(frames):,}, of {counted(most, 'frame')}{' each' * (len(frames) > 1)}"


def _sizes(atoms: np.ndarray) -> str:
    """'3', '3 to 10, mean 4.5'."""
    least, most = int(atoms.min()), int(atoms.max())
    return spread(least, most) + (f", mean {atoms.mean():.1f}" if least < most else "")


def plot(facts: Description, path: Path) -> None:
    """Distributions of sizes, energies, forces and imaginary modes, as a picture (PNG)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    _bars(axes[0, 0], Counter(facts.sizes.tolist()), "atoms in a frame")
    axes[0, 1].hist(facts.energies, 80)
    axes[0, 1].set(xlabel="energy less that of fitted atoms / eV", ylabel="frames")
    norms = facts.forces[facts.forces > 0]
    if len(norms):
        edges = np.geomspace(norms.min(), norms.max() * 1.001, 80)
        axes[1, 0].hist(norms, edges)
        axes[1, 0].set(xscale="log")
    axes[1, 0].set(xlabel="force on an atom / (eV/Å)", ylabel="atoms")
    _bars(axes[1, 1], facts.orders, f"modes below -{IMAGINARY_THRESHOLD:g} cm⁻¹", "Hessians")
    figure.suptitle(f"{len(facts.sizes):,} frames, {facts.level_of_theory or 'level not stated'}")
    figure.savefig(path, dpi=120, format="png")


def _bars(axes: Any, counts: Counter[int], xlabel: str, ylabel: str = "frames") -> None:
    axes.bar(list(counts), list(counts.values()))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
