"""`horm-data`: get, convert, split and look at labelled frames."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from horm_calc.commands.common import entry_point, parser_of
from horm_calc.data.files import open_frames
from horm_calc.data.frames import DataError, Frame, Frames, iterate
from horm_calc.progress import progress
from horm_calc.wording import counted

_HANDLE = "yunhonghan/hessian-dataset-for-optimizing-reactive-mliphorm"
_PAGE = f"https://www.kaggle.com/datasets/{_HANDLE}"
_GIGABYTES = 25  # of HORM unpacked: 1.84 million frames of 13 kB

_DESCRIPTION = """\
Labelled frames: geometries with energies (eV), forces (eV/Å) and, of some or all, second
derivatives (eV/Å²), as networks are trained on. Get them, convert them, split them into
training and test sets, look at what is in them.
"""

_EPILOG = f"""\
Files are told apart by their names: .h5 and .hdf5 (this project's own format), .lmdb (HORM's),
.xyz and .extxyz (extended xyz), .traj and .db (ASE's). A folder means all such files in it.
Nothing in any of them is executed. docs/explanation/training-data.md describes .h5 and .lmdb.
The files of ASE need 'energy' and 'forces', and may have 'hessian' (3n x 3n), 'reaction' and
'level_of_theory' in ASE's info.

HORM (arXiv:2505.12447, CC BY-NC-SA 4.0: no commercial use) has 1.84 million Hessians at
ωB97X/6-31G(d): {_PAGE}

examples:
  horm-data info labels.h5 --png labels.png    what is in it
  horm-data convert a.xyz b.xyz all.h5 --level B3LYP/6-31G*
                                               files of a method that they do not name
  horm-data split all.h5 train.h5 test.h5      a tenth of the reactions for the test
  horm-data check train.h5 test.h5             whether two sets have something in common
  horm-data download /scratch/horm             all of HORM, {_GIGABYTES} GB

Exit code: 0, 1 if 'check' finds something in common, 2 for wrong input, with one line on stderr
that says what helps.
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        return 130
    except (DataError, OSError) as error:
        print(f"horm-data: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-data", _DESCRIPTION, _EPILOG)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)

    def add(name: str, run: Callable[[argparse.Namespace], Any], text: str, more: str = "") -> Any:
        description = f"{text[0].upper()}{text[1:]}. {more}".strip()
        command = commands.add_parser(name, help=text, description=description, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    info = add("info", _info, "what is in files, taken together", _INFO)
    info.add_argument("files", metavar="FILE", type=Path, nargs="+", help="files or folders")
    info.add_argument("--png", metavar="FILE", type=Path, help="distributions, as a picture")

    convert = add("convert", _convert, "write frames in another format, or several files as one")
    convert.add_argument("files", metavar="IN", type=Path, nargs="+", help="files or folders")
    convert.add_argument("target", metavar="OUT", type=Path, help="a new .h5 or .xyz")
    convert.add_argument(
        "--level", metavar="NAME", help="the level of theory, where the files do not say"
    )

    split = add("split", _split, "split frames by reaction into training and test set", _SPLIT)
    split.add_argument("files", metavar="IN", type=Path, nargs="+", help="files or folders")
    split.add_argument("train", metavar="TRAIN", type=Path, help="a new .h5 or .xyz")
    split.add_argument("test", metavar="TEST", type=Path, help="a new .h5 or .xyz")
    how = split.add_mutually_exclusive_group()
    how.add_argument(
        "--fraction", metavar="F", type=float, default=0.1, help="share of the test set (0.1)"
    )
    how.add_argument(
        "--reactions", metavar="FILE", type=Path, help="names of the test's reactions, one per line"
    )
    split.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed of the random choice (0)"
    )

    check = add("check", _check, "whether two sets share reactions or geometries", _CHECK)
    check.add_argument("first", metavar="A", type=Path, help="a file or folder")
    check.add_argument("second", metavar="B", type=Path, help="another")

    download = add("download", _download, "get all of HORM from Kaggle", _DOWNLOAD)
    download.add_argument("folder", metavar="FOLDER", type=Path, help="where to put it")
    return parser


_INFO = """Energies are given relative to energies of atoms that are fitted to the set. Imaginary
modes are counted without translations and rotations."""

_SPLIT = """Frames of a reaction stay together, and so do reactions that share a geometry (a
common reactant): the test says nothing about a network that has seen its geometries."""

_CHECK = """Geometries are the same if their interatomic distances are, to 0.001 Å. HORM's files
do not name reactions well enough to tell them apart: theirs are known by sum formula."""

_DOWNLOAD = f"""{_GIGABYTES} GB in three files (ts1x_hess_train_big.lmdb, ts1x-val.lmdb, RGD1.lmdb),
twice that while they are unpacked; an hour at 60 Mbit/s. An interrupted download is resumed. The
data are public, but Kaggle may ask who wants them: make an account, create a token at
https://www.kaggle.com/settings and set the environment variable KAGGLE_API_TOKEN to it, or keep
kaggle.json in ~/.kaggle."""


