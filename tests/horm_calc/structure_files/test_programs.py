"""Charge, multiplicity and masses in inputs and outputs of programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from horm_calc.structure_files.ase_atoms import stated_electrons
from horm_calc.structure_files.electrons import UnclearElectrons, settle
from horm_calc.structure_files.reading import read_structures

GAUSSIAN = """ Entering Gaussian System, Link 0=g16
 ******************************************
 #p b3lyp/6-31g(d) opt
{said}{isotopes}
                         Standard orientation:
 ---------------------------------------------------------------------
 Center     Atomic      Atomic             Coordinates (Angstroms)
 Number     Number       Type             X           Y           Z
 ---------------------------------------------------------------------
      1          8           0        0.000000    0.000000    0.117000
      2          1           0        0.000000    0.757000   -0.468000
      3          1           0        0.000000   -0.757000   -0.468000
 ---------------------------------------------------------------------
 SCF Done:  E(UB3LYP) =  -76.123456789     A.U. after   10 cycles
 Mulliken charges and spin densities:
               1          2
     1  O   -0.700000   1.000000
     2  H    0.350000   1.000000
     3  H    0.350000   0.000000
 Sum of Mulliken charges =   0.00000   2.00000
{analysis} Normal termination of Gaussian 16
"""
ISOTOPES = """ Isotopes and Nuclear Properties:
  Atom         1           2           3
 IAtWgt=          16           2           1
 AtmWgt=  15.9949146   2.0141018   1.0078250
"""
ANALYSIS = """ Thermochemistry
 Temperature   298.150 Kelvin.  Pressure   1.00000 Atm.
 Atom     1 has atomic number  8 and mass  17.99916
 Atom     2 has atomic number  1 and mass   1.00783
 Atom     3 has atomic number  1 and mass   1.00783
"""
ORCA = """                                 * O   R   C   A *
|  2> * xyz {charge} {mult}
 Total Charge           Charge          ....    {charge}
 Multiplicity           Mult            ....    {mult}
Number of atoms                             ...      3
---------------------------------
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
  O       0.000000    0.000000    0.117000
  H       0.000000    0.757000   -0.468000
  H       0.000000   -0.757000   -0.468000

----------------------------
CARTESIAN COORDINATES (A.U.)
----------------------------
  NO LB      ZA    FRAG     MASS         X           Y           Z
   0 O     8.0000    0    15.999    0.000000    0.000000    0.221098
   1 H     1.0000    0     {mass}    0.000000    1.430522   -0.884392
   2 H     1.0000    0     1.008    0.000000   -1.430522   -0.884392

FINAL SINGLE POINT ENERGY       -76.123456789
                             ****ORCA TERMINATED NORMALLY****
"""


def only(folder: Path, name: str, content: str) -> Atoms:
    (folder / name).write_text(content)
    [atoms] = read_structures(folder / name)
    return atoms


def told(atoms: Atoms) -> tuple[int | None, int | None]:
    return settle(stated_electrons(atoms), atoms.numbers)


def gaussian(said: str, isotopes: str = "", analysis: str = "") -> str:
    return GAUSSIAN.format(said=said, isotopes=isotopes, analysis=analysis)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" Charge =  0 Multiplicity = 3\n", (0, 3)),
        (" Charge = -1 Multiplicity = 2\n", (-1, 2)),
        (" Charge =  2 Multiplicity = 1\n", (2, 1)),
        (2 * " Charge =  0 Multiplicity = 1\n", (0, 1)),
        (
            " Charge =  0 Multiplicity = 3 in supermolecule\n"
            " Charge =  1 Multiplicity = 1 in fragment      1.\n",
            (0, 3),
        ),
        ("", (None, 3)),  # without the line, from the spin densities
    ],
)
def test_output_of_gaussian(tmp_path: Path, line: str, expected: tuple) -> None:
    atoms = only(tmp_path, "a.log", gaussian(line))
    assert told(atoms) == expected
    assert not atoms.has("masses")


def test_output_of_two_jobs_that_differ(tmp_path: Path) -> None:
    lines = " Charge =  0 Multiplicity = 1\n Charge =  1 Multiplicity = 2\n"
    with pytest.raises(UnclearElectrons, match="'charge' is 0 and 1: Charge =  0"):
        told(only(tmp_path, "a.log", gaussian(lines)))


def test_isotopes_in_the_output_of_gaussian(tmp_path: Path) -> None:
    line = " Charge =  0 Multiplicity = 1\n"
    labelled = only(tmp_path, "a.log", gaussian(line, ISOTOPES))
    np.testing.assert_allclose(labelled.get_masses(), [15.999, 2.014102, 1.008], atol=1e-6)
    both = only(tmp_path, "b.log", gaussian(line, ISOTOPES, ANALYSIS))
    np.testing.assert_allclose(both.get_masses(), [17.99916, 1.008, 1.008], atol=1e-6)
    usual = ISOTOPES.replace("  2  ", "  1  ").replace(" 2.0141018", " 1.0078250")
    assert not only(tmp_path, "c.log", gaussian(line, usual)).has("masses")


def test_output_of_orca(tmp_path: Path) -> None:
    plain = only(tmp_path, "a.out", ORCA.format(charge=0, mult=3, mass=1.008))
    assert told(plain) == (0, 3)
    np.testing.assert_array_equal(plain.get_masses(), [15.999, 1.008, 1.008])
    heavy = only(tmp_path, "b.out", ORCA.format(charge=-1, mult=2, mass=2.014))
    assert told(heavy) == (-1, 2)
    np.testing.assert_array_equal(heavy.get_masses(), [15.999, 2.014, 1.008])


def test_outputs_of_other_programs(tmp_path: Path) -> None:
    gamess = """          * GAMESS VERSION *
 CHARGE OF MOLECULE                    =   -1
 STATE MULTIPLICITY                    =    2
 ATOM      ATOMIC                      COORDINATES (BOHR)
           CHARGE         X                   Y                   Z
 O           8.0     0.0000000000        0.0000000000        0.0000000000
 H           1.0     0.0000000000        0.0000000000        1.8300000000

 FINAL RHF ENERGY IS      -75.0000000000 AFTER  10 ITERATIONS
