"""`horm-merge`: the Parquet files of a large run as one table and one database."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from horm_calc.commands.common import entry_point, parser_of
from reactbench_runner.commands.common import exit_code
from workflows.errors import InputError

_DESCRIPTION = """\
Write results.csv, and with --db results.db, of a run that horm-tssearch has stored in Parquet
files. The run is left as it is; what it has not finished can be searched afterwards.
"""

_EPILOG = """\
Rows stand in the order in which they finished. pandas, polars and DuckDB read the Parquet files
without this command: pandas.read_parquet("RUN/results.parquet").

examples:
  horm-merge runs/million
  horm-merge runs/million --db
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("horm-merge", lambda: _merge(options))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-merge", _DESCRIPTION, _EPILOG)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of --out")
    parser.add_argument(
        "--db",
        action="store_true",
        help="write an ASE database of all structures too, which takes hours for a million "
        "reactions",
    )
    return parser


def _merge(options: argparse.Namespace) -> int:
    from reactbench_runner.storage.run_folder import exclusive_lock
    from reactbench_runner.storage.shards import (
        Shards,
        is_sharded,
        rows_of,
        write_database,
    )
    from reactbench_runner.storage.store import write_table

    run: Path = options.run
    if not is_sharded(run):
        raise InputError(f"{run} holds no run with --storage shards; nothing is to be merged")
    with exclusive_lock(run):
        with contextlib.closing(Shards(run)) as shards:
            shards.seal()
        print(write_table(run / "results.csv", rows_of(run)))
        if options.db:
            print(write_database(run))
    return 0


if __name__ == "__main__":
    sys.exit(main())
