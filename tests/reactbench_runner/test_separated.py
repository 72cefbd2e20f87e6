"""Reactions of two molecules, as a user runs them."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
from ase import Atoms
from ase.db import connect
from ase.io import read

from reactbench_runner import calculators
from reactbench_runner.execution.workers import RunSpec, search_one
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.table import COLUMNS, cells
from tests.places import EXAMPLES, STRUCTURES
from tests.reactbench_runner.calling import call
from workflows.records import Label, Reaction, SearchResult
from workflows.settings import from_mapping
from workflows.tssearch import search

FLAGS = ["--path.method=geodesic", "--attempts=1", "--lower_path.steps=0", "--irc.method=sella"]
QUICK = {
    "path": {"method": "geodesic"},
    "irc": {"method": "sella"},
    "lower_path": {"steps": 0},
    "attempts": 1,
}

#: RT ln(24.465), kcal/mol: from 1 atm to 1 mol/L at 298.15 K.
CONCENTRATED = 1.894


@pytest.fixture(scope="module")
def substitution(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Chloride and bromomethane, and what the command prints of them."""
    out = tmp_path_factory.mktemp("substitution") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "400")
        printed = _printed(EXAMPLES / "ions.csv", "--out", out, *FLAGS, "--calculator", "gfn2-xtb")
    return out, printed


def _printed(*arguments: object) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert call(*arguments) == 0
    return said.getvalue()


def row(out: Path) -> dict[str, str]:
    with (out / "results.csv").open(newline="", encoding="utf-8") as f:
        [found] = csv.DictReader(f)
    return found


def test_ions_have_their_charges_and_both_ends_are_counted_apart(substitution) -> None:
    found = row(substitution[0])
    assert found["verdict"] == "intended"
    assert found["reactant_molecules"] == "CH3Br + Cl-"
    assert found["product_molecules"] == "CH3Cl + Br-"
    number = {name: float(value) for name, value in found.items() if name.startswith("separated_")}
    # From single molecules by tblite itself: test_separated.py of workflows.
    assert number["separated_barrier_kcal_per_mol"] == pytest.approx(-7.98, abs=0.05)
    assert number["separated_gibbs_barrier_kcal_per_mol"] == pytest.approx(-0.9, abs=0.1)
    assert number["separated_reverse_gibbs_barrier_kcal_per_mol"] == pytest.approx(6.3, abs=0.1)
    for way in ("", "reverse_"):
        at_pressure = number[f"separated_{way}gibbs_barrier_kcal_per_mol"]
        at_concentration = number[f"separated_{way}gibbs_barrier_1m_kcal_per_mol"]
        assert at_concentration == pytest.approx(at_pressure - CONCENTRATED, abs=2e-3)
    # As many molecules before as after.
    assert number["separated_reaction_gibbs_kcal_per_mol"] == pytest.approx(
        number["separated_reaction_gibbs_1m_kcal_per_mol"], abs=2e-3
    )
    # The complex lies below its molecules: the old columns still count from it.
    assert float(found["barrier_kcal_per_mol"]) == pytest.approx(6.41, abs=0.05)
    assert "Cl-: T = 298.15 K" in found["reactant_molecules_thermochemistry"]


def test_the_cost_is_a_stage_of_its_own(substitution) -> None:
    found = row(substitution[0])
    assert int(found["separated_molecules_gradients"]) > 0
    parts = [value for name, value in found.items() if name.endswith("_gradients")]
    of_verification = [found["verify_gradients"]]
    assert sum(map(int, filter(None, parts))) - sum(map(int, filter(None, of_verification))) == int(
        found["gradients"]
    )


def test_it_is_said_in_words(substitution) -> None:
    out, printed = substitution
    warnings = row(out)["warnings"]
    assert (
        "the reactant is a complex, CH3Br + Cl-, 14.4 kcal/mol below the separate molecules"
        in warnings
    )
    assert (
        "the product is a complex, CH3Cl + Br-, 9.6 kcal/mol below the separate molecules"
        in warnings
    )
    assert "energies relative to the separate molecules are given too" in warnings
    assert "from separated CH3Br + Cl-: ΔE‡ -8.0, ΔG‡ -0.9 (-2.8 at 1 mol/L) kcal/mol" in printed


