"""One stage of one search in a process of its own, for `benchmarks.throughput`.

    python -m benchmarks.throughput_stage saddle state.pickle

takes what the stages before it have found from the file, and adds its own.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from reactbench_runner import calculators
from workflows.errors import StageError
from workflows.settings import from_mapping
from workflows.stages.endpoints import relax, settle
from workflows.stages.irc import follow
from workflows.stages.path import find_path
from workflows.stages.saddle import refine
from workflows.surface import Surface
from workflows.verdict import runs_backwards, verdict_of

#: The defaults before this search was made lean, which knew single steps only.
LIBRARY = from_mapping(
    {
        "endpoints": {"method": "rfo"},
        "path": {"method": "gsm"},
        "saddle": {"method": "rsirfo", "hessian_every": 1},
        "irc": {"method": "eulerpc"},
        "steps": 1,
    }
)

STAGES = ("endpoints", "path", "saddle", "irc", "ends")


def main(stage: str, file: Path) -> None:
    """Run the stage; the process fails where it does."""
    state: dict[str, Any] = pickle.loads(file.read_bytes())
    surface = Surface(calculators.build(state["calculator"]))
    try:
        run(stage, state, surface)
    except StageError as error:
        sys.exit(str(error))
    file.write_bytes(pickle.dumps(state))


def run(stage: str, state: dict[str, Any], surface: Surface) -> None:
    """Add to `state` what the stage finds. Raises `StageError`."""
    reaction, settings = state["reaction"], LIBRARY
    if stage == "endpoints":
        threshold = settings.saddle.imaginary_threshold
        state["ends"] = [
            settle(atoms, threshold, surface, settings.endpoints).atoms
            for atoms in (reaction.reactant, reaction.product)
        ]
    elif stage == "path":
        state["guess"] = find_path(
            state["ends"][0], state["ends"][1], surface, settings.path
        ).highest
    elif stage == "saddle":
        state["saddle"] = refine(state["guess"], surface, settings.saddle)
    elif stage == "irc":
        state["irc"] = follow(state["saddle"], surface, settings.irc)
    elif stage == "ends":
        first, last = (
            relax(state["irc"].images[end], surface, settings.endpoints).atoms for end in (0, -1)
        )
        reactant, product = state["ends"]
        if runs_backwards((first, last), reactant, product, settings.verdict):
            first, last = last, first
        state["verdict"] = verdict_of((first, last), reactant, product, settings.verdict).label


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
