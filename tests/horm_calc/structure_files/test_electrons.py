"""Charge and multiplicity in the words of people and programs: read, or refused with the words."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import read, write

from horm_calc.structure_files.ase_atoms import stated_electrons
from horm_calc.structure_files.electrons import UnclearElectrons, settle
from horm_calc.structure_files.reading import read_structures
from horm_calc.structure_files.words import said_in


def told(atoms: Atoms) -> tuple[int | None, int | None]:
    return settle(stated_electrons(atoms), atoms.numbers)


def commented(folder: Path, comment: str, name: str = "H2CO") -> Atoms:
    """A molecule from an xyz file with that comment."""
    path = folder / "a.xyz"
    write(path, molecule(name), format="xyz", comment="?")
    path.write_text(path.read_text().replace("?", comment, 1))
    [atoms] = read_structures(path)
    return atoms


SAID = {
    # our own words, those of OMol25, of Gaussian, ORCA, Q-Chem, xtb, PySCF, autodE, people
    "charge=0 multiplicity=3": (0, 3),
    "charge=0 mult=3": (0, 3),
    "charge=0 spin=3": (0, 3),
    "0 3": (0, 3),
    "-1 2": (-1, 2),
    "  0   3  ": (0, 3),
    "0, 3": (0, 3),
    "(0 3)": (0, 3),
    "* xyz 0 3": (0, 3),
    "Charge = 0 Multiplicity = 3": (0, 3),
    "charge: 0 multiplicity: 3": (0, 3),
    "CHARGE: -1, MULT: 2": (-1, 2),
    "Charge/Multiplicity: 0 3": (0, 3),
    "charge and spin multiplicity 0 3": (0, 3),
    "charge,mult = 0,3": (0, 3),
    '{"charge": 0, "spin": 3, "energy": -114.2}': (0, 3),
    '"charge": "-1", "multiplicity": "2"': (-1, 2),
    "charge='-1' mult='2'": (-1, 2),
    "<charge>-1</charge><mult>2</mult>": (-1, 2),
    "charge(-1) mult(2)": (-1, 2),
    "E=-114.2 charge=-1;mult=2": (-1, 2),
    "multiplicity 3, charge 0": (0, 3),
    "uhf=2": (None, 3),
    "--chrg -1 --uhf 1": (-1, 2),
    "nunpaired=2": (None, 3),
    "number of unpaired electrons: 2": (None, 3),
    "2S+1 = 3": (None, 3),
    "spin_multiplicity=3": (None, 3),
    "spin-multiplicity: 3": (None, 3),
    "multiplicity=triplet": (None, 3),
    'charge_multiplicity="0 3"': (0, 3),
    '{"charge/mult": [0, 3], "energy": -114.2}': (0, 3),
    "charge=0 spin=triplet": (0, 3),
    "q=-2": (-2, None),
    "Q = 1": (1, None),
    "total_charge=-2 multiplicity=1": (-2, 1),
    "totalCharge: -1": (-1, None),
    "net charge -1": (-1, None),
    "the charge is -1": (-1, None),
    "charge=+1": (1, None),
    "charge=1+": (1, None),
    "charge=2-": (-2, None),
    "charge=−2": (-2, None),  # a minus sign that is no hyphen
    "charge=-1.0": (-1, None),
    "charge=neutral": (0, None),
    "magmom=2.0": (None, 3),
    "magmom=1.9997": (None, 3),
    "mult=3 uhf=2": (None, 3),
    "charge -1 from Cl- and CH2O, spin-restricted, multiplicity 1": (-1, 1),
    'Properties=species:S:1:pos:R:3 charge=1 pbc="F F F"': (1, None),
}


@pytest.mark.parametrize("comment", SAID)
def test_what_comments_say(tmp_path: Path, comment: str) -> None:
    assert told(commented(tmp_path, comment)) == SAID[comment]


@pytest.mark.parametrize(
    ("comment", "name", "multiplicity"),
    [
        ("charge=0 spin=1", "H2CO", 1),
        ("charge=0 spin=1", "CH3", 2),  # no singlet with nine electrons: an unpaired one
        ("charge=0 spin=2", "CH3", 2),
        ("charge=0 spin=4", "CH3", 4),
        ("charge=1 spin=2", "H2CO", 2),
        ("charge=0 spin=5", "O2", 5),
        ("spin=0", "H2O", 1),
        ("spin=1", "NO", 2),
        ("spin=2", "NO", 2),
        ("spin=1/2", "CH3", 2),
        ("spin=1.5", "NO", 4),
    ],
)
def test_spin_where_the_electrons_leave_one_meaning(
    tmp_path: Path, comment: str, name: str, multiplicity: int
) -> None:
    assert told(commented(tmp_path, comment, name))[1] == multiplicity


SILENT = [
    "",
    "1",
    "-114.23",
    "frame 3",
    "frame=3 energy=-114.2",
    "i = 0, time = 0.000, E = -1.2",
    " energy: -5.070544 gnorm: 0.0003 xtb: 6.6.1 (8d0f1dd)",
    "Coordinates from ORCA-job x E -114.1",
    "UHF/6-31G(d)",
    "level_of_theory=GFN2-xTB",
    "12 5",
    "2024 05 17",
    "0 1 formaldehyde",
    "1,2-dimethylbenzene",
    "(+)-camphor, (-)-menthol, 3a, 2b, conformer 3A, T1",
    "TS_1_c2 rc1 m3 step -1 to -2, shift (-1)",
    "InChI=1S/CH2O/c1-2/h1H2",
    "[4+2] cycloaddition, 2-methylpropene + HCl -> 2-chloro-2-methylpropane",
    "HCO + HCO",
    "Na+ + Cl-",
    "C[N+](=O)[O-]",
    "C[N+:1](=O)[O-:2]",
    "TS of A->B",
    "multi-step, multiple images",
    "neutral singlet",
    "magmom=0.0",
    "m=1 s=0 q",
    "<S^2>=0.000 spin_density=0 mulliken_charge=0.0",
    "change=1 range=3 energy_change=0.2",
    'Properties=species:S:1:pos:R:3 Lattice="1 0 0 0 1 0 0 0 1" pbc="F F F"',
]


@pytest.mark.parametrize("comment", SILENT)
def test_comments_of_other_things_say_nothing(tmp_path: Path, comment: str) -> None:
    assert told(commented(tmp_path, comment)) == (None, None)


UNCLEAR = {
    "spin=1": "spin=1: the multiplicity may be 1 or 3",
    "spin=2": "spin=2: the multiplicity may be 3 or 5",
    "charge=0 spin=2": "spin=2: the multiplicity may be 3 or 5",
    "charge=0.5": "charge=0.5: looks like a charge",
    "charge=minus one": "charge=minus",
    "charge=": "charge: looks like a charge",
    "mult=0": "mult=0: looks like a multiplicity",
    "mult=abc": "mult=abc",
    "charge=0 multiplicity=x": "multiplicity=x",
    "nelec=15": "nelec=15: looks like a charge",
    "n_electrons = 15": "n_electrons = 15",
    "charges from RESP": "charges",
    "2 unpaired electrons": "unpaired",
    "S=1": "S=1",
    "q=0 M=3": "M=3",
    "triplet HCOH": "triplet",
    "HCOH (triplet), charge 0": "triplet",
    "singlet-triplet crossing": "singlet-triplet",
    "open-shell singlet": "open-shell",
    "open shell, <S^2> = 1.01": "open-shell; spin_squared",
    "<S**2>=2.003": "spin_squared",
    "multiplicty=3": "multiplicty=3: looks like a multiplicity",
    "muliplicity: 3": "muliplicity: 3",
    "chrage=-1": "chrage=-1: looks like a charge",
    "nspin=2": "nspin=2",
    "formyl cation": "cation",
    "a dianion": "dianion",
    "SO4^2-": r"SO4\^2-",
    "[SO4]2- and water": r"\[SO4\]2-",
    "Ca2+": r"Ca2\+",
    "[O-]C=O": r"\[O-\]",
    "0 3 HCOH": "0 3",
    "0 3 energy=-114.2": "0 3",
    "mol_mult=3": "mol_mult=3",
    "qm_mult 3": "qm_mult",
    "mult3": "mult3",
    "multi=3": "multi=3",
    "nup=9 ndown=7": "nup=9",
    "xtb a.xyz --opt -c -1": "-c -1",
    "xtb a.xyz --opt -u 2": "-u 2",
    "HCOH_c0m3": "c0m3",
    "hcoh q-1_m2": "q-1_m2",
    "HCOH (1+)": r"\(1\+\)",
    "HCOH(-1)": r"HCOH\(-1\)",
    "InChI=1S/CH2O2/c2-1-3/h1H,(H,2,3)/p-1": "/p-1",
    "CH2O\N{BULLET}+": r"CH2O.\+",
    "[CH2O].-": r"\[CH2O\]\.-",
    "^3B1": r"\^3B1",
    "HCOH, 3A''": "3A''",
    "NO, 2\N{GREEK CAPITAL LETTER PI}": "2\N{GREEK CAPITAL LETTER PI}",
    "on the T1 surface": "T1 surface",
    "state=T1": "state=T1",
    "HCOH 0 3": "HCOH 0 3",
    "0 0": "0 0",
    "charge=0 charge=1": "'charge' is 0 and 1: charge=0; charge=1",
    "mult=3 uhf=1": "'multiplicity' is 3 and 2: mult=3; uhf=1",
    "charge=0mult=3": "charge=0mult=3",
}


@pytest.mark.parametrize("comment", UNCLEAR)
def test_what_is_not_understood_is_named(tmp_path: Path, comment: str) -> None:
    with pytest.raises(UnclearElectrons, match=UNCLEAR[comment]):
        told(commented(tmp_path, comment))


def test_columns_of_charges_and_moments(tmp_path: Path) -> None:
    triplet = molecule("O2")  # with ASE's magnetic moments
    anion = molecule("OH")
    anion.set_initial_magnetic_moments(None)
    anion.set_initial_charges([-1.2, 0.2])
    water = molecule("H2O")
    water.set_initial_charges([-0.82, 0.41, 0.41])
    nothing = molecule("H2O")
    nothing.set_initial_magnetic_moments(np.zeros(3))
    for name in ("a.traj", "a.xyz", "a.db", "a.json"):
        write(tmp_path / name, [triplet, anion, water, nothing])
        found = [told(atoms) for atoms in read_structures(tmp_path / name)]
        assert found == [(None, 3), (-1, None), (None, None), (None, None)], name


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("charge:R:1", (-0.6, -0.4), (-1, None)),  # to ASE a result
        ("formal_charge:I:1", (-1, 0), (-1, None)),
        ("q:R:1", (-1.5, -0.5), (-2, None)),
        ("magmoms:R:1", (1.01, 0.98), (None, 3)),
        ("spin:R:1", (1.0, 0.0), (None, 2)),
        ("mulliken_charges:R:1", (-0.49, 0.49), (None, None)),
        ("mulliken:R:1", (-0.51, -0.49), (-1, None)),
    ],
)
def test_columns_by_other_names(
    tmp_path: Path, column: str, values: tuple, expected: tuple
) -> None:
    first, second = values
    text = f"2\nProperties=species:S:1:pos:R:3:{column}\nO 0 0 0 {first}\nO 0 0 1.2 {second}\n"
    (tmp_path / "a.xyz").write_text(text)
    [atoms] = read_structures(tmp_path / "a.xyz")
    assert told(atoms) == expected


def test_charges_that_add_up_to_no_whole_number(tmp_path: Path) -> None:
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], charges=[-0.3, -0.2])
    atoms.write(tmp_path / "a.traj")
    [found] = read_structures(tmp_path / "a.traj")
    with pytest.raises(UnclearElectrons, match=r"initial charges add up to -0\.5: looks like"):
        told(found)
    found.info = {"charge": -1}
    assert told(found)[0] == -1


def test_moments_that_cancel_are_no_closed_shell(tmp_path: Path) -> None:
    atoms = molecule("N2")
    atoms.set_initial_magnetic_moments([1, -1])
    atoms.write(tmp_path / "a.traj")
    [found] = read_structures(tmp_path / "a.traj")
    with pytest.raises(UnclearElectrons, match="initial magnetic moments that cancel"):
        told(found)


def test_moments_with_directions_are_not_understood(tmp_path: Path) -> None:
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[[0, 0, 1], [0, 0, 1]])
    atoms.write(tmp_path / "a.traj")
    [found] = read_structures(tmp_path / "a.traj")
    with pytest.raises(UnclearElectrons, match="initial magnetic moments are vectors"):
        told(found)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"magmom": 2.0}, (None, 3)),
        ({"magmom": 1e-9, "magmoms": np.array([0.0, 0.0])}, (None, None)),
        ({"magmoms": np.array([1.02, 0.98])}, (None, 3)),
        ({"charges": np.array([-0.51, -0.49]), "magmom": 1.0}, (-1, 2)),
        ({"charges": np.array([0.1, -0.1])}, (None, None)),
    ],
)
def test_results_of_a_calculation(tmp_path: Path, results: dict, expected: tuple) -> None:
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, **results)
    atoms.write(tmp_path / "a.traj")
    [found] = read_structures(tmp_path / "a.traj")
    assert told(found) == expected
    # What is asked for stands above what came out.
    found.info = {"charge": 0, "multiplicity": 5}
    assert told(found) == (0, 5)


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json"])
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"charge": 0, "multiplicity": 3, "verbosity": 0}, (0, 3)),
        ({"charge": -1, "mult": 2, "orcasimpleinput": "uks spin"}, (-1, 2)),
        ({"charge": None, "multiplicity": None}, (None, None)),
        ({"spinpol": True, "charge_mixing": 0.2}, (None, None)),
    ],
)
def test_parameters_of_a_calculation(
    tmp_path: Path, name: str, parameters: dict, expected: tuple
) -> None:
    """Of calculators that take charge and multiplicity as tblite and ORCA do."""
    atoms = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]])
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    atoms.calc.parameters = parameters
    atoms.write(tmp_path / name)
    [found] = read_structures(tmp_path / name)
    assert told(found) == expected
    # What stands with the structure itself goes first.
    found.info["charge"] = 1
    assert told(found) == (1, expected[1])


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_keys_of_databases(tmp_path: Path, name: str) -> None:
    """The keys of results.db; ASE's reader of files drops them."""
    with connect(tmp_path / name) as database:
        database.write(Atoms("O2"), total_charge=-2, multiplicity=1)
        database.write(Atoms("O2"), charge_state=3)
        database.write(Atoms("O2"), data={"total_charge": 1, "spin_multiplicity": 2})
    first, second, third = read_structures(tmp_path / name)
    assert told(first) == (-2, 1)
    with pytest.raises(UnclearElectrons, match="charge_state is 3"):
        told(second)
    assert told(third) == (1, 2)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"charge": np.int64(-1), "mult": np.float64(2.0)}, (-1, 2)),
        ({"charge": 0, "spin": 3}, (0, 3)),
        ({"charge": 1e-9}, (0, None)),
        ({"total_charge": "-2"}, (-2, None)),
        ({"key_value_pairs": {"total_charge": -2, "multiplicity": 1}}, (-2, 1)),
        ({"comment": "charge -1, uhf 1"}, (-1, 2)),
        ({"charge": True, "spin": np.True_}, (None, None)),  # words of a comment, to ASE
        ({"energy": -1.0, "step": 3, "m": 1}, (None, None)),
        ({"charges": [-0.4, -0.6]}, (-1, None)),
    ],
)
def test_info_of_atoms(info: dict, expected: tuple) -> None:
    assert told(Atoms("O2", info=info)) == expected


