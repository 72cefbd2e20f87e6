"""Geometries of training reactions to be labelled at ωB97X/6-31G(d).

    python research/dft-labels/choose.py ../shared/data/xtb_train.h5 research/dft-labels

writes `frames-NNN.xyz`, to be labelled with energies and forces. Each file takes eight reactions
whole: reactant, product and transition state as GFN2-xTB has them, whose differences are what a
search is asked for, two frames from the highest part of their paths, and one from anywhere else.
Among the frames of a reaction those are drawn more often that few others are like
(`density_weighted`). HINT (Yin et al., arXiv:2603.25373) samples by energy and by density in this
way. Reactions are shuffled, so that every file is a fair sample and labelling may stop after any.
Development reactions are never touched.

`hessians-NNN.xyz` are to be labelled with Hessians: of each small reaction a reactant, a transition
state and a frame from high on the path. They begin with the last reactions, so that few frames are
in both sets. `small-NNN.xyz` are those of the smallest molecules, whose Hessians cost least.

`light-NNN.xyz` are, like `frames-NNN.xyz`, for energies and forces: the molecules of few atoms
among those that come after file 019. Networks tuned on the files before had their largest errors
there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io
import h5py
import numpy as np
from ase import Atoms

from horm_calc.data.files import open_frames
from horm_calc.data.frames import Frames, chosen
from horm_calc.data.sampling import density_weighted

#: Atoms of the molecules: the cost of a label grows with the square of their number.
SIZES = (5, 14)
REACTIONS_PER_FILE = 8
#: Frames from the part of highest energy of a reaction, and from the rest of it.
HIGH_FRAMES, OTHER_FRAMES, HIGH_PART = 2, 1, 0.3
#: Atoms at most where a Hessian is computed, which costs as much as ten energies with forces; and
#: those of the smallest molecules.
HESSIAN_SIZE, SMALL_SIZE = 10, 8
#: Atoms of the light molecules at most, and how many files of any molecules come before them.
LIGHT_SIZE, FILES_BEFORE = 11, 20
#: eV/Å. Frames with larger forces are far from all paths.
MAX_FORCE = 8.0
#: Neighbours that say how sparse the surroundings of a frame are, within one reaction.
NEIGHBOURS = 5
STATIONARY = ("reactant", "product", "transition_state")


def main() -> None:
    """Write the files of geometries."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="GFN2-xTB frames of training reactions (.h5)")
    parser.add_argument("out", type=Path, help="folder for the files")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    frames = open_frames(options.frames)
    with h5py.File(options.frames) as file:
        fitting = [
            name
            for name, group in file.items()
            if SIZES[0] <= len(group["numbers"]) <= SIZES[1] and "transition_state" in group
        ]
        names = np.random.default_rng(0).permutation(fitting).tolist()
        size = {name: len(file[name]["numbers"]) for name in names}
        lists = {
            "frames": names,
            "hessians": [name for name in names[::-1] if size[name] <= HESSIAN_SIZE],
            "small": [name for name in names[::-1] if size[name] <= SMALL_SIZE],
        }
        later = names[FILES_BEFORE * REACTIONS_PER_FILE :]
        lists["light"] = [name for name in later if size[name] <= LIGHT_SIZE]
        for kind, order in lists.items():
            for number, start in enumerate(range(0, len(order), REACTIONS_PER_FILE)):
                few = order[start : start + REACTIONS_PER_FILE]
                found = [x for name in few for x in geometries(file[name], name, frames)]
                if kind in ("hessians", "small"):
                    found = one_of_each(found)
                path = options.out / f"{kind}-{number:03d}.xyz"
                ase.io.write(path, found, format="extxyz")


def geometries(group: h5py.Group, name: str, frames: Frames) -> list[Atoms]:
    """Of one reaction: its stationary points, then the frames drawn from its paths."""
    numbers = group["numbers"][:]
    found = [molecule(numbers, group[point][:], name, point) for point in STATIONARY]
    forces = np.abs(group["forces"][:]).max(axis=(1, 2))
    mine = np.flatnonzero(np.asarray(frames.reactions) == name)[forces < MAX_FORCE]
    energies = np.array([frames[int(index)].energy for index in mine])
    high = energies >= np.quantile(energies, 1 - HIGH_PART)
    for part, count, kind in ((high, HIGH_FRAMES, "high"), (~high, OTHER_FRAMES, "other")):
        some = chosen(frames, mine[part])
        if len(some) > NEIGHBOURS:
            drawn = density_weighted(some, count, seed=0, neighbours=NEIGHBOURS)
            found += [molecule(numbers, some[int(i)].positions, name, kind) for i in drawn]
    return found


def one_of_each(molecules: list[Atoms]) -> list[Atoms]:
    """Of each reaction the first geometry of the kinds that get a Hessian."""
    kinds = ("reactant", "transition_state", "high")
    first: dict[tuple[str, str], Atoms] = {}
    for atoms in molecules:
        first.setdefault((atoms.info["reaction"], atoms.info["kind"]), atoms)
    return [atoms for (_, kind), atoms in first.items() if kind in kinds]


def molecule(numbers: np.ndarray, positions: np.ndarray, reaction: str, kind: str) -> Atoms:
    """A geometry with its reaction and what it was chosen for."""
    return Atoms(numbers, positions, info={"reaction": reaction, "kind": kind})


if __name__ == "__main__":
    main()
