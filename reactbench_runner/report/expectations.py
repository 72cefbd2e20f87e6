"""What to expect of a level of theory, as far as that was measured: said where its numbers are.

`python -m benchmarks.barriers` measures it; docs/explanation/energies.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reactbench_runner.storage.rows import ResultRow

#: Where the figures are explained.
PAGE = "docs/explanation/energies.md"


@dataclass(frozen=True)
class Deviation:
    """Mean absolute deviations from ωB97X/6-31G(d), kcal/mol, and of how many reactions."""

    barriers: float
    reaction_energies: float
    reactions: int


#: By the level of theory as rows name it, in the gas phase.
MEASURED = {
    "GFN2-xTB (tblite)": Deviation(11.66, 9.48, 16),
    "MomentNet 'horm-mini' trained on ωB97X/6-31G(d)": Deviation(3.56, 2.88, 16),
    "MomentNet 'horm-mini-xtb' trained on GFN2-xTB": Deviation(11.40, 10.85, 12),
}


def expectations(rows: Iterable[ResultRow]) -> Iterator[str]:
    """A line for each level of the rows that is known."""
    for level in dict.fromkeys(row.level_of_theory for row in rows):
        if found := MEASURED.get(level):
            yield (
                f"{level}: barriers deviate from ωB97X/6-31G(d) by {found.barriers:.0f} kcal/mol "
                f"on average, reaction energies by {found.reaction_energies:.0f} "
                f"({found.reactions} reactions of 7 to 11 atoms; {PAGE})"
            )
