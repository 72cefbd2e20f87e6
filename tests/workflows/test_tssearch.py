"""The whole search, and everything that can go wrong in it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

import workflows
from horm_calc.chemistry.connectivity import same_bonds
from horm_calc.chemistry.superposition import superposition
from horm_calc.units import to_kcal_per_mol
from horm_calc.xtb import XTB
from reactbench_runner import calculators
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.structures import points, read_back
from tests.places import STRUCTURES
from tests.surfaces import EXCHANGE, LEPS
from workflows import remarks, tssearch
from workflows.account import Account
from workflows.attempts import Attempt
from workflows.end_modes import ends_with_modes
from workflows.errors import InputError
from workflows.records import Label, Reaction, Verdict
from workflows.settings import SearchSettings, from_mapping
from workflows.stages import endpoints
from workflows.surface import Surface
from workflows.tssearch import search
from workflows.verification import verify

FAST = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 1})


@pytest.fixture
def reaction(hcn, hnc) -> Reaction:
    return Reaction("hcn", hcn, hnc)


def test_intended(reaction, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []
    result = search(reaction, calculators.build("gfn2-xtb"), FAST, progress=seen.append)
    assert result.verdict.label is Label.INTENDED
    assert result.verdict.relabelled is Label.INTENDED
    assert len(result.saddle.modes.imaginary_frequencies(20)) == 1
    assert np.abs(result.saddle.forces).max() <= FAST.saddle.max_force
    assert result.costs["irc"].evaluations.hessians == 0
    assert set(result.thermochemistry) == {"reactant", "saddle", "product"}
    assert result.thermochemistry["saddle"].modes_left_out == (
        pytest.approx(result.saddle.modes.frequencies[0]),
    )
    assert 40 < to_kcal_per_mol(result.saddle.energy - result.reactant.energy) < 100
    assert seen == ["endpoints", "path", "saddle", "irc", "irc ends", "lower path",
                    "thermochemistry"]  # fmt: skip
    # Nothing is left in the user's folder, nothing printed, and he stays where he was.
    assert list(tmp_path.iterdir()) == []
    assert Path.cwd() == tmp_path
    assert capfd.readouterr().out == ""


def test_the_routes_without_pysisyphus_reach_the_same_saddle(reaction) -> None:
    """So that a default can move when pysisyphus no longer works."""
    base = search(reaction, calculators.build("gfn2-xtb"), FAST)
    for saddle in ("sella", "geometric"):
        settings = from_mapping({
            "endpoints": {"method": saddle}, "path": {"method": "neb"},
            "saddle": {"method": saddle}, "irc": {"method": "sella"}, "attempts": 1,
        })  # fmt: skip
        result = search(reaction, calculators.build("gfn2-xtb"), settings)
        assert result.verdict.label is Label.INTENDED, result.verdict
        assert result.irc.method == "sella", result.irc.reason
        # The same stationary point: energies agree to the square of the residual force.
        assert result.saddle.energy == pytest.approx(base.saddle.energy, abs=1e-3)


def test_the_irc_runs_from_the_reactant_to_the_product(reaction) -> None:
    back = with_atoms(reaction, reactant=reaction.product, product=reaction.reactant)
    for asked in (reaction, back):
        result = search(asked, calculators.build("gfn2-xtb"), FAST)
        assert result.verdict.label is Label.INTENDED
        for end, image, minimum in (
            (result.irc_ends[0], result.irc.images[0], result.reactant),
            (result.irc_ends[1], result.irc.images[-1], result.product),
        ):
            assert same_bonds(end.atoms, minimum.atoms, FAST.verdict.bond_factor)
            assert superposition(end.atoms, image)[1] < 0.2  # Å; the other end is 0.9 away
        saddle = result.irc.images[result.irc.saddle_index]
        np.testing.assert_array_equal(saddle.positions, result.saddle.atoms.positions)


def test_nothing_is_searched_between_a_structure_and_itself(reaction) -> None:
    same = with_atoms(reaction, product=reaction.reactant.copy())
    same.product.rotate(70, (1, 2, 3))
    result = search(same, calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.FAILED
    assert result.verdict.stage == "endpoints"
    assert "the same structure" in result.verdict.reason
    assert "path" not in result.costs


def test_an_end_without_free_energy_and_another_conformer_are_remarked_upon(reaction) -> None:
    result = search(reaction, calculators.build("gfn2-xtb"), FAST)
    assert result.warnings == ()
    ends = {"reactant": result.reactant, "product": result.product}
    assert list(remarks.of_minima({"product": "why", "saddle": "other"})) == [
        "the product has no free energy: why"
    ]
    higher = dataclasses.replace(result.product, energy=result.product.energy + 0.1)
    for product, where in ((higher, "below"), (result.product, "")):
        found = remarks.of_isomers(
            result.irc_ends, {**ends, "product": product}, result.verdict, FAST.verdict
        )
        texts = list(found)
        assert len(texts) == bool(where)
        assert all(f"2.3 kcal/mol {where} the relaxed product" in text for text in texts)


def test_the_better_of_two_attempts() -> None:
    order = [
        Verdict(Label.INTENDED),
        Verdict(Label.AMBIGUOUS, at_limit=Label.INTENDED),
        Verdict(Label.AMBIGUOUS, at_limit=Label.PARTLY),
        Verdict(Label.PARTLY),
        Verdict(Label.AMBIGUOUS, at_limit=Label.UNINTENDED),
        Verdict(Label.UNINTENDED),
        Verdict(Label.FAILED, stage="irc"),
        Verdict(Label.FAILED, stage="saddle"),
    ]
    ranks = [Attempt(verdict).rank for verdict in order]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


def test_a_charged_reaction_carries_its_charge_through_every_stage() -> None:
    reactant, product = read(STRUCTURES / "sn2.xyz", ":")
    result = search(
        Reaction("sn2", reactant, product, charge=-1), calculators.build("gfn2-xtb", -1)
    )
    assert result.verdict.label is Label.INTENDED
    # With the charge forgotten anywhere, this energy would not be the anion's.
    anion = Surface(calculators.build("gfn2-xtb", -1), charge=-1)
    for point in (result.reactant, result.saddle, *result.irc_ends):
        assert point.energy == pytest.approx(anion.at(point.atoms)[0], abs=1e-5)  # SCF noise


def with_atoms(reaction: Reaction, **ends) -> Reaction:
    return dataclasses.replace(reaction, **ends)


def test_wrong_input_names_the_cause(reaction) -> None:
    coinciding, nan, periodic = (reaction.reactant.copy() for _ in range(3))
    coinciding.positions[0] = coinciding.positions[1] + 0.01
    nan.positions[1, 1] = np.nan
    periodic.pbc = True
    cases = {
        "coincide": with_atoms(reaction, reactant=coinciding),
        "not numbers": with_atoms(reaction, product=nan),
        "periodic": with_atoms(reaction, product=periodic),
        "atom 1 is H in the reactant but C": with_atoms(
            reaction, product=reaction.product[[1, 0, 2]]
        ),
        "needs at least two": with_atoms(reaction, reactant=Atoms("H"), product=Atoms("H")),
        "same atoms": with_atoms(reaction, product=Atoms("OH", [[0, 0, 0], [1, 0, 0]])),
        "unknown element": with_atoms(reaction, reactant=Atoms("XCN", reaction.reactant.positions)),
        "odd multiplicity": dataclasses.replace(reaction, multiplicity=2),
        "even multiplicity": dataclasses.replace(reaction, charge=1),
    }
    for message, wrong in cases.items():
        result = search(wrong, calculators.build("gfn2-xtb"), FAST)
        assert result.verdict.label is Label.FAILED
        assert result.verdict.stage == "input"
        assert message in result.verdict.reason, (message, result.verdict.reason)


class Failing(Calculator):
    """GFN2-xTB that fails from its n-th call on, as an SCF does at a bad geometry."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - declared by ASE

    def __init__(self, after: int) -> None:
        super().__init__()
        self.inner, self.calls, self.after = calculators.build("gfn2-xtb"), 0, after

    def calculate(self, atoms=None, properties=(), system_changes=()) -> None:
        super().calculate(atoms)
        self.calls += 1
        if self.calls > self.after:
            raise RuntimeError("SCF not converged in 250 cycles")
        energy, forces = Surface(self.inner).at(atoms)
        self.results = {"energy": energy, "forces": forces}


