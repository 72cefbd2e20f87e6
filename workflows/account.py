"""What a whole search has cost and printed so far, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from workflows.errors import StageError, within
from workflows.journal import Recorder
from workflows.logs import cause_of
from workflows.records import Cost
from workflows.stage_names import Stage
from workflows.status import Watch
from workflows.surface import Evaluations


class Record(Protocol):
    """What every stage returns."""

    @property
    def cost(self) -> Cost:
        """What it took."""

    @property
    def log(self) -> str:
        """What was printed."""


R = TypeVar("R", bound=Record)


#: Called with the name of each stage as it begins.
Progress = Callable[[Stage], None]


@dataclass
class Account:
    """Costs by stage, logs in the order of the stages, and the stage that the search is in.

    recorder: to the journal of the search, if it has one.
    """

    progress: Progress
    stage: Stage = Stage.INPUT
    costs: dict[Stage, Cost] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    recorder: Recorder | None = None

    def begin(self, stage: Stage) -> None:
        """From here on everything belongs to `stage`."""
        self.stage = stage
        self.progress(stage)
        self.watch.begin(stage)

    def run(self, function: Callable[..., R], *arguments: object, of: str = "") -> R:
        """The record of `function(*arguments)`, its cost kept even when a `StageError` ends it.

        of: the structure that such an error names, where a stage has several.
        """
        key, known = self.recorder.recall(function, arguments) if self.recorder else ("", None)
        ended: R | StageError = self._computed(function, arguments) if known is None else known
        self.add(ended.cost or Cost(), ended.log)
        if self.recorder and known is None:
            self.note_if(self.recorder.keep(key, self.stage, ended, lambda: self.log))
        if isinstance(ended, StageError):
            if of:
                within(ended, of)
            raise ended
        return ended

    def _computed(self, function: Callable[..., R], arguments: Iterable[object]) -> R | StageError:
        """What the stage returns or ends with."""
        if self.recorder:
            self.note_if(self.recorder.begin())
        try:
            return function(*arguments)
        except StageError as error:
            return error

    def add(self, cost: Cost, log: str) -> None:
        """Add to what the stage has cost and printed."""
        known = self.costs.get(self.stage, Cost())
        self.costs[self.stage] = Cost(
            Evaluations(
                known.evaluations.gradients + cost.evaluations.gradients,
                known.evaluations.hessians + cost.evaluations.hessians,
            ),
            known.seconds + cost.seconds,
        )
        self.logs.append(f"===== {self.stage} =====\n{log.strip()}\n")

    def traceback(self, error: StageError) -> None:
        """What broke without ending the stage."""
        if cause := cause_of(error):
            self.logs.append(f"===== {self.stage}: {error} =====\n{cause.strip()}\n")

    def note(self, text: str) -> None:
        """A line of the log between what the stages have printed."""
        self.logs.append(f"===== {text} =====\n")

    def note_if(self, text: str) -> None:
        """A `note`, if there is anything to say."""
        if text:
            self.note(text)

    def note_attempt(self, number: int, outcome: str) -> None:
        """A line on an attempt that has ended, with what the search has taken so far."""
        self.watch.end_attempt(f"attempt {number}: {outcome}")
        gradients = sum(cost.evaluations.gradients for cost in self.costs.values())
        self.note(f"attempt {number}: {outcome}; {gradients} gradients so far")

    @property
    def log(self) -> str:
        """Everything that the stages have printed."""
        return "\n".join(self.logs)
