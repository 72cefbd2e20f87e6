"""Updates of a Hessian: what it learns from the gradients at both ends of a step."""

from __future__ import annotations

import numpy as np


def bofill(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Bofill's mixture of the symmetric rank-one (Murtagh-Sargent) and Powell's update.

    It may change the number of negative eigenvalues, as it must beside a saddle point. See
    Bofill, J. Comput. Chem. 1994, 15, 1.

    Parameters
    ----------
    hessian
        (n, n), symmetric.
    step
        (n,), what was moved.
    change
        (n,), how the gradient changed over that step.

    Returns
    -------
    np.ndarray
        (n, n), symmetric; times `step` it gives `change`. Unchanged where there is nothing to
        learn.
    """
    error = change - hessian @ step
    square, along, size = step @ step, error @ step, error @ error
    if square < 1e-12 or size < 1e-16:
        return hessian
    share = along**2 / (square * size)
    powell = (np.outer(error, step) + np.outer(step, error)) / square
    powell -= along * np.outer(step, step) / square**2
    rank_one = np.outer(error, error) * (along / (square * size))  # share times error·error / along
    return np.asarray(hessian + rank_one + (1 - share) * powell)


def bfgs(hessian: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """The update of Broyden, Fletcher, Goldfarb and Shanno, damped to stay positive definite.

    Powell's damping: where the surface curves down along `step`, only a part of `change` counts
    (Nocedal and Wright, Numerical Optimization, 2nd ed., procedure 18.2). Parameters are those of
    `bofill`; `hessian` is positive definite, and so is the one returned.
    """
    moved = hessian @ step
    expected, found = step @ moved, step @ change
    if expected < 1e-12:
        return hessian
    if found < 0.2 * expected:
        part = 0.8 * expected / (expected - found)
        change = part * change + (1 - part) * moved
        found = step @ change
    return np.asarray(
        hessian + np.outer(change, change) / found - np.outer(moved, moved) / expected
    )
