"""Structures of a finished run of searches, to be labelled and trained on.

    python examples/horm-mini/collect.py runs/searched structures.xyz
    horm-label structures.xyz structures.h5 --level gfn2-xtb --hessians 0.3

Where a search with a network went wrong, its structures are what the network should learn. Every
saddle, the images of the path, and the IRC at steps of a distance are written, with the reaction
in their comments.
"""

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

#: Structures of an IRC that follow each other differ by this at least, root mean square in Å.
STEP = 0.08


def main(run: Path, out: Path) -> None:
    """Write the structures of all reactions of `run` to `out`."""
    structures: list[Atoms] = []
    for folder in sorted(path.parent for path in run.glob("*/result.json")):
        for name in ("path.xyz", "ts.xyz", "irc.xyz"):
            file = folder / name
            if file.exists() and file.stat().st_size:
                frames = ase.io.read(file, ":")
                structures += [named(atoms, folder.name) for atoms in apart(frames)]
    ase.io.write(out, structures, format="extxyz")
    print(f"{len(structures)} structures")


def apart(frames: list[Atoms]) -> list[Atoms]:
    """Leaves out frames that are near the last one that was kept."""
    kept = frames[:1]
    for atoms in frames[1:]:
        if np.sqrt(((atoms.positions - kept[-1].positions) ** 2).sum(1).mean()) > STEP:
            kept.append(atoms)
    return kept


def named(atoms: Atoms, reaction: str) -> Atoms:
    """Without results, with the name of its reaction."""
    bare = Atoms(atoms.numbers, atoms.positions)
    bare.info["reaction"] = reaction
    return bare


main(Path(sys.argv[1]), Path(sys.argv[2]))
