"""The product of bond changes: they are driven, and then everything is free."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms

from horm_calc.chemistry.connectivity import bonds, changes_in_words, describe_changes
from horm_calc.chemistry.perception import smiles_of
from workflows.errors import NotConverged
from workflows.limits import run_with_limit
from workflows.records import Cost
from workflows.settings import VerdictSettings
from workflows.stages.driven import descent, drive, sums_of_radii
from workflows.stages.stage import stage
from workflows.starts import BondChanges, changes_missing
from workflows.surface import Surface

#: Times the sum of covalent radii: how far a bond that breaks is driven apart, at first and, where
#: it then falls back, once more. Bonds end at 1.2 times the sum.
FAR = (1.8, 2.4)


@dataclass(frozen=True)
class DrivenProduct:
    """What the driven reactant has become, with the way there.

    Attributes
    ----------
    images
        From the reactant to the product; positions in Å.
    more
        Changes of bonds that were not asked for, in words.
    cost, log
        What it took, and what was printed.
    """

    images: tuple[Atoms, ...]
    more: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@stage
def driven_product(
    start: BondChanges, reactant: Atoms, settings: VerdictSettings, surface: Surface, limit: float
) -> DrivenProduct:
    """Drive the bonds of the relaxed `reactant` as `start` asks, and relax what it has become.

    limit: wall time, s. Raises `NotConverged`, which says what it has become, where that has not
    the bonds that were asked for; `CalculatorFailed`, `StageTimeout`.
    """

    def made() -> DrivenProduct:
        ends = []
        for far in FAR:
            images = _driven(start, reactant, far, surface)
            there = bonds(images[-1], settings.bond_factor)
            if not changes_missing(start, there):
                asked = bonds(reactant, settings.bond_factor)
                asked = (asked - _ordered(start.breaking)) | _ordered(start.forming)
                return DrivenProduct(tuple(images), changes_in_words(asked, there, reactant))
            ends.append(images[-1])
        raise NotConverged(_told(start, reactant, ends[-1], settings, surface))

    return run_with_limit(made, limit)


def _driven(start: BondChanges, reactant: Atoms, far: float, surface: Surface) -> list[Atoms]:
    """From the reactant to where it comes to rest again, as far as it does."""
    pairs = [*start.breaking, *start.forming]
    parts = np.array([far] * len(start.breaking) + [1.0] * len(start.forming))
    aims = parts * sums_of_radii(reactant, pairs)
    images = drive(reactant, pairs, aims, math.inf, surface)
    return images[:-1] + (descent(images[-1], surface) or images[-1:])


def _ordered(pairs: tuple[tuple[int, int], ...]) -> frozenset[tuple[int, int]]:
    return frozenset((min(pair), max(pair)) for pair in pairs)


def _told(
    start: BondChanges, reactant: Atoms, end: Atoms, settings: VerdictSettings, surface: Surface
) -> str:
    """What the driven bonds have led to instead."""
    factor = settings.bond_factor
    missing = ", ".join(changes_missing(start, bonds(end, factor)))
    became = "it relaxes back to the reactant"
    if changes := describe_changes(reactant, end, factor):
        smiles = smiles_of(end, surface.charge, surface.multiplicity, factor)
        became = f"the reactant becomes {f'{smiles} ({changes})' if smiles else changes}"
    hint = "" if start.breaking and start.forming else "; name every bond that breaks or forms"
    return (
        f"'{start}' does not last with this calculator: driven there and released, {became}; "
        f"{missing}{hint}"
    )
