"""Take the picture of a report for the README, with Chromium: from a finished run of examples/.

horm-tssearch examples/reactions.csv --out runs/first --calculator gfn2-xtb
python docs/pictures/report.py runs/first
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.browser import browser, chromium
from reactbench_runner import load_run
from reactbench_runner.report.html import write_html


def main() -> None:
    """Write report.png beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with claisen")
    run = load_run(parser.parse_args().run)
    program = chromium()
    assert program is not None
    with tempfile.TemporaryDirectory() as folder, browser(program) as page:
        page.resize(1100, 760)
        page.open(write_html(run.stored, run.rows, Path(folder) / "report.html"), "#r=claisen")
        page.wait_for("data && frames.length && !document.querySelector('#table .pair:empty')")
        page.evaluate("viewer.rotate(20, 'x'); viewer.zoom(1.4); viewer.render(); 0")
        page.evaluate("new Promise(done => requestAnimationFrame(() => done(0)))")
        page.screenshot(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
