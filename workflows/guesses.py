"""Where the attempts of a search take their paths from, and what looks for a lower-energy path."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ase import Atoms

from horm_calc.chemistry.connectivity import bonds, pieces, same_bonds
from workflows.methods.registry import PATH_METHODS
from workflows.records import ReactionPath, StringPath
from workflows.settings import LowerPathSettings, SearchSettings
from workflows.stages.driven import driven_string
from workflows.stages.lower_path import followed, relaxed_string
from workflows.stages.path import find_path, through
from workflows.surface import Surface

Ends = tuple[Atoms, Atoms]


@dataclass(frozen=True)
class Guess:
    """A way to the path that an attempt starts from."""

    method: str
    find: Callable[[], ReactionPath]


@dataclass(frozen=True)
class LowerPathSearch:
    """A way to a path that may stay below a saddle of the given energy, eV."""

    method: str
    find: Callable[[float, Surface, LowerPathSettings], StringPath]


def first_guesses(ends: Ends, surface: Surface, settings: SearchSettings) -> list[Guess]:
    """The chosen path method, then the others, with driven bonds before those that cost more.

    Where both ends are in pieces, driven bonds come first: paths that know no bonds go astray
    where molecules move against each other.
    """
    guesses = []
    names = [method.name for method in PATH_METHODS]
    for method in sorted(names, key=lambda name: name != settings.path.method):
        path = dataclasses.replace(settings.path, method=method)
        guesses.append(Guess(method, partial(find_path, *ends, surface, path)))
    in_pieces = all(len(pieces(end, settings.verdict.bond_factor)) > 1 for end in ends)
    for search in lower_path_searches(ends, settings):
        if search.method not in names:
            find = partial(search.find, math.inf, surface, settings.lower_path)
            guesses.insert(0 if in_pieces else 2, Guess(search.method, find))
    return guesses


def over(inner: Sequence[Atoms], method: str, ends: Ends, surface: Surface) -> Guess:
    """The path over structures that are there already, one at least, between the ends."""
    first, last = ends
    return Guess(method, partial(through, first, inner, last, method, surface))


def lower_path_searches(ends: Ends, settings: SearchSettings) -> list[LowerPathSearch]:
    """The string first, which knows the ends themselves; then driven bonds, if any change."""
    if settings.lower_path.steps == 0:
        return []
    searches = [LowerPathSearch("string", partial(relaxed_string, *ends))]
    factor = settings.verdict.bond_factor
    if not same_bonds(*ends, factor):
        searches.append(LowerPathSearch("driven", partial(driven_string, *ends, factor)))
    return searches


def along(path: ReactionPath) -> LowerPathSearch:
    """What the path of an attempt says itself, instead of a string that is relaxed anew."""

    def find(saddle: float, surface: Surface, settings: LowerPathSettings) -> StringPath:
        return followed(path, saddle - settings.margin, surface, settings)

    return LowerPathSearch(path.method, find)


def rest_of(
    path: ReactionPath, found: Ends, ends: Ends, surface: Surface, settings: SearchSettings
) -> Guess | None:
    """What is left of a driven `path` where the IRC `found` two conformers of one of its ends.

    No bonds change on such an IRC. They do between the other end and the nearer one of both.
    """
    factor = settings.verdict.bond_factor
    if path.method != "driven":
        return None
    for end, other, driven in zip(ends, ends[::-1], (path.images[0], path.images[-1]), strict=True):

        def left(atoms: Atoms, other: Atoms = other) -> float:
            return _apart(atoms, other, ends, factor)

        nearer = min(found, key=left)
        if all(same_bonds(end, atoms, factor) for atoms in found) and left(nearer) < left(driven):
            pair = (nearer, other) if end is ends[0] else (other, nearer)
            find = partial(driven_string, *pair, factor, math.inf, surface, settings.lower_path)
            return Guess("driven", find)
    return None


def _apart(atoms: Atoms, goal: Atoms, ends: Ends, factor: float) -> float:
    """How far the lengths of the bonds that change are from those of `goal`, together, Å."""
    pairs = bonds(ends[0], factor) ^ bonds(ends[1], factor)
    return float(sum(abs(atoms.get_distance(*pair) - goal.get_distance(*pair)) for pair in pairs))