def _info(options: argparse.Namespace) -> None:
    from horm_calc.data import describing

    if options.png and not options.png.absolute().parent.is_dir():
        raise DataError(options.png, "its folder does not exist")
    if options.png and options.png.suffix.lower() != ".png":
        raise DataError(options.png, "the picture is a PNG; give its file a name that ends in .png")
    facts = describing.describe(_filled(open_frames(*options.files), options.files))
    print(describing.report(facts))
    if options.png:
        describing.plot(facts, options.png)


def _convert(options: argparse.Namespace) -> None:
    _writable(options.target)
    opened = open_frames(*options.files, level_of_theory=options.level or "")
    frames = _filled(opened, options.files)
    level = frames.level_of_theory
    if not (options.level or level):
        raise DataError(
            options.files[0], "does not say its level of theory", "Name it with --level."
        )
    _write(options.target, frames, options.level or level)


def _split(options: argparse.Namespace) -> None:
    from horm_calc.data.frames import chosen
    from horm_calc.data.splitting import SplitError, split, split_by_names

    _writable(options.train, options.test)
    names = None
    if options.reactions:
        lines = options.reactions.read_text("utf-8").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    frames = _filled(open_frames(*options.files), options.files)
    try:
        if names is None:
            parts = split(frames, options.fraction, options.seed)
        else:
            parts = split_by_names(frames, names)
    except SplitError as error:
        raise DataError(options.files[0], str(error)) from None
    for target, part in zip((options.train, options.test), parts, strict=True):
        _write(target, chosen(frames, part.tolist()), frames.level_of_theory)


def _check(options: argparse.Namespace) -> int:
    from horm_calc.data.splitting import overlaps

    first, second = open_frames(options.first), open_frames(options.second)
    names, pairs = overlaps(first, second)
    for name in names:
        print(f"reaction in both: {name}")
    shared: dict[tuple[str, str], int] = {}
    for i, j in pairs:
        pair = first.reactions[i], second.reactions[j]
        if pair[0] != pair[1]:
            shared[pair] = shared.get(pair, 0) + 1
    for (one, other), count in sorted(shared.items()):
        frames = counted(count, "frame")
        print(f"same geometries: {frames} of {one} in the first, {other} in the second")
    if names or pairs:
        common = f"{counted(len(names), 'reaction')} and {counted(len(pairs), 'frame')}"
        print(f"in both: {common} of the first set")
        return 1
    print(f"nothing in common: {len(first):,} and {counted(len(second), 'frame')}")
    return 0


def _filled(frames: Frames, files: Sequence[Path]) -> Frames:
    if not len(frames):
        raise DataError(files[0], "holds no frames")
    return frames


_TARGETS = (".h5", ".hdf5", ".xyz", ".extxyz")


def _writable(*targets: Path) -> None:
    """Complains before a long reading rather than after it."""
    for target in targets:
        if target.suffix not in _TARGETS:
            raise DataError(target, f"a name that does not end with one of {', '.join(_TARGETS)}")
        if target.exists():
            raise DataError(target, "exists already", "Move it away or choose another name.")
        if not target.absolute().parent.is_dir():
            raise DataError(target, "its folder does not exist")
    if len({target.absolute() for target in targets}) < len(targets):
        raise DataError(targets[0], "named for both sets")


def _write(target: Path, frames: Frames, level: str) -> None:
    """Writes frames reaction by reaction, so that not all of them are in memory at once."""
    from horm_calc.data.formats.ase_files import write_xyz
    from horm_calc.data.formats.hdf5 import write_reactions

    if target.suffix in (".h5", ".hdf5"):
        write_reactions(target, _reactions(target, frames), level)
    else:
        write_xyz(target, progress(iterate(frames), f"Writing {target.name}", len(frames)), level)
    with_second = int(frames.has_second_derivatives.sum())
    reactions = counted(len(set(frames.reactions)), "reaction")
    print(
        f"{target}: {counted(len(frames), 'frame')} of {reactions}, {with_second:,} with second "
        "derivatives"
    )


def _reactions(target: Path, frames: Frames) -> Iterator[list[Frame]]:
    places: dict[str, list[int]] = {}
    for place, name in enumerate(frames.reactions):
        places.setdefault(name, []).append(place)
    for members in progress(places.values(), f"Writing {target.name}", len(places)):
        yield [frames[place] for place in members]


def _download(options: argparse.Namespace) -> None:
    folder = options.folder.expanduser().absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < _GIGABYTES:
        problem = f"has {free:.0f} GB free, and HORM needs {_GIGABYTES}, twice that for a while"
        raise DataError(folder, problem)
    os.environ["KAGGLEHUB_CACHE"] = str(folder)  # its own folders allow it to resume
    import kagglehub

    try:
        path = Path(kagglehub.dataset_download(_HANDLE))
    except Exception as error:  # each layer below has classes of its own
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            folder,
            f"HORM could not be downloaded ({cause})",
            "Without a network, get it elsewhere and copy it here. If access is denied, create a "
            "token at https://www.kaggle.com/settings and set KAGGLE_API_TOKEN to it. "
            f"The data are at {_PAGE}",
        ) from None
    for file in sorted(path.rglob("*.lmdb")):
        print(file)


if __name__ == "__main__":
    sys.exit(main())
