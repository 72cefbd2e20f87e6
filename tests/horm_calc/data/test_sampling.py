"""Choices of frames, on sets small enough to know the answer and on real labels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import Frame, Frames, chosen, iterate
from horm_calc.data.sampling import (
    density_weighted,
    descriptors,
    energy_based,
    random_choice,
    sparseness,
)
from tests.places import SHARED

XTB = SHARED / "data" / "xtb_dev.h5"


def frame(atoms: Atoms, energy: float = 0.0, reaction: str = "r") -> Frame:
    forces = np.zeros((len(atoms), 3))
    return Frame(atoms.numbers, atoms.positions, energy, forces, reaction=reaction)


def stored(folder: Path, frames: list[Frame]) -> Frames:
    """As they are read again, in this order if the reactions' names are sorted."""
    write_hdf5(folder / "frames.h5", frames, "none")
    return open_frames(folder / "frames.h5")


def hydrogen(*lengths: float) -> list[Frame]:
    return [frame(Atoms("H2", [[0, 0, 0], [length, 0, 0]])) for length in lengths]


@pytest.fixture
def isomers(tmp_path: Path) -> Frames:
    """Four waters, two of them with the oxygen last, and three formaldehydes, in two reactions.

    0 to 3: water, 4 to 6: formaldehyde.
    """
    water, turned = molecule("H2O"), molecule("H2O")[[1, 2, 0]]
    formaldehyde = molecule("H2CO")
    return stored(
        tmp_path,
        [
            frame(water, -3.0, "a"),
            frame(water, -1.0, "a"),
            frame(turned, -3.0, "b"),
            frame(turned, -5.0, "b"),
            frame(formaldehyde, -70.0, "c"),
            frame(formaldehyde, -80.0, "c"),
            frame(formaldehyde, -75.0, "c"),
        ],
    )


