"""Xyz files in the dialects of programs and people: read if there is one meaning, else refused."""

from __future__ import annotations

import bz2
import gzip
import re
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from horm_calc.structure_files.electrons import KEY, settle
from horm_calc.structure_files.xyz import read_xyz
from tests.places import SHARED

CASES = SHARED / "cases" / "files"

FORMALDEHYDE = [("C", 0, 0, 0), ("O", 1.21, 0, 0), ("H", -0.58, 0.94, 0), ("H", -0.58, -0.94, 0)]
SYMBOLS = "COHH"
POSITIONS = np.array([place for _, *place in FORMALDEHYDE])


def text(
    names: str = "C O H H", comment: str = "\n", row: str = "{} {:.6f} {:.6f} {:.6f}\n"
) -> str:
    rows = zip(names.split(), POSITIONS, strict=True)
    return "4\n" + comment + "".join(row.format(name, *place) for name, place in rows)


def read(tmp_path: Path, content: str | bytes, name: str = "a.xyz") -> list[Atoms]:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_xyz(path))


def check(atoms: Atoms, symbols: str = SYMBOLS) -> None:
    assert list(atoms.symbols) == list(symbols)
    np.testing.assert_allclose(atoms.positions, POSITIONS, atol=1e-6)
    assert not atoms.pbc.any()


DIALECTS = {
    "as everybody writes it": text(),
    "atomic numbers": text("6 8 1 1"),
    "real atomic numbers": text("6.0 8.0 1. 1.0"),
    "numbers and symbols": text("6 O H 1"),
    "lower case": text("c o h h"),
    "labels that count all atoms": text("C1 O2 H3 H4"),
    "labels that count from zero": text("C0 O1 H2 H3"),
    "labels that count each element": text("C1 O1 H1 H2"),
    "labels in lower case": text("c1 o1 h1 h2"),
    "Windows": text().replace("\n", "\r\n"),
    "old Macintosh": text().replace("\n", "\r"),
    "tabs": text(row="{}\t{:.6f}\t{:.6f}\t{:.6f}\n"),
    "blanks at both ends": text(row="   {}  {:.6f}  {:.6f}  {:.6f}   \n"),
    "blanks around the number": text().replace("4\n", "   4  \n"),
    "exponents": text(row="{} {:.10E} {:.10E} {:.10E}\n"),
    "Fortran's exponents": text(row="{} {:.10E} {:.10E} {:.10E}\n").replace("E", "D"),
    "Fortran's exponents, small": text(row="{} {:.10E} {:.10E} {:.10E}\n").replace("E", "d"),
    "signs": text(row="{} {:+.6f} {:+.6f} {:+.6f}\n"),
    "no zero before the point": text().replace("0.", "."),
    "velocities": text(row="{} {:.6f} {:.6f} {:.6f} 0.1 -0.2 1e-3\n"),
    "velocities and forces": text(row="{} {:.6f} {:.6f} {:.6f} 0 0 0 0.1 0.2 0.3\n"),
    "no comment": text(comment=""),
    "no final newline": text().rstrip(),
    "blank lines at the end": text() + "\n  \n\n",
    "blank lines at the beginning": "\n\n" + text(),
    "a byte-order mark": "\ufeff" + text(),
    "UTF-16": b"\xff\xfe" + text().encode("utf-16-le"),
    "UTF-16, the other way": b"\xfe\xff" + text().encode("utf-16-be"),
    "a comment in Latin-1": text(comment="Übergang in °C\n").encode("latin-1"),
    "a comment in Japanese": text(comment="遷移状態\n"),
    "a comment of bytes": text(comment="?\n").encode().replace(b"?", bytes(range(128, 256))),
    "a comment that is a number": text(comment="4\n"),
    "a comment that looks like an atom": text(comment="H 0 0 0\n"),
    "columns in another order": text(
        comment="Properties=pos:R:3:species:S:1\n", row="{1:.6f} {2:.6f} {3:.6f} {0}\n"
    ),
    "columns of ASE": text(
        comment='Properties=species:S:1:pos:R:3:tags:I:1 pbc="F F F"\n',
        row="{} {:.6f} {:.6f} {:.6f} 7\n",
    ),
    "atomic numbers in a column": text("6 8 1 1", comment="Properties=Z:I:1:pos:R:3\n"),
    "atomic numbers as species": text("6 8 1 1", comment="Properties=species:S:1:pos:R:3\n"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_has_one_meaning(tmp_path: Path, dialect: str) -> None:
    [atoms] = read(tmp_path, DIALECTS[dialect])
    check(atoms)
    assert not atoms.has("masses")


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if "UTF-16" not in name])
@pytest.mark.parametrize("between", ["", "\n", " \n\n\t\n"])
def test_several_structures_of_a_dialect(tmp_path: Path, dialect: str, between: str) -> None:
    content = DIALECTS[dialect]
    content = content if isinstance(content, bytes) else content.encode()
    found = read(tmp_path, between.encode().join([content.rstrip(b"\n") + b"\n"] * 3))
    assert len(found) == 3
    for atoms in found:
        check(atoms)


