"""What a HORM network can be asked, and what it should not be."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from horm_calc.errors import HormError, HormWarning
from horm_calc.references import PUBLISHED, Domain, named
from horm_calc.structure_files.ase_atoms import stated_electrons
from horm_calc.structure_files.electrons import UnclearElectrons, settle

#: Closer than this (Å) no two atoms of the training data come.
CLOSEST = 0.5
# Å. Here directions between atoms, and with them forces, are rounding errors or no numbers.
_SAME_PLACE = 1e-3
# Å. Bonds, and their neighbours.
_BONDED = 2.5


class UnsupportedInput(HormError, ValueError):
    """A structure outside what the networks know; the message says why."""


class OutsideTrainingDomain(HormWarning):
    """A structure that can be computed, but that is unlike anything the networks have seen."""


def check(
    atoms: Atoms, cutoff: float, most_atoms: int | None = None, domain: Domain = PUBLISHED
) -> None:
    """Raises `UnsupportedInput` where the network's answer would mean nothing.

    Warns with `OutsideTrainingDomain` of all that `concerns` tells.
    """
    for concern in concerns(atoms, cutoff, most_atoms, domain):
        warnings.warn(concern, OutsideTrainingDomain, stacklevel=3)


def concerns(
    atoms: Atoms, cutoff: float, most_atoms: int | None = None, domain: Domain = PUBLISHED
) -> list[str]:
    """Why the network may be wrong here.

    Those are: atoms closer than 0.5 Å, parts further apart than the cut-off (Å), an atom alone,
    and more atoms than any molecule of the network's training has (`most_atoms`, if known). Raises
    `UnsupportedInput` where an answer would mean nothing: no atoms, positions that are not
    finite, periodic cells, atoms in the same place, and elements, charges or multiplicities
    that are not in `domain`.
    """
    if len(atoms) == 0:
        raise UnsupportedInput("there are no atoms")
    if not np.isfinite(atoms.positions).all():
        raise UnsupportedInput("a position is not a finite number")
    require_known(atoms.numbers.tolist(), domain)
    if atoms.pbc.any():
        raise UnsupportedInput("the structure is periodic; set atoms.pbc = False for a molecule")
    if told := charged_or_open(atoms, domain):
        raise UnsupportedInput(f"{told}; the network was trained on neutral closed shells")
    if not _possible(int(atoms.numbers.sum()), domain):
        raise UnsupportedInput(
            "the molecule has unpaired electrons; the network was trained on closed shells"
        )
    found = []
    if len(atoms) == 1:
        found.append("an atom alone, of which a network trained on molecules knows little")
    if most_atoms is not None and len(atoms) > most_atoms:
        found.append(
            f"{len(atoms)} atoms; the molecules that the network was trained on have {most_atoms} "
            "at most, so that it may err more here than elsewhere"
        )
    return found + _distances(atoms, cutoff)


def require_known(numbers: Iterable[int], domain: Domain) -> None:
    """Raises `UnsupportedInput` for atomic numbers that are not in `domain`."""
    unknown = sorted(chemical_symbols[number] for number in set(numbers) - set(domain.elements))
    if unknown:
        raise UnsupportedInput(
            f"the network knows {named(domain.elements)}, not {', '.join(unknown)}: its training "
            "data have no others"
        )


def _possible(electrons: int, domain: Domain) -> bool:
    """Whether a molecule with so many electrons, if neutral, can have any of the multiplicities."""
    return any(
        (electrons - charge - (multiplicity - 1)) % 2 == 0
        for charge in domain.charges
        for multiplicity in domain.multiplicities
    )


def charged_or_open(atoms: Atoms, domain: Domain = PUBLISHED) -> str:
    """What is said of the molecule that none of `domain`, neutral singlets, can be; "" if nothing.

    It is said by initial charges and magnetic moments, or in `info`; see
    `ase_atoms.stated_electrons`. What may be meant so and is not understood counts too.
    """
    told = stated_electrons(atoms)
    try:
        charge, multiplicity = settle(told, atoms.numbers)
    except UnclearElectrons as error:
        kind = "charged" if error.quantity == "charge" else "with unpaired electrons"
        remedy = "say charge=0 and multiplicity=1 if it is not"
        return f"the molecule may be {kind}, {remedy} ({error})"
    if charge is not None and charge not in domain.charges:
        return f"the molecule is charged ({told.charge[0].words})"
    if multiplicity is not None and multiplicity not in domain.multiplicities:
        return f"the molecule has unpaired electrons ({told.multiplicity[0].words})"
    if (np.abs(atoms.get_initial_magnetic_moments()) > 1e-6).any():
        return "the molecule has unpaired electrons (initial magnetic moments)"
    return ""


def _distances(atoms: Atoms, cutoff: float) -> list[str]:
    """By a tree: all distances of 12,000 atoms take gigabytes, at each step of a search."""
    if len(atoms) < 2:
        return []
    tree = KDTree(atoms.positions)
    distances, neighbours = tree.query(atoms.positions, k=2)
    first = int(distances[:, 1].argmin())
    second = next(int(other) for other in neighbours[first] if other != first)
    i, j = sorted((first, second))
    closest = float(distances[first, 1])
    names = f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j}"
    found = []
    if closest < _SAME_PLACE:
        raise UnsupportedInput(f"{names} are in the same place")
    if closest < CLOSEST:
        found.append(
            f"{names} are {closest:.2f} Å apart; nothing in the training data is closer "
            f"than {CLOSEST} Å, so energies and forces here mean little"
        )
    # Most molecules hang together by their bonds already, which are fewer.
    if all(_in_parts(tree, radius) for radius in (min(_BONDED, cutoff), cutoff)):
        found.append(
            f"parts of the structure are further apart than the network's cut-off ({cutoff} Å); "
            "what it says of their interaction means nothing"
        )
    return found


def _in_parts(tree: KDTree, radius: float) -> bool:
    """Whether steps of at most `radius` (Å) do not lead from each point to each other one."""
    first, second = tree.query_pairs(radius, output_type="ndarray").T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(tree.n, tree.n))
    return bool(connected_components(graph, directed=False, return_labels=False) > 1)
