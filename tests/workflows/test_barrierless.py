"""Reactions without a barrier say so, and those with one are never called that."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from horm_calc.units import KCAL_PER_MOL, to_kcal_per_mol
from reactbench_runner import calculators
from reactbench_runner.commands.tssearch import main
from reactbench_runner.storage.making import to_row
from tests.workflows.molecules import numbered
from workflows.barrierless import bar, fallen_end, is_loose, only_rises, rises
from workflows.records import Label, Reaction, ReactionPath, StringPath, Verdict
from workflows.settings import EndpointSettings, LowerPathSettings, VerdictSettings
from workflows.stages.endpoints import descend, settle
from workflows.stages.free_energy import connected_sides
from workflows.stages.lower_path import followed
from workflows.surface import Surface
from workflows.tssearch import search
from workflows.verdict import check_relaxation

ENERGIES = ("barrier", "reverse_barrier", "reaction_energy", "gibbs_barrier",
            "reverse_gibbs_barrier", "reaction_gibbs")  # fmt: skip


def apart(atoms: Atoms, moved: list[int], distance: float) -> Atoms:
    """The bond of the first two atoms drawn out to `distance`, Å; `moved` go with the second."""
    other = atoms.copy()
    bond = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(bond)
    other.positions[moved] += bond * (distance / length - 1)
    return other


def bound(name: str) -> tuple[Atoms, list[int]]:
    """A molecule whose first two atoms are bonded, and the atoms on the side of the second."""
    smiles, moved = {
        "H2O2": ("[O:1]([H:3])[O:2][H:4]", [1, 3]),
        "N2H4": ("[N:1]([H:3])([H:4])[N:2]([H:5])[H:6]", [1, 4, 5]),
        "CH3-CH3": ("[C:1]([H:3])([H:4])([H:5])[C:2]([H:6])([H:7])[H:8]", [1, 5, 6, 7]),
        "CH3-NH2": ("[C:1]([H:3])([H:4])([H:5])[N:2]([H:6])[H:7]", [1, 5, 6]),
        "HCO-CHO": ("[C:1]([H:3])(=[O:4])[C:2]([H:5])=[O:6]", [1, 4, 5]),
        "HO-Cl": ("[Cl:1][O:2][H:3]", [1, 2]),
        "BH3-NH3": ("[B-:1]([H:3])([H:4])([H:5])[N+:2]([H:6])([H:7])[H:8]", [1, 5, 6, 7]),
    }[name]  # fmt: skip
    return numbered(smiles), moved


FALLS = {
    "H2O2": ("O1-O2", 2.5),
    "N2H4": ("N1-N2", 2.8),
    "CH3-CH3": ("C1-C2", 3.0),
    "CH3-NH2": ("C1-N2", 3.0),
    "HCO-CHO": ("C1-C2", 2.6),
    "HO-Cl": ("Cl1-O2", 2.8),
    "BH3-NH3": ("B1-N2", 3.0),
}


@pytest.mark.parametrize("name", FALLS)
def test_radicals_and_pairs_that_bind_without_a_barrier(name: str) -> None:
    """From either side: there is nothing but the molecule, perhaps another conformer of it."""
    together, moved = bound(name)
    bond, distance = FALLS[name]
    pieces = apart(together, moved, distance)
    seen: list[str] = []
    for reactant, product, fell, other in (
        (pieces, together, "reactant", "product"),
        (together, pieces, "product", "reactant"),
    ):
        result = search(
            Reaction(name, reactant, product), calculators.build("gfn2-xtb"), progress=seen.append
        )
        assert result.verdict.label is Label.BARRIERLESS
        assert result.verdict.lost == (fell,)
        reason = result.verdict.reason
        assert reason.startswith(f"the {fell} relaxes into ")
        assert reason.endswith(f"the {other}: no barrier for {bond} on this surface")
        row = to_row(result)
        assert [getattr(row, f"{column}_kcal_per_mol") for column in ENERGIES] == [None] * 6
        assert row.ts_energy_ev is None
        assert result.attempts == 0
    assert set(seen) == {"endpoints"}


def test_the_summary_and_the_table_of_a_recombination(tmp_path, capsys) -> None:
    """Two vinyl radicals bind to *s-trans*-butadiene, while the product was to be the other one."""
    butadiene = numbered("[C:3]([H:5])([H:6])=[C:1]([H:7])[C:2]([H:8])=[C:4]([H:9])[H:10]")
    moved = [1, 3, 7, 8, 9]
    trans, gauche = butadiene.copy(), butadiene.copy()
    for atoms, angle in ((trans, 180), (gauche, 35)):
        atoms.set_dihedral(2, 0, 1, 3, angle, indices=moved[1:])
    write(tmp_path / "in.xyz", [apart(trans, moved, 2.6), gauche], format="xyz")
    arguments = [str(tmp_path / "in.xyz"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--calculator", "gfn2-xtb"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    words = "the reactant relaxes into a conformer of the product: no barrier for C1-C2"
    words += " on this surface"
    assert words in printed
    assert "0 of 1 intended, 1 barrierless" in printed
    [row] = csv.DictReader((tmp_path / "out" / "results.csv").open(encoding="utf-8"))
    assert (row["verdict"], row["reason"]) == ("barrierless", words)
    assert {row[f"{column}_kcal_per_mol"] for column in ENERGIES} == {""}


@pytest.mark.parametrize(
    ("given", "relaxed", "product", "words"),
    [
        # Radicals apart, what they become, and what was asked for.
        ("[O:1]=[N:2][H:3]", "[O:1]=[N:2][H:3]", "[O:1]=[N:2][H:3]", "the product"),
        ("[F:1][N:2]=[N:3][F:4]", "E", "E", "the product"),
        ("[F:1][N:2]=[N:3][F:4]", "E", "Z", "another stereoisomer of the product"),
    ],
)
def test_what_the_end_has_become(given, relaxed, product, words) -> None:
    isomers = {"E": "[F:1]/[N:2]=[N:3]/[F:4]", "Z": r"[F:1]/[N:2]=[N:3]\[F:4]"}
    first, second = (numbered(isomers.get(name, name)) for name in (relaxed, product))
    start = apart(first[[1, 0, *range(2, len(first))]], [1], 3.0)[[1, 0, *range(2, len(first))]]
    pair = {"reactant": start, "product": second}, {"reactant": first, "product": second}
    verdict = fallen_end(*pair, VerdictSettings())
    bond = f"{start.symbols[0]}1-N2"
    assert verdict.label is Label.BARRIERLESS
    into = f"the reactant relaxes into {words}"
    assert verdict.reason == f"{into}: no barrier for {bond} on this surface"


def test_what_is_no_fall() -> None:
    """Both ends became a third structure; an end is as given; only a bond in doubt has changed."""
    settings = VerdictSettings()
    molecule = numbered("[O:1]([H:3])[O:2][H:4]")
    pieces = apart(molecule, [1, 3], 3.0)
    other = apart(molecule, [1, 3], 4.0)
    turned = molecule.copy()
    turned.set_dihedral(2, 0, 1, 3, 40, indices=[3])
    limit = 1.2 * 2 * 0.66
    doubtful = apart(molecule, [1, 3], 1.02 * limit)

    def verdict(first: Atoms, last: Atoms, relaxed: tuple[Atoms, Atoms]) -> Verdict | None:
        given = {"reactant": first, "product": last}
        return fallen_end(given, dict(zip(given, relaxed, strict=True)), settings)

    assert verdict(pieces, other, (molecule, molecule)) is None
    assert verdict(pieces, molecule, (pieces, molecule)) is None
    assert verdict(molecule, turned, (molecule, molecule)) is None
    assert verdict(doubtful, turned, (molecule, turned)) is None
    # But where both have become one structure, doubts leave nothing to search.
    assert verdict(doubtful, molecule, (molecule, molecule)).lost == ("reactant",)


@pytest.mark.parametrize("label", [Label.INTENDED, Label.PARTLY, Label.AMBIGUOUS])
def test_no_energies_count_from_an_end_that_became_something_else(label: Label) -> None:
    settings = VerdictSettings()
    together = numbered("[O:1]([H:3])[O:2][H:4]")
    given = {"reactant": apart(together, [1, 3], 3.0), "product": apart(together, [3], 2.0)}
    verdict = Verdict(label, "C1-H2 1.33 Å", side="product", at_limit=Label.INTENDED)
    assert any(connected_sides(verdict))
    relaxed = {**given, "reactant": together}
    found = check_relaxation(verdict, given, relaxed, settings)
    assert (found.label, found.lost) == (Label.AMBIGUOUS, ("reactant",))
    assert found.reason.endswith("relaxation changed the reactant: O1-O2 formed")
    assert ("C1-H2" in found.reason) == (label is Label.AMBIGUOUS)
    assert connected_sides(found) == (False, False)
    assert check_relaxation(verdict, given, given, settings) == verdict


@pytest.mark.parametrize("backwards", [False, True])
def test_pieces_far_apart(backwards: bool) -> None:
    """Borane and ammonia at 12 Å feel nothing of each other; the adduct lies lower."""
    together, moved = bound("BH3-NH3")
    ends = [together, apart(together, moved, 12.0)]
    reaction = Reaction("adduct", *(ends[::-1] if backwards else ends))
    result = search(reaction, calculators.build("gfn2-xtb"))
    assert result.verdict.label is Label.BARRIERLESS
    assert result.verdict.lost == ()
    moves = "falls" if backwards else "rises"
    assert f"the energy only {moves} from the reactant to the product" in result.verdict.reason
    assert "for B1-N2 on this surface" in result.verdict.reason
    assert result.saddle is None
    row = to_row(result)
    barriers = [
        getattr(row, f"{column}_kcal_per_mol") for column in ENERGIES if "barrier" in column
    ]
    assert barriers == [None] * 4
    energy = -22.6 if backwards else 22.6  # kcal/mol, GFN2-xTB's
    assert row.reaction_energy_kcal_per_mol == pytest.approx(energy, abs=0.2)
    if backwards:
        assert "saddle" not in result.costs
    else:  # this string has a hump of 0.6 kcal/mol at the end, so that a saddle is looked for
        assert result.attempts <= 3


def test_a_barrier_between_the_images_of_a_path_is_seen(gfn2) -> None:
    """Formic acid's hydrogen goes about its oxygen, over images whose energies only rise."""
    settings = EndpointSettings()
    acid = numbered("[O:1]([H:5])[C:2]([H:4])=[O:3]")
    ends = []
    for angle in (0, 180):
        atoms = acid.copy()
        atoms.set_dihedral(2, 1, 0, 4, angle, indices=[4])
        ends.append(settle(atoms, 20.0, gfn2, settings))
    shaken = ends[0].atoms.copy()
    shaken.rattle(0.02, seed=1)
    images = ends[0].atoms, shaken, ends[1].atoms
    energies = np.array([gfn2.at(image)[0] for image in images])
    assert rises(energies)
    path = ReactionPath(images, energies, method="by hand", converged=True)
    fine = followed(path, bar(energies), gfn2, LowerPathSettings())
    assert to_kcal_per_mol(fine.ceiling - energies[0]) > 14.8
    assert only_rises(fine, 1.2) is None
    assert not any(is_loose(end, 20.0) for end in ends)


