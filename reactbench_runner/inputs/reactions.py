"""Read the reactions of a run: a CSV, a two-frame xyz file, or a folder of these.

What is wrong with the whole table stops the run before it begins. What is wrong with one
row costs that row only: it becomes an `Unreadable`, and a *failed* line of the results.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from ase.data import atomic_masses

from horm_calc.chemistry.embedding import SmilesError, embedded
from horm_calc.chemistry.solvents import solvent_name
from horm_calc.errors import HormError
from horm_calc.structure_files.electrons import (
    KEY,
    Electrons,
    UnclearElectrons,
    charge_of,
    multiplicity_of,
    settle,
)
from reactbench_runner.inputs.files import UnusableFile, read_frames, stamp_of
from reactbench_runner.inputs.tables import FILES, check_id, rows_of
from workflows.atom_order import remapped
from workflows.errors import InputError
from workflows.input_checks import check_structures
from workflows.records import Reaction
from workflows.settings import VerdictSettings

#: The id of a reaction that is given as a SMILES on the command line.
OF_SMILES = "reaction"

#: Ends of the names of files that are a reaction by themselves.
_OF_TWO = (".xyz", ".extxyz", ".sdf")


@dataclass(frozen=True)
class Unreadable:
    """A row from which no reaction could be made.

    Attributes
    ----------
    id
        As the table has it.
    reason
        File, line and remedy.
    """

    id: str
    reason: str


class _BadRow(HormError):
    """What is wrong with one row."""


def read_reactions(source: Path | str, *, solvent: str = "") -> list[Reaction | Unreadable]:
    """All reactions of a CSV, an xyz file or a folder, in order.

    Parameters
    ----------
    source
        A CSV with the columns `id` and either `reaction`, or `reactant` and `product`, or `smiles`,
        and perhaps `charge`, `multiplicity` and `solvent`; file names are relative to the CSV. Or
        an .xyz or .sdf file with two structures, which is a reaction, or a folder of such files; a
        neutral singlet, unless the file says otherwise. Or a reaction SMILES, as text.
    solvent
        Of the reactions for which the table names none; "" for the gas phase.

    Returns
    -------
    list
        An `Unreadable` in the place of a row from which no reaction can be made.

    Raises
    ------
    InputError
        For what makes the whole input unusable.
    """
    return [listed.read() for listed in list(listed_in(source, solvent=solvent))]


@dataclass(frozen=True)
class Listed:
    """A reaction whose structures have not been read.

    Attributes
    ----------
    id
        Its name.
    row
        What the table says of it, by column.
    folder
        That to which names of files are relative.
    where
        File and line, for messages.
    remap
        The bond factor by which the atoms are put into the order with the fewest changes of bonds;
        None to leave them as they are.
    default_solvent
        That of a row that names none; "" for the gas phase.
    """

    id: str
    row: dict[str, str]
    folder: Path
    where: str
    remap: float | None = None
    default_solvent: str = ""

    @property
    def solvent(self) -> str:
        """That of the row, or else the default; "" for the gas phase."""
        return solvent_name(self.row.get("solvent") or self.default_solvent)

    def read(self) -> Reaction | Unreadable:
        """The reaction, or why there is none."""
        found = _make(self.id, self.row, self.folder, self.where)
        if isinstance(found, Reaction):
            found = replace(found, solvent=self.solvent)
        if self.remap is None or isinstance(found, Unreadable):
            return found
        try:
            check_structures(found)
            return remapped(found, self.remap)
        except (InputError, ValueError):  # the search says what is wrong
            return found

    def stamp(self) -> str:
        """Changes whenever the reaction does; "" where a file is missing."""
        names = [self.row[column] for column in FILES if column in self.row]
        files = stamp_of(self.folder, names)
        row = {name: value for name, value in self.row.items() if name != "solvent"}
        if self.solvent:
            row["solvent"] = self.solvent
        cells = "\n".join(f"{name}={value}" for name, value in sorted(row.items()))
        if self.remap is not None:
            cells += f"\nremap={self.remap}"
        return hashlib.sha256(f"{cells}\n{files}".encode()).hexdigest()[:16] if files else ""


def listed_in(
    source: Path | str, remap: float | None = None, solvent: str = ""
) -> Iterator[Listed]:
    """As `read_reactions`, of structures that are read later. All is checked at the end."""
    more = remap, solvent
    if is_smiles(source):
        yield Listed(OF_SMILES, {"smiles": str(source)}, Path(), "the SMILES", *more)
        return
    source = Path(source)
    if source.is_dir():
        files = _files(source)
    elif source.suffix.lower() in _OF_TWO and source.is_file():
        files = [source]
    else:
        for line, row in rows_of(source):
            yield Listed(row["id"], row, source.parent, f"{source}, line {line}", *more)
        return
    for file in files:
        check_id(file.stem, str(file))
    for file in files:
        yield Listed(file.stem, {"reaction": file.name}, file.parent, str(file), *more)


def is_smiles(source: Path | str) -> bool:
    """Is it a reaction SMILES rather than the name of a file?"""
    return isinstance(source, str) and ">" in source and not Path(source).exists()


def _files(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in _OF_TWO]
    files = [file for file in found if not file.name.startswith(".")]  # as Macintoshes leave them
    if not files:
        raise InputError(
            f"{folder} holds no .xyz or .sdf file; each needs two structures, reactant and product"
        )
    stems = Counter(file.stem.lower() for file in files)
    if twice := [file.name for file in files if stems[file.stem.lower()] > 1]:
        raise InputError(f"{folder}: {' and '.join(sorted(twice))} would be one id; rename one")
    return sorted(files, key=lambda file: _natural(file.stem))


def _make(identifier: str, row: dict[str, str], folder: Path, where: str) -> Reaction | Unreadable:
    try:
        if "smiles" in row:
            return _of_smiles(identifier, row)
        if "reaction" in row:
            frames = read_frames(folder, row["reaction"], 2, "reactant and product")
        else:
            frames = [
                *read_frames(folder, row["reactant"], 1, "the reactant"),
                *read_frames(folder, row["product"], 1, "the product"),
            ]
        charge, multiplicity = _electrons(row, frames)
        _share_masses(*frames)
    except (_BadRow, UnusableFile, SmilesError) as error:
        text = str(error)  # of a file that is named by itself, it names the place already
        return Unreadable(identifier, text if text.startswith(where) else f"{where}: {text}")
    return Reaction(identifier, frames[0], frames[1], charge=charge, multiplicity=multiplicity)


def _of_smiles(identifier: str, row: dict[str, str]) -> Reaction:
    """A reaction whose structures are made. Raises `_BadRow`, `SmilesError`."""
    if not row["smiles"]:
        raise _BadRow("no SMILES")
    found = embedded(row["smiles"], VerdictSettings().bond_factor)
    charge = _whole_number(row, "charge")
    if charge is not None and charge != found.charge:
        raise _BadRow(f"'charge' is {charge}, and the SMILES has {found.charge:+d}")
    multiplicity = _whole_number(row, "multiplicity")
    if multiplicity is None and found.radicals > 1:
        raise _BadRow(
            f"the SMILES has {found.radicals} unpaired electrons; say in a column 'multiplicity' "
            "whether they pair (1 for a singlet)"
        )
    return Reaction(
        identifier,
        found.reactant,
        found.product,
        charge=found.charge,
        multiplicity=multiplicity or found.radicals + 1,
        remapped=f"atoms mapped as {found.mapping}",
    )


def _electrons(row: dict[str, str], frames: list[Atoms]) -> tuple[int, int]:
    """Charge and multiplicity, on which the table and its files must agree."""
    told = Electrons()
    if (charge := _whole_number(row, "charge")) is not None:
        told += charge_of(f"{charge} in the table", charge)
    if (multiplicity := _whole_number(row, "multiplicity")) is not None:
        if multiplicity < 1:
            raise _BadRow(f"'multiplicity' is {multiplicity}; it is 1 for a singlet")
        told += multiplicity_of(f"{multiplicity} in the table", multiplicity)
    for atoms in frames:
        told += atoms.info.pop(KEY)
    try:
        charge, multiplicity = settle(told, frames[0].numbers)
    except UnclearElectrons as error:
        raise _BadRow(
            f"{error}. State it in the columns 'charge' and 'multiplicity' of a CSV, "
            "or in the comment lines of an xyz file (charge=-1 multiplicity=2), once or each time "
            "the same"
        ) from None
    return charge or 0, multiplicity or 1


def _whole_number(row: dict[str, str], column: str) -> int | None:
    text = row.get(column, "")
    if text and not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise _BadRow(f"'{column}' is {text!r}; it must be a whole number")
    return int(text) if text else None


def _share_masses(reactant: Atoms, product: Atoms) -> None:
    """An end of whose masses its file says nothing has those of the other end."""
    if reactant.has("masses") != product.has("masses"):
        said, silent = (reactant, product) if reactant.has("masses") else (product, reactant)
        if (said.numbers.shape == silent.numbers.shape) and (said.numbers == silent.numbers).all():
            silent.set_masses(said.get_masses())
    for atoms in (reactant, product):
        if atoms.has("masses") and (atoms.get_masses() == atomic_masses[atoms.numbers]).all():
            atoms.set_array("masses", None)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which rxn9 stands before rxn10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