"""
    assert told(only(tmp_path, "a.out", gamess)) == (-1, 2)


CHLORATE = """$coord
 0.0 0.0 0.0 cl
 0.0 0.0 2.8 o
{said}
$end
"""


def test_inputs_of_programs(tmp_path: Path) -> None:
    hydroxide = molecule("OH")
    write(tmp_path / "a.nwi", hydroxide, format="nwchem-in", charge=-1, dft={"mult": 1})
    [atoms] = read_structures(tmp_path / "a.nwi")
    assert told(atoms) == (-1, 1)
    turbomole = CHLORATE.format(said="$eht charge=-1 unpaired=0")
    assert told(only(tmp_path, "coord", turbomole)) == (-1, 1)
    dftb = "Geometry = GenFormat {\n2 C\nO H\n1 1 0 0 0\n2 2 0 0 0.97\n}\n"
    dftb += "Hamiltonian = DFTB {\n Charge = -1.0\n}\n"
    assert told(only(tmp_path, "dftb_in.hsd", dftb)) == (-1, None)
    cjson = (
        '{"chemicalJson": 1, "atoms": {"elements": {"number": [8, 8]}, "coords": '
        '{"3d": [0, 0, 0, 0, 0, 1.2]}, "formalCharges": [0, 0]}, '
        '"properties": {"totalCharge": 0, "totalSpinMultiplicity": 3}}'
    )
    assert told(only(tmp_path, "a.cjson", cjson)) == (0, 3)


def test_texts_of_unknown_kinds_are_not_understood(tmp_path: Path) -> None:
    """FHI-aims' charges of single atoms are, as ASE reads them."""
    aims = "# charge -1\natom 0 0 0 O\natom 0 0 0.97 H\n"
    with pytest.raises(UnclearElectrons, match="charge -1: looks like a charge"):
        told(only(tmp_path, "geometry.in", aims))
    charged = aims.replace("O\n", "O\ninitial_charge -1\n")
    assert told(only(tmp_path, "geometry.in", charged)) == (-1, None)


PDB = """TITLE     {title}
HETATM    1  O   UNK     0       0.000   0.000   0.000  1.00  0.00           O{charge}
HETATM    2  H   UNK     0       0.000   0.000   0.970  1.00  0.00           H
END
"""


@pytest.mark.parametrize(("charge", "expected"), [("1-", -1), ("2-", -2), ("+1", 1), ("", None)])
def test_charges_of_a_pdb_file(tmp_path: Path, charge: str, expected: int | None) -> None:
    atoms = only(tmp_path, "a.pdb", PDB.format(title="a molecule", charge=charge))
    assert told(atoms) == (expected, None)


def test_charges_of_a_pdb_file_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2 has 'X' in the place of a charge such as 1-"):
        only(tmp_path, "a.pdb", PDB.format(title="", charge="X"))
    with pytest.raises(UnclearElectrons, match="charge=-2"):
        told(only(tmp_path, "a.pdb", PDB.format(title="charge=-2", charge="")))


def test_charges_of_several_models(tmp_path: Path) -> None:
    (tmp_path / "a.pdb").write_text(
        PDB.format(title="", charge="1-") + PDB.format(title="", charge="")
    )
    assert [told(atoms)[0] for atoms in read_structures(tmp_path / "a.pdb")] == [-1, None]


INPUT = """%chk=a.chk
#p wb97xd/6-31g(d) {route}

a title

{pair}
C 0.1 0.0 0.0
{h} 0.0 0.0 1.1
{more}
"""


