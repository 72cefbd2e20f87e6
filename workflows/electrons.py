"""How charge and spin are shared between the molecules of a structure in pieces.

A neutral singlet of molecules with even numbers of electrons is made of neutral singlets. For all
else the calculator decides: the way with the lowest energy, where it is lower by far than others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from ase import Atoms

from workflows.errors import StageError

#: Charge and multiplicity of one molecule.
State = tuple[int, int]

#: By so much, eV, the lowest way must lie below the next one. Ways differ by an ionisation energy
#: less an electron affinity, or two of either, about which cheap methods err by some tenths of eV.
CLEAR = 1.0

#: More pieces have too many ways.
MOST_PIECES = 6

_SPINS = {1: "", 2: " (doublet)", 3: " (triplet)"}


def shared(
    pieces: Sequence[Atoms],
    kinds: Sequence[str],
    total: State,
    energy: Callable[[int, State], float],
) -> list[State]:
    """Charge and multiplicity of each of `pieces`, which have those of `total` together.

    kinds: the same for pieces that are the same molecule. energy: of the piece with that place in
    that state, eV; may raise `StageError`. Raises `StageError` with the reason where the answer is
    not certain.
    """
    if total == (0, 1) and not any(int(piece.numbers.sum()) % 2 for piece in pieces):
        return [total] * len(pieces)
    _refuse_unknowable(pieces, total)
    ways = _ways([int(piece.numbers.sum()) for piece in pieces], *total)
    different = {tuple(sorted(zip(kinds, states, strict=True))): states for states in ways}
    energies: list[tuple[float, tuple[State, ...]]] = []
    failures: list[StageError] = []
    for states in different.values():
        try:
            energies.append((sum(itertools.starmap(energy, enumerate(states))), states))
        except StageError as error:
            failures.append(error)
    if not energies:
        raise _because("their charges and spins are not known", failures[0])
    (lowest, best), *others = sorted(energies)
    if others and others[0][0] - lowest < CLEAR:
        raise StageError(
            f"their charges and spins are not certain: {_together(pieces, best)} lies only "
            f"{others[0][0] - lowest:.2f} eV below {_together(pieces, others[0][1])}"
        )
    closed = [states for states in different.values() if all(spin == 1 for _, spin in states)]
    if failures and closed != [best]:  # the only way to closed shells needs no comparison
        raise _because("their charges and spins are not certain", failures[0])
    return list(best)


def named(atoms: Atoms, state: State) -> str:
    """A molecule as people write it: 'C2H4O', 'Cl-', 'Mg^2+', 'CHO (doublet)'."""
    charge, multiplicity = state
    size = "" if abs(charge) < 2 else f"^{abs(charge)}"
    sign = "+" if charge > 0 else "-" if charge < 0 else ""
    spin = _SPINS.get(multiplicity, f" (multiplicity {multiplicity})")
    return f"{atoms.get_chemical_formula()}{size}{sign}{spin}"


def _refuse_unknowable(pieces: Sequence[Atoms], total: State) -> None:
    if len(pieces) > MOST_PIECES:
        raise StageError(
            f"charge and spin can be distributed over {len(pieces)} molecules in too many ways"
        )
    if total[0] > 0 and any(piece.numbers.tolist() == [1] for piece in pieces):
        raise StageError("a hydrogen atom on its own may be a proton, which has no electrons")


def _because(words: str, error: StageError) -> StageError:
    """What a failure means, with the log of the failure."""
    ending = StageError(f"{words}: {error}")
    ending.log = error.log
    return ending


def _ways(protons: Sequence[int], charge: int, multiplicity: int) -> Iterator[tuple[State, ...]]:
    """All ways to share, the plainest first; unpaired electrons are as few as the total allows."""
    charges = range(min(charge, -1), max(charge, 1) + 1)
    ways = [way for way in itertools.product(charges, repeat=len(protons)) if sum(way) == charge]
    for way in sorted(ways, key=lambda way: sum(map(abs, way))):
        electrons = [z - q for z, q in zip(protons, way, strict=True)]
        single = [number % 2 for number in electrons]
        pairs = max(0, (multiplicity - 1 - sum(single)) // 2)
        for broken in itertools.product(range(pairs + 1), repeat=len(protons)):
            unpaired = [one + 2 * more for one, more in zip(single, broken, strict=True)]
            fits = all(0 < n >= u for n, u in zip(electrons, unpaired, strict=True))
            if sum(broken) == pairs and fits:
                yield tuple((q, u + 1) for q, u in zip(way, unpaired, strict=True))


def _together(pieces: Sequence[Atoms], states: Sequence[State]) -> str:
    return " + ".join(named(piece, state) for piece, state in zip(pieces, states, strict=True))
