"""What a person may want to look at: the structures of a search as xyz files.

Every comment says the level of theory, energy (eV), charge, multiplicity and, if there is one, the
solvent; those of a path along the reaction coordinate say where they are on it too, and what has
not converged says so and why.
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
from workflows.errors import StageError
from workflows.input_checks import SOLVENT
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
from workflows.stages.product import DrivenProduct

#: The file of the last structures that a failed stage asked the calculator for.
LAST = "last_structures.xyz"

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
            files[f"{name}.xyz"] = [(atoms, told | smiles) for atoms, told in _of_point(minimum)]
        if molecules := result.separated.get(name):
            files[f"{name}_molecules.xyz"] = _of_molecules(molecules)
    for number, step in enumerate(result.steps, 1):
        files[f"step{number}_ts.xyz"] = _of_point(step.saddle)
        files[f"step{number}_irc.xyz"] = _of_irc(step.irc, (step.first, step.last))
    if result.last_structures:
        files[LAST] = _of_last(result.last_structures)
    for name, frames in files.items():
        _write_frames(folder / name, frames, level, result.reaction)
    write_vibrations(result, folder)


def write_record(path: Path, record: object, level: str, reaction: Start) -> None:
    """What a stage has found, or the last structures of one that failed; no file without any."""
    frames: list[Frame] = []
    if isinstance(record, Minimum | Saddle):
        frames = _of_point(record)
    elif isinstance(record, ReactionPath):
        frames = _of_path(record)
    elif isinstance(record, DrivenProduct):
        frames = [(atoms, {}) for atoms in record.images]
    elif isinstance(record, IRC):
        frames = _of_irc(record, None)
    elif isinstance(record, SeparatedMolecules):
        frames = _of_molecules(record)
    elif isinstance(record, StageError):
        frames = _of_last(record.last)
    if frames:
        _write_frames(path, frames, level, reaction)


def write_verification(result: SearchResult, folder: Path, level: str) -> None:
    """The transition state at the other level, where that has it."""
    verified = result.verification
    if verified and verified.saddle and verified.converged:
        _write_frames(
            folder / "ts_verified.xyz", _of_point(verified.saddle), level, result.reaction
        )


def _of_point(point: Minimum | Saddle) -> list[Frame]:
    told: dict[str, Any] = {"energy": point.energy, **_failing(point)}
    if isinstance(point, Minimum) and point.changed:
        told["relaxation_changed"] = point.changed
    return [(point.atoms, told)]


def _failing(record: Minimum | Saddle | ReactionPath | IRC) -> dict[str, Any]:
    """That it has not converged, and why; nothing where it has."""
    return {} if record.converged else {"converged": False, "reason": record.reason}


def _of_path(path: ReactionPath) -> list[Frame]:
    frames: list[Frame] = [
        (image, {"energy": energy})
        for image, energy in zip(path.images, path.energies.tolist(), strict=True)
    ]
    frames[0][1].update(_failing(path))
    return frames


def _of_last(structures: Sequence[tuple[Atoms, float | None]]) -> list[Frame]:
    """The last ones of a stage that failed; without an energy where the calculator gave none."""
    return [(atoms, {} if energy is None else {"energy": energy}) for atoms, energy in structures]


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
    frames: list[Frame] = [
        (image, {"energy": energy, "irc_coordinate": round(place, 5)})
        for image, energy, place in zip(images, energies, along.tolist(), strict=True)
    ]
    if ends:
        for place, end in ((0, ends[0]), (-1, ends[1])):
            frames[place][1].update(_failing(end))
    else:
        frames[0][1].update(_failing(irc))
    return frames


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
    given: dict[str, Any] = {"charge": of.charge, "multiplicity": of.multiplicity}
    given |= {SOLVENT: of.solvent} if of.solvent else {}
    with path.open("w", encoding="utf-8") as file:
        for atoms, values in frames:
            told = {"level_of_theory": level, **given, **values}
            if has_isotopes(atoms):  # with a column for them
                frame = with_positions(atoms, atoms.positions)
                frame.info = told
                columns = ["symbols", "positions", "masses"]
                write_extxyz(file, frame, columns=columns, write_results=False)
            else:
                comment = key_val_dict_to_str(told)
                write(file, atoms, format="xyz", fmt="%15.8f", comment=comment)
