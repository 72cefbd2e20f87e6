"""The checks of `horm_calc.testing` find what they are there for, in a network from elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor

from horm_calc import testing
from horm_calc.derivatives.hessian import RowByRow, hessian_products, hessians
from horm_calc.derivatives.jets import RULES
from horm_calc.graphs import Molecules, pairs_within
from horm_calc.models import contract
from horm_calc.models.contract import Graph, Network


class Pairs(Network):
    """A potential of pairs, as someone else may write it: with `erf`, for which there is no rule.

    E = Σ q_i q_j exp(-r²/2) (1 + erf(r)) within the cut-off, over ordered pairs; q belongs to the
    element.
    """

    name: ClassVar[str] = "Pairs"
    conservative: ClassVar[bool] = True
    cutoff = 9.0

    def __init__(self) -> None:
        super().__init__()
        self.edge_width = 1
        self.charges_of_elements = torch.nn.Parameter(torch.linspace(0.5, 2.0, 119))
        self.double()

    def prepare(self, molecules: Molecules) -> Graph:
        edges = pairs_within(molecules, self.cutoff)
        return Graph(molecules.numbers, molecules.molecule, molecules.sizes, *edges)

    def pair_energy(self, squared: Any) -> Any:
        return torch.exp(-0.5 * squared) * (1 + torch.erf(squared.sqrt()))

    def energies(self, graph: Graph, positions: Any) -> Any:
        vector = positions[graph.source] - positions[graph.target]
        charge = self.charges_of_elements[graph.numbers]
        pair = self.pair_energy((vector * vector).sum(1)) * charge[graph.source]
        pair = pair * charge[graph.target]
        zero = torch.zeros(len(graph.sizes), dtype=torch.float64)
        return torch.index_add(zero, 0, graph.molecule[graph.target], pair)

    def forward(self, graph: Graph, positions: Any) -> tuple[Any, Any]:
        return self.energies(graph, positions), None

    # What files need; here there are none.
    from_shapes = fresh = classmethod(lambda cls, *_: cls())  # type: ignore[assignment]


class WithRules(Pairs):
    name: ClassVar[str] = "WithRules"

    def pair_energy(self, squared: Any) -> Any:
        return torch.exp(-0.5 * squared) * (1 + torch.tanh(squared.sqrt()))


class Direct(Pairs):
    """Forces of its own, along the pairs, and not quite the slope of its energy."""

    name: ClassVar[str] = "Direct"
    conservative: ClassVar[bool] = False

    def forward(self, graph: Graph, positions: Any) -> tuple[Any, Any]:
        vector = positions[graph.source] - positions[graph.target]
        squared = (vector * vector).sum(1)
        push = -vector * self.pair_energy(squared).unsqueeze(1)
        zero = torch.zeros(len(graph.numbers), 3, dtype=torch.float64)
        return self.energies(graph, positions), torch.index_add(zero, 0, graph.target, push)


def crooked() -> Atoms:
    return testing.sample(Pairs())


def batch_of(*molecules: Atoms) -> Molecules:
    return Molecules.from_atoms(molecules)


@pytest.mark.filterwarnings("ignore::horm_calc.derivatives.hessian.RowByRow")
@pytest.mark.parametrize("kind", [Pairs, WithRules, Direct])
def test_a_sound_network_passes(kind: type[Pairs]) -> None:
    testing.assert_contract(kind())
    testing.assert_separation(kind())


# --- without rules ---


def test_without_a_rule_it_goes_row_by_row_and_says_so_once() -> None:
    network = Pairs()
    with pytest.warns(RowByRow, match=r"Pairs are computed row by row.*no rule for 'erf'"):
        found = hessians(network, batch_of(crooked(), crooked(), Atoms("O")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [again] = hessians(network, batch_of(crooked()))
        hessians(WithRules(), batch_of(crooked()))
    assert found[0].equal(found[1]) and found[0].equal(again)
    assert found[2].equal(torch.zeros(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("kind", [Pairs, Direct])
def test_products_without_a_rule_are_those_of_the_matrix(kind: type[Pairs]) -> None:
    network, atoms = kind(), crooked()
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((2, len(atoms), 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RowByRow)
        products = hessian_products(network, batch_of(atoms), vectors)
        [matrix] = hessians(network, batch_of(atoms))
    expected = vectors.reshape(2, -1) @ (0.5 * (matrix + matrix.T))
    # The same sums in another order.
    torch.testing.assert_close(products.reshape(2, -1), expected, rtol=0, atol=1e-10)


class Assigns(WithRules):
    """What takes tensors alone raises `TypeError`, not `NoRule`."""

    name: ClassVar[str] = "Assigns"

    def pair_energy(self, squared: Any) -> Any:
        squared = squared * 1.0
        squared[:1] = squared[:1] * 1.0
        return super().pair_energy(squared)


class Wrong(Pairs):
    name: ClassVar[str] = "Wrong"

    def pair_energy(self, squared: Any) -> Any:
        raise TypeError("a bug of the network's own")


def test_assignments_go_row_by_row_too() -> None:
    with pytest.warns(RowByRow, match="item assignment"):
        [found] = hessians(Assigns(), batch_of(crooked()))
    [expected] = hessians(WithRules(), batch_of(crooked()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_bug_stays_one() -> None:
    with pytest.raises(TypeError, match="a bug of the network's own"):
        hessians(Wrong(), batch_of(crooked()))


def test_the_contract_lists_the_rules_that_there_are() -> None:
    listed = " ".join(
        line for line in str(contract.__doc__).splitlines() if line.startswith("    ")
    )
    assert set(listed.split()) == set(RULES)


# --- faults ---


class Faulty(WithRules):
    """Sound but for what `fault` does to energies."""

    def __init__(self, fault: Callable[[Graph, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, graph: Graph, positions: Any) -> tuple[Any, Any]:
        return self.fault(graph, positions, self.energies(graph, positions)), None


def _of_molecules(graph: Graph, values: Any) -> Any:
    zero = torch.zeros(len(graph.sizes), dtype=torch.float64)
    return torch.index_add(zero, 0, graph.molecule, values)


def _draws(graph: Graph, positions: Tensor, energies: Tensor) -> Tensor:
    torch.rand(1)
    return energies


FAULTS: dict[str, tuple[str, Callable[[Graph, Any, Any], Any]]] = {
    "a place in space": (
        "translation",
        lambda graph, positions, energies: energies + _of_molecules(graph, positions[:, 0]),
    ),
    "an axis": (
        "rotation",
        lambda graph, positions, energies: (
            energies + _of_molecules(graph, (positions - positions.mean(0))[:, 0] ** 2)
        ),
    ),
    "the first atom": (
        "permutation",
        lambda graph, positions, energies: (
            energies + ((positions[0] - positions[1:]) ** 2).sum() * graph.numbers[0]
        ),
    ),
    "its neighbours in the batch": (
        "batching",
        lambda graph, positions, energies: energies / len(graph.sizes),
    ),
    "energies of two molecules together": (
        "separation",
        lambda graph, positions, energies: energies * energies,
    ),
    "chance": ("repeatable", _draws),
    "slopes that are held fixed": (
        "slopes",
        lambda graph, positions, energies: (
            energies + WithRules().energies(graph, positions.detach())
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str) -> None:
    check, does = FAULTS[fault]
    checks = testing.CHECKS | {"separation": testing.assert_separation}
    with pytest.raises(AssertionError):
        checks[check](Faulty(does))


def test_a_wrong_hessian_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    [right] = hessians(WithRules(), batch_of(crooked()))
    monkeypatch.setattr(testing, "hessians", lambda *_: [1.0001 * right])
    for check in (testing.assert_hessian, testing.assert_one_sweep):
        with pytest.raises(AssertionError):
            check(WithRules())
