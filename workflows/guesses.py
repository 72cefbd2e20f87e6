"""Where the attempts of a search take their paths from, and what looks for a lower-energy path."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

from ase import Atoms

from horm_calc.chemistry.connectivity import bonds, pieces, same_bonds
from workflows.methods.registry import PATH_METHODS
from workflows.records import ReactionPath, StringPath
from workflows.settings import SearchSettings
from workflows.stages.driven import driven_string
from workflows.stages.lower_path import relaxed_string
from workflows.stages.path import find_path
from workflows.surface import Surface

Ends = tuple[Atoms, Atoms]

#: What makes the path of an attempt, by its method, in the order of the attempts.
Guesses = dict[str, Callable[[], ReactionPath]]

#: (saddle, surface, settings) -> a path that may stay below that saddle, by its method.
Looks = dict[str, Callable[..., StringPath]]


def first_guesses(ends: Ends, surface: Surface, settings: SearchSettings) -> Guesses:
    """The chosen path method, the others, and the paths that look for a lower-energy path.

    Where both ends are in pieces, driven bonds come first: paths that know no bonds go astray
    where molecules move against each other.
    """
    guesses: Guesses = {}
    names = [method.name for method in PATH_METHODS]
    for method in sorted(names, key=lambda name: name != settings.path.method):
        path = dataclasses.replace(settings.path, method=method)
        guesses[method] = partial(find_path, *ends, surface, path)
    for method, look in lower_path_methods(ends, settings).items():
        guesses[method] = partial(look, math.inf, surface, settings.lower_path)
    if all(len(pieces(end, settings.verdict.bond_factor)) > 1 for end in ends):
        guesses = {
            name: guesses[name] for name in sorted(guesses, key=lambda name: name != "driven")
        }
    return guesses


def lower_path_methods(ends: Ends, settings: SearchSettings) -> Looks:
    """The string first, which knows the ends themselves; then driven bonds, if any change."""
    if settings.lower_path.steps == 0:
        return {}
    looks: Looks = {"string": partial(relaxed_string, *ends)}
    factor = settings.verdict.bond_factor
    if not same_bonds(*ends, factor):
        looks["driven"] = partial(driven_string, *ends, factor)
    return looks


def rest(
    path: ReactionPath, found: Ends, ends: Ends, surface: Surface, settings: SearchSettings
) -> Guesses:
    """What is left of a driven `path` where the IRC `found` two conformers of one of its ends.

    No bonds change on such an IRC. They do between the other end and the nearer one of both.
    """
    factor = settings.verdict.bond_factor
    if path.method != "driven":
        return {}
    for end, other, driven in zip(ends, ends[::-1], (path.images[0], path.images[-1]), strict=True):

        def left(atoms: Atoms, other: Atoms = other) -> float:
            return _apart(atoms, other, ends, factor)

        nearer = min(found, key=left)
        if all(same_bonds(end, atoms, factor) for atoms in found) and left(nearer) < left(driven):
            pair = (nearer, other) if end is ends[0] else (other, nearer)
            look = partial(driven_string, *pair, factor)
            return {"driven": partial(look, math.inf, surface, settings.lower_path)}
    return {}


def _apart(atoms: Atoms, goal: Atoms, ends: Ends, factor: float) -> float:
    """How far the lengths of the bonds that change are from those of `goal`, together, Å."""
    pairs = bonds(ends[0], factor) ^ bonds(ends[1], factor)
    return float(sum(abs(atoms.get_distance(*pair) - goal.get_distance(*pair)) for pair in pairs))


def lowest(known: StringPath | None, path: StringPath) -> StringPath:
    """Which of two paths has the lower ceiling."""
    return path if known is None or path.ceiling < known.ceiling else known
