"""The scripts in research/horm-mini: how the data of the shipped networks were made."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import ExternalForce

from horm_calc import HormCalculator
from horm_calc.checkpoints.files import read, save
from horm_calc.chemistry.connectivity import bonds
from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame, iterate
from horm_calc.data.labelling.labels import label
from tests.horm_calc.small_networks import CONFIGS, small, write
from tests.places import REPOSITORY

FOLDER = REPOSITORY / "research" / "horm-mini" / "scripts"
LABELS = REPOSITORY / "research" / "dft-labels"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A script by its name, as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield lambda name: importlib.import_module(name)
    for name in ("avoid", "collect", "correct", "drive", "export", "mutate", "relative", "widen"):
        sys.modules.pop(name, None)


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_collected_structures_differ(script, tmp_path, monkeypatch) -> None:
    """Of a path that stands still for a while, and without what has not been written."""
    water = molecule("H2O")
    path = [water.copy() for _ in range(6)]
    for place, atoms in enumerate(path):
        atoms.positions[1, 2] += 0.2 * (place // 2)  # 0.12 Å root mean square, every second time
    folder = tmp_path / "run" / "rxn1"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}")
    ase.io.write(folder / "path.xyz", path)
    run(script("collect"), monkeypatch, tmp_path / "run", tmp_path / "out.xyz")
    found = ase.io.read(tmp_path / "out.xyz", ":")
    assert [atoms.info["reaction"] for atoms in found] == ["rxn1"] * 3
    assert np.allclose([atoms.positions for atoms in found], [a.positions for a in path[::2]])


def test_driven_structures(script, tmp_path, monkeypatch) -> None:
    """Bonds break and form, and the same seed gives the same structures."""
    methanol = molecule("CH3OH")
    with h5py.File(tmp_path / "ends.h5", "w") as file:
        group = file.create_group("rxn1")
        group["numbers"] = methanol.numbers
        group["reactant"] = group["product"] = methanol.positions
    for name in ("a.xyz", "b.xyz"):
        run(script("drive"), monkeypatch, tmp_path / "ends.h5", tmp_path / name, "--each", 3)
    both = tmp_path / "c.xyz"
    run(script("drive"), monkeypatch, tmp_path / "ends.h5", both, "--each", 3, "--pairs", 2)
    first, second, third = (ase.io.read(tmp_path / name, ":") for name in ("a.xyz", "b.xyz", both))
    assert len(third) > 10
    assert not np.allclose(first[0].positions, third[0].positions)
    assert len(first) == len(second) > 10
    assert np.allclose([a.positions for a in first], [b.positions for b in second])
    assert {atoms.info["reaction"] for atoms in first} == {"rxn1"}
    assert len({bonds(atoms, 1.2) for atoms in first}) > 2


def test_forces_on_atoms_that_are_not_bonded_and_on_bonds(script) -> None:
    drive = script("drive")
    atoms: Atoms = molecule("CH3OH")
    bonded = {pair for pair in np.ndindex(6, 6) if 0 < atoms.get_distance(*pair) < 1.5}
    kinds = set()
    for seed in range(40):
        for force in drive.external_forces(atoms, np.random.default_rng(seed)):
            assert isinstance(force, ExternalForce)
            # Positive forces pull apart.
            assert (force.external_force > 0) == (tuple(force.indices) in bonded)
            kinds.add(force.external_force > 0)
    assert kinds == {True, False}


@pytest.mark.parametrize("name", ["CH3OH", "CH3CONH2", "HCOOH", "CH3CN", "C3H4_C3v", "H2CO"])
def test_exchanged_atoms(script, name) -> None:
    """Electrons remain, or eight come or go with a methyl group; nothing overlaps."""
    mutate = script("mutate")
    start: Atoms = molecule(name)
    formulas = set()
    for seed in range(40):
        generator = np.random.default_rng(seed)
        atoms, kept = start, np.ones(len(start), bool)
        for _ in range(3):
            before = atoms
            atoms, kept = mutate.exchanged(atoms, kept, generator)
            assert atoms.numbers.sum() - before.numbers.sum() in (0, 8, -8)
            assert len(kept) == len(atoms) <= mutate.MOST_ATOMS
            assert (atoms.get_all_distances() + 9.0 * np.eye(len(atoms))).min() > 0.7
        originals, rest = (np.c_[one.numbers, one.positions] for one in (start, atoms[kept]))
        assert {*map(tuple, rest)} <= {*map(tuple, originals)}
        formulas.add(atoms.get_chemical_formula())
    assert len(formulas) > 5


def test_structures_of_exchanged_molecules(script, tmp_path, monkeypatch) -> None:
    """Of other molecules, and the same for the same seed."""
    with h5py.File(tmp_path / "saddles.h5", "w") as file:
        for name in ("known", "unknown"):
            file.create_group(name)["numbers"] = molecule("CH3OH").numbers
        file["known/transition_state"] = molecule("CH3OH").positions
    for name in ("a.xyz", "b.xyz"):
        run(script("mutate"), monkeypatch, tmp_path / "saddles.h5", tmp_path / name, "--each", 2)
    first, second = (ase.io.read(tmp_path / name, ":") for name in ("a.xyz", "b.xyz"))
    assert len(first) == len(second) > 5
    for one, other in zip(first, second, strict=True):
        assert one.get_chemical_formula() == other.get_chemical_formula()
        assert np.allclose(one.positions, other.positions)
    assert {atoms.info["reaction"] for atoms in first} == {"known"}
    assert "CH4O" not in {atoms.get_chemical_formula() for atoms in first}


def test_molecules_of_held_out_reactions_are_left_out(script, tmp_path, monkeypatch) -> None:
    """All of that kind and origin, however their atoms are ordered; those of other origin stay."""
    collect, methanol = script("collect"), molecule("CH3OH")
    stretched = methanol.copy()
    stretched.positions[3] += [0.0, 0.0, 2.0]  # other bonds
    frames = [
        *(collect.named(one, "rxn1") for one in (stretched, methanol[::-1], molecule("CH3CN"))),
        *(collect.named(one, "rxn2") for one in (stretched, molecule("CH3CN"))),
    ]
    ase.io.write(tmp_path / "made.xyz", frames)
    with h5py.File(tmp_path / "held.h5", "w") as file:
        file["a/numbers"], file["a/product"] = methanol.numbers, methanol.positions
    arguments = [tmp_path / name for name in ("made.xyz", "held.h5", "kept.xyz")]
    run(script("avoid"), monkeypatch, *arguments)
    kept = ase.io.read(tmp_path / "kept.xyz", ":")
    assert [(one.info["reaction"], len(one)) for one in kept] == [
        ("rxn1", 6),
        ("rxn2", 6),
        ("rxn2", 6),
    ]
    assert kept[0].get_chemical_formula() == "C2H3N"


def test_wrong_data_are_told_in_a_line(script, tmp_path, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(script("avoid"), monkeypatch, tmp_path / "none.xyz", tmp_path / "none.h5", tmp_path)
    assert "does not exist" in capsys.readouterr().err


def test_exported_weights_say_their_licence(script, tmp_path, monkeypatch) -> None:
    file = write(tmp_path, "MomentNet")
    run(script("export"), monkeypatch, file, tmp_path / "out.safetensors")
    before, after = read(file), read(tmp_path / "out.safetensors")
    assert after.metadata == before.metadata | {"licence": "CC BY-NC-SA 4.0"}
    assert after.config == before.config
    assert all((after.state[key] == value).all() for key, value in before.state.items())


def test_structures_on_which_networks_disagree(tmp_path, monkeypatch) -> None:
    """Those that both know as well are left, and so are near copies of one that was taken."""
    monkeypatch.syspath_prepend(str(LABELS))
    module = importlib.import_module("disagree")
    near, far = molecule("CH3OH"), molecule("CH3OH")
    far.positions[1, 2] += 0.3  # out of the plane
    structures = [near, far, far]
    for atoms in structures:
        atoms.info["reaction"] = "rxn1"
    ase.io.write(tmp_path / "in.xyz", structures)
    monkeypatch.setattr(module, "EACH", 2)
    with pytest.raises(SystemExit):
        run(module, monkeypatch, tmp_path / "in.xyz", tmp_path, "horm-mini")
    for out in ("a", "b"):
        networks = ("horm-mini", "horm-mini-xtb")
        run(module, monkeypatch, tmp_path / "in.xyz", tmp_path / out, *networks)
    found = ase.io.read(tmp_path / "a" / "active-000.xyz", ":")
    again = ase.io.read(tmp_path / "b" / "active-000.xyz", ":")
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(found, again, strict=True))
    assert len(found) == 2 and module.distance(*found) > module.APART
    spread, _ = module.disputes([module.forces_of(name, found) for name in networks])
    all_spread, _ = module.disputes([module.forces_of(name, structures) for name in networks])
    assert spread[0] >= all_spread.max() - 1e-6


@pytest.fixture
def strained() -> list[Atoms]:
    """Three molecules away from their minima."""
    molecules = [molecule("H2O"), molecule("CH3OH"), molecule("H2CO")]
    for atoms in molecules:
        atoms.rattle(0.05, seed=1)
        atoms.info["reaction"] = atoms.get_chemical_formula()
    return molecules


def labelled(molecules: list[Atoms], network: str, hessians: int) -> list[Frame]:
    """What a network says of molecules, with the Hessians of the first ones."""
    calculator = HormCalculator(network)
    frames = []
    for number, atoms in enumerate(molecules):
        [found] = calculator.evaluate([atoms], ("energy", "forces"))
        hessian = calculator.get_hessian(atoms) if number < hessians else None
        values = (found["energy"], found["forces"], hessian)
        frames.append(Frame(atoms.numbers, atoms.positions, *values, reaction=str(number)))
    return frames


def test_labels_corrected_to_another_network(script, strained, tmp_path, monkeypatch) -> None:
    """Its labels plus the difference are those of the other, products of Hessians too."""
    pair = ["--pair", "horm-mini", "horm-mini-xtb"]
    base, tuned = (labelled(strained, name, 2) for name in reversed(pair[1:]))
    write_hdf5(tmp_path / "base.h5", base, "GFN2-xTB")
    run(script("correct"), monkeypatch, tmp_path / "base.h5", tmp_path / "out.h5", *pair)
    found = open_frames(tmp_path / "out.h5")
    assert found.level_of_theory == "ωB97X/6-31G(d)"
    by_reaction = {frame.reaction: frame for frame in iterate(found)}
    for number, wanted in enumerate(tuned):
        frame = by_reaction[str(number)]
        # Single precision: of forces, and of total energies of up to 3,000 eV.
        assert np.isclose(frame.energy, wanted.energy, rtol=0, atol=1e-3)
        assert np.allclose(frame.forces, wanted.forces, rtol=0, atol=1e-4)
        if wanted.hessian is None:
            assert frame.products is None
        else:
            products = frame.vectors.reshape(2, -1) @ wanted.hessian
            assert np.allclose(frame.products.reshape(2, -1), products, rtol=0, atol=2e-3)


def test_disputed_frames_are_left_out(script, strained, tmp_path, monkeypatch) -> None:
    """Of twenty frames the one on which two pairs differ most."""
    molecules = [strained[1].copy() for _ in range(20)]
    for number, atoms in enumerate(molecules):
        atoms.rattle(0.02, seed=number)
    base, tuned = (labelled(molecules, name, 0) for name in ("horm-mini-xtb", "horm-mini"))
    # The second pair sees no difference.
    differences = [one.forces - other.forces for one, other in zip(tuned, base, strict=True)]
    most = np.argmax([np.linalg.norm(one, axis=1).max() for one in differences])
    write_hdf5(tmp_path / "base.h5", base, "GFN2-xTB")
    pairs = ["--pair", "horm-mini", "horm-mini-xtb", "--pair", "horm-mini", "horm-mini"]
    run(script("correct"), monkeypatch, tmp_path / "base.h5", tmp_path / "out.h5", *pairs)
    kept = {frame.reaction for frame in iterate(open_frames(tmp_path / "out.h5"))}
    assert kept == {str(number) for number in range(20)} - {str(most)}


def test_labels_of_gfn2_xtb_are_those_of_the_network_that_sees_them(
    script, strained, tmp_path, monkeypatch
) -> None:
    xtb = [*label(strained, "gfn2-xtb", hessians=1.0)]
    write_hdf5(tmp_path / "xtb.h5", xtb, "GFN2-xTB")
    arguments = (tmp_path / "xtb.h5", tmp_path / "out.h5", "horm-mini-xtb")
    run(script("relative"), monkeypatch, *arguments)
    calculator = HormCalculator("horm-mini-xtb")
    for frame in iterate(open_frames(tmp_path / "out.h5")):
        atoms = Atoms(frame.numbers, frame.positions, calculator=calculator)
        assert np.isclose(frame.energy, atoms.get_potential_energy(), rtol=0, atol=1e-4)
        assert np.allclose(frame.forces, atoms.get_forces(), rtol=0, atol=1e-4)
        assert np.allclose(frame.hessian, calculator.get_hessian(atoms), rtol=0, atol=1e-2)


def test_widened_weights_compute_the_same(script, tmp_path, monkeypatch) -> None:
    narrow, wide = tmp_path / "narrow.safetensors", tmp_path / "wide.safetensors"
    config = CONFIGS["MomentNet"]
    save(narrow, small("MomentNet").state_dict(), config, {})
    run(script("widen"), monkeypatch, narrow, wide, "--channels", 12, "--hidden", 16)
    assert read(wide).config == config | {"channels": 12, "hidden": 16}

    def forces(file: Path) -> np.ndarray:
        return HormCalculator(str(file), dtype="float64").evaluate([molecule("CH3OH")])[0]["forces"]

    assert np.allclose(forces(wide), forces(narrow), rtol=0, atol=1e-10)  # rounding
    # What is new is alive: forces differ once the last layer listens to all channels.
    for file in (narrow, wide):
        contents = read(file)
        state = contents.state | {"inner.weight": contents.state["inner.weight"] + 0.1}
        save(file, state, contents.config, {}, overwrite=True)
    assert np.abs(forces(wide) - forces(narrow)).max() > 1e-3


def test_the_script_that_reproduces_names_what_is_there() -> None:
    """Every settings file, list and program is used, and bash reads the script."""
    script = FOLDER.parent / "reproduce.sh"
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text("utf-8")
    files = [*FOLDER.glob("*.py"), *FOLDER.parent.glob("[0-9]*/*")]
    assert len(files) > 15
    for file in files:
        if file.suffix == ".yaml":
            assert f"train {file.parent.name} {file.stem}\n" in text
        else:
            assert f"/{file.name}" in text
