"""The structures that a table names: of a file, or one of many in it, as in `opt.log@-1`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from ase import Atoms

from horm_calc.errors import HormError
from horm_calc.structure_files.ase_atoms import stated_electrons
from horm_calc.structure_files.electrons import KEY
from horm_calc.structure_files.kinds import is_output, kind_of
from horm_calc.structure_files.reading import read_structures
from workflows.input_checks import SOLVENT

#: Structures of one file; more take minutes.
_MOST = 20_000


class UnusableFile(HormError):
    """What is wrong with a file, and what helps."""


def read_frames(folder: Path, name: str, number: int, what: str) -> list[Atoms]:
    """Elements, positions, periodicity and masses of the frames, these where the file has them.

    `info[KEY]` is what the file says of the electrons, `info[SOLVENT]` its solvent. Of many frames
    a number behind an @ takes one, from 0 on, or -1 for the last. Raises `UnusableFile` where there
    are not `number` frames; `what` they are.
    """
    return _frames(folder, name, number, what)


def read_all_frames(name: str, what: str) -> list[Atoms]:
    """As `read_frames`, of however many a file has that stands in no table; one of an output."""
    folder = Path()
    path, index = _file_and_index(folder, name, what, of_table=False)
    output = False
    with contextlib.suppress(Exception):  # what cannot be read is said below
        output = index is None and is_output(kind_of(path))
    return _frames(folder, name, 1 if output else None, what)


def _frames(folder: Path, name: str, number: int | None, what: str) -> list[Atoms]:
    """number: None for any."""
    path, index = _file_and_index(folder, name, what)
    try:
        if number is not None and number > 1 and is_output(kind := kind_of(path)):
            raise UnusableFile(
                f"{path} is an output ({kind}), of one molecule; name those of both ends in the "
                f"columns 'reactant' and 'product', as in {name}@-1 for the last geometry"
            )
        frames = list(islice(read_structures(path), _MOST + 1))
    except UnusableFile:
        raise
    except KeyError as error:
        raise UnusableFile(f"{path} has an unknown element or key {error}") from None
    except Exception as error:  # ASE's many parsers have errors of their own
        text = " ".join(str(error).split()) or type(error).__name__
        raise UnusableFile(f"{path} cannot be read: {text}") from None
    if not frames or not all(map(len, frames)):
        raise UnusableFile(f"{path} holds no readable structure; save it as xyz")
    if len(frames) > _MOST:
        raise UnusableFile(f"{path} has more than {_MOST} frames; cut out those that are meant")
    if index is not None:
        frames = [_one_of(frames, index, path)]
    if number is not None and len(frames) != number:
        remedy = _remedy(len(frames), number, name)
        raise UnusableFile(f"{path} has {len(frames)} frame(s), not {number} for {what}. {remedy}")
    return [_bare(frame, name) for frame in frames]


def stamp_of(folder: Path, names: Iterable[str]) -> str:
    """Size and time of the last change of the files of these names; "" where one is not there.

    As long as it is the same, so is what is in the files.
    """
    parts = []
    try:
        for name in names:
            path, _ = _file_and_index(folder, name, "")
            status = path.stat()
            parts.append(f"{status.st_size}:{status.st_mtime_ns}")
    except (UnusableFile, OSError):
        return ""
    return " ".join(parts)


def _file_and_index(
    folder: Path, name: str, what: str, *, of_table: bool = True
) -> tuple[Path, int | None]:
    """The file, and which of its frames where the name ends in @ and a number, as for ASE."""
    if not name:
        raise UnusableFile(f"no file is named for {what}")
    index = None
    path = folder / name
    if not _exists(path) and (numbered := re.fullmatch(r"(.+)@([+-]?\d{1,9})", name)):
        path, index = folder / numbered[1], int(numbered[2])
    if not _exists(path):
        path = Path(str(path).replace("\\", "/"))  # a table from Windows
    if path.is_dir():
        raise UnusableFile(f"{path} is a folder; name a file in it for {what}")
    if not _exists(path):
        hint = " (names are relative to the table)" * of_table
        raise UnusableFile(f"there is no file {path}{hint}")
    return path, index


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # too long, or a character of zero
        raise UnusableFile(f"{path} cannot be read: {error}") from None


def _one_of(frames: list[Atoms], index: int, path: Path) -> Atoms:
    if not -len(frames) <= index < len(frames):
        raise UnusableFile(
            f"{path} has {len(frames)} frame(s), from @0 to @{len(frames) - 1}, or from the last, "
            f"@-1, to @-{len(frames)}; there is no @{index}"
        )
    return frames[index]


def _remedy(found: int, needed: int, name: str) -> str:
    if needed == 1:
        return f"Name the one that is meant: {name}@0 is the first, {name}@-1 the last"
    if found == 1:
        return (
            "Give two files, in the columns 'reactant' and 'product' of a table, or, if it is a "
            f"guess of the transition state, that alone: --from {name}, or the column 'guess'"
        )
    return f"Name them in the columns 'reactant' and 'product', as in {name}@0 and {name}@-1"


def _bare(frame: Atoms, name: str) -> Atoms:
    bare = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    if frame.has("masses"):
        bare.set_masses(frame.get_masses())
    bare.info[KEY] = stated_electrons(frame).marked(name)
    if isinstance(solvent := frame.info.get(SOLVENT), str):
        bare.info[SOLVENT] = solvent
    return bare
