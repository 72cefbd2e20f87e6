"""What every method of a stage must deliver, whoever wrote it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from ase import Atoms

from workflows.settings import EndpointSettings, IRCSettings, PathSettings, SaddleSettings
from workflows.surface import Surface


class Walk(NamedTuple):
    """Where an optimiser ended, converged or not, and what its library printed."""

    atoms: Atoms
    log: str


class Path(NamedTuple):
    """Images from end to end, whether they are relaxed, and what the library printed."""

    images: list[Atoms]
    converged: bool
    log: str


class Branches(NamedTuple):
    """Both directions of an IRC, each outwards without the saddle, and whether each has arrived."""

    images: list[list[Atoms]]
    arrived: tuple[bool, bool]
    log: str


class Minimiser(Protocol):
    """Relaxes to a minimum; `settings` has the force criterion and the most steps."""

    def __call__(self, atoms: Atoms, surface: Surface, settings: EndpointSettings, /) -> Walk:
        """Never raises for what has not converged."""


class PathMethod(Protocol):
    """Connects two minima, which stay as they are."""

    def __call__(
        self, reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings, /
    ) -> Path:
        """Raises `NotConverged` where there is no path at all."""


class SaddleOptimiser(Protocol):
    """Walks to a saddle point from a guess and, if there is one, a Hessian (3n, 3n), eV/Å²."""

    def __call__(
        self,
        guess: Atoms,
        surface: Surface,
        settings: SaddleSettings,
        hessian: np.ndarray | None,
        /,
    ) -> Walk:
        """Never raises for what has not converged."""


class Integrator(Protocol):
    """Follows the IRC down from a saddle and its Hessian (3n, 3n), eV/Å²."""

    def __call__(
        self, saddle: Atoms, hessian: np.ndarray, surface: Surface, settings: IRCSettings, /
    ) -> Branches:
        """Raises `IRCFailed` where it makes no step."""
