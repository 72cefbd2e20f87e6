"""The folder of a run: one process at a time, and files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reactbench_runner.errors import StorageError
from workflows.errors import InputError

#: What the names of files and folders begin with that are not written completely.
UNFINISHED = ".unfinished-"

#: The folder of the searches under way, each in one of its own. No reaction's id begins with a dot.
SEARCHES = ".unfinished"

#: What a run writes before its first reaction has finished.
_FIRST_FILES = ("run.json", "results.db", "results.csv", "progress.json")


@contextlib.contextmanager
def claimed(out: Path) -> Iterator[None]:
    """The folder `out`, made where there is none, for this process alone.

    One that was made here is taken away again when an error ends the block before a reaction has
    finished. Raises `InputError` where `out` is no folder or another process is writing to it,
    `StorageError` where it cannot be made.
    """
    made: list[Path] = []
    try:
        with _explained(out):
            _make(out, made)
        with exclusive_lock(out):
            yield
    except Exception:
        _take_away(out, made)
        raise


def check_place(out: Path) -> None:
    """Raise what `claimed` would for a folder that cannot be made, and leave nothing."""
    made: list[Path] = []
    try:
        with _explained(out):
            _make(out, made)
    finally:
        _take_away(out, made)


@contextlib.contextmanager
def exclusive_lock(out: Path) -> Iterator[None]:
    """Refuse, by `InputError`, a folder into which another process is writing.

    The lock goes with the process, however that ends. File systems without locks have none.
    """
    with _explained(out):
        descriptor = os.open(out, os.O_RDONLY)
    try:
        for last in (False, False, True):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # where that is horm-status, not for long
                if last:
                    raise InputError(
                        f"another horm-tssearch is writing to {out}; wait for it, or use another "
                        "--out"
                    ) from None
                time.sleep(0.05)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)


def clear_leftovers(out: Path) -> None:
    """Remove from the folder of a run what a killed process had not written to its end."""
    for leftover in out.glob(f"{UNFINISHED}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def read_record(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `ValueError` saying why there is none."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(error.strerror) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError("it is no JSON object")
    return record


class replacing:  # noqa: N801 - a context manager, read as a verb
    """`with replacing(path) as temporary:` writes `path` completely or leaves it alone.

    What a killed process leaves behind has the same name every time, and is written over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{UNFINISHED}{path.name}")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                flush(self.temporary)
                self.temporary.replace(self.path)
        finally:
            self.temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Make sure that a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(folder: Path, made: list[Path]) -> None:
    """Make `folder` and those above it that are missing; `made` gets their names, last first."""
    if not folder.is_dir():
        if not folder.parent.exists():
            _make(folder.parent, made)
        folder.mkdir()
        made.insert(0, folder)


def _take_away(out: Path, made: list[Path]) -> None:
    """Remove the folders `made`, unless something of worth lies there."""
    with contextlib.suppress(OSError):
        if out in made and not any(out.glob("*/")):
            for name in _FIRST_FILES:
                (out / name).unlink(missing_ok=True)
        for folder in made:
            folder.rmdir()


@contextlib.contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except (NotADirectoryError, FileExistsError) as error:
        what = "lies below a file"
        if isinstance(error, FileExistsError):
            what = "is a link to nowhere" if out.is_symlink() else "is a file"
        raise InputError(
            f"{out} {what}; --out needs a folder, a new one or one to resume"
        ) from None
    except OSError as error:
        remedy = "choose another --out"
        if error.errno == errno.EACCES:
            remedy += ", or get permission to write there"
        raise StorageError(
            f"results cannot be written to {out}: {error.strerror}; {remedy}"
        ) from None
