"""Networks to be trained: made of a configuration, with random parameters."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import torch

from horm_calc.configuration import SettingsError
from horm_calc.derivatives.hessian import energies_and_forces, hessians
from horm_calc.graphs import Molecules
from horm_calc.models.contract import Network
from horm_calc.models.registry import network_class
from tests.horm_calc.models.published import NAMES, PUBLISHED, config, shapes
from tests.horm_calc.molecules import crooked

all_networks = pytest.mark.parametrize("name", NAMES)

LEFTNET = {"num_layers": 2, "hidden_channels": 8, "num_radial": 6, "in_hidden_channels": 5}
#: Small, and other than the published value in every setting.
SMALL: dict[str, dict[str, Any]] = {
    "LEFTNet": LEFTNET,
    "LEFTNet-df": LEFTNET,
    "AlphaNet": {
        **{"num_layers": 2, "hidden_channels": 12, "num_radial": 7, "head": 2, "main_chi1": 4},
        **{"mp_chi1": 6, "chi2": 3, "hidden_channels_chi": 12},
        **{"cutoff": 4.5, "eps": 1e-5, "a": 0.5, "b": -1},
    },
    "EquiformerV2": {
        **{"max_num_elements": 10, "num_layers": 2, "sphere_channels": 12, "lmax": 3, "mmax": 1},
        **{"num_heads": 3, "attn_alpha_channels": 7, "attn_value_channels": 5},
        **{"attn_hidden_channels": 6, "ffn_hidden_channels": 11, "edge_channels": 9},
        **{"num_gaussians": 50},
    },
    "MomentNet": {
        **{"layers": 2, "channels": 12, "heads": 3, "radial": 7, "hidden": 9, "cutoff": 4.5},
    },
}


def fresh(name: str, settings: dict[str, Any], seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return network_class(name).fresh(settings)


def shapes_of(network: Network) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def choosable(kind: type[Network]) -> set[str]:
    """The numbers that can be more than one; two networks have their cut-off for good."""
    fixed = {"cutoff", "max_radius"} if kind.Settings.says_more else set()
    specs = dataclasses.fields(kind.Settings)
    numbers = [spec for spec in specs if not isinstance(spec.default, bool)]
    return {spec.name for spec in numbers if not spec.metadata["choices"]} - fixed


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_the_default(name):
    expected = shapes(name, buffers=False)
    assert shapes_of(fresh(name, config(name))) == expected
    assert shapes_of(fresh(name, {})) == expected


@all_networks
def test_every_setting_is_heeded_and_shows_in_a_checkpoint(name):
    kind, settings = network_class(name), json.loads(json.dumps({"name": name, **SMALL[name]}))
    assert SMALL[name].keys() == choosable(kind)
    new = fresh(name, settings)
    again = kind.from_shapes(shapes_of(new), settings)
    assert shapes_of(again) == shapes_of(new)
    assert (again.cutoff, again.edge_width) == (new.cutoff, new.edge_width)
    for key in choosable(kind) - {"cutoff", "eps", "a", "b"}:
        doubled = settings | {key: 2 * settings[key]}
        assert shapes_of(fresh(name, doubled)) != shapes_of(new), key


def test_alphanet_takes_what_shapes_do_not_show():
    new = fresh("AlphaNet", SMALL["AlphaNet"])
    assert (new.cutoff, new.eps) == (4.5, 1e-5)
    assert new.a.unique().tolist() == [0.5]
    assert new.b.unique().tolist() == [-1.0]
    assert fresh("AlphaNet", {}).a.unique().tolist() == pytest.approx([0.35])


@all_networks
def test_parameters_follow_from_the_seed(name):
    """Twice the same, so none is what its memory held before."""
    first, second, other = (fresh(name, SMALL[name], seed).state_dict() for seed in (0, 0, 1))
    assert all(first[key].equal(second[key]) for key in first)
    assert any(not first[key].equal(other[key]) for key in first)
    assert all(value.isfinite().all() for value in first.values())


@all_networks
def test_gives_finite_results_that_depend_on_the_seed(name):
    molecules = Molecules.from_atoms([crooked()], torch.float32)
    energies = []
    for seed in range(2):
        network = fresh(name, SMALL[name], seed).requires_grad_(False).eval()
        energy, forces = energies_and_forces(network, molecules)
        [hessian] = hessians(network, molecules)
        for result in (energy, forces, hessian):
            assert result.isfinite().all()
            assert (result != 0).any()
        energies.append(energy.item())
    assert abs(energies[0] - energies[1]) > 1e-4


@all_networks
def test_every_parameter_that_is_read_learns(name):
    network = fresh(name, SMALL[name])
    molecules = Molecules.from_atoms([crooked()], torch.float32)
    positions = molecules.positions.requires_grad_()
    energies, forces = network(network.prepare(molecules), positions)
    if forces is None:
        [forces] = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    (energies.sum() + forces.square().sum()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert len(gradients) > 0.8 * len(list(network.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("LEFTNet", {"hidden_chanels": 8}, "'hidden_chanels'; did you mean 'hidden_channels'"),
        ("LEFTNet", {"name": "AlphaNet"}, "is of AlphaNet"),
        ("LEFTNet", {"hidden_channels": "8"}, "needs a whole number, not '8'"),
        ("LEFTNet", {"hidden_channels": 8.0}, "needs a whole number, not 8.0"),
        ("LEFTNet", {"num_layers": 0}, "'num_layers' is 0; it must be above 0"),
        ("LEFTNet", {"num_layers": 10**6}, "'num_layers' is 1000000; it must be at most 100"),
        ("LEFTNet", {"num_layers": True}, "needs a whole number, not True"),
        ("LEFTNet", {"cutoff": 5.0}, "'cutoff' is 5; this network has 10 and no other"),
        ("LEFTNet", {"update": False}, "'update' is False; it can be True"),
        ("AlphaNet", {"cutoff": "five"}, "'cutoff' needs a number, not 'five'"),
        ("AlphaNet", {"a": float("nan")}, "'a' is nan; it must be finite"),
        ("AlphaNet", {"readout": "mean"}, "'readout' is 'mean'; it can be sum"),
        ("AlphaNet", {"hidden_channels": 129}, "must make pairs"),
        ("AlphaNet", {"head": 7}, "'head' is 7; it must divide"),
        ("EquiformerV2", {"max_neighbors": 20}, "unknown setting 'max_neighbors'"),
        ("EquiformerV2", {"max_radius": 6.0}, "is 6; this network has 12 and no other"),
        ("EquiformerV2", {"lmax": 1}, "'mmax' is 2; it must be at most lmax, 1"),
        ("EquiformerV2", {"lmax": 9}, "'lmax' is 9; it must be at most 8"),
        ("MomentNet", {"channels": 10, "heads": 4}, "must be a multiple of heads, 4"),
        ("MomentNet", {"channels": 2**40}, "it must be at most"),
        ("MomentNet", {"cutoff": -1}, "'cutoff' is -1; it must be at least 1"),
    ],
)
def test_what_is_no_setting_is_refused(name, wrong, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        fresh(name, wrong)
