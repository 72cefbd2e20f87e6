"""From a checkpoint of MomentNet to one that adds the repulsion of nuclei where atoms overlap.

    python research/horm-mini/scripts/repel.py exported.safetensors horm-mini-xtb.safetensors

Molecules are not changed: the repulsion ends at 0.75 times the sum of covalent radii, and the
shortest bonds, those of N2 and CO, are 0.77 times it.
"""

import argparse
from pathlib import Path

from horm_calc.checkpoints import files as checkpoints
from horm_calc.checkpoints.catalogue import find


def main() -> None:
    """Read, add it to the configuration, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="name or file of a network")
    parser.add_argument("out", type=Path, help="a safetensors file, overwritten if there is one")
    options = parser.parse_args()
    contents = checkpoints.read(find(options.checkpoint))
    config = dict(contents.config) | {"repulsion": True}
    checkpoints.save(options.out, contents.state, config, contents.metadata, overwrite=True)


if __name__ == "__main__":
    main()
