"""Tables and folders of so many reactions that their structures are not read at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from reactbench_runner.inputs.reactions import Listed, Unreadable, listed_in
from workflows.errors import InputError
from workflows.records import Start
from workflows.settings import VerdictSettings

#: Reactions beyond which an input is large.
LARGE = 10_000


class LargeInput:
    """The reactions of a table or folder, as often as they are gone through.

    The whole table has been checked, and is read anew each time. Raises `InputError` as
    `read_reactions`, and where the table is changed while it is in use.
    """

    def __init__(
        self,
        source: Path,
        remap: float | None = None,
        solvent: str = "",
        *,
        verdict: VerdictSettings | None = None,
    ) -> None:
        self.source, self.remap, self.solvent, self.verdict = source, remap, solvent, verdict
        self._state = self._seen()
        found = Counter(listed.solvent for listed in listed_in(source, solvent=solvent))
        self._count, self.solvents = found.total(), frozenset(found)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Listed]:
        if self._seen() != self._state:
            raise InputError(f"{self.source} has been changed; run the same command to go on")
        return listed_in(self.source, self.remap, self.solvent, verdict=self.verdict)

    def _seen(self) -> tuple[int, int] | None:
        """What changes with a table; that of a folder changes with anything that is put there."""
        try:
            status = self.source.stat()
        except OSError as error:
            raise InputError(f"there is no file or folder {self.source}") from error
        return None if self.source.is_dir() else (status.st_mtime_ns, status.st_size)


def open_reactions(
    source: Path | str,
    remap: float | None = None,
    solvent: str = "",
    *,
    verdict: VerdictSettings | None = None,
) -> list[Start | Unreadable] | LargeInput:
    """All reactions of an input; those of a large one are read when their turn comes.

    Parameters
    ----------
    source
        As of `read_reactions`.
    remap
        The bond factor for `workflows.atom_order.remapped`, which puts the atoms of each product
        into the order with which the fewest bonds change; None to leave them as they are.
    solvent
        As of `read_reactions`.
    verdict
        Which atoms are bonded, for bonds that should break or form; by default as in a search.

    Returns
    -------
    list or LargeInput
        What `run_batch` takes, or, of more than 10,000 reactions, what `run_large` takes.

    Raises
    ------
    InputError
        For what makes the whole input unusable.
    """
    beginning = list(islice(listed_in(source, remap, solvent, verdict=verdict), LARGE + 1))
    if len(beginning) > LARGE:
        return LargeInput(Path(source), remap, solvent, verdict=verdict)
    return [listed.read() for listed in beginning]


def solvents_of(reactions: Iterable[Start | Unreadable | Listed]) -> list[str]:
    """Those of an input, each once and sorted; "" is the gas phase."""
    if isinstance(reactions, LargeInput):
        return sorted(reactions.solvents)
    return sorted({item.solvent for item in reactions if not isinstance(item, Unreadable)})
