"""What a calculator offers a search, beside the energies and forces of every ASE calculator.

A search takes any ASE calculator. `SearchCalculator` lists what else it uses: methods that save
time, and an attribute `capabilities` that prevents wrong answers. All of it is optional; where a
calculator says nothing, the defaults of `Capabilities` hold.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols

from horm_calc.chemistry.solvents import solvent_name, unknown_solvent

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a calculator can be asked, and what its results are.

    Attributes
    ----------
    level_of_theory
        Name for tables and files, such as "GFN2-xTB"; "" where nobody has said.
    elements
        Atomic numbers that it knows; None: not limited.
    charges, multiplicities
        Total charges and spin multiplicities (2S + 1) that it knows; None: not limited.
    solvents
        Those for which it can be built; none unless it says so, None: not limited.
    solvation
        Name of the model by which it describes them, such as "ALPB".
    solvent
        Of a calculator that is built: that in which it computes; "" for the gas phase.
    device
        Where it computes, such as "cpu" or "cuda:0".
    hessians, batches, concerns, bond_orders
        Whether it has the methods `get_hessian`, `evaluate`, `concerns` and `bond_orders`.
        `capabilities_of` finds that out; nobody needs to say it.
    """

    level_of_theory: str = ""
    elements: frozenset[int] | None = None
    charges: frozenset[int] | None = None
    multiplicities: frozenset[int] | None = None
    solvents: frozenset[str] | None = frozenset()
    solvation: str = ""
    solvent: str = ""
    device: str = "cpu"
    hessians: bool = False
    batches: bool = False
    concerns: bool = False
    bond_orders: bool = False

    def in_solvent(self, solvent: str) -> Capabilities:
        """Those of a calculator that is built for a solvent, with the solvent in its level.

        Parameters
        ----------
        solvent
            Its name; "" for the gas phase, of which the level says nothing.
        """
        return replace(
            self, solvent=solvent, level_of_theory=self.level_in(solvent, self.level_of_theory)
        )

    def level_in(self, solvent: str, level: str) -> str:
        """A level of theory in a solvent, as in "GFN2-xTB (tblite), ALPB(water)".

        Parameters
        ----------
        solvent
            Its name; "" for the gas phase.
        level
            That of the gas phase.

        Returns
        -------
        str
            That in the solvent; the same for the gas phase.
        """
        if not (solvent and level):
            return level
        return f"{level}, {self.solvation or 'solvent'}({solvent})"

    def refusal(
        self, numbers: Sequence[int], charge: int, multiplicity: int, *, solvent: str = ""
    ) -> str:
        """Why there is no answer for these atoms; "" where there is one.

        Parameters
        ----------
        numbers
            Atomic numbers.
        charge, multiplicity
            Total charge and spin multiplicity (2S + 1).
        solvent
            Name of the solvent; "" for the gas phase.

        Returns
        -------
        str
            What is beyond it, and what it knows.
        """
        problems = []
        if self.elements is not None and (beyond := set(numbers) - self.elements):
            problems.append(f"{_symbols(beyond)} (it knows {_symbols(self.elements)})")
        if self.charges is not None and charge not in self.charges:
            known = ", ".join(f"{one:+d}" if one else "0" for one in sorted(self.charges))
            problems.append(f"charge {charge:+d} (it knows {known})")
        if self.multiplicities is not None and multiplicity not in self.multiplicities:
            known = ", ".join(map(str, sorted(self.multiplicities)))
            problems.append(f"multiplicity {multiplicity} (it knows {known})")
        if problem := self.refusal_of_solvent(solvent):
            problems.append(problem)
        return "; ".join(problems)

    def refusal_of_solvent(self, solvent: str) -> str:
        """Why it cannot be built for a solvent; "" where it can, and for the gas phase."""
        if not solvent or self.solvents is None or solvent in self.solvents:
            return ""
        if not self.solvents:
            return f"the solvent '{solvent}' (it knows the gas phase only)"
        return unknown_solvent(solvent, self.solvents)


