"""Calculators of a run: how one is built, what it can, and what makes its results its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from ase.calculators.calculator import Calculator

from horm_calc.capabilities import Capabilities, stated_capabilities
from horm_calc.chemistry.solvents import levels_in_words
from horm_calc.configuration import SettingsError
from workflows.records import Start

#: (charge, multiplicity) -> an ASE calculator. One for solvents takes `solvent=` too.
Builder = Callable[..., Calculator]


@dataclass(frozen=True)
class Factory:
    """A factory given as a Python object, in a form that can go to other processes.

    code: pickled by value with cloudpickle, since functions of notebooks have no module from which
    a worker could import them. It is made and read within one run only, never stored.
    """

    name: str
    code: bytes

    @classmethod
    def of(cls, factory: Builder) -> Factory:
        """Raises `TypeError` where it cannot be called or sent to a worker."""
        import cloudpickle

        if not callable(factory):
            raise TypeError(
                f"a calculator is a name or a factory(charge, multiplicity), not {factory!r:.80}"
            )
        where = getattr(factory, "__module__", "") or type(factory).__module__
        name = getattr(factory, "__qualname__", type(factory).__qualname__)
        try:
            return cls(f"{where}:{name}", cloudpickle.dumps(factory))
        except Exception as error:
            raise TypeError(
                f"the factory {where}:{name} cannot be sent to the worker processes ({error}); "
                "make what it holds inside the factory"
            ) from error

    def load(self) -> Builder:
        """The factory itself."""
        return _loaded(self.code)


#: A calculator as a run is given it: a name that every process understands, or a factory.
Source = str | Factory


@dataclass(frozen=True)
class Entry:
    """A calculator that a run can use.

    Attributes
    ----------
    name
        What finds it in every process and folder.
    build
        Makes an ASE calculator for a charge and a multiplicity.
    capabilities
        What is known of it before it is built.
    identity
        What makes its results its own wherever its file lies: digests of weights or code. Empty
        where the name says it. A run is not continued with another identity.
    packages
        Distributions whose versions are noted with its results.
    factory
        The factory, if it was given as a Python object: no name finds that one.
    """

    name: str
    build: Builder
    capabilities: Capabilities
    identity: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    factory: Factory | None = None

    @property
    def source(self) -> Source:
        """What gives it in every process and folder."""
        return self.factory or self.name

    @property
    def level_of_theory(self) -> str:
        """For tables and files, in the gas phase."""
        return self.level_in("")

    def level_in(self, solvent: str) -> str:
        """For tables and files, in a solvent that it has; "" for the gas phase."""
        told = self.capabilities
        known = "" if told.refusal_of_solvent(solvent) else solvent
        return told.level_in(known, told.level_of_theory or self.name)

    def level_in_all(self, solvents: Sequence[str]) -> str:
        """In those of several solvents that it has, in words."""
        known = [one for one in solvents if not self.capabilities.refusal_of_solvent(one)]
        return levels_in_words((self.level_in(one), one) for one in known or [""])

    def made(self, charge: int, multiplicity: int, solvent: str) -> Calculator:
        """A calculator that says in which solvent it computes.

        Raises `SettingsError` for a solvent that it has not, and for a factory whose calculator
        says that it computes in another one.
        """
        if not solvent:
            return self.build(charge, multiplicity)
        if problem := self.capabilities.refusal_of_solvent(solvent):
            raise SettingsError(f"{self.level_of_theory} has no answer for {problem}")
        built = self.build(charge, multiplicity, solvent=solvent)
        said = stated_capabilities(built)
        if said.solvent not in ("", solvent):
            raise SettingsError(
                f"calculator '{self.name}' was asked for the solvent '{solvent}', and its "
                f"calculator computes in '{said.solvent}'"
            )
        if said.solvent != solvent:
            built.capabilities = replace(said, solvent=solvent)  # type: ignore[attr-defined]
        return built

    def problem(self, reaction: Start) -> str:
        """For what of a reaction there is no answer; "" where there is, or where it does not say.

        In words such as "charge -1 (it knows 0)".
        """
        return self.capabilities.refusal(
            reaction.atoms.numbers.tolist(),
            reaction.charge,
            reaction.multiplicity,
            solvent=reaction.solvent,
        )

    def refusal(self, reaction: Start) -> str:
        """The same as a sentence, with what a person can do."""
        problem = self.problem(reaction)
        if not problem:
            return ""
        remedy = (
            "search this reaction with another --calculator, such as gfn2-xtb, and another --out"
        )
        told = self.capabilities
        if told.solvents and problem == told.refusal_of_solvent(reaction.solvent):
            remedy = "name one of these in the column 'solvent', or 'none' for the gas phase"
        return f"{self.level_of_theory} has no answer for {problem}; {remedy}"

    def same_as(self, other: Entry) -> bool:
        """Whether both give the same results."""
        same = self.identity != {} and self.identity == other.identity
        return self.name == other.name or same


@cache
def _loaded(code: bytes) -> Builder:
    import pickle

    loaded: Builder = pickle.loads(code)  # noqa: S301 - of this run's own making, see `Factory`
    return loaded
