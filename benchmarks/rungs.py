"""What each further attempt of a search gains and costs, from the logs of a run.

    python -m benchmarks.rungs runs/gfn2-xtb

prints, for the path methods and for further steps of a chain: in how many searches they were tried,
how often they gave the verdict of the search, and how many gradients an attempt took.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reactbench_runner.storage.store import finished
from workflows.records import Label

#: A line of a log on an attempt, and the one before a search between intermediates.
_ATTEMPT = re.compile(
    r"^===== attempt (\d+): (?:(\w+), )?(.*); (\d+) gradients so far =====$|^===== a further step:",
    re.MULTILINE,
)
CHAIN = "further steps"


@dataclass
class Rung:
    """Attempts of one kind."""

    searches: set[str] = field(default_factory=set)
    gained: int = 0
    gradients: list[int] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    options = parser.parse_args(arguments)
    print(markdown(rungs(options.run)))


def rungs(run: Path) -> dict[str, Rung]:
    """By path method, in the order in which they were tried; chains last."""
    found: dict[str, Rung] = defaultdict(Rung)
    for row in finished(run).values():
        log = (run / row.id / "log.txt").read_text(encoding="utf-8")
        before, chain = 0, False
        for number, method, outcome, gradients in _ATTEMPT.findall(log):
            if not number:
                chain = True
                continue
            rung = found[CHAIN if chain else method or "no path"]
            rung.searches.add(row.id)
            rung.gradients.append(int(gradients) - before)
            before = int(gradients)
            rung.gained += not chain and outcome.startswith(Label.INTENDED)
        if row.verdict is Label.IN_STEPS:
            found[CHAIN].searches.add(row.id)  # perhaps of attempts that were made anyway
            found[CHAIN].gained += 1
    return {name: found[name] for name in sorted(found, key=lambda name: name == CHAIN)}


def markdown(found: dict[str, Rung]) -> str:
    """The table of docs/explanation/benchmarks.md."""
    lines = [
        "| attempt | searches | intended by it | attempts | gradients per attempt, mean |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rung in found.items():
        count = len(rung.gradients)
        mean = sum(rung.gradients) / max(count, 1)
        lines.append(f"| {name} | {len(rung.searches)} | {rung.gained} | {count} | {mean:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
