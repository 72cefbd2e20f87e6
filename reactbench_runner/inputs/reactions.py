"""Read the reactions of a run: a CSV, a two-frame xyz file, or a folder of these.

What is wrong with the whole table stops the run before it begins. What is wrong with one
row costs that row only: it becomes an `Unreadable`, and a *failed* line of the results.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from reactbench_runner.inputs.files import UnusableFile, read_all_frames, read_frames, stamp_of
from reactbench_runner.inputs.tables import FILES, check_id, rows_of
from workflows.atom_order import remapped
from workflows.errors import InputError
from workflows.input_checks import check_structures
from workflows.records import Reaction, Start
from workflows.settings import VerdictSettings
from workflows.starts import BondChanges, SaddleGuess, check_changes

#: The id of a reaction that is given as a SMILES on the command line.
OF_SMILES = "reaction"

#: Ends of the names of files that are a reaction by themselves.
_OF_TWO = (".xyz", ".extxyz", ".sdf")

#: Ends of the names of tables, and of what people take for one.
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")


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


def read_reactions(
    source: Path | str, *, solvent: str = "", verdict: VerdictSettings | None = None
) -> list[Start | Unreadable]:
    """All reactions of a CSV, an xyz file or a folder, in order.

    Parameters
    ----------
    source
        A CSV with the columns `id` and either `reaction`, or `reactant` and `product`, or `smiles`,
        and perhaps a `guess`, or a `guess` alone, or `reactant` and `react`; and perhaps `charge`,
        `multiplicity` and `solvent`. File names are relative to the CSV. Or an .xyz or
        .sdf file with two structures, which is a reaction, or a folder of such files; a neutral
        singlet, unless the file says otherwise. Or a reaction SMILES, as text.
    solvent
        Of the reactions for which the table names none; "" for the gas phase.
    verdict
        Which atoms are bonded, for bonds that should break or form; by default as in a search.

    Returns
    -------
    list
        An `Unreadable` in the place of a row from which no reaction can be made.

    Raises
    ------
    InputError
        For what makes the whole input unusable.
    """
    return [listed.read() for listed in list(listed_in(source, solvent=solvent, verdict=verdict))]


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
    verdict
        Which atoms are bonded, for bonds that should break or form.
    """

    id: str
    row: dict[str, str]
    folder: Path
    where: str
    remap: float | None = None
    default_solvent: str = ""
    verdict: VerdictSettings = field(default_factory=VerdictSettings)

    @property
    def solvent(self) -> str:
        """That of the row, or else the default; "" for the gas phase."""
        return solvent_name(self.row.get("solvent") or self.default_solvent)

    def read(self) -> Start | Unreadable:
        """The reaction, or why there is none."""
        found = _make(self.id, self.row, self.folder, self.where, self.verdict)
        if isinstance(found, Start):
            found = replace(found, solvent=self.solvent)
        if self.remap is None or not isinstance(found, Reaction):
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
    source: Path | str,
    remap: float | None = None,
    solvent: str = "",
    *,
    verdict: VerdictSettings | None = None,
) -> Iterator[Listed]:
    """As `read_reactions`, of structures that are read later. All is checked at the end."""
    more = remap, solvent, verdict or VerdictSettings()
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


def of_smiles(item: Start | Unreadable | Listed) -> bool:
    """Has it conformers to choose from?"""
    if isinstance(item, Listed):
        return "smiles" in item.row
    return isinstance(item, Reaction) and any(item.conformers)


def guesses_in(file: Path, solvent: str = "") -> list[Start | Unreadable]:
    """Every structure of a file as a guess of a transition state of its own.

    Of several, the number is a part of the id: guess-1, guess-2. Raises `InputError` where the file
    cannot be used at all.
    """
    if file.suffix.lower() in _TABLES and file.is_file():
        raise InputError(
            f"{file} is a table, not a file of structures; it goes in the place of REACTIONS, "
            "without --from, and its column 'guess' names the guesses"
        )
    try:
        frames = read_all_frames(str(file), "a guess of a transition state")
    except UnusableFile as error:
        raise InputError(str(error)) from None
    name = file.name.partition("@")[0].rpartition(".")[0] or file.name
    found: list[Start | Unreadable] = []
    for number, frame in enumerate(frames, 1):
        identifier = name if len(frames) == 1 else f"{name}-{number}"
        check_id(identifier, str(file))
        try:
            charge, multiplicity = _electrons({}, [frame])
        except _BadRow as error:
            found.append(Unreadable(identifier, f"{file}, structure {number}: {error}"))
            continue
        _share_masses(frame)
        given: dict[str, Any] = {"charge": charge, "multiplicity": multiplicity, "solvent": solvent}
        found.append(SaddleGuess(identifier, frame, **given))
    return found


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


