"""What a run has used, in a paragraph for a paper, and whom to cite for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED
from reactbench_runner.report.references import OF_METHODS, OF_SMILES, REFERENCES
from reactbench_runner.storage.rows import (
    ENDS,
    GUESS,
    NOT_SEARCHED,
    REACT,
    SMILES,
    ResultRow,
    levels_of,
)
from workflows.methods.registry import METHODS
from workflows.records import Label

#: Of the calculators that come with this package.
_OF_CALCULATORS = {"gfn1-xtb": ("gfn1",), "gfn2-xtb": ("gfn2",), "wb97x": ("wb97x", "pyscf")}
_OF_SOLVENTS = {"gfn1-xtb": ("alpb",), "gfn2-xtb": ("alpb",)}
_OF_SHIPPED = {
    SHIPPED: ("wb97x", "gfn2", "delta", "transition1x", "reactbench", "hint"),
    f"{SHIPPED}-xtb": ("gfn2", "transition1x", "reactbench", "hint"),
}

_IN_SOLUTION = (
    "Structures, frequencies and energies {of_which}are those in the implicit solvent; {the} "
    "electronic energy contains the free energy of solvation, from a gas to a solution of the same "
    "concentration"
)

#: Quasi-RRHO treatments, as people call them.
_TREATMENTS = {
    "grimme": "the quasi-RRHO approximation of Grimme",
    "truhlar": "the quasi-harmonic approximation of Truhlar",
    "rrho": "the rigid-rotor harmonic-oscillator approximation",
}


@dataclass(frozen=True)
class Methods:
    """A paragraph as sentences, each with the names of its references; these in order of use."""

    sentences: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Names in `REFERENCES`, each once."""
        return tuple(dict.fromkeys(name for _, names in self.sentences for name in names))

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Of these references, counted from 1."""
        order = self.references
        return sorted({order.index(name) + 1 for name in names})


def methods_of(record: Mapping[str, Any], rows: Iterable[ResultRow]) -> Methods:
    """What a run has used, from its run.json and its rows.

    Methods that a later attempt has brought in are named as far as the rows name them.
    """
    return Methods(tuple(_sentences(record, list(rows))))


def _sentences(
    record: Mapping[str, Any], rows: list[ResultRow]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    settings = record.get("settings", {})
    version = record.get("versions", {}).get("horm-tssearch", "")
    level = levels_of(rows) or record.get("level_of_theory", "") or "an unknown level of theory"
    solvated = any(row.solvent for row in rows)
    yield (
        f"Transition states were searched with horm-tssearch {version}".rstrip()
        + f" at the level of theory {level}",
        calculator_references(str(record.get("calculator", "")), solvated=solvated),
    )
    if solvated:
        yield _in_solution(rows), ()
    starts = _starts(rows)
    if SMILES in starts:
        yield _of_smiles(settings), OF_SMILES
    yield from _stage(settings, "endpoints", "Reactants and products were relaxed", [])
    yield from _paths(settings, rows, starts)
    refined = []
    if starts - {GUESS}:
        refined.append("the highest points of the paths")
    if GUESS in starts:
        refined.append("guesses of transition states")
    words = " and ".join(refined)
    words = f"{words[0].upper()}{words[1:]} were refined to saddle points"
    yield from _stage(settings, "saddle", words, [])
    yield from _stage(
        settings,
        "irc",
        "Intrinsic reaction coordinates were followed",
        _used(row.irc_method for row in rows),
    )
    yield from _verdicts(settings, starts)
    yield from _free_energies(settings.get("thermo", {}))
    if record.get("verify"):
        yield (
            "Transition states were refined again at the level of theory "
            f"{levels_of(rows, verified=True) or record.get('verify_level_of_theory')}",
            calculator_references(str(record["verify"]), solvated=solvated),
        )


def _starts(rows: Iterable[ResultRow]) -> set[str]:
    """What the searches started from, by the names in `storage.rows`; `ENDS` where nobody says."""
    return {
        row.start or (GUESS if row.verdict is Label.FOUND else ENDS)
        for row in rows
        if row.stage not in NOT_SEARCHED
    } or {ENDS}


def _in_solution(rows: Iterable[ResultRow]) -> str:
    """What energies mean in a solvent, and of which reactions where others are in the gas phase."""
    if all(row.solvent for row in rows if row.stage not in NOT_SEARCHED):
        return _IN_SOLUTION.format(of_which="", the="the")
    return _IN_SOLUTION.format(of_which="of reactions in a solvent ", the="their")


def _of_smiles(settings: Mapping[str, Any]) -> str:
    text = (
        "The structures of reactions that were given as SMILES were made with RDKit: conformers "
        "from distance geometry (ETKDGv3), relaxed with MMFF94, or with UFF where that lacks "
        "parameters"
    )
    most = settings.get("conformers", 1)  # versions without the setting relaxed the first pair
    if most > 1:
        text += (
            f"; up to {most} conformers of each side were then relaxed at the level of theory, and "
            "of the pairs that are ready to react the one of lowest energy was taken, or the "
            "nearest of almost equal ones"
        )
    return text


def _paths(
    settings: Mapping[str, Any], rows: list[ResultRow], starts: set[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """How the paths between the ends were found, as far as rows name methods.

    A product that was driven, and a guess beside both ends, come with a path of the first attempt.
    """
    if REACT in starts:
        yield (
            "Where a reactant and the bonds that change were given, the product was made from the "
            "relaxed reactant by driving these bonds at the level of theory and relaxing what they "
            "led to; the first path is the one along which they were driven",
            (),
        )
    if any(row.path_method == GUESS for row in rows):
        yield (
            "Where a guess of the transition state was given beside reactant and product, the "
            "first path led from the one over the guess to the other",
            (),
        )
    others = [row for row in rows if row.path_method and not _brought(row)]
    brought = REACT in starts or any(map(_brought, rows))
    if others or (not any(map(_brought, rows)) and starts & {ENDS, SMILES}):
        words = f"{'Other paths' if brought else 'Paths'} between reactants and products were found"
        methods = _used(row.path_method for row in others)
        # Where each has come to its saddle at once, no other method was tried.
        first = not others or any(row.attempts != 1 for row in others)
        yield from _stage(settings, "path", words, methods, of_settings=first)


def _brought(row: ResultRow) -> bool:
    """Is the path of the row the one that its reaction came with?"""
    return row.path_method == GUESS or (row.start == REACT and row.path_method == "driven")


def _verdicts(
    settings: Mapping[str, Any], starts: set[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the words *found* and *intended* mean, as far as a search could come to them."""
    if GUESS in starts:
        yield (
            "A transition state is called found if nothing but a guess of it was given: reactant "
            "and product are then the relaxed ends of its intrinsic reaction coordinate, the "
            "reactant the one of higher energy",
            (),
        )
    if starts - {GUESS}:
        factor = settings.get("verdict", {}).get("bond_factor", 1.2)
        yield (
            "A transition state is called intended if the relaxed ends of its intrinsic reaction "
            "coordinate have the bonds of reactant and product (shorter than "
            f"{factor} times the sum of covalent radii)",
            ("radii",),
        )


