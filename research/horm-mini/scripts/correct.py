"""Labels of GFN2-xTB, moved towards DFT by what networks learned of the difference.

    python research/horm-mini/scripts/correct.py ../shared/data/xtb_train.h5 OUT.h5 --share 0.35 \
        --pair runs/horm-mini/first/best.ckpt horm-mini-xtb

A network that was tuned on few labels of DFT knows how DFT differs from GFN2-xTB better than it
knows DFT, because the network that it was tuned from does not repeat GFN2-xTB exactly. So the
difference between the two is added to each label, as a mean over all pairs. The frames on which the
pairs disagree most are left out. Hessians become products with two random vectors. This is
Δ-learning (Ramakrishnan et al., J. Chem. Theory Comput. 2015, 11, 2087), used to make labels. The
file names the level of DFT, which its labels only approximate.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame, Frames
from horm_calc.potential import Potential, load_potential
from horm_calc.progress import progress
from horm_calc.training.batches import BatchOptions, Part, batch_of
from horm_calc.training.losses import predict

#: Frames that are computed together.
TOGETHER = 32
#: Products of Hessians with two vectors each, and total energies.
WHOLE = BatchOptions(dict.fromkeys(range(119), 0.0), "projections", 2)
#: Part of the frames that is left out, those whose forces the pairs disagree on most.
DISPUTED = 0.05

#: Energy, eV, forces and products of a frame.
Labels = tuple[float, np.ndarray, np.ndarray | None]


def main() -> None:
    """Write the corrected labels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help="frames at GFN2-xTB")
    parser.add_argument("out", type=Path, help="a new file")
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        required=True,
        metavar=("TUNED", "BASE"),
        help="a network, and the one it was tuned from",
    )
    parser.add_argument("--share", type=float, default=1.0, help="part of the frames (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    potentials = {name: load_potential(name) for pair in options.pair for name in pair}
    pairs = [(potentials[tuned], potentials[base]) for tuned, base in options.pair]
    frames = open_frames(options.labels)
    rng = np.random.default_rng(0)
    count = round(options.share * len(frames))
    taken = np.sort(rng.choice(len(frames), count, replace=False))
    corrected = list(progress(correct(frames, taken, pairs, rng), "Correcting", count))
    bound = np.quantile([dispute for _, dispute in corrected], 1 - DISPUTED)
    kept = [frame for frame, dispute in corrected if len(pairs) == 1 or dispute <= bound]
    write_hdf5(options.out, kept, pairs[0][0].level_of_theory)
    print(f"{len(kept)} frames of {count} in {options.out}; the others are disputed by {bound:.3f}")


def correct(
    frames: Frames,
    taken: np.ndarray,
    pairs: list[tuple[Potential, Potential]],
    rng: np.random.Generator,
) -> Iterator[tuple[Frame, float]]:
    """Each frame with other labels, and the largest spread of the pairs on an atom, eV/Å."""
    curved = frames.has_second_derivatives[taken]
    for some in (taken[curved], taken[~curved]):
        ordered = some[np.argsort(frames.sizes[some], kind="stable")]
        for start in range(0, len(ordered), TOGETHER):
            members = [frames[int(i)] for i in ordered[start : start + TOGETHER]]
            yield from corrected(members, pairs, rng)


def corrected(
    frames: list[Frame], pairs: list[tuple[Potential, Potential]], rng: np.random.Generator
) -> Iterator[tuple[Frame, float]]:
    """The same for frames that are computed together."""
    [part] = batch_of(frames, WHOLE, rng).parts
    found = {one: labels_of(one, part, frames) for one in {one for pair in pairs for one in pair}}
    splits = np.cumsum(part.molecules.sizes)[:-1]
    given = None if part.vectors is None else np.split(part.vectors.numpy(), splits, axis=1)
    known = None if part.products is None else np.split(part.products.numpy(), splits, axis=1)
    for place, frame in enumerate(frames):
        tuned, base = ([found[pair[which]][place] for pair in pairs] for which in (0, 1))
        forces = np.array([a[1] - b[1] for a, b in zip(tuned, base, strict=True)])
        energy = float(np.mean([a[0] - b[0] for a, b in zip(tuned, base, strict=True)]))
        new = replace(frame, energy=frame.energy + energy, forces=frame.forces + forces.mean(0))
        if given is not None and known is not None:
            change = [a[2] - b[2] for a, b in zip(tuned, base, strict=True)]
            products = known[place] + np.mean(change, axis=0)
            new = replace(
                new, hessian=None, vectors=given[place], products=products.astype(np.float32)
            )
        yield new, float(np.linalg.norm(forces.std(0), axis=-1).max())


def labels_of(potential: Potential, part: Part, frames: list[Frame]) -> list[Labels]:
    """What a network says of all frames of a part."""
    found = predict(potential.network, part, second=True)
    splits = np.cumsum(part.molecules.sizes)[:-1]
    forces = np.split(found.forces.detach().double().numpy(), splits)
    products: list[np.ndarray | None] = [None] * len(frames)
    if found.products is not None:
        products = list(np.split(found.products.detach().double().numpy(), splits, axis=1))
    references = [sum(potential.references[int(n)] for n in frame.numbers) for frame in frames]
    energies = found.energies.detach().double().numpy() + references
    return [*zip(energies.tolist(), forces, products, strict=True)]


if __name__ == "__main__":
    main()