@pytest.mark.parametrize(
    "comment", ["charge=0 mult=3", "0 3", "charge: 0 multiplicity: 3", "uhf=2"]
)
def test_comments_that_ase_has_taken_apart(tmp_path: Path, comment: str) -> None:
    """Of Atoms that somebody has read with ASE, and gives to a calculator of this package."""
    write(tmp_path / "a.xyz", molecule("H2CO"), format="xyz", comment=comment)
    assert told(read(tmp_path / "a.xyz"))[1] == 3


def test_info_that_is_not_understood_is_named() -> None:
    for info, words in (
        ({"charge": "minus one"}, "charge is minus one"),
        ({"spin_state": 3}, "spin_state is 3"),
        ({"nelectrons": 15}, "nelectrons is 15"),
        ({"magmom_guess": 2.0}, "magmom_guess is 2.0"),
        ({"charges": [0.2, 0.3]}, "charges add up to 0.5"),
        ({"charge": 0.3}, "charge is 0.3"),
    ):
        with pytest.raises(UnclearElectrons, match=re.escape(words)):
            told(Atoms("O2", info=info))


def test_a_long_line_of_words_takes_no_time() -> None:
    start = time.process_time()
    with pytest.raises(UnclearElectrons):
        settle(said_in("charge " * 100_000), [8])
    assert time.process_time() - start < 15
