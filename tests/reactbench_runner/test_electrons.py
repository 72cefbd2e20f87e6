"""Charge, multiplicity and isotopes of reactions, as tables and files say them together."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from reactbench_runner.storage.provenance import fingerprint
from reactbench_runner.storage.xyz_files import write_search
from tests.places import SHARED
from tests.reactbench_runner.calling import call
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.records import Label, Reaction, ReactionPath, SearchResult, Verdict

CASES = SHARED / "cases"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")

#: The exit status.
NONE_SUCCEEDED = 3

HYDROXYMETHYLENE = Atoms("COHH", [[0, 0, 0], [1.31, 0, 0], [-0.25, 1.08, 0], [1.6, -0.92, 0]])
FORMALDEHYDE = Atoms("COHH", [[0, 0, 0], [1.21, 0, 0], [-0.58, 0.94, 0], [-0.58, -0.94, 0]])


def only(source: Path) -> Reaction:
    [found] = read_reactions(source)
    assert isinstance(found, Reaction), found.reason
    return found


def refusal(source: Path) -> str:
    [found] = read_reactions(source)
    assert isinstance(found, Unreadable)
    return found.reason


def commented(folder: Path, *comments: str) -> Path:
    """A reaction whose two frames have these comments."""
    path = folder / "a.xyz"
    path.write_text("")
    for atoms, comment in zip((HYDROXYMETHYLENE, FORMALDEHYDE), comments, strict=True):
        write(path, atoms, format="xyz", comment=comment, append=True)
    return path


def table(folder: Path, names: str, cells: str) -> Path:
    path = folder / "table.csv"
    path.write_text(f"id,{names}\na,{cells}\n")
    return path


@needs_cases
@pytest.mark.parametrize("name", ["ours", "mult", "omol", "zero_three", "ase_magmoms"])
def test_five_ways_to_say_a_triplet(name: str) -> None:
    reaction = only(CASES / "spin" / f"{name}.xyz")
    assert (reaction.charge, reaction.multiplicity) == (0, 3)


@needs_cases
@pytest.mark.parametrize(
    ("names", "cells"),
    [
        ("reaction", "spin/ase_magmoms.traj"),
        ("reactant,product", "files/g1_r.log,files/g1_p.log"),
        ("reactant,product", "files/o1_r.out,files/o1_p.out"),
        ("reaction,multiplicity", "spin/zero_three.xyz,3"),
        ("reactant,product,multiplicity", "molfiles/trimethylene.mol,molfiles/propene_t.mol,3"),
    ],
)
def test_a_triplet_in_files_of_other_kinds(tmp_path: Path, names: str, cells: str) -> None:
    paths = [str(CASES / cell) if "/" in cell else cell for cell in cells.split(",")]
    reaction = only(table(tmp_path, names, ",".join(paths)))
    assert (reaction.charge, reaction.multiplicity) == (0, 3)


@needs_cases
def test_the_radical_centres_of_a_molfile_leave_a_choice(tmp_path: Path) -> None:
    ends = [str(CASES / "molfiles" / name) for name in ("trimethylene.mol", "propene_t.mol")]
    reason = refusal(table(tmp_path, "reactant,product", ",".join(ends)))
    assert "the multiplicity may be 1 or 3" in reason and "columns 'charge'" in reason


@needs_cases
@pytest.mark.parametrize("name", ["isotopes/dcn_D.xyz", "files/D.xyz", "files/masses.xyz", "com"])
def test_deuterium_in_files(name: str) -> None:
    reaction = only(CASES / ("isotopes/in.csv" if name == "com" else name))
    for atoms in (reaction.reactant, reaction.product):
        np.testing.assert_allclose(atoms.get_masses(), [12.011, 14.007, 2.0141], atol=2e-4)


@needs_cases
def test_the_triplet_barrier(tmp_path: Path) -> None:
    """ΔE‡ of the triplet; the singlet, as which the file was once read, has 40.2 kcal/mol."""
    source = CASES / "spin" / "zero_three.xyz"
    fast = ["--calculator", "gfn2-xtb", "--lower_path.steps", "0"]
    assert call(source, "--out", tmp_path / "out", *fast) == 0
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["verdict"], row["charge"], row["multiplicity"]) == ("intended", "0", "3")
    assert float(row["barrier_kcal_per_mol"]) == pytest.approx(29.6, abs=0.1)
    saddle = read(tmp_path / "out" / "zero_three" / "ts.xyz")
    assert (saddle.info["charge"], saddle.info["multiplicity"]) == (0, 3)


UNKNOWN_TO_NETWORKS = {
    "mult=3": "multiplicity 3",
    "uhf=2": "multiplicity 3",
    "0 3": "multiplicity 3",
    "charge: 0 multiplicity: 3": "multiplicity 3",
    "q=-2": "charge -2",
    "total_charge=-2": "charge -2",
    "nelec=15": "nelec=15 (6.xyz): looks like a charge, but is not understood",
    "spin=2": "spin=2 (7.xyz): the multiplicity may be 3 or 5",
    "HCOH, a triplet": "triplet (8.xyz): looks like a multiplicity",
}


def test_networks_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    for number, comment in enumerate(UNKNOWN_TO_NETWORKS):
        commented(tmp_path, comment, comment).rename(tmp_path / f"{number}.xyz")
    out = tmp_path / "out"
    assert call(tmp_path, "--out", out, "--calculator", "horm:horm-mini") == NONE_SUCCEEDED
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, words in zip(rows, UNKNOWN_TO_NETWORKS.values(), strict=True):
        assert (row["verdict"], row["stage"]) == ("failed", "input")
        assert words in row["reason"]


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        (("charge=0 mult=3", ""), (0, 3)),
        (("", "0 3"), (0, 3)),
        (("0 3", "charge: 0, uhf: 2"), (0, 3)),
        (("Cl- leaves; charge=-1", "q=-1"), (-1, 1)),
        (("", ""), (0, 1)),
    ],
)
def test_one_end_that_says_it_is_enough(tmp_path: Path, comments: tuple, expected: tuple) -> None:
    reaction = only(commented(tmp_path, *comments))
    assert (reaction.charge, reaction.multiplicity) == expected
    assert reaction.reactant.info == reaction.product.info == {}


@pytest.mark.parametrize(
    ("comments", "cells", "reason"),
    [
        (("0 3", "0 1"), ",", "'multiplicity' is 3 and 1: 0 3 (a.xyz); 0 1 (a.xyz)"),
        (("charge=1", "charge=0"), ",", "'charge' is 1 and 0: charge=1 (a.xyz); charge=0 (a.xyz)"),
        (("0 3", "0 3"), "0,1", "'multiplicity' is 1 and 3: 1 in the table; 0 3 (a.xyz)"),
        (("q=-2", "q=-2"), "0,1", "'charge' is 0 and -2: 0 in the table; q=-2 (a.xyz)"),
        (("spin=2", ""), ",1", "'multiplicity' is 1 and 3 or 5: 1 in the table; spin=2 (a.xyz)"),
        (("spin=x", ""), "0,", "spin=x (a.xyz): looks like a multiplicity"),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, comments: tuple, cells: str, reason: str
) -> None:
    commented(tmp_path, *comments)
    told = refusal(table(tmp_path, "reaction,charge,multiplicity", f"a.xyz,{cells}"))
    assert f"table.csv, line 2: {reason}" in told
    assert "comment lines of an xyz file (charge=-1 multiplicity=2)" in told


@pytest.mark.parametrize(
    ("comment", "cells", "expected"),
    [
        ("spin=2", "0,3", (0, 3)),
        ("spin=2", "0,5", (0, 5)),
        ("spin contamination, charges of Mulliken", "0,3", (0, 3)),
        ("a triplet", ",3", (0, 3)),
        ("formyl cation and hydride", "0,1", (0, 1)),
    ],
)
def test_the_table_settles_what_a_comment_leaves_open(
    tmp_path: Path, comment: str, cells: str, expected: tuple
) -> None:
    commented(tmp_path, comment, comment)
    reaction = only(table(tmp_path, "reaction,charge,multiplicity", f"a.xyz,{cells}"))
    assert (reaction.charge, reaction.multiplicity) == expected


def deuterated(place: int, mass: float = 2.014) -> Atoms:
    atoms = molecule("H2O")
    masses = atoms.get_masses()
    masses[place] = mass
    atoms.set_masses(masses)
    return atoms


def ends(folder: Path, reactant: Atoms, product: Atoms) -> Path:
    for name, atoms in (("r.traj", reactant), ("p.traj", product)):
        write(folder / name, atoms)
    return table(folder, "reactant,product", "r.traj,p.traj")


@pytest.mark.parametrize("heavy", [0, 1])
def test_an_end_without_masses_has_those_of_the_other(tmp_path: Path, heavy: int) -> None:
    pair = [molecule("H2O"), molecule("H2O")]
    pair[heavy] = deuterated(1)
    reaction = only(ends(tmp_path, *pair))
    for atoms in (reaction.reactant, reaction.product):
        np.testing.assert_array_equal(atoms.get_masses(), deuterated(1).get_masses())


@pytest.mark.parametrize("product", [deuterated(2), deuterated(1, 3.016), deuterated(1, 1.0)])
def test_ends_of_different_isotopes_are_refused(tmp_path: Path, product: Atoms) -> None:
    """Also where one end says of all its atoms that they are the usual ones."""
    with pytest.raises(InputError, match=r"the masses differ: H2 2\.014 in the reactant"):
        check_reaction(only(ends(tmp_path, deuterated(1), product)))


def test_masses_change_the_fingerprint_and_the_usual_ones_do_not(tmp_path: Path) -> None:
    """Runs from before resume: their reactions were read without masses."""
    plain = only(ends(tmp_path, molecule("H2O"), molecule("H2O")))
    for usual in (molecule("H2O").get_masses(), [15.9949146, 1.0078250, 1.0078250]):
        same = molecule("H2O")
        same.set_masses(usual)
        reaction = only(ends(tmp_path, same, same))
        assert set(reaction.reactant.arrays) == {"numbers", "positions"}
        assert fingerprint(reaction) == fingerprint(plain)
    heavy = [only(ends(tmp_path, deuterated(i), deuterated(i))) for i in (1, 2)]
    assert len({fingerprint(reaction) for reaction in [plain, *heavy]}) == 3


def test_what_a_run_writes_can_be_read_again(tmp_path: Path) -> None:
    images = (HYDROXYMETHYLENE, FORMALDEHYDE)
    path = ReactionPath(images, np.zeros(2), method="none", converged=True)
    for charge, multiplicity in ((1, 2), (0, 3), (0, 1)):
        reaction = Reaction("a", *images, charge=charge, multiplicity=multiplicity)
        result = SearchResult(reaction, Verdict(Label.FAILED, ""), path=path)
        write_search(result, tmp_path, "GFN2-xTB")
        again = only(tmp_path / "path.xyz")
        assert (again.charge, again.multiplicity) == (charge, multiplicity)
    assert "charge=0 multiplicity=1" in (tmp_path / "path.xyz").read_text()
