"""How far barriers and transition states are from references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from horm_calc.chemistry.equivalence import MOST_RELABELLINGS, distance
from reactbench_runner.metrics.outcomes import Measured
from reactbench_runner.metrics.references import References
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE
from workflows.errors import InputError


@dataclass(frozen=True, slots=True)
class Deviation:
    """Of an *intended* reaction from its reference; None where this or that is unknown.

    Attributes
    ----------
    barrier_error
        Barrier less that of the reference, kcal/mol.
    rmsd
        Å; of mirror images and of exchanged labels of equivalent atoms the least.
    reason
        Why there is no RMSD though both saddles are known.
    """

    id: str
    reference_barrier: float | None
    barrier_error: float | None
    rmsd: float | None
    reason: str = ""


def deviations(measured: Measured, references: References) -> dict[str, Deviation]:
    """Of all *intended* reactions that have a reference of the same structures.

    Raises `InputError` where there is none, or where a saddle has other atoms.
    """
    common = measured.outcomes.keys() & references.known
    if not common:
        mine, theirs = (min(names, default="") for names in (measured.outcomes, references.known))
        raise InputError(
            f"no reaction of {measured.run.folder} has a reference; ids there are like '{mine}', "
            f"and those of the references like '{theirs}'"
        )
    return {one.id: one for one in _deviations(measured, references, sorted(common))}


def other_reactions(measured: Measured, references: References) -> list[str]:
    """Those whose reference was searched between other structures of the same name."""
    return [
        name
        for name, one in measured.outcomes.items()
        if (other := references.fingerprints.get(name)) and one.fingerprint not in ("", other)
    ]


def _deviations(
    measured: Measured, references: References, common: list[str]
) -> Iterator[Deviation]:
    left_out = set(other_reactions(measured, references))
    for name in common:
        outcome = measured.outcomes[name]
        if outcome.intended and name not in left_out:
            reference, error = references.barriers.get(name), None
            if reference is not None and outcome.barrier is not None:
                error = outcome.barrier - reference
            yield Deviation(name, reference, error, *_rmsd(measured, references, name))


def _rmsd(measured: Measured, references: References, name: str) -> tuple[float | None, str]:
    """And why there is none."""
    points, other = measured.structures_of(name), references.saddles.get(name)
    if other is None or not {REACTANT, PRODUCT, SADDLE} <= points.keys():
        return None, ""
    saddle = points[SADDLE]
    if not np.array_equal(saddle.numbers, other.numbers):
        raise InputError(
            f"reaction '{name}': its reference is {other.symbols}, and its transition state in "
            f"{measured.run.folder} is {saddle.symbols}; both need the same atoms in the same order"
        )
    ends = points[REACTANT], points[PRODUCT]
    rmsd = distance(saddle, other, ends, measured.run.bond_factor)
    if rmsd is None:
        return None, f"equivalent atoms can be exchanged in more than {MOST_RELABELLINGS:,} ways"
    return rmsd, ""