@pytest.mark.parametrize("stage", ["endpoints", "path", "saddle", "irc"])
def test_a_failing_calculator_fails_the_stage_it_fails_in(reaction, stage) -> None:
    usual = search(reaction, Failing(10**9), FAST).costs
    stages = list(usual)
    before = sum(usual[s].evaluations.gradients for s in stages[: stages.index(stage)])
    result = search(reaction, Failing(before + 3), FAST)
    assert result.verdict.label is Label.FAILED
    assert result.verdict.stage == stage
    assert "SCF not converged" in result.verdict.reason
    assert result.costs[stage].seconds > 0
    assert ("saddle" in result.thermochemistry) == (stage == "irc")
    if stage == "path":
        assert "SCF not converged" in result.skipped["saddle"]


def test_a_stage_over_its_wall_time(reaction, monkeypatch) -> None:
    def stuck(*_):
        while True:
            pass

    monkeypatch.setitem(endpoints.METHODS, "bfgs", stuck)
    settings = dataclasses.replace(
        FAST, endpoints=dataclasses.replace(FAST.endpoints, wall_time=0.2)
    )
    result = search(reaction, calculators.build("gfn2-xtb"), settings)
    assert result.verdict.stage == "endpoints"
    assert "wall-time of 0.2 s" in result.verdict.reason


