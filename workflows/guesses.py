"""Where the attempts of a search take their paths from, and what looks for a lower way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

from ase import Atoms

from workflows.connectivity import bonds, in_pieces, same_bonds
from workflows.driven import driven_string
from workflows.lower_way import relaxed_string
from workflows.path import find_path
from workflows.records import ReactionPath, StringPath
from workflows.settings import SearchSettings
from workflows.surface import Surface

Ends = tuple[Atoms, Atoms]

#: What makes the path of an attempt, by its method, in the order of the attempts.
Guesses = dict[str, Callable[[], ReactionPath]]

#: (saddle, surface, settings) -> a path that may stay below that saddle, by its method.
Looks = dict[str, Callable[..., StringPath]]

#: Path methods in the order in which attempts go through them, after the chosen one.
PATH_ORDER = ("gsm", "neb", "geodesic")


def first_guesses(ends: Ends, surface: Surface, settings: SearchSettings) -> Guesses:
    """The chosen path method, the others, and the paths that look for a lower way.

    Where both ends are in pieces, driven bonds come second: paths that know no bonds go astray
    where molecules move against each other.
    """
    chosen = settings.path.method
    guesses: Guesses = {}
    for method in (chosen, *(name for name in PATH_ORDER if name != chosen)):
        path = dataclasses.replace(settings.path, method=method)
        guesses[method] = partial(find_path, *ends, surface, path)
    for method, look in ways_to_look(ends, settings).items():
        guesses[method] = partial(look, math.inf, surface, settings.lower_way)
    if all(in_pieces(end, settings.verdict.bond_factor) for end in ends):
        early = [name for name in (chosen, "driven") if name in guesses]
        guesses = {name: guesses[name] for name in dict.fromkeys([*early, *guesses])}
    return guesses


def ways_to_look(ends: Ends, settings: SearchSettings) -> Looks:
    """The string first, which knows the ends themselves; then driven bonds, if any change."""
    if settings.lower_way.steps == 0:
        return {}
    looks: Looks = {"string": partial(relaxed_string, *ends)}
    factor = settings.verdict.bond_factor
    if not same_bonds(*ends, factor):
        looks["driven"] = partial(driven_string, *ends, factor)
    return looks


def rest(found: Ends, ends: Ends, surface: Surface, settings: SearchSettings) -> Guesses:
    """What is left where an IRC joins two conformers of one end, and no bonds change on it.

    The bonds then change between the other end and the nearer one of both.
    """
    factor = settings.verdict.bond_factor
    for end, other in (ends, ends[::-1]):
        if all(same_bonds(end, atoms, factor) for atoms in found):
            nearer = min(found, key=lambda atoms: _distance(atoms, other, ends, factor))
            left = (other, nearer) if end is ends[1] else (nearer, other)
            look = partial(driven_string, *left, factor)
            return {"driven": partial(look, math.inf, surface, settings.lower_way)}
    return {}


def _distance(atoms: Atoms, goal: Atoms, ends: Ends, factor: float) -> float:
    """How far the lengths of the bonds that change are from those of `goal`, together, Å."""
    pairs = bonds(ends[0], factor) ^ bonds(ends[1], factor)
    return sum(abs(atoms.get_distance(*pair) - goal.get_distance(*pair)) for pair in pairs)


def lowest(known: StringPath | None, path: StringPath) -> StringPath:
    """Which of two paths has the lower ceiling."""
    return path if known is None or path.ceiling < known.ceiling else known
