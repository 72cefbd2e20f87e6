"""Frames labelled by a network, so that a network can be trained on them without a file."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from horm_calc import hessian
from horm_calc.graphs import Molecules
from horm_calc.models.momentnet import MomentNet
from horm_calc.training.frames import Frame

TINY = {"layers": 2, "channels": 8, "heads": 2, "radial": 8, "hidden": 8}
FORMULAS = ("H2O", "CH3OH", "HCN", "NH3")


def network(seed: int) -> MomentNet:
    """A tiny network in float64 with weights drawn by `seed`."""
    torch.manual_seed(seed)
    made = MomentNet.fresh(TINY).double()
    with torch.no_grad():
        made.filters.weight.mul_(3.0)  # so that forces are not small beside the energies
    return made


def frames(per_formula: int = 4, curved: int = 2) -> list[Frame]:
    """Rattled molecules with labels of a tiny network, the first `curved` of each with Hessians."""
    teacher, made = network(seed=77), []
    for formula in FORMULAS:
        for place in range(per_formula):
            atoms: Atoms = molecule(formula)
            atoms.rattle(0.1, seed=place)
            one = Molecules.from_atoms([atoms])
            energies, forces = hessian.energies_and_forces(teacher, one)
            [matrix] = hessian.hessians(teacher, one)
            made.append(
                Frame(
                    atoms.numbers,
                    atoms.positions,
                    float(energies[0]),
                    forces.numpy(),
                    matrix.numpy() if place < curved else None,
                    reaction=formula,
                )
            )
    return made


class Listed:
    """Frames in a list, as `Frames`."""

    level_of_theory = "a tiny network"

    def __init__(self, listed: list[Frame]) -> None:
        self._frames = listed
        self.sizes = np.array([len(frame.numbers) for frame in listed])
        self.curved = np.array(
            [frame.hessian is not None or frame.products is not None for frame in listed]
        )
        self.reactions = [frame.reaction for frame in listed]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[index]
