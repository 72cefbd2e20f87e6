"""Along which vectors second derivatives are compared.

A loss on Hessians needs only their products with some vectors, at the cost of one more
backward pass each:

- "rows": `count` different unit vectors, so that the products are rows of the Hessian (HORM,
  arXiv:2505.12447; one-hot probing in arXiv:2603.04523);
- "projections": `count` vectors of random signs (Rademacher), whose squared product has the
  squared Frobenius norm as its mean (Hutchinson 1989; HINT, arXiv:2603.25373; projected
  Hessian learning, arXiv:2603.04523);
- "full": all unit vectors, for comparison.
"""

from __future__ import annotations

import numpy as np

KINDS = ("rows", "projections", "full")


def probes(kind: str, atoms: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors (k, atoms, 3) for one molecule; k is `count`, at most 3 atoms for rows."""
    size = 3 * atoms
    if kind == "projections":
        return rng.choice([-1.0, 1.0], size=(count, atoms, 3))
    chosen = np.arange(size)
    if kind == "rows" and count < size:
        chosen = rng.choice(size, count, replace=False)
    return np.eye(size)[chosen].reshape(-1, atoms, 3)


def weight_of(kind: str, atoms: int) -> float:
    """What turns the mean squared length of the products into the mean squared element.

    E‖Δv‖² is ‖Δ‖² / 3n for a unit vector drawn at random, and ‖Δ‖² for random signs, where
    ‖Δ‖² is the sum over the (3n)² elements of the error of the Hessian.
    """
    size = 3 * atoms
    return 1 / size**2 if kind == "projections" else 1 / size
