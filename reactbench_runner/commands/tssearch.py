"""`horm-tssearch`: transition states of a table of reactions from the command line."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import itertools
import re
import sys
import time
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from horm_calc.chemistry.solvents import solvent_name
from horm_calc.commands.common import entry_point, parser_of
from horm_calc.configuration import SettingsError, read_yaml
from horm_calc.wording import counted
from workflows.errors import InputError, WorkflowError
from workflows.settings import SearchSettings, from_mapping, stage_types

if typing.TYPE_CHECKING:
    from rich.console import Console

    from reactbench_runner.commands.showing import Shown
    from reactbench_runner.inputs.large import LargeInput
    from reactbench_runner.inputs.reactions import Unreadable
    from workflows.records import Start

_DESCRIPTION = """\
Find and verify the transition states of many reactions.

For each reaction: relax reactant and product, find a path between them, refine its highest
point to a first-order saddle point, follow the intrinsic reaction coordinate (IRC) in both
directions, relax its ends, and compare them with reactant and product. Then compute Gibbs free
energies and, with --verify, refine the transition state at a second level of theory.
"""

_EPILOG = """\
input:
  reactions.csv   columns: id, and either 'reaction' (a file with two frames: reactant,
                  product) or 'reactant' and 'product' (files; opt.log@-1 is the last
                  geometry of opt.log) or 'smiles'; optional: charge, multiplicity, solvent.
                  Paths are relative to the CSV. Both ends need the same atoms in the same
                  order, or --remap finds it.
  reaction.xyz    one file with two frames, or an .sdf with two molecules
  folder          every such file in it is a reaction
  'A.B>>C'        a reaction SMILES; atom maps are used, or else found
  --from guess.xyz  guesses of transition states alone: the verdict is 'found', and the ends
                  are those of the IRC, from the higher one to the lower one
In a table, 'guess' (a file) stands alone for that, or beside both ends, where the first attempt
starts from it. Beside 'reactant', 'react' says what happens ("break 3-7, form 3-9", atoms counted
from 1), and the product is made.
Molecules are neutral singlets unless the CSV or their files (in comment lines,
charge=-1 multiplicity=2) say otherwise. docs/reference/inputs.md describes all input files.

output, in the folder given with --out:
  results.csv     one row per reaction: verdict, energies, cost
  results.db      all structures, an ASE database: try 'ase db results.db'
  <id>/           path.xyz, ts.xyz, irc.xyz, log.txt; ts_verified.xyz with --verify,
                  lower_path.xyz if a lower-energy path is known
  run.json        versions, calculator, settings
  progress.json   how far the run is: 'horm-status FOLDER' reads it
More than 10000 reactions are stored in Parquet files instead, see --storage.

Run the same command again to resume an interrupted run. Exit codes: 0 when every reaction was
searched, whatever the verdict; 1 when results could not be written or a cluster was lost; 2 for
wrong input, before anything is searched; 3 when some reactions could not be searched, for example
because of a missing file; 4 when the time of --walltime was up before the end; 130 when
interrupted.

examples:
  horm-tssearch reactions.csv --out runs/first
  horm-tssearch 'C=CC=C.C=C>>C1=CCCCC1' --out runs/diels-alder --report
  horm-tssearch --from guess.xyz --out runs/guess --calculator gfn2-xtb
  horm-tssearch reactions.csv --out runs/second --verify gfn2-xtb --workers 8
  horm-tssearch reactions.csv --out runs/third --calculator gfn2-xtb --path.method neb
