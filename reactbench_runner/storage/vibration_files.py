"""Vibrations as files: a table of frequencies, the imaginary mode as a film, and Molden files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import write
from ase.units import Bohr

from horm_calc.chemistry.masses import with_positions
from workflows.records import Minimum, Saddle, SearchResult

#: Of the film: images of one vibration, and how far the atom that moves most goes, Å.
IMAGES, AMPLITUDE = 20, 0.3


def write_vibrations(result: SearchResult, folder: Path) -> None:
    """`frequencies.txt`, and of each stationary point `<name>.molden`; of the saddle `mode.xyz`."""
    points: dict[str, Minimum | Saddle | None] = {
        "reactant": result.reactant,
        "ts": result.saddle,
        "product": result.product,
    }
    if result.irc_ends:
        points["irc_first"], points["irc_last"] = result.irc_ends
    known = {name: point for name, point in points.items() if point and point.modes}
    if known:
        (folder / "frequencies.txt").write_text(_table(known), encoding="utf-8")
    for name, point in known.items():
        (folder / f"{name}.molden").write_text(_molden(point), encoding="utf-8")
    saddle = result.saddle
    if saddle and len(saddle.modes.frequencies):
        film = vibration(saddle.atoms, saddle.modes.displacements[0])
        comment = f"{saddle.modes.frequencies[0]:.1f} cm-1 (negative: imaginary)"
        write(folder / "mode.xyz", film, format="xyz", fmt="%15.8f", comment=comment)


def vibration(atoms: Atoms, mode: np.ndarray) -> list[Atoms]:
    """One period of the motion along `mode`, (n, 3), as images."""
    farthest = np.linalg.norm(mode, axis=1).max()
    phases = np.sin(np.linspace(0, 2 * np.pi, IMAGES, endpoint=False))
    return [
        with_positions(atoms, atoms.positions + AMPLITUDE * phase / farthest * mode)
        for phase in phases
    ]


def _table(points: dict[str, Minimum | Saddle]) -> str:
    """Frequencies and reduced masses, lowest first."""
    lines = ["# harmonic frequencies in cm-1 (negative: imaginary), reduced masses in amu"]
    for name, point in points.items():
        assert point.modes
        lines += ["", f"# {name}", "# mode   frequency   reduced mass"]
        pairs = zip(point.modes.frequencies, point.modes.reduced_masses, strict=True)
        lines += [
            f"{i:6d}  {value:10.2f}  {mass:13.4f}" for i, (value, mass) in enumerate(pairs, 1)
        ]
    return "\n".join(lines) + "\n"


def _molden(point: Minimum | Saddle) -> str:
    """The normal modes as Molden and its relatives read them; coordinates in bohr."""
    assert point.modes
    atoms, modes = point.atoms, point.modes
    lines = ["[Molden Format]", "[FREQ]", *(f"{value:.4f}" for value in modes.frequencies)]
    lines.append("[FR-COORD]")
    for symbol, place in zip(atoms.get_chemical_symbols(), atoms.positions / Bohr, strict=True):
        lines.append(f"{symbol:2s} " + " ".join(f"{x:14.8f}" for x in place))
    lines.append("[FR-NORM-COORD]")
    for number, mode in enumerate(modes.displacements, 1):
        lines.append(f"vibration {number}")
        lines += [" ".join(f"{x:12.8f}" for x in arrow) for arrow in mode]
    return "\n".join(lines) + "\n"
