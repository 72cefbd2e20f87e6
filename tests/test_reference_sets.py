"""Reactions of the literature: how they are read, and how the search is held against them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from benchmarks import reference_sets
from benchmarks.reference_data import MEANT, SETS, Known, read_set
from benchmarks.reference_saddles import as_meant
from benchmarks.reference_scores import MOST_LABELS, Nearness, near
from horm_calc.chemistry.equivalence import relabellings
from workflows.records import Label
from workflows.settings import VerdictSettings

SIZES = {"xtb_rx": 20, "baker_ts": 25, "zimmerman_xtb": 65, "birkholz_rx": 20, "zimmerman": 105}
LIMIT = VerdictSettings().bond_factor


@pytest.fixture(scope="module")
def known() -> dict[str, tuple[Known, ...]]:
    return {name: tuple(read_set(name)) for name in SETS}


def test_sets_are_whole(known: dict[str, tuple[Known, ...]]) -> None:
    assert {name: len(found) for name, found in known.items()} == SIZES
    for name, found in known.items():
        assert {len(one.frames) for one in found} == {1 if name == "baker_ts" else 3}
        for one in found:
            first, *others = (frame.get_chemical_symbols() for frame in one.frames)
            assert all(symbols == first for symbols in others), one.id


def test_electrons_fit(known: dict[str, tuple[Known, ...]]) -> None:
    """A multiplicity is even where the number of electrons is odd; names in SETS are files."""
    for name, found in known.items():
        for one in found:
            electrons = int(one.saddle.numbers.sum()) - one.charge
            assert (electrons + one.multiplicity) % 2 == 1, one.id
        assert set(SETS[name].electrons) <= {one.id for one in found}
    charged = {one.id: one.charge for found in known.values() for one in found if one.charge}
    cations = ("20_hconh3_cation", "case_102", "case_103", "case_104")
    anions = ("14_oxirane", "15_oxirane", "16_h2po4_anion", "18_sn2")
    assert charged == dict.fromkeys(cations, 1) | dict.fromkeys(anions, -1)


def test_electrons_are_those_of_pysisyphus(known: dict[str, tuple[Known, ...]]) -> None:
    from pysisyphus.benchmarks import data

    for name, found in known.items():
        _, theirs = getattr(data, f"get_{name}_data")()
        electrons = {file.rpartition(".")[0]: tuple(rest[:2]) for file, *rest in theirs}
        ours = {one.id: (one.charge, one.multiplicity) for one in found}
        other = {identifier for identifier in ours if ours[identifier] != electrons[identifier]}
        assert ours.keys() == electrons.keys()
        assert other == ({"case_102", "case_103", "case_104"} if name == "zimmerman" else set())


def test_guesses_have_the_atoms_of_their_reactions(known: dict[str, tuple[Known, ...]]) -> None:
    assert {one.id for one in known["baker_ts"]} == MEANT.keys()
    for one in known["baker_ts"]:
        meant = MEANT[one.id]
        elements = {symbol for pair in (*meant.broken, *meant.formed) for symbol in pair.split("-")}
        assert elements <= set(one.saddle.get_chemical_symbols())


def placed(positions: np.ndarray, energy: float, symbols: object = "CHNOH") -> Atoms:
    atoms = Atoms(symbols, positions)
    atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


CHIRAL = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 1.7], [-0.7, -0.7, -0.7]])


def test_the_same_saddle_turned_mirrored_and_relabelled() -> None:
    """The two hydrogens on the carbon cannot be told apart."""
    literature = placed(CHIRAL, -10.0)
    turn = Rotation.from_rotvec([0.4, 0.8, -1.2])
    exchanged = placed(turn.apply(CHIRAL[[0, 4, 2, 3, 1]] * [1, 1, -1]), -9.98)
    kind, rmsd, above = near([exchanged], literature, (literature, literature), connects=False)
    assert kind is Nearness.SAME
    assert rmsd == pytest.approx(0, abs=1e-6)
    assert above == pytest.approx(0.02)


def test_the_same_saddle_on_the_way_back() -> None:
    """A hydrogen goes from one oxygen to the other; the other way, it is near the other one."""
    frame = np.array([[0, 0, 0], [-1.1, 0.5, 0], [1.1, 0.5, 0]])
    left, right, between = (
        placed(np.vstack([frame, hydrogen]), -10.0, "COOH")
        for hydrogen in ([-2, 0.1, 0], [2, 0.1, 0], [-0.9, 1.5, 0.4])
    )
    back = placed(between.positions[[0, 2, 1, 3]], -10.0, "COOH")
    kind, rmsd, _ = near([back], between, (left, right), connects=True)
    assert kind is Nearness.SAME
    assert rmsd == pytest.approx(0, abs=1e-6)
    left.positions[0] += 5  # now the two ends are different molecules
    assert near([back], between, (left, right), connects=True)[0] is Nearness.AS_HIGH


def test_more_labels_than_are_tried() -> None:
    """Isobutane, out of shape, and its mirror image with the last of all exchanges of labels."""
    atoms = molecule("isobutane")
    *_, last = labels = list(relabellings((atoms, atoms), LIMIT))
    assert len(labels) == 6 * 6**3 > MOST_LABELS
    bent = atoms.positions + np.random.default_rng(0).normal(0, 0.15, (len(atoms), 3))
    known, other = (
        placed(positions, -10.0, atoms.symbols)
        for positions in (bent, bent[list(last)] * [1, 1, -1])
    )
    kind, rmsd, _ = near([other], known, (atoms, atoms), connects=True)
    assert kind is Nearness.SAME
    assert rmsd == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("energy", "connects", "kind"),
    [
        (-10.2, True, Nearness.LOWER),
        (-9.8, True, Nearness.HIGHER),
        (-9.98, True, Nearness.AS_HIGH),
        (-10.2, False, Nearness.OTHER),
    ],
)
def test_another_saddle(energy: float, connects: bool, kind: Nearness) -> None:
    literature = placed(CHIRAL, -10.0)
    moved = CHIRAL.copy()
    moved[3] += [1.5, 0, 0]
    bent = placed(moved, energy)
    found = near([bent], literature, (literature, literature), connects=connects)
    assert found[0] is kind
    assert found[1] > 0.1
    assert found[2] == pytest.approx(energy + 10)


def test_a_saddle_as_near_but_not_as_high_is_another() -> None:
    literature = placed(CHIRAL, -10.0)
    found, *_ = near([placed(CHIRAL, -9.9)], literature, (literature, literature), connects=True)
    assert found is Nearness.HIGHER


def test_one_of_several_steps_is_the_same() -> None:
    literature = placed(CHIRAL, -10.0)
    moved = CHIRAL.copy()
    moved[3] += [1.5, 0, 0]
    steps = [placed(moved, -9.0), placed(CHIRAL, -10.0)]
    kind, _, above = near(steps, literature, (literature, literature), connects=True)
    assert (kind, above) == (Nearness.SAME, 0.0)


def test_what_a_guess_is_meant_for() -> None:
    """HCN and HNC in either direction; a molecule that turns by 20 or 180 degrees."""
    hcn = Atoms("CNH", [[0, 0, 0], [0, 0, 1.15], [0, 0, -1.07]])
    hnc = Atoms("CNH", [[0, 0, 0], [0, 0, 1.17], [0, 0, 2.17]])
    for ends in ((hcn, hnc), (hnc, hcn)):
        assert as_meant(ends, MEANT["01_hcn"], LIMIT).label is Label.INTENDED
    verdict = as_meant((hcn, hcn), MEANT["01_hcn"], LIMIT)
    assert (verdict.label, verdict.reason) == (
        Label.UNINTENDED,
        "between the ends of its IRC: no bonds change",
    )
    assert "C-H broken, H-N formed" in as_meant((hcn, hnc), MEANT["03_h2co"], LIMIT).reason
    [acrolein] = [one for one in read_set("baker_ts") if one.id == "21_acrolein_rot"]
    for angle, label in ((180, Label.INTENDED), (20, Label.UNINTENDED)):
        turned = acrolein.saddle.copy()
        turned.rotate_dihedral(0, 1, 2, 3, angle, indices=[3, 7])
        ends = (acrolein.saddle, turned)
        assert as_meant(ends, MEANT["21_acrolein_rot"], LIMIT).label is label


@pytest.mark.slow
def test_benchmark_of_a_reaction_and_a_guess(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """HCN of the literature is found again; a second run finds everything finished."""
    command = ["xtb_rx", "baker_ts", "--only", "02_hcn", "01_hcn", "--out", str(tmp_path)]
    for _ in range(2):
        reference_sets.main(command)
        printed = capsys.readouterr().out
        assert "| 02_hcn | CHN | intended | same | 0.00 | 0.0 | intended |" in printed
        assert "| 01_hcn | HCN → HNC | 0, 1 | intended |" in printed
        assert "| xtb_rx | 1 | 1, 100% | 90% | 0 | 0 | 1 | 0 | 0 | 1 | 1 | 1 |" in printed
    table = (tmp_path / "xtb_rx.csv").read_text("utf-8").splitlines()
    assert len(table) == 2
    assert table[0].startswith("reaction,formula,charge,verdict,saddle,")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("baker", "baker: the sets are xtb_rx, baker_ts"),
        ("baker_ts --only 00_nothing", "00_nothing: not in baker_ts"),
    ],
)
def test_what_is_not_there(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        reference_sets.main(command.split())
    assert message in capsys.readouterr().err
