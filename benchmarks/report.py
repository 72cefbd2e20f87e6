"""How large a report is, and how fast it is written and opened: python -m benchmarks.report RUN

Makes a run of many reactions from copies of those of a finished one, writes its page, and opens it
in Chromium, if there is one, until its table stands there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.browser import browser, chromium


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run with a folder for each reaction")
    parser.add_argument("--reactions", type=int, default=1000)
    options = parser.parse_args()
    from reactbench_runner.report.html import write_html
    from reactbench_runner.results import load_run

    with tempfile.TemporaryDirectory() as place:
        folder = copies(options.run, Path(place) / "copies", options.reactions)
        begin = time.perf_counter()
        run = load_run(folder)
        page = write_html(run.stored, run.rows, folder / "report.html")
        found: dict[str, float | int | None] = {
            "reactions": len(run),
            "seconds_to_write": round(time.perf_counter() - begin, 1),
            "megabytes": round(page.stat().st_size / 1e6, 2),
            "seconds_to_open": opening_time(page),
        }
    print(json.dumps(found))


def copies(source: Path, out: Path, reactions: int) -> Path:
    """A run of so many reactions, with the folders of those in `source` in turn."""
    folders = sorted(file.parent for file in source.glob("*/result.json"))
    out.mkdir(parents=True)
    shutil.copy(source / "run.json", out)
    for number in range(reactions):
        folder = folders[number % len(folders)]
        copy = shutil.copytree(folder, out / f"{folder.name}-{number:06}")
        record = json.loads((copy / "result.json").read_text("utf-8"))
        (copy / "result.json").write_text(json.dumps(record | {"id": copy.name}), "utf-8")
    return out


def opening_time(page: Path) -> float | None:
    """Seconds until the table stands there and is painted, median of 5; None without Chromium."""
    if (program := chromium()) is None:
        return None
    times = []
    with browser(program) as tab:
        tab.resize(1300, 900)
        for _ in range(5):
            tab.open(page)
            tab.wait_for("document.documentElement.dataset.ready")
            tab.wait_for("performance.getEntriesByName('first-contentful-paint').length")
            tab.wait_for("!document.querySelector('#table .pair:empty')")
            times.append(tab.evaluate("performance.now()"))
    return round(statistics.median(times) / 1000, 2)


if __name__ == "__main__":
    main()
