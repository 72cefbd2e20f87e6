"""Elements belong to a checkpoint: a network knows those that its training showed it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule

from horm_calc import HormCalculator
from horm_calc.checkpoints.files import read, save
from horm_calc.checkpoints.torch_archive import CheckpointError
from horm_calc.commands.train import main
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame
from horm_calc.input_checks import UnsupportedInput
from horm_calc.models.registry import NETWORKS, network_class
from horm_calc.xtb import XTB
from tests.horm_calc.data.labelled import TINY
from tests.horm_calc.small_networks import small

FORMULAS = ("SH2", "CH3Cl", "CH3SH", "CH4")


def labelled(formula: str, seed: int) -> Frame:
    """A rattled molecule with GFN2-xTB's energy and forces."""
    atoms: Atoms = molecule(formula)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = XTB(method="GFN2-xTB", verbosity=0)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    return Frame(atoms.numbers, atoms.positions, energy, forces, reaction=f"{formula} {seed}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny network that `horm-train` trained on H, C, S and Cl."""
    folder = tmp_path_factory.mktemp("sulphur")
    frames = [labelled(formula, seed) for formula in FORMULAS for seed in range(4)]
    write_hdf5(folder / "train.h5", frames[2:], "GFN2-xTB")
    write_hdf5(folder / "held.h5", frames[:2], "GFN2-xTB")
    data = {"train": [str(folder / "train.h5")], "validation": [str(folder / "held.h5")]}
    values = {
        "data": data | {"batch_size": 4},
        "network": {"config": TINY},
        "loss": {"probe": "none"},
        "optimizer": {"learning_rate": 0.01, "ema_decay": 0.9},
        "run": {"steps": 60, "validate_every": 30, "accelerator": "cpu", "threads": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    assert main([str(folder / "config.yaml"), "--out", str(folder / "out")]) == 0
    return folder / "out" / "best.ckpt"


def test_what_was_trained_on_is_what_is_known(trained: Path) -> None:
    calculator = HormCalculator(trained, device="cpu", dtype="float64")
    assert calculator.elements == (1, 6, 16, 17)
    assert calculator.charges == (0,)
    assert calculator.multiplicities == (1,)
    assert calculator.level_of_theory == "GFN2-xTB"
    assert calculator.capabilities.elements == {1, 6, 16, 17}
    assert calculator.device == torch.device("cpu")
    assert calculator.potential.network.elements == calculator.elements
    atoms = molecule("CH3Cl")
    atoms.rattle(0.05, seed=9)
    [found] = calculator.evaluate([atoms])
    truth = labelled("CH3Cl", 9)
    # 60 steps bring 1.4 eV/Å to a fraction; untrained, energies are off by more than 1 eV.
    assert abs(found["energy"] - truth.energy) < 0.5
    assert np.isfinite(found["hessian"]).all()


def test_other_elements_are_refused_by_name(trained: Path) -> None:
    calculator = HormCalculator(trained, device="cpu")
    bromide = molecule("CH3Cl")
    bromide.symbols[1] = "Br"
    bromide.symbols[bromide.symbols == "Cl"] = "Br"
    with pytest.raises(UnsupportedInput, match="knows H, C, S and Cl, not Br"):
        calculator.get_potential_energy(bromide)
    with pytest.raises(UnsupportedInput, match="knows H, C, S and Cl, not O"):
        calculator.get_potential_energy(molecule("H2O"))


def test_charges_and_open_shells_are_refused(trained: Path) -> None:
    calculator = HormCalculator(trained, device="cpu")
    for charge, spin, words in ((1, 2, "charged"), (0, 3, "unpaired electrons")):
        atoms = molecule("SH2")
        atoms.info |= {"charge": charge, "spin": spin}
        with pytest.raises(UnsupportedInput, match=words):
            calculator.get_potential_energy(atoms)


def test_a_checkpoint_without_the_record_is_one_of_h_c_n_o() -> None:
    calculator = HormCalculator("horm-mini", device="cpu")
    assert calculator.elements == (1, 6, 7, 8)
    with pytest.raises(UnsupportedInput, match="knows H, C, N and O, not Cl"):
        calculator.get_potential_energy(molecule("CH3Cl"))


ENERGIES = {"H": -10.0, "C": -50.0, "N": -70.0, "O": -100.0}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"elements": "HCNO"}, "'elements' is 'HCNO'; it must list symbols"),
        ({"elements": []}, "it must list symbols"),
        ({"elements": ["H", "Xx"]}, "it must list symbols"),
        ({"elements": ["H", "C", "H"]}, "each once"),
        ({"elements": ["H", "C", "S", "O"]}, "an energy for each element"),
        ({"charges": [0, 1]}, r"'charges' is \[0, 1\]; networks here know \[0\] alone"),
        ({"multiplicities": [2]}, r"networks here know \[1\] alone"),
        ({"references": ENERGIES | {"H": "much"}}, "'references.H' is 'much'"),
        ({"references": ENERGIES | {"H": float("nan")}}, "'references.H' is nan"),
        ({"elements": ["H", "C", "N"]}, "4.* instead of .*3"),
    ],
)
def test_records_that_cannot_be_are_refused(tmp_path: Path, metadata, words) -> None:
    path = tmp_path / "claims.safetensors"
    save(
        path,
        small("MomentNet").state_dict(),
        {"name": "MomentNet"},
        {"references": ENERGIES} | metadata,
    )
    with pytest.raises(CheckpointError, match=words):
        HormCalculator(path, device="cpu")


def test_the_order_of_the_record_is_that_of_the_embedding(tmp_path: Path) -> None:
    """The same weights under another order are another network: O in the place of H."""
    energies = []
    for symbols in (["H", "C", "N", "O"], ["O", "C", "N", "H"]):
        path = tmp_path / f"{''.join(symbols)}.safetensors"
        record = {"elements": symbols, "references": dict.fromkeys(symbols, 0.0)}
        save(path, small("MomentNet").state_dict(), {"name": "MomentNet"}, record)
        calculator = HormCalculator(path, device="cpu", dtype="float64")
        assert [read(path).metadata["elements"], len(calculator.elements)] == [symbols, 4]
        energies.append(calculator.get_potential_energy(molecule("H2O")))
    assert energies[0] != energies[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_architecture_can_be_made_for_other_elements(name: str) -> None:
    from tests.horm_calc.models.test_fresh import SMALL

    config = SMALL[name] | ({"max_num_elements": 20} if name == "EquiformerV2" else {})
    torch.manual_seed(0)
    network = network_class(name).fresh(config, (1, 6, 16, 17))
    assert network.elements == (1, 6, 16, 17)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    again = network_class(name).from_shapes(shapes, config, (1, 6, 16, 17))
    assert again.elements == network.elements
    assert {key: tuple(v.shape) for key, v in again.state_dict().items()} == shapes
    if name in ("AlphaNet", "EquiformerV2"):
        with pytest.raises(ValueError, match=r"beyond number \d+, such as Og"):
            network_class(name).fresh(config, (1, 118))
