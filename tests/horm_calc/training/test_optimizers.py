"""Which parameters Muon trains, and that two optimisers are one to who uses them."""

from __future__ import annotations

import copy

import pytest
import torch

from benchmarks.overfit import SMALL
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.training.optimizers import Combined, PreciseMuon, optimizer_of
from horm_calc.training.settings import OptimizerSettings

MUON = OptimizerSettings(name="muon", learning_rate=0.01, weight_decay=0.0)


def small() -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 4), torch.nn.Linear(4, 3), torch.nn.Linear(3, 1)
    return torch.nn.Sequential(torch.nn.Embedding(2, 4), *layers)


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network(torch.tensor([0, 1])).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_trained_by_one_of_both(name: str) -> None:
    """And Muon has weights of linear layers only: singular values of others mean nothing."""
    network = network_class(name).fresh(SMALL[name])
    optimizer = optimizer_of(network, MUON)
    assert isinstance(optimizer, Combined)
    muon, adam = (
        {id(p) for g in part.param_groups for p in g["params"]} for part in optimizer.parts
    )
    assert not muon & adam
    assert muon | adam == {id(parameter) for parameter in network.parameters()}
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    assert muon == {id(layer.weight) for layer in linear if min(layer.weight.shape) > 1}


def test_matrices_are_what_muon_trains() -> None:
    network = network_class("MomentNet").fresh({"layers": 2, "channels": 16, "heads": 4})
    optimizer = optimizer_of(network, MUON)
    assert isinstance(optimizer, Combined)
    muon, adam = optimizer.parts
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    of_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    of_adam = {names[id(p)] for group in adam.param_groups for p in group["params"]}
    assert of_muon.isdisjoint(of_adam)
    assert of_muon | of_adam == set(names.values())
    assert {"layers.0.of_scalars.weight", "filters.weight", "inner.weight"} <= of_muon
    # A table of elements, the row that gives the energy, biases.
    assert {"species.weight", "outer.weight", "shift", "layers.0.inner.bias"} <= of_adam


def test_a_step_of_muon_has_no_preferred_direction() -> None:
    """All singular values of its step are alike, those of the gradient are not: to within the
    range in which five Newton-Schulz iterations leave them (0.7 to 1.2; arXiv:2502.16982)."""
    weight = torch.nn.Parameter(torch.zeros(4, 6))
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    weight.grad = torch.diag(torch.tensor([1.0, 0.3, 0.1, 0.03])) @ rotation[:4]
    PreciseMuon([weight], 0.01, 0.0).step()
    of_step = torch.linalg.svdvals(weight.detach()) / (0.01 * 0.2 * 6**0.5)
    assert 0.68 < of_step[-1] <= of_step[0] < 1.2


@pytest.mark.parametrize("shape", [(24, 10), (10, 24)])
def test_steps_are_those_of_pytorch_in_more_digits(shape: tuple[int, int]) -> None:
    """PyTorch's in bfloat16, of three digits: its five iterations move single elements by up to
    a tenth of a step, and the whole by less than 3%."""
    generator = torch.Generator().manual_seed(1)
    ours, theirs = (torch.nn.Parameter(torch.zeros(shape)) for _ in range(2))
    precise = PreciseMuon([ours], 0.01, 0.1)
    pytorch = torch.optim.Muon([theirs], 0.01, 0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(shape, generator=generator)
        theirs.grad = ours.grad.clone()
        precise.step()
        pytorch.step()
    assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_the_learning_rate_reaches_both() -> None:
    network = small()
    optimizer = optimizer_of(network, MUON)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    step(network, optimizer)
    schedule.step()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    step(network, optimizer)
    assert all(map(torch.equal, before, network.parameters()))


def test_states_are_kept_and_put_back() -> None:
    first, second = small(), small()
    ahead, behind = optimizer_of(first, MUON), optimizer_of(second, MUON)
    for _ in range(3):
        step(first, ahead)
    second.load_state_dict(first.state_dict())
    behind.load_state_dict(copy.deepcopy(ahead.state_dict()))
    for group in behind.param_groups:
        group["lr"] = 0.02
    for group in ahead.param_groups:
        group["lr"] = 0.02
    step(first, ahead)
    step(second, behind)
    assert all(map(torch.equal, first.parameters(), second.parameters()))


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_what_is_frozen_stays(name: str) -> None:
    network = small()
    for layer in (0, 1, 3):
        network[layer].requires_grad_(False)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    step(network, optimizer_of(network, OptimizerSettings(name=name)))
    moved = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert moved == [False, False, False, True, True, False, False]
