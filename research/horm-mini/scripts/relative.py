"""Labels relative to a network: what the network says, plus how DFT differs from GFN2-xTB.

    python research/horm-mini/scripts/relative.py \
        research/dft-labels runs/horm-mini/relative-first.h5 horm-mini-xtb

A network that repeats GFN2-xTB has errors. Tuned on labels of DFT, it also learns to undo these
errors, frame by frame, and that does not carry over to other molecules. Tuned on relative labels,
it learns the difference between the methods and nothing else.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from horm_calc import HormCalculator
from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame, iterate
from horm_calc.data.labelling.labels import label
from horm_calc.progress import progress


def main() -> None:
    """Write the relative labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help="frames at a level of DFT")
    parser.add_argument("out", type=Path, help="a new file")
    parser.add_argument("network", help="of GFN2-xTB, such as horm-mini-xtb")
    options = parser.parse_args()
    frames = open_frames(options.labels)
    calculator = HormCalculator(options.network)
    seen = progress(relative([*iterate(frames)], calculator), "Labelling", len(frames))
    write_hdf5(options.out, seen, frames.level_of_theory)


def relative(frames: list[Frame], calculator: HormCalculator) -> Iterator[Frame]:
    """The frames with labels that are relative to a network; fails where GFN2-xTB does."""
    for whole in (False, True):
        some = [frame for frame in frames if (frame.hessian is not None) is whole]
        labels = label(some, "gfn2-xtb", hessians=float(whole), max_force=np.inf)
        for frame, xtb in zip(some, labels, strict=True):
            assert isinstance(xtb, Frame), xtb
            atoms = Atoms(frame.numbers, frame.positions, calculator=calculator)
            forces = frame.forces + atoms.get_forces() - xtb.forces
            energy = frame.energy + atoms.get_potential_energy() - xtb.energy
            new = replace(frame, energy=energy, forces=forces)
            if frame.hessian is not None and xtb.hessian is not None:
                change = calculator.get_hessian(atoms) - xtb.hessian
                new = replace(new, hessian=(frame.hessian + change).astype(np.float32))
            yield new


if __name__ == "__main__":
    main()
