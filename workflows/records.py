"""What the stages hand to each other: frozen, with what each stage cost and whether it held.

Energies in eV, forces in eV/Å, Hessians in eV/Å², positions in Å.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from horm_calc.chemistry.solvents import solvent_name
from workflows.stage_names import Stage
from workflows.surface import Evaluations

if TYPE_CHECKING:
    from horm_calc.chemistry.thermochemistry import NormalModes, Thermochemistry


@dataclass(frozen=True)
class Start(ABC):
    """What a search starts from; see `Reaction`, and `workflows.starts` for the others.

    Attributes
    ----------
    id
        Name, in messages and of files.
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1); a neutral singlet unless they are given.
    solvent
        By any of its names: 'water', 'H2O'; "" (or 'none', 'gas') for the gas phase.

    Raises
    ------
    TypeError
        For a structure that is no ASE `Atoms`.
    """

    id: str
    charge: int = field(default=0, kw_only=True)
    multiplicity: int = field(default=1, kw_only=True)
    solvent: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for name, given in self.structures.items():
            if not isinstance(given, Atoms):
                raise TypeError(f"'{self.id}': {not_atoms(name, given)}")
        object.__setattr__(self, "solvent", solvent_name(self.solvent))

    @property
    @abstractmethod
    def structures(self) -> dict[str, Atoms]:
        """What was given, by names for messages; all have the same atoms in the same order."""

    @property
    def atoms(self) -> Atoms:
        """One of them, which has all atoms and isotopes; positions in Å."""
        return next(iter(self.structures.values()))


def not_atoms(name: str, given: object) -> str:
    """What to say of a structure, by its name for messages, that is none."""
    if isinstance(given, str | Path):
        return f"the {name} is {str(given)!r}; read it: ase.io.read({str(given)!r}) returns Atoms"
    return f"the {name} is {given!r:.80}; give ASE Atoms"


@dataclass(frozen=True)
class Reaction(Start):
    """Two structures with the same atoms in the same order, and what they share.

    Attributes
    ----------
    id
        Name, in messages and of files.
    reactant, product
        Positions in Å.
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1); a neutral singlet unless they are given.
    solvent
        By any of its names: 'water', 'H2O'; "" (or 'none', 'gas') for the gas phase.
    remapped
        In which other order the product's atoms were given, in words; "" if they have theirs still.
    guess
        A guess of the transition state, from which the first attempt starts; None without one.
    conformers
        Other conformers of reactant and product, the nearest first. `SearchSettings.conformers`
        says how many are relaxed to choose from; both ends stand for themselves without any.
    smiles
        The reaction SMILES of which the structures were made; "" if they were given.
    """

    reactant: Atoms
    product: Atoms
    remapped: str = field(default="", kw_only=True)
    guess: Atoms | None = field(default=None, kw_only=True)
    conformers: tuple[tuple[Atoms, ...], tuple[Atoms, ...]] = field(default=((), ()), kw_only=True)
    smiles: str = field(default="", kw_only=True)

    @property
    def structures(self) -> dict[str, Atoms]:
        """Both ends, and the guess."""
        found = {"reactant": self.reactant, "product": self.product}
        return found if self.guess is None else found | {"guess": self.guess}


@dataclass(frozen=True)
class Cost:
    """What a stage took: calculator calls and wall-time in seconds."""

    evaluations: Evaluations = field(default_factory=Evaluations)
    seconds: float = 0.0


@dataclass(frozen=True)
class Minimum:
    """A relaxed structure; with its normal modes where these were asked for.

    Attributes
    ----------
    atoms
        n atoms, positions in Å.
    energy
        eV.
    forces
        (n, 3), eV/Å.
    method
        The optimiser.
    converged, reason
        Whether it met its criterion; why not.
    hessian, modes
        (3n, 3n), eV/Å², and frequencies in cm⁻¹; or None.
    changed
        Of an end, the bonds that relaxation has changed, in words.
    cost, log
        What it took, and what the optimiser printed.
    """

    atoms: Atoms
    _: KW_ONLY
    energy: float
    forces: np.ndarray
    method: str
    converged: bool
    reason: str = ""
    hessian: np.ndarray | None = None
    modes: NormalModes | None = None
    changed: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@dataclass(frozen=True)
class ReactionPath:
    """Images from reactant to product, ends included.

    Attributes
    ----------
    images
        Positions in Å.
    energies
        (images,), eV.
    method
        The path method.
    converged, reason
        Whether it met its criterion; why not.
    cost, log
        What it took, and what the method printed.
    """

    images: tuple[Atoms, ...]
    energies: np.ndarray
    _: KW_ONLY
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

    _: KW_ONLY
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
    """A stationary point of n atoms with its Hessian and normal modes.

    Attributes
    ----------
    atoms
        Positions in Å.
    energy
        eV.
    forces
        (n, 3), eV/Å.
    hessian
        (3n, 3n), eV/Å².
    modes
        Frequencies in cm⁻¹, imaginary ones negative and first.
    method
        The optimiser.
    converged, reason
        Whether it is a saddle of first order with forces below the criterion; why not.
    hessian_check
        None where the Hessian came from differences of forces anyway.
    cost, log
        What it took, and what the optimiser printed.
    """

    atoms: Atoms
    _: KW_ONLY
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

    Attributes
    ----------
    images
        Positions in Å.
    energies
        (images,), eV.
    saddle_index
        `images[saddle_index]` is the saddle.
    arrived
        For the first and the last image, whether the integrator met its force criterion there.
    method
        The integrator.
    converged, reason
        Whether both ends have arrived; why not, and which integrators failed before.
    cost, log
        What it took, and what the integrator printed.
    """

    images: tuple[Atoms, ...]
    energies: np.ndarray
    _: KW_ONLY
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

    Attributes
    ----------
    saddle
        As far as it was refined.
    rmsd, overlap
        How near both saddles are, superposed: in Å, and of the imaginary modes, 0 to 1.
    reactant, product
        None where the saddle does not connect with it, or where `reason` says why there is none.
    thermochemistry
        Of "reactant", "saddle" and "product", as far as it is defined at that level.
    converged
        The other level has the saddle too.
    reason
        Why not, or why an end is missing.
    cost, log
        What it took, and what was printed.
    """

    saddle: Saddle | None = None
    _: KW_ONLY
    rmsd: float | None = None
    overlap: float | None = None
    reactant: Minimum | None = None
    product: Minimum | None = None
    thermochemistry: dict[str, Thermochemistry] = field(default_factory=dict)
    converged: bool = False
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    log: str = ""


@dataclass(frozen=True)
class SeparatedMolecule:
    """A molecule of an end in pieces, relaxed alone, and how many of it the end has.

    `indices`: which atoms of the end it has, in its own order; of several molecules, the first.
    `thermochemistry` is None where there is none; `reason` then says why. `concerns`: why the
    calculator may be wrong here.
    """

    minimum: Minimum
    _: KW_ONLY
    charge: int
    multiplicity: int
    name: str
    count: int = 1
    indices: tuple[int, ...] = ()
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
    IN_STEPS = "intended in steps"
    #: From a guess alone: whatever the saddle connects, nothing was asked for.
    FOUND = "found"
    BARRIERLESS = "barrierless"
    PARTLY = "partly intended"
    UNINTENDED = "unintended"
    AMBIGUOUS = "ambiguous"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """Does the saddle connect what it should?

    Attributes
    ----------
    label
        The answer.
    reason
        In words, where there is more to say.
    side
        The end that was reached when only one was.
    stage
        Where a search failed.
    relabelled
        The same question up to a relabelling of equivalent atoms.
    at_limit
        Of an ambiguous verdict, the label that holds exactly at the bond limit.
    deciding_bonds
        Of an ambiguous verdict, the bonds that decide it.
    lost
        The ends that relaxation has turned into something else: no energy counts from or to them.
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
class ElementaryStep:
    """A step of a reaction in several: a saddle, and the minima on both sides of it.

    Attributes
    ----------
    first, last
        The relaxed ends of the IRC, in the direction of the reaction. The last one of a step and
        the first one of the next have the same bonds, and may be different conformers.
    saddle, irc
        Of this step; the IRC runs from `first` to `last`.
    path
        From which the saddle was found.
    """

    first: Minimum
    saddle: Saddle
    last: Minimum
    _: KW_ONLY
    irc: IRC
    path: ReactionPath


