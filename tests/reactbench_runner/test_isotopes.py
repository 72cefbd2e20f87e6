"""Isotopes in what a run leaves behind, and after an interruption."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from ase.io import read

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.batch import run_batch
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.xyz_files import write_search
from workflows.errors import InputError
from workflows.records import Label, Reaction, ReactionPath, SearchResult, Verdict
from workflows.settings import from_mapping

FAST = from_mapping(
    {
        "path": {"method": "geodesic"},
        "attempts": 1,
        "lower_path": {"steps": 0},
        "irc": {"method": "sella"},
    }
)
MASSES = [2.014, 12.011, 15.0001]


def reaction(masses: list[float] | None) -> Reaction:
    reactant = Atoms("HCN", [[-1.07, 0.3, 0], [0, 0, 0], [1.15, 0, 0]])
    product = Atoms("HCN", [[2.15, 0.3, 0], [0, 0, 0], [1.17, 0, 0]])
    if masses is not None:
        reactant.set_masses(masses)
        product.set_masses(masses)
    return Reaction("dcn", reactant, product)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("isotopes") / "out"
    run_batch([reaction(MASSES)], out, "gfn2-xtb", settings=FAST)
    return out


def row(out: Path) -> dict[str, str]:
    with (out / "results.csv").open(newline="") as f:
        [found] = csv.DictReader(f)
    return found


def test_every_file_says_the_isotopes(searched: Path) -> None:
    assert row(searched)["isotopes"] == "H1 2.014, N3 15.0001"
    for name in ("path.xyz", "ts.xyz", "irc.xyz"):
        for frame in read(searched / "dcn" / name, ":"):
            assert frame.get_masses() == pytest.approx(MASSES)
            assert np.isfinite(frame.get_potential_energy())
            assert frame.info["level_of_theory"].startswith("GFN2-xTB")
    with connect(searched / "results.db") as database:
        rows = list(database.select())
    assert len(rows) == 5
    for entry in rows:
        np.testing.assert_array_equal(entry.toatoms().get_masses(), MASSES)


def test_frequencies_and_free_energies_are_of_the_isotopes(searched: Path) -> None:
    with connect(searched / "results.db") as database:
        saddle = database.get(role="transition_state")
    hessian = saddle.data["hessian_ev_per_a2"]
    frequency = float(row(searched)["imaginary_frequency_cm1"])
    of_hydrogen = Atoms(saddle.toatoms().numbers, saddle.toatoms().positions)
    assert frequency == pytest.approx(
        normal_modes(saddle.toatoms(), hessian).frequencies[0], abs=0.1
    )
    # The hydrogen moves nearly alone, so nearly by the root of two.
    ratio = normal_modes(of_hydrogen, hessian).frequencies[0] / frequency
    assert 1.3 < ratio < 2**0.5


def test_a_verification_after_an_interruption_knows_the_isotopes(searched: Path) -> None:
    run_batch([reaction(MASSES)], searched, "gfn2-xtb", settings=FAST, verify="gfn1-xtb")
    found = row(searched)
    assert found["verify_converged"] == "True", found["verify_reason"]
    with connect(searched / "results.db") as database:
        saddle = database.get(role="verify_transition_state").toatoms()
        hessian = database.get(role="verify_transition_state").data["hessian_ev_per_a2"]
    np.testing.assert_array_equal(saddle.get_masses(), MASSES)
    frequency = float(found["verify_imaginary_frequency_cm1"])
    assert frequency == pytest.approx(normal_modes(saddle, hessian).frequencies[0], abs=0.1)
    [frame] = read(searched / "dcn" / "ts_verified.xyz", ":")
    assert frame.get_masses() == pytest.approx(MASSES)


@pytest.mark.parametrize("masses", [None, [2.014, 12.011, 14.007], [3.016, 12.011, 15.0001]])
def test_other_isotopes_are_another_reaction(searched: Path, masses) -> None:
    with pytest.raises(InputError, match=r"dcn.*have changed since"):
        run_batch([reaction(masses)], searched, "gfn2-xtb", settings=FAST, verify="gfn1-xtb")


def test_without_isotopes_files_are_plain_xyz(tmp_path: Path) -> None:
    atoms = reaction(None).reactant
    path = ReactionPath((atoms,), np.array([-1.0]), method="geodesic", converged=True)
    result = SearchResult(reaction(None), Verdict(Label.FAILED), path=path)
    assert to_row(result).isotopes == ""
    write_search(result, tmp_path, "GFN2-xTB")
    lines = (tmp_path / "path.xyz").read_text().splitlines()
    assert lines[1] == "level_of_theory=GFN2-xTB charge=0 multiplicity=1 energy=-1.0"
    assert [len(line.split()) for line in lines[2:]] == [4, 4, 4]
