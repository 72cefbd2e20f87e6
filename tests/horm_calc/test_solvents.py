"""GFN-xTB in implicit solvents, against tblite itself and against differences of its energies."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces
from tblite.ase import TBLite

from horm_calc.capabilities import Capabilities, calculator_factory
from horm_calc.chemistry.solvents import _OTHER_NAMES, GAS, levels_in_words, solvent_name
from horm_calc.units import to_kcal_per_mol
from horm_calc.xtb import SOLVENTS, WAYS, UnknownSolvent, gfn1_xtb, gfn2_xtb
from workflows.surface import Surface

METHODS = {"GFN2-xTB": gfn2_xtb, "GFN1-xTB": gfn1_xtb}


def methanol() -> Atoms:
    """Away from its minimum, so that all forces count."""
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=3)
    return atoms


@pytest.mark.parametrize("method", METHODS)
def test_energies_are_those_of_tblite(method: str) -> None:
    atoms = methanol()
    gas = METHODS[method]().get_potential_energy(atoms)
    for solvent in ("water", "toluene"):
        direct = TBLite(method=method, solvation=("alpb", solvent), verbosity=0)
        found = METHODS[method](solvent=solvent).get_potential_energy(atoms)
        # The SCF of tblite ends at 1e-6 hartree.
        assert found == pytest.approx(direct.get_potential_energy(atoms), abs=3e-5)
        assert found < gas - 0.05


@pytest.mark.parametrize("method", METHODS)
def test_every_solvent_has_parameters_and_they_differ(method: str) -> None:
    atoms = molecule("H2O")
    energies = {
        name: METHODS[method](solvent=name).get_potential_energy(atoms) for name in SOLVENTS
    }
    assert len({round(energy, 5) for energy in energies.values()}) == len(SOLVENTS)


def test_derivatives_in_water() -> None:
    atoms = methanol()
    atoms.calc = gfn2_xtb(solvent="water")
    # 1e-3 eV/Å: differences over 2e-3 Å of energies good to some 1e-6 eV.
    numerical = calculate_numerical_forces(atoms, eps=1e-3)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=2e-3)
    surface = Surface(gfn2_xtb(solvent="water"))
    hessian = surface.get_hessian(atoms)
    # Bending, stretching and turning at once: the curvature of the energy along one direction.
    along = np.random.default_rng(0).normal(size=atoms.positions.shape)
    along /= np.linalg.norm(along)
    step, energies = 0.02, []
    for place in (-1, 0, 1):
        moved = atoms.copy()
        moved.positions += place * step * along
        energies.append(surface.at(moved)[0])
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / step**2
    # The fourth derivative leaves 1% of a stretch over 0.02 Å.
    assert along.ravel() @ hessian @ along.ravel() == pytest.approx(curvature, rel=0.02)


def test_the_ways_out_of_a_failed_scf_keep_the_solvent() -> None:
    """Damped, and cooled from 5000 K: the energy is the one in water, 0.4 eV below the gas."""
    atoms = molecule("H2O")
    calculator = gfn2_xtb(solvent="water")
    usual = calculator.get_potential_energy(atoms)
    for way in WAYS:
        found = calculator._damped(*way)
        assert found is not None
        assert found[0]["energy"] == pytest.approx(usual, abs=1e-4)
    assert calculator.get_potential_energy(atoms) == pytest.approx(usual, abs=1e-6)


def test_a_charge_is_worth_what_experiment_says() -> None:
    """Hydration of chloride, -75 kcal/mol; ALPB is within 10% for such ions."""
    gas, water, hexane = (
        gfn2_xtb(-1, 1, solvent).get_potential_energy(Atoms("Cl"))
        for solvent in ("", "water", "hexane")
    )
    assert to_kcal_per_mol(water - gas) == pytest.approx(-75, abs=8)
    assert water < hexane < gas


def test_a_saddle_between_ions_rises_in_water() -> None:
    """Cl- + CH3Br: the charge is spread at the saddle and meets the solvent less."""
    flat = [[1.07 * np.cos(a), 1.07 * np.sin(a), 0] for a in np.radians([0, 120, 240])]
    saddle = Atoms("ClCBrH3", [[0, 0, -2.35], [0, 0, 0], [0, 0, 2.45], *flat])
    bromide = molecule("CH3Cl")
    bromide.symbols[1] = "Br"
    bromide.set_distance(0, 1, 1.94, fix=0)
    barriers = {}
    for solvent in ("", "water"):
        bound = gfn2_xtb(0, 1, solvent).get_potential_energy(bromide)
        ion = gfn2_xtb(-1, 1, solvent).get_potential_energy(Atoms("Cl"))
        barriers[solvent] = gfn2_xtb(-1, 1, solvent).get_potential_energy(saddle) - bound - ion
    assert to_kcal_per_mol(barriers["water"] - barriers[""]) > 10


def test_names_of_solvents() -> None:
    assert {solvent_name(name) for name in GAS} == {""}
    assert solvent_name(" Diethyl  Ether ") == "ether"
    assert solvent_name("1,4-Dioxane") == "dioxane"
    assert solvent_name("My solvent") == "my solvent"
    assert set(_OTHER_NAMES.values()) <= set(SOLVENTS)
    assert not set(_OTHER_NAMES) & set(SOLVENTS)
    for name in SOLVENTS:
        assert solvent_name(name) == solvent_name(name.upper()) == name
    assert gfn2_xtb(solvent="H2O").capabilities.solvent == "water"


def test_unknown_solvents_are_named_with_their_neighbours() -> None:
    with pytest.raises(UnknownSolvent, match=r"'watr'; did you mean water.*acetone, .*woctanol"):
        gfn2_xtb(solvent="watr")
    with pytest.raises(UnknownSolvent, match="did you mean ch2cl2"):
        gfn1_xtb(solvent="dichlormethane")


def test_levels_name_their_solvent() -> None:
    assert gfn1_xtb().capabilities.level_of_theory == "GFN1-xTB (tblite)"
    water = gfn1_xtb(solvent="water").capabilities.level_of_theory
    assert water == "GFN1-xTB (tblite), ALPB(water)"
    assert levels_in_words([(water, "water")]) == water
    assert levels_in_words([(water, "water"), ("GFN1-xTB (tblite)", "")]) == (
        "GFN1-xTB (tblite): gas phase, ALPB(water)"
    )
    assert levels_in_words([]) == ""


def test_what_says_nothing_of_solvents_has_none() -> None:
    assert Capabilities().refusal([1], 0, 1) == ""
    assert "gas phase only" in Capabilities().refusal([1], 0, 1, solvent="water")
    assert Capabilities(solvents=None).refusal([1], 0, 1, solvent="water") == ""

    @calculator_factory(level_of_theory="mine", solvents=["H2O"])
    def mine(charge: int, multiplicity: int, solvent: str = "") -> None: ...

    assert mine.capabilities.refusal([1], 0, 1, solvent="water") == ""
    assert mine.capabilities.in_solvent("water").level_of_theory == "mine, solvent(water)"
