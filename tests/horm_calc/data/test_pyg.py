"""PyTorch Geometric: its data for our networks, our data for its networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from numpy.testing import assert_allclose, assert_array_equal
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import SchNet

from horm_calc import HormCalculator
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import DataError
from horm_calc.data.pyg import FrameDataset, RadiusGraph, to_molecules
from horm_calc.graphs import Molecules, pairs_within
from horm_calc.input_checks import UnsupportedInput
from horm_calc.training.atomic_energies import fit_references
from tests.horm_calc.data import test_lmdb
from tests.horm_calc.data.labelled import frames
from tests.horm_calc.data.test_lmdb import record
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import made, write

FORMULAS = ("CH3OH", "H2O", "HCN")
#: In the order of the file, which is that of the reactions' names.
FRAMES = sorted(frames(), key=lambda frame: frame.reaction)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of four molecules, half of them with Hessians."""
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    write_hdf5(path, frames(), "Morse")
    return path


@pytest.fixture(scope="module")
def calculator(tmp_path_factory: pytest.TempPathFactory) -> HormCalculator:
    path = write(tmp_path_factory.mktemp("network"), "MomentNet")
    return HormCalculator(path, device="cpu", dtype="float64")


def data_of(atoms: Atoms, name: str = "z", **more: Any) -> Data:
    numbers, positions = torch.as_tensor(atoms.numbers), torch.as_tensor(atoms.positions)
    return Data(pos=positions, **{name: numbers.long()}, **more)


# --- their data for our networks ---


@pytest.mark.parametrize("name", ["z", "atomic_numbers"])
def test_data_is_a_molecule(calculator: HormCalculator, name: str) -> None:
    molecules = [crooked(formula) for formula in FORMULAS]
    data = [data_of(atoms, name) for atoms in molecules]
    expected = calculator.evaluate(molecules)
    joined = Batch.from_data_list(data)
    plain = Data(**{name: joined[name], "pos": joined.pos, "batch": joined.batch})
    for given in (data, joined, plain, [joined], [molecules[0], *data[1:]]):
        found = calculator.evaluate(given)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            for key in ("energy", "forces", "hessian"):
                assert_array_equal(one[key], other[key])
    [single] = calculator.evaluate(data[0])
    assert single["energy"] == expected[0]["energy"]


def test_the_potential_takes_it_too(calculator: HormCalculator) -> None:
    atoms = crooked()
    potential = calculator.potential
    [(energy, forces)] = potential.energies_and_forces(data_of(atoms))
    [(expected, same)] = potential.energies_and_forces([atoms])
    assert energy == expected
    assert_array_equal(forces, same)
    [found], [matrix] = potential.hessians(data_of(atoms)), potential.hessians([atoms])
    assert_array_equal(found, matrix)


def test_what_the_network_does_not_know_is_refused(calculator: HormCalculator) -> None:
    water = crooked("H2O")
    refused = [
        (data_of(molecule("CH3Cl")), "not Cl"),
        (data_of(water, charge=torch.tensor([1])), "charged"),
        (data_of(water, charge=-1), "charged"),
        (data_of(water, spin=3), "unpaired electrons"),
        (data_of(water, pbc=torch.tensor([[True, True, True]])), "periodic"),
    ]
    for data, words in refused:
        with pytest.raises(UnsupportedInput, match=words):
            calculator.evaluate([data])
    batch = Batch.from_data_list([data_of(water, charge=torch.tensor([q])) for q in (0, 1)])
    with pytest.raises(UnsupportedInput, match=r"molecule 1: .*charged"):
        calculator.evaluate(batch)
    with pytest.raises(UnsupportedInput, match="not Cl"):
        calculator.potential.energies_and_forces(data_of(molecule("CH3Cl")))


def test_what_is_no_molecule_is_refused(calculator: HormCalculator) -> None:
    with pytest.raises(TypeError, match="z or atomic_numbers"):
        calculator.evaluate(Data(pos=torch.zeros(2, 3)))
    with pytest.raises(TypeError, match="an Atoms or a Data, not str"):
        calculator.evaluate(["H2O"])  # type: ignore[list-item]


# --- our data for their networks ---


