"""A search with everything that is stored of one, without having been made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from ase import Atoms

from horm_calc.chemistry.thermochemistry import normal_modes
from reactbench_runner.storage.store import Store
from workflows.records import (
    IRC,
    ElementaryStep,
    Label,
    Minimum,
    Reaction,
    ReactionPath,
    Saddle,
    SearchResult,
    Verdict,
    Verification,
)

LEVEL, TRUSTED = "GFN2-xTB (tblite)", "GFN1-xTB (tblite)"


def searched(identifier: str = "hcn", seed: int = 0) -> SearchResult:
    """HCN to HNC; energies and Hessians are random numbers, so that no two are alike."""
    random = np.random.default_rng(seed)
    ends = [
        Atoms("HCN", [[x, 0.3, 0], [0, 0, 0], [1.15, 0, 0]], info={}) for x in (-1.07, 2.15, 0.4)
    ]
    energies = np.array([-149.1, -148.6, -146.9]) + random.uniform(0, 0.1, 3)
    reactant, product = (
        Minimum(
            atoms,
            energy=energy,
            forces=random.normal(0, 1e-3, (3, 3)),
            method="rfo",
            converged=True,
        )
        for atoms, energy in zip(ends[:2], energies[:2], strict=True)
    )
    reaction = Reaction(identifier, ends[0], ends[1])
    images, along = (ends[0], ends[2], ends[1]), energies[[0, 2, 1]]
    return SearchResult(
        reaction,
        Verdict(Label.INTENDED),
        reactant=reactant,
        product=product,
        path=ReactionPath(images, along, method="geodesic", converged=True),
        saddle=_saddle(ends[2], energies[2], random),
        irc=IRC(
            images,
            along,
            saddle_index=1,
            arrived=(True, True),
            method="eulerpc",
            converged=True,
        ),
        irc_ends=(reactant, product),
        log=f"\n===== path =====\nwhat a library printed of {identifier}\n",
    )


def in_steps(result: SearchResult) -> SearchResult:
    """The same over an intermediate 1 eV above the reactant, the second saddle 0.5 eV higher."""
    assert result.reactant and result.product and result.saddle and result.irc and result.path
    middle = dataclasses.replace(result.reactant, energy=result.reactant.energy + 1.0)
    higher = dataclasses.replace(result.saddle, energy=result.saddle.energy + 0.5)
    parts = {"irc": result.irc, "path": result.path}
    steps = (
        ElementaryStep(result.reactant, result.saddle, middle, **parts),
        ElementaryStep(middle, higher, result.product, **parts),
    )
    verdict = Verdict(Label.IN_STEPS, "over an intermediate")
    return dataclasses.replace(
        result, verdict=verdict, saddle=higher, steps=steps, irc_ends=(middle, result.product)
    )


def verified(result: SearchResult) -> SearchResult:
    """The same at another level."""
    saddle = result.saddle
    assert saddle is not None
    found = Verification(
        _saddle(saddle.atoms, saddle.energy - 1.0, np.random.default_rng(9)),
        rmsd=0.01,
        overlap=0.99,
        reactant=result.reactant,
        product=result.product,
        converged=True,
    )
    log = f"{result.log}\n===== verification =====\n\n"
    return dataclasses.replace(result, verification=found, log=log)


def _saddle(atoms: Atoms, energy: float, random: np.random.Generator) -> Saddle:
    hessian = random.normal(0, 5, (9, 9))
    hessian += hessian.T
    forces = random.normal(0, 1e-3, (3, 3))
    return Saddle(
        atoms,
        energy=energy,
        forces=forces,
        hessian=hessian,
        modes=normal_modes(atoms, hessian),
        method="rsirfo",
        converged=True,
    )


def store(out: Path, *results: SearchResult, database: str | None = None) -> Store:
    """The folder of a run with these."""
    out.mkdir(exist_ok=True)
    opened = Store(out, "run-1", database)
    for result in results:
        row = opened.add(result, "a fingerprint", LEVEL, TRUSTED if result.verification else "")
        opened.complete_database([row])
    return opened
