"""How charge and spin are shared, with measured ionisation energies and electron affinities."""

from __future__ import annotations

import pytest
from ase import Atoms
from ase.build import molecule

from workflows.electrons import State, named, shared
from workflows.errors import CalculatorFailed, StageError

#: Ionisation energy, electron affinity and excitation to the other spin, eV (NIST WebBook; those
#: without a bound anion as −1; of methylene from the triplet, of dioxygen from the triplet).
MEASURED = {
    "Na": (5.14, 0.55),
    "Cs": (3.89, 0.47),
    "K": (4.34, 0.50),
    "Cl": (12.97, 3.61),
    "F": (17.42, 3.40),
    "H": (13.60, 0.75),
    "HO": (13.02, 1.83),
    "CHO": (8.12, 0.31),
    "CH3": (9.84, 0.08),
    "CN": (13.60, 3.86),
    "H2N": (10.78, 0.77),
    "NO2": (9.59, 2.27),
    "NO": (9.26, 0.03),
    "CH3Cl": (11.26, -1.0),
    "C6H6": (9.24, -1.0),
    "C2H4": (10.51, -1.0),
    "H3N": (10.07, -1.0),
    "H2O": (12.62, -1.0),
    "O2": (12.07, 0.45),
    "CH2": (10.40, 0.65),
    "C2H2": (11.40, -1.0),
    "CHCl": (9.10, 1.21),
}
GAPS = {"O2": {1: 0.98, 3: 0.0}, "CH2": {1: 0.39, 3: 0.0}, "CHCl": {1: 0.0, 3: 0.27}}
HIGHER = 4.0  # other spins of other molecules, at least


def energy_of(formula: str, state: State) -> float:
    charge, multiplicity = state
    ionisation, affinity = MEASURED[formula]
    energy = {0: 0.0, 1: ionisation, -1: -affinity}[charge]
    lowest = 1 + (multiplicity - 1) % 2
    other = HIGHER * (multiplicity - lowest) / 2
    return energy + (GAPS.get(formula, {}).get(multiplicity, other) if charge == 0 else other)


def piece(name: str) -> Atoms:
    return Atoms(name) if name in ("Na", "Cs", "K", "Cl", "F", "H") else molecule(name)


def share(names: list[str], total: State) -> list[State]:
    pieces = [piece(name) for name in names]
    formulas = [one.get_chemical_formula() for one in pieces]
    return shared(pieces, formulas, total, lambda place, state: energy_of(formulas[place], state))


@pytest.mark.parametrize(
    ("names", "total", "expected"),
    [
        # ions and molecules, by parity
        (["Cl", "CH3Cl"], (-1, 1), [(-1, 1), (0, 1)]),
        (["CH3Cl", "F"], (-1, 1), [(0, 1), (-1, 1)]),
        (["OH", "CH3Cl"], (-1, 1), [(-1, 1), (0, 1)]),
        (["CN", "C2H4"], (-1, 1), [(-1, 1), (0, 1)]),
        (["NH2", "NH3"], (-1, 1), [(-1, 1), (0, 1)]),
        (["NO2", "C2H2"], (1, 1), [(1, 1), (0, 1)]),
        (["NO", "H2O"], (1, 1), [(1, 1), (0, 1)]),
        (["Na", "H2O", "H2O"], (1, 1), [(1, 1), (0, 1), (0, 1)]),
        # radicals
        (["HCO", "HCO"], (0, 1), [(0, 2), (0, 2)]),
        (["OH", "OH"], (0, 3), [(0, 2), (0, 2)]),
        (["CH3", "NO2"], (0, 1), [(0, 2), (0, 2)]),
        (["CH3", "C2H4"], (0, 2), [(0, 2), (0, 1)]),
        (["H", "H2O"], (0, 2), [(0, 2), (0, 1)]),
        (["Cl", "CH3Cl"], (0, 2), [(0, 2), (0, 1)]),
        # two unpaired electrons in one of two molecules
        (["O2", "C2H4"], (0, 3), [(0, 3), (0, 1)]),
        (["CH3Cl", "CH2_s3B1d"], (0, 3), [(0, 1), (0, 3)]),
        # ions of odd molecules with odd ones, and charges on one of two equal molecules
        (["C6H6", "H2O"], (1, 2), [(1, 2), (0, 1)]),
        (["O2", "H2O"], (-1, 2), [(-1, 2), (0, 1)]),
    ],
)
def test_the_state_of_each_molecule(names, total, expected) -> None:
    assert share(names, total) == expected


