"""The course of a training run as a picture."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

PANELS = {
    "loss": "loss",
    "energy": "energy error, eV",
    "forces": "force error, eV/Å",
    "second": "error of second derivatives",
}


def read_metrics(logs: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of each quantity in the logs of a run and of the runs that resumed it."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    files = sorted(logs.glob("version_*/metrics.csv"), key=lambda f: int(f.parent.name[8:]))
    for file in files:
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                for name, value in row.items():
                    if name not in ("step", "epoch") and value:
                        found[name][int(row["step"])] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}


def draw(logs: Path, picture: Path) -> None:
    """Training and validation errors over steps, one panel each, on logarithmic scales."""
    from matplotlib.figure import Figure

    metrics = read_metrics(logs)
    shown = {key: title for key, title in PANELS.items() if f"val/{key}" in metrics}
    figure = Figure(figsize=(3.2 * max(1, len(shown)), 3), layout="constrained")
    for place, (key, title) in enumerate(shown.items(), 1):
        panel = figure.add_subplot(1, len(shown), place)
        for kind, style in (("train", {"lw": 0.6, "alpha": 0.6}), ("val", {"marker": "."})):
            points = [(s, v) for s, v in metrics.get(f"{kind}/{key}", []) if v > 0]
            if points:
                panel.plot(*zip(*points, strict=True), label=kind, **style)
        panel.set(title=title, xlabel="step", yscale="log")
        panel.legend()
    figure.savefig(picture, dpi=150)
