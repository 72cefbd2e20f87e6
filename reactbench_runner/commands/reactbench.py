"""`horm-reactbench`: what papers report of transition-state searches, from stored runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from horm_calc.commands.common import entry_point, parser_of
from reactbench_runner.commands.common import exit_code

if TYPE_CHECKING:
    from reactbench_runner.metrics.results import Results

_DESCRIPTION = """\
Report what papers report of transition-state searches, from finished or unfinished runs of
horm-tssearch: how many of all input reactions have a path, a first-order saddle, an IRC and the
intended ends; errors of barriers and RMSD of transition states against references; both by size
and by bonds changed; the cost of each stage. All runs are compared with the first one, reaction by
reaction. The runs are only read.
"""

_EPILOG = """\
Every rate is of all input reactions. Intervals are 95%: Wilson for rates, bootstrap for means and
medians. A table of references has the columns id and barrier_kcal_per_mol (or barrier_ev); the
comments of .xyz files name the reaction (id=rxn12), or a file of one structure is named after it.

examples:
  horm-reactbench runs/first
      rates of one run

  horm-reactbench runs/gfn2-xtb runs/mini --reference runs/dft --figures figures
      How often do GFN2-xTB and horm-mini succeed? On which reactions do they differ? How far are
      their barriers and transition states from those of runs/dft?
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("horm-reactbench", lambda: _report(options))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-reactbench", _DESCRIPTION, _EPILOG)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a folder of --out")
    parser.add_argument(
        "--reference",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="barriers and transition states to compare with: the folder of a run, a .csv table, "
        "an .xyz or .extxyz file, or a folder of these; may be given several times",
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a row for each reaction of each run"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="draw the figures, as PNG and SVG; needs matplotlib, which the extra 'train' installs",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="of the random numbers of the bootstrap (default %(default)s)",
    )
    return parser


def _report(options: argparse.Namespace) -> int:
    if options.figures:  # before the work, where matplotlib is missing
        from reactbench_runner.metrics.figures import write_figures
    from reactbench_runner.metrics.results import results_of, write_csv, write_json
    from reactbench_runner.storage.store import to_stderr

    results = results_of(options.runs, options.reference, options.seed, to_stderr)
    _print(results)
    written: list[Path] = []
    if options.csv:
        written.append(write_csv(options.csv, results))
    if options.json:
        written.append(write_json(options.json, results))
    if options.figures:
        written += write_figures(options.figures, results.reports, results.deviations)
    for path in written:
        print(path)
    return 0


def _print(results: Results) -> None:
    from rich.console import Console
    from rich.markup import escape

    from reactbench_runner.metrics import tables
    from reactbench_runner.metrics.published import DIFFERENCES

    console = Console(highlight=False)
    console.print(tables.funnel(results.reports))
    for report in results.reports:
        for note in report.notes:
            console.print(f"{escape(report.name)}: {escape(note)}", style="yellow")
    console.print(tables.published())
    for line in DIFFERENCES:
        console.print(f"- {line}")
    if results.references:
        console.print(tables.accuracy(results.reports))
    for found in results.comparisons:
        for line in tables.comparison(found):
            console.print(line)
    for report in results.reports:
        if report.finished:
            console.print(tables.breakdown(report))
            console.print(tables.costs(report))


if __name__ == "__main__":
    sys.exit(main())
