"""From a checkpoint of horm-train to the weights that the package ships.

    python research/horm-mini/scripts/export.py runs/horm-mini/corrected/best.ckpt \\
        runs/horm-mini.safetensors

Weights and metadata without the state of the optimiser, and with the licence.
"""

import argparse
from pathlib import Path

from horm_calc.checkpoints import files as checkpoints


def main() -> None:
    """Read, add the licence, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="best.ckpt or last.ckpt of a training run")
    parser.add_argument("out", type=Path, help="a safetensors file, overwritten if there is one")
    options = parser.parse_args()
    contents = checkpoints.read(options.checkpoint)
    metadata = contents.metadata | {"licence": "CC BY-NC-SA 4.0"}
    checkpoints.save(options.out, contents.state, contents.config, metadata, overwrite=True)


if __name__ == "__main__":
    main()
