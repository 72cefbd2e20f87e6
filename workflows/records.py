"""What the stages hand to each other: frozen, with what each stage cost and whether it held.

Energies in eV, forces in eV/Å, Hessians in eV/Å², positions in Å.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from workflows.stage_names import Stage
from workflows.surface import Evaluations

if TYPE_CHECKING:
    from horm_calc.chemistry.thermochemistry import NormalModes, Thermochemistry


@dataclass(frozen=True)
class Reaction:
    """Two structures with the same atoms in the same order, and what they share."""

    id: str
    reactant: Atoms
    product: Atoms
    charge: int = 0
    multiplicity: int = 1


@dataclass(frozen=True)
class Cost:
    """What a stage took: calculator calls and wall-time in seconds."""

    evaluations: Evaluations = field(default_factory=Evaluations)
    seconds: float = 0.0


@dataclass(frozen=True)
class Minimum:
    """A relaxed structure; with its normal modes where these were asked for."""

    atoms: Atoms
    energy: float
    forces: np.ndarray
    method: str
    converged: bool
    reason: str = ""
    modes: NormalModes | None = None
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@dataclass(frozen=True)
class ReactionPath:
    """Images from reactant to product, ends included, with their energies (eV)."""

    images: tuple[Atoms, ...]
    energies: np.ndarray
    method: str
    converged: bool
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""

    @property
    def highest(self) -> Atoms:
        """The inner image of highest energy: the guess for the saddle."""
        return self.images[1 + int(np.argmax(self.energies[1:-1]))]


@dataclass(frozen=True)
class StringPath(ReactionPath):
    """A path whose highest energy is known between its images too: `ceiling`, eV."""

    ceiling: float = math.inf


@dataclass(frozen=True)
class HessianCheck:
    """How far a Hessian is from differences of the forces: ‖H v − ΔF/Δx‖, eV/Å².

    One number for each direction v that was tried, the lowest mode first.
    """

    errors: tuple[float, ...]

    @property
    def curvature_error(self) -> float:
        """The largest of them."""
        return max(self.errors)


@dataclass(frozen=True)
class Saddle:
    """A stationary point with its Hessian (3N, 3N) and normal modes.

    `hessian_check` is None where the Hessian came from differences of forces anyway.
    """

    atoms: Atoms
    energy: float
    forces: np.ndarray
    hessian: np.ndarray
    modes: NormalModes
    method: str
    converged: bool
    reason: str = ""
    hessian_check: HessianCheck | None = None
    cost: Cost = field(default_factory=Cost)
    log: str = ""

    @property
    def curvature_error(self) -> float | None:
        """How far the calculator's own Hessian is from its forces, eV/Å²; None without one."""
        return self.hessian_check.curvature_error if self.hessian_check else None


@dataclass(frozen=True)
class IRC:
    """The path of steepest descent through a saddle, end to end.

    `images[saddle_index]` is the saddle. `arrived` says for the first and the last image
    whether the integrator met its force criterion there.
    """

    images: tuple[Atoms, ...]
    energies: np.ndarray
    saddle_index: int
    arrived: tuple[bool, bool]
    method: str
    converged: bool
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@dataclass(frozen=True)
class Verification:
    """A saddle refined once more at another level of theory, with the ends that it connects.

    `converged` means that the other level has the saddle too. `rmsd` (Å) and `overlap` (of the
    imaginary modes, 0 to 1) then say how near both are, superposed. An end is None where the
    saddle does not connect with it, or where `reason` says why there is none.
    """

    saddle: Saddle | None = None
    rmsd: float | None = None
    overlap: float | None = None
    reactant: Minimum | None = None
    product: Minimum | None = None
    converged: bool = False
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@dataclass(frozen=True)
class SeparatedMolecule:
    """A molecule of an end in pieces, relaxed alone, and how many of it the end has.

    `thermochemistry` is None where there is none; `reason` then says why. `concerns`: why the
    calculator may be wrong here.
    """

    minimum: Minimum
    charge: int
    multiplicity: int
    count: int
    name: str
    thermochemistry: Thermochemistry | None = None
    reason: str = ""
    concerns: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeparatedMolecules:
    """All molecules of an end in pieces, infinitely far from each other. Energies in eV."""

    molecules: tuple[SeparatedMolecule, ...]
    cost: Cost = field(default_factory=Cost)
    log: str = ""

    @property
    def energy(self) -> float:
        """Electronic energy."""
        return sum(one.count * one.minimum.energy for one in self.molecules)

    @property
    def gibbs(self) -> float | None:
        """Gibbs energy, each at the pressure of the settings; None where one has none."""
        return self._sum(lambda gas: gas.gibbs)

    @property
    def gibbs_1_mol_per_l(self) -> float | None:
        """Gibbs energy, each at 1 mol/L; None where one has none."""
        return self._sum(lambda gas: gas.gibbs_1_mol_per_l)

    @property
    def name(self) -> str:
        """'C2H4O + C2H7N', '2 CHO (doublet)'."""
        return " + ".join(
            one.name if one.count == 1 else f"{one.count} {one.name}" for one in self.molecules
        )

    def assumptions(self) -> str:
        """What the free energy of each assumes, in one line."""
        words = {
            one.name: one.thermochemistry.assumptions() if one.thermochemistry else one.reason
            for one in self.molecules
        }
        return " | ".join(f"{name}: {text}" for name, text in words.items())

    def _sum(self, of: Callable[[Thermochemistry], float]) -> float | None:
        total = 0.0
        for one in self.molecules:
            if one.thermochemistry is None:
                return None
            total += one.count * of(one.thermochemistry)
        return total


class Label(StrEnum):
    """The outcome of a search."""

    INTENDED = "intended"
    BARRIERLESS = "barrierless"
    PARTLY = "partly intended"
    UNINTENDED = "unintended"
    AMBIGUOUS = "ambiguous"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """Does the saddle connect what it should?

    `side` names the end that was reached when only one was. `relabelled` is the same
    question up to a relabelling of equivalent atoms. An ambiguous verdict keeps the label
    that holds exactly at the bond limit in `at_limit` and names the bonds that decide it.
    `lost` names the ends that relaxation has turned into something else: no energy counts from or
    to them.
    """

    label: Label
    reason: str = ""
    side: str = ""
    stage: Stage | None = None
    relabelled: Label | None = None
    at_limit: Label | None = None
    deciding_bonds: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchResult:
    """Everything one search produced; stages that were not reached are None.

    `costs` are those of the search; a verification has its own, at another level of theory.
    `lower_way` is a path that stays below the saddle; None where none is known, whether or not it
    was looked for. `separated` has the molecules of "reactant" and "product", where an end is in
    pieces.
    """

    reaction: Reaction
    verdict: Verdict
    _: KW_ONLY
    reactant: Minimum | None = None
    product: Minimum | None = None
    path: ReactionPath | None = None
    saddle: Saddle | None = None
    irc: IRC | None = None
    irc_ends: tuple[Minimum, Minimum] | None = None
    thermochemistry: dict[str, Thermochemistry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    attempts: int = 1
    lower_way: StringPath | None = None
    separated: dict[str, SeparatedMolecules] = field(default_factory=dict)
    costs: dict[Stage, Cost] = field(default_factory=dict)
    log: str = ""
    verification: Verification | None = None