def test_one_of_two_equal_molecules_is_charged() -> None:
    """Which of them makes no difference, so that nothing is uncertain."""
    assert sorted(share(["C6H6", "C6H6"], (1, 2))) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("names", "total", "message"),
    [
        (
            ["Cs", "F"],
            (0, 1),
            r"Cs \(doublet\) \+ F \(doublet\) lies only 0\.49 eV below Cs\+ \+ F-",
        ),
        (
            ["K", "Cl"],
            (0, 1),
            r"K \(doublet\) \+ Cl \(doublet\) lies only 0\.73 eV below K\+ \+ Cl-",
        ),
        (["C6H6", "NH3"], (1, 2), r"C6H6\+ \(doublet\) \+ H3N lies only 0\.83 eV"),
        (
            ["O2", "CH2_s3B1d"],
            (0, 3),
            r"CH2 \+ O2 \(triplet\) lies only|O2 \(triplet\) \+ CH2 lies only",
        ),
        (["H", "H2O"], (1, 1), "may be a proton"),
        (["H", "NH3", "NH3"], (1, 1), "may be a proton"),
        (["CH3"] * 7, (0, 2), "over 7 molecules"),
    ],
)
def test_what_is_not_certain_is_said(names, total, message) -> None:
    with pytest.raises(StageError, match=message):
        share(names, total)


@pytest.mark.parametrize(
    "names", [["H2O", "NH3"], ["C6H6"] * 9, ["O2", "C2H4"], ["CH2_s1A1d", "H2O"]]
)
def test_even_molecules_of_a_neutral_singlet_are_neutral_singlets(names) -> None:
    """Without a question to the calculator."""
    pieces = [piece(name) for name in names]

    def never(place: int, state: State) -> float:
        raise AssertionError

    assert shared(pieces, names, (0, 1), never) == [(0, 1)] * len(names)


def refusing(names: list[str], total: State, refused: State) -> list[State]:
    pieces = [piece(name) for name in names]
    formulas = [one.get_chemical_formula() for one in pieces]

    def energy(place: int, state: State) -> float:
        if state == refused:
            raise CalculatorFailed(f"{formulas[place]}: no such state")
        return energy_of(formulas[place], state)

    return shared(pieces, formulas, total, energy)


def test_the_only_closed_shells_need_no_comparison() -> None:
    """A calculator for closed shells can tell the ions of an SN2 reaction."""
    assert refusing(["Cl", "CH3Cl"], (-1, 1), (0, 2)) == [(-1, 1), (0, 1)]


@pytest.mark.parametrize(
    ("names", "total", "refused"),
    [
        (["Cl", "CH3Cl"], (-1, 1), (0, 1)),  # it would leave Cl + CH3Cl-
        (["HCO", "HCO"], (0, 1), (1, 1)),
        (["H", "H2O"], (0, 2), (-1, 1)),
    ],
)
def test_a_state_that_cannot_be_computed_leaves_doubt(names, total, refused) -> None:
    with pytest.raises(StageError, match=r"not certain: .* no such state"):
        refusing(names, total, refused)


@pytest.mark.parametrize(
    ("name", "state", "text"),
    [
        ("Cl", (-1, 1), "Cl-"),
        ("OH", (0, 2), "HO (doublet)"),
        ("O2", (0, 3), "O2 (triplet)"),
        ("Na", (1, 1), "Na+"),
        ("C6H6", (-2, 1), "C6H6^2-"),
        ("CH3", (0, 4), "CH3 (multiplicity 4)"),
    ],
)
def test_names(name, state, text) -> None:
    assert named(piece(name), state) == text
