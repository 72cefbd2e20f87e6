"""Molecules placed so that they touch where bonds will form."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data.vdw_alvarez import vdw_radii
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from horm_calc.chemistry.connectivity import Bonds, bonds, pieces
from horm_calc.chemistry.masses import with_positions

#: Parts of the sum of van der Waals radii: how far atoms are apart that will be bonded, and how
#: near others may come at least.
REACTING, OTHERS = 0.85, 0.9
#: Weights of overlaps and of the approach from behind, beside that of distances, Å².
OVERLAP, BEHIND = 5.0, 2.0
#: Orientations from which a molecule is tried.
STARTS = 8
#: For derivatives by differences, Å and radians.
STEP = 1e-5
#: Neighbours of an atom that is attacked from behind.
SATURATED = 4


def placed(
    atoms: Atoms, forming: Bonds, breaking: Bonds, bond_factor: float, seed: int = 1
) -> Atoms:
    """One end of a reaction with its molecules moved together, each as a rigid body.

    Atoms between which bonds form are brought to van der Waals distance; the others keep out of
    each other's way. An atom with four neighbours is approached from behind the one that leaves.

    Parameters
    ----------
    atoms
        n atoms of one or more molecules, positions in Å, as far apart as they may be.
    forming, breaking
        Pairs of atoms.
    bond_factor
        Atoms are bonded below this times the sum of their covalent radii.
    seed
        Of the orientations that are tried.
    """
    groups = pieces(atoms, bond_factor)
    positions = atoms.positions.copy()
    random = np.random.default_rng(seed)
    there = list(groups[0])
    left = groups[1:]
    while left:
        # The molecule with most bonds to those that have their places comes next.
        group = max(left, key=lambda one: len(_between(forming, there, one)))
        left.remove(group)
        dock = _Dock(atoms, positions, there, group, forming, breaking, bond_factor)
        positions[group] = dock.best(random)
        there += group
    return with_positions(atoms, positions)


def _between(pairs: Bonds, one: list[int], other: list[int]) -> list[tuple[int, int]]:
    """Pairs with an atom in each, that of `one` first."""
    return [
        (i, j)
        for pair in sorted(pairs)
        for i, j in (pair, pair[::-1])
        if i in set(one) and j in set(other)
    ]


class _Dock:
    """A molecule, `group`, that comes to those which are `there`."""

    def __init__(
        self,
        atoms: Atoms,
        positions: np.ndarray,
        there: list[int],
        group: list[int],
        forming: Bonds,
        breaking: Bonds,
        bond_factor: float,
    ) -> None:
        self.there, self.group = there, group
        self.fixed = positions[there]
        self.middle = positions[group].mean(0)
        self.moving = positions[group] - self.middle
        radii = np.nan_to_num(vdw_radii[atoms.numbers], nan=2.0)
        self.touch = radii[there][:, None] + radii[group][None]
        self.pairs = [(there.index(i), group.index(j)) for i, j in _between(forming, there, group)]
        self.least = OTHERS * self.touch
        for i, j in self.pairs:
            self.least[i, j] = REACTING * self.touch[i, j]
        self.behind = self._behind(bonds(atoms, bond_factor), breaking)

    def _behind(self, present: Bonds, breaking: Bonds) -> list[tuple[bool, int, int, int]]:
        """Of attacks on saturated atoms: is the centre there; attacker, centre, leaver."""
        attacks = []
        for i, j in self.pairs:
            for here, centre in ((True, self.there[i]), (False, self.group[j])):
                if sum(centre in pair for pair in present) < SATURATED:
                    continue
                own = self.there if here else self.group
                for pair in sorted(breaking):
                    others = set(pair) - {centre}
                    if centre in pair and (leaver := others.pop()) in own:
                        place = own.index(leaver)
                        attacks.append((here, j if here else i, i if here else j, place))
        return attacks

    def best(self, random: np.random.Generator) -> np.ndarray:
        """Positions of the group, (m, 3), Å."""
        around = self.fixed.mean(0)
        if self.pairs:
            around = self.fixed[[i for i, _ in self.pairs]].mean(0)
        found = []
        for turn in Rotation.random(STARTS, random):
            outwards = random.standard_normal(3)
            start = around + 6.0 * outwards / np.linalg.norm(outwards)
            begin = np.concatenate([turn.as_rotvec(), start])
            found.append(minimize(self._slope, begin, method="L-BFGS-B", jac=True))
        return self._moved(min(found, key=lambda one: one.fun).x[None])[0]

    def _slope(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The misfit and its derivatives by differences, all in one go."""
        values = self._misfit(self._moved(x + np.vstack([np.zeros(6), STEP * np.eye(6)])))
        return float(values[0]), (values[1:] - values[0]) / STEP

    def _moved(self, x: np.ndarray) -> np.ndarray:
        """Positions of the group (k, m, 3) for turns and places `x`, (k, 6)."""
        turns = Rotation.from_rotvec(x[:, :3]).as_matrix()
        return np.asarray(self.moving @ turns.transpose(0, 2, 1) + x[:, None, 3:])

    def _misfit(self, moved: np.ndarray) -> np.ndarray:
        """How bad places of the group, (k, m, 3), are: (k,), Å²."""
        apart = np.linalg.norm(self.fixed[None, :, None] - moved[:, None], axis=3)
        values = OVERLAP * (np.maximum(self.least - apart, 0) ** 2).sum((1, 2))
        if not self.pairs:  # nothing forms between them: side by side
            return np.asarray(values + np.maximum(0.0, (apart - self.touch).min((1, 2))) ** 2)
        for i, j in self.pairs:
            values += (apart[:, i, j] - self.least[i, j]) ** 2
        for here, attacker, centre, leaver in self.behind:
            fixed = np.broadcast_to(self.fixed, (len(moved), *self.fixed.shape))
            own, other = (fixed, moved) if here else (moved, fixed)
            to, away = other[:, attacker] - own[:, centre], own[:, leaver] - own[:, centre]
            lengths = np.linalg.norm(to, axis=1) * np.linalg.norm(away, axis=1)
            values += BEHIND * (1 + (to * away).sum(1) / lengths)
        return np.asarray(values)
