"""What a HORM network can be asked, and what it should not be."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from horm_calc.errors import HormError, HormWarning
from horm_calc.references import ELEMENTS
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


def check(atoms: Atoms, cutoff: float, most_atoms: int | None = None) -> None:
    """Raises `UnsupportedInput` where the network's answer would mean nothing.

    Warns with `OutsideTrainingDomain` of all that `concerns` tells.
    """
    for concern in concerns(atoms, cutoff, most_atoms):
        warnings.warn(concern, OutsideTrainingDomain, stacklevel=3)


def concerns(atoms: Atoms, cutoff: float, most_atoms: int | None = None) -> list[str]:
    """Why the network may be wrong here.

    Those are: atoms closer than 0.5 Å, parts further apart than the cut-off (Å), an atom alone,
    and more atoms than any molecule of the network's training has (`most_atoms`, if known). Raises
    `UnsupportedInput` where an answer would mean nothing: no atoms, positions that are not
    finite, elements other than H, C, N, O, periodic cells, charged or open-shell molecules, atoms
    in the same place.
    """
    if len(atoms) == 0:
        raise UnsupportedInput("there are no atoms")
    if not np.isfinite(atoms.positions).all():
        raise UnsupportedInput("a position is not a finite number")
    unknown = sorted({chemical_symbols[z] for z in atoms.numbers if z not in ELEMENTS})
    if unknown:
        raise UnsupportedInput(
            f"the network knows H, C, N and O, not {', '.join(unknown)}: its training data "
            "have no others"
        )
    if atoms.pbc.any():
        raise UnsupportedInput("the structure is periodic; set atoms.pbc = False for a molecule")
    if told := charged_or_open(atoms):
        raise UnsupportedInput(f"{told}; the network was trained on neutral closed shells")
    if int(atoms.numbers.sum()) % 2:
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


def charged_or_open(atoms: Atoms) -> str:
    """What is said of the molecule that no neutral singlet can be; "" if nothing is.

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
    if charge:
        return f"the molecule is charged ({told.charge[0].words})"
    if multiplicity not in (None, 1):
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
