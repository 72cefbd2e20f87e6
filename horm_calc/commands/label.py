"""`horm-label`: energies, forces and Hessians for geometries, into a file for training."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from horm_calc.commands.common import entry_point, parser_of
from horm_calc.data.frames import DataError

_MOST_LINES = 20  # of failures, on the terminal

if TYPE_CHECKING:
    from horm_calc.data.labelling.journal import Journal
    from horm_calc.data.labelling.labels import Failure, Settings

_DESCRIPTION = """\
Label geometries with energies, forces and, for a fraction of them, second derivatives, so that
a network can be trained on them.

Geometries must be neutral singlets in vacuum. Those that cannot be labelled are left out and
listed with the cause at the end and in OUT.failures.csv.
"""

_EPILOG = """\
levels:
  gfn2-xtb  GFN2-xTB with tblite: 0.03 s per frame of 12 atoms, 1.5 s with its Hessian
  gfn1-xtb  GFN1-xTB with tblite: the same
  wb97x     ωB97X/6-31G(d) with PySCF, with the settings of HORM's published data, so that both
            can be mixed; minutes per frame. A GPU is used if gpu4pyscf is installed
  wb97x-coarse
            the same on a coarser grid: half the time, forces differ by 0.002 eV/Å on average

Labels are total energies (eV), forces (eV/Å), Hessians (eV/Å²) and, with --projections, products
of the Hessian with random vectors of entries ±1. Each product costs as much as two gradients with
the xTB methods, and as much as the whole Hessian with wb97x.

A frame belongs to the reaction that its info["reaction"] names (reaction=NAME in the comment of an
xyz file), otherwise to its file. Frames of one reaction stay together when data are split into
training and test set.

The same command resumes an interrupted run, also after kill -9 or a crash: finished labels are
kept in OUT.partial until all are done.

examples:
  horm-label path.xyz labels.h5 --level gfn2-xtb
  horm-label geometries/ labels.h5 --level gfn2-xtb --hessians 0.1 --workers 8
  horm-label geometries/ labels.h5 --level gfn2-xtb --hessians 1 --projections 4
  horm-label chosen.h5 dft.h5 --level wb97x --hessians 1 --workers 16

Exit code: 0 when OUT is written, 1 when there is nothing to write or no room to write it, 2 for
wrong input, with one line on stderr that says what helps, 130 when interrupted.
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        _say("Interrupted. Finished frames are safe; the same command continues from here.")
        return 130
    except DataError as error:
        _say(f"horm-label: {error}")
        return 2
    except (OSError, sqlite3.OperationalError) as error:
        _say(
            f"horm-label: {options.out} could not be written: {error}. Finished frames are safe; "
            "make room and run the same command to continue."
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-label", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add(
        "geometries",
        metavar="GEOMETRIES",
        type=Path,
        help="a file that ASE reads (xyz with many frames, traj), frames (.h5, .lmdb; their own "
        "labels are ignored), or a folder of these",
    )
    add("out", metavar="OUT.h5", type=Path, help="a new file")
    add("--level", metavar="LEVEL", required=True, help="level of theory, see below")
    add(
        "--hessians",
        metavar="FRACTION",
        type=float,
        default=0.0,
        help="fraction of the frames, chosen at random, that get second derivatives (default 0)",
    )
    add(
        "--projections",
        metavar="K",
        type=int,
        default=0,
        help="give these frames products of the Hessian with K random vectors, not the Hessian",
    )
    add(
        "--max-force",
        metavar="F",
        type=float,
        default=30.0,
        help="leave out frames with a force component above this, eV/Å (default 30)",
    )
    add("--workers", metavar="N", type=int, default=1, help="number of processes (default 1)")
    add("--seed", metavar="S", type=int, default=0, help="seed of all random choices (default 0)")
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    # Heavy imports only now: --help and wrong flags answer at once.
    from horm_calc.data.formats.hdf5 import write_hdf5
    from horm_calc.data.labelling.geometries import read_geometries
    from horm_calc.data.labelling.journal import Journal
    from horm_calc.data.labelling.labels import Failure
    from horm_calc.data.labelling.levels import LEVELS

    geometries = read_geometries(options.geometries)
    level = LEVELS[settings.level]
    sidecar = _beside(options.out, ".failures.csv")
    with contextlib.closing(
        Journal(_beside(options.out, ".partial"), geometries, settings)
    ) as journal:
        number = len(geometries)
        print(f"{number:,} {'geometry' if number == 1 else 'geometries'}, {level.description}")
        speed = _fill(journal, options.workers)
        outcomes = list(journal)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        frames = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        _write_failures(sidecar, failures)
        if frames:
            write_hdf5(options.out, frames, level.name)
        journal.delete()
    _report(failures, sidecar)
    if not frames:
        _say("horm-label: no frame could be labelled, so nothing is written")
        return 1
    with_second = [frame for frame in frames if frame.has_second_derivatives]
    kind = f"products with {settings.projections} vectors" if settings.projections else "a Hessian"
    print(f"{options.out}: {len(frames)} frames, {len(with_second)} of them with {kind}{speed}")
    return 0


def _report(failures: Sequence[Failure], table: Path) -> None:
    for failure in failures[:_MOST_LINES]:
        print(f"  frame {failure.number} ({failure.reaction}): {failure.cause}")
    if failures:
        print(f"{len(failures)} frames without label, all with the cause in {table}")


def _settings(options: argparse.Namespace) -> Settings:
    """The settings, after a look at what can be wrong before any work."""
    from horm_calc.data.labelling.labels import Settings

    if options.out.suffix not in (".h5", ".hdf5"):
        raise DataError(options.out, "the result's name must end in .h5")
    if not options.out.absolute().parent.is_dir():
        raise DataError(options.out, "its folder does not exist", "Make it first.")
    if options.out.exists():
        raise DataError(options.out, "exists already", "Move it away or choose another name.")
    if options.workers < 1:
        raise DataError("--workers", "at least 1")
    names = [field.name for field in dataclasses.fields(Settings)]
    try:
        return Settings(**{name: getattr(options, name) for name in names})
    except ValueError as error:
        raise DataError("options", str(error)) from None


def _fill(journal: Journal, workers: int) -> str:
    """Labels what the journal lacks; returns what that took, in words."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from horm_calc.data.labelling.labels import Failure, label_all

    finished = journal.finished()
    failed = sum(isinstance(outcome, Failure) for outcome in journal)
    total, start, new = len(journal.geometries), time.monotonic(), 0
    if finished:
        print(f"{len(finished)} of them finished before")
    with Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:  # fmt: skip
        bar = progress.add_task(f"{failed} failed", total=total, completed=len(finished))
        outcomes = label_all(journal.geometries, journal.settings, workers, finished)
        for number, outcome in outcomes:
            journal.add(number, outcome)
            new += 1
            failed += isinstance(outcome, Failure)
            progress.update(bar, advance=1, description=f"{failed} failed")
    return f"; {(time.monotonic() - start) / new:.3g} s per frame" if new else ""


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(out.stem + ending)


def _write_failures(path: Path, failures: Sequence[Failure]) -> None:
    """The table of the failures; none where there are none, not that of another run either."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["frame", "reaction", "cause"])
        table.writerows([failure.number, failure.reaction, failure.cause] for failure in failures)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
