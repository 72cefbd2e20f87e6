"""The kinds of structure files, by name and content, and those that nobody reads here."""

from __future__ import annotations

import re
from pathlib import Path

from ase.io.formats import UnknownFileTypeError, filetype, ioformats, open_with_compression

#: Formats that are no plain file with a molecule, or whose readers unpickle, connect, or
#: start a program (castep-cell asks the castep binary for its keywords).
_REFUSED = {
    "bundletrajectory", "castep-cell", "eon", "gpw", "mysql", "netcdftrajectory", "postgresql",
}  # fmt: skip

_XYZ, _MOLFILES = ("xyz", "extxyz"), ("mol", "sdf")

#: Bytes, of files that are read as a whole. Long optimisations print some ten million.
_LARGEST = 200_000_000

#: Characters, of texts. From longer ones readers make lists for minutes.
LONGEST_LINE = 1_000_000


def kind_of(path: Path) -> str:
    """'xyz', 'molfile', or what ASE calls it. Raises `ValueError` for what is not read here."""
    # Absolute, because ASE takes names that begin with 'postgres' or 'mysql' for databases.
    full = str(path.absolute())
    if path.exists() and not (path.is_file() or path.is_dir()):  # that may never end or begin
        raise ValueError("it is a device or a pipe; save it as a file")
    kind = _by_content(full) or _as_for_ase(full)
    if kind in _REFUSED:
        raise ValueError(f"it is of the kind '{kind}', which is not read here; use xyz")
    if kind in _XYZ:
        return "xyz"
    _check_size(full)
    return "molfile" if kind in _MOLFILES else kind


def is_output(kind: str) -> bool:
    """Whether it is what a program says of one molecule, in many geometries perhaps."""
    return kind.endswith(("-out", "-output"))


def check_length(line: str, number: int) -> None:
    """Raise `ValueError` for a line that is too long for one."""
    if len(line) > LONGEST_LINE:
        raise ValueError(f"line {number} has more than {LONGEST_LINE} characters; shorten it")


def _by_content(full: str) -> str:
    """Xyz and molfiles by any name, as xtb's xtbopt.log; else ""."""
    if not Path(full).is_file():
        return ""
    with open_with_compression(full, "rb") as file:
        start = file.read(4096).decode("latin-1").replace("\r\n", "\n")
    if not start.strip():
        raise ValueError("it is empty")
    if re.match(r"\s*\d+[ \t]*\n.*\n[ \t]*[A-Za-z]{1,2}([ \t]+[+-]?\d*\.\d+){3}\s", start):
        return "xyz"
    return "mol" if re.match(r"(?:.*\n){3}.{0,40}V[23]000", start) else ""


def _as_for_ase(full: str) -> str:
    try:
        kind = filetype(full)
    except UnknownFileTypeError:
        kind = ""
    if kind not in ioformats:  # but what its name ends in
        raise ValueError("it is of no kind that ASE knows; use xyz")
    return kind


def _check_size(full: str) -> None:
    size = 0
    with open_with_compression(full, "rb") as file:
        while piece := file.read(1_000_000):
            size += len(piece)
            if size > _LARGEST:
                raise ValueError(
                    f"it has more than {_LARGEST} bytes; save the structures that are meant as xyz"
                )
