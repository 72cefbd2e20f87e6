"""`horm-models`: which published networks there are, and what a checkpoint holds."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horm_calc.checkpoints import catalogue
from horm_calc.checkpoints.torch_archive import CheckpointError, printable
from horm_calc.commands.common import entry_point, parser_of

if TYPE_CHECKING:
    from rich.table import Table

    from horm_calc.checkpoints.files import Checkpoint

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
  horm-models                              what is published, and what is on this machine
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
    show.add_argument("--json", action="store_true", help="all of it, for programs")
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
        title="trained on energies (E), forces (F) and Hessians (H) at ωB97X/6-31G(d); "
        "horm-mini-xtb at GFN2-xTB",
        caption="errors: of Hessians and of their eigenvalues, mean absolute, in eV/Å², from "
        + catalogue.ERRORS_SOURCE,
        box=None,
        padding=(0, 2, 0, 0),
    )
    for header in ("name", "network", "training", "errors", "licence", "disk"):
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

    from horm_calc.checkpoints.files import load_network, read

    checkpoint = read(path)
    network = load_network(checkpoint, torch.float32)
    entry = catalogue.entry_of(path)
    if entry is not None and entry.network != checkpoint.config["name"]:
        entry = None  # another network under a published name
    parameters = sum(value.numel() for value in network.parameters())
    if options.json:
        print(json.dumps(_record(checkpoint, entry, parameters), indent=2))
        return
    print(_title(checkpoint, entry), end="\n\n")
    width = max(60, min(shutil.get_terminal_size().columns, 100))
    for name, text in _card(checkpoint, entry, parameters, options.file):
        wrapped = textwrap.wrap(text, width - 14, break_on_hyphens=False)
        lines = [text] if name in _TO_COPY else wrapped
        for label, line in zip_longest([name], lines, fillvalue=""):
            print(f"{label:<12}  {line}")


#: What stays on one line.
_TO_COPY = ("file", "sha256", "in Python", "in a shell")


def _record(checkpoint: Checkpoint, entry: catalogue.Entry | None, parameters: int) -> Any:
    """Everything that is known of a checkpoint, for programs."""
    return {
        "file": str(checkpoint.path),
        "sha256": checkpoint.sha256,
        "bytes": checkpoint.path.stat().st_size,
        "tensors": len(checkpoint.state),
        "parameters": parameters,
        "published": entry and dataclasses.asdict(entry) | {"url": entry.url},
        "configuration": checkpoint.config,
        **checkpoint.training.domain.record,
        "metadata": checkpoint.metadata,
        "concerns": checkpoint.concerns,
    }


def _title(checkpoint: Checkpoint, entry: catalogue.Entry | None) -> str:
    """What it is, in a line."""
    name = checkpoint.path.name
    if entry:
        ours = not entry.repository and checkpoint.path == catalogue.present(entry)
        name = entry.name if ours else f"{entry.name} (by the file's name)"
    network, level = checkpoint.config["name"], _level(checkpoint, entry)
    return f"{name}: a machine-learned potential, {network}, at {level}"


def _level(checkpoint: Checkpoint, entry: catalogue.Entry | None) -> str:
    stated: str | None = (
        entry.level_of_theory if entry else checkpoint.metadata.get("level_of_theory")
    )
    return stated or "a level of theory that it does not state"


def _card(
    checkpoint: Checkpoint, entry: catalogue.Entry | None, parameters: int, given: str
) -> Iterator[tuple[str, str]]:
    """What a person asks of a checkpoint, each with its answer."""
    from horm_calc.references import named

    domain, most = checkpoint.training.domain, checkpoint.training.most_atoms
    size = checkpoint.path.stat().st_size / 1e6
    config = {key: value for key, value in checkpoint.config.items() if key != "name"}
    yield "network", f"{checkpoint.config['name']}, {parameters:,} parameters; its weights fit"
    yield "settings", ", ".join(f"{printable(key)} {_inline(one)}" for key, one in config.items())
    yield "elements", named(domain.elements)
    yield "charge", ", ".join(map(str, domain.charges))
    yield "multiplicity", ", ".join(map(str, domain.multiplicities))
    yield "trained on", "; ".join(_training(checkpoint, entry)) or "not stated"
    if most:
        yield "largest", f"{most} atoms in a molecule of its training"
    yield "errors", _errors(entry)
    yield "licence", entry.licence if entry else "not stated"
    yield "source", _source(checkpoint, entry)
    yield "file", f"{checkpoint.path} ({size:.1f} MB, {len(checkpoint.state)} tensors)"
    yield "sha256", checkpoint.sha256
    for concern in checkpoint.concerns:
        yield "note", concern
    yield "in Python", f"calculator = horm_calc.HormCalculator({given!r})"
    source = shlex.quote(f"horm:{given}")
    yield "in a shell", f"horm-tssearch reactions.csv --out runs/new --calculator {source}"


def _training(checkpoint: Checkpoint, entry: catalogue.Entry | None) -> Iterator[str]:
    """The labels and the frames of its training, as far as they are known."""
    if entry:
        yield f"{_LABELS[entry.training]} at {entry.level_of_theory}"
        if entry.labels:
            yield entry.labels
    data = checkpoint.metadata.get("data")
    counts = data if isinstance(data, dict) else {}
    frames, second, reactions = (
        counts.get(key) for key in ("frames", "with_second_derivatives", "reactions")
    )
    if isinstance(frames, int):
        words = f"{frames:,} frames"
        words += f" of {reactions:,} reactions" if isinstance(reactions, int) else ""
        words += f", {second:,} with second derivatives" if isinstance(second, int) else ""
        yield words


_LABELS = {"E-F": "energies and forces", "E-F-H": "energies, forces and Hessians"}


def _errors(entry: catalogue.Entry | None) -> str:
    """Measured ones; where nobody has measured any, how to do it."""
    if entry and entry.hessian_error is not None:
        return (
            f"Hessians {entry.hessian_error:.3f} eV/Å², their eigenvalues "
            f"{entry.eigenvalue_error:.3f} eV/Å² (mean absolute, {catalogue.ERRORS_SOURCE})"
        )
    return (entry and entry.measured) or "none known here; horm-eval measures them on your frames"


def _source(checkpoint: Checkpoint, entry: catalogue.Entry | None) -> str:
    if entry:
        return entry.url or "comes with this package"
    origin = checkpoint.metadata.get("converted_from")
    if isinstance(origin, dict) and isinstance(origin.get("file"), str):
        return f"converted from {printable(origin['file'])}"
    return "none of the published files"


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
