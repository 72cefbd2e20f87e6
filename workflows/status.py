"""Where a search is, for people who watch it.

Every evaluation comes by here, so what happens to most of them costs next to nothing: they are
counted, and a few times a second the latest one is told.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from horm_calc.units import to_kcal_per_mol
from workflows.stage_names import Stage

#: Seconds between two times that a status is told, but where a stage begins or ends.
EVERY = 0.2

#: Of so many structures the highest is told where a method moves many and numbers no cycles.
BAND = 20

#: Stages that work on paths.
_PATHS = (Stage.PATH, Stage.LOWER_PATH)

#: Stages whose energies do not compare with that of the reactant.
_OTHER_ENERGIES = (Stage.SEPARATED, Stage.VERIFICATION)


@dataclass(frozen=True)
class Status:
    """Where a search is that is under way.

    Attributes
    ----------
    stage
        What it is at.
    attempt
        The number of the attempt, from 1; 0 before the first.
    step
        Of the optimiser or of one direction of the IRC, or the cycle of the path. None where the
        method numbers none, or before the first; `gradients` tell then that it goes on.
    gradients
        That the stage has taken so far.
    energy_kcal_per_mol
        Of the present structure above the relaxed reactant, and on a path that of the highest one
        (of the last `BAND` structures where the method numbers no cycles). None as long as the
        reactant is not relaxed, as always in a search from a guess alone, for separate molecules
        and in a verification.
    max_force_ev_per_a
        The largest component of the forces there, eV/Å; on a path, the largest force across it.
        None before the first.
    seconds
        Since the search began.
    outcome
        What the last attempt that has ended came to, in words; "" in the first one.
    """

    stage: Stage
    attempt: int = 0
    step: int | None = None
    gradients: int = 0
    energy_kcal_per_mol: float | None = None
    max_force_ev_per_a: float | None = None
    seconds: float = 0.0
    outcome: str = ""

    def __str__(self) -> str:
        words = [str(self.stage), *([f"attempt {self.attempt}"] if self.attempt else [])]
        if self.step is not None:
            words.append(f"{'cycle' if self.stage in _PATHS else 'step'} {self.step}")
        if self.gradients:
            words.append(f"{self.gradients} gradient{'s' * (self.gradients > 1)}")
        if self.energy_kcal_per_mol is not None:
            words.append(f"{round(self.energy_kcal_per_mol, 1) + 0.0:.1f} kcal/mol")  # no -0.0
        if self.max_force_ev_per_a is not None:
            words.append(f"{self.max_force_ev_per_a:.4f} eV/Å")
        return ", ".join([*words, f"{self.seconds:.0f} s"])


#: Called with the status of a search as a stage begins and ends, and a few times a second between.
Tell = Callable[[Status], None]


class Watch:
    """Keeps the status of a search and tells it, if there is anybody to tell it to.

    What a listener raises cannot end a search in the middle of a stage, where a library would take
    it for a failure of its own: it is raised when the next stage begins. Ctrl-C goes through.
    """

    def __init__(self, tell: Tell | None = None, stage: Stage = Stage.INPUT) -> None:
        #: Energy of the relaxed reactant, eV.
        self.reference: float | None = None
        self._listener = tell
        self._began = self._told = self._step_told = time.monotonic()
        self._stage, self._attempt, self._outcome = stage, 0, ""
        self._in_hessian = self._untold = False
        self._broken: Exception | None = None
        self._reset()

    def _reset(self) -> None:
        self._gradients = 0
        self.begin_steps()

    def begin(self, stage: Stage) -> None:
        """A stage begins, and the one before has ended. Raises what a listener has raised."""
        if self._listener is None:
            return
        self._tell_rest()
        if stage is not self._stage:
            self._stage = stage
            self._reset()
        self._tell()
        self._raise()

    def begin_attempt(self) -> None:
        """An attempt begins, whose first stage is the search for a path."""
        if self._listener is None:
            return
        self._tell_rest()
        self._attempt, self._stage = self._attempt + 1, Stage.PATH
        self._reset()

    def end_attempt(self, outcome: str) -> None:
        """What has become of it, in words."""
        if self._listener is None:
            return
        self._tell_rest()
        self._outcome = outcome

    def end(self) -> None:
        """The search has ended. Raises what a listener has raised."""
        self._tell_rest()
        self._raise()

    def begin_steps(self) -> None:
        """A method begins, which may number its steps or not."""
        self._step: tuple[int, float, float] | None = None
        size = BAND if self._stage in _PATHS else 1
        self._seen: deque[tuple[float, np.ndarray]] = deque(maxlen=size)

    def step(self, number: int, energy: float, max_force: float) -> None:
        """A method is at its step `number`: energy in eV, force in eV/Å."""
        if self._listener is None:
            return
        self._step, self._untold = (number, energy, max_force), True
        if time.monotonic() - self._step_told > EVERY:  # though its gradient has just been told
            self._step_told = time.monotonic()
            self._tell()

    def count_gradient(self) -> None:
        """The calculator has answered once more."""
        if self._listener is None:
            return
        self._gradients, self._untold = self._gradients + 1, True

    def at(self, energy: float, forces: np.ndarray) -> None:
        """A method asks for a structure: eV, and (N, 3) in eV/Å."""
        if self._listener is None:
            return
        if not self._in_hessian:
            self._seen.append((energy, forces))
        if time.monotonic() - self._told > EVERY:
            self._tell()

    @contextlib.contextmanager
    def hessian(self) -> Iterator[None]:
        """Structures within are displaced ones, which are counted but are not where a search is."""
        before, self._in_hessian = self._in_hessian, True
        try:
            yield
        finally:
            self._in_hessian = before

    @property
    def status(self) -> Status:
        """As it is now."""
        energy, force = self._point()
        above = None
        if energy is not None and self.reference is not None:
            above = to_kcal_per_mol(energy - self.reference)
        return Status(
            self._stage,
            self._attempt,
            self._step[0] if self._step else None,
            self._gradients,
            None if self._stage in _OTHER_ENERGIES else above,
            force,
            time.monotonic() - self._began,
            self._outcome,
        )

    def _point(self) -> tuple[float | None, float | None]:
        if self._step:
            return self._step[1:]
        if not self._seen:
            return None, None
        energy, forces = max(self._seen, key=lambda seen: seen[0])
        return energy, float(np.abs(forces).max())

    def _tell_rest(self) -> None:
        """How a stage has ended, unless that has been told."""
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        if self._listener is None or self._broken is not None:
            return
        self._told, self._untold = time.monotonic(), False
        try:
            self._listener(self.status)
        except Exception as error:
            self._broken = error

    def _raise(self) -> None:
        if self._broken is not None:
            raise self._broken
