"""The molecules of an end that is in pieces, against the same molecules computed on their own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.optimize import BFGS
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations
from tblite.ase import TBLite

from horm_calc import HormCalculator
from horm_calc.chemistry.connectivity import pieces
from horm_calc.chemistry.thermochemistry import normal_modes, thermochemistry
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import calculators
from workflows.errors import CalculatorFailed, StageError
from workflows.records import Minimum, Reaction, SeparatedMolecules
from workflows.remarks import of_pieces
from workflows.settings import SaddleSettings, SearchSettings, VerdictSettings, from_mapping
from workflows.stages.free_energy import ideal_gas
from workflows.stages.saddle import refine
from workflows.stages.separated import in_pieces, separate, surfaces
from workflows.surface import Surface

#: 0.1 kcal/mol: what is left where the same molecules are relaxed from other starts.
SAME = 0.1


def beside(*molecules: Atoms, distance: float = 8.0) -> Atoms:
    """One structure, the centres of its molecules so far from each other (Å)."""
    together = Atoms()
    for place, one in enumerate(molecules):
        copy = one.copy()
        copy.positions += [place * distance, 0, 0] - copy.positions.mean(0)
        together += copy
    return together


def apart(
    atoms: Atoms,
    charge: int = 0,
    multiplicity: int = 1,
    calculator: str = "gfn2-xtb",
    settings: SearchSettings | None = None,
) -> SeparatedMolecules:
    end = Minimum(
        atoms, energy=0.0, forces=np.zeros((len(atoms), 3)), method="given", converged=True
    )
    reaction = Reaction("test", atoms, atoms, charge=charge, multiplicity=multiplicity)
    surface_of = surfaces(
        reaction, HormCalculator("horm-mini-xtb"), partial(calculators.build, calculator)
    )
    return separate(end, reaction, surface_of, settings or SearchSettings())


# --- acetaldehyde and dimethylamine with horm-mini-xtb

ENDS = Atoms(
    "C2ONC2H11",
    [
        [1.657638, -1.244799, 0.453917], [1.255907, 0.050142, -0.182053],
        [0.586165, 0.120743, -1.207165], [-1.626637, 0.437582, 0.514698],
        [-2.598944, -0.553478, 0.074103], [-2.237449, 1.755817, 0.618946],
        [-0.859061, 0.475525, -0.155399], [2.747968, -1.302199, 0.490179],
        [1.253188, -1.285747, 1.467906], [1.268393, -2.084521, -0.127043],
        [1.602799, 0.961831, 0.332949], [-3.426124, -0.640392, 0.786085],
        [-3.001176, -0.309716, -0.914661], [-2.116477, -1.533651, 0.009042],
        [-3.050606, 1.758550, 1.352068], [-1.488332, 2.479078, 0.955792],
        [-2.624464, 2.096764, -0.346890],
    ],
)  # fmt: skip
AMINE = [3, 4, 5, 6, 11, 12, 13, 14, 15, 16]
ADDITION = Atoms(
    "C2ONC2H11",
    [
        [1.484, -1.161, 0.514], [1.141, 0.247, 0.027], [1.665, 0.614, -1.124],
        [-0.366, 0.407, -0.388], [-1.182, -0.796, -0.490], [-1.067, 1.497, 0.279],
        [0.185, 0.709, -1.379], [1.420, -1.862, -0.313], [2.514, -1.146, 0.865],
        [0.838, -1.470, 1.332], [1.309, 0.944, 0.877], [-1.391, -1.197, 0.505],
        [-2.133, -0.566, -0.972], [-0.669, -1.549, -1.085], [-1.259, 1.240, 1.325],
        [-0.467, 2.405, 0.239], [-2.022, 1.685, -0.211],
    ],
)  # fmt: skip


@pytest.fixture(scope="module")
def addition() -> tuple[float, float]:
    """Energy and Gibbs energy of the saddle, eV."""
    surface = Surface(HormCalculator("horm-mini-xtb"))
    saddle = refine(ADDITION, surface, SaddleSettings())
    assert saddle.converged, saddle.reason
    return saddle.energy, ideal_gas(saddle, 1, surface, SearchSettings()).gibbs


@pytest.mark.parametrize("further", [0.0, 5.0, 20.0])
def test_the_barrier_of_a_bimolecular_addition(further, addition) -> None:
    """28.7 kcal/mol from molecules relaxed one by one, however far apart they are drawn."""
    end = ENDS.copy()
    end.positions[AMINE, 0] -= further
    found = apart(end, calculator="horm:horm-mini-xtb")
    assert found.name == "C2H4O + C2H7N"
    energy, gibbs = addition
    assert to_kcal_per_mol(gibbs - found.gibbs) == pytest.approx(28.7, abs=SAME)
    assert to_kcal_per_mol(energy - found.energy) == pytest.approx(15.96, abs=SAME)
    assert found.cost.evaluations.hessians == 2
    assert found.cost.seconds > 0


# --- against ASE


def by_ase(
    atoms: Atoms, charge: int, multiplicity: int, geometry: str, symmetry: int, tmp
) -> float:
    """Gibbs energy (eV) at 298.15 K and 1 atm of the harmonic gas, all by ASE."""
    atoms = Atoms(atoms.numbers, atoms.positions)
    atoms.calc = TBLite(
        method="GFN2-xTB", charge=charge, multiplicity=multiplicity, accuracy=0.1, verbosity=0
    )
    if len(atoms) == 1:
        energies, energy = [], atoms.get_potential_energy()
    else:
        BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
        vibrations = Vibrations(atoms, name=str(tmp / atoms.get_chemical_formula()), delta=0.005)
        vibrations.run()
        energies, energy = vibrations.get_energies(), atoms.get_potential_energy()
        energies = energies[6 if geometry == "nonlinear" else 5 :].real
    gas = IdealGasThermo(
        energies, geometry, energy, atoms, symmetrynumber=symmetry, spin=(multiplicity - 1) / 2
    )
    return gas.get_gibbs_energy(298.15, 101325.0, verbose=False)


BROMIDE = molecule("CH3Cl")
BROMIDE.symbols[1] = "Br"
BROMIDE.positions[1] += [0, 0, 0.15]
HARMONIC = from_mapping({"thermo": {"treatment": "rrho"}})


@pytest.mark.parametrize(
    ("molecules", "charge", "multiplicity", "alone"),
    [
        (
            [BROMIDE, Atoms("Cl")], -1, 1,
            [("CH3Br", BROMIDE, 0, 1, "nonlinear", 3), ("Cl-", Atoms("Cl"), -1, 1, "monatomic", 1)],
        ),
        (
            [molecule("CO2"), molecule("NH3")], 0, 1,
            [
                ("CO2", molecule("CO2"), 0, 1, "linear", 2),
                ("H3N", molecule("NH3"), 0, 1, "nonlinear", 3),
            ],
        ),
        (
            [Atoms("H"), molecule("H2O")], 0, 2,
            [
                ("H (doublet)", Atoms("H"), 0, 2, "monatomic", 1),
                ("H2O", molecule("H2O"), 0, 1, "nonlinear", 2),
            ],
        ),
        (
            [molecule("H2O"), molecule("CH2_s3B1d")], 0, 3,
            [
                ("H2O", molecule("H2O"), 0, 1, "nonlinear", 2),
                ("CH2 (triplet)", molecule("CH2_s3B1d"), 0, 3, "nonlinear", 2),
            ],
        ),
        (
            [molecule("OH"), molecule("CH3Cl")], -1, 1,
            [
                ("HO-", molecule("OH"), -1, 1, "linear", 1),
                ("CH3Cl", molecule("CH3Cl"), 0, 1, "nonlinear", 3),
            ],
        ),
    ],
    ids=["sn2", "neutral", "atom", "triplet", "hydroxide"],
)  # fmt: skip
def test_free_energies_are_those_that_ase_gives_for_each(
    molecules, charge, multiplicity, alone, tmp_path
) -> None:
    found = apart(beside(*molecules), charge, multiplicity, settings=HARMONIC)
    assert [one.name for one in found.molecules] == [name for name, *_ in alone]
    # Of forces below 0.023 eV/Å and of a soft bend that changes with them.
    for one, (_, *arguments) in zip(found.molecules, alone, strict=True):
        assert one.thermochemistry is not None
        assert one.thermochemistry.gibbs == pytest.approx(by_ase(*arguments, tmp_path), abs=0.003)


# Standard entropies, J/(mol K): CRC Handbook, NIST-JANAF (chloride).
@pytest.mark.parametrize(
    ("molecules", "charge", "multiplicity", "entropies"),
    [
        ([BROMIDE, Atoms("Cl")], -1, 1, [246.4, 153.4]),
        ([Atoms("H"), molecule("H2")], 0, 2, [114.7, 130.7]),
        ([Atoms("He"), Atoms("Ne")], 0, 1, [126.2, 146.3]),
        ([molecule("CH3"), molecule("C2H4")], 0, 2, [194.2, 219.3]),
        ([molecule("N2"), molecule("H2O"), molecule("CO2")], 0, 1, [191.6, 188.8, 213.8]),
    ],
)
def test_entropies_against_experiment(molecules, charge, multiplicity, entropies) -> None:
    settings = from_mapping({"thermo": {"pressure": 1e5}})
    found = apart(beside(*molecules), charge, multiplicity, settings=settings)
    for one, expected in zip(found.molecules, entropies, strict=True):
        entropy = one.thermochemistry.entropy / (units.J / units.mol)
        assert entropy == pytest.approx(expected, rel=0.01), one.name


def test_one_mole_per_litre() -> None:
    """1.89 kcal/mol a molecule at 298.15 K and 1 atm: 24.47 L hold a mole."""
    found = apart(beside(molecule("H2O"), molecule("H2O"), molecule("CO2")))
    assert found.name == "2 H2O + CO2"
    rise = to_kcal_per_mol(found.gibbs_1_mol_per_l - found.gibbs)
    assert rise == pytest.approx(3 * 0.0019872 * 298.15 * np.log(24.465), abs=2e-3)
    same = apart(
        beside(Atoms("He"), Atoms("Ne")), settings=from_mapping({"thermo": {"pressure": 2478957.0}})
    )
    assert same.gibbs_1_mol_per_l == pytest.approx(same.gibbs, abs=1e-6)


# --- which molecules, and how often


@pytest.mark.parametrize(
    ("molecules", "charge", "multiplicity", "name"),
    [
        ([molecule("HCO"), molecule("HCO")], 0, 1, "2 CHO (doublet)"),
        ([molecule("OH"), molecule("OH")], 0, 3, "2 HO (doublet)"),
        ([molecule("H2O")] * 4, 0, 1, "4 H2O"),
        ([molecule("NH3"), molecule("H2O"), molecule("NH3")], 0, 1, "2 H3N + H2O"),
        ([molecule("C2H4"), molecule("C2H4")], 1, 2, "C2H4+ (doublet) + C2H4"),
    ],
)
def test_equal_molecules_are_relaxed_once(molecules, charge, multiplicity, name) -> None:
    found = apart(beside(*molecules), charge, multiplicity)
    assert sorted(found.name.split(" + ")) == sorted(name.split(" + "))
    assert sum(one.count for one in found.molecules) == len(molecules)
    total = sum(one.count * one.minimum.energy for one in found.molecules)
    assert found.energy == pytest.approx(total)
    assert found.cost.evaluations.hessians <= 2 * len(found.molecules)


def test_stereoisomers_and_isotopes_are_no_equal_molecules() -> None:
    water, heavy = molecule("H2O"), molecule("H2O")
    heavy.set_masses([15.999, 2.014, 1.008])
    found = apart(beside(water, heavy, water, heavy))
    assert [one.count for one in found.molecules] == [2, 2]
    light, partly = (one.thermochemistry for one in found.molecules)
    assert (light.symmetry_number, partly.symmetry_number) == (2, 1)
    assert light.zero_point_energy > partly.zero_point_energy + 0.05
    cis, trans = (
        Atoms("N2H2", [[0, 0.62, 0], [0, -0.62, 0], [1, 0.9, 0], [x, -0.9, 0]]) for x in (1, -1)
    )
    found = apart(beside(cis, trans))
    assert [one.count for one in found.molecules] == [1, 1]
    energies = [one.minimum.energy for one in found.molecules]
    assert abs(energies[0] - energies[1]) > 0.05  # eV: each has its own


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        (beside(molecule("H2O"), molecule("H2O"), distance=2.9), 2),
        (molecule("C2H6"), 1),
        (Atoms("FHF", [[-1.15, 0, 0], [0, 0, 0], [1.15, 0, 0]]), 1),  # bonds in doubt hold
        (Atoms("FHF", [[-0.95, 0, 0], [0, 0, 0], [1.55, 0, 0]]), 2),
        (molecule("Si2H6"), 1),
        (beside(Atoms("Li"), Atoms("F"), Atoms("Ne"), distance=4.0), 3),
    ],
)
def test_what_is_one_molecule(atoms, count) -> None:
    assert len(in_pieces(atoms, VerdictSettings())) == count


def test_pieces_are_in_the_order_of_their_first_atoms() -> None:
    mixed = beside(molecule("H2O"), molecule("N2"))[[3, 1, 0, 4, 2]]
    assert pieces(mixed, 1.2) == [[0, 3], [1, 2, 4]]


# --- what is refused, in words


@pytest.mark.parametrize(
    ("molecules", "message"),
    [
        (
            [molecule("HCO"), molecule("HCO")],
            r"CHO \(doublet\): the molecule has unpaired electrons",
        ),
        ([molecule("CH3"), molecule("CH3")], r"CH3 \(doublet\): .*closed shells"),
        ([molecule("OH"), molecule("NO2")], r"HO \(doublet\): "),
        ([Atoms("H"), molecule("CH3")], r"H \(doublet\): "),
        ([molecule("CN"), molecule("NH2")], r"CN \(doublet\): "),
    ],
)
def test_a_network_refuses_radicals(molecules, message) -> None:
    with pytest.raises(StageError, match=message):
        apart(beside(*molecules), calculator="horm:horm-mini-xtb")


@pytest.mark.filterwarnings("ignore::horm_calc.input_checks.OutsideTrainingDomain")
def test_what_a_network_says_of_an_atom_is_a_concern() -> None:
    found = apart(beside(Atoms("O"), molecule("N2")), calculator="horm:horm-mini-xtb")
    assert any("atom alone" in text for text in found.molecules[0].concerns)
    assert found.molecules[1].concerns == ()


def test_a_molecule_that_is_none_alone() -> None:
    squeezed = Atoms("OHH", [[0, 0, 0], [0.33, 0, 0.9], [-0.33, 0, 0.9]])
    with pytest.raises(StageError, match="H2O alone relaxes to another structure: H2-H3 broken"):
        apart(beside(squeezed, molecule("N2")))


def test_one_that_does_not_relax_says_so_and_its_cost_is_known() -> None:
    settings = from_mapping({"endpoints": {"max_steps": 1, "max_force": 1e-4}})
    with pytest.raises(StageError, match=r"H3N alone did not relax: .*within 1 steps") as caught:
        apart(beside(molecule("NH3"), molecule("H2O")), settings=settings)
    assert caught.value.cost.evaluations.gradients > 0


def test_without_a_builder_only_what_is_like_the_reaction() -> None:
    water = beside(molecule("H2O"), molecule("NH3"))
    neutral = surfaces(Reaction("", water, water), TBLite(verbosity=0), None)
    assert neutral((0, 1)).calculator.parameters.method == "GFN2-xTB"
    with pytest.raises(StageError, match="a function `build`"):
        neutral((-1, 1))


def test_a_builder_that_fails_is_a_calculator_that_fails() -> None:
    def build(charge: int, multiplicity: int) -> TBLite:
        raise ImportError("no licence")

    surface_of = surfaces(Reaction("", ENDS, ENDS), TBLite(verbosity=0), build)
    with pytest.raises(CalculatorFailed, match="ImportError: no licence"):
        surface_of((0, 1))


def test_one_atom_is_translation_and_spin() -> None:
    """Sackur and Tetrode, and R ln 2."""
    atom = Atoms("H")
    gas = thermochemistry(atom, normal_modes(atom, np.zeros((3, 3))), -13.6, multiplicity=2)
    kt = units.kB * 298.15
    thermal = units._hplanck / np.sqrt(2 * np.pi * 1.008 * units._amu * units._k * 298.15)
    volume = units._k * 298.15 / 101325.0
    entropy = np.log(volume / thermal**3) + 2.5 + np.log(2)
    assert gas.entropy == pytest.approx(units.kB * entropy, rel=1e-6)
    assert gas.enthalpy == pytest.approx(-13.6 + 2.5 * kt, rel=1e-9)


def test_molecules_far_from_each_other_are_no_complex() -> None:
    """Radicals far apart share their electrons still, and have another energy than alone."""
    words = {}
    for distance in (3.5, 30.0):
        end = beside(molecule("H2O"), molecule("H2O"), distance=distance)
        found = apart(end)
        together = Minimum(
            end,
            energy=found.energy - 0.05,
            forces=np.zeros((6, 3)),
            method="given",
            converged=True,
        )
        ends = {"reactant": together}
        words[distance], *_ = of_pieces(ends, {"reactant": found}, {}, VerdictSettings())
    assert words[3.5].startswith(
        "the reactant is a complex, 2 H2O, 1.2 kcal/mol below the separate molecules"
    )
    assert words[30.0].startswith(
        "the reactant is several molecules, 2 H2O, 1.2 kcal/mol below the separate molecules"
    )
