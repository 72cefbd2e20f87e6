"""A run as one HTML file that needs no network.

Everything that comes from the run goes into the page as compressed JSON, from which its script
makes text, never markup: no id or warning can become part of the page's code. A content security
policy forbids the page every request.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import html
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from horm_calc.chemistry.connectivity import RADII
from horm_calc.lazy_imports import version
from reactbench_runner.errors import StorageError
from reactbench_runner.report.citations import Methods, methods_of
from reactbench_runner.report.payload import details_of, packed
from reactbench_runner.report.references import REFERENCES, address
from reactbench_runner.report.table import counts, found_words, verdict_words, verification
from reactbench_runner.storage.reading import StoredRun
from reactbench_runner.storage.rows import ResultRow, levels_of
from reactbench_runner.storage.run_folder import replacing
from reactbench_runner.storage.store import Say, to_stderr
from workflows.records import Label
from workflows.stage_names import COSTED

#: A page holds so many reactions: about 10 kB each. Others are counted, and can be chosen.
MOST_REACTIONS = 5000

#: Of reasons for failures, how many are listed for each stage.
_MOST_REASONS = 5

_ASSETS = resources.files("reactbench_runner.report") / "assets"
_PAGE = resources.files("reactbench_runner.report")


def write_html(
    run: StoredRun, rows: Mapping[str, ResultRow], file: Path, say: Say = to_stderr
) -> Path:
    """Write the page of these rows of a run; returns the file.

    Structures are read and packed one reaction after the other. `say` hears of damaged ones,
    which the page names too. Raises `OSError` where the file cannot be written.
    """
    shown = dict(list(rows.items())[:MOST_REACTIONS])
    details = _details(run, shown, say)
    parts = {
        "TITLE": html.escape(f"{run.name} – transition states"),
        "STYLE": _text(_PAGE / "report.css") + _text(_ASSETS / "uPlot.min.css"),
        "SCRIPT": _text(_PAGE / "overview.js") + _text(_PAGE / "reaction.js"),
        "SUMMARY": packed(_summary(run, rows, shown)),
        "DETAILS": "\n".join(details.get(name, "") for name in shown),
        "UPLOT": _library("uPlot.iife.min.js"),
        "VIEWER": _library("3Dmol-min.js"),
        "LICENCES": html.escape(
            "\n\n".join(
                _text(_ASSETS / name) for name in ("3Dmol-LICENSE.txt", "uPlot-LICENSE.txt")
            )
        ),
    }
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as page:
        page.writelines(_filled(_text(_PAGE / "template.html"), parts))
    return file


def _filled(template: str, parts: Mapping[str, str]) -> Iterator[str]:
    """The template with what belongs in the place of each {{NAME}}."""
    for number, piece in enumerate(template.replace("}}", "{{").split("{{")):
        yield parts[piece] if number % 2 else piece


def _text(place: Any) -> str:
    return str(place.read_text("utf-8"))


def _library(name: str) -> str:
    data = (_ASSETS / name).read_bytes()
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def _details(run: StoredRun, rows: Mapping[str, ResultRow], say: Say) -> dict[str, str]:
    """Packed, by id. What has no stationary points may still have files."""
    found: dict[str, str] = {}
    points = run.stationary_points(rows.keys())
    while True:
        try:
            name, stored = next(points)
        except StopIteration:
            break
        except ValueError as error:
            raise StorageError(str(error)) from None
        found[name] = _packed_details(run, rows[name], stored, say)
    for name in rows.keys() - found.keys():
        found[name] = _packed_details(run, rows[name], {}, say)
    return found


def _packed_details(run: StoredRun, row: ResultRow, stored: Any, say: Say) -> str:
    details = details_of(row, stored, run.folder_of(row.id), run.bond_factor)
    for text in details["missing"]:
        if "damaged" in text:
            say(text)
    return packed(details)


def _summary(
    run: StoredRun, rows: Mapping[str, ResultRow], shown: Mapping[str, ResultRow]
) -> dict[str, Any]:
    """What the page shows at once."""
    every = list(rows.values())
    verdicts = Counter(str(row.verdict) for row in every)
    methods = methods_of(run.record, every)
    return {
        "name": run.name,
        "level": levels_of(every) or run.level_of_theory,
        "made": datetime.datetime.now(datetime.UTC).isoformat(" ", "minutes")[:16] + " UTC",
        "version": version(),
        "counts": counts(every),
        "notes": [*_notes(run, rows, shown)],
        "verdicts": [[label, verdicts[label]] for label in Label if label in verdicts],
        "failures": _failures(every),
        "costs": _costs(every),
        "methods": [[text, methods.numbers(names)] for text, names in methods.sentences],
        "references": _references(methods),
        "provenance": [*_provenance(run.record)],
        "record": json.dumps(run.record, indent=1, ensure_ascii=False),
        "factor": run.bond_factor,
        "radii": dict(zip(chemical_symbols, RADII.tolist(), strict=True)),
        "rows": [_row(row) for row in shown.values()],
    }


def _provenance(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What made the run, in the words of people."""
    identity, packages = record.get("identity"), record.get("versions")
    told = {
        "command": record.get("command"),
        "started": record.get("started"),
        "calculator": record.get("calculator"),
        "level of theory": record.get("level_of_theory"),
        "weights or code (SHA-256)": identity.get("sha256") if isinstance(identity, dict) else None,
        "verified with": record.get("verify_level_of_theory"),
        "Python": record.get("python"),
        "platform": record.get("platform"),
        "packages": ", ".join(f"{name} {value}" for name, value in packages.items())
        if isinstance(packages, dict)
        else None,
    }
    yield from ((name, str(value)) for name, value in told.items() if value)


