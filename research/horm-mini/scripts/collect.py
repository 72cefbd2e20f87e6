"""Structures that searches went through, to be labelled and trained on.

    horm-tssearch train.csv --out runs/searched
    python research/horm-mini/scripts/collect.py runs/searched runs/searched.xyz
    horm-label runs/searched.xyz runs/horm-mini/searched.h5 --level gfn2-xtb --hessians 0.3

Where a search with a network goes wrong, its structures are what the network should learn, so
searches of reactions that one trains on, never of others, make good frames. Of the path, the
saddle and the IRC of each reaction those are written that differ from the one before, with the
reaction in their comments.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from rich.progress import track

#: Structures that follow each other differ by this at least, root mean square in Å.
STEP = 0.08


def main() -> None:
    """Write the structures of all reactions of a run to one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder that horm-tssearch has written")
    parser.add_argument("out", type=Path, help="a new extended xyz file")
    options = parser.parse_args()
    folders = sorted(file.parent for file in options.run.glob("*/result.json"))
    if not folders:
        parser.error(f"{options.run} holds no finished searches")
    structures: list[Atoms] = []
    for folder in folders:
        for name in ("path.xyz", "ts.xyz", "irc.xyz"):
            file = folder / name
            if file.exists() and file.stat().st_size:
                frames = ase.io.read(file, ":")
                structures += [named(atoms, folder.name) for atoms in apart(frames)]
    ase.io.write(options.out, structures, format="extxyz")
    print(f"{len(structures)} structures of {len(folders)} reactions in {options.out}")


def in_parallel(
    function: Callable[..., list[Atoms]], calls: Sequence[tuple[Any, ...]], workers: int, out: Path
) -> int:
    """Writes what `function` makes of each of `calls`, its arguments; returns how much it is."""
    count = 0
    spawn = get_context("spawn")  # libraries with threads do not survive a fork
    with ProcessPoolExecutor(workers, spawn) as pool, out.open("w") as file:
        made = pool.map(function, *zip(*calls, strict=True), chunksize=4)
        for structures in track(made, function.__name__, total=len(calls)):
            ase.io.write(file, structures, format="extxyz")
            count += len(structures)
    return count


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


if __name__ == "__main__":
    main()
