"""Vibrations as files, as other programs read them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from ase.units import Bohr

from reactbench_runner.storage.vibration_files import AMPLITUDE, IMAGES, write_vibrations
from tests.reactbench_runner.stored import searched


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vibrations(searched(), tmp_path)
    return tmp_path


def test_the_film_swings_about_the_saddle_along_the_mode(folder: Path) -> None:
    saddle = searched().saddle
    film = np.array([image.positions for image in read(folder / "mode.xyz", ":")])
    assert len(film) == IMAGES
    moved = film - saddle.atoms.positions
    assert np.abs(moved[0]).max() < 1e-7
    assert np.abs(film.mean(0) - saddle.atoms.positions).max() < 1e-7
    assert np.linalg.norm(moved, axis=2).max() == pytest.approx(AMPLITUDE, rel=1e-3)
    mode = saddle.modes.displacements[0]
    assert np.abs(np.einsum("kij,ij->k", moved, mode)).max() == pytest.approx(
        np.linalg.norm(moved, axis=(1, 2)).max(), rel=1e-6
    )


def test_molden_holds_the_modes(folder: Path) -> None:
    saddle = searched().saddle
    sections = re.split(r"^\[(.+)\]$", (folder / "ts.molden").read_text(), flags=re.MULTILINE)
    text = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert list(text) == ["Molden Format", "FREQ", "FR-COORD", "FR-NORM-COORD"]
    frequencies = np.array(text["FREQ"].split(), float)
    assert frequencies == pytest.approx(saddle.modes.frequencies, abs=1e-3)
    lines = [line.split() for line in text["FR-COORD"].strip().splitlines()]
    assert [line[0] for line in lines] == saddle.atoms.get_chemical_symbols()
    places = np.array([line[1:] for line in lines], float) * Bohr
    assert places == pytest.approx(saddle.atoms.positions, abs=1e-6)
    vibrations = re.split(r"vibration \d+", text["FR-NORM-COORD"])[1:]
    modes = np.array([vibration.split() for vibration in vibrations], float)
    expected = saddle.modes.displacements.reshape(len(modes), -1)
    assert modes == pytest.approx(expected, abs=1e-7)


def test_the_table_says_which_are_imaginary(folder: Path) -> None:
    lines = (folder / "frequencies.txt").read_text().splitlines()
    values = [float(line.split()[1]) for line in lines if re.match(r" *\d", line)]
    assert values == pytest.approx(searched().saddle.modes.frequencies, abs=0.01)
