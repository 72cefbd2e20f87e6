"""Plots of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from horm_calc.evaluation.table import Evaluation

#: What is plotted against its reference: the file's name, for people, and the unit.
_PARITY = {
    "relative_energy": ("energy, relative in a reaction", "eV"),
    "forces": ("forces", "eV/Å"),
    "eigenvalues": ("Hessian eigenvalues", "eV/Å²"),
    "frequencies": ("frequencies (negative: imaginary)", "cm⁻¹"),
}
_BY_SIZE = {
    "forces_error_ev_per_a": "forces, eV/Å",
    "hessian_error_ev_per_a2": "Hessian elements, eV/Å²",
    "eigenvalues_error_ev_per_a2": "Hessian eigenvalues, eV/Å²",
}


def write_plots(folder: Path, evaluation: Evaluation) -> None:
    """Writes parity_*.png and error_by_size.png into a folder; none without numbers to show."""
    columns = evaluation.columns
    energies = np.stack([columns[f"relative_energy_{k}_ev"] for k in ("reference", "predicted")], 1)
    shown = {"relative_energy": energies[np.isfinite(energies).all(axis=1)], **evaluation.pairs}
    for name, (title, unit) in _PARITY.items():
        if len(shown[name]):
            _save(_parity(shown[name], title, unit), folder / f"parity_{name}.png")
    _save(_by_size(evaluation), folder / "error_by_size.png")


def _parity(pairs: np.ndarray, title: str, unit: str) -> Figure:
    """Predictions over references (m, 2), as counts: there can be millions."""
    figure, axes = _figure(1)
    low, high = float(pairs.min()), float(pairs.max())
    margin = 0.03 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    hexagons = axes[0].hexbin(
        pairs[:, 0], pairs[:, 1], gridsize=80, bins="log", extent=(*limits, *limits), linewidths=0
    )
    axes[0].plot(limits, limits, color="0.4", linewidth=0.8)
    axes[0].set(xlim=limits, ylim=limits, aspect="equal", title=title)
    axes[0].set(xlabel=f"reference, {unit}", ylabel=f"network, {unit}")
    mae = np.abs(pairs[:, 1] - pairs[:, 0]).mean()
    axes[0].text(
        0.04,
        0.93,
        f"mean error of {len(pairs)} values: {mae:.3g} {unit}",
        transform=axes[0].transAxes,
    )
    figure.colorbar(hexagons, label="values", shrink=0.8)
    return figure


def _by_size(evaluation: Evaluation) -> Figure:
    """Errors of frames over their numbers of atoms: quartiles, and means."""
    known = [name for name in _BY_SIZE if evaluation.count(name)]
    figure, axes = _figure(max(1, len(known)))
    for axis, name in zip(axes, known, strict=False):
        errors = evaluation.columns[name]
        atoms = evaluation.columns["atoms"]
        sizes = np.unique(atoms[np.isfinite(errors)])
        groups = [errors[(atoms == size) & np.isfinite(errors)] for size in sizes]
        quartiles = np.array([np.percentile(group, [25, 50, 75]) for group in groups]).T
        axis.fill_between(sizes, quartiles[0], quartiles[2], alpha=0.3, label="middle half")
        axis.plot(sizes, quartiles[1], marker=".", label="median")
        axis.plot(sizes, [group.mean() for group in groups], marker=".", label="mean")
        axis.set(xlabel="atoms", ylabel=f"error of {_BY_SIZE[name]}")
        axis.set_ylim(bottom=0)
    axes[0].legend()
    return figure


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    """Without pyplot, which would want a display where there is one, and keeps figures."""
    figure = Figure(figsize=(5 * panels, 4.5), layout="constrained")
    return figure, [figure.add_subplot(1, panels, place + 1) for place in range(panels)]


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=150)
