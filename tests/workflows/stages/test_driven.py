"""Paths along driven bonds, on reactions of ions whose geodesic paths go astray."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from ase import Atoms
from rdkit import Chem
from rdkit.Chem import AllChem

from horm_calc.chemistry.connectivity import bonds, same_bonds
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import calculators
from workflows.errors import NotConverged
from workflows.guesses import first_guesses, rest_of
from workflows.records import Label, Reaction, StringPath
from workflows.settings import (
    EndpointSettings,
    IRCSettings,
    LowerPathSettings,
    SaddleSettings,
    SearchSettings,
)
from workflows.stages.driven import STEPS, _distances, _lengths, _Springs, driven_string
from workflows.stages.endpoints import relax
from workflows.stages.irc import follow
from workflows.stages.saddle import refine
from workflows.surface import Surface
from workflows.tssearch import search

SETTINGS = SearchSettings()
FACTOR = SETTINGS.verdict.bond_factor

#: Cl⁻ + CH3CH2F and F⁻ + CH3CH2Cl; H4 and H5 lie as if the carbon had kept its configuration, so
#: that no path without another conformer leads from the one to the other.
ETHYL = (
    Atoms(
        "FC2H5Cl",
        [
            [-0.810307, -0.405709, -1.459581], [-0.729567, -0.051841, -0.149844],
            [0.726275, 0.073701, 0.231239], [-1.256381, 0.897447, -0.020759],
            [-1.229262, -0.823108, 0.442437], [1.246437, -0.874909, 0.066453],
            [0.833182, 0.358158, 1.281585], [1.219623, 0.826262, -0.391530],
            [-0.551347, 0.729267, 2.741195],
        ],
    ),
    Atoms(
        "FC2H5Cl",
        [
            [-0.531811, 0.066416, -2.236104], [-0.722615, 0.083755, 0.757772],
            [0.726551, 0.080983, 0.318370], [-1.241046, -0.806886, 0.391649],
            [-1.240761, 0.970271, 0.381374], [1.252189, -0.804368, 0.690990],
            [1.252471, 0.970419, 0.680726], [0.789290, 0.074654, -0.774394],
            [-0.835613, 0.094024, 2.530811],
        ],
    ),
)  # fmt: skip


#: A saddle between two conformers of its product: the fluoride moves aside, over a hump of 0.1
#: kcal/mol next to a minimum.
FLUORIDE_ASIDE = Atoms(
    "FC2H5Cl",
    [
        [-0.7767, 0.0681, -1.9796], [-0.672, 0.0833, 0.6854], [0.7882, 0.081, 0.3261],
        [-1.1719, -0.8036, 0.3094], [-1.1716, 0.9662, 0.2994], [1.2969, -0.8067, 0.6992],
        [1.2973, 0.9727, 0.689], [0.7701, 0.0747, -0.7683], [-0.9118, 0.0936, 2.4806],
    ],
)  # fmt: skip

MALONALDEHYDE = Atoms(
    "OC3OH4",
    [
        [-0.829, 1.546, -0.352], [-0.872, 0.724, 0.555], [-0.078, -0.471, 0.599],
        [0.787, -0.741, -0.411], [0.963, 0.025, -1.46], [-1.552, 0.881, 1.407],
        [-0.177, -1.141, 1.434], [1.404, -1.634, -0.413], [0.354, 0.811, -1.359],
    ],
)  # fmt: skip

ACETAMIDE = Atoms(
    "C2ONH5",
    [
        [1.007, -0.086, -0.439], [-0.185, 0.562, 0.232], [-0.227, 1.721, 0.571],
        [-1.227, -0.283, 0.427], [1.796, 0.649, -0.561], [1.373, -0.91, 0.17],
        [0.719, -0.472, -1.415], [-2.061, 0.066, 0.868], [-1.195, -1.247, 0.147],
    ],
)  # fmt: skip

ACETIMIDIC_ACID = Atoms(
    "C2ONH5",
    [
        [1.043, -0.478, -0.217], [-0.172, 0.353, 0.089], [0.143, 1.598, 0.472],
        [-1.389, 0.032, 0.029], [1.614, 0.001, -1.009], [1.673, -0.53, 0.668],
        [0.76, -1.481, -0.525], [-0.679, 2.077, 0.653], [-1.577, -0.919, -0.265],
    ],
)  # fmt: skip


def surface(charge: int) -> Surface:
    return Surface(calculators.build("gfn2-xtb", charge), charge)


def structure(smiles: str) -> Atoms:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(molecule)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    return Atoms(symbols, molecule.GetConformer().GetPositions())


def substitution(
    smiles: str, nucleophile: str, far: float, bond: float, inverted: bool = True
) -> tuple[Atoms, Atoms]:
    """X⁻ + R-Y and Y⁻ + R-X; `smiles` begins with Y and the carbon, distances in Å."""
    start = structure(smiles)
    leaving, carbon = start.positions[:2]
    outwards = (leaving - carbon) / np.linalg.norm(leaving - carbon)
    reactant = start + Atoms(nucleophile, [carbon - far * outwards])
    product = start.copy()
    if inverted:
        product.positions -= 2 * np.outer((product.positions - carbon) @ outwards, outwards)
    side = -1 if inverted else 1
    product.positions[0] = carbon - side * far * outwards
    product += Atoms(nucleophile, [carbon + side * bond * outwards])
    return reactant, product


def proton_transfer(start: Atoms, hydrogen: int, donor: int, acceptor: int) -> tuple[Atoms, Atoms]:
    product = start.copy()
    away = product.positions[donor] - product.positions[acceptor]
    product.positions[hydrogen] = product.positions[acceptor] + away / np.linalg.norm(away)
    return start, product


def relaxed(ends: tuple[Atoms, Atoms], pes: Surface) -> tuple[Atoms, Atoms]:
    reactant, product = (relax(end, pes, EndpointSettings()).atoms for end in ends)
    return reactant, product


def driven(ends: tuple[Atoms, Atoms], pes: Surface, saddle: float = math.inf) -> StringPath:
    return driven_string(*ends, FACTOR, saddle, pes, LowerPathSettings())


@pytest.fixture(scope="module")
def ethyl() -> tuple[tuple[Atoms, Atoms], Surface]:
    pes = surface(-1)
    return relaxed(ETHYL, pes), pes


@pytest.mark.parametrize(
    ("charge", "ends", "top"),
    [
        (-1, substitution("BrC", "Cl", 3.2, 1.8), 6.3),
        (-1, substitution("ClCC", "Br", 3.4, 1.97), 13.6),
        (-1, substitution("FCC#N", "Cl", 3.2, 1.8), 17.6),
        (0, proton_transfer(MALONALDEHYDE, 8, 4, 0), 3.7),
        (0, (ACETAMIDE, ACETIMIDIC_ACID), 38.6),
    ],
    ids=["Cl- + CH3Br", "Br- + C2H5Cl", "Cl- + FCH2CN", "enol", "amide"],
)
def test_driven_paths_stay_near_the_scan(charge, ends, top) -> None:
    """Near `top`, the highest point of scans of one bond in steps of 0.06 Å, kcal/mol."""
    pes = surface(charge)
    reactant, product = relaxed(ends, pes)
    path = driven((reactant, product), pes)
    height = to_kcal_per_mol(path.ceiling - pes.at(reactant)[0])
    assert top - 0.5 < height < top + 2
    assert same_bonds(path.images[0], reactant, FACTOR)
    assert same_bonds(path.images[-1], product, FACTOR)
    middles = [
        Atoms(reactant.numbers, (first.positions + last.positions) / 2)
        for first, last in itertools.pairwise(path.images)
        if np.abs(first.positions - last.positions).max() < 0.3  # else it was turned and moved
    ]
    assert len(middles) > STEPS
    assert max(pes.at(middle)[0] for middle in middles) < path.ceiling + 0.005


def test_a_wrong_barrier_is_found_out(ethyl) -> None:
    """Substitution in front costs 75.5 kcal/mol; the right saddle lies at 30.8."""
    ends, pes = ethyl
    start = pes.at(ends[0])[0]
    path = driven(ends, pes, start + 75.5 / to_kcal_per_mol(1.0))
    assert 30.8 < to_kcal_per_mol(path.ceiling - start) < 34
    before = pes.evaluations.gradients
    with pytest.raises(NotConverged):
        driven(ends, pes, start + 30.8 / to_kcal_per_mol(1.0))
    assert pes.evaluations.gradients - before < 4 * STEPS * 6  # ends where it rises above that


def test_the_search_finds_the_right_barrier() -> None:
    """A scan of the F-C bond from the product tops at 30.9 kcal/mol."""
    calculator = calculators.build("gfn2-xtb", -1)
    result = search(Reaction("sn2", *ETHYL, charge=-1), calculator)
    assert result.verdict.label is Label.INTENDED
    assert result.lower_path is None
    assert result.path.method == "driven"
    assert 30 < to_kcal_per_mol(result.saddle.energy - result.reactant.energy) < 30.9
    # The highest point of the path lies between two conformers of the product.
    assert "attempt 1: driven, partly intended, both ends of the IRC are the product" in result.log


def test_paths_from_the_geodesic_find_elimination_only() -> None:
    """Br⁻ + CH3CH2Cl, where gsm, neb and a string end at 36 to 40 kcal/mol, *partly intended*."""
    ends = substitution("ClCC", "Br", 3.4, 1.97)
    result = search(Reaction("sn2", *ends, charge=-1), calculators.build("gfn2-xtb", -1))
    assert result.verdict.label is Label.INTENDED
    barrier = to_kcal_per_mol(result.saddle.energy - result.reactant.energy)
    assert barrier == pytest.approx(13.68, abs=0.1)  # a scan in steps of 0.06 Å tops at 13.6
    assert result.attempts == 1


def test_flat_saddles_have_an_irc(ethyl) -> None:
    """And what it tells is used: bonds still change between its end and the reactant."""
    ends, pes = ethyl
    saddle = refine(FLUORIDE_ASIDE, pes, SaddleSettings())
    assert saddle.converged
    irc = follow(saddle, pes, IRCSettings())
    assert "did not descend" in irc.reason
    fallen = [to_kcal_per_mol(saddle.energy - irc.energies[end]) for end in (0, -1)]
    assert 0.05 < min(fallen) < 0.2 < 1 < max(fallen)

    found = tuple(relax(irc.images[end], pes, EndpointSettings()).atoms for end in (0, -1))
    assert all(same_bonds(atoms, ends[1], FACTOR) for atoms in found)
    path = StringPath(ends, np.zeros(2), method="driven", converged=True)
    path = rest_of(path, found, ends, pes, SETTINGS).find()
    assert 2.4 < path.images[-1].get_distance(0, 1) < 2.5 < ends[1].get_distance(0, 1)
    assert to_kcal_per_mol(path.ceiling - pes.at(ends[0])[0]) < 31.1
    assert rest_of(path, (ends[0], found[0]), ends, pes, SETTINGS) is None
    assert rest_of(path, (ends[1], ends[1]), ends, pes, SETTINGS) is None  # no nearer than before


def test_driven_bonds_do_not_lead_to_another_stereoisomer() -> None:
    """Cl⁻ + CH3CHFBr turns the carbon over."""
    pes = surface(-1)
    start, inverted = relaxed(substitution("Br[C@H](F)C", "Cl", 3.3, 1.8), pes)
    assert driven((start, inverted), pes).converged
    _, kept = relaxed(substitution("Br[C@H](F)C", "Cl", 3.3, 1.8, inverted=False), pes)
    with pytest.raises(NotConverged):
        driven((start, kept), pes)


def test_springs_give_the_gradient_of_their_energy(gfn2) -> None:
    """Of a bond that is too short, one that is too long, and one that has run ahead."""
    atoms = structure("CC(N)=O")
    springs = _Springs(gfn2, np.array([[0, 1], [1, 3], [1, 2]]), np.array([1.0, -1.0, 1.0]))
    springs.aim(np.array([2.0, 1.0, 1.2]))
    plain = gfn2.at(atoms)[0]
    stretch = 2.0 - atoms.get_distance(0, 1), atoms.get_distance(1, 3) - 1.0
    atoms.calc = springs
    assert atoms.get_potential_energy() == pytest.approx(plain + 20 * np.square(stretch).sum())
    forces = atoms.get_forces()
    for place in np.ndindex(4, 3):
        energies = []
        for step in (1e-3, -1e-3):
            moved = atoms.copy()
            moved.positions[place] += step
            moved.calc = springs
            energies.append(moved.get_potential_energy())
        slope = (energies[1] - energies[0]) / 2e-3
        assert slope == pytest.approx(forces[place], abs=2e-3)


def test_lengths_go_from_end_to_end(ethyl) -> None:
    """However far away an atom is: where one bond is half gone, the other is half there."""
    reactant, product = (end.copy() for end in ethyl[0])
    reactant.positions[8] += 6 * (reactant.positions[8] - reactant.positions[1])
    pairs = sorted(bonds(reactant, FACTOR) ^ bonds(product, FACTOR))
    lengths = _lengths(reactant, _distances(product, pairs), pairs)
    assert lengths[0] == pytest.approx([reactant.get_distance(0, 1), reactant.get_distance(1, 8)])
    assert lengths[-1, 1] == pytest.approx(product.get_distance(1, 8))
    assert (np.diff(lengths[:, 0]) > 0).all()
    assert (np.diff(lengths[:, 1]) < 0).all()
    assert lengths[-1, 0] < 3.33 + 0.01  # no further than 2.5 times a bond
    middle = np.abs(lengths[:, 0] - 1.33 - 0.6 * np.log(2)).argmin()
    assert lengths[middle, 1] == pytest.approx(1.78 + 0.6 * np.log(2), abs=0.3)


def test_driven_bonds_come_first_where_ends_are_in_pieces(ethyl) -> None:
    ends, pes = ethyl

    def methods(ends: tuple[Atoms, Atoms]) -> list[str]:
        return [guess.method for guess in first_guesses(ends, pes, SETTINGS)]

    assert methods(ends) == ["driven", "string", "geodesic", "gsm", "neb"]
    one = proton_transfer(MALONALDEHYDE, 8, 4, 0)
    assert methods(one) == ["string", "geodesic", "driven", "gsm", "neb"]
    same = (MALONALDEHYDE, MALONALDEHYDE)
    assert methods(same) == ["string", "geodesic", "gsm", "neb"]