class SearchCalculator(Protocol):
    """An ASE calculator, with the optional members that a search uses where they exist.

    Only the first two methods are needed. ASE's `Calculator` has them once `calculate` is written.

    Attributes
    ----------
    capabilities
        Optional: what it can, where that is less than everything.
    """

    #: Optional: what it can, where that is less than everything.
    capabilities: Capabilities

    def get_potential_energy(self, atoms: Atoms) -> float:
        """Energy, eV."""

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        """Forces (n, 3), eV/Å."""

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        """Optional: second derivatives of the energy, (3n, 3n), eV/Å²."""

    def evaluate(
        self, molecules: Sequence[Atoms], properties: Sequence[str]
    ) -> Sequence[dict[str, Any]]:
        """Optional: "energy", "forces" and "hessian" of many structures at once.

        Parameters
        ----------
        molecules
            Positions in Å.
        properties
            Those that are asked for.

        Returns
        -------
        sequence of dict
            One dictionary per structure, in their order; eV, eV/Å and eV/Å². Other keys are
            ignored.
        """

    def concerns(self, atoms: Atoms) -> Sequence[str]:
        """Optional: sentences about why results for this structure are doubtful."""

    def bond_orders(self, atoms: Atoms) -> np.ndarray:
        """Optional: Wiberg or Mayer bond orders, (n, n).

        They decide where a distance alone cannot tell whether two atoms are bonded.
        """

    def get_state(self) -> Mapping[str, np.ndarray]:
        """Optional: what it keeps from one structure to the next, such as a density.

        A search that was killed and goes on then has the same numbers, to the last digit.
        """

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Optional: go on as the calculator whose `get_state` this was."""


def capabilities_of(calculator: Any) -> Capabilities:
    """What `calculator` says it can, completed by which methods it has.

    One that names no solvent may be built for one all the same, as is
    ``TBLite(solvation=("alpb", "water"))``: then the solvent is that of its parameters.

    Parameters
    ----------
    calculator
        Any ASE calculator.

    Returns
    -------
    Capabilities
        Without limits where it says nothing.

    Raises
    ------
    TypeError
        Where its attribute `capabilities` is none.
    """
    said = stated_capabilities(calculator)
    if not said.solvent and (found := _solvation(calculator)):
        model, solvent = found
        said = replace(said, solvation=said.solvation or model).in_solvent(solvent)
    return replace(
        said,
        hessians=_offers(calculator, "get_hessian"),
        batches=_offers(calculator, "evaluate"),
        concerns=_offers(calculator, "concerns"),
        bond_orders=_offers(calculator, "bond_orders"),
    )


def stated_capabilities(speaker: Any) -> Capabilities:
    """What a calculator or a factory says in its attribute `capabilities`, if it has one.

    Raises
    ------
    TypeError
        Where that is something else.
    """
    said = getattr(speaker, "capabilities", None) or Capabilities()
    if not isinstance(said, Capabilities):
        name = getattr(speaker, "__name__", type(speaker).__name__)
        raise TypeError(f"`capabilities` of {name} is {said!r:.80}, not a horm_calc.Capabilities")
    return said


def _solvation(calculator: Any) -> tuple[str, str] | None:
    """Model and solvent among the parameters of a calculator of tblite; None in the gas phase.

    What is told by its dielectric constant is called after that: 'epsilon 80'.
    """
    parameters = getattr(calculator, "parameters", None)
    told = parameters.get("solvation") if isinstance(parameters, Mapping) else None
    if not isinstance(told, list | tuple) or len(told) < 2:
        return None
    model, medium, *more = told
    if str(model).lower() == "ddx" and more:  # what comes behind it is the model
        model = more[0]
    if isinstance(medium, int | float):
        medium = f"epsilon {medium:g}"
    return str(model).upper(), solvent_name(str(medium))


def _offers(calculator: Any, method: str) -> bool:
    """Whether it has a method, without a property being computed that may fail."""
    static = inspect.getattr_static(calculator, method, None)
    return static is not None or hasattr(calculator, method)  # what wrappers pass on


def calculator_factory(
    *,
    level_of_theory: str = "",
    elements: str | Iterable[int] | None = None,
    charges: Iterable[int] | None = None,
    multiplicities: Iterable[int] | None = None,
    solvents: Iterable[str] = (),
    solvation: str = "",
    device: str = "cpu",
) -> Callable[[F], F]:
    """Decorator that says of a factory's calculators what must be known before one is built.

    A factory is called with a charge and a multiplicity and returns an ASE calculator::

        @calculator_factory(level_of_theory="MACE-OFF23 (small)", elements="H C N O", charges=[0])
        def mace(charge, multiplicity): ...

    For a reaction in a solvent it is called with ``solvent="water"`` too, if it takes that.

    Parameters
    ----------
    level_of_theory
        Name for tables and files.
    elements
        Symbols, separated by spaces, or atomic numbers; None: not limited.
    charges, multiplicities
        Those it has answers for; None: not limited.
    solvents
        Those it has answers for. If there are none, and the factory takes an argument `solvent`,
        every name is passed on to it.
    solvation
        Name of the model by which it describes them, such as "ALPB".
    device
        Where it computes.

    Returns
    -------
    callable
        A decorator, which gives the factory the attribute `capabilities`.

    Raises
    ------
    ValueError
        For a symbol that is no element's.
    """
    capabilities = Capabilities(
        level_of_theory=level_of_theory,
        elements=None if elements is None else _numbers(elements),
        charges=None if charges is None else frozenset(charges),
        multiplicities=None if multiplicities is None else frozenset(multiplicities),
        solvents=frozenset(map(solvent_name, solvents)),
        solvation=solvation,
        device=device,
    )

    def described(factory: F) -> F:
        factory.capabilities = capabilities  # type: ignore[attr-defined]
        return factory

    return described


def _numbers(elements: str | Iterable[int]) -> frozenset[int]:
    if not isinstance(elements, str):
        return frozenset(elements)
    unknown = [symbol for symbol in elements.split() if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"no element has the symbol {', '.join(unknown)}")
    return frozenset(atomic_numbers[symbol] for symbol in elements.split())


def _symbols(numbers: Sequence[int] | frozenset[int] | set[int]) -> str:
    return ", ".join(chemical_symbols[number] for number in sorted(numbers))
