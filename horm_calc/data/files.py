"""Opens files of labelled frames, whatever their format."""

from __future__ import annotations

from pathlib import Path

from horm_calc.data.frames import Chosen, DataError, Frames


def open_frames(*paths: Path | str, level_of_theory: str = "") -> Frames:
    """The frames of files and folders, told apart by their names' endings.

    `.h5`, `.hdf5`: this project's own format. `.lmdb`: HORM's. `.xyz`, `.extxyz`, `.traj`, `.db`:
    ASE's, with energies and forces. A folder means all such files in it.

    Parameters
    ----------
    *paths
        Files and folders, one at least.
    level_of_theory
        Of the files that do not say theirs.

    Returns
    -------
    Frames
        All of them, one after the other.

    Raises
    ------
    DataError
        For files that cannot be used, also where they say different levels of theory, or some one
        and others none.
    """
    if not paths:
        raise DataError("frames", "no file given")
    files = [file for path in paths for file in files_of(Path(path).expanduser())]
    sets = [_open(file, level_of_theory) for file in files]
    levels = {one.level_of_theory: file for file, one in zip(files, sets, strict=True)}
    known = sorted(levels.keys() - {""})
    if level_of_theory and (other := [one for one in known if one != level_of_theory]):
        raise DataError(levels[other[0]], f"labels of {other[0]}, not of {level_of_theory}")
    if len(known) > 1:
        remedy = "Energies of different methods do not compare: train on one of them."
        raise DataError(paths[0], f"labels of {' and '.join(known)} together", remedy)
    if "" in levels and known and not level_of_theory:
        problem = f"does not say how its labels were computed, others are of {known[0]}"
        remedy = "If it is the same, write it into the file: horm-data convert --level."
        raise DataError(levels[""], problem, remedy)
    return sets[0] if len(sets) == 1 else Chosen(sets)


_ENDINGS = (".h5", ".hdf5", ".lmdb", ".xyz", ".extxyz", ".traj", ".db")


def files_of(path: Path) -> list[Path]:
    """The files of frames that a path means: itself, or those of a folder. Raises `DataError`."""
    if not path.exists():
        raise DataError(path, "does not exist")
    if path.is_file() or path.suffix == ".lmdb":
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS)
    if not files:
        raise DataError(path, f"a folder without frames ({', '.join(_ENDINGS)})")
    return files


def _open(path: Path, level_of_theory: str) -> Frames:
    if path.suffix in (".h5", ".hdf5"):
        from horm_calc.data.formats.hdf5 import HDF5Frames  # each format needs its own library

        return HDF5Frames(path)
    if path.suffix == ".lmdb":
        from horm_calc.data.formats.lmdb import LMDBFrames

        return LMDBFrames(path)
    from horm_calc.data.formats.ase_files import read_ase

    return read_ase(path, level_of_theory)