def test_the_next_attempt_takes_another_path(reaction) -> None:
    """A growing string has no time to grow together; the string that comes next needs none."""
    settings = from_mapping({"path": {"method": "gsm", "max_steps": 1}, "attempts": 2})
    result = search(reaction, calculators.build("gfn2-xtb"), settings)
    assert result.attempts == 2
    assert result.path.method == "string"
    row = to_row(result)
    assert (row.verdict, row.verdict_at_first_attempt) == (Label.INTENDED, Label.FAILED)
    assert row.path_converged is False  # one cycle is not enough
    once = dataclasses.replace(settings, attempts=1)
    failed = search(reaction, calculators.build("gfn2-xtb"), once)
    assert failed.verdict.stage == "path"


def test_an_endpoint_that_relaxes_into_something_else_is_not_intended(reaction) -> None:
    """Hydrogen far from the carbon: GFN2-xTB has no such minimum, it falls back to HCN."""
    stretched = reaction.reactant.copy()
    stretched.positions[0] = [-1.8, 0.5, 0]
    result = search(with_atoms(reaction, reactant=stretched), calculators.build("gfn2-xtb"), FAST)
    assert result.verdict.label is Label.AMBIGUOUS
    assert result.verdict.at_limit is Label.INTENDED
    assert "relaxation changed the reactant: H1-C2 formed" in result.verdict.reason
    assert result.warnings == ("relaxation changed the bonds of the reactant: H1-C2 formed",)
    # The saddle's height above something else is no barrier of this reaction.
    row = to_row(result)
    assert row.ts_energy_ev is not None
    differences = [
        value or None for name, value in vars(row).items() if name.endswith("_kcal_per_mol")
    ]
    assert set(differences) == {None}
    # Nor is it at another level, also where that is asked for after the search is stored.
    for found in (result, read_back(result.reaction, row, points(result))):
        verified = verify(found, calculators.build("gfn1-xtb"), FAST)
        assert verified.converged
        assert (verified.reactant, verified.product) == (None, None)


def test_two_structures_do_for_a_reaction() -> None:
    """The one line of a stranger gives what the reaction with the same electrons gives."""
    settings = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 1})
    usual = workflows.search(EXCHANGE, LEPS(), settings)
    found = workflows.search(
        EXCHANGE.reactant, EXCHANGE.product, LEPS(), settings=settings, multiplicity=2
    )
    assert (found.reaction.id, found.reaction.multiplicity) == ("H3", 2)
    assert found.verdict == usual.verdict
    assert found.saddle is not None and usual.saddle is not None
    assert found.saddle.energy == usual.saddle.energy
    singlet = workflows.search(EXCHANGE.reactant, EXCHANGE.product, LEPS())
    assert singlet.verdict.stage == "input"


ENDS = EXCHANGE.reactant, EXCHANGE.product
NONE = SearchSettings(attempts=1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((EXCHANGE, LEPS()), {}),
        ((EXCHANGE, LEPS(), NONE), {}),
        ((EXCHANGE, LEPS()), {"settings": NONE}),
        ((EXCHANGE,), {"calculator": LEPS(), "settings": NONE}),
        ((), {"reaction": EXCHANGE, "calculator": LEPS(), "settings": NONE}),
        ((*ENDS, LEPS()), {"multiplicity": 2}),
        ((*ENDS, LEPS()), {"settings": NONE, "multiplicity": 2, "charge": 0}),
        ((*ENDS,), {"calculator": LEPS(), "settings": NONE, "multiplicity": 2}),
        ((ENDS[0],), {"product": ENDS[1], "calculator": LEPS(), "multiplicity": 2}),
        ((), {"reactant": ENDS[0], "product": ENDS[1], "calculator": LEPS(), "multiplicity": 2}),
    ],
)
def test_arguments_of_a_search(arguments, named, monkeypatch) -> None:
    """By place and by name, in both forms; what was given arrives."""
    asked = []
    monkeypatch.setattr(tssearch, "_search", lambda *given: asked.append(given))
    monkeypatch.setattr(tssearch, "surfaces", lambda *given: given[2])
    build = object()
    workflows.search(*arguments, **named, build=build)
    [(reaction, surface, builder, settings, _)] = asked
    assert (reaction.reactant, reaction.product) == ENDS
    assert (reaction.charge, reaction.multiplicity) == (0, 2)
    assert reaction.id in ("H3", EXCHANGE.id)
    assert isinstance(surface.calculator, LEPS)
    told = NONE in (*arguments, named.get("settings"))
    assert settings == (NONE if told else SearchSettings())
    assert builder is build


