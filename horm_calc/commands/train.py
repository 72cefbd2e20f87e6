"""`horm-train`: trains a network on energies, forces and Hessians."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from horm_calc.checkpoints.torch_archive import CheckpointError
from horm_calc.commands.common import entry_point, parser_of
from horm_calc.configuration import SettingsError, from_mapping, parts_of, read_yaml
from horm_calc.data.frames import DataError
from horm_calc.training.settings import TrainingSettings

_DESCRIPTION = "Train a network on energies, forces and second derivatives of labelled frames."

_EPILOG = """\
config.yaml holds the settings that differ from the defaults, for example

  data:    {train: [train.h5], validation: [dev.h5]}
  loss:    {probe: projections, vectors: 1, curriculum_end: 2}
  network: {name: MomentNet, config: {channels: 64, layers: 3}}
  run:     {steps: 50000}

horm-train --print-config prints every setting with its default and meaning.

output, in the folder given with --out:
  best.ckpt       the network with the lowest validation loss: HormCalculator('best.ckpt');
                  with init_from, the initial errors are printed as those of step 0, and a
                  warning says so if no later step has a lower loss
  last.ckpt       the latest state; the same command continues from here
  curves.png      errors over steps; logs/ and tensorboard/ hold the numbers
  settings.json   all settings of the run

Exit code: 0 when the run has ended, 2 for wrong input, 130 when interrupted (the same command
continues it).

examples:
  horm-train config.yaml --out runs/first
  horm-train finetune.yaml --out runs/dft       with network: {init_from: runs/first/best.ckpt}
"""


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.print_config:
        print(default_config())
        return 0
    if options.config is None or options.out is None:
        print("horm-train: give config.yaml and --out FOLDER (see --help)", file=sys.stderr)
        return 2
    try:
        return _run(options.config, options.out)
    except BrokenPipeError:
        raise
    except (SettingsError, DataError, CheckpointError, FloatingPointError, OSError) as error:
        print(f"horm-train: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        remedy = "pip install '.[train]' in the repository"
        print(f"horm-train needs {error.name}, which is not installed: {remedy}", file=sys.stderr)
        return 2


def default_config() -> str:
    """All settings as YAML, with their meaning as comments."""
    import yaml

    lines = ["# every setting of horm-train with its default"]
    for name, kind in parts_of(TrainingSettings).items():
        lines += ["", f"# {(kind.__doc__ or '').splitlines()[0]}", f"{name}:"]
        defaults = kind()
        for spec in dataclasses.fields(kind):
            value = yaml.safe_dump(getattr(defaults, spec.name), default_flow_style=True)
            text = value.removesuffix("...\n").strip()
            lines.append(f"  {spec.name}: {text}  # {spec.metadata['doc']}")
    return "\n".join(lines)


def _run(config: Path, out: Path) -> int:
    values = read_yaml(config, "data: {train: [frames.h5]}")
    settings = from_mapping(TrainingSettings, values)
    # Heavy imports only now: --help and wrong settings answer at once.
    _quiet()
    from horm_calc.training.curves import draw
    from horm_calc.training.train import train

    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            best = train(settings, out)
    except (KeyboardInterrupt, SystemExit):
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    picture = out / "curves.png"
    draw(out / "logs", picture)
    print(f"{best.stem}: {best}; curves: {picture}")
    return 0


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"horm-train: warning: {message}", file=sys.stderr)


def _quiet() -> None:
    """Lightning tells of hardware, services and files; we tell what matters ourselves."""
    warnings.filterwarnings("ignore", module="lightning")
    import lightning.pytorch  # noqa: F401  # sets up the loggers below

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-train", _DESCRIPTION, _EPILOG)
    parser.add_argument("config", type=Path, nargs="?", help="settings, as YAML")
    parser.add_argument("--out", type=Path, help="folder for the run")
    parser.add_argument(
        "--print-config", action="store_true", help="print every setting and its default"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
