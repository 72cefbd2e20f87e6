"""What a person should know of a finished search before they believe its numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ase import Atoms

from horm_calc.chemistry.connectivity import Match, describe_changes, match_bonds
from horm_calc.chemistry.stereochemistry import Stereochemistry, compare
from horm_calc.units import to_kcal_per_mol
from workflows.errors import StageError
from workflows.records import (
    Minimum,
    Saddle,
    SeparatedMolecules,
    StringPath,
    Verdict,
)
from workflows.settings import SearchSettings, VerdictSettings
from workflows.stages.free_energy import connected_sides
from workflows.stages.separated import in_pieces, shortest_distance
from workflows.surface import Surface
from workflows.trust import concerns_about

#: Two conformers whose energies differ by more are worth a word, kcal/mol: chemical accuracy.
CONFORMERS_APART = 1.0

#: What holds less than this holds no molecules together at room temperature: RT, kcal/mol.
BOUND = 0.6

#: Molecules further from each other than this are no complex, Å: twice what atoms keep apart that
#: touch. Their states may still differ from those of molecules alone, in energy too.
TOUCHING = 7.0


def of_calculator(
    structures: Iterable[Atoms],
    surface: Surface,
    settings: SearchSettings,
    broken: Callable[[StageError], None] = lambda error: None,
) -> Iterator[str]:
    """What the calculator itself says of them; `broken` hears of it where it cannot say it."""
    found = concerns_about(list(structures), surface, settings.endpoints.wall_time, broken)
    yield from dict.fromkeys(found)


def of_structures(
    given: Mapping[str, Atoms],
    minima: Mapping[str, Minimum],
    saddle: Saddle | None,
    surface: Surface,
    settings: SearchSettings,
    broken: Callable[[StageError], None] = lambda error: None,
) -> Iterator[str]:
    """What the calculator says of them, what relaxation did, and whether to trust the Hessian.

    given, minima: "reactant" and "product" before and after relaxation.
    """
    known = [minimum.atoms for minimum in minima.values()] + ([saddle.atoms] if saddle else [])
    yield from of_calculator(known, surface, settings, broken)
    for name, atoms in given.items():
        changes = describe_changes(atoms, minima[name].atoms, settings.verdict.bond_factor)
        if changes:
            yield f"relaxation changed the bonds of the {name}: {changes}"
    error = saddle.curvature_error if saddle else None
    if error is not None and error > settings.saddle.max_curvature_error:
        yield (
            f"the calculator's Hessian deviates from its forces by {error:.2g} eV/Å² at the "
            "saddle: modes, IRC and free energies are doubtful"
        )


def of_minima(skipped: Mapping[str, str]) -> Iterator[str]:
    """Why there is no free energy of an end, if there is none."""
    for name in ("reactant", "product"):
        if name in skipped:
            yield f"the {name} has no free energy: {skipped[name]}"


def of_isomers(
    ends: tuple[Minimum, Minimum] | None,
    minima: Mapping[str, Minimum],
    verdict: Verdict,
    settings: VerdictSettings,
) -> Iterator[str]:
    """Where the IRC leads to another isomer or conformer of an end than barriers count from.

    A saddle and its mirror image, which leads to the mirror images of both ends, are one reaction.
    """
    found: dict[str, list[tuple[Minimum, Stereochemistry]]] = {}
    for (name, minimum), connected in zip(minima.items(), connected_sides(verdict), strict=True):
        alike = [end for end in ends or () if _alike(end, minimum, settings)]
        if connected and alike:
            found[name] = [
                (end, compare(minimum.atoms, end.atoms, settings.bond_factor)) for end in alike
            ]
    mirrored = all(any(stereo.mirrored for _, stereo in alike) for alike in found.values())
    for name, compared in found.items():
        right = [one for one in compared if one[1].same or (mirrored and one[1].mirrored)]
        above = {
            to_kcal_per_mol(end.energy - minima[name].energy): stereo
            for end, stereo in right or compared
        }
        nearest = min(above, key=abs)
        if right and abs(nearest) <= CONFORMERS_APART:
            continue
        what = "conformer" if right else f"stereoisomer ({above[nearest].changes})"
        where = "above" if nearest > 0 else "below"
        yield (
            f"the IRC ends in another {what} of the {name}, {abs(nearest):.1f} kcal/mol "
            f"{where} the relaxed {name}, from which the barrier is counted"
        )


def of_lower_path(saddle: Saddle | None, lower: StringPath | None) -> Iterator[str]:
    """By how much a known path between the ends stays below the saddle."""
    if saddle and lower:
        below = to_kcal_per_mol(saddle.energy - lower.ceiling)
        yield (
            "with this calculator there is a lower-energy path between reactant and product "
            f"(lower_path.xyz): it stays {below:.1f} kcal/mol below this saddle, and may have more "
            "than one step"
        )


def of_pieces(
    minima: Mapping[str, Minimum],
    separated: Mapping[str, SeparatedMolecules],
    skipped: Mapping[str, str],
    settings: VerdictSettings,
) -> Iterator[str]:
    """Which end is not one molecule, and what that means for its energies."""
    found = {name: in_pieces(minimum.atoms, settings) for name, minimum in minima.items()}
    found = {name: molecules for name, molecules in found.items() if len(molecules) > 1}
    for name, molecules in found.items():
        apart = shortest_distance(molecules)
        if name in separated:
            what = _bound(separated[name], minima[name], touching=apart < TOUCHING)
            yield f"the {name} is {what}; distance {apart:.1f} Å"
        else:
            formulas = " + ".join(molecule.get_chemical_formula() for molecule in molecules)
            yield (
                f"the {name} consists of several molecules, {formulas}, {apart:.1f} Å apart, and "
                f"there are no energies of the separate molecules: {skipped[f'separated {name}']}"
            )
    if found:
        yield (
            "barriers are relative to these molecules together, and the free energy treats their "
            "motions against each other as vibrations"
        ) + ("; energies relative to the separate molecules are given too" if separated else "")
    for known in separated.values():
        yield from (text for one in known.molecules for text in one.concerns)


def _bound(apart: SeparatedMolecules, together: Minimum, *, touching: bool) -> str:
    """What an end in pieces is: a complex, or molecules that hardly feel each other."""
    binding = to_kcal_per_mol(apart.energy - together.energy)
    if abs(binding) < BOUND:
        return f"several molecules, {apart.name}"
    side = "above" if binding < 0 else "below"
    kind = "a complex" if binding > 0 and touching else "several molecules"
    return f"{kind}, {apart.name}, {abs(binding):.1f} kcal/mol {side} the separate molecules"


def _alike(end: Minimum, minimum: Minimum, settings: VerdictSettings) -> bool:
    match, _ = match_bonds(end.atoms, minimum.atoms, settings.bond_factor, settings.margin)
    return match is not Match.NO
