"""What a run finds of an earlier start: searches that were interrupted, reactions that changed."""

from __future__ import annotations

from collections.abc import Container, Iterable
from pathlib import Path

from reactbench_runner.inputs.reactions import Listed, Unreadable
from reactbench_runner.storage.journal import clear_journals, problem_of_journal
from reactbench_runner.storage.run_folder import SEARCHES
from reactbench_runner.storage.store import Say
from workflows.errors import InputError
from workflows.records import Start

#: Names of reactions in one message.
_MOST = 5


def look_at_journals(
    out: Path,
    finished: Container[str],
    reactions: Iterable[Start | Unreadable | Listed],
    say: Say,
) -> None:
    """Remove the journals of what is `finished`, and say what becomes of each of the others."""
    left = set(clear_journals(out, finished))
    if not left:
        return
    going_on: list[str] = []
    anew: list[str] = []
    for item in reactions:
        if item.id not in left:
            continue
        left.remove(item.id)
        found = item.read() if isinstance(item, Listed) else item
        if isinstance(found, Unreadable):  # which its row tells
            continue
        problem = problem_of_journal(out, found)
        if problem:
            anew.append(f"{item.id} ({problem})")
        else:
            going_on.append(item.id)
    if going_on:
        say(f"searches that go on where they were interrupted: {_listed(going_on)}")
    if anew:
        say(f"interrupted searches that start from their beginning: {_listed(anew)}")
    if left:
        say(
            f"interrupted searches of reactions that are not in this input: {_listed(left)}; their "
            f"stages stay in {out / SEARCHES} until they are searched, or until you delete them"
        )


def has_changed(item: Start | Unreadable, before: str, out: Path, remedy: str) -> InputError:
    """That a finished reaction is not the one that it was.

    before: the solvent in which it was searched. remedy: what else than another --out helps.
    """
    if isinstance(item, Start) and item.solvent != before:
        was, now = (f"in {one}" if one else "in the gas phase" for one in (before, item.solvent))
        what = f"it was searched {was} there, and is {now} now (column 'solvent' or --solvent)"
    else:
        what = (
            "its structures, guess, bond changes (column 'react'), isotopes, charge or "
            "multiplicity have changed since, as they also do with --remap in one of the two "
            "commands only"
        )
    return InputError(
        f"reaction '{item.id}' is finished in {out} but {what}; use another --out, or {remedy}"
    )


def _listed(names: Iterable[str]) -> str:
    """The first few of them."""
    names = sorted(names)
    return f"{', '.join(names[:_MOST])}{', ...' * (len(names) > _MOST)}"