@pytest.mark.parametrize(
    ("fraction", "end", "answer"),
    [
        (0.01, "bottom", [3, 5]),
        (0.01, "top", [1, 4]),
        (0.5, "bottom", [0, 3, 5, 6]),  # of the two waters at -3 eV the first
        (0.75, "top", [0, 1, 2, 4, 6]),
        (1.0, "bottom", [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_energies_compare_among_isomers_only(
    isomers: Frames, fraction: float, end: str, answer: list[int]
) -> None:
    taken = energy_based(isomers, fraction, end)  # type: ignore[arg-type]
    assert taken.tolist() == answer
    assert [one.energy for one in iterate(chosen(isomers, taken))] == [
        isomers[i].energy for i in answer
    ]


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, np.nan])
def test_fractions_without_meaning(isomers: Frames, fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction"):
        energy_based(isomers, fraction)


def test_an_end_without_meaning(isomers: Frames) -> None:
    with pytest.raises(ValueError, match="'middle'"):
        energy_based(isomers, 0.5, "middle")  # type: ignore[arg-type]


def test_no_frames(isomers: Frames) -> None:
    none = chosen(isomers, [])
    for choice in (
        lambda: energy_based(none, 0.5),
        lambda: density_weighted(none, 1, 0),
        lambda: random_choice(none, 1, 0),
        lambda: descriptors(none),
    ):
        with pytest.raises(ValueError, match="frames"):
            choice()


def test_uniform_choice_is_uniform(isomers: Frames) -> None:
    counts = Counter(i for seed in range(2000) for i in random_choice(isomers, 2, seed).tolist())
    chance = 2 / 7
    error = np.sqrt(2000 * chance * (1 - chance))
    assert all(abs(counts[i] - 2000 * chance) < 4 * error for i in range(7))


def test_choice_is_sorted_unique_and_reproducible(isomers: Frames) -> None:
    for draw in (
        lambda seed: random_choice(isomers, 4, seed),
        lambda seed: density_weighted(isomers, 4, seed, neighbours=2),
    ):
        for seed in range(5):
            taken = draw(seed).tolist()
            assert taken == sorted(set(taken)) == draw(seed).tolist()
            assert len(taken) == 4
        assert len({tuple(draw(seed)) for seed in range(20)}) > 1


def test_reactions_have_equal_weight(isomers: Frames) -> None:
    """Two, two and three frames: at one of each, all reactions are there, whatever their size."""
    for seed in range(20):
        taken = random_choice(isomers, None, seed, per_reaction=1)
        assert sorted(isomers.reactions[i] for i in taken) == ["a", "b", "c"]
    assert random_choice(isomers, None, 0, per_reaction=9).tolist() == list(range(7))
    # One frame of the pool of three: each reaction a third, each frame of "c" a ninth.
    counts = Counter(
        i for seed in range(3000) for i in random_choice(isomers, 1, seed, per_reaction=1).tolist()
    )
    for index, chance in enumerate([1 / 6] * 4 + [1 / 9] * 3):
        assert abs(counts[index] - 3000 * chance) < 4 * np.sqrt(3000 * chance * (1 - chance))


@pytest.mark.parametrize(
    ("count", "per_reaction", "message"),
    [
        (0, None, "at least one"),
        (8, None, "8 of 7 frames"),
        (4, 1, "4 of 3 frames at 1 per reaction"),
        (1, 0, "at least one"),
    ],
)
def test_counts_that_cannot_be(
    isomers: Frames, count: int, per_reaction: int | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        random_choice(isomers, count, 0, per_reaction)


@pytest.mark.parametrize(
    ("count", "neighbours", "message"),
    [(8, 2, "8 of 7"), (0, 2, "at least one"), (2, 7, "7 nearest"), (2, 0, "0 nearest")],
)
def test_densities_that_cannot_be(
    isomers: Frames, count: int, neighbours: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        density_weighted(isomers, count, 0, neighbours)


def test_outlier_is_drawn_by_its_weight(tmp_path: Path) -> None:
    """Four copies and an outlier at distance D from each, of four neighbours.

    A copy has w = (0 + 0 + 0 + D) / 4, the outlier D: whatever D is, the outlier is the first
    drawn with chance 1/2 and each copy with 1/8. Among two drawn it is with chance
    1/2 + 4 · 1/8 · 4/7, as 7/8 of the weights are left after a copy.
    """
    frames = stored(tmp_path, hydrogen(0.74, 0.74, 1.5, 0.74, 0.74))
    draws = 400
    first = [int(density_weighted(frames, 1, seed, 4)[0]) for seed in range(draws)]
    for index, chance in enumerate([1 / 8, 1 / 8, 1 / 2, 1 / 8, 1 / 8]):
        error = np.sqrt(draws * chance * (1 - chance))
        assert abs(first.count(index) - draws * chance) < 4 * error
    chance = 1 / 2 + 2 / 7
    found = sum(2 in density_weighted(frames, 2, seed, 4) for seed in range(draws))
    assert abs(found - draws * chance) < 4 * np.sqrt(draws * chance * (1 - chance))


def test_copies_come_last(tmp_path: Path) -> None:
    frames = stored(tmp_path, hydrogen(0.74, 0.74, 0.74, 1.1, 1.5))
    for seed in range(20):
        assert {3, 4} <= set(density_weighted(frames, 3, seed, neighbours=2).tolist())
    assert density_weighted(frames, 5, 0, neighbours=2).tolist() == list(range(5))


def test_among_copies_chances_are_equal(isomers: Frames) -> None:
    """Each frame of the waters and formaldehydes has two copies, turned or not: no weight."""
    draws = 400
    counts = Counter(int(density_weighted(isomers, 1, seed, 2)[0]) for seed in range(draws))
    error = np.sqrt(draws * 1 / 7 * 6 / 7)
    assert all(abs(counts[i] - draws / 7) < 4 * error for i in range(7))


def test_sparseness_is_the_mean_distance(tmp_path: Path) -> None:
    frames = stored(tmp_path, hydrogen(0.6, 0.7, 0.74, 0.9, 1.3, 2.0))
    points = descriptors(frames).astype(float)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    expected = np.sort(distances, axis=1)[:, 1:4].mean(axis=1)
    # 1e-6 is what a squared norm rounded at 1e-16 of about 100 leaves of a distance of 1.
    np.testing.assert_allclose(sparseness(frames, 3), expected, atol=1e-5)
    assert sparseness(frames, 3).argmax() == 5


def test_sparseness_beyond_one_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = stored(tmp_path, hydrogen(0.6, 0.7, 0.74, 0.9, 1.3, 2.0, 2.2))
    whole = sparseness(frames, 3)
    monkeypatch.setattr("horm_calc.data.sampling._CHUNK", 3)
    np.testing.assert_allclose(sparseness(frames, 3), whole, rtol=1e-6)
    assert capsys.readouterr() == ("", "")  # no bar where there is no terminal


def test_only_the_shape_counts(tmp_path: Path) -> None:
    """Rotation, reflection, translation and the order of the atoms leave the weights alone."""
    rng = np.random.default_rng(3)
    originals, others = [], []
    for number in range(8):
        atoms = molecule("CH3CONH2")
        atoms.positions += rng.normal(scale=0.1 * number, size=atoms.positions.shape)
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        order = rng.permutation(len(atoms))
        other = atoms[order]
        other.positions = other.positions @ turn.T + rng.normal(size=3)
        originals.append(frame(atoms, reaction=f"{number}"))
        others.append(frame(other, reaction=f"{number}"))
    (tmp_path / "others").mkdir()
    before, after = stored(tmp_path, originals), stored(tmp_path / "others", others)
    # Descriptors are kept in float32, of which 1e-6 is a few roundings.
    scale = np.abs(descriptors(before)).max()
    np.testing.assert_allclose(descriptors(before), descriptors(after), atol=3e-6 * scale)
    np.testing.assert_allclose(sparseness(before, 3), sparseness(after, 3), rtol=1e-4)


def test_elements_are_told_apart(tmp_path: Path) -> None:
    """The same places with other elements, and the same elements in exchanged places."""
    places = molecule("HCN")[[2, 0, 1]].positions
    frames = [frame(Atoms(names, places), reaction=names) for names in ("HCN", "NCH", "OCH", "HNC")]
    points = descriptors(stored(tmp_path, frames))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    assert distances[~np.eye(4, dtype=bool)].min() > 0.05 * np.linalg.norm(points[0])


@pytest.fixture(scope="module")
def real() -> Frames:
    if not XTB.exists():
        pytest.skip(f"{XTB.name} is not here")
    return open_frames(XTB)


def test_real_frames_by_energy(real: Frames) -> None:
    taken = energy_based(real, 0.02, "top")
    energies: dict[str, dict[int, float]] = {}
    for index, one in enumerate(iterate(real)):
        formula = Atoms(one.numbers).get_chemical_formula("hill")
        energies.setdefault(formula, {})[index] = one.energy
    assert 0.015 < len(taken) / len(real) < 0.025
    for members in energies.values():
        here = [i for i in taken if i in members]
        assert here
        assert min(members[i] for i in here) >= max(
            energy for i, energy in members.items() if i not in here
        )


def test_real_frames_by_density(real: Frames) -> None:
    """Drawn frames are sparser by <w²>/<w>², as is expected of chances proportional to w."""
    some = chosen(real, random_choice(real, 600, seed=1))
    weights = sparseness(some)
    means = [weights[density_weighted(some, 30, seed)].mean() for seed in range(4)]
    expected = (weights**2).mean() / weights.mean()
    error = weights.std() / np.sqrt(120)
    assert expected > weights.mean() + 0.05 * weights.mean()
    assert abs(np.mean(means) - expected) < 4 * error


def test_real_frames_by_reaction(real: Frames) -> None:
    taken = random_choice(real, None, seed=0, per_reaction=2)
    assert set(Counter(real.reactions[i] for i in taken).values()) == {2}
    assert len(taken) == 2 * len(set(real.reactions))