@pytest.mark.parametrize(
    ("pair", "expected"), [("0 3", (0, 3)), ("-1,2", (-1, 2)), ("1 1", (1, 1))]
)
@pytest.mark.parametrize("name", ["a.gjf", "a.com"])
def test_input_of_gaussian(tmp_path: Path, name: str, pair: str, expected: tuple) -> None:
    atoms = only(tmp_path, name, INPUT.format(route="", pair=pair, h="H", more=""))
    assert told(atoms) == expected
    assert not atoms.has("masses") and atoms.calc is None


@pytest.mark.parametrize(
    ("symbol", "mass"),
    [
        ("H(iso=2)", 2.014102),
        ("H(Iso=2)", 2.014102),
        ("H(iso=3)", 3.016049),
        ("H(iso=2.0141)", 2.0141),
        ("H(iso=2,spin=1)", 2.014102),
        ("D", 2.014102),
        ("T", 3.016049),
        ("H(iso=1)", 1.007825),
    ],
)
def test_isotopes_in_the_input_of_gaussian(tmp_path: Path, symbol: str, mass: float) -> None:
    atoms = only(tmp_path, "a.com", INPUT.format(route="", pair="0 4", h=symbol, more=""))
    assert str(atoms.symbols) == "CH"
    np.testing.assert_allclose(atoms.get_masses(), [12.011, mass], atol=1e-6)


def test_isotopes_below_the_atoms_of_gaussian(tmp_path: Path) -> None:
    more = "\n298.15 1.0\n13\n2\n"
    text = INPUT.format(route="freq=readiso", pair="0 4", h="H", more=more)
    np.testing.assert_allclose(
        only(tmp_path, "a.com", text).get_masses(), [13.003355, 2.014102], atol=1e-6
    )


def test_several_jobs_in_the_input_of_gaussian(tmp_path: Path) -> None:
    text = INPUT.format(route="opt", pair="0 2", h="H", more="\n--Link1--\n")
    same = text + "#p geom=check guess=read\n\nagain\n\n0 2\n\n"
    assert told(only(tmp_path, "a.com", same)) == (0, 2)
    with pytest.raises(ValueError, match="its jobs differ in charge or multiplicity"):
        only(tmp_path, "a.com", same.replace("again\n\n0 2", "again\n\n-1 3"))


@pytest.mark.parametrize("units", ["units=au", "Units=(Bohr,Deg)", "units(au)", "unit=radian"])
def test_other_units_in_the_input_of_gaussian(tmp_path: Path, units: str) -> None:
    text = INPUT.format(route=units, pair="0 2", h="H", more="")
    with pytest.raises(ValueError, match="units that are not read; save it as xyz"):
        only(tmp_path, "a.com", text)
    usual = INPUT.format(route="units=ang", pair="0 2", h="H", more="")
    assert len(only(tmp_path, "a.com", usual.replace("a title", "not units=au"))) == 2


def test_remarks_in_the_input_of_gaussian(tmp_path: Path) -> None:
    text = "! mine\n" + INPUT.format(route="! UKS", pair="0 4 ! quartet", h="H", more="! end")
    assert told(only(tmp_path, "a.com", text)) == (0, 4)


@pytest.mark.parametrize("unit", ["angs", "frac", " ang"])
def test_other_units_in_the_input_of_turbomole(tmp_path: Path, unit: str) -> None:
    with pytest.raises(ValueError, match="units that are not read"):
        only(tmp_path, "coord", CHLORATE.format(said="").replace("$coord", f"$coord {unit}"))


@pytest.mark.parametrize("name", ["CA  ", " CA ", "HG11", "HE1 ", " NE2", "CL1 "])
def test_names_of_atoms_in_a_pdb_file_may_be_several_elements(tmp_path: Path, name: str) -> None:
    """ASE makes calcium and mercury of a protein's carbons and hydrogens."""
    text = PDB.format(title="", charge="").replace(" H   UNK", f"{name} UNK")
    only(tmp_path, "a.pdb", text)  # with elements in their columns
    bare = "".join(f"{line[:66]}\n" for line in text.splitlines())
    with pytest.raises(ValueError, match=rf"line 3 has no element .* '{name.strip()}' may be"):
        only(tmp_path, "a.pdb", bare)
    usual = bare.replace(f"{name} UNK", " H1  UNK")
    assert str(only(tmp_path, "a.pdb", usual).symbols) == "OH"


def test_alternate_places_in_a_pdb_file(tmp_path: Path) -> None:
    text = PDB.format(title="", charge="").replace(" H   UNK", " H  AUNK")
    assert len(only(tmp_path, "a.pdb", text)) == 2
    with pytest.raises(ValueError, match=r"alternate places \(A, B in column 17\)"):
        only(tmp_path, "a.pdb", text.replace(" O   UNK", " O  BUNK"))