"""


#: Settings of the run itself, which a file of settings may hold beside those of the stages.
_OF_THE_RUN = ("calculator", "verify", "workers", "solvent")


#: Seconds for checks of the order of atoms before the first search, which each search repeats.
_SECONDS_ON_ORDER = 10.0

#: Atoms beyond which a search takes so long that a person should be told.
_LARGE = 100


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        _say("Interrupted. Finished reactions are safe; the same command continues from here.")
        return 130
    except (InputError, SettingsError) as error:
        _say(f"horm-tssearch: {error}")
        return 2
    except WorkflowError as error:
        _say(f"horm-tssearch: {error}")
        return 1


def _run(options: argparse.Namespace) -> int:
    run, settings = _configuration(options)
    # Heavy imports only now: --help and wrong flags answer at once.
    from reactbench_runner.commands.showing import console_of, reading, shown
    from reactbench_runner.inputs.large import open_reactions, solvents_of
    from reactbench_runner.inputs.reactions import guesses_in

    if (options.reactions is None) == (options.guesses is None):
        raise InputError("give either REACTIONS or --from GUESSES, see --help")
    console = console_of()
    limit, solvent = settings.verdict.bond_factor, run.pop("solvent")
    reactions: list[Start | Unreadable] | LargeInput
    heading = []
    with reading(console, quiet=options.quiet):
        # Before a network is loaded.
        if options.guesses is not None:
            reactions = guesses_in(options.guesses, solvent)
        else:
            remap = limit if options.remap else None
            reactions = open_reactions(options.reactions, remap, solvent, verdict=settings.verdict)
        level = _level(run, solvent, solvents_of(reactions))
        if isinstance(reactions, list):
            order = _on_the_order(reactions, limit)
            heading = [_placed(*found, options.reactions) for found in order]
            heading += _on_solvents(reactions)
    if options.dry_run:
        for line in heading:
            console.print(line, markup=False, highlight=False)
        return _rehearse(reactions, options.out, run, settings, console)
    common = {
        **run,
        "settings": settings,
        "in_flight": options.in_flight,
        "dask_address": options.dask,
        "seconds": options.walltime,
        "most_deaths": options.max_deaths,
        "say": _say,
    }
    heading.insert(0, f"{counted(len(reactions), 'reaction')}, {level}, results in {options.out}")
    if isinstance(reactions, list) and (warning := _large(reactions)):
        heading.append(warning)
    if isinstance(reactions, list) and run["verify"] is not None:
        from reactbench_runner.rehearsal import of_verification

        line = of_verification(reactions, run["verify"], run["workers"], settings)
        heading += [line] * bool(line)
    head = "\n".join(heading)
    how = {"quiet": options.quiet, "verbose": options.verbose}
    with shown(console, len(reactions), head, **how) as told:
        common |= {"on_started": told.started, "on_running": told.running}
        search = _search_large if _in_shards(reactions, options) else _search
        code = search(reactions, options, common, told, console)
    if options.report:
        page = _page(options.out)
        if not options.quiet:
            console.print(str(page), markup=False, highlight=False)
    return code


def _level(run: dict[str, Any], solvent: str, solvents: Sequence[str]) -> str:
    """The levels of theory in words. Raises `SettingsError` for a solvent that one has not."""
    from reactbench_runner import calculators

    levels = []
    for name in filter(None, (run["calculator"], run["verify"])):
        entry = calculators.entry(name)
        if problem := entry.capabilities.refusal_of_solvent(solvent):
            raise SettingsError(
                f"--solvent {solvent}: {entry.level_of_theory} has no answer for {problem}; "
                "gfn2-xtb and gfn1-xtb have solvents"
            )
        levels.append(entry.level_in_all(solvents))
    return " verified with ".join(levels)


def _search(
    reactions: list[Start | Unreadable] | LargeInput,
    options: argparse.Namespace,
    common: dict[str, Any],
    told: Shown,
    console: Console,
) -> int:
    """With a folder for each reaction, and a table of all in the end."""
    from reactbench_runner.batch import run_batch
    from reactbench_runner.report import table
    from reactbench_runner.report.expectations import expectations
    from reactbench_runner.storage.rows import NOT_SEARCHED

    if options.files:
        raise InputError("--files is for --storage shards; else each reaction has its files anyway")
    if not isinstance(reactions, list):
        reactions = [listed.read() for listed in reactions]
    rows = run_batch(
        reactions,
        options.out,
        database=options.db,
        on_finished=told.finished,
        **common,
    )
    told.end()
    if not options.quiet:
        console.print(table.summary_table(rows, common["settings"].thermo))
        for line in expectations(rows):
            console.print(line, markup=False, highlight=False)
        for line in table.remarks(rows):
            console.print(line, style="dim", markup=False, highlight=False)
        if len(rows) > table.MOST_ROWS:
            console.print(f"... and {len(rows) - table.MOST_ROWS} more")
        if line := table.verification(rows):
            console.print(line, markup=False, highlight=False)
    console.print(f"{table.counts(rows)}; {options.out / 'results.csv'}")
    not_searched = sum(row.stage in NOT_SEARCHED for row in rows)
    return _exit_code(not_searched, len(reactions) - len(rows))


def _search_large(
    reactions: list[Start | Unreadable] | LargeInput,
    options: argparse.Namespace,
    common: dict[str, Any],
    told: Shown,
    console: Console,
) -> int:
    """With files of a thousand reactions, and counts in the end."""
    from reactbench_runner.large import run_large
    from reactbench_runner.report import table

    if options.db:
        raise InputError("--db is for --storage folders; 'horm-merge RUN --db' makes results.db")
    counts = run_large(
        reactions, options.out, files=options.files, on_finished=told.counted, **common
    )
    told.end()
    verdicts = table.counted(counts.verdicts, guesses=options.guesses is not None)
    console.print(f"{verdicts}; {options.out / 'results.parquet'}")
    if not options.quiet:
        console.print(f"horm-merge {options.out} writes results.csv", markup=False, highlight=False)
    return _exit_code(counts.not_searched, counts.left)


def _page(out: Path) -> Path:
    """Write the page that `horm-report` writes, where that would. Raises `WorkflowError`."""
    from reactbench_runner.report.html import write_html
    from reactbench_runner.results import load_run

    run, page = load_run(out), out / "report.html"
    try:
        return write_html(run.stored, run.rows, page)
    except OSError as error:
        raise WorkflowError(
            f"{page} cannot be written: {error.strerror or error}. The results in {out} are safe; "
            f"'horm-report {out} --out PAGE.html' writes the page elsewhere"
        ) from error


def _exit_code(not_searched: int, left: int) -> int:
    """That of a run which has ended by itself."""
    if left:
        _say(f"The time is up: {counted(left, 'reaction')} left; the same command goes on.")
        return 4
    return 3 if not_searched else 0


def _in_shards(
    reactions: list[Start | Unreadable] | LargeInput, options: argparse.Namespace
) -> bool:
    """As --storage says, or as the folder has it, or as many reactions need it."""
    from reactbench_runner.storage.shards import is_sharded

    if options.storage is not None:
        return bool(options.storage == "shards")
    if is_sharded(options.out):
        return True
    begun = any(options.out.glob("*/result.json"))
    return not isinstance(reactions, list) and not begun


def _rehearse(
    reactions: list[Start | Unreadable] | LargeInput,
    out: Path,
    run: dict[str, Any],
    settings: SearchSettings,
    console: Console,
) -> int:
    from reactbench_runner.inputs.large import LARGE
    from reactbench_runner.rehearsal import rehearse
    from reactbench_runner.storage.run_folder import check_place

    check_place(out)
    if not isinstance(reactions, list):
        console.print(f"The first {LARGE} of {len(reactions)} reactions are looked at.")
        reactions = [listed.read() for listed in itertools.islice(reactions, LARGE)]
    how = run["calculator"], run["verify"], run["workers"]
    return rehearse(reactions, *how, settings, console)


def _large(reactions: Sequence[Start | Unreadable]) -> str:
    """A warning of large molecules; "" where there are none."""
    from workflows.records import Start

    found = [item for item in reactions if isinstance(item, Start)]
    large = [item.id for item in found if len(item.atoms) > _LARGE]
    if not large:
        return ""
    return (
        f"{', '.join(large[:3])}{', ...' * (len(large) > 3)}: more than {_LARGE} atoms. Such a "
        "search takes hours; 'horm-status' tells where it is"
    )


def _on_the_order(
    reactions: Sequence[Start | Unreadable], bond_factor: float
) -> Iterator[tuple[str, str]]:
    """What has been, or perhaps should be, another order of atoms: ids and words."""
    from workflows.atom_order import check_order
    from workflows.input_checks import check_reaction
    from workflows.records import Reaction

    end = time.monotonic() + _SECONDS_ON_ORDER
    for count, item in enumerate(reactions):
        if not isinstance(item, Reaction):
            continue
        if item.remapped:
            yield item.id, item.remapped
            continue
        if time.monotonic() > end:
            left = counted(len(reactions) - count, "reaction")
            yield "", f"The order of atoms of {left} more is checked when each is searched."
            return
        with contextlib.suppress(InputError):  # which its row tells
            check_reaction(item)
            yield from ((item.id, text) for text in check_order(item, bond_factor) if text)


def _on_solvents(reactions: Sequence[Start | Unreadable]) -> list[str]:
    """Which reactions have structures from another solvent, by the words of their files."""
    from workflows.input_checks import solvent_of_files
    from workflows.records import Start

    found: dict[str, list[str]] = {}
    for item in reactions:
        if isinstance(item, Start) and (text := solvent_of_files(item)):
            found.setdefault(text, []).append(item.id)
    return [
        f"{', '.join(names[:3])}{', ...' * (len(names) > 3)}: {text}"
        for text, names in found.items()
    ]


def _placed(identifier: str, text: str, source: Path | str) -> str:
    """With the file, the line in a table and the id of the reaction that it is about, if any."""
    from reactbench_runner.inputs.reactions import listed_in

    where = next((item.where for item in listed_in(source) if item.id == identifier), "")
    return f"{where} ({identifier}): {text}" if where else text


def _configuration(options: argparse.Namespace) -> tuple[dict[str, Any], SearchSettings]:
    """The settings of the run, by the names of `_OF_THE_RUN`, and those of its searches.

    Flags go before the file of --config, and that before the defaults.
    """
    from reactbench_runner.calculators import DEFAULT

    values = read_yaml(options.config, "path: {images: 9}") if options.config else {}
    known = (*_OF_THE_RUN, *(spec.name for spec in dataclasses.fields(SearchSettings)))
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise SettingsError(
                f"unknown setting '{name}' in {options.config}{hint} Known: {', '.join(known)}"
            )
    run = {"calculator": DEFAULT, "verify": None, "workers": 1, "solvent": ""}
    run |= {
        name: _from_file(name, values.pop(name), options.config)
        for name in _OF_THE_RUN
        if values.get(name) is not None
    }
    run |= {name: given for name in _OF_THE_RUN if (given := getattr(options, name)) is not None}
    run["solvent"] = solvent_name(str(run["solvent"]))
    for name, value in vars(options).items():
        if not name.startswith("set:") or value is None:
            continue
        stage, _, key = name.removeprefix("set:").rpartition(".")
        target = values.setdefault(stage, {}) if stage else values
        if not isinstance(target, dict):
            raise SettingsError(f"'{stage}' in {options.config} needs settings below it")
        target[key] = value
    return run, from_mapping({name: value for name, value in values.items() if value is not None})


def _from_file(name: str, value: Any, file: Path) -> Any:
    """A setting of the run in a file, if it is what such a file may say."""
    from reactbench_runner.calculators import HORM
    from reactbench_runner.calculators.code import is_code

    if name == "workers":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingsError(f"'workers' in {file} is {value!r}; it must be 1 or more")
        return value
    if not isinstance(value, str):
        raise SettingsError(f"'{name}' in {file} needs a name, not {value!r}")
    if is_code(value) and not value.startswith(HORM):
        raise SettingsError(
            f"'{name}' in {file} names Python code, which a file of settings must not run; write "
            f"--{name} {value} on the command line"
        )
    return value


def _source(text: str) -> Path | str:
    """A file or folder, or a reaction SMILES."""
    return text if ">" in text and not Path(text).exists() else Path(text)


def _parser() -> argparse.ArgumentParser:
    from reactbench_runner.calculators import DEFAULT, known

    parser = parser_of("horm-tssearch", _DESCRIPTION, _EPILOG)
    # All flags would fill a screen above every error message.
    parser.usage = "%(prog)s {REACTIONS | --from GUESSES} --out FOLDER [options]; --help lists them"
    parser.add_argument(
        "reactions",
        nargs="?",
        type=_source,
        metavar="REACTIONS",
        help="a CSV table, an xyz file with two frames, a folder of such files, or a reaction "
        "SMILES in quotation marks",
    )
    parser.add_argument(
        "--from",
        dest="guesses",
        type=Path,
        metavar="GUESSES",
        help="instead of REACTIONS: a file whose structures are guesses of transition states, each "
        "a search of its own; what they connect is found",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for the results"
    )
    parser.add_argument(
        "--calculator",
        metavar="NAME",
        help=f"one of {', '.join(known())}; horm:NAME, a network that horm-models lists; "
        "horm:FILE, a checkpoint of your own; FILE.py:FACTORY or MODULE:FACTORY, a function "
        "(charge, multiplicity) that returns an ASE calculator "
        f"(default {DEFAULT}, which approximates ωB97X/6-31G(d))",
    )
    parser.add_argument(
        "--verify",
        metavar="NAME",
        help="a second calculator, usually slower and more reliable: every transition state is "
        "refined once more with it and compared; a finished run can be verified later",
    )
    parser.add_argument(
        "--solvent",
        metavar="NAME",
        help="implicit solvent, with gfn2-xtb and gfn1-xtb (ALPB): water, acetonitrile, dmso, thf, "
        "toluene and 20 others; none for the gas phase, which is the default. A column 'solvent' "
        "of the table goes before it",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="file of settings by stage and name; it may also set calculator, verify, solvent and "
        "workers",
    )
    parser.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="number of reactions searched at once; each uses one process and one core (default 1)",
    )
    parser.add_argument(
        "--in-flight",
        type=_positive,
        metavar="M",
        help="number of searches that each worker has under way at a time, whose structures a "
        "network evaluates together (default 64 with a network on a GPU, otherwise 1)",
    )
    parser.add_argument(
        "--remap",
        action="store_true",
        help="put the atoms of each product into the order with which the fewest bonds change, and "
        "equivalent hydrogens into that in which they move least; the warnings in the results say "
        "what was changed (default: the order in the files, with a warning if another one changes "
        "fewer bonds)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check all inputs, print what would run and roughly how long it takes, and stop",
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument(
        "--quiet",
        action="store_true",
        help="print only errors and, in the end, one line with the number of each verdict; the "
        "table is in results.csv",
    )
    told.add_argument(
        "--verbose",
        action="store_true",
        help="print a line for each stage and each attempt that ends, too",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="in the end, write OUT/report.html, as horm-report does",
    )
    parser.add_argument(
        "--dask", metavar="tcp://HOST:PORT", help="search on this Dask cluster instead"
    )
    parser.add_argument(
        "--db",
        metavar="URL",
        help="database (default OUT/results.db); a postgresql:// URL works too",
    )
    _add_running(parser.add_argument_group("long runs (docs/how-to/million.md)"))
    _add_settings(parser.add_argument_group("search"), SearchSettings, "")
    for stage, kind in stage_types().items():
        title = (kind.__doc__ or stage).splitlines()[0]
        _add_settings(parser.add_argument_group(stage, title), kind, f"{stage}.")
    return parser


def _add_running(group: Any) -> None:
    group.add_argument(
        "--storage",
        choices=("folders", "shards"),
        help="where results go: a folder for each reaction, results.csv and results.db; or Parquet "
        "files of a thousand reactions, which horm-merge makes a table of (default: shards for "
        "more than 10000 reactions; a run that is resumed stays as it is)",
    )
    group.add_argument(
        "--files",
        action="store_true",
        help="with shards: a folder with the xyz files and the log of each reaction too",
    )
    group.add_argument(
        "--walltime",
        type=_span,
        metavar="[D-]HH:MM:SS",
        help="after this time nothing is begun any more; what is under way ends, and the exit "
        "code is 4 if something is left",
    )
    group.add_argument(
        "--max-deaths",
        type=_positive,
        default=100,
        metavar="N",
        help="give up when so many workers have died one after the other, with no result between "
        "(default 100)",
    )


def _span(text: str) -> float:
    """Seconds, of '23:30:00' or '2-00:00:00'."""
    if not (parts := re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 23:30:00 or 2-00:00:00")
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _add_settings(group: Any, kind: type, prefix: str) -> None:
    """One flag for each setting: `--path.images N` is `path: {images: N}` in the YAML."""
    hints = typing.get_type_hints(kind)
    for spec in dataclasses.fields(kind):
        if "doc" not in spec.metadata:
            continue
        group.add_argument(
            f"--{prefix}{spec.name}",
            dest=f"set:{prefix}{spec.name}",
            type=hints[spec.name],
            choices=spec.metadata["choices"] or None,
            metavar=None if spec.metadata["choices"] else spec.name.upper(),
            help=f"{spec.metadata['doc']} (default {spec.default})".replace("%", "%%"),
        )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
