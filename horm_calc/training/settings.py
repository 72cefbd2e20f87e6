"""Every setting of a training run: `horm-train --print-config` shows them all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from horm_calc.configuration import SettingsError, Validated, setting


@dataclass(frozen=True)
class DataSettings(Validated):
    """The frames to train on, and the batches."""

    train: list[str] = setting([], "files or folders of frames to train on")
    validation: list[str] = setting(
        [], "files or folders of frames to validate on; empty: some reactions of `train`"
    )
    validation_fraction: float = setting(
        0.05,
        "fraction of the reactions of `train` that is held out if `validation` is empty; reactions "
        "that share a geometry stay together",
        most=1,
    )
    validation_frames: int = setting(
        1000, "number of validation frames, drawn at random, half of them with second derivatives"
    )
    batch_size: int = setting(32, "frames per step")
    curved_fraction: float | None = setting(
        None, "fraction of a batch that has second derivatives; null: as in the data", most=1
    )
    level_of_theory: str = setting(
        "",
        "level of theory of the labels, for files that do not state it; those that do must agree",
    )
    workers: int = setting(0, "processes that load data in the background", least=0)


@dataclass(frozen=True)
class NetworkSettings(Validated):
    """The network to train, and its initial weights."""

    name: str = setting("MomentNet", "a network of this package; horm-models names them")
    config: dict[str, Any] = setting(
        {}, "widths, depth, cut-off and the like; the rest are defaults"
    )
    init_from: str = setting(
        "",
        "a checkpoint (file or name) with the initial weights; it also determines name, config and "
        "the references, which are corrected if the labels have another level of theory",
    )
    frozen: list[str] = setting([], "parameters that are not trained, such as 'layers.0.*'")


@dataclass(frozen=True)
class LossSettings(Validated):
    """The loss: weight · error, summed over forces, energies and second derivatives.

    The defaults of the weights are HORM's (100, 4, 4), its loss on rows divided by 10.
    """

    forces: float = setting(100.0, "weight of the forces", least=0)
    energy: float = setting(4.0, "weight of the energies", least=0)
    second: float = setting(
        4.0, "final weight of the second derivatives, after the curriculum", least=0
    )
    force_form: str = setting(
        "l1",
        "l1: |ΔF| of the components; norm: length of ΔF; squared: ΔF²",
        ("l1", "norm", "squared"),
    )
    energy_form: str = setting("l1", "l1: |ΔE|; squared: ΔE²", ("l1", "squared"))
    probe: str = setting(
        "rows",
        "rows: random rows of the Hessian (HORM); projections: products with vectors of random "
        "signs (HINT); full: all rows; none: only energies and forces",
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
        0.0, "epoch in which that weight reaches its final value; it grows linearly", least=0
    )
    curved_weight: float = setting(
        1.0, "factor for the energies and forces of frames that have second derivatives", least=0
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
    weight_decay: float = setting(
        1e-4, "weight decay: each step shrinks the weights by this times the rate", least=0
    )
    amsgrad: bool = setting(True, "AdamW with AMSGrad, as in HORM")
    schedule: str = setting(
        "cosine",
        "cosine: falls to `final_fraction` at the last step; step: `gamma` after every "
        "`step_epochs`; constant",
        ("cosine", "step", "constant"),
    )
    warmup_steps: int = setting(0, "initial steps in which the rate grows linearly from 0", least=0)
    final_fraction: float = setting(
        0.01, "rate at the end of the cosine, as a fraction of the highest rate", least=0
    )
    step_epochs: float = setting(10.0, "epochs between falls of the step schedule")
    gamma: float = setting(0.5, "factor at each fall of the step schedule")
    clip: str = setting(
        "history",
        "gradient clipping. history: norm at most 2 times the mean plus 3 standard deviations "
        "of the last 50 (HORM); norm: at most `clip_norm`; none",
        ("history", "norm", "none"),
    )
    clip_norm: float = setting(10.0, "largest norm of the gradient with clip: norm")
    ema_decay: float = setting(
        0.999, "decay of the running mean of the weights, which is what is saved; 0: none", least=0
    )


@dataclass(frozen=True)
class RunSettings(Validated):
    """Length, hardware and checkpoints of the run."""

    steps: int = setting(100_000, "training steps")
    max_minutes: float | None = setting(None, "time limit, minutes; null: none")
    validate_every: int = setting(1000, "steps between validations; a shorter run has one")
    checkpoint_minutes: float = setting(10.0, "minutes between checkpoints to resume from")
    patience: int | None = setting(
        None, "stop after this many validations without improvement; null: never"
    )
    seed: int = setting(1, "seed of weights, batches and probing vectors", least=0)
    precision: str = setting(
        "32-true",
        "32-true, 64-true; bf16-mixed only for direct forces without second derivatives, because "
        "derivatives lose too many digits in it",
        ("32-true", "64-true", "bf16-mixed"),
    )
    accelerator: str = setting("auto", "auto, cpu or cuda", ("auto", "cpu", "cuda"))
    devices: int = setting(1, "number of GPUs, or of processes on CPUs; each has its own batches")
    threads: int | None = setting(None, "threads on a CPU; null: PyTorch's choice")


@dataclass(frozen=True)
class TrainingSettings(Validated):
    """A whole run."""

    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    run: RunSettings = field(default_factory=RunSettings)
