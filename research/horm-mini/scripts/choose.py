"""Frames to be labelled by DFT, for the fine-tuning of horm-mini-xtb.

    python research/horm-mini/scripts/choose.py ../shared/data/xtb_train.h5 runs/dft
    horm-label runs/dft/chosen-0.xyz runs/dft/labels-0.h5 --level wb97x --hessians 1
    horm-label runs/dft/chosen-1.xyz runs/dft/labels-1.h5 --level wb97x

Labels cost half a minute each, and minutes with a Hessian, so frames are chosen: of molecules
that are cheap, the half that is low in energy among their isomers (`energy_based`: HINT's sampling
by energy, arXiv:2603.25373), and of these the more likely the fewer others are like them
(`density_weighted`). `chosen-0` holds the smallest, for Hessians; each other file is a fair sample
of the whole, so that labelling may stop after any.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from horm_calc.data.files import open_frames
from horm_calc.data.frames import DataError, Frame, Frames, chosen
from horm_calc.data.sampling import density_weighted, energy_based, random_choice

#: Atoms of the frames, those with a Hessian and those without.
CURVED, PLAIN = (5, 8), (7, 12)
#: Frames of each kind, of a file, and of each reaction at most before the choice.
COUNT_CURVED, COUNT_PLAIN, PER_FILE, PER_REACTION = 12, 400, 40, 60


def main() -> None:
    """Write the chosen frames, the shuffled ones in files of the same size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help="frames to choose from (.h5)")
    parser.add_argument("out", type=Path, help="a folder for the files of the chosen ones")
    options = parser.parse_args()
    try:
        frames = open_frames(options.frames)
    except DataError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    plain = pick(frames, PLAIN, COUNT_PLAIN)
    curved = pick(frames, CURVED, COUNT_CURVED, without=plain)
    files = [curved, *(plain[start : start + PER_FILE] for start in range(0, len(plain), PER_FILE))]
    for number, indices in enumerate(files):
        ase.io.write(options.out / f"chosen-{number}.xyz", [molecule(frames[i]) for i in indices])


def pick(
    frames: Frames, atoms: tuple[int, int], count: int, without: Sequence[int] = ()
) -> list[int]:
    """So many frames within that range of sizes, low in energy and unlike each other, shuffled."""
    sized = np.flatnonzero((frames.sizes >= atoms[0]) & (frames.sizes <= atoms[1]))
    low = sized[energy_based(chosen(frames, sized), 0.5)]
    low = np.setdiff1d(low, without)
    few = low[random_choice(chosen(frames, low), None, seed=0, per_reaction=PER_REACTION)]
    picked = few[density_weighted(chosen(frames, few), count, seed=0)]
    return np.random.default_rng(0).permutation(picked).tolist()


def molecule(frame: Frame) -> Atoms:
    """The geometry, and of which reaction it is."""
    return Atoms(frame.numbers, frame.positions, info={"reaction": frame.reaction})


if __name__ == "__main__":
    main()
