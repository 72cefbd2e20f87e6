"""Analytic surfaces as ASE calculators, with what is known about them."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from workflows.records import Reaction
from workflows.settings import from_mapping


class MullerBrown(Calculator):
    """The Müller-Brown surface (Theor. Chim. Acta 1979, 53, 75) for one atom in the xy plane.

    Energies are scaled by 0.02 eV, lengths are in Å; a spring of 10 eV/Å² holds z at 0.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE
    SCALE, SPRING = 0.02, 10.0
    A = np.array([-200.0, -100.0, -170.0, 15.0])
    a = np.array([-1.0, -1.0, -6.5, 0.7])
    b = np.array([0.0, 0.0, 11.0, 0.6])
    c = np.array([-10.0, -10.0, -6.5, 0.7])
    X = np.array([1.0, 0.0, -0.5, -1.0])
    Y = np.array([0.0, 0.5, 1.5, 1.0])

    def _terms(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dx, dy = position[0] - self.X, position[1] - self.Y
        value = self.A * np.exp(self.a * dx**2 + self.b * dx * dy + self.c * dy**2) * self.SCALE
        return value, 2 * self.a * dx + self.b * dy, self.b * dx + 2 * self.c * dy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        position = self.atoms.positions[0]
        value, gx, gy = self._terms(position)
        gradient = [np.sum(value * gx), np.sum(value * gy), self.SPRING * position[2]]
        self.results = {
            "energy": value.sum() + 0.5 * self.SPRING * position[2] ** 2,
            "forces": -np.array([gradient]),
        }

    def exact_hessian(self, atoms: Atoms) -> np.ndarray:
        value, gx, gy = self._terms(atoms.positions[0])
        hessian = np.zeros((3, 3))
        hessian[0, 0] = np.sum(value * (gx * gx + 2 * self.a))
        hessian[1, 1] = np.sum(value * (gy * gy + 2 * self.c))
        hessian[0, 1] = hessian[1, 0] = np.sum(value * (gx * gy + self.b))
        hessian[2, 2] = self.SPRING
        return hessian


class LEPS(Calculator):
    """London-Eyring-Polanyi-Sato surface of three hydrogen atoms, eV and Å.

    Parameters as in the exercise of Jónsson, Mills and Jacobsen (in: Classical and Quantum
    Dynamics in Condensed Phase Simulations, 1998, p. 385), here the same for all pairs.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE
    SATO, DEPTH, ALPHA, R0 = 0.05, 4.746, 1.942, 0.742
    PAIRS = ((0, 1), (1, 2), (0, 2))

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        vectors = np.array(
            [self.atoms.positions[j] - self.atoms.positions[i] for i, j in self.PAIRS]
        )
        distances = np.linalg.norm(vectors, axis=1)
        once = np.exp(-self.ALPHA * (distances - self.R0))
        coulomb = 0.5 * self.DEPTH * (1.5 * once**2 - once)
        exchange = 0.25 * self.DEPTH * (once**2 - 6 * once)
        d_coulomb = 0.5 * self.DEPTH * -self.ALPHA * (3 * once**2 - once)
        d_exchange = 0.25 * self.DEPTH * -self.ALPHA * (2 * once**2 - 6 * once)
        differences = exchange - np.roll(exchange, -1)
        root = np.sqrt(0.5 * np.sum(differences**2))
        d_root = 0.5 * (differences - np.roll(differences, 1)) / root
        slopes = (d_coulomb - d_root * d_exchange) / (1 + self.SATO)
        forces = np.zeros((3, 3))
        for (i, j), slope, vector, distance in zip(
            self.PAIRS, slopes, vectors, distances, strict=True
        ):
            forces[i] += slope * vector / distance
            forces[j] -= slope * vector / distance
        self.results = {"energy": (coulomb.sum() - root) / (1 + self.SATO), "forces": forces}


#: H + H2 on an analytic surface: a search takes less than a second.
EXCHANGE = Reaction(
    "exchange",
    Atoms("HHH", [[-2.2, 0, 0], [0, 0, 0], [0.74, 0, 0]]),
    Atoms("HHH", [[-0.74, 0, 0], [0, 0, 0], [2.2, 0, 0]]),
    multiplicity=2,
)

#: The least of a search.
QUICK = from_mapping({"path": {"method": "geodesic"}, "attempts": 1, "lower_path": {"steps": 0}})


class Relay(Calculator):
    """A hydrogen atom above three carbon atoms, which lie below the minima of Müller-Brown.

    Its place in the frame of the carbon atoms, divided by `STRETCH`, is that on the surface; a
    spring holds it 1 Å above them, and springs hold their distances. So the bond of the hydrogen
    says which minimum it is in.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE
    STRETCH = 3.0
    #: Minima and saddles on the way from the first carbon atom to the last, to three digits (Å).
    MINIMA = np.array([[-0.558, 1.442], [-0.050, 0.467], [0.623, 0.028]])
    #: Energies of the two saddles between them and of the minima, in units of `MullerBrown.SCALE`.
    SADDLES, DEPTHS = (-40.665, -72.249), (-146.700, -80.768, -108.167)

    @classmethod
    def atoms(cls, minimum: int) -> Atoms:
        """The hydrogen atom in a minimum."""
        carbons = np.column_stack([cls.STRETCH * cls.MINIMA, np.zeros(3)])
        return Atoms("C3H", [*carbons, carbons[minimum] + [0, 0, 1]])

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        places = torch.tensor(self.atoms.positions, requires_grad=True)
        energy = self._energy(places)
        energy.backward()
        self.results = {"energy": energy.item(), "forces": -places.grad.numpy()}

    def _energy(self, places: torch.Tensor) -> torch.Tensor:
        flat = torch.tensor(self.STRETCH * self.MINIMA)
        held = sum(
            (torch.norm(places[i] - places[j]) - torch.norm(flat[i] - flat[j])) ** 2
            for i, j in ((0, 1), (1, 2), (0, 2))
        )
        middle, far = places[1] - places[0], places[2] - places[0]
        x_axis = middle / torch.norm(middle)
        z_axis = torch.linalg.cross(middle, far)
        z_axis = z_axis / torch.norm(z_axis)
        y_axis = torch.linalg.cross(z_axis, x_axis)
        along = (flat[1] - flat[0]) / torch.norm(flat[1] - flat[0])
        # The frame as it is for flat places: x along the first two carbon atoms, z from the plane.
        sign = torch.sign(along[0] * (flat[2] - flat[0])[1] - along[1] * (flat[2] - flat[0])[0])
        arm = places[3] - places[0]
        u, v, height = arm @ x_axis, sign * (arm @ y_axis), sign * (arm @ z_axis)
        x = (flat[0, 0] + u * along[0] - v * along[1]) / self.STRETCH
        y = (flat[0, 1] + u * along[1] + v * along[0]) / self.STRETCH
        terms = (
            A * torch.exp(a * (x - X) ** 2 + b * (x - X) * (y - Y) + c * (y - Y) ** 2)
            for A, a, b, c, X, Y in zip(
                MullerBrown.A,
                MullerBrown.a,
                MullerBrown.b,
                MullerBrown.c,
                MullerBrown.X,
                MullerBrown.Y,
                strict=True,
            )
        )
        return MullerBrown.SCALE * sum(terms) + 5.0 * (height - 1) ** 2 + 5.0 * held
