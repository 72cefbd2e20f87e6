"""Every setting of a training run: `horm-train --print-config` shows them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from horm_calc.configuration import SettingsError, Validated, setting


@dataclass(frozen=True)
class DataSettings(Validated):
    """Which frames, and how many at a time."""

    train: list[str] = setting([], "files or folders of frames to train on")
    validation: list[str] = setting(
        [], "files or folders of frames to validate on; empty: some reactions of `train`"
    )
    validation_fraction: float = setting(
        0.05,
        "share of the reactions of `train` held out, where `validation` is empty; those that share "
        "a geometry stay together",
        most=1,
    )
    validation_frames: int = setting(
        1000, "frames validated on, drawn at random, half of them with second derivatives"
    )
    batch_size: int = setting(32, "frames per step")
    curved_fraction: float | None = setting(
        None, "share of a batch that has second derivatives; null: as many as the data has", most=1
    )
    level_of_theory: str = setting(
        "", "how labels were computed, where files do not say; what they say must agree with it"
    )
    workers: int = setting(0, "processes that load data in the background", least=0)


@dataclass(frozen=True)
class NetworkSettings(Validated):
    """What is trained, and from where."""

    name: str = setting("MomentNet", "a network of this package; horm-models names them")
    config: dict[str, Any] = setting({}, "its widths, depth and cut-off; the rest by default")
    init_from: str = setting(
        "",
        "a checkpoint (file or name) whose weights are the start: name and config are its own, and "
        "references too, corrected where the level of theory is another",
    )
    frozen: list[str] = setting([], "parameters that stay as they are, such as 'layers.0.*'")


@dataclass(frozen=True)
class LossSettings(Validated):
    """weight · error, summed over forces, energies and second derivatives.

    The defaults of the weights are HORM's (100, 4, 4), its loss on rows divided by 10.
    """

    forces: float = setting(100.0, "weight of the forces", least=0)
    energy: float = setting(4.0, "weight of the energies", least=0)
    second: float = setting(4.0, "weight of the second derivatives, after the curriculum", least=0)
    force_form: str = setting(
        "l1", "l1: |ΔF| of components; norm: length of ΔF; squared", ("l1", "norm", "squared")
    )
    energy_form: str = setting("l1", "l1: |ΔE|; squared", ("l1", "squared"))
    probe: str = setting(
        "rows",
        "rows: random rows of the Hessian (HORM); projections: products with vectors of random "
        "signs (HINT); full: all rows; none: energies and forces alone",
        ("rows", "projections", "full", "none"),
    )
    vectors: int = setting(
        1, "rows or projections per frame and step; HORM: 1, and 2 for direct forces"
    )
    second_form: str = setting(
        "norm",
        "norm: sum over atoms of |ΔHv| / 10 (HORM); squared: scaled to the mean squared element "
        "of ΔH (HINT)",
        ("norm", "squared"),
    )
    curriculum_begin: float = setting(
        0.0, "epoch in which the weight of the second derivatives begins to grow", least=0
    )
    curriculum_end: float = setting(
        0.0, "epoch from which on that weight is whole; it grows linearly", least=0
    )
    curved_weight: float = setting(
        1.0, "factor on energies and forces of frames that have second derivatives", least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.curriculum_end < self.curriculum_begin:
            raise SettingsError(
                f"'loss.curriculum_end' is {self.curriculum_end:g}, before "
                f"'loss.curriculum_begin' ({self.curriculum_begin:g}): set both"
            )


@dataclass(frozen=True)
class OptimizerSettings(Validated):
    """The optimiser, its learning rate over time, and limits on its steps."""

    name: str = setting(
        "adamw",
        "adamw; muon: orthogonalised momentum for matrices (arXiv:2502.16982), AdamW for the rest",
        ("adamw", "muon"),
    )
    learning_rate: float = setting(5e-4, "highest learning rate")
    weight_decay: float = setting(1e-4, "weights shrink by this times the rate", least=0)
    amsgrad: bool = setting(True, "AdamW with AMSGrad, as HORM")
    schedule: str = setting(
        "cosine",
        "cosine: falls to `final_fraction` at the last step; step: `gamma` after every "
        "`step_epochs`; constant",
        ("cosine", "step", "constant"),
    )
    warmup_steps: int = setting(0, "steps in which the rate grows linearly from 0", least=0)
    final_fraction: float = setting(0.01, "of the highest rate, at the end of the cosine", least=0)
    step_epochs: float = setting(10.0, "epochs between falls of the step schedule")
    gamma: float = setting(0.5, "factor at each fall of the step schedule")
    clip: str = setting(
        "history",
        "history: gradients no longer than 2 times the mean and 3 times the spread of the last 50 "
        "(HORM); norm: no longer than `clip_norm`; none",
        ("history", "norm", "none"),
    )
    clip_norm: float = setting(10.0, "longest gradient with clip: norm")
    ema_decay: float = setting(
        0.999, "decay of the running mean of the weights, which is what is kept; 0: none", least=0
    )


@dataclass(frozen=True)
class RunSettings(Validated):
    """How long, where, and what is kept."""

    steps: int = setting(100_000, "training steps")
    max_minutes: float | None = setting(None, "stop after this time; null: never")
    validate_every: int = setting(1000, "steps between validations; a shorter run has one")
    checkpoint_minutes: float = setting(10.0, "minutes between checkpoints to resume from")
    patience: int | None = setting(
        None, "stop after so many validations without a better one; null: never"
    )
    seed: int = setting(1, "seed of weights, batches and probing vectors", least=0)
    precision: str = setting(
        "32-true",
        "32-true, 64-true; bf16-mixed only for direct forces without second derivatives, as "
        "derivatives lose their digits in it",
        ("32-true", "64-true", "bf16-mixed"),
    )
    accelerator: str = setting("auto", "auto, cpu or cuda", ("auto", "cpu", "cuda"))
    devices: int = setting(1, "GPUs, or processes on CPUs; each takes whole batches of its own")
    threads: int | None = setting(None, "threads on a CPU; null: PyTorch's choice")


@dataclass(frozen=True)
class TrainingSettings(Validated):
    """A whole run."""

    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)
