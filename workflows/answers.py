"""What calculators answer, taken only where it is what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from ase import Atoms

from workflows.errors import CalculatorFailed, StageError, TimeUp, described
from workflows.limits import check_time

T = TypeVar("T")


def asked(question: Callable[[], T], about: Sequence[Atoms]) -> T:
    """The answer to `question()`, which calls a calculator about some structures.

    Whatever it raises becomes a `CalculatorFailed`, `SystemExit` and the like too, but for the
    user's Ctrl-C. So does an answer that belongs to another structure, as it moved the atoms.
    """
    before = [(atoms.numbers.copy(), atoms.positions.copy()) for atoms in about]
    check_time()
    try:
        answer = question()
    except (StageError, KeyboardInterrupt, TimeUp):
        raise
    except BaseException as error:
        raise CalculatorFailed(described(error)) from error
    check_time()
    for atoms, (numbers, positions) in zip(about, before, strict=True):
        same = np.array_equal(atoms.numbers, numbers) and np.array_equal(atoms.positions, positions)
        if not same:
            raise CalculatorFailed(
                "the calculator changed the atoms that it was given, so its results belong to "
                "another structure; it has to work on a copy of them"
            )
    return answer


def real_numbers(answer: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """An answer of real, finite numbers of that shape as an array of its own.

    A copy, as calculators may write over theirs. Raises `CalculatorFailed`.
    """
    array: np.ndarray = np.asanyarray(answer)
    if array.dtype.kind not in "iuf":
        raise CalculatorFailed(
            f"the calculator gave {name} of type {array.dtype}, not of real numbers"
        )
    if np.ma.is_masked(array):
        raise CalculatorFailed(f"the calculator gave {name} with masked values")
    array = np.array(array, dtype=float)
    if shape == () and array.size == 1:
        array = array.reshape(())
    if array.shape != shape:
        wanted = shape or "a single number"
        raise CalculatorFailed(f"the calculator gave {name} of shape {array.shape}, not {wanted}")
    if not np.isfinite(array).all():
        raise CalculatorFailed(f"the calculator gave {name} that is not finite (NaN or infinity)")
    return array