@pytest.mark.parametrize(
    ("energies", "rising"),
    [
        ([0, 1, 2, 3], True),
        ([3, 2, 1, 0], True),
        ([0, 2, 3.4, 3], True),  # kcal/mol: within what is not told apart
        ([0, 2, 3.6, 3], False),
        ([0, 2, 1.4, 3], False),  # an intermediate
        ([0, -0.6, 2, 3], False),
        ([0, 0.2, 0.4, 0.9], False),  # ends as high as each other
    ],
)
def test_rising(energies: list[float], rising: bool) -> None:
    values = np.array(energies) * KCAL_PER_MOL
    assert rises(values) == rising
    path = StringPath(
        (molecule("H2"), molecule("H2")),
        values,
        method="string",
        converged=True,
        ceiling=float(values.max()),
    )
    assert (only_rises(path, 1.2) is not None) == rising
    higher = dataclasses.replace(path, ceiling=float(values.max()) + 0.03)
    assert only_rises(higher, 1.2) is None


def test_short_steps_end_in_the_next_minimum(muller_brown) -> None:
    """Müller and Brown's middle minimum is 0.2 eV deep on one side."""
    surface = Surface(muller_brown)
    start = Atoms("H", [[0.2, 0.3, 0]])
    kept = descend(start, lambda atoms: True, surface, EndpointSettings())
    assert kept.converged
    np.testing.assert_allclose(kept.atoms.positions[0, :2], [-0.05, 0.467], atol=5e-3)
    gone = descend(start, lambda atoms: atoms.positions[0, 0] > 0.15, surface, EndpointSettings())
    assert not gone.converged
    assert 0.1 < gone.atoms.positions[0, 0] < 0.15  # one step of 0.05 Å and no more
