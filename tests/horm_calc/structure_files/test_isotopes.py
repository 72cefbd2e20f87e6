"""Masses that files give: of isotopes they are taken, of the usual elements they are no label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_masses
from ase.db import connect
from ase.io import write

from horm_calc.structure_files.isotopes import exact_mass, main_isotope
from horm_calc.structure_files.reading import read_structures


def labelled() -> Atoms:
    """Methanol with 13C, and deuterium at the oxygen."""
    atoms = molecule("CH3OH")
    masses = atoms.get_masses()
    masses[[0, 3]] = 13.00335, 2.0141
    atoms.set_masses(masses)
    return atoms


@pytest.mark.parametrize("name", ["a.traj", "a.xyz", "a.db", "a.json"])
def test_masses_of_atoms(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [labelled(), molecule("CH3OH")])
    heavy, light = read_structures(tmp_path / name)
    np.testing.assert_allclose(heavy.get_masses(), labelled().get_masses(), atol=1e-6)
    np.testing.assert_array_equal(light.get_masses(), molecule("CH3OH").get_masses())


def xyz(folder: Path, column: str, *masses: object, comment: str = "") -> Atoms:
    rows = zip("CNH", (0, 1.15, -1.07), masses or ("", "", ""), strict=True)
    names = f":{column}:R:1" if column else ""
    text = f"3\nProperties=species:S:1:pos:R:3{names} {comment}\n"
    text += "".join(f"{symbol} {x} 0.0 0.0 {mass}\n" for symbol, x, mass in rows)
    (folder / "a.xyz").write_text(text)
    [atoms] = read_structures(folder / "a.xyz")
    return atoms


@pytest.mark.parametrize(
    "column",
    [
        "masses",
        "mass",
        "Mass",
        "atomic_mass",
        "isotope",
        "isotopes",
        "nuclear_masses",
        "isotopic_mass",
        "isotope_number",
    ],
)
def test_columns_of_masses_and_of_mass_numbers(tmp_path: Path, column: str) -> None:
    atoms = xyz(tmp_path, column, 12, 14, 2)
    np.testing.assert_allclose(atoms.get_masses(), [12.011, 14.007, 2.014102], atol=1e-6)


def test_isotopes_that_are_not_said(tmp_path: Path) -> None:
    atoms = xyz(tmp_path, "isotope", 0, 15, 0)
    np.testing.assert_allclose(atoms.get_masses(), [12.011, 15.000109, 1.008], atol=1e-6)


def test_masses_in_the_comment(tmp_path: Path) -> None:
    atoms = xyz(tmp_path, "", comment='masses="13.00335 14.007 1.008"')
    np.testing.assert_allclose(atoms.get_masses(), [13.00335, 14.007, 1.008], atol=1e-6)
    with pytest.raises(ValueError, match="'isotopes' is not a number for each atom: D at H3"):
        xyz(tmp_path, "", comment='isotopes="D at H3"')


@pytest.mark.parametrize(
    "masses",
    [
        (12.011, 14.007, 1.008),  # atomic weights, as of ASE and ORCA
        (12.0, 14.003074, 1.007825),  # the main isotopes, as of Gaussian
        (12, 14, 1),
        (12.01, 14.01, 1.01),
        (12.0107, 14.0067, 1.00794),  # atomic weights of former years
    ],
)
def test_masses_of_the_usual_elements_are_no_label(tmp_path: Path, masses: tuple) -> None:
    """Else results would depend on whether a program has written its masses down."""
    atoms = xyz(tmp_path, "masses", *masses)
    np.testing.assert_array_equal(atoms.get_masses(), atomic_masses[[6, 7, 1]])


def test_the_main_isotope_of_a_mixture_is_a_label(tmp_path: Path) -> None:
    """Of chlorine's 35.45 a chemist who writes 34.969 means 35Cl."""
    atoms = Atoms("HCl", [[0, 0, 0], [0, 0, 1.3]], masses=[1.008, 34.96885])
    atoms.write(tmp_path / "a.traj")
    [found] = read_structures(tmp_path / "a.traj")
    np.testing.assert_array_equal(found.get_masses(), [1.008, 34.96885])


@pytest.mark.parametrize(
    ("masses", "message"),
    [
        ((12, 14, 0), r"the mass of atom 3 \(H\) is 0; masses are in atomic mass units, 2.014"),
        ((12, 14, -2), "the mass of atom 3"),
        ((12, 14, "nan"), "the mass of atom 3"),
        ((12, 14, 9), "no isotope 9 of H"),
    ],
)
def test_masses_that_no_atom_can_have(tmp_path: Path, masses: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        xyz(tmp_path, "masses", *masses)


def test_masses_of_a_database_row(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as database:
        database.write(labelled())
    [found] = read_structures(tmp_path / "a.db")
    np.testing.assert_array_equal(found.get_masses(), labelled().get_masses())


def test_numbers_of_isotopes() -> None:
    """Masses of AME, as every table has them; amu."""
    assert exact_mass(1, 2) == pytest.approx(2.014101778, abs=1e-8)
    assert exact_mass(1, 3) == pytest.approx(3.016049282, abs=1e-7)
    assert exact_mass(6, 13) == pytest.approx(13.00335484, abs=1e-7)
    assert exact_mass(8, 18) == pytest.approx(17.99915961, abs=1e-5)
    assert [main_isotope(number) for number in (1, 5, 6, 17, 35)] == [1, 11, 12, 35, 79]
    with pytest.raises(ValueError, match="no isotope 40 of C"):
        exact_mass(6, 40)


@pytest.mark.parametrize(
    "word", ["deuterium", "deuterated", "tritiated", "isotopes", "iso(3)", "isotopologue"]
)
def test_isotopes_that_only_the_comment_speaks_of(tmp_path: Path, word: str) -> None:
    text = f"2\nH2 is {word} here\nCl 0 0 0\n{{}} 0 0 1.3\n"
    (tmp_path / "a.xyz").write_text(text.format("H"))
    with pytest.raises(ValueError, match=rf"line 2 says '{re.escape(word)}', but no atom is an"):
        list(read_structures(tmp_path / "a.xyz"))
    (tmp_path / "a.xyz").write_text(text.format("D"))
    [atoms] = read_structures(tmp_path / "a.xyz")
    assert atoms.get_masses()[1] == pytest.approx(2.014102)


@pytest.mark.parametrize("words", ["centre of mass at the origin", "mass=27.025", "mass=27.011"])
def test_masses_that_are_of_no_atom(tmp_path: Path, words: str) -> None:
    (tmp_path / "a.xyz").write_text(f"3\n{words}\nH 0 0 0\nC 0 0 1.07\nN 0 0 2.22\n")
    [atoms] = read_structures(tmp_path / "a.xyz")
    assert not atoms.has("masses")
    (tmp_path / "a.xyz").write_text("3\nmass=28.03\nH 0 0 0\nC 0 0 1.07\nN 0 0 2.22\n")
    with pytest.raises(ValueError, match="'mass' is not a number for each atom"):
        list(read_structures(tmp_path / "a.xyz"))