@dataclass(frozen=True)
class SearchResult:
    """Everything one search produced; stages that were not reached are None.

    Attributes
    ----------
    reaction
        As it was given: a `Reaction`, or another start.
    verdict
        Does the saddle connect what it should?
    reactant, product
        The ends, relaxed; not converged where the search failed at that.
    smiles
        SMILES of "reactant" and "product", where bond orders are found that fit.
    path, saddle, irc, irc_ends
        Of the best attempt, or of the step with the highest saddle; the ends of the IRC are
        relaxed.
    steps
        Of a reaction *intended in steps*, from the reactant to the product; otherwise empty.
    thermochemistry
        Of "reactant", "saddle" and "product", as far as it is defined.
    skipped
        What is missing, and why.
    warnings
        What a person should know who uses the numbers.
    attempts
        How many guesses were tried.
    first_verdict
        That of the first attempt; None where none was made.
    lower_path
        A path that stays below the saddle; None where none is known, whether or not it was looked
        for.
    separated
        The molecules of "reactant" and "product", where an end is in pieces.
    costs
        Of the stages of the search; a verification has its own, at another level of theory.
    log
        What was printed.
    last_structures
        Of a search that failed: what the stage that broke asked the calculator for last, with
        energies in eV, None where there was no answer. Empty where a record says more.
    verification
        By `verify`, where it was asked for.
    """

    reaction: Start
    verdict: Verdict
    _: KW_ONLY
    reactant: Minimum | None = None
    product: Minimum | None = None
    smiles: dict[str, str] = field(default_factory=dict)
    path: ReactionPath | None = None
    saddle: Saddle | None = None
    irc: IRC | None = None
    irc_ends: tuple[Minimum, Minimum] | None = None
    steps: tuple[ElementaryStep, ...] = ()
    thermochemistry: dict[str, Thermochemistry] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    attempts: int = 1
    first_verdict: Verdict | None = None
    lower_path: StringPath | None = None
    separated: dict[str, SeparatedMolecules] = field(default_factory=dict)
    costs: dict[Stage, Cost] = field(default_factory=dict)
    log: str = ""
    last_structures: tuple[tuple[Atoms, float | None], ...] = ()
    verification: Verification | None = None
