"""What files of programs say of electrons and isotopes, and ASE's readers pass over."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.gaussian import read_gaussian_in
from scipy.spatial.distance import pdist

from horm_calc.structure_files import isotopes
from horm_calc.structure_files.electrons import KEY, Electrons, charge_of, multiplicity_of
from horm_calc.structure_files.words import said_in

#: Charge and multiplicity in outputs, by ASE's names of their kinds.
_PRINTED = {
    "gamess-us-out": (
        r"CHARGE OF MOLECULE\s*=\s*([+-]?\d+)",
        r"(?:STATE|SPIN) MULTIPLICITY\s*=\s*(\d+)",
    ),
    "gaussian-out": (
        r"Charge\s*=\s*([+-]?\d+)\s+Multiplicity\s*=\s*\d+(?!\d|\s+in fragment)",
        r"Charge\s*=\s*[+-]?\d+\s+Multiplicity\s*=\s*(\d+)(?!\d|\s+in fragment)",
    ),
    "nwchem-out": (r"^\s*Charge\s*:\s*([+-]?\d+)\s*$", r"^\s*Spin multiplicity\s*:\s*(\d+)"),
    "orca-output": (
        r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)",
        r"Multiplicity\s+Mult\s+\.+\s+(\d+)",
    ),
}
#: Inputs that say it in words, as in `charge -1`.
_INPUTS = ("cjson", "dftb", "gamess-us-in", "nwchem-in", "turbomole")

_MENTION = re.compile(r"charg|chrg|mult|spin|unpaired|uhf|nopen|magmom", re.IGNORECASE)

#: Positions in inputs that ASE does not know to be in other units than usual.
_OTHER_UNITS = {
    "gaussian-in": r"(?i)\b(units?[ =(]++[^)\s]{0,40}\b(?:au|bohr|rad\w*))\b",
    "nwchem-in": r"(?mi)^[ \t]*geometry\b.*\b(units?[ \t]+(?!an)\w+)",
    "turbomole": r"(?mi)^[ \t]*(\$coord[ \t]+(?:ang|frac)\w*)",
}

#: Charge and multiplicity in the input of Gaussian; of fragments too.
_GAUSSIAN_PAIR = re.compile(r"(?m)^[ \t]*([+-]?\d+)[ \t]*[, \t][ \t]*(\d+)(?=[ \t]*$)")


def add_what_is_printed(atoms: Atoms, kind: str, text: str) -> None:
    """Sets masses and `info[KEY]` of a structure from the text of the file that it is from."""
    atoms.info[KEY] = _electrons(kind, text)
    if kind == "gaussian-out":
        masses = _gaussian_masses(text)[-len(atoms) :]
        asked = [
            None if round(mass) == isotopes.main_isotope(number) else mass
            for number, mass in zip(atoms.numbers, masses, strict=False)
        ]
        isotopes.label(atoms, asked)
    if kind == "orca-output" and len(masses := _orca_masses(text)) >= len(atoms):
        atoms.set_array("masses", np.array(masses[-len(atoms) :]))
        isotopes.take_columns(atoms)


def _electrons(kind: str, text: str) -> Electrons:
    if kind in _PRINTED:
        charge, multiplicity = (
            {(found[0].strip(), int(found[1])): None for found in re.finditer(pattern, text, re.M)}
            for pattern in _PRINTED[kind]
        )
        told = Electrons()
        for words, value in charge:
            told += charge_of(words, value)
        for words, value in multiplicity:
            told += multiplicity_of(words, value)
        return told
    told = Electrons()
    for line in dict.fromkeys(text.splitlines()):
        if _MENTION.search(line):
            told += said_in(line)
    return told if kind in _INPUTS else _not_understood(told)


def _not_understood(told: Electrons) -> Electrons:
    """Of files that nobody here knows, numbers may mean anything."""
    return Electrons(
        tuple(replace(one, values=frozenset()) for one in told.charge),
        tuple(replace(one, values=frozenset()) for one in told.multiplicity),
    )


def check_units(kind: str, text: str) -> None:
    """Raise `ValueError` for an input in units that ASE would not convert."""
    if kind in _OTHER_UNITS and (found := re.search(_OTHER_UNITS[kind], text)):
        raise ValueError(f"it says '{found[1].strip()}', units that are not read; save it as xyz")


def read_gaussian(text: str) -> Atoms:
    """The structure of a Gaussian input, of its first job. Raises `ValueError`."""
    text = re.sub(r"(?m)^[ \t]*!.*\n|!.*$", "", text).lstrip("\n")  # remarks
    check_units("gaussian-in", re.split(r"\n[ \t]*\n", text, maxsplit=1)[0])
    first, *later = re.split(r"(?mi)^[ \t]*--link1--.*\n?", text)
    first = _GAUSSIAN_PAIR.sub(r"\1 \2", first)  # ASE stumbles over '0,3'
    first = re.sub(r"(?m)^[ \t]*([DT])(?=[ \t,])", _with_mass_number, first)
    atoms = read_gaussian_in(StringIO(first), attach_calculator=True)
    parameters = atoms.calc.parameters
    charge, multiplicity = parameters["charge"], parameters["mult"]
    for job in later:
        pair = _GAUSSIAN_PAIR.search(job)
        if pair and (int(pair[1]), int(pair[2])) != (charge, multiplicity):
            raise ValueError(
                f"its jobs differ in charge or multiplicity ('{charge} {multiplicity}' and "
                f"'{pair[0].strip()}'); save the one that is meant alone"
            )
    words = f"{charge} {multiplicity}"
    isotopes.label(atoms, parameters.get("isolist") or [])
    atoms.info[KEY] = charge_of(words, charge) + multiplicity_of(words, multiplicity)
    atoms.calc = None
    return atoms


def _with_mass_number(symbol: re.Match[str]) -> str:
    return f"H(iso={'2' if symbol[1] == 'D' else '3'})"


def _gaussian_masses(text: str) -> list[float]:
    """Of the atoms, in the vibrational analysis or else at the beginning; for each job again."""
    analysed = re.findall(r"has atomic number +\d+ and mass +([\d.]+)", text)
    given = " ".join(re.findall(r"(?m)^ *AtmWgt= *(.*)$", text)).split()
    return [float(mass) for mass in analysed or given]


def _orca_masses(text: str) -> list[float]:
    """Of the atoms, in every table of coordinates in atomic units."""
    row = r"(?m)^ *\d+ +[A-Z][a-z]? +\d+\.\d+ +\d+ +(\d+\.\d+)(?: +-?\d+\.\d+){3} *$"
    return [float(mass) for mass in re.findall(row, text)]


def check_elements_of_pdb(text: str) -> None:
    """Raise `ValueError` where elements are not told, and names of atoms may mean several.

    ASE takes the carbon CA for calcium. Of atoms with alternate places one has to be chosen.
    """
    places = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(("ATOM  ", "HETATM")):
            continue
        places.add(line[16:17].strip())
        name = line[12:16].strip()
        letters = re.match(r"\d*([A-Za-z]*)", name)[1].capitalize()  # type: ignore[index]
        told = line[76:78].strip().capitalize() in atomic_numbers
        if not told and len(letters) > 1 and {letters[0], letters[:2]} <= atomic_numbers.keys():
            raise ValueError(
                f"line {number} has no element in columns 77 and 78, and '{name}' may be "
                f"{letters[:2]} or {letters[0]}; write it there, or save the structure as xyz"
            )
    if len(places - {""}) > 1:
        raise ValueError(
            f"it has alternate places ({', '.join(sorted(places - {''}))} in column 17) of the "
            "same atoms; keep one of them"
        )


def formal_charges_of_pdb(text: str) -> list[int]:
    """Of the atoms of a PDB file: its columns 79 and 80, as in 1- and 2+."""
    charges = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("ATOM  ", "HETATM")):
            told = line[78:80].strip()
            found = re.fullmatch(r"(\d)([+-])|([+-])(\d)", told)
            if told and not found and line[76:78].strip().capitalize() in atomic_numbers:
                raise ValueError(f"line {number} has {told!r} in the place of a charge such as 1-")
            charges.append(int("".join(sorted(told))) if found else 0)
    return charges


def check_last_geometry(atoms: Atoms, text: str) -> None:
    """Raise `ValueError` where ASE has missed the last geometry of an output of Gaussian.

    It takes a new one only where it knows how the energy of the one before was printed, as it does
    not of CASSCF, and reads no job but the first.
    """
    title = r"(?:Input|Z-Matrix|Standard) orientation:\s*\n"
    tables = re.findall(rf"{title}(?:.*\n){{4}}((?: +\d+ +\d+ .*\n)+)", text)
    if tables:
        places = np.array([line.split()[-3:] for line in tables[-1].splitlines()], dtype=float)
        # Whichever way it is turned; of more atoms all distances take gigabytes.
        last, found = pdist(places[:2000]), pdist(atoms.positions[:2000])
        if places.shape != atoms.positions.shape or not np.allclose(last, found, atol=1e-3):
            raise ValueError(
                "its last geometry is not where ASE finds it, after energies that it knows and in "
                "the first job; save it as xyz"
            )


def check_count(text: str) -> None:
    """Raise `ValueError` for an output of ORCA with more atoms than lines, which ASE would make."""
    counts = re.findall(r"Number of atoms\s+\.*\s*(\d+)", text)
    if counts and max(map(int, counts)) > text.count("\n"):
        raise ValueError(f"it announces {max(map(int, counts))} atoms, more than it has lines")
