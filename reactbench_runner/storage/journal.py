"""The stages of searches under way, on disk: where a killed search goes on, and what people see.

`<out>/.unfinished/<id>/` holds one search until its result is stored. `journal.jsonl` has a line
for each stage that has ended, `memory.json` what the surface knew after the last of them, for the
same numbers to the last digit. Beside these lie the log so far and the structures of each stage.

Whoever reads a line checks its sum. Nothing is flushed to the disk: after a power cut, what is not
whole is left out, and searched anew. Short searches leave nothing here: what takes less to compute
than to look after is written with what comes later, if that is long enough.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from reactbench_runner.storage.provenance import fingerprint, versions
from reactbench_runner.storage.run_folder import SEARCHES
from reactbench_runner.storage.store import headed
from reactbench_runner.storage.typed import plain, restored
from reactbench_runner.storage.xyz_files import write_record
from workflows.errors import StageError
from workflows.records import Start
from workflows.stage_names import Stage
from workflows.surface import Memory

#: The form of the files. Those of another one are left out.
FORM = 1

JOURNAL, MEMORY, LOG = "journal.jsonl", "memory.json", "log.txt"

#: Seconds of work after which something is written: three, or so many times as long as the last
#: writing took, but half a minute at most. The first takes some 0.02 s with molecules of ten atoms.
WORTH, REST, LONGEST = 3.0, 150.0, 30.0

#: Seconds of work before something is written of a search in a run of very many: most of them are
#: shorter, and a million folders that come and go are more than a file system likes.
WORTH_OF_MANY = 60.0


@dataclass(frozen=True)
class Journals:
    """Where the journals of a run are.

    Attributes
    ----------
    folder
        Of all of them.
    levels
        The level of theory in each solvent, for people.
    many
        Whether there are very many reactions: then a search has a journal when it has taken
        `WORTH_OF_MANY`, and no files for people.
    """

    folder: Path
    levels: Mapping[str, str]
    many: bool = False

    def open(self, reaction: Start) -> SearchJournal | None:
        """That of a reaction. None where the folder is not there, as on another machine.

        None too where another process writes to it, which outlives the run that it worked for.
        """
        if not self.folder.is_dir() or Path(reaction.id).name != reaction.id:
            return None
        journal = SearchJournal(self, reaction)
        return journal if journal.locked() else None


def remove_journal(out: Path, identifier: str) -> None:
    """That of a reaction whose result is stored."""
    shutil.rmtree(out / SEARCHES / identifier, ignore_errors=True)


def clear_journals(out: Path, finished: Container[str]) -> list[str]:
    """Remove those of finished reactions, which were stored just before a run was killed.

    Returns the names of the others.
    """
    folders = sorted((out / SEARCHES).glob("*/"))
    for folder in folders:
        if folder.name in finished:
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        (out / SEARCHES).rmdir()
    return [folder.name for folder in folders if folder.name not in finished]


def problem_of_journal(out: Path, reaction: Start) -> str:
    """Why a search cannot go on from the journal that there is of it; "" where it can."""
    try:
        _read(out / SEARCHES / reaction.id, _head(reaction))
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError) as error:
        return str(error)
    return ""


@contextlib.contextmanager
def journals_in(out: Path, levels: Mapping[str, str], *, many: bool) -> Iterator[Journals | None]:
    """Where the journals of a run are, or None where they cannot be; gone at the end if empty."""
    folder = out.absolute() / SEARCHES
    try:
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
        yield Journals(folder, levels, many) if folder.is_dir() else None
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


@dataclass
class _Known:
    """What a journal holds: keys, records as JSON, and where each line ends in the file."""

    keys: list[str] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    memory: Any = None


class SearchJournal:
    """The journal of one search, as `workflows.journal.Journal` says."""

    def __init__(self, journals: Journals, reaction: Start) -> None:
        self.journals, self.reaction = journals, reaction
        self.folder = journals.folder / reaction.id
        self._level = journals.levels.get(reaction.solvent, "")
        self.remark = ""
        self._known = _Known()
        self._count = 0
        self._new: list[tuple[str, Stage, Any, Any]] = []
        self._told: tuple[Callable[[], str], Callable[[], Memory]] | None = None
        self._file: int | None = None
        self._given_up = False
        self._worth = WORTH_OF_MANY if journals.many else WORTH
        self._work = self._spent = 0.0
        if (self.folder / JOURNAL).exists():
            try:
                self._known = _read(self.folder, _head(reaction))
            except (OSError, ValueError) as error:
                self.remark = f"the journal of an earlier start is of no use: {error}"

    def locked(self) -> bool:
        """Whether this process may write to the file, if there is one."""
        try:
            self._file = os.open(self.folder / JOURNAL, os.O_RDWR)
        except OSError as error:
            return isinstance(error, FileNotFoundError)
        return self._lock()

    def recall(self, number: int, key: str) -> Any | None:
        """The record or `StageError` with which this call has ended, if that is known."""
        if number >= len(self._known.keys):
            return None
        if self._known.keys[number] != key:
            self.remark = f"stage {number + 1} of an earlier start was another one"
            return None
        try:
            found = restored(self._known.ended[number])
        except ValueError as error:
            self.remark = f"stage {number + 1} of an earlier start cannot be read: {error}"
            return None
        self._count = number + 1
        return found

    def memory(self, number: int) -> Memory | None:
        """What the surface knew after so many calls, if these are all; else None."""
        if number != len(self._known.keys) or self._known.memory is None:
            return None
        with contextlib.suppress(ValueError):
            found = restored(self._known.memory)
            return found if isinstance(found, Memory) else None
        return None

    def keep(
        self,
        key: str,
        stage: Stage,
        ended: Any,
        *,
        log: Callable[[], str],
        memory: Callable[[], Memory],
    ) -> str:
        """Keep how a call has ended; with those before it, once that is worth it."""
        if self._given_up:
            return ""
        self._told = log, memory
        try:
            # At once: what a stage has ended with is an error that others may add words to.
            self._new.append((key, stage, plain(ended), ended))
        except TypeError as error:
            return self._give_up(str(error))
        self._work += ended.cost.seconds if ended.cost else 0.0
        if self._work < max(self._worth, min(REST * self._spent, LONGEST)):
            return ""
        return self._write(log, memory)

    def flush(self) -> None:
        """Write what is new before something else begins, if it is worth it."""
        if self._told and self._new and self._work >= self._worth:
            self._write(*self._told)

    def _write(self, log: Callable[[], str], memory: Callable[[], Memory]) -> str:
        """Write what is new. Returns why that was not possible, or ""."""
        begun = time.perf_counter()
        try:
            self._append(plain(memory()))
            if not self.journals.many:
                self._write_for_people(log())
        except (OSError, TypeError, ValueError) as error:
            return self._give_up(getattr(error, "strerror", None) or str(error))
        self._count += len(self._new)
        self._new = []
        self._work, self._worth = 0.0, WORTH
        self._spent = time.perf_counter() - begun
        return ""

    def close(self) -> None:
        """Leave it to others."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, memory: Any) -> None:
        """Lines behind those that have been recalled, then the memory that belongs to them all."""
        known = self._known
        del known.ends[self._count :], known.ended[self._count :]
        if self._file is None:
            self.folder.mkdir(exist_ok=True)
            self._file = os.open(self.folder / JOURNAL, os.O_RDWR | os.O_CREAT, 0o666)
            if not self._lock():
                raise BlockingIOError("another process writes to it")
        lines = [_line([key, stage, ended]) for key, stage, ended, _ in self._new]
        if not self._count:
            lines.insert(0, _line(_head(self.reaction)))
        at = known.ends[-1] if known.ends else 0
        os.ftruncate(self._file, at)
        os.lseek(self._file, at, os.SEEK_SET)
        rest = memoryview(b"".join(lines))
        while rest:
            rest = rest[os.write(self._file, rest) :]
        for line in lines if self._count else [lines[0] + lines[1], *lines[2:]]:
            at += len(line)
            known.ends.append(at)
        temporary = self.folder / f".{MEMORY}"
        temporary.write_bytes(_line([self._count + len(self._new), memory]))
        temporary.replace(self.folder / MEMORY)

    def _write_for_people(self, log: str) -> None:
        for file in self.folder.glob("[0-9]*-*.xyz"):
            number = int(file.name.partition("-")[0])
            if number > self._count:  # of an earlier start that went another way
                file.unlink()
        for number, (_, stage, _, ended) in enumerate(self._new, self._count + 1):
            failed = "-failed" if isinstance(ended, StageError) else ""
            name = f"{number:02d}-{stage.replace(' ', '_')}{failed}.xyz"
            write_record(self.folder / name, ended, self._level, self.reaction)
        (self.folder / LOG).write_text(headed(log, self._level), "utf-8", "replace")

    def _lock(self) -> bool:
        """False where another process has it; file systems without locks have none."""
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _give_up(self, reason: str) -> str:
        self._given_up = True
        self._new = []
        return (
            f"the stages of this search are not kept any more ({reason}): if it is interrupted, it "
            f"goes on behind the first {self._count}"
        )