def _make(
    identifier: str, row: dict[str, str], folder: Path, where: str, verdict: VerdictSettings
) -> Start | Unreadable:
    try:
        guesses: list[Atoms] = []
        alone = not {"reaction", "reactant", "smiles"} & row.keys()
        if alone or row.get("guess"):
            guesses = read_frames(folder, row["guess"], 1, "the guess")
        if "smiles" in row:
            return _of_smiles(identifier, row, guesses)
        ends = []
        if "reaction" in row:
            ends = read_frames(folder, row["reaction"], 2, "reactant and product")
        elif "reactant" in row:
            ends = read_frames(folder, row["reactant"], 1, "the reactant")
        if "product" in row:
            ends += read_frames(folder, row["product"], 1, "the product")
        charge, multiplicity = _electrons(row, [*ends, *guesses])
        _share_masses(*ends, *guesses)
        electrons: Any = {"charge": charge, "multiplicity": multiplicity}
        if "react" in row:
            return _of_changes(identifier, ends[0], row["react"], electrons, verdict)
    except (_BadRow, UnusableFile, SmilesError, InputError) as error:
        text = str(error)  # of a file that is named by itself, it names the place already
        return Unreadable(identifier, text if text.startswith(where) else f"{where}: {text}")
    if not ends:
        return SaddleGuess(identifier, *guesses, **electrons)
    return Reaction(identifier, *ends, guess=guesses[0] if guesses else None, **electrons)


def _of_changes(
    identifier: str,
    reactant: Atoms,
    react: str,
    electrons: dict[str, Any],
    verdict: VerdictSettings,
) -> BondChanges:
    """A reactant with bonds that can change. Raises `_BadRow`, `InputError`."""
    if not react:
        raise _BadRow("the cell 'react' is empty; write what happens, as in 'break 3-7, form 3-9'")
    found = BondChanges.parsed(identifier, reactant, react, **electrons)
    check_structures(found)
    check_changes(found, verdict)
    return found


def _of_smiles(identifier: str, row: dict[str, str], guesses: list[Atoms]) -> Reaction:
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
    multiplicity = multiplicity or found.radicals + 1
    if guesses:
        electrons = {"charge": str(found.charge), "multiplicity": str(multiplicity)}
        _electrons(electrons, guesses, "of the SMILES")
        _share_masses(found.reactant, *guesses)
    return Reaction(
        identifier,
        found.reactant,
        found.product,
        charge=found.charge,
        multiplicity=multiplicity,
        remapped=f"atoms mapped as {found.mapping}",
        guess=guesses[0] if guesses else None,
        conformers=found.others,
        smiles=row["smiles"],
    )


def _electrons(
    row: dict[str, str], frames: list[Atoms], where: str = "in the table"
) -> tuple[int, int]:
    """Charge and multiplicity, on which the table and its files must agree."""
    told = Electrons()
    if (charge := _whole_number(row, "charge")) is not None:
        told += charge_of(f"{charge} {where}", charge)
    if (multiplicity := _whole_number(row, "multiplicity")) is not None:
        if multiplicity < 1:
            raise _BadRow(f"'multiplicity' is {multiplicity}; it is 1 for a singlet")
        told += multiplicity_of(f"{multiplicity} {where}", multiplicity)
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


def _share_masses(*structures: Atoms) -> None:
    """A structure of whose masses its file says nothing has those of one that says something."""
    for saying in [atoms for atoms in structures if atoms.has("masses")][:1]:
        for atoms in structures:
            if not atoms.has("masses") and atoms.numbers.tolist() == saying.numbers.tolist():
                atoms.set_masses(saying.get_masses())
    for atoms in structures:
        if atoms.has("masses") and (atoms.get_masses() == atomic_masses[atoms.numbers]).all():
            atoms.set_array("masses", None)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which rxn9 stands before rxn10."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
