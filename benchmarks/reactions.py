"""How many real reactions end *intended*, and at what cost.

    python -m benchmarks.reactions --workers 1

searches the first 40 reactions of ../shared/data/reactbench/dev.txt with the default
settings and prints a Markdown table with the rates over all input reactions.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from horm_calc.configuration import SettingsError
from reactbench_runner.batch import run_batch
from reactbench_runner.inputs.reactions import read_reactions
from reactbench_runner.report.table import counts, verification
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.table import cells, cost_columns
from workflows.errors import WorkflowError
from workflows.records import Cost, Label
from workflows.stage_names import COSTED

DATA = Path(__file__).parents[2] / "shared" / "data" / "reactbench"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of two-frame xyz files")
    parser.add_argument("--list", default="dev.txt", help="file in it that names the reactions")
    parser.add_argument("--first", type=int, default=40, help="how many of the list")
    parser.add_argument("--calculator", default="gfn2-xtb")
    parser.add_argument("--verify", help="a trusted calculator, as in horm-tssearch")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"))
    options = parser.parse_args(arguments)

    names = (options.data / options.list).read_text().split()[: options.first]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "reactions.csv"
        with table.open("w", newline="") as f:
            writer = csv.writer(f)
            writer.writerow(["id", "reaction"])
            writer.writerows([Path(n).stem, (options.data / n).resolve()] for n in names)
        try:
            rows = run_batch(
                read_reactions(table),
                options.out,
                options.calculator,
                verify=options.verify,
                workers=options.workers,
                on_finished=lambda row: print(f"{row.id}: {row.verdict}", flush=True),
            )
        except (WorkflowError, SettingsError) as error:
            sys.exit(str(error))
    summary = summarise(rows)
    (options.out / "benchmark.json").write_text(json.dumps(summary, indent=1))
    print(markdown(rows, summary))
    print(f"\n{verification(rows)}".rstrip())


def summarise(rows: Sequence[ResultRow]) -> dict[str, float]:
    """Rates and medians over all rows; seconds, calls of the calculator."""
    seconds = sorted(row.seconds for row in rows)
    summary = {
        "reactions": len(rows),
        "intended": sum(row.verdict is Label.INTENDED for row in rows),
        "intended_in_one_attempt": sum(
            row.verdict is Label.INTENDED and row.attempts == 1 for row in rows
        ),
        "median_seconds": statistics.median(seconds),
        "p90_seconds": seconds[int(0.9 * (len(seconds) - 1))],
        "median_gradients": statistics.median(row.gradients for row in rows),
        "median_hessians": statistics.median(row.hessians for row in rows),
    }
    for stage in COSTED:
        spent = [row.costs.get(stage, Cost()).seconds for row in rows]
        summary[f"median_{cost_columns(stage)[0]}"] = statistics.median(spent)
    return summary


def markdown(rows: Sequence[ResultRow], summary: dict[str, float]) -> str:
    """The tables of docs/explanation/benchmarks.md."""
    lines = [counts(rows), "", "| quantity | value |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {value:g} |" for name, value in summary.items()]
    lines += [
        "",
        "| reaction | atoms | verdict | attempts | ΔE‡ (kcal/mol) | ν‡ (cm⁻¹) | s | remark |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['id']} | {row['atoms']} | {row['verdict']} | {row['attempts']} "
        f"| {row['barrier_kcal_per_mol']} | {row['imaginary_frequency_cm1']} "
        f"| {row['seconds']:.0f} | {row['reason'] or row['warnings']} |"
        for row in map(cells, rows)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