def _head(reaction: Start) -> list[Any]:
    """What must be the same for a journal to be of use."""
    return [FORM, fingerprint(reaction), _versions()]


@cache
def _versions() -> dict[str, str]:
    return versions()


def _read(folder: Path, head: list[Any]) -> _Known:
    """What a journal holds. Raises `ValueError` saying why it is of no use, and `OSError`."""
    count, memory = _content((folder / MEMORY).read_bytes(), MEMORY)
    found = _Known(memory=memory)
    lines = (folder / JOURNAL).read_bytes().splitlines(keepends=True)[: count + 1]
    if len(lines) <= count:
        raise ValueError(f"{JOURNAL} has been cut off")
    form, digest, versions_then = _content(lines[0], JOURNAL)
    if [form, digest] != head[:2]:
        raise ValueError("it is of another reaction, or of another version of horm-tssearch")
    if versions_then != head[2]:
        raise ValueError("other versions of packages have written it")
    end = len(lines[0])
    for line in lines[1:]:
        key, _, ended = _content(line, JOURNAL)
        end += len(line)
        found.keys.append(key)
        found.ended.append(ended)
        found.ends.append(end)
    return found


def _line(content: Any) -> bytes:
    """As JSON, behind its sum."""
    text = json.dumps(content).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _content(line: bytes, name: str) -> Any:
    """What is in a line. Raises `ValueError` where it is damaged."""
    total, _, text = line.partition(b" ")
    text = text.removesuffix(b"\n")
    if total != b"%08x" % zlib.crc32(text):
        raise ValueError(f"{name} is damaged")
    return json.loads(text)
