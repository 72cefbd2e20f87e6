"""`horm-report`: a run as a web page, figures and supporting information."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from horm_calc.commands.common import entry_point, parser_of
from reactbench_runner.commands.common import exit_code
from workflows.errors import InputError

if TYPE_CHECKING:
    from reactbench_runner.results import Run

_DESCRIPTION = """\
Make a report of a run of horm-tssearch: one HTML file that opens in any browser without a network,
figures for a paper, supporting information. The run may be unfinished; it is only read.
"""

_EPILOG = """\
The page has a table of all reactions that can be sorted and filtered, with drawings of reactant and
product. A click on a reaction shows its energy profile, plays its IRC and its imaginary mode, and
gives energies, frequencies and warnings. Failures, cost, methods with references, and provenance
follow. It can be sent by e-mail: it loads nothing and needs no other file.

examples:
  horm-report runs/first
      writes runs/first/report.html

  horm-report runs/first --figures figures --si si.tex --only claisen,hcn
      energy profiles of two reactions as PNG and SVG, and their supporting information in LaTeX;
      no page, as --out is not given
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("horm-report", lambda: _report(options))


def _report(options: argparse.Namespace) -> int:
    for path in _written(options):
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-report", _DESCRIPTION, _EPILOG)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of --out")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the HTML file (default: RUN/report.html; none if only --figures or --si is given)",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FOLDER",
        help="draw the energy profile of each reaction, as PNG and SVG; needs matplotlib, which "
        "the extra 'train' installs",
    )
    parser.add_argument(
        "--si",
        type=Path,
        metavar="FILE",
        help="write supporting information (.md or .tex): methods, energies, frequencies and "
        "coordinates of all reactions with a transition state",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ID",
        help="this reaction, or several with commas between; may be given several times",
    )
    return parser


def _written(options: argparse.Namespace) -> list[Path]:
    """Do what the options say; returns the files."""
    if options.figures:  # before the work, where matplotlib is missing
        from reactbench_runner.report.figures import write_figures
    if options.si and options.si.suffix not in (".md", ".tex"):
        raise InputError(f"--si {options.si}: the name has to end with .md or .tex")
    from reactbench_runner.results import load_run

    run = _chosen(load_run(options.run), options.only)
    files: list[Path] = []
    if options.out or not (options.figures or options.si):
        from reactbench_runner.report.html import write_html

        files.append(write_html(run.stored, run.rows, options.out or options.run / "report.html"))
    if options.figures:
        files += write_figures(options.figures, run)
    if options.si:
        from reactbench_runner.report.si import write_si

        files.append(write_si(options.si, run))
    return files


def _chosen(run: Run, only: Sequence[str]) -> Run:
    """The run with these reactions alone, where any are named."""
    import dataclasses

    names = [part for text in only for part in ([text] if text in run else text.split(","))]
    unknown = [name for name in names if name not in run]
    if unknown:
        raise InputError(
            f"--only: {run.stored.folder} has no finished reaction '{unknown[0]}'; ids are in the "
            "first column of results.csv"
        )
    rows = {name: run.rows[name] for name in names} if names else run.rows
    return dataclasses.replace(run, rows=rows)


if __name__ == "__main__":
    sys.exit(main())