@pytest.mark.parametrize(
    ("arguments", "named", "error", "words"),
    [
        ((), {}, TypeError, "there is nothing to search from"),
        ((ENDS[0], LEPS()), {}, TypeError, "calculator LEPS stands in the place of the product"),
        (("hcn.xyz", *ENDS), {}, TypeError, "the reactant is 'hcn.xyz'; read it: ase.io.read('hcn"),
        ((EXCHANGE, LEPS()), {"charge": 0}, TypeError, "a Reaction has structures, charge,"),
        ((EXCHANGE, LEPS()), {"multiplicity": 2}, TypeError, "a Reaction has structures, charge,"),
        ((*ENDS, LEPS()), {"reaction": EXCHANGE}, TypeError, "a Reaction has structures, charge,"),
        ((EXCHANGE, LEPS()), {"reaction": EXCHANGE}, TypeError, "leave out reactant"),
        ((EXCHANGE, LEPS(), NONE), {"settings": NONE}, TypeError, "there is one argument more"),
        ((*ENDS, LEPS(), NONE), {}, TypeError, "takes from 0 to 3 positional arguments"),
        ((EXCHANGE, LEPS(), {"attempts": 1}), {}, TypeError, "the settings are {'attempts': 1}"),
        ((EXCHANGE, LEPS()), {"setting": NONE}, TypeError, "keyword argument 'setting'"),
        ((EXCHANGE,), {}, InputError, "the calculator is None; give an ASE calculator"),
        (ENDS, {}, InputError, "the calculator is None"),
        ((EXCHANGE, "gfn2-xtb"), {}, InputError, "'gfn2-xtb'; give an ASE calculator"),
        ((EXCHANGE, LEPS), {}, InputError, "the calculator is <class"),
        ((EXCHANGE, ENDS[1], LEPS()), {}, InputError, "the calculator is Atoms"),
        ((EXCHANGE, NONE, LEPS()), {}, InputError, "the calculator is SearchSettings"),
    ],
)
def test_wrong_arguments_of_a_search(arguments, named, error, words) -> None:
    with pytest.raises(error, match=re.escape(words)):
        workflows.search(*arguments, **named)


def test_help_names_the_arguments() -> None:
    named = inspect.signature(workflows.search).parameters
    assert [*named] == [
        "reactant",
        "product",
        "calculator",
        "reaction",
        "guess",
        "react",
        "settings",
        "charge",
        "multiplicity",
        "solvent",
        "progress",
        "on_status",
        "build",
        "journal",
    ]


class WithHessians(XTB):
    """GFN2-xTB with Hessians of its own, as networks have them."""

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        return Surface(calculators.build("gfn2-xtb")).get_hessian(atoms)


def test_ends_of_an_irc_that_are_new_structures_get_their_hessians(reaction) -> None:
    """What is the reactant again has none of its own."""
    settings = SearchSettings()
    surface = Surface(WithHessians(method="GFN2-xTB", charge=0, multiplicity=1, verbosity=0))
    ends = tuple(
        endpoints.relax(atoms, surface, settings.endpoints)
        for atoms in (reaction.reactant, reaction.product)
    )
    minima = {"reactant": ends[0], "product": ends[0]}
    account = Account(lambda stage: None)
    attempt = Attempt(Verdict(Label.PARTLY), ends=ends)
    found, _ = ends_with_modes(attempt, (), minima, surface, settings, account)
    assert found.ends[0].hessian is None
    assert len(found.ends[1].modes.frequencies) == 3 * 3 - 5
    assert (found.ends[1].modes.frequencies > 300).all()
    assert account.costs["irc ends"].evaluations.hessians == 1
    plain = Surface(calculators.build("gfn2-xtb"))
    same, _ = ends_with_modes(attempt, (), minima, plain, settings, account)
    assert same.ends[1].hessian is None