def test_the_molecules_are_kept_with_charge_and_energy(substitution) -> None:
    out, _ = substitution
    frames = read(out / "sn2" / "reactant_molecules.xyz", ":")
    assert [(f.get_chemical_formula(), f.info["charge"]) for f in frames] == [
        ("CH3Br", 0),
        ("Cl", -1),
    ]
    assert {(f.info["multiplicity"], f.info["count"]) for f in frames} == {(1, 1)}
    with connect(out / "results.db") as database:
        stored = {one.role: one for one in database.select(reaction="sn2")}
    for number, frame in enumerate(frames, 1):
        one = stored[f"reactant_molecule{number}"]
        assert (one.total_charge, one.count) == (frame.info["charge"], 1)
        assert one.energy == pytest.approx(frame.get_potential_energy(), abs=1e-5)
        assert one.data["hessian_ev_per_a2"].shape == (3 * len(frame), 3 * len(frame))
        given = stored["reactant"].numbers[one.data["atom_indices"]]
        assert given.tolist() == frame.numbers.tolist()
    total = sum(frame.get_potential_energy() for frame in frames)
    assert total == pytest.approx(float(row(out)["separated_reactants_energy_ev"]), abs=1e-5)


def test_one_molecule_at_each_end_adds_nothing() -> None:
    stages: list[str] = []
    reactant, product = read(STRUCTURES / "hcn.xyz", ":")
    result = search(
        Reaction("hcn", reactant, product),
        calculators.build("gfn2-xtb"),
        from_mapping(QUICK),
        progress=stages.append,
    )
    assert result.verdict.label is Label.INTENDED
    assert "separated molecules" not in stages
    assert "separated molecules" not in result.costs
    assert result.separated == {}
    assert not any("pieces" in text for text in result.warnings)
    found = cells(to_row(result))
    new = [name for name in COLUMNS if "separated" in name or "_molecules" in name]
    assert {found[name] for name in new} <= {"", 0}


DISSOCIATION = (
    Atoms("CHHO", [[0, 0, -0.53], [0.94, 0, -1.12], [-0.94, 0, -1.12], [0, 0, 0.68]]),
    Atoms("CHHO", [[0, 0, -0.53], [0.37, 0, -3.6], [-0.37, 0, -3.6], [0, 0, 0.6]]),
)


@pytest.fixture(scope="module")
def dissociation() -> SearchResult:
    """Formaldehyde to hydrogen and carbon monoxide."""
    return search_one(
        Reaction("h2co", *DISSOCIATION),
        RunSpec("gfn2-xtb", from_mapping({"attempts": 1, "lower_path": {"steps": 0}})),
    )


def test_only_the_end_in_pieces_has_a_barrier_from_molecules(dissociation) -> None:
    found = to_row(dissociation)
    assert found.product_molecules == "CO + H2"
    assert found.reactant_molecules == ""
    assert found.separated_barrier_kcal_per_mol is None
    energy = found.separated_products_energy_ev - found.reactant_energy_ev
    assert found.separated_reaction_energy_kcal_per_mol == pytest.approx(23.0605 * energy, abs=0.01)
    rise = (
        found.separated_reaction_gibbs_1m_kcal_per_mol - found.separated_reaction_gibbs_kcal_per_mol
    )
    assert rise == pytest.approx(CONCENTRATED, abs=2e-3)  # a molecule more
    assert found.verdict == "intended"
    height = 23.0605 * (found.ts_energy_ev - found.separated_products_energy_ev)
    assert found.separated_reverse_barrier_kcal_per_mol == pytest.approx(height, abs=0.01)


def test_radicals_with_a_network_are_refused_in_words() -> None:
    """Hydrogen peroxide to two hydroxyl radicals: what a network cannot compute is not made up."""
    reactant = Atoms("OOHH", [[0, 0.7, 0], [0, -0.7, 0], [0.8, 0.9, 0.4], [-0.8, -0.9, 0.4]])
    product = reactant.copy()
    product.positions[[0, 2]] += [0, 4.0, 0]
    few = {"endpoints": {"max_steps": 1, "max_force": 50.0}, "saddle": {"max_steps": 3}}
    quick = from_mapping({**QUICK, **few, "irc": {"method": "sella", "max_steps": 2}})
    result = search_one(Reaction("hooh", reactant, product), RunSpec("horm:horm-mini", quick))
    assert "product" not in result.separated
    [why] = [text for text in result.warnings if "no energies of the separate molecules" in text]
    assert why.startswith("the product consists of several molecules, HO + HO, ")
    assert "HO (doublet): the molecule has unpaired electrons" in why
    assert result.skipped["separated product"] in why
    assert to_row(result).separated_reaction_energy_kcal_per_mol is None


def test_energies_are_not_from_molecules_to_a_complex(dissociation) -> None:
    """Both ends in pieces, and of the molecules of one of them nothing is known."""
    skipped = {"separated reactant": "their charges and spins are not certain"}
    found = to_row(dataclasses.replace(dissociation, skipped=skipped))
    assert found.product_molecules == "CO + H2"
    assert found.separated_reverse_barrier_kcal_per_mol is not None
    assert found.separated_reaction_energy_kcal_per_mol is None
    assert found.separated_reaction_gibbs_kcal_per_mol is None
    assert found.separated_reaction_gibbs_1m_kcal_per_mol is None