def test_items_are_the_frames(file: Path) -> None:
    dataset = FrameDataset(file, dtype=torch.float64)
    assert (len(dataset), dataset.level_of_theory) == (16, "Morse")
    for item, frame in zip(dataset, FRAMES, strict=True):
        assert set(item.keys()) == {"z", "pos", "energy", "forces", "reaction"}
        assert_array_equal(item.z, frame.numbers)
        assert_array_equal(item.pos, frame.positions)
        assert item.energy.item() == frame.energy
        assert item.energy.dtype == torch.float64
        assert_array_equal(item.forces, frame.forces)
        assert item.reaction == frame.reaction
    assert FrameDataset(file)[0].pos.dtype == torch.float32


def test_hessians_and_references(file: Path) -> None:
    references = {1: -10.0, 6: -50.0, 7: -70.0, 8: -100.0}
    dataset = FrameDataset(file, hessians=True, references=references, dtype=torch.float64)
    with_second = [frame for frame in FRAMES if frame.has_second_derivatives]
    assert len(dataset) == len(with_second) == 8
    for item, frame in zip(dataset, with_second, strict=True):
        size = 3 * len(frame.numbers)
        # Files keep Hessians in single precision.
        assert_allclose(item.hessian.view(size, size), frame.hessian, rtol=1e-6, atol=1e-5)
        atoms = sum(references[int(number)] for number in frame.numbers)
        assert item.energy.item() == pytest.approx(frame.energy - atoms, abs=1e-12)
    [batch] = DataLoader(dataset, batch_size=8)
    assert batch.num_graphs == 8
    assert len(batch.hessian) == sum(9 * len(frame.numbers) ** 2 for frame in with_second)


def test_without_hessians_they_cannot_be_wanted(tmp_path: Path) -> None:
    plain = [frame for frame in frames() if not frame.has_second_derivatives]
    write_hdf5(tmp_path / "plain.h5", plain, "Morse")
    with pytest.raises(DataError, match="no frame has a Hessian"):
        FrameDataset(tmp_path / "plain.h5", hessians=True)


def test_a_file_of_horm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    records = [test_lmdb.pickled("Data", record(seed)) for seed in range(3)]
    dataset = FrameDataset(test_lmdb.write(tmp_path / "x.lmdb", records), hessians=True)
    assert len(dataset) == 3
    [batch] = DataLoader(dataset, batch_size=3)
    assert batch.z.tolist() == [8, 1, 1] * 3
    for seed, item in enumerate(batch.to_data_list()):
        assert_allclose(item.pos, record(seed)["pos"], rtol=0, atol=1e-6)
        assert_allclose(item.forces, record(seed)["forces"], rtol=0, atol=1e-6)


def test_edges_for_their_networks() -> None:
    molecules = [crooked(formula) for formula in FORMULAS]
    batch = Batch.from_data_list([data_of(atoms) for atoms in molecules])
    edges, lengths = RadiusGraph(1.5)(batch.pos, batch.batch)
    target, source = pairs_within(Molecules.from_atoms(molecules), 1.5)
    assert edges.tolist() == [source.tolist(), target.tolist()]
    assert 0 < len(target) < len(pairs_within(Molecules.from_atoms(molecules), 10.0)[0])
    assert_allclose(lengths, (batch.pos[source] - batch.pos[target]).norm(dim=1), rtol=1e-12)


def test_a_network_of_theirs_learns_from_our_frames(file: Path) -> None:
    references = fit_references(FrameDataset(file).frames)
    dataset = FrameDataset(file, references=references)
    torch.manual_seed(0)
    network = SchNet(16, 16, num_interactions=2, interaction_graph=RadiusGraph(6.0))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(15):
        for batch in DataLoader(dataset, batch_size=8, shuffle=True):
            batch.pos.requires_grad_()
            energy = network(batch.z, batch.pos, batch.batch).squeeze(1)
            [slope] = torch.autograd.grad(energy.sum(), batch.pos, create_graph=True)
            loss = (energy - batch.energy.float()).square().mean()
            loss = loss + (slope + batch.forces).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])


def test_a_network_of_ours_takes_their_batches(file: Path) -> None:
    """With gradients through the positions, as training needs them."""
    network = made("MomentNet").float().requires_grad_(True)
    [batch] = DataLoader(FrameDataset(file), batch_size=16)
    batch.pos.requires_grad_()
    molecules = to_molecules(batch)
    assert molecules.sizes == tuple(len(frame.numbers) for frame in FRAMES)
    energies, _ = network(network.prepare(molecules), molecules.positions)
    [slope] = torch.autograd.grad(energies.sum(), batch.pos, create_graph=True)
    (slope + batch.forces).square().mean().backward()
    untouched = {name for name, p in network.named_parameters() if p.grad is None}
    assert untouched == {"shift", "outer.bias"}  # constants of the energy
