"""What a person may want to look at: the structures of a search as xyz files.

Every comment says the level of theory, energy (eV), charge and multiplicity; those of a path along
the reaction coordinate say where they are on it too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.io.extxyz import key_val_dict_to_str, write_extxyz

from horm_calc.chemistry.masses import has_isotopes, with_positions
from horm_calc.chemistry.superposition import laid_upon
from reactbench_runner.storage.vibration_files import write_vibrations
from workflows.records import (
    IRC,
    Minimum,
    ReactionPath,
    Saddle,
    SearchResult,
    SeparatedMolecule,
    SeparatedMolecules,
    Start,
)

#: A structure and what its comment says: the energy (eV) and more.
Frame = tuple[Atoms, dict[str, Any]]


def write_search(result: SearchResult, folder: Path, level: str) -> None:
    """All of them, and the vibrations of the saddle and both endpoints."""
    files: dict[str, list[Frame]] = {}
    if result.path:
        files["path.xyz"] = _of_path(result.path)
    if result.saddle:
        files["ts.xyz"] = _of_point(result.saddle)
    if result.lower_path:
        files["lower_path.xyz"] = _of_path(result.lower_path)
    if result.irc:
        files["irc.xyz"] = _of_irc(result.irc, result.irc_ends)
    for name, minimum in (("reactant", result.reactant), ("product", result.product)):
        if minimum:
            smiles = {"smiles": result.smiles[name]} if name in result.smiles else {}
            files[f"{name}.xyz"] = [(minimum.atoms, {"energy": minimum.energy} | smiles)]
        if molecules := result.separated.get(name):
            files[f"{name}_molecules.xyz"] = _of_molecules(molecules)
    for number, step in enumerate(result.steps, 1):
        files[f"step{number}_ts.xyz"] = _of_point(step.saddle)
        files[f"step{number}_irc.xyz"] = _of_irc(step.irc, (step.first, step.last))
    for name, frames in files.items():
        _write_frames(folder / name, frames, level, result.reaction)
    write_vibrations(result, folder)


def write_verification(result: SearchResult, folder: Path, level: str) -> None:
    """The transition state at the other level, where that has it."""
    verified = result.verification
    if verified and verified.saddle and verified.converged:
        _write_frames(
            folder / "ts_verified.xyz", _of_point(verified.saddle), level, result.reaction
        )


def _of_point(point: Minimum | Saddle) -> list[Frame]:
    return [(point.atoms, {"energy": point.energy})]


def _of_path(path: ReactionPath) -> list[Frame]:
    return [
        (image, {"energy": energy})
        for image, energy in zip(path.images, path.energies.tolist(), strict=True)
    ]


def _of_irc(irc: IRC, ends: tuple[Minimum, Minimum] | None) -> list[Frame]:
    """From one relaxed end to the other, with the coordinate: 0 at the saddle, amu½ Å."""
    images, energies = list(irc.images), irc.energies.tolist()
    saddle = irc.saddle_index
    if ends:
        first, last = (end.atoms for end in ends)
        images = [laid_upon(images[0], first), *images, laid_upon(images[-1], last)]
        energies = [ends[0].energy, *energies, ends[1].energy]
        saddle += 1
    weights = np.sqrt(images[0].get_masses())[:, None]
    steps = [
        float(np.linalg.norm(weights * (after.positions - before.positions)))
        for before, after in itertools.pairwise(images)
    ]
    along = np.concatenate([[0.0], np.cumsum(steps)])
    along -= along[saddle]
    return [
        (image, {"energy": energy, "irc_coordinate": round(place, 5)})
        for image, energy, place in zip(images, energies, along.tolist(), strict=True)
    ]


def _of_molecules(separated: SeparatedMolecules) -> list[Frame]:
    return [(one.minimum.atoms, _alone(one)) for one in separated.molecules]


def _alone(one: SeparatedMolecule) -> dict[str, Any]:
    return {
        "energy": one.minimum.energy,
        "charge": one.charge,
        "multiplicity": one.multiplicity,
        "count": one.count,
    }


def _write_frames(path: Path, frames: Sequence[Frame], level: str, of: Start) -> None:
    """As xyz. ASE reads what the comments say with the structures."""
    electrons = {"charge": of.charge, "multiplicity": of.multiplicity}
    with path.open("w", encoding="utf-8") as file:
        for atoms, values in frames:
            told = {"level_of_theory": level, **electrons, **values}
            if has_isotopes(atoms):  # with a column for them
                frame = with_positions(atoms, atoms.positions)
                frame.info = told
                columns = ["symbols", "positions", "masses"]
                write_extxyz(file, frame, columns=columns, write_results=False)
            else:
                comment = key_val_dict_to_str(told)
                write(file, atoms, format="xyz", fmt="%15.8f", comment=comment)
