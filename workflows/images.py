"""Images of a path for which the calculator has no answer, such as an SCF that does not converge.

One such image must not cost the path. While the path moves, the image goes back to where it last
had an answer, if that is near, or towards a neighbour; energies and forces are always those of
the geometry that the image then has. From the finished path such images are left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import with_positions
from workflows.errors import CalculatorFailed, described, within
from workflows.logs import Log
from workflows.surface import Surface

#: An image goes back no further than this, Å for any component: an optimiser's step, and not what
#: spreads images evenly. Those that were held where they are would never come to rest.
NEAR = 0.1

#: Parts of the way from a neighbour at which an image without an answer is tried.
NEARER = (0.5, 0.25, 0.125, 0.0625)


class Answered:
    """Where each image of a path was when the calculator last had an answer for it."""

    def __init__(self, surface: Surface, log: Log) -> None:
        self._surface, self._log = surface, log
        self._last: dict[Hashable, Atoms] = {}

    def place(self, image: Hashable, name: str, atoms: Atoms, neighbours: Sequence[Atoms]) -> Atoms:
        """`atoms` itself where the calculator has an answer, or else a geometry where it has one.

        `image` is what knows the image again, `name` is for people. Raises the `CalculatorFailed`
        of `atoms` where no other place is left.
        """
        last = [self._last[image]] if image in self._last else []
        near = [one for one in last if np.abs(one.positions - atoms.positions).max() < NEAR]
        between = [place for neighbour in neighbours for place in _nearer(atoms, neighbour)]
        failures: list[CalculatorFailed] = []
        for place in (atoms, *near, *between, *last):
            try:
                self._surface.at(place)
            except CalculatorFailed as error:
                failures.append(error)
                continue
            if failures:
                where = "stays where it was" if place in last else "goes towards a neighbour"
                self._log.write(f"\n{name} {where}: {described(failures[0])}\n")
            self._last[image] = place.copy()
            return place
        raise within(failures[0], name)


def with_answers(images: Sequence[Atoms], surface: Surface, log: Log) -> list[Atoms]:
    """The ends, and the images between them for which the calculator has an answer.

    Raises `CalculatorFailed` where it has none for an end or for all of the others.
    """
    kept, failures = [], []
    for number, image in enumerate(images):
        try:
            surface.at(image)
        except CalculatorFailed as error:
            failures.append(within(error, f"image {number + 1} of {len(images)} of the path"))
            if number in (0, len(images) - 1):
                raise
            log.write(f"\n{error}; it is left out\n")
        else:
            kept.append(image)
    if len(kept) == 2 and failures:
        raise failures[0]
    return kept


def prepare(images: Iterable[Atoms], surface: Surface) -> None:
    """Has images evaluated together, if the calculator can; what fails is asked alone later."""
    with contextlib.suppress(CalculatorFailed):
        surface.prepare(images)


def _nearer(atoms: Atoms, neighbour: Atoms) -> list[Atoms]:
    way = atoms.positions - neighbour.positions
    return [with_positions(atoms, neighbour.positions + part * way) for part in NEARER]
