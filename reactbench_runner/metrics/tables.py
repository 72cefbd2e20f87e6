"""The tables that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from reactbench_runner.metrics.comparison import Comparison
from reactbench_runner.metrics.outcomes import FUNNEL, QUANTITIES
from reactbench_runner.metrics.published import PUBLISHED
from reactbench_runner.metrics.rates import Bin, RunReport
from reactbench_runner.metrics.statistics import Estimate, Rate

#: So many ids are named; the rest is in the files of --csv and --json.
MOST_NAMED = 10


def funnel(reports: Sequence[RunReport]) -> Table:
    """How far the reactions of each run have come, over all inputs."""
    table = _table("", *(escape(one.name) for one in reports))
    table.title = "Of all input reactions"
    table.caption = "95% intervals (Wilson)"
    table.add_row("input reactions", *(str(one.inputs) for one in reports))
    if any(one.finished < one.inputs for one in reports):
        table.add_row("finished", *(str(one.finished) for one in reports))
    for key, title, _ in FUNNEL:
        rates = [one.funnel[key] for one in reports]
        if key in ("in_steps", "found") and not any(rate.count for rate in rates):
            continue
        table.add_row(title, *map(share, rates))
    return table


def published() -> Table:
    """Rates of publications."""
    table = _table("published", "of", "path converged", "intended by bonds", "source")
    table.title = "Published, with other reactions and criteria"
    table.columns[-1].overflow = "fold"
    for one in PUBLISHED:
        cells = []
        for key in ("path_converged", "by_bonds"):
            count = one.counts.get(key)
            cells.append("" if count is None else f"{count} ({count / one.inputs:.1%})")
        table.add_row(one.name, str(one.inputs), *cells, one.source)
    return table


def accuracy(reports: Sequence[RunReport]) -> Table:
    """Errors of barriers and distances of saddles."""
    table = _table("intended, with a reference", *(escape(one.name) for one in reports))
    table.title = "Against the references"
    table.caption = "[95% bootstrap intervals]; barriers in kcal/mol, RMSD in Å"
    for title, name, digits in (
        ("|ΔE‡ error|", "barrier_error", 2),
        ("ΔE‡ error, signed", "signed_error", 2),
        ("RMSD of the saddles", "rmsd", 3),
    ):
        found = [getattr(one.accuracy, name) for one in reports]
        table.add_row(
            f"{title}: number", *("0" if one is None else str(one.count) for one in found)
        )
        table.add_row("  mean", *(mean(one, digits) for one in found))
        table.add_row("  median", *(median(one, digits) for one in found))
    return table


def breakdown(report: RunReport) -> Table:
    """By size and by bonds changed."""
    errors = report.accuracy is not None
    more = ("median |ΔE‡ error|", "median RMSD") if errors else ()
    table = _table("", "finished", "intended", *more)
    table.title = f"{escape(report.name)}, by size and by bonds changed"
    for title, found in (
        ("atoms", report.by_atoms),
        ("bonds broken and formed", report.by_bonds),
    ):
        table.add_row(f"[bold]{title}[/]", end_section=False)
        for one in found:
            table.add_row(f"  {one.name}", *_cells(one, errors=errors))
    return table


def costs(report: RunReport) -> Table:
    """Mean and median of each stage."""
    table = _table("per reaction", *(f"{name}, mean" for name in QUANTITIES), "gradients, median")
    table.title = f"{escape(report.name)}, cost by stage"
    table.caption = "[95% bootstrap intervals]"
    for stage, found in report.costs.items():
        digits = dict(zip(QUANTITIES, (0, 1, 2), strict=True))
        cells = [mean(found[name], digits[name]) for name in QUANTITIES]
        table.add_row(stage, *cells, median(found["gradients"], 0))
    return table


def comparison(found: Comparison) -> Iterator[str]:
    """Two runs in a few lines."""
    first, second = found.first, found.second
    yield (
        f"{second} against {first}, {found.common} common reactions: intended in both "
        f"{found.both}, in none {found.neither}, gained {len(found.gained)}, lost "
        f"{len(found.lost)}; McNemar's exact test p = {found.p_value:.3g}"
    )
    for word, ids in (("gained", found.gained), ("lost", found.lost)):
        if ids:
            yield f"  {word}: {_named(ids)}"
    if found.difference and found.absolute_difference:
        yield (
            f"  barriers of both, {second} less {first}: mean {mean(found.difference, 2)}, "
            f"median {median(found.difference, 2)}; mean absolute difference "
            f"{mean(found.absolute_difference, 2)} kcal/mol"
        )
    if found.unlike:
        yield f"  left out, as they start from other structures: {_named(found.unlike)}"
    if found.missing:
        yield f"  {found.missing} reactions are finished in one of the two only, and left out"


def share(rate: Rate) -> str:
    """'130 (81.2%, 75-87)'; ≥ where something is unknown."""
    if rate.value is None or rate.low is None or rate.high is None:
        return str(rate.count)
    least = "≥ " if rate.unknown else ""
    return f"{least}{rate.count} ({rate.value:.1%}, {100 * rate.low:.0f}-{100 * rate.high:.0f})"


def mean(found: Estimate | None, digits: int) -> str:
    """'3.41 [2.80, 4.11]', empty for none."""
    return "" if found is None else _with(found.mean, found.mean_interval, digits)


def median(found: Estimate | None, digits: int) -> str:
    """As `mean`."""
    return "" if found is None else _with(found.median, found.median_interval, digits)


def _with(value: float, interval: tuple[float, float] | None, digits: int) -> str:
    text = _number(value, digits)
    if interval is None:
        return text
    low, high = (_number(one, digits) for one in interval)
    return rf"{text} \[{low}, {high}]"


def _number(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # never -0.0


def _cells(one: Bin, *, errors: bool) -> list[str]:
    cells = [str(one.intended.total), share(one.intended)]
    if errors:
        cells += [median(one.barrier_error, 2), median(one.rmsd, 3)]
    return cells


def _named(ids: Sequence[str]) -> str:
    rest = len(ids) - MOST_NAMED
    return ", ".join(ids[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _table(first: str, *others: str) -> Table:
    table = Table()
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
