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


def weights_of(vectors: np.ndarray) -> np.ndarray:
    """What turns squared lengths of products with vectors (k, n, 3) into mean squared elements.

    One number per vector. E‖Δv‖² is ‖Δ‖² |v|² / 3n for vectors of one length |v| and random
    direction, unit vectors and random signs included, where ‖Δ‖² is the sum over the (3n)²
    elements of the error of the Hessian. A vector of zeros says nothing and weighs nothing.
    """
    flat = vectors.reshape(len(vectors), -1)
    lengths = flat.shape[1] * (flat**2).sum(1)
    return np.divide(1.0, lengths, out=np.zeros(len(flat)), where=lengths > 0)
