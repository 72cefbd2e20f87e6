"""From a checkpoint of MomentNet to one with more channels that computes the same.

    python research/horm-mini/scripts/widen.py runs/horm-mini/exchanged/last.ckpt \\
        runs/horm-mini/widened.safetensors --channels 96 --hidden 256

What is new starts at random, but nothing old listens to it yet: training begins where it was
(as in Net2Net, arXiv:1511.05641, without copies of channels).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from horm_calc.checkpoints import files as checkpoints
from horm_calc.models.momentnet.network import MomentNet


def main() -> None:
    """Read, widen, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="best.ckpt or last.ckpt of a training run")
    parser.add_argument("out", type=Path, help="a safetensors file, overwritten if there is one")
    parser.add_argument("--channels", type=int, required=True, help="of every atom")
    parser.add_argument("--hidden", type=int, required=True, help="inside every layer")
    parser.add_argument("--seed", type=int, default=0, help="of what is new (default %(default)s)")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    contents = checkpoints.read(options.checkpoint)
    config = dict(contents.config) | {"channels": options.channels, "hidden": options.hidden}
    sizes = {key: value for key, value in config.items() if key != "name"}
    fresh = MomentNet.fresh(sizes, contents.training.domain.elements).state_dict()
    channels, hidden, heads = (int(contents.config[key]) for key in ("channels", "hidden", "heads"))
    if options.channels < channels or options.hidden < hidden:
        parser.error(f"it has {channels} channels and {hidden} hidden ones: not fewer than these")
    state = {}
    for key, new in fresh.items():
        # Channels stand head after head within blocks, one for each purpose; hidden ones in a row.
        groups = [(channels, heads)] * new.ndim
        if key.startswith("layers.") and ".inner." in key:
            groups[0] = (hidden, 1)
        if key.startswith("layers.") and ".outer.weight" in key:
            groups[1] = (hidden, 1)
        state[key] = widened(contents.state[key], new, groups)
    checkpoints.save(options.out, state, config, contents.metadata, overwrite=True)


def widened(old: Tensor, fresh: Tensor, groups: Sequence[tuple[int, int]]) -> Tensor:
    """The old weights in a tensor of the fresh one's shape; groups: as `kept` takes them.

    Old outputs get zero from new inputs; new outputs keep the weights that they have in `fresh`.
    """
    places = [
        kept(*sizes, *group)
        for sizes, group in zip(zip(old.shape, fresh.shape, strict=True), groups, strict=True)
    ]
    new = fresh.to(old.dtype, copy=True)
    new[places[0]] = 0
    new[torch.meshgrid(*places, indexing="ij")] = old
    return new


def kept(before: int, after: int, width: int, heads: int) -> Tensor:
    """Where old rows or columns, blocks of `width` in so many heads, stand among the new ones."""
    if before == after:
        return torch.arange(before)
    blocks = before // width
    return torch.arange(after).reshape(blocks, heads, -1)[..., : width // heads].flatten()


if __name__ == "__main__":
    main()
