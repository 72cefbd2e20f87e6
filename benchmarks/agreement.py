"""How far the searches of a fast calculator lead where those of a trusted one lead.

    python -m benchmarks.agreement runs/gfn2-xtb runs/horm-mini

Both folders are finished runs of `horm-tssearch` (or `benchmarks.reactions`) over the same
reactions. Judged are the reactions that the first, the trusted one, ends *intended*: how many of
them the second ends *intended* too, how far its transition states are from those of the first
(root mean square distance of the atoms after superposition), and its barriers from theirs.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import ase.io

from workflows.verify import superposition

#: Two transition states nearer than this are of the same reaction, and of the same conformer.
SAME = 0.3


@dataclass(frozen=True)
class Compared:
    """A reaction that both searches end *intended*: RMSD in Å, barriers in kcal/mol."""

    id: str
    rmsd: float
    trusted_barrier: float
    barrier: float


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
    print(markdown(solvable, found))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"solvable": solvable, "found": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(figures, indent=1))


def compare(trusted: Path, fast: Path) -> tuple[list[str], list[Compared]]:
    """What `trusted` ends *intended*, of the reactions of `fast`; and of these what both do."""
    before, after = _intended(trusted), _intended(fast)
    solvable = [name for name, barrier in before.items() if barrier is not None and name in after]
    found = []
    for name in solvable:
        barrier, reference = after[name], before[name]
        if barrier is None or reference is None:
            continue
        [first], [second] = (
            ase.io.read(folder / name / "ts.xyz", ":") for folder in (trusted, fast)
        )
        _, rmsd = superposition(first, second)
        found.append(Compared(name, rmsd, reference, barrier))
    return solvable, found


def _intended(run: Path) -> dict[str, float | None]:
    """ΔE‡ of each reaction in kcal/mol, None where it did not end *intended*."""
    with (run / "results.csv").open(newline="") as file:
        return {
            row["id"]: float(row["barrier_kcal_per_mol"]) if row["verdict"] == "intended" else None
            for row in csv.DictReader(file)
        }


def markdown(solvable: Sequence[str], found: Sequence[Compared]) -> str:
    """The table of docs/benchmarks.md: the figures, then a row for each reaction."""
    lines = [f"{len(found)} of {len(solvable)} that the trusted calculator ends *intended*", ""]
    if not found:
        return "\n".join(lines)
    errors = [abs(one.barrier - one.trusted_barrier) for one in found]
    near = [error for one, error in zip(found, errors, strict=True) if one.rmsd < SAME]
    lines += [
        "| quantity | value |",
        "| --- | --- |",
        f"| found | {len(found) / len(solvable):.0%} |",
        f"| median RMSD of the transition states | "
        f"{statistics.median(one.rmsd for one in found):.3f} Å |",
        f"| MAE of the barriers | {statistics.mean(errors):.2f} kcal/mol |",
        f"| median error of the barriers | {statistics.median(errors):.2f} kcal/mol |",
        f"| the same transition state (RMSD below {SAME} Å) | {len(near)} |",
    ]
    if near:
        lines.append(f"| MAE of the barriers of these | {statistics.mean(near):.2f} kcal/mol |")
    lines += ["", "| reaction | RMSD, Å | ΔE‡ trusted, kcal/mol | ΔE‡ |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [
        f"| {one.id} | {one.rmsd:.3f} | {one.trusted_barrier:.1f} | {one.barrier:.1f} |"
        for one in found
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