def _references(methods: Methods) -> list[list[str]]:
    return [[REFERENCES[name][0], address(name)] for name in methods.references]


def _notes(
    run: StoredRun, rows: Mapping[str, ResultRow], shown: Mapping[str, ResultRow]
) -> Iterator[str]:
    """What a reader must know of the page as a whole."""
    if run.total is not None and len(rows) < run.total:
        missing = run.total - len(rows)
        yield f"{missing} of {run.total} reactions have not finished, or are left out."
    if len(shown) < len(rows):
        yield (
            f"The table shows the first {len(shown)} of {len(rows)} reactions. Counts, failures "
            "and costs are of all. horm-report --only shows others."
        )
    if run.sharded:
        yield (
            "This run is stored in Parquet files, which hold stationary points. Paths and IRCs "
            "are shown where it was run with --files."
        )
    if line := verification(list(rows.values())):
        yield f"{line[0].upper()}{line[1:]}."


def _row(row: ResultRow) -> dict[str, Any]:
    """A row of the table; numbers are rounded as people see them."""
    warnings = [text for text in (row.warnings, row.verify_reason) if text]
    return {
        "id": row.id,
        "formula": row.formula,
        "atoms": row.atoms,
        "charge": row.charge,
        "multiplicity": row.multiplicity,
        "solvent": row.solvent,
        "level": row.level_of_theory,
        "verdict": row.verdict,
        "words": verdict_words(row),
        "reason": found_words(row),
        "warnings": warnings,
        "missing": row.not_computed,
        "molecules": [row.reactant_molecules, row.product_molecules],
        "barrier": _rounded(row.barrier_kcal_per_mol, 1),
        "gibbs": _rounded(row.gibbs_barrier_kcal_per_mol, 1),
        "energy": _rounded(row.reaction_energy_kcal_per_mol, 1),
        "free": _rounded(row.reaction_gibbs_kcal_per_mol, 1),
        "frequency": _rounded(row.imaginary_frequency_cm1, 0),
        "gradients": row.gradients,
        "seconds": _rounded(row.seconds, 1),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits) + 0.0  # never -0.0


def _failures(rows: Iterable[ResultRow]) -> list[dict[str, Any]]:
    """Of searches that failed: how many in each stage, and the most frequent reasons."""
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.verdict is Label.FAILED:
            reasons[row.stage][row.reason or "no reason is stored"] += 1
    return [
        {
            "stage": stage,
            "count": found.total(),
            "reasons": found.most_common(_MOST_REASONS),
            "kinds": len(found),
        }
        for stage, found in sorted(reasons.items(), key=lambda item: -item[1].total())
    ]


def _costs(rows: Iterable[ResultRow]) -> list[list[Any]]:
    """Stage, gradients, Hessians and seconds of the whole run; the last line is the sum."""
    sums = {stage: [0.0, 0.0, 0.0] for stage in COSTED}
    total = [0.0, 0.0, 0.0]
    for row in rows:
        for stage, cost in row.costs.items():
            calls = cost.evaluations
            for i, value in enumerate((calls.gradients, calls.hessians, cost.seconds)):
                sums[stage][i] += value
        for i, number in enumerate((row.gradients, row.hessians, row.seconds)):
            total[i] += number
    lines = {str(stage): values for stage, values in sums.items() if any(values)}
    lines["all"] = total
    return [
        [name, int(gradients), int(hessians), round(seconds, 1)]
        for name, (gradients, hessians, seconds) in lines.items()
    ]
