"""Temporary files of libraries: in one folder for each run, so that none stay behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "horm-tssearch-"


@contextlib.contextmanager
def scratch_folder() -> Iterator[None]:
    """Processes that are started within have their temporary files in a folder that goes with it.

    What stayed behind of runs that were killed is removed too.
    """
    base = Path(tempfile.gettempdir())
    for leftover in base.glob(f"{_PREFIX}*"):
        _remove(leftover)
    before = os.environ.get("TMPDIR")
    folder, lock = _made(base)
    try:
        os.environ["TMPDIR"] = str(folder)
        yield
    finally:
        if before is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def shared_folder() -> Path | None:
    """That of this run, in the process that runs it and in its own workers; None elsewhere."""
    folder = Path(os.environ.get("TMPDIR", ""))
    return folder if folder.name.startswith(_PREFIX) else None


def _made(base: Path) -> tuple[Path, int]:
    """A new folder and the descriptor that keeps it locked as long as this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            _lock(lock)
            if folder.exists():  # else another run took it for a leftover, in the instant before
                return folder, lock
            os.close(lock)


def _remove(folder: Path) -> None:
    """Unless its process lives, or it is another user's."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if _lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _lock(descriptor: int) -> bool:
    """Take the lock; False where somebody else has it, or where there are none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
