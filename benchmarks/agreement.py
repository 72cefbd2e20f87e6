"""How far the searches of a fast calculator lead where those of a trusted one lead.

    python -m benchmarks.agreement runs/gfn2-xtb runs/horm-mini

Both folders are finished runs of `horm-tssearch` (or `benchmarks.reactions`) over the same
reactions. Judged are the reactions that the first, the trusted one, ends *intended*: how many of
them the second ends *intended* too, how far its transition states are from those of the first,
and its barriers from theirs. The distance of two transition states is the root mean square distance
of their atoms after superposition, the least of all that are the same chemically: of either mirror
image, and of labels exchanged between atoms that the bonds of neither reactant nor product tell
apart, such as the hydrogens of a methyl group.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from horm_calc.chemistry import equivalence
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE, points_in
from reactbench_runner.storage.store import finished
from workflows.records import Label
from workflows.settings import VerdictSettings

#: What a warning of a lower-energy path says, and said in earlier versions.
LOWER = ("lower-energy path", "lower way")

#: Å. Transition states that are farther apart are not the same one.
SAME = 0.4


@dataclass(frozen=True)
class Compared:
    """A reaction that both searches end *intended*: RMSD in Å, barriers in kcal/mol.

    `lower_path`: either search warns that its calculator knows a lower-energy path than its saddle.
    """

    id: str
    rmsd: float
    trusted_barrier: float
    barrier: float
    lower_path: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the two runs and print a Markdown table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trusted", type=Path, help="folder of the run to hold the other against")
    parser.add_argument("fast", type=Path, help="folder of the run that is judged")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args(arguments)

    solvable, found = compare(options.trusted, options.fast)
    print(markdown(options.trusted, options.fast, solvable, found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"solvable": solvable, "found": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(figures, indent=1))


def compare(trusted: Path, fast: Path) -> tuple[list[str], list[Compared]]:
    """The reactions that the trusted run ends *intended*, and of these what both do."""
    references, judged = finished(trusted), finished(fast)
    for run, results in ((trusted, references), (fast, judged)):
        if not results:
            sys.exit(f"{run} holds no finished searches of horm-tssearch")
    first, second = (
        {name: row.fingerprint for name, row in results.items()} for results in (references, judged)
    )
    if first != second:
        sys.exit("the two runs are not of the same reactions, or one of them is not finished")
    solvable, found = [], []
    for name, row in sorted(references.items()):
        if row.verdict is Label.INTENDED:
            solvable.append(name)
            if judged[name].verdict is Label.INTENDED:
                both = row, judged[name]
                trusted_barrier, barrier = (one.barrier_kcal_per_mol for one in both)
                assert trusted_barrier is not None
                assert barrier is not None  # both saddles connect the ends
                lower_path = any(word in one.warnings for one in both for word in LOWER)
                rmsd = distance(trusted / name, fast / name)
                found.append(Compared(name, rmsd, trusted_barrier, barrier, lower_path))
    return solvable, found


def distance(first: Path, second: Path) -> float:
    """RMSD, Å, of the transition states in two folders of the same reaction."""
    one, other = points_in(first), points_in(second)
    ends = one[REACTANT], one[PRODUCT]
    found = equivalence.distance(one[SADDLE], other[SADDLE], ends, VerdictSettings().bond_factor)
    if found is None:
        sys.exit(f"{first}: there are too many ways to exchange equivalent atoms")
    return found


def markdown(trusted: Path, fast: Path, solvable: Sequence[str], found: Sequence[Compared]) -> str:
    """The tables of docs/explanation/benchmarks.md: the figures, then a row for each reaction."""
    names, seconds = [], []
    for run in (trusted, fast):
        names.append(json.loads((run / "run.json").read_text("utf-8"))["level_of_theory"])
        seconds.append([row.seconds for row in finished(run).values()])
    lines = [
        f"Of {len(seconds[0])} reactions {names[0]} ends {len(solvable)} *intended*, "
        f"{names[1]} {len(found)} of these.",
        "",
        f"Median seconds a reaction: {statistics.median(seconds[0]):.1f} and "
        f"{statistics.median(seconds[1]):.1f}.",
    ]
    if not found:
        return "\n".join(lines)
    lines += [
        "",
        f"Found, of those the trusted calculator finds: {len(found) / len(solvable):.0%}.",
        "",
        "| pairs | number | median RMSD, Å | barriers, mean absolute error, kcal/mol | median |",
        "| --- | --- | --- | --- | --- |",
        summary("all", found),
        summary("no warning of a lower-energy path", [one for one in found if not one.lower_path]),
        summary(f"within {SAME} Å: the same", [one for one in found if one.rmsd <= SAME]),
        "",
        "| reaction | RMSD, Å | ΔE‡ trusted, kcal/mol | ΔE‡, kcal/mol |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.id} | {one.rmsd:.3f} | {one.trusted_barrier:.1f} | {one.barrier:.1f} |"
        for one in found
    ]
    return "\n".join(lines)


def summary(name: str, found: Sequence[Compared]) -> str:
    """A row of the table."""
    if not found:
        return f"| {name} | 0 | | | |"
    errors = [abs(one.barrier - one.trusted_barrier) for one in found]
    rmsd = statistics.median(one.rmsd for one in found)
    mean, median = statistics.mean(errors), statistics.median(errors)
    return f"| {name} | {len(found)} | {rmsd:.3f} | {mean:.2f} | {median:.2f} |"


if __name__ == "__main__":
    main()