def _stage(
    settings: Mapping[str, Any],
    stage: str,
    words: str,
    used: list[str],
    *,
    of_settings: bool = True,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A sentence on the method of the settings, if it was tried, and on others that rows name."""
    first = settings.get(stage, {}).get("method") if of_settings else None
    known = {method.name: method.doc for method in METHODS[stage]}
    names = [name for name in dict.fromkeys([first, *used]) if name in known or name == "driven"]
    if not names:
        return
    docs = [known.get(name, "paths along which bonds are driven") for name in names]
    text = f"{words} ({docs[0]}"
    if len(docs) > 1:
        text += "; in other attempts: " + "; ".join(docs[1:])
    yield f"{text})", tuple(one for name in names for one in OF_METHODS.get((stage, name), ()))


def _used(names: Iterable[str]) -> list[str]:
    """The most frequent first."""
    return [name for name, _ in Counter(name for name in names if name).most_common()]


def _free_energies(thermo: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    treatment = thermo.get("treatment")
    if not treatment:
        return
    words = _TREATMENTS.get(treatment, f"the treatment '{treatment}' of low frequencies")
    text = f"Gibbs free energies at {thermo.get('temperature', 0):g} K and "
    text += f"{thermo.get('pressure', 0):g} Pa are those of an ideal gas in {words}"
    if treatment in REFERENCES:
        text += f", with a cut-off of {thermo.get('cutoff', 0):g} cm⁻¹"
    yield text, (treatment, "ase") if treatment in REFERENCES else ("ase",)


def calculator_references(name: str, *, solvated: bool = False) -> tuple[str, ...]:
    """Of a calculator by the name that run.json has of it; none for one of a user's own.

    solvated: with those of its model for solvents.
    """
    if not name.startswith("horm:"):
        return _OF_CALCULATORS.get(name, ()) + (_OF_SOLVENTS.get(name, ()) if solvated else ())
    network = name.removeprefix("horm:").rpartition("/")[2].partition(".")[0]
    if network in _OF_SHIPPED:
        return _OF_SHIPPED[network]
    return ("horm",) if network in CATALOGUE else ()
