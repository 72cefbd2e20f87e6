"""`horm-models`: which published networks there are, and what a checkpoint holds."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horm_calc.checkpoints import catalogue
from horm_calc.checkpoints.torch_archive import CheckpointError, printable
from horm_calc.commands.common import entry_point, parser_of

if TYPE_CHECKING:
    from rich.table import Table

_DESCRIPTION = """\
Checkpoints of machine-learned potentials for reactions of H, C, N and O: list them, get them,
look into them. Files are read without executing anything in them.
"""

_EPILOG = f"""\
A checkpoint is given by its path, or by its name in the list. A name is looked up in the folder
that the environment variable {catalogue.FOLDER} names (NAME.safetensors before NAME.ckpt), then
in Hugging Face's cache, then it is downloaded. On a machine without network: put the files into
a folder and set {catalogue.FOLDER} to it.

examples:
  horm-models                              what is published, and what is here already
  horm-models path left                    where 'left' lies; downloads it if needed
  horm-models show left                    what is in it
  horm-models show my.ckpt                 the same for a file of your own
  horm-models convert eqv2 eqv2.safetensors
                                           smaller and faster to load, the same weights

Exit code: 0, or 2 for wrong input, with one line on stderr that says what helps.
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except (CheckpointError, OSError) as error:
        print(f"horm-models: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-models", _DESCRIPTION, _EPILOG)
    parser.set_defaults(run=_list, json=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    listing = add("list", _list, "what is published and what is on this machine (the default)")
    listing.add_argument("--json", action="store_true", help="for programs instead of people")
    path = add("path", _path, "print where a checkpoint lies, after downloading it if needed")
    path.add_argument("name", metavar="NAME", help="a name in the list")
    show = add("show", _show, "what a checkpoint holds, and whether its weights fit its network")
    show.add_argument("file", metavar="FILE", help="a file, or a name in the list")
    convert = add("convert", _convert, "write a checkpoint as safetensors, without optimiser state")
    convert.add_argument("source", metavar="IN", help="a file, or a name in the list")
    convert.add_argument("target", metavar="OUT.safetensors", type=Path, help="a new file")
    return parser


def _list(options: argparse.Namespace) -> None:
    here = {name: catalogue.present(entry) for name, entry in catalogue.CATALOGUE.items()}
    if options.json:
        rows = [
            {**dataclasses.asdict(entry), "url": entry.url, "file": here[name] and str(here[name])}
            for name, entry in catalogue.CATALOGUE.items()
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    console.print(_table(here))
    for name, file in here.items():
        if file:
            console.print(f"{name}: {file}", markup=False, highlight=False, soft_wrap=True)


def _table(here: dict[str, Path | None]) -> Table:
    from rich.table import Table

    table = Table(
        title="trained on energies (E), forces (F), Hessians (H) at ωB97X/6-31G(d), but "
        f"{catalogue.SHIPPED} at GFN2-xTB",
        caption="errors: of Hessians and of their eigenvalues, mean absolute, in eV/Å², from "
        + catalogue.ERRORS_SOURCE,
        box=None,
        padding=(0, 2, 0, 0),
    )
    for header in ("name", "network", "training", "errors", "licence", "here"):
        table.add_column(header, no_wrap=True)
    for name, entry in catalogue.CATALOGUE.items():
        errors = f"{_number(entry.hessian_error)} {_number(entry.eigenvalue_error)}"
        licence = entry.licence.removeprefix("CC ")
        present = "yes" if here[name] else "no"
        table.add_row(name, entry.network, entry.training, errors, licence, present)
    return table


def _number(value: float | None) -> str:
    return "-    " if value is None else f"{value:.3f}"


def _path(options: argparse.Namespace) -> None:
    print(catalogue.find(options.name))


def _show(options: argparse.Namespace) -> None:
    path = catalogue.find(options.file)
    import torch
    from ase.data import chemical_symbols

    from horm_calc.checkpoints.files import load_network, read

    checkpoint = read(path)
    network = load_network(checkpoint, torch.float32)
    checkpoint.metadata.pop("elements", None)  # shown once, as the network has them
    entry = catalogue.entry_of(path)
    known = entry is not None and entry.network == checkpoint.config["name"]
    facts = {
        "file": str(path),
        "size": f"{path.stat().st_size / 1e6:.1f} MB, {len(checkpoint.state)} tensors",
        "sha256": checkpoint.sha256,
        "network": f"{checkpoint.config['name']}, its weights fit",
        "parameters": f"{sum(value.numel() for value in network.parameters()):,}",
    }
    if entry is not None and known:
        facts |= {
            "training": f"{entry.training} (by the file's name, {entry.name})",
            "level of theory": entry.level_of_theory,
            "licence": entry.licence,
        }
    else:
        level = _inline(checkpoint.metadata.pop("level_of_theory", "not stated"))
        facts |= {"training": "not stated", "level of theory": level}
    facts["elements"] = ", ".join(chemical_symbols[number] for number in network.elements)
    facts["configuration"] = _inline(checkpoint.config)
    facts |= {printable(key): _inline(value) for key, value in checkpoint.metadata.items()}
    for key, value in facts.items():
        print(f"{key:<25} {value}")
    for concern in checkpoint.concerns:
        print(f"{'note':<25} {concern}")


def _inline(value: Any) -> str:
    """A value from a file on one line, without control characters."""
    text = json.dumps(value)
    return text[1:-1] if isinstance(value, str) else text


def _convert(options: argparse.Namespace) -> None:
    path = catalogue.find(options.source)
    import torch

    from horm_calc.checkpoints.files import load_network, read, save

    checkpoint = read(path)
    load_network(checkpoint, torch.float32)  # so that only what can be used is written
    origin = {"file": path.name, "sha256": checkpoint.sha256}
    metadata = checkpoint.metadata | {"converted_from": origin}
    try:
        save(options.target, checkpoint.state, checkpoint.config, metadata)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise CheckpointError(options.target, problem, "Choose another place for it.") from None
    for concern in checkpoint.concerns:
        print(f"horm-models: warning: {path}: {concern}", file=sys.stderr)
    before, after = path.stat().st_size, options.target.stat().st_size
    print(f"{options.target}: {after / 1e6:.1f} MB (was {before / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