@pytest.mark.parametrize(
    ("names", "symbols"),
    [
        ("CL BR LI NA", ["Cl", "Br", "Li", "Na"]),
        ("cl br si na", ["Cl", "Br", "Si", "Na"]),
        ("Cl1 cL2 SE3 se4", ["Cl", "Cl", "Se", "Se"]),
        ("17 35 Ca co", ["Cl", "Br", "Ca", "Co"]),
        ("CO CU ZN PD", ["Co", "Cu", "Zn", "Pd"]),
    ],
)
def test_symbols_of_two_letters(tmp_path: Path, names: str, symbols: list[str]) -> None:
    [atoms] = read(tmp_path, text(names))
    assert list(atoms.symbols) == symbols


@pytest.mark.parametrize(
    ("names", "masses"),
    [
        ("C O D H", {2: 2.014102}),
        ("C O d t", {2: 2.014102, 3: 3.016049}),
        ("13C O H H", {0: 13.003355}),
        ("C 18O 2H H", {1: 17.999160, 2: 2.014102}),
        ("C1 O2 D3 H4", {2: 2.014102}),
        ("C O 2h 3H", {2: 2.014102, 3: 3.016049}),
    ],
)
def test_isotopes_among_the_elements(tmp_path: Path, names: str, masses: dict) -> None:
    [atoms] = read(tmp_path, text(names))
    check(atoms)
    usual = Atoms(SYMBOLS).get_masses()
    usual[list(masses)] = list(masses.values())
    np.testing.assert_allclose(atoms.get_masses(), usual, atol=1e-5)


def test_what_ase_writes_is_read_as_ase_reads_it(tmp_path: Path) -> None:
    atoms = molecule("CH3CH2OH")
    atoms.info = {"charge": -1, "energy_of": "nothing", "reaction": "a b"}
    atoms.set_initial_magnetic_moments(np.linspace(0, 1, len(atoms)))
    write(tmp_path / "a.xyz", [atoms, molecule("O2")], format="extxyz")
    first, second = read_xyz(tmp_path / "a.xyz")
    assert {**first.info} | atoms.info == {**first.info}
    np.testing.assert_allclose(first.positions, atoms.positions, atol=1e-7)
    np.testing.assert_allclose(
        first.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments(), atol=1e-7
    )
    assert str(second.symbols) == "O2"


def test_cells_are_kept_so_that_they_can_be_refused(tmp_path: Path) -> None:
    [lattice] = read(tmp_path, text(comment='Lattice="9 0 0 0 9 0 0 0 9"\n'))
    vectors = "".join(f"VEC{i} {9 * (i == 1)} {9 * (i == 2)} {9 * (i == 3)}\n" for i in (1, 2, 3))
    [adf] = read(tmp_path, text() + vectors)
    assert lattice.pbc.all() and adf.pbc.all()


@pytest.mark.parametrize(
    ("name", "pack"), [("a.xyz.gz", gzip.compress), ("a.xyz.bz2", bz2.compress)]
)
def test_compressed_files(tmp_path: Path, name: str, pack) -> None:
    [atoms] = read(tmp_path, pack(text().encode()), name)
    check(atoms)


