"""An evaluation for people: tables for the terminal, and files for a folder."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from horm_calc.chemistry.thermochemistry import IMAGINARY_THRESHOLD
from horm_calc.evaluation.table import (
    AGREEMENT,
    BINS,
    COLUMNS,
    ERRORS,
    OVERLAP,
    QUANTITIES,
    Evaluation,
    Quantity,
)

_BY_COLUMN = {quantity.column: quantity for quantity in QUANTITIES}
#: The columns of the tables of bins.
_BINNED = {
    "E": _BY_COLUMN["relative_energy_error_ev"],
    "F": _BY_COLUMN["forces_error_ev_per_a"],
    "H": _BY_COLUMN["hessian_error_ev_per_a2"],
    "λ": _BY_COLUMN["eigenvalues_error_ev_per_a2"],
    "ν": _BY_COLUMN["frequencies_error_cm1"],
    "overlap": OVERLAP,
    "same": AGREEMENT,
}


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Errors of all frames; imaginary modes; errors by size and by force."""
    yield _errors(evaluation)
    if evaluation.count(AGREEMENT.column):
        yield _imaginary(evaluation)
    for column in BINS:
        yield _binned(evaluation, column)


def notes(evaluation: Evaluation, stationary: float) -> list[str]:
    """What has to be known to read the tables rightly, one sentence or two each."""
    lines = [
        "MAE: mean, and median, over frames, of each frame's mean absolute error. "
        "Energy 'relative': less the mean over the frames of the same reaction.",
        "HORM's script counts eigenvalues in Hartree/Bohr², but its output is headed eV/Å²: "
        "1 Hartree/Bohr² = 97.17 eV/Å².",
    ]
    if evaluation.count(AGREEMENT.column):
        lines.append(_of_gibbs(evaluation, stationary))
    if evaluation.not_finite:
        first = evaluation.not_finite[0]
        lines.append(
            f"{len(evaluation.not_finite)} frames are left out because the network's answer is "
            f"not a number, the first of them frame {first} ({evaluation.reactions[first]})."
        )
    return lines


def _of_gibbs(evaluation: Evaluation, stationary: float) -> str:
    near, compared = evaluation.count("stationary"), evaluation.count("gibbs_error_kcal_per_mol")
    return (
        f"G (298.15 K, 1 atm, quasi-RRHO) is compared where reference forces are below "
        f"{stationary:g} eV/Å (--stationary), as it has no meaning elsewhere, and where reference "
        f"and network agree on whether it is a minimum or a transition state. Forces are below "
        f"the limit in {near} of the frames with a Hessian, and {compared} of them agree."
    )


def _errors(evaluation: Evaluation) -> Table:
    table = _table("errors", "", "unit", "frames", "MAE", "median")
    for quantity in ERRORS:
        frames, mean, median = evaluation.summary(quantity)
        numbers = (str(frames), number(mean), number(median)) if frames else ("0", "-", "-")
        table.add_row(quantity.title, quantity.unit, *numbers)
    frames, mean, median = evaluation.summary(OVERLAP)
    if frames:
        table.add_section()
        table.add_row(f"{OVERLAP.title} (1 is best)", "", str(frames), number(mean), number(median))
    return table


def _imaginary(evaluation: Evaluation) -> Table:
    frames, share, _ = evaluation.summary(AGREEMENT)
    table = _table(
        f"imaginary modes, below −{IMAGINARY_THRESHOLD:g} cm⁻¹",
        *("", "network: 0", "1", "2 or more"),
    )
    for name, counts in zip(("0", "1", "2 or more"), evaluation.confusion(), strict=True):
        table.add_row(f"reference: {name}", *map(str, counts))
    table.caption = f"the same number in {share:.1%} of {frames} frames"
    return table


def _binned(evaluation: Evaluation, column: str) -> Table:
    with_second = evaluation.count(AGREEMENT.column) > 0
    shown = _BINNED if with_second else {name: _BINNED[name] for name in ("E", "F")}
    counted = ("frames", "with H") if with_second else ("frames",)
    table = _table(f"MAE by {BINS[column][0]}", "", *counted, *shown)
    table.caption = "E eV (relative), F eV/Å" + (", H and λ eV/Å², ν cm⁻¹" if with_second else "")
    for name, mask in evaluation.bins(column).items():
        counts = [int(mask.sum()), evaluation.summary(AGREEMENT, mask).frames]
        numbers = [_mean(evaluation, quantity, mask) for quantity in shown.values()]
        table.add_row(name, *map(str, counts[: len(counted)]), *numbers)
    return table


def _mean(evaluation: Evaluation, quantity: Quantity, mask: np.ndarray) -> str:
    mean = evaluation.summary(quantity, mask).mean
    if quantity is AGREEMENT and math.isfinite(mean):
        return f"{mean:.0%}"
    return number(mean)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left", box=None)
    table.title_style = "bold"
    table.padding = (0, 2, 0, 0)
    for place, header in enumerate(headers):
        left = place == 0 or header == "unit"
        table.add_column(header, justify="left" if left else "right", no_wrap=True)
    return table


def number(value: float) -> str:
    """Digits enough to compare errors (0 or more) by; '-' for none."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    if value < 1e-3:
        return f"{value:.1e}"
    return f"{value:.4f}" if value < 10 else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def write(folder: Path, evaluation: Evaluation, about: Mapping[str, Any]) -> None:
    """Writes table.csv, frames.csv and metrics.json into an existing folder.

    `about` says of what the evaluation is, as JSON has it.
    """
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["group", "bin", "quantity", "frames", "mean", "median"])
        table.writerows(_long(evaluation))
    with (folder / "frames.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "reaction", *COLUMNS])
        values = zip(*(evaluation.columns[name].tolist() for name in COLUMNS), strict=True)
        for place, (reaction, row) in enumerate(zip(evaluation.reactions, values, strict=True)):
            table.writerow([place, reaction, *(_cell(value) for value in row)])
    metrics = {
        "about": dict(about),
        "errors": {
            quantity.column: _known(evaluation.summary(quantity)._asdict())
            for quantity in QUANTITIES
        },
        "imaginary_modes": {
            "threshold_cm1": IMAGINARY_THRESHOLD,
            "confusion": evaluation.confusion().tolist(),
            "rows": "reference 0, 1, 2 or more; columns: network",
        },
        "frames": len(evaluation.reactions),
        "frames_with_second_derivatives": evaluation.with_second_derivatives,
        "frames_stationary": evaluation.count("stationary"),
        "frames_not_finite": evaluation.not_finite,
    }
    text = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")


def _long(evaluation: Evaluation) -> Iterator[list[Any]]:
    """A row for each quantity of each bin that has frames."""
    groups = {("all", "all"): np.full(len(evaluation.reactions), True)}
    for column in BINS:
        groups |= {(column, name): mask for name, mask in evaluation.bins(column).items()}
    for group, mask in groups.items():
        for quantity in QUANTITIES:
            found = evaluation.summary(quantity, mask)
            if found.frames:
                yield [*group, quantity.column, *found]


def _cell(value: float) -> float | int | str:
    """Nothing where nothing is known, and whole numbers as such."""
    if not math.isfinite(value):
        return ""
    return int(value) if value.is_integer() else value


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}
