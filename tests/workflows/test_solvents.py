"""A search has the solvent that its reaction names, or does not begin."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from ase.optimize import BFGS
from tblite.ase import TBLite

from horm_calc.xtb import gfn1_xtb, gfn2_xtb
from tests.places import STRUCTURES
from workflows.errors import InputError, StageError
from workflows.records import Label, Minimum, Reaction, Saddle, SearchResult, Verdict
from workflows.settings import SearchSettings, from_mapping
from workflows.stages.saddle import refine
from workflows.stages.separated import separate, surfaces
from workflows.surface import Surface
from workflows.tssearch import search
from workflows.verification import verify

ENDS = read(STRUCTURES / "hcn.xyz", ":")
FAST = from_mapping(
    {"path": {"method": "geodesic"}, "attempts": 1, "lower_path": {"steps": 0}, "steps": 1}
)


def test_a_reaction_has_one_name_for_its_solvent() -> None:
    assert Reaction("hcn", *ENDS, solvent="H2O") == Reaction("hcn", *ENDS, solvent="water")
    assert Reaction("hcn", *ENDS, solvent="none").solvent == ""


@pytest.mark.parametrize(
    ("asked", "built", "words"),
    [
        ("water", "", "is in water, and the calculator computes in the gas phase as far as"),
        ("water", "dmso", "is in water, and the calculator computes in dmso"),
        ("", "water", "computes in water and the reaction is in the gas phase"),
    ],
)
def test_other_solvents_than_that_of_the_calculator_are_refused(asked, built, words) -> None:
    found = search(Reaction("hcn", *ENDS, solvent=asked), gfn2_xtb(solvent=built))
    assert found.verdict.stage == "input"
    assert words in found.verdict.reason
    assert "solvent=" in found.verdict.reason


def test_two_ends_are_in_the_solvent_of_the_calculator() -> None:
    water, gas = (search(*ENDS, gfn1_xtb(solvent=name), settings=FAST) for name in ("water", ""))
    assert water.reaction.solvent == "water"
    assert water.verdict.label is gas.verdict.label is Label.INTENDED
    direct = gfn1_xtb(solvent="water").get_potential_energy(water.saddle.atoms)
    assert water.saddle.energy == pytest.approx(direct, abs=1e-4)
    assert water.saddle.energy < gas.saddle.energy - 0.05
    with pytest.raises(TypeError, match="solvent of its own"):
        search(Reaction("hcn", *ENDS), calculator=gfn1_xtb(), solvent="water")


@pytest.mark.parametrize(
    ("told", "solvent"),
    [
        ({"solvation": ("alpb", "H2O")}, "water"),
        ({"solvation": ("gbe", 7.0, "p16")}, "epsilon 7"),
        ({"cpcm_solvation": 80.0}, "epsilon 80"),
    ],
)
def test_a_calculator_of_tblite_has_the_solvent_of_its_parameters(told, solvent) -> None:
    built = TBLite(method="GFN1-xTB", verbosity=0, **told)
    assert Surface(built).capabilities.solvent == solvent
    found = search(Reaction("hcn", *ENDS), built)
    assert f"computes in {solvent} and the reaction is in the gas" in found.verdict.reason
    assert Surface(TBLite(method="GFN1-xTB", verbosity=0)).capabilities.solvent == ""


def test_two_ends_are_in_the_solvent_of_a_calculator_of_tblite() -> None:
    water = TBLite(method="GFN1-xTB", solvation=("alpb", "water"), verbosity=0)
    found = search(*ENDS, water, settings=FAST)
    assert (found.reaction.solvent, found.verdict.label) == ("water", Label.INTENDED)
    # As with a calculator that says so itself; energies are those of two searches.
    right = search(*ENDS, gfn1_xtb(solvent="water"), settings=FAST)
    barriers = [one.saddle.energy - one.reactant.energy for one in (found, right)]
    assert barriers[0] == pytest.approx(barriers[1], abs=0.01)


def test_molecules_alone_are_in_the_solvent_too() -> None:
    """Chloride beside water: the sum of both, each computed in water by itself."""
    ion = Atoms("Cl", [[0, 0, 9.0]])
    both = molecule("H2O") + ion
    zero = np.zeros((len(both), 3))
    end = Minimum(both, energy=0.0, forces=zero, method="given", converged=True)
    reaction = Reaction("pair", both, both, charge=-1, solvent="water")
    calculator, build = gfn2_xtb(-1, 1, "water"), partial(gfn2_xtb, solvent="water")
    found = separate(end, reaction, surfaces(reaction, calculator, build), SearchSettings())
    alone = molecule("H2O")
    alone.calc = gfn2_xtb(solvent="water")
    BFGS(alone, logfile=None).run(fmax=0.01)
    right = alone.get_potential_energy() + gfn2_xtb(-1, 1, "water").get_potential_energy(ion)
    assert found.energy == pytest.approx(right, abs=2e-4)
    # A function that has forgotten the solvent makes no silent mixture of both.
    with pytest.raises(StageError, match="in water, and the calculator computes in the gas phase"):
        separate(end, reaction, surfaces(reaction, calculator, gfn2_xtb), SearchSettings())


def test_a_verification_needs_the_solvent() -> None:
    saddle = read(STRUCTURES / "hcn.xyz", 0)
    known = Saddle(
        saddle, energy=0.0, forces=np.zeros((3, 3)), hessian=np.eye(9), modes=None,
        method="given", converged=True,
    )  # fmt: skip
    found = SearchResult(
        Reaction("hcn", *ENDS, solvent="water"), Verdict(Label.INTENDED), saddle=known
    )
    with pytest.raises(InputError, match="is in water, and the calculator computes in the gas"):
        verify(found, gfn1_xtb())


def test_free_energies_of_a_verification_are_those_of_that_level() -> None:
    """From GFN1 to GFN2: as a search with GFN2 has them, whose points lie as near as forces say."""
    fast, direct = (search(*ENDS, one(), settings=FAST) for one in (gfn1_xtb, gfn2_xtb))
    found = verify(fast, gfn2_xtb(), FAST)
    assert found.converged, found.reason
    assert found.reason == ""
    barrier, right = (
        one.thermochemistry["saddle"].gibbs - one.thermochemistry["reactant"].gibbs
        for one in (found, direct)
    )
    assert barrier == pytest.approx(right, abs=0.01)  # eV: modes change with the lengths of bonds
    for end in (found.reactant, found.product):
        assert end.modes.frequencies[0] > 0
        assert end.hessian.shape == (9, 9)
    # One Hessian for each of the three points, by differences.
    assert found.cost.evaluations.hessians == 3


def test_an_end_that_is_no_minimum_there_has_its_barrier_but_no_free_energy(monkeypatch) -> None:
    """Flat ammonia that stays flat, where relaxation cannot leave it."""
    flat = Atoms("NH3", [[0, 0, 0], *([1.0 * np.cos(a), 1.0 * np.sin(a), 0] for a in
                                      np.radians([0, 120, 240]))])  # fmt: skip
    saddle = refine(flat, Surface(gfn2_xtb()), SearchSettings().saddle)
    zero = np.zeros((4, 3))
    end = Minimum(flat, energy=0.0, forces=zero, method="given", converged=True)
    found = SearchResult(
        Reaction("ammonia", flat, flat), Verdict(Label.INTENDED), reactant=end, product=end,
        saddle=saddle,
    )  # fmt: skip
    verified = verify(found, gfn1_xtb())
    assert verified.converged
    assert verified.reactant is not None
    assert "no free energy of the reactant: " in verified.reason
    assert "reactant" not in verified.thermochemistry
