"""Draw the energy profile of the README: from a finished run of examples/.

horm-tssearch examples/xyz/vinyl_alcohol.xyz --out runs/profile --calculator gfn2-xtb
python docs/pictures/energy_profile.py runs/profile
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reactbench_runner import load_run
from reactbench_runner.report.figures import STYLE, energy_profile, profile_of


def main() -> None:
    """Write energy_profile.svg beside this file."""
    from matplotlib import rc_context

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run with vinyl_alcohol")
    result = load_run(parser.parse_args().run)["vinyl_alcohol"]
    profile = profile_of(result)
    assert profile is not None
    with rc_context(STYLE):
        energy_profile(result, profile).savefig(
            Path(__file__).with_suffix(".svg"), metadata={"Date": None}
        )


if __name__ == "__main__":
    main()
