"""The figures that papers show of searches, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from horm_calc.configuration import SettingsError
from reactbench_runner.metrics.agreement import Deviation
from reactbench_runner.metrics.outcomes import FUNNEL
from reactbench_runner.metrics.rates import RunReport
from reactbench_runner.metrics.statistics import Rate, known

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise SettingsError(
        f"--figures needs {error.name}: pip install '.[train]' in the repository, or leave it out"
    ) from None

#: Colours that people with any colour vision tell apart (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

#: The bars of the funnel.
SHOWN = ("path", "saddle", "irc", "first_by_bonds", "by_bonds", "intended")

#: What is written below them; what tables say of the first attempt needs its neighbour.
TITLES = {key: title.replace(" ", "\n", 1) for key, title, _ in FUNNEL}
TITLES["first_by_bonds"] = "by bonds,\nfirst attempt"
TITLES["by_bonds"] = "by bonds,\nall attempts"
TITLES["intended"] = "verdict\nintended"

#: Of whose absolute values distributions are drawn: file, label, and the value.
ERRORS: tuple[tuple[str, str, Callable[[Deviation], float | None]], ...] = (
    ("barrier_error", "|ΔE‡ error|, kcal/mol", lambda one: one.barrier_error),
    ("ts_rmsd", "RMSD of the transition states, Å", lambda one: one.rmsd),
)

#: Text stays text, and the same figures give the same files.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "horm-reactbench", "font.size": 10}


def write_figures(
    folder: Path, reports: Sequence[RunReport], found: Sequence[Mapping[str, Deviation]]
) -> list[Path]:
    """Write them; returns the files. found: for each report its deviations, or none."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {"funnel": funnel(reports), "success_by_size": by_size(reports)}
    names = [report.name for report in reports]
    for name, label, of in ERRORS:
        values = [np.abs(known(of(one) for one in one_run.values())) for one_run in found]
        if any(len(one) for one in values):
            figures[name] = distribution(names, values, label)
    return [path for name, figure in figures.items() for path in _saved(figure, folder / name)]


def funnel(reports: Sequence[RunReport]) -> Figure:
    """Bars of each run: the part of all input reactions that has come so far."""
    figure, axes = _figure(1.2 + 1.1 * len(SHOWN))
    width = 0.8 / len(reports)
    places = np.arange(len(SHOWN))
    for number, report in enumerate(reports):
        rates = [report.funnel[key] for key in SHOWN]
        axes.bar(
            places + (number - (len(reports) - 1) / 2) * width,
            [100 * (rate.value or 0) for rate in rates],
            width,
            yerr=_arms(rates),
            capsize=2,
            color=_colour(number),
            label=f"{report.name} ({report.inputs})",
        )
    axes.set_xticks(places, [TITLES[key] for key in SHOWN])
    axes.set(ylabel="of all input reactions, %", ylim=(0, 105))
    _legend(axes, len(reports))
    return figure


def by_size(reports: Sequence[RunReport]) -> Figure:
    """Success against the number of atoms, with intervals."""
    figure, axes = _figure(5.5)
    order = [
        name
        for _, name in sorted({(one.place, one.name) for run in reports for one in run.by_atoms})
    ]
    for number, report in enumerate(reports):
        bins = [one for one in report.by_atoms if one.intended.total]
        shift = 0.12 * (number - (len(reports) - 1) / 2)
        axes.errorbar(
            [order.index(one.name) + shift for one in bins],
            [100 * (one.intended.value or 0) for one in bins],
            yerr=_arms([one.intended for one in bins]),
            marker="o",
            capsize=3,
            color=_colour(number),
            label=report.name,
        )
    axes.set_xticks(range(len(order)), order)
    axes.set(xlabel="atoms", ylabel="intended, % of finished reactions", ylim=(0, 105))
    _legend(axes, len(reports))
    return figure


def distribution(names: Sequence[str], values: Sequence[np.ndarray], label: str) -> Figure:
    """Cumulative distributions; the legend says of how many reactions each is."""
    figure, axes = _figure(5.5)
    for number, (name, found) in enumerate(zip(names, values, strict=True)):
        if len(found):
            axes.ecdf(found, color=_colour(number), label=f"{name} ({len(found)})")
    axes.set(xlabel=label, ylabel="fraction of reactions", xlim=(0, None))
    axes.legend(frameon=False, loc="lower right")
    return figure


def _arms(rates: Sequence[Rate]) -> np.ndarray:
    """Lengths of error bars below and above, %, (2, rates)."""
    ends = [(one.low or 0.0, one.value or 0.0, one.high or 0.0) for one in rates]
    low, value, high = 100 * np.array(ends).reshape(-1, 3).T
    arms: np.ndarray = np.stack([value - low, high - value])
    return arms.clip(0.0)


def _figure(width: float) -> tuple[Figure, Axes]:
    """Without pyplot, which would want a display where there is one, and keeps figures."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, 3.8), layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend(axes: Axes, runs: int) -> None:
    """Above the figure, where it hides nothing."""
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(runs, 3))


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _saved(figure: Figure, path: Path) -> list[Path]:
    """As PNG and SVG."""
    files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    with rc_context(STYLE):
        figure.savefig(files[0], dpi=200)
        figure.savefig(files[1], metadata={"Date": None})
    return files
