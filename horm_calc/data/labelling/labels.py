"""Labels for geometries: energies, forces and, for some, second derivatives.

    from horm_calc.data.labelling.labels import Failure, label

    for labelled in label(ase.io.read("path.xyz", ":"), "gfn2-xtb", hessians=0.1):
        if isinstance(labelled, Failure):
            print(labelled.cause)

A geometry that cannot be labelled costs itself only: a `Failure` takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from horm_calc.data.frames import Frame
from horm_calc.data.labelling.levels import LEVELS, NotLabelled
from horm_calc.input_checks import charged_or_open
from horm_calc.processes import in_processes

if TYPE_CHECKING:
    from ase import Atoms

#: eV/Å. No reaction passes where forces are larger; the fit of a network suffers from them.
MAX_FORCE = 30.0


@dataclass(frozen=True)
class Settings:
    """What is to be computed. Raises `ValueError` for settings that make no sense.

    level: a name in `levels.LEVELS`. hessians: the fraction of the frames that get second
    derivatives. projections: 0 for whole Hessians; k for the Hessian's products with k random
    vectors of entries ±1, as in Hutchinson's estimators. max_force: geometries with a larger
    component of a force (eV/Å) are left out. seed: of the choice of frames and vectors.
    """

    level: str
    hessians: float = 0.0
    projections: int = 0
    max_force: float = MAX_FORCE
    seed: int = 0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level '{self.level}' is not one of {', '.join(LEVELS)}")
        if not LEVELS[self.level].installed:
            program = LEVELS[self.level].program
            raise ValueError(
                f"level '{self.level}' needs {program}: pip install '.[label]' in the repository"
            )
        if not 0 <= self.hessians <= 1:
            raise ValueError(f"the fraction of Hessians is {self.hessians:g}, not within 0 to 1")
        if self.projections and not self.hessians:
            raise ValueError("projections of Hessians, but the fraction of Hessians is 0")
        if min(self.projections, self.seed) < 0 or not self.max_force > 0:
            raise ValueError(
                "projections and seed must not be negative, the largest force positive"
            )


@dataclass(frozen=True, eq=False)
class Geometry:
    """A geometry to label.

    number: its place in the input. numbers: (n,). positions: (n, 3), Å. reaction: see `Frame`;
    of Atoms it is `info["reaction"]`. problem: why it cannot be labelled by any method, if so.
    """

    number: int
    numbers: np.ndarray
    positions: np.ndarray
    reaction: str
    problem: str = ""


@dataclass(frozen=True)
class Failure:
    """A geometry without label: its place in the input, its reaction, and the cause."""

    number: int
    reaction: str
    cause: str


@dataclass(frozen=True)
class _Task:
    geometry: Geometry
    settings: Settings
    has_second_derivatives: bool


def label(
    items: Iterable[Atoms | Frame],
    level: str,
    *,
    hessians: float = 0.0,
    projections: int = 0,
    max_force: float = MAX_FORCE,
    seed: int = 0,
    workers: int = 0,
) -> Iterator[Frame | Failure]:
    """Labels geometries, ASE's or frames (whose own labels are ignored), in their order.

    See `Settings` for the options, and the errors that they raise. workers: 0 computes in this
    process; otherwise so many others with one thread each, and the calling script needs the
    guard `if __name__ == "__main__":`, as always with processes.
    """
    settings = Settings(level, hessians, projections, max_force, seed)
    geometries = [geometry(number, item) for number, item in enumerate(items)]
    return (outcome for _, outcome in _ordered(label_all(geometries, settings, workers)))


def label_all(
    geometries: Sequence[Geometry],
    settings: Settings,
    workers: int = 0,
    finished: Iterable[int] = (),
) -> Iterator[tuple[int, Frame | Failure]]:
    """Labels in the order in which they are ready, with the places of their geometries.

    finished: the places of those that need no label any more.
    """
    done = set(finished)
    with_second = set(_with_second(len(geometries), settings))
    tasks = (
        _Task(item, settings, place in with_second)
        for place, item in enumerate(geometries)
        if place not in done
    )
    if not workers:
        return ((task.geometry.number, _labelled(task)) for task in tasks)
    return _in_processes(tasks, min(workers, max(1, len(geometries) - len(done))))


def geometry(number: int, item: Atoms | Frame) -> Geometry:
    """The geometry of an Atoms object, or of a frame."""
    if isinstance(item, Frame):
        numbers, positions, name, problem = item.numbers, item.positions, item.reaction, ""
    else:
        numbers, positions = item.numbers, item.positions
        name, problem = str(item.info.get("reaction", "")), _unsupported(item)
    numbers, positions = np.array(numbers, int), np.array(positions, float)
    problem = problem or _impossible(numbers, positions)
    return Geometry(number, numbers, positions, name, problem)


def vectors(settings: Settings, number: int, atoms: int) -> np.ndarray:
    """The random vectors (projections, atoms, 3) of the geometry `number`, with entries ±1."""
    generator = np.random.default_rng([settings.seed, number])
    return generator.choice([-1.0, 1.0], (settings.projections, atoms, 3))


def _with_second(count: int, settings: Settings) -> np.ndarray:
    """The places of the geometries that get second derivatives: one at least, if any."""
    chosen = max(round(settings.hessians * count), int(settings.hessians > 0))
    return np.random.default_rng(settings.seed).permutation(count)[:chosen]


def _unsupported(atoms: Atoms) -> str:
    if atoms.pbc.any():
        return "it is periodic; labels are for molecules in vacuum"
    told = charged_or_open(atoms)
    return f"{told}; labels are for neutral singlets" if told else ""


def _impossible(numbers: np.ndarray, positions: np.ndarray) -> str:
    if not len(numbers):
        return "it has no atoms"
    if not np.isfinite(positions).all():
        return "its positions are not finite numbers"
    if numbers.sum() % 2:
        return f"{numbers.sum()} electrons, an odd number; labels are for neutral singlets"
    return ""


def _labelled(task: _Task) -> Frame | Failure:
    try:
        return _compute(task)
    except NotLabelled as error:
        cause = str(error)
    except Exception as error:  # numerical trouble in a program must cost one frame, not the run
        cause = f"{type(error).__name__}: {error}"
    return Failure(task.geometry.number, task.geometry.reaction, " ".join(cause.split()))


def _in_processes(tasks: Iterator[_Task], workers: int) -> Iterator[tuple[int, Frame | Failure]]:
    for task, outcome in in_processes(_labelled, tasks, workers):
        number, reaction = task.geometry.number, task.geometry.reaction
        yield number, outcome or Failure(number, reaction, "its process was killed (memory?)")


def _compute(task: _Task) -> Frame:
    settings, item = task.settings, task.geometry
    if item.problem:
        raise NotLabelled(item.problem)
    point = LEVELS[settings.level].at(item.numbers, item.positions)
    largest = np.abs(point.forces).max()
    if not (np.isfinite(largest) and np.isfinite(point.energy)):
        raise NotLabelled("energy or forces are not finite numbers")
    if largest > settings.max_force:
        raise NotLabelled(f"a force of {largest:.3g} eV/Å, more than {settings.max_force:g}")
    hessian = directions = products = None
    if task.has_second_derivatives and settings.projections:
        directions = vectors(settings, item.number, len(item.numbers))
        products = point.products(directions)
    elif task.has_second_derivatives:
        hessian = point.hessian()
    for known in (hessian, products):
        if known is not None and not np.isfinite(known).all():
            raise NotLabelled("second derivatives are not finite numbers")
    return Frame(
        item.numbers, item.positions, point.energy, point.forces,
        hessian, directions, products, item.reaction,
    )  # fmt: skip


def _ordered(
    outcomes: Iterable[tuple[int, Frame | Failure]],
) -> Iterator[tuple[int, Frame | Failure]]:
    ready: dict[int, Frame | Failure] = {}
    place = 0
    for number, outcome in outcomes:
        ready[number] = outcome
        while place in ready:
            yield place, ready.pop(place)
            place += 1