REFUSED = {
    "a label or an isotope": (text("C O H2 H"), "line 5: 'H2' may be an isotope, or a label"),
    "a label that may count": (text("C O H2 H3"), "line 5: 'H2' may be an isotope, or a label"),
    "labels of a protein": (text("CA O H H"), "line 3: 'CA' may be Ca, or C by its name"),
    "labels that do not count": (text("C13 O2 H7 H9"), "line 3: 'C13' may be an isotope"),
    "no element": (text("Xq O H H"), "line 3: 'Xq' is no element"),
    "a dummy atom": (text("C O X H"), "line 5: 'X' is no element"),
    "a ghost atom": (text("C O Bq H"), "line 5: 'Bq' is no element"),
    "a ghost of ORCA": (text("C O H: H"), "line 5: 'H:' is no element"),
    "atomic number 0": (text("C O 0 H"), "line 5: '0' is the atomic number of no"),
    "atomic number 119": (text("C O 119 H"), "line 5: '119'"),
    "an isotope that is none": (text("C O 1H 77H"), "line 6: .*isotope 77 of H"),
    "a letter for isotopes": (text("C O 2D H"), "line 5: '2D' is no element"),
    "charge in the symbol": (text("C O H+ H"), r"line 5: 'H\+' is no element"),
    "decimal commas": (text().replace(".", ","), "line 3 is 'C 0,0.*decimal points"),
    "commas between": (text(row="{}, {:.6f}, {:.6f}, {:.6f}\n"), "line 3 is 'C, 0.*blanks"),
    "a coordinate less": (text(row="{} {:.6f} {:.6f}\n"), "line 3 is 'C 0.0.*not an element, x"),
    "stars of Fortran": (text().replace("1.210000", "********"), r"line 4 is 'O \*\*\*"),
    "no number": (text().replace("1.210000", "nan"), "line 4 is 'O nan"),
    "infinite": (text().replace("1.210000", "inf"), "line 4 is 'O inf"),
    "digits of Python": (text().replace("1.210000", "1_2.1"), "line 4 is 'O 1_2.1"),
    "a column without a name": (
        text(row="{} {:.6f} {:.6f} {:.6f} 2.014\n"),
        r"line 3 .*nothing says what '2\.014' in column 5 is.*Properties=.*:masses:R:1",
    ),
    "words behind the coordinates": (
        text(row="{} {:.6f} {:.6f} {:.6f} iso=2\n"),
        "line 3 .*nothing says what 'iso=2' in column 5 is",
    ),
    "more columns than names": (
        text(comment="Properties=species:S:1:pos:R:3\n", row="{} {:.6f} {:.6f} {:.6f} 1\n"),
        "line 3 .*nothing says what '1'",
    ),
    "fewer columns than names": (
        text(comment="Properties=species:S:1:pos:R:3:masses:R:1\n"),
        "line 3 .*not the 5 columns that Properties names",
    ),
    "names without positions": (text(comment="Properties=species:S:1\n"), "line 2: Properties is"),
    "names that are cut": (text(comment="Properties=species:S:1:pos:R\n"), "line 2: Properties is"),
    "isotopes and masses": (
        text("C O D H", "Properties=species:S:1:pos:R:3:masses:R:1\n", "{} {} {} {} 2.5\n"),
        "line 1 has isotopes.*and masses beside",
    ),
    "an atom more": (text() + "H 0 0 9\n", "line 7 is 'H 0 0 9', not the.*number in line 1 right"),
    "an atom less": (text().rsplit("\n", 2)[0] + "\n", "line 1 announces 4 .*ends at line 5"),
    "an atom less above": (text().rsplit("\n", 2)[0] + "\n" + text(), "line 6 is '4'"),
    "words at the end": (text() + "energy -1.0\n", "line 7 is 'energy -1.0', not the number"),
    "no number of atoms": (text()[3:], "line 1 is 'C 0.0.*not the number of atoms, alone"),
    "words beside the number": (text().replace("4\n", "4 atoms\n"), "line 1 is '4 atoms'"),
    "no atoms": ("0\n\n", "line 1 is '0'"),
    "a negative number": (text().replace("4\n", "-4\n"), "line 1 is '-4'"),
    "a blank line amid the atoms": (text().replace("H", "\nH", 1), "line 5 is ''"),
    "the indices of Tinker": (
        "4 formaldehyde\n" + text(row="1 {} {:.6f} {:.6f} {:.6f} 5 1\n")[3:],
        "line 1 is '4 formaldehyde'",
    ),
    "an index before the symbol": (text(row="1 {} {:.6f} {:.6f} {:.6f}\n"), "line 3 is '1 C"),
    "an announced abyss": (text().replace("4\n", "999999999\n"), "announces 999999999"),
    "an abyss with lines": (text().replace("4\n", "999_999_999\n"), "line 1 is '999_999_999'"),
    "a quoted abyss": (text(comment="virial=1\n"), "begins in line 1: .*virial"),
    "not text": (bytes(range(256)), "line 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_or_two_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "comment",
    ["bohr", "units=bohr", "(Bohr)", "coordinates in a.u.", "coords: au", "units = nm", "in Bohr"],
)
def test_other_units_than_angstrom_are_refused(tmp_path: Path, comment: str) -> None:
    words = re.escape(comment.strip("()"))
    with pytest.raises(ValueError, match=rf"line 2 says '.?{words}.?'; xyz files are read in Å"):
        read(tmp_path, text(comment=f"{comment}\n"))


@pytest.mark.parametrize(
    "comment",
    ["units=Angstrom", "Coordinates from ORCA-job a E -114.2", "E = -114.2 a.u., |g| 1e-4 Eh/Bohr"],
)
def test_units_of_other_quantities_do_not_matter(tmp_path: Path, comment: str) -> None:
    [atoms] = read(tmp_path, text(comment=f"{comment}\n"))
    check(atoms)


@pytest.mark.parametrize("line", [0, 1, 2, 7])
@pytest.mark.parametrize("piece", ["a ", "=", "x=1 ", "[", " "])
def test_a_line_of_twenty_megabytes_is_refused_at_once(
    tmp_path: Path, line: int, piece: str
) -> None:
    lines = (text() * 2).split("\n")
    lines[line] = piece * (20_000_000 // len(piece))
    start = time.process_time()
    with pytest.raises(ValueError, match=f"line {line + 1} has more than 1000000 characters"):
        read(tmp_path, "\n".join(lines))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "piece", ["a ", "=", "q=", "1 ", "[C]", "(C", "charge ", "-1 2 ", '"1 1" ']
)
def test_a_comment_of_a_megabyte_is_refused_at_once(tmp_path: Path, piece: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match="line 2 is a comment of more than 20000 char"):
        read(tmp_path, text(comment=piece * (900_000 // len(piece)) + "\n"))
    assert time.process_time() - start < 5


def test_a_hessian_in_a_comment_is_not_too_long(tmp_path: Path) -> None:
    numbers = " ".join(f"{x:.8f}" for x in np.linspace(-9, 9, 60_000))
    [atoms] = read(tmp_path, text(comment=f'hessian="{numbers}" reaction=a\n'))
    check(atoms)
    assert atoms.info["reaction"] == "a"


def test_a_bomb_in_a_compressed_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2 has more than"):
        read(tmp_path, gzip.compress(b"4\n" + b" " * 200_000_000, compresslevel=1), "a.xyz.gz")


def test_twelve_thousand_atoms_take_no_time(tmp_path: Path) -> None:
    positions = np.random.default_rng(1).uniform(0, 60, (12_000, 3))
    write(tmp_path / "a.xyz", Atoms("H12000", positions))
    start = time.process_time()
    [atoms] = read_xyz(tmp_path / "a.xyz")
    assert time.process_time() - start < 5
    np.testing.assert_allclose(atoms.positions, positions, atol=1e-7)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
def test_the_files_of_the_shared_cases() -> None:
    for name in ("between_blank", "numbers", "D", "masses"):
        reactant, product = read_xyz(CASES / f"{name}.xyz")
        assert str(reactant.symbols) == str(product.symbols) == "CNH"
        assert reactant.positions[2, 0] == -1.084751 and product.positions[2, 0] == -1.051128
        deuterium = name in ("D", "masses")
        np.testing.assert_allclose(
            reactant.get_masses()[2], 2.014 if deuterium else 1.008, atol=2e-4
        )


def test_words_of_a_comment_that_ase_has_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "first.xyz").write_text("1\na cation; charge 1 multiplicity 2\nO 0 0 0\n")
    write(tmp_path / "second.xyz", ase.io.read(tmp_path / "first.xyz"))
    assert "charge=T 1=T multiplicity=T 2=T" in (tmp_path / "second.xyz").read_text()
    [atoms] = read_xyz(tmp_path / "second.xyz")
    assert settle(atoms.info[KEY], atoms.numbers) == (1, 2)
