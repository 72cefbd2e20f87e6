"""Searches that start from a guess of the saddle, from bond changes, or from conformers."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from ase import Atoms

from horm_calc import gfn2_xtb
from horm_calc.chemistry.connectivity import bonds, same_bonds
from horm_calc.chemistry.superposition import superposition
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.structures import points, read_back
from tests.surfaces import EXCHANGE, LEPS, QUICK
from workflows.account import Account
from workflows.errors import InputError
from workflows.input_checks import check_reaction
from workflows.preparation import prepare
from workflows.records import Label, Minimum, Reaction
from workflows.settings import SearchSettings
from workflows.stages.endpoints import relax
from workflows.starts import BondChanges, SaddleGuess
from workflows.surface import Surface
from workflows.tssearch import search

#: Near the saddle between HCN and HNC, the atoms as in the fixtures.
GUESS = Atoms("HCN", [[0.3, 1.15, 0.1], [0, 0, 0], [1.19, 0, 0]])
TWO, START = {"reactant": GUESS, "product": GUESS}, SaddleGuess("hcn", GUESS)
FACTOR = SearchSettings().verdict.bond_factor


def test_a_guess_alone_finds_what_it_connects(hcn, hnc) -> None:
    result = search(guess=GUESS, calculator=gfn2_xtb())
    assert result.verdict.label is Label.FOUND
    assert result.verdict.reason == "H1-N3 broken, H1-C2 formed"
    # Downhill: from HNC to HCN, whichever way the IRC was followed.
    assert result.smiles == {"reactant": "[C-]#[NH+]", "product": "C#N"}
    assert result.reactant.energy > result.product.energy
    assert same_bonds(result.reactant.atoms, hnc, FACTOR)
    assert same_bonds(result.product.atoms, hcn, FACTOR)
    for end, minimum in zip(result.irc_ends, (result.reactant, result.product), strict=True):
        assert same_bonds(end.atoms, minimum.atoms, FACTOR)
    first, last = result.irc.energies[[0, -1]]
    assert first > last
    row = to_row(result)
    height = row.barrier_kcal_per_mol - row.reverse_barrier_kcal_per_mol
    assert height == pytest.approx(row.reaction_energy_kcal_per_mol)
    assert row.reaction_energy_kcal_per_mol < 0 < row.gibbs_barrier_kcal_per_mol
    assert set(result.thermochemistry) == {"reactant", "saddle", "product"}
    assert not [text for text in result.warnings if "differ by only" in text]
    # The same saddle as that of a search between both ends, for which it is a guess as well.
    again = search(hcn, hnc, gfn2_xtb(), guess=GUESS)
    assert (again.verdict.label, again.path.method, again.attempts) == (Label.INTENDED, "guess", 1)
    assert again.saddle.energy == pytest.approx(
        result.saddle.energy, abs=1e-4
    )  # of converged forces


def test_isotopes_charge_and_multiplicity_stay_what_they_are() -> None:
    heavy = GUESS.copy()
    heavy.set_masses([2.014, 12.011, 14.007])
    result = search(guess=heavy, calculator=gfn2_xtb())
    assert result.smiles == {"reactant": "[2H][N+]#[C-]", "product": "[2H]C#N"}
    for point in (result.reactant, result.saddle, result.product):
        assert point.atoms.get_masses()[0] == pytest.approx(2.014)
    cation = Atoms("HHH", [[-0.9, 0, 0], [0, 0.1, 0], [0.95, 0, 0]])
    result = search(guess=cation, calculator=LEPS(), settings=QUICK, multiplicity=2)
    assert result.verdict.label is Label.FOUND
    row = to_row(result)
    assert (row.charge, row.multiplicity) == (0, 2)
    assert result.verdict.reason in ("H1-H2 broken, H2-H3 formed", "H2-H3 broken, H1-H2 formed")


def test_a_guess_whose_ends_do_not_relax_can_be_read_back() -> None:
    """Its saddle is stored without them, and can still be verified."""
    limits = dataclasses.replace(QUICK.endpoints, max_steps=1, max_force=1e-6)
    settings = dataclasses.replace(QUICK, endpoints=limits)
    start = SaddleGuess("h3", EXCHANGE.reactant.copy(), multiplicity=2)
    start.guess.positions[:, 0] = [-0.93, 0, 0.93]
    result = search(start, LEPS(), settings)
    assert (result.verdict.label, result.verdict.stage) == (Label.FAILED, "irc ends")
    known = read_back(start, to_row(result), points(result))
    assert known.reactant is None
    assert known.saddle.energy == result.saddle.energy


def test_a_guess_far_from_its_saddle_is_remarked_upon() -> None:
    start = SaddleGuess(
        "h3", Atoms("HHH", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]]), multiplicity=2
    )
    assert not [text for text in search(start, LEPS(), QUICK).warnings if "guess" in text]
    far = dataclasses.replace(start, guess=start.guess.copy())
    far.guess.positions[1, 1] += 1.4
    result = search(far, LEPS(), QUICK)
    assert result.verdict.label is Label.FOUND
    moved = superposition(far.guess, result.saddle.atoms)[1]
    [text] = [text for text in result.warnings if "guess" in text]
    assert f"{moved:.2f} Å" in text


def test_ends_of_almost_one_energy_may_change_places() -> None:
    """Both are H + H2 here; the ends of HCN are 20 kcal/mol apart."""
    guess = Atoms("HHH", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]])
    result = search(guess=guess, calculator=LEPS(), settings=QUICK, multiplicity=2)
    assert result.verdict.label is Label.FOUND
    [text] = [text for text in result.warnings if "differ by only" in text]
    assert "differ by only 0.0 kcal/mol" in text


def test_a_poor_guess_does_no_harm(hcn, hnc) -> None:
    poor = hcn.copy()
    poor.positions[0] += [0.3, 0.1, 0]  # near the minimum
    result = search(hcn, hnc, gfn2_xtb(), guess=poor)
    assert result.verdict.label is Label.INTENDED
    assert "attempt 1: guess, " in result.log


def test_the_product_of_driven_bonds(hcn, hnc) -> None:
    result = search(hcn, react="break C2-H1; form 3-1", calculator=gfn2_xtb())
    assert (result.verdict.label, result.path.method) == (Label.INTENDED, "driven")
    assert result.smiles == {"reactant": "C#N", "product": "[C-]#[NH+]"}
    assert result.warnings == ()
    assert result.costs["preparation"].evaluations.gradients > 0
    surface = Surface(gfn2_xtb())
    known = relax(hnc, surface, SearchSettings().endpoints)
    assert result.product.energy == pytest.approx(known.energy, abs=1e-3)  # the same minimum


def test_bonds_that_fall_back_say_what_became_of_them() -> None:
    water = Atoms("OHH", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    result = search(water, react="form 2-3", calculator=gfn2_xtb())
    assert (result.verdict.label, result.verdict.stage) == (Label.FAILED, "preparation")
    assert result.verdict.reason == (
        "'form H2-H3' does not last with this calculator: driven there and released, it relaxes "
        "back to the reactant; H2-H3 is not formed; name every bond that breaks or forms"
    )


def test_more_changes_than_were_asked_for_are_named(hcn) -> None:
    """The hydrogen that leaves carbon has nowhere to go but to nitrogen."""
    start = BondChanges("hcn", hcn, forming=((2, 0),))
    account = Account(lambda stage: None)
    found = prepare(start, Surface(gfn2_xtb()), SearchSettings(), account)
    assert bonds(found.reaction.product, FACTOR) == {(0, 2), (1, 2)}
    assert found.warnings == ("more bonds have changed than 'form N3-H1': H1-C2 broken",)


@pytest.mark.parametrize(
    ("react", "words"),
    [
        ("", "no bonds are named"),
        ("1-3", "'1-3' in '1-3' is not understood"),
        ("brake 1-3", "'brake' in 'brake 1-3'"),
        ("break 1-3, form", "'form' in 'break 1-3, form' names no bond"),
        ("break 1-3-2", "'1-3-2'"),
        ("break N1-C2", "'N1-C2' in 'break N1-C2': atom 1 is H, not N"),
        ("break 1-4", "there is no atom 4; the reactant has 3"),
        ("break 0-1", "there is no atom 0"),
        ("break 3-3", "atom 3 has no bond with itself"),
        ("break 1-2, form 2-1", "H1-C2 stands twice.*once"),
        (
            "break 3-1",
            r"N3-H1 cannot break: .* 2\.\d\d Å apart and not bonded.*does it form",
        ),
        (
            "form C2-N3",
            r"C2-N3 cannot form: .* 1\.\d\d Å apart and already bonded.*does it break",
        ),
    ],
)
def test_what_bonds_cannot_do(react: str, words: str, hcn) -> None:
    with pytest.raises(InputError, match=words):
        check_reaction(BondChanges.parsed("hcn", hcn, react))


def test_texts_of_bond_changes(hcn) -> None:
    for text in ("break H1-C2, form H1-N3", "BREAK 1-2; form 1 - 3", "form 1\u20133\nbreak 1-2"):
        start = BondChanges.parsed("hcn", hcn, text)
        assert (start.breaking, start.forming) == (((0, 1),), ((0, 2),)), text
        assert str(start) == "break H1-C2, form H1-N3"


def test_guesses_of_other_atoms_are_refused(hcn, hnc) -> None:
    for guess, words in (
        (GUESS[[0, 2, 1]], "atom 2 is N in the guess but C in the reactant.*: H C N"),
        (GUESS[[1, 2]], "the guess is CN but the reactant is CHN"),
    ):
        with pytest.raises(InputError, match=words):
            check_reaction(Reaction("hcn", hcn, hnc, guess=guess))
    heavy = GUESS.copy()
    heavy.set_masses([2.014, 12.011, 14.007])
    with pytest.raises(InputError, match=r"H1 1\.008 in the reactant, 2\.014 in the guess"):
        check_reaction(Reaction("hcn", hcn, hnc, guess=heavy))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**TWO, "guess": "ts.xyz"}, "the guess is 'ts.xyz'; read it: ase.io.read('ts.xyz')"),
        ({"guess": "ts.xyz"}, "the guess is 'ts.xyz'; read it"),
        ({"guess": 7}, "the guess is 7; give ASE Atoms"),
        ({**TWO, "product": "a.xyz"}, "the product is 'a.xyz'; read it"),
        ({"reactant": GUESS}, "the product is missing; "),
        ({"product": GUESS}, "the reactant is missing; "),
        ({"guess": GUESS, "reactant": GUESS}, "leave out the reactant or add the product"),
        ({**TWO, "react": "break 1-3"}, "react makes the product, and there is one already"),
        ({"reactant": GUESS, "react": "break 1-3", "guess": GUESS}, "do not go together"),
        ({"react": "break 1-3"}, "react says what becomes of the reactant; give that too"),
        ({"reactant": GUESS, "react": (1, 3)}, "react is (1, 3); write a text"),
        ({"reaction": "hcn"}, "the reaction is 'hcn'; give a Reaction, SaddleGuess or Bond"),
        ({"reaction": START, "solvent": "water"}, "a SaddleGuess has structures, charge, mult"),
        ({"reaction": START, "guess": GUESS}, "leave out guess, or give it to the SaddleGuess"),
    ],
)
def test_wrong_combinations_each_have_their_words(given: dict, words: str) -> None:
    with pytest.raises(TypeError, match=re.escape(words)):
        search(calculator=LEPS(), **given)


def test_starts_of_other_things_than_atoms_are_refused(hcn) -> None:
    for made in (
        lambda: SaddleGuess("a", "ts.xyz"),
        lambda: BondChanges("a", "ts.xyz", ((0, 1),)),
        lambda: Reaction("a", hcn, hcn, guess="ts.xyz"),
    ):
        with pytest.raises(TypeError, match=r"'a': the \w+ is 'ts\.xyz'; read it: ase\.io\.read"):
            made()


def test_remedies_name_the_class_of_the_start(hcn) -> None:
    for start in (SaddleGuess("a", GUESS.copy()), BondChanges("a", hcn, ((0, 1),))):
        kind = type(start).__name__
        result = search(start, gfn2_xtb(solvent="water"))
        assert f"say so in {kind}(..., solvent='water')" in result.verdict.reason
        start.atoms.info["charge"] = -1
        with pytest.raises(
            InputError, match=rf"charge=0 of the {kind}.*multiplicity to the {kind}"
        ):
            check_reaction(start)


def test_the_lowest_pair_of_conformers_that_moves_little(monkeypatch) -> None:
    """Energies are set by hand: what counts is how they are weighed against distances."""
    shifted = [0.0, 0.1, 0.2, 2.0]  # Å, how much further each reactant is from the product
    energies = [0.0, -0.03, -0.2, -1.0]  # eV

    def at(x: float) -> Atoms:
        return Atoms("HHH", [[-2.2 - x, 0, 0], [0, 0, 0], [0.74, 0, 0]])

    def relaxed(atoms: Atoms, *_: object) -> Minimum:
        place = int(np.argmin([abs(-2.2 - x - atoms.positions[0, 0]) for x in shifted]))
        lower = energies[place] if atoms.positions[1, 0] == 0 and atoms is not product else 0.0
        return Minimum(atoms, energy=lower, forces=np.zeros((3, 3)), method="", converged=True)

    product = EXCHANGE.product
    monkeypatch.setattr("workflows.preparation.relax", relaxed)
    monkeypatch.setattr("workflows.preparation.faces", lambda atoms, pairs: True)
    reaction = Reaction(
        "h3", at(0), product, multiplicity=2, conformers=(tuple(map(at, shifted[1:])), ())
    )
    for count, chosen, warned in ((1, 0.0, 0), (2, 0.0, 0), (3, 0.2, 0), (4, 0.2, 1)):
        settings = SearchSettings(conformers=count)
        account = Account(lambda stage: None)
        found = prepare(reaction, Surface(LEPS(), 0, 2), settings, account)
        assert found.reaction.reactant.positions[0, 0] == pytest.approx(-2.2 - chosen)
        assert len(found.warnings) == warned, found.warnings
        assert found.reaction.id == "h3"
        assert found.reaction.multiplicity == 2
    assert re.search(r"conformers of the reactant, .*: 4\.6, 3\.9, 0\.0, -18\.4", account.log)


def test_the_log_knows_no_negative_zero(monkeypatch) -> None:
    """Two conformers that have become one structure differ by rounding errors."""
    product = EXCHANGE.product
    first, second = EXCHANGE.reactant, EXCHANGE.reactant.copy()
    second.positions[0, 0] -= 1e-6

    def relaxed(atoms: Atoms, *_: object) -> Minimum:
        energy = -1e-6 if atoms is second else 0.0  # eV
        return Minimum(atoms, energy=energy, forces=np.zeros((3, 3)), method="", converged=True)

    monkeypatch.setattr("workflows.preparation.relax", relaxed)
    reaction = Reaction("h3", first, product, multiplicity=2, conformers=((second,), ()))
    account = Account(lambda stage: None)
    prepare(reaction, Surface(LEPS(), 0, 2), SearchSettings(), account)
    assert re.search(r"conformers of the reactant, .*: 0\.0, 0\.0 ", account.log)


class _Doubtful(LEPS):
    """Doubts its own answers, and has none any more from so many calls into the IRC on."""

    left = 10**9

    def begin(self, stage: str) -> None:
        """Told of each stage."""
        if stage == "irc":
            self.left = 12

    def calculate(self, *arguments, **options) -> None:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the licence server is gone")
        super().calculate(*arguments, **options)

    def concerns(self, atoms: Atoms) -> list[str]:
        """Always the same."""
        return ["LEPS has three parameters"]


def test_a_guess_that_fails_keeps_its_evidence_and_its_warnings() -> None:
    """As an attempt between two ends does."""
    guess = Atoms("HHH", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]])
    for called in ({"guess": guess, "multiplicity": 2}, {"reaction": EXCHANGE}):
        calculator = _Doubtful()
        result = search(calculator=calculator, settings=QUICK, progress=calculator.begin, **called)
        assert (result.verdict.label, result.verdict.stage) == (Label.FAILED, "irc")
        assert "licence" in result.verdict.reason
        assert result.saddle.converged
        assert len(result.last_structures) > 0
        assert "LEPS has three parameters" in result.warnings


def test_a_guess_keeps_an_irc_that_does_not_descend(monkeypatch) -> None:
    monkeypatch.setattr("workflows.stages.irc.LEAST_DESCENT", 100.0)  # eV, more than there is
    settings = dataclasses.replace(QUICK, irc=dataclasses.replace(QUICK.irc, max_steps=2))
    guess = Atoms("HHH", [[-0.93, 0, 0], [0, 0, 0], [0.93, 0, 0]])
    result = search(guess=guess, calculator=LEPS(), multiplicity=2, settings=settings)
    assert (result.verdict.label, result.verdict.stage) == (Label.FAILED, "irc")
    assert not result.irc.converged
    assert len(result.irc.images) > 2


def test_a_guess_without_a_saddle_keeps_the_warnings() -> None:
    """A radical with GFN2-xTB, and no step to refine it in."""
    saddle = dataclasses.replace(SearchSettings().saddle, max_steps=1)
    settings = dataclasses.replace(SearchSettings(), saddle=saddle)
    guess = Atoms("HHH", [[-1.3, 0, 0], [0, 0.4, 0], [0.8, 0, 0]])
    result = search(guess=guess, calculator=gfn2_xtb(0, 2), multiplicity=2, settings=settings)
    assert (result.verdict.label, result.verdict.stage) == (Label.FAILED, "saddle")
    [text] = [text for text in result.warnings if "open shells" in text]
    assert text.startswith("GFN2-xTB is unreliable")
